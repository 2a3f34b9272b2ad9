//! Feeds: what a session subscribed to that an extension serves.

use std::collections::VecDeque;
use std::sync::Arc;

use nexum_extension_api::{
    Address, ConsumerId, FeedId, Input, Options, Refusal, Subscribe, Unsubscribe,
};
use nexum_types::{ProtocolVersion, QoS, Time};

use super::Shard;
use super::arrivals::Arrival;
use crate::address::{ExtensionId, Served};
use crate::key::SessionKey;
use crate::output::Event;
use crate::record::{Key, SubscriptionRecord, Value};
use crate::session::{Awaiting, FeedTerms};

/// A feed that was asked for, or granted.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) session: SessionKey,
    pub(super) filter: Arc<str>,
    pub(super) extension: ExtensionId,
    /// The word that the extension claims, and how the client wrote it.
    pub(super) word: &'static str,
    pub(super) spelling: &'static str,
    asked: Option<Asked>,
    is_answered: bool,
}

/// A feed that is to be asked for.
#[derive(Debug)]
pub(super) struct FeedRequest {
    pub(super) wish: FeedWish,
    pub(super) maximum_qos: QoS,
    pub(super) options: Option<Box<Options>>,
    /// Nobody, if the feed was granted before.
    pub(super) asked: Option<Asked>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The SUBSCRIBE.
    pub(super) token: u32,
    /// The place of the filter in it.
    pub(super) number: usize,
}

/// What a filter asks for.
#[derive(Clone, Debug)]
pub(super) struct FeedWish {
    pub(super) served: Served,
    pub(super) spelling: &'static str,
    pub(super) address: Address,
    pub(super) share_name: Option<Box<str>>,
    /// By Retain Handling.
    pub(super) wants_present: bool,
}

impl Shard {
    /// Asks an extension for a feed, in the place of one that is there under this filter.
    pub(super) fn open_feed(&mut self, session: u32, filter: &str, request: FeedRequest) {
        let FeedRequest {
            wish,
            maximum_qos,
            options,
            asked,
        } = request;
        let key = self.session_key(session);
        let state = &self.sessions[session as usize];
        if let Some(existing) = state.feeds.get(filter).and_then(|terms| terms.key) {
            // What was granted before may not be granted now, or at another QoS.
            self.end_feed(session, filter, existing);
        }
        let FeedWish {
            served,
            spelling,
            address,
            share_name,
            wants_present,
        } = wish;
        self.attach(session, served.extension);
        let filter: Arc<str> = Arc::from(filter);
        let feed = self.feeds.insert(Feed {
            session: key,
            filter: Arc::clone(&filter),
            extension: served.extension,
            word: served.claim.word,
            spelling,
            asked,
            is_answered: false,
        });
        let terms = self.sessions[session as usize].feeds.entry(filter);
        terms.or_default().key = Some(feed);
        let wish = Subscribe {
            feed: FeedId {
                shard: self.id.0,
                key: feed,
            },
            consumer: self.consumer_id(key),
            address,
            maximum_qos,
            wants_present,
            share_name,
            options,
        };
        self.tell_extension(served.extension, Input::Subscribe(wish));
    }

    pub(super) fn consumer_id(&self, session: SessionKey) -> ConsumerId {
        ConsumerId {
            shard: self.id.0,
            key: u64::from(session.generation) << 32 | u64::from(session.index),
        }
    }

    /// Lets an extension know of a session with a connection.
    fn attach(&mut self, session: u32, extension: ExtensionId) {
        let consumer = self.consumer_id(self.session_key(session));
        let state = &mut self.sessions[session as usize];
        let takes_properties = state
            .connection
            .is_some_and(|key| self.connections[key.index as usize].version == ProtocolVersion::V5);
        let bit = 1_u64 << extension.0;
        if state.attached & bit != 0 {
            return;
        }
        state.attached |= bit;
        state.known_to |= bit;
        let attach = Input::Attach {
            consumer,
            credit: u32::from(state.prefetch),
            client_id: state.client_id.shared(),
            takes_properties,
        };
        self.tell_extension(extension, attach);
    }

