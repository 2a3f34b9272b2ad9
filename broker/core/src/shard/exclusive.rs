//! `$exclusive/<filter>`: a subscription that one session at a time may have. Who has it is known to
//! the shard that the filter belongs to by its name.

use nexum_extension_api::{ErrorCode, Refusal};
use nexum_types::{Time, TopicFilter};

use super::Shard;
use crate::key::ShardId;
use crate::peer::{MemberKey, PeerMessage};
use crate::subscription::Subscriber;

/// What is subscribed to exclusively, if it is.
pub(super) fn exclusive(filter: &str) -> Option<&str> {
    filter.strip_prefix("$exclusive/")
}

impl Shard {
    /// Asks for a filter that belongs to another shard; returns how many answers to wait for.
    pub(super) fn ask_to_reserve(&mut self, session: u32, filter: &str, token: u32) -> u32 {
        let home = self.home_of(filter);
        if home == self.id || exclusive(filter).is_none() {
            return 0;
        }
        let member = self.member(session);
        let state = &mut self.sessions[session as usize];
        state.exclusives.insert(Box::from(filter));
        let reserve = PeerMessage::Reserve {
            filter: Box::from(filter),
            member,
            token,
        };
        self.tell(home, reserve);
        1
    }

    /// Whether a session has a filter alone, after the answers of others.
    pub(super) fn reserve(
        &mut self,
        session: u32,
        filter: &str,
        refused: &[Box<str>],
    ) -> Result<(), Refusal> {
        let member = self.member(session);
        let is_refused = if self.home_of(filter) == self.id {
            !self.reserve_here(filter, member)
        } else {
            refused.iter().any(|it| **it == *filter)
        };
        let state = &mut self.sessions[session as usize];
        if is_refused {
            state.exclusives.remove(filter);
            self.close_feed(session, filter);
            return Err(Refusal::new(
                ErrorCode::QuotaExceeded,
                "another session has this subscription exclusively",
            ));
        }
        state.exclusives.insert(Box::from(filter));
        Ok(())
    }

    /// At home: true if nobody else has it.
    fn reserve_here(&mut self, filter: &str, member: MemberKey) -> bool {
        match self.exclusives.get(filter) {
            Some(holder) => *holder == member,
            None => {
                self.exclusives.insert(Box::from(filter), member);
                true
            }
        }
    }

    /// At home, for another shard.
    pub(super) fn on_reserve(
        &mut self,
        from: ShardId,
        filter: Box<str>,
        member: MemberKey,
        token: u32,
    ) {
        let granted = self.reserve_here(&filter, member);
        let reserved = PeerMessage::Reserved {
            filter,
            token,
            granted,
        };
        self.tell(from, reserved);
    }

    /// The answer of its home.
    pub(super) fn on_reserved(&mut self, filter: Box<str>, token: u32, granted: bool, now: Time) {
        if !granted && let Some(pending) = self.pending_subscribes.get_mut(token as usize) {
            pending.refused.push(filter);
        }
        self.on_interest_noted(token, now);
    }

    /// A session lets go of a filter, if it has it.
    pub(super) fn unreserve(&mut self, session: u32, filter: &str) {
        if self.sessions[session as usize].exclusives.remove(filter) {
            let member = self.member(session);
            let home = self.home_of(filter);
            if home == self.id {
                self.on_unreserve(filter, member);
            } else {
                let filter = Box::from(filter);
                self.tell(home, PeerMessage::Unreserve { filter, member });
            }
        }
    }

    /// At home.
    pub(super) fn on_unreserve(&mut self, filter: &str, member: MemberKey) {
        if self.exclusives.get(filter) == Some(&member) {
            self.exclusives.remove(filter);
        }
    }

    /// A connection is lost: what it asked for and was not granted yet is not its session's.
    pub(super) fn unreserve_unanswered(&mut self, session: u32) {
        let state = &self.sessions[session as usize];
        let is_granted = |filter: &str| {
            let plain = exclusive(filter).and_then(|target| TopicFilter::new(target).ok());
            let plain = plain.and_then(|target| self.index.find(target));
            let subscriber = Subscriber::Session(session);
            state.feeds.get(filter).is_some_and(|terms| terms.confirmed)
                || plain.is_some_and(|id| self.index.value(id, subscriber).is_some())
        };
        let filters = state.exclusives.iter();
        let unanswered: Vec<Box<str>> = filters
            .filter(|filter| !is_granted(filter))
            .cloned()
            .collect();
        for filter in unanswered {
            self.unreserve(session, &filter);
        }
    }

    /// A session ends.
    pub(super) fn unreserve_all(&mut self, session: u32) {
        for filter in self.sessions[session as usize].exclusives.clone() {
            self.unreserve(session, &filter);
        }
    }

    /// After a restart the session has what it had.
    pub(super) fn restore_exclusive(&mut self, session: u32, filter: &str) {
        // Nobody waits for the answer: nobody else can have it.
        if self.ask_to_reserve(session, filter, u32::MAX) == 0 {
            let _granted = self.reserve(session, filter, &[]);
        }
    }

    fn member(&self, session: u32) -> MemberKey {
        MemberKey {
            shard: self.id,
            session: self.session_key(session),
        }
    }
}
