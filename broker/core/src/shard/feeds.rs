//! Feeds: what a session subscribed to that an extension serves. The extension pushes as much as the
//! session has credit; what is on its way when the client takes no more waits here, and is never
//! more than that.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use nexum_codec::{Property, PublishDelivery, encode_properties};
use nexum_extension_api::{
    Address, ConsumerId, Deliver, DeliveryId, FeedId, Input, Label, Options, Outcome, Refusal,
    Subscribe, Unsubscribe,
};
use nexum_types::{MessageParts, PacketIdentifier, ProtocolVersion, QoS, Time, TopicName};

use super::Shard;
use super::deliver::awaiting;
use super::publish::Publication;
use super::put_out::{Form, publish_delivery};
use crate::address::{ExtensionId, Served};
use crate::key::{ConnectionKey, SessionKey};
use crate::output::Event;
use crate::record::{ExchangeRecord, Key, SubscriptionRecord, Value};
use crate::session::{Awaiting, Exchange, FeedDelivery, FeedTerms};

/// A feed that was asked for, or granted.
#[derive(Debug)]
pub(super) struct Feed {
    session: SessionKey,
    filter: Arc<str>,
    extension: ExtensionId,
    /// The word that the extension claims, and how the client wrote it.
    word: &'static str,
    spelling: &'static str,
    /// The SUBSCRIBE that waits for the answer.
    token: Option<u32>,
    answer: Option<Result<QoS, Refusal>>,
}

/// What a filter asks for.
#[derive(Clone, Debug)]
pub(super) struct FeedWish {
    pub(super) served: Served,
    pub(super) spelling: &'static str,
    pub(super) address: Address,
    pub(super) share_name: Option<Box<str>>,
}

/// A delivery that waits for the client to take it.
#[derive(Debug)]
pub(crate) struct Arrival {
    extension: ExtensionId,
    filter: Arc<str>,
    deliver: Deliver,
    topic: Arc<str>,
    qos: QoS,
    identifier: Option<u32>,
}