    /// The extension has decided.
    pub(super) fn on_feed_answer(&mut self, feed: u64, answer: Result<QoS, Refusal>, now: Time) {
        let Some(state) = self.feeds.get_mut(feed) else {
            return;
        };
        if std::mem::replace(&mut state.is_answered, true) {
            return;
        }
        match (state.asked.take(), answer) {
            (Some(asked), answer) => {
                let (session, filter) = (state.session, Arc::clone(&state.filter));
                if answer.is_err() {
                    self.feeds.remove(feed);
                    let session = self.session_by_key(session);
                    if let Some(terms) = session.and_then(|it| it.feeds.get_mut(&filter)) {
                        terms.key = None;
                    }
                }
                self.on_feed_answered(asked, &filter, answer, now);
            }
            (None, Ok(_)) => {}
            (None, Err(refusal)) => self.lose_feed(feed, &refusal),
        }
    }

    /// What a session had subscribed to before it came back is not there any more.
    fn lose_feed(&mut self, feed: u64, refusal: &Refusal) {
        let Some(Feed {
            session, filter, ..
        }) = self.feeds.remove(feed)
        else {
            return;
        };
        let Some(state) = self.session_by_key(session) else {
            return;
        };
        if state.feeds.remove(&filter).is_none() {
            return;
        }
        state.subscription_bytes -= filter.len() as u64;
        let (id, client_id) = (state.id, state.client_id.shared());
        self.unreserve(session.index, &filter);
        if let Some(id) = id {
            self.journal
                .delete(Key::Subscription(id, Arc::clone(&filter)));
        }
        let reason = refusal.to_string();
        self.event(Event::SubscriptionLost {
            client_id,
            filter,
            reason,
        });
    }

    /// SUBSCRIBE is being answered: the QoS that is granted.
    pub(super) fn confirm_feed(
        &mut self,
        session: u32,
        filter: &str,
        record: SubscriptionRecord,
        answer: Option<&Result<QoS, Refusal>>,
    ) -> Result<QoS, Refusal> {
        let granted = match answer {
            Some(Ok(granted)) => (*granted).min(record.maximum_qos),
            Some(Err(refusal)) => {
                self.remove_refused(session, filter);
                return Err(refusal.clone());
            }
            None => return Err(super::unwrap::nobody_serves(filter)),
        };
        let state = &mut self.sessions[session as usize];
        if let Some(terms) = state.feeds.get_mut(filter) {
            if !std::mem::replace(&mut terms.confirmed, true) {
                state.subscription_bytes += filter.len() as u64;
            }
            terms.maximum_qos = granted;
            terms.identifier = record.identifier;
        }
        if let Some(id) = state.keeps() {
            let key = Key::Subscription(id, Arc::from(filter));
            self.journal.put(key, Value::Subscription(record));
        }
        Ok(granted)
    }

    /// A feed was refused, though one under this filter may have been granted before. If the packet
    /// names it again, that is what counts.
    fn remove_refused(&mut self, session: u32, filter: &str) {
        let state = &mut self.sessions[session as usize];
        let asked_again = |terms: &FeedTerms| terms.key.is_some();
        if state.feeds.get(filter).is_none_or(asked_again) {
            return;
        }
        let terms = state.feeds.remove(filter);
        if terms.is_some_and(|terms| terms.confirmed) {
            state.subscription_bytes -= filter.len() as u64;
            if let Some(id) = state.id {
                self.journal
                    .delete(Key::Subscription(id, Arc::from(filter)));
            }
        }
    }

    /// UNSUBSCRIBE; true if there was such a feed. What was delivered may still be settled.
    pub(super) fn close_feed(&mut self, session: u32, filter: &str) -> bool {
        let state = &mut self.sessions[session as usize];
        let Some(terms) = state.feeds.remove(filter) else {
            return false;
        };
        if terms.confirmed {
            state.subscription_bytes -= filter.len() as u64;
        }
        if let Some(key) = terms.key {
            self.end_feed(session, filter, key);
        }
        true
    }

