//! `$exclusive/<filter>`: a subscription that one session at a time may have. Who has it is known to
//! the shard that the filter belongs to by its name.

use std::borrow::Cow;

use nexum_extension_api::{ErrorCode, Refusal};
use nexum_types::{Time, TopicFilter};

use super::Shard;
use super::peers::Answers;
use crate::peer::{Claim, MemberKey, PeerMessage};
use crate::subscription::Subscriber;

/// What is subscribed to exclusively, if it is.
pub(super) fn exclusive(filter: &str) -> Option<&str> {
    filter.strip_prefix("$exclusive/")
}

/// The shard of the session that has a filter is asked whether it still does.
#[derive(Debug)]
struct Contested;

/// Whether a session has a filter alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reservation {
    Granted,
    Refused,
    /// Another shard will say.
    Awaited,
}

impl Shard {
    /// Asks for a filter for a session.
    pub(super) fn ask_to_reserve(&mut self, session: u32, filter: &str, token: u32) -> Reservation {
        let claim = Claim {
            filter: Box::from(filter),
            member: self.member(session),
            token,
        };
        let state = &mut self.sessions[session as usize];
        state.exclusives.insert(Box::from(filter));
        let home = self.home_of(filter);
        if home == self.id {
            return match self.reserve_here(claim, None) {
                Ok((_, true)) => Reservation::Granted,
                Ok((_, false)) => Reservation::Refused,
                Err(Contested) => Reservation::Awaited,
            };
        }
        self.tell(home, PeerMessage::Reserve(claim));
        Reservation::Awaited
    }

    /// Whether a session has a filter alone, after the answers of others.
    pub(super) fn check_reserved(
        &mut self,
        session: u32,
        filter: &str,
        answers: &Answers,
    ) -> Result<(), Refusal> {
        let state = &mut self.sessions[session as usize];
        if answers.refused.contains(filter) {
            state.exclusives.remove(filter);
        }
        if state.exclusives.contains(filter) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::QuotaExceeded,
            "another session has this subscription exclusively",
        ))
    }

    /// At home: whether nobody else has it. Who has it may have let it go a moment ago, so that its
    /// client knows it and this shard does not: then its shard is asked first.
    fn reserve_here(
        &mut self,
        claim: Claim,
        contested: Option<MemberKey>,
    ) -> Result<(Claim, bool), Contested> {
        let holders = &mut self.exclusives;
        let Some(holder) = holders.get(&claim.filter).copied() else {
            holders.insert(claim.filter.clone(), claim.member);
            return Ok((claim, true));
        };
        // What its shard said before it said this is known here.
        let heard_of = [self.id, claim.member.shard];
        let is_certain = contested == Some(holder) || heard_of.contains(&holder.shard);
        if holder == claim.member || is_certain {
            let is_granted = holder == claim.member;
            return Ok((claim, is_granted));
        }
        self.tell(holder.shard, PeerMessage::Contest { holder, claim });
        Err(Contested)
    }

    /// At home. `contested` is who had it when its shard was asked.
    pub(super) fn on_claim(&mut self, claim: Claim, contested: Option<MemberKey>, now: Time) {
        let Ok((claim, granted)) = self.reserve_here(claim, contested) else {
            return;
        };
        let from = claim.member.shard;
        if from == self.id {
            self.on_reserved(&claim, granted, now);
        } else {
            self.tell(from, PeerMessage::Reserved { claim, granted });
        }
    }

    /// The answer of its home.
    pub(super) fn on_reserved(&mut self, claim: &Claim, granted: bool, now: Time) {
        let Claim {
            filter,
            member,
            token,
        } = claim;
        if granted {
            let session = self.session_by_key(member.session);
            if session.is_some_and(|session| session.exclusives.contains(filter)) {
                self.open_postponed(*token, filter);
            } else {
                // It was let go before it was granted.
                self.tell_unreserved(filter, *member);
            }
        } else if let Some(pending) = self.pending_subscribes.get_mut(*token as usize) {
            pending.answers.refused.insert(filter.clone());
        }
        self.on_interest_noted(*token, now);
    }

    /// A session lets go of a filter; true if it had it.
    pub(super) fn unreserve(&mut self, session: u32, filter: &str) -> bool {
        let had_it = self.sessions[session as usize].exclusives.remove(filter);
        if had_it {
            let member = self.member(session);
            self.tell_unreserved(filter, member);
        }
        had_it
    }

    /// Whether a session has a plain filter alone.
    pub(super) fn has_exclusively(&self, session: u32, filter: &str) -> bool {
        let exclusives = &self.sessions[session as usize].exclusives;
        !exclusives.is_empty() && exclusives.contains(&*format!("$exclusive/{filter}"))
    }

    /// A session that has a plain filter under one name, exclusively or not, has it under another
    /// one now.
    pub(super) fn rename_subscription(&mut self, session: u32, filter: &str) {
        let former = match exclusive(filter) {
            Some(target) => Cow::Borrowed(target),
            None if self.has_exclusively(session, filter) => {
                Cow::Owned(format!("$exclusive/{filter}"))
            }
            None => return,
        };
        self.unreserve(session, &former);
        self.forget_subscription(session, &former);
    }

    fn tell_unreserved(&mut self, filter: &str, member: MemberKey) {
        let home = self.home_of(filter);
        if home == self.id {
            self.on_unreserve(filter, member);
        } else {
            let filter = Box::from(filter);
            self.tell(home, PeerMessage::Unreserve { filter, member });
        }
    }

    /// At home.
    pub(super) fn on_unreserve(&mut self, filter: &str, member: MemberKey) {
        if self.exclusives.get(filter) == Some(&member) {
            self.exclusives.remove(filter);
        }
    }

    /// A connection is lost, or SUBACK refuses something: what was asked for and was not granted is
    /// not the session's.
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
        let _granted = self.ask_to_reserve(session, filter, u32::MAX);
    }

    fn member(&self, session: u32) -> MemberKey {
        MemberKey {
            shard: self.id,
            session: self.session_key(session),
        }
    }
}