impl Shard {
    /// Asks an extension for a feed, in the place of one that is there under this filter. Returns
    /// whether the answer is to be awaited.
    pub(super) fn open_feed(
        &mut self,
        session: u32,
        filter: &str,
        wish: FeedWish,
        maximum_qos: QoS,
        options: Option<Box<Options>>,
        token: Option<u32>,
    ) -> bool {
        let key = self.session_key(session);
        let state = &self.sessions[session as usize];
        let existing = state.feeds.get(filter).and_then(|terms| terms.key);
        if let Some((existing, feed)) = existing.and_then(|key| Some((key, self.feeds.get(key)?))) {
            // The packet names the filter twice.
            if feed.token.is_some() {
                return false;
            }
            // What was granted before may not be granted now, or at another QoS.
            self.end_feed(session, filter, existing);
        }
        let FeedWish {
            served,
            spelling,
            address,
            share_name,
        } = wish;
        self.attach(session, served.extension);
        let filter: Arc<str> = Arc::from(filter);
        let feed = self.feeds.insert(Feed {
            session: key,
            filter: Arc::clone(&filter),
            extension: served.extension,
            word: served.claim.word,
            spelling,
            token,
            answer: None,
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
            share_name,
            options,
        };
        self.tell_extension(served.extension, Input::Subscribe(wish));
        true
    }

    fn consumer_id(&self, session: SessionKey) -> ConsumerId {
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
        if state.answer.is_some() {
            return;
        }
        let refused = answer.as_ref().err().cloned();
        state.answer = Some(answer);
        match (state.token.take(), refused) {
            (Some(token), _) => self.on_interest_noted(token, now),
            (None, None) => {}
            (None, Some(refusal)) => self.lose_feed(feed, &refusal),
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
    ) -> Result<QoS, Refusal> {
        let state = &mut self.sessions[session as usize];
        let key = state.feeds.get(filter).and_then(|terms| terms.key);
        let answer = key
            .and_then(|key| self.feeds.get(key))
            .and_then(|feed| feed.answer.clone());
        let granted = match answer {
            Some(Ok(granted)) => granted.min(record.maximum_qos),
            Some(Err(refusal)) => {
                self.remove_refused(session, filter);
                return Err(refusal);
            }
            None => return Err(super::command::nobody_serves(filter)),
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

    /// A feed was refused, though one under this filter may have been granted before.
    fn remove_refused(&mut self, session: u32, filter: &str) {
        let state = &mut self.sessions[session as usize];
        let Some(terms) = state.feeds.remove(filter) else {
            return;
        };
        if terms.confirmed {
            state.subscription_bytes -= filter.len() as u64;
            if let Some(id) = state.id {
                self.journal
                    .delete(Key::Subscription(id, Arc::from(filter)));
            }
        }
        if let Some(feed) = terms.key {
            self.feeds.remove(feed);
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
                self.open_feed(session, &filter, wish, maximum_qos, None, None);
            }
        }
    }

    /// A session has lost its connection, or ends.
    pub(super) fn detach(&mut self, session: u32, has_ended: bool) {
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
        for (packet, mut exchange) in exchanges {
            let state = &mut self.sessions[session as usize];
            state.gates.retain(|gate| *gate != packet);
            exchange.feed = None;
            if exchange.recorded && exchange.sent {
                // The client may know the identifier, and is told to forget it.
                exchange.awaiting = Awaiting::PubComp;
                exchange.gated = false;
                state.inflight.restore(packet, exchange);
            } else {
                self.forget_exchange(session, packet, &exchange);
            }
        }
        for extension in 0..self.extensions.len() as u8 {
            if told & 1 << extension != 0 {
                let detach = Input::Detach {
                    consumer,
                    has_ended,
                };
                self.tell_extension(ExtensionId(extension), detach);
            }
        }
    }

    /// A delivery of an extension's.
    pub(super) fn on_deliver(&mut self, extension: ExtensionId, deliver: Deliver, now: Time) {
        let Some(feed) = self.feeds.get(deliver.feed.key) else {
            return self.return_delivery(extension, &deliver);
        };
        let session = feed.session;
        let topic = if feed.spelling == feed.word {
            Arc::clone(&deliver.topic)
        } else {
            let rest = deliver.topic.strip_prefix(feed.word).unwrap_or_default();
            Arc::from(format!("{}{rest}", feed.spelling))
        };
        let filter = Arc::clone(&feed.filter);
        let Some(state) = self.session_by_key(session) else {
            return;
        };
        let (Some(_), Some(terms)) = (state.connection, state.feeds.get(&filter)) else {
            return;
        };
        let arrival = Arrival {
            extension,
            filter,
            qos: terms.maximum_qos,
            identifier: terms.identifier,
            deliver,
            topic,
        };
        state.arrivals.push_back(arrival);
        if state.arrivals.len() == 1 {
            self.send_arrivals(session.index, now);
        }
    }

    /// A feed is over, and what was on its way did not get there.
    fn return_delivery(&mut self, extension: ExtensionId, deliver: &Deliver) {
        let settled = Input::Settled {
            consumer: deliver.consumer,
            delivery: deliver.delivery,
            outcome: Outcome::Undelivered,
        };
        self.tell_extension(extension, settled);
    }

    /// Sends what has come from extensions, as far as quota and socket allow.
    pub(super) fn send_arrivals(&mut self, session: u32, now: Time) {
        let most = self.outbound_limit();
        while let Some(state) = self.sessions.get_mut(session as usize)
            && let Some(key) = state.connection
            && let Some(first) = state.arrivals.front()
            // Before SUBACK it is not known whether it may be sent at all.
            && state.feeds.get(&first.filter).is_some_and(|terms| terms.confirmed)
            && (first.qos == QoS::AtMostOnce
                || state.quota_used < state.quota && state.resend_from.is_none())
            && self.connections[key.index as usize].outbound.pending() < most
            && let Some(arrival) = self.sessions[session as usize].arrivals.pop_front()
        {
            self.send_arrival(session, key, arrival, now);
        }
    }

    fn send_arrival(&mut self, session: u32, key: ConnectionKey, arrival: Arrival, now: Time) {
        let qos = arrival.qos;
        let delivery = arrival.deliver.delivery;
        let extension = arrival.extension;
        let properties = self.properties_of(key, &arrival);
        let fits = self.with_parts(&arrival, &properties, |shard, parts, identifiers| {
            shard.fits_client(key.index, &parts, qos, identifiers, now)
        });
        if !fits {
            let session = self.session_key(session);
            return self.settle_delivery(session, extension, delivery, Outcome::TooLarge);
        }
        if qos == QoS::AtMostOnce {
            self.put_arrival_out(key, &arrival, &properties, PublishDelivery::AtMostOnce, now);
            let session = self.session_key(session);
            return self.settle_delivery(session, extension, delivery, Outcome::Done);
        }
        let state = &mut self.sessions[session as usize];
        // A client remembers the identifier of a QoS 2 delivery, so it is stored before it leaves.
        let recorded = state.keeps().filter(|_| qos == QoS::ExactlyOnce);
        let position = state.take_position();
        state.quota_used += 1;
        let packet = state.inflight.begin(Exchange {
            position,
            recorded: recorded.is_some(),
            gated: recorded.is_some(),
            sent: recorded.is_none(),
            feed: Some(FeedDelivery {
                extension,
                delivery,
            }),
            ..Exchange::volatile(awaiting(qos), None)
        });
        if let Some(id) = recorded {
            state.gated_arrivals.insert(packet, arrival);
            let record = ExchangeRecord {
                position,
                released: false,
            };
            self.journal
                .put(Key::Exchange(id, packet), Value::Exchange(record));
            return self.gate(session, packet);
        }
        let sent_as = publish_delivery(qos, packet);
        self.put_arrival_out(key, &arrival, &properties, sent_as, now);
    }

    /// The store has the identifier of a QoS 2 delivery.
    pub(super) fn send_gated_arrival(
        &mut self,
        session: u32,
        key: ConnectionKey,
        packet: PacketIdentifier,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        let Some(arrival) = state.gated_arrivals.remove(&packet) else {
            return;
        };
        if let Some(exchange) = state.inflight.get_mut(packet) {
            exchange.sent = true;
        }
        let properties = self.properties_of(key, &arrival);
        let sent_as = publish_delivery(arrival.qos, packet);
        self.put_arrival_out(key, &arrival, &properties, sent_as, now);
    }

    /// The properties of the message and those of the delivery, encoded.
    fn properties_of(&self, key: ConnectionKey, arrival: &Arrival) -> Vec<u8> {
        let mut encoded = Vec::new();
        if self.connections[key.index as usize].version == ProtocolVersion::V5 {
            encoded.extend_from_slice(arrival.deliver.message.parts().properties);
            for (name, label) in &arrival.deliver.properties {
                let value = match label {
                    Label::Number(number) => Cow::Owned(number.to_string()),
                    Label::Text(text) => Cow::Borrowed(&**text),
                    Label::Word(word) => Cow::Borrowed(*word),
                };
                let property = Property::UserProperty(name, &value);
                // One that is too long for a property is left out.
                let _left_out = encode_properties([property], &mut encoded);
            }
        }
        encoded
    }

    fn with_parts<R>(
        &mut self,
        arrival: &Arrival,
        properties: &[u8],
        with: impl FnOnce(&mut Shard, MessageParts<'_>, &[u32]) -> R,
    ) -> R {
        let topic = TopicName::new(&arrival.topic).expect("extensions name topics");
        let parts = MessageParts {
            topic,
            properties,
            ..arrival.deliver.message.parts()
        };
        with(self, parts, arrival.identifier.as_slice())
    }

    fn put_arrival_out(
        &mut self,
        key: ConnectionKey,
        arrival: &Arrival,
        properties: &[u8],
        delivery: PublishDelivery,
        now: Time,
    ) {
        let retain = arrival.deliver.retain;
        self.with_parts(arrival, properties, |shard, parts, identifiers| {
            let form = Form {
                delivery,
                dup: false,
                retain,
                identifiers,
            };
            let mut publication = Publication::new(parts);
            publication.fan_out = 1;
            shard.put_out(key.index, &form, &mut publication, now);
        });
    }

    /// A delivery is over.
    pub(super) fn settle_delivery(
        &mut self,
        session: SessionKey,
        extension: ExtensionId,
        delivery: DeliveryId,
        outcome: Outcome,
    ) {
        let settled = Input::Settled {
            consumer: self.consumer_id(session),
            delivery,
            outcome,
        };
        self.tell_extension(extension, settled);
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