    /// What is on its way on a feed goes back, and nothing more comes.
    fn end_feed(&mut self, session: u32, filter: &str, key: u64) {
        let state = &mut self.sessions[session as usize];
        let (unsent, arrivals): (Vec<_>, Vec<_>) = std::mem::take(&mut state.arrivals)
            .into_iter()
            .partition(|arrival| *arrival.filter == *filter);
        state.arrivals = VecDeque::from(arrivals);
        for Arrival {
            extension, deliver, ..
        } in unsent
        {
            self.return_delivery(extension, &deliver);
        }
        self.remove_feed(key);
    }

    /// Nothing more comes on a feed.
    fn remove_feed(&mut self, key: u64) {
        if let Some(feed) = self.feeds.remove(key) {
            let unsubscribe = Unsubscribe {
                feed: FeedId {
                    shard: self.id.0,
                    key,
                },
                consumer: self.consumer_id(feed.session),
            };
            self.tell_extension(feed.extension, Input::Unsubscribe(unsubscribe));
        }
    }

    /// A session has a connection again: its feeds go on.
    pub(super) fn resume_feeds(&mut self, session: u32) {
        let filters: Vec<_> = self.sessions[session as usize]
            .feeds
            .iter()
            .map(|(filter, terms)| (Arc::clone(filter), terms.maximum_qos))
            .collect();
        for (filter, maximum_qos) in filters {
            if let Ok(Some(wish)) = self.feed_wish(&filter) {
                let request = FeedRequest {
                    wish,
                    maximum_qos,
                    options: None,
                    asked: None,
                };
                self.open_feed(session, &filter, request);
            }
        }
    }

    /// A session has lost its connection, or ends.
    pub(super) fn detach(&mut self, session: u32, has_ended: bool, now: Time) {
        self.unreserve_unanswered(session);
        let consumer = self.consumer_id(self.session_key(session));
        let state = &mut self.sessions[session as usize];
        let told = if has_ended {
            state.known_to
        } else {
            state.attached
        };
        state.attached = 0;
        if told == 0 {
            return;
        }
        let gated = std::mem::take(&mut state.gated_arrivals).into_values();
        let unsent: Vec<Arrival> = state.arrivals.drain(..).chain(gated).collect();
        let mut keys = Vec::new();
        let mut unanswered: Vec<Arc<str>> = Vec::new();
        for (filter, terms) in &mut state.feeds {
            keys.extend(terms.key.take());
            if !terms.confirmed {
                unanswered.push(Arc::clone(filter));
            }
        }
        // What never left goes to others, so the feeds end first.
        let asked = keys.iter().filter_map(|key| self.feeds.get(*key)?.asked);
        let asked: Vec<Asked> = asked.collect();
        for key in keys {
            self.remove_feed(key);
        }
        for arrival in unsent {
            self.return_delivery(arrival.extension, &arrival.deliver);
        }
        // SUBACK did not come, and nothing would be sent on them.
        for filter in unanswered {
            self.sessions[session as usize].feeds.remove(&filter);
        }
        let state = &mut self.sessions[session as usize];
        let exchanges = state.inflight.extract(|exchange| exchange.feed.is_some());
        let mut unanswered = Vec::new();
        for (packet, mut exchange) in exchanges {
            let state = &mut self.sessions[session as usize];
            state.gates.retain(|gate| *gate != packet);
            unanswered.extend(exchange.feed.take().filter(|_| exchange.sent));
            if exchange.recorded && exchange.sent {
                // The client may know the identifier, and is told to forget it.
                exchange.awaiting = Awaiting::PubComp;
                exchange.gated = false;
                state.inflight.restore(packet, exchange);
            } else {
                self.forget_exchange(session, packet, &exchange);
            }
        }
        for extension in (0..self.extensions.len() as u8).map(ExtensionId) {
            if told & 1 << extension.0 != 0 {
                let own = unanswered.iter().filter(|it| it.extension == extension);
                let detach = Input::Detach {
                    consumer,
                    unanswered: own.map(|it| it.delivery).collect(),
                    has_ended,
                };
                self.tell_extension(extension, detach);
            }
        }
        // No answer is awaited any more.
        for Asked { token, .. } in asked {
            self.on_interest_noted(token, now);
        }
    }
}

impl Default for FeedTerms {
    fn default() -> FeedTerms {
        FeedTerms {
            key: None,
            maximum_qos: QoS::AtLeastOnce,
            identifier: None,
            confirmed: false,
        }
    }
}
