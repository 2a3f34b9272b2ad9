//! What extensions deliver. They push as much as a session has credit; what is on its way when the
//! client takes no more waits here, and is never more than that.

use std::borrow::Cow;
use std::sync::Arc;

use nexum_codec::{Property, PublishDelivery, encode_properties};
use nexum_extension_api::{Deliver, DeliveryId, Input, Label, Outcome};
use nexum_types::{MessageParts, PacketIdentifier, ProtocolVersion, QoS, Time, TopicName};

use super::Shard;
use super::deliver::awaiting;
use super::publish::Publication;
use super::put_out::{Form, publish_delivery};
use crate::address::ExtensionId;
use crate::key::{ConnectionKey, SessionKey};
use crate::record::{ExchangeRecord, Key, Value};
use crate::session::{Exchange, FeedDelivery};

/// A delivery that waits for the client to take it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) extension: ExtensionId,
    pub(super) filter: Arc<str>,
    pub(super) deliver: Deliver,
    topic: Arc<str>,
    qos: QoS,
    identifier: Option<u32>,
}

impl Shard {
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
            return self.return_delivery(extension, &deliver);
        };
        let (Some(_), Some(terms)) = (state.connection, state.feeds.get(&filter)) else {
            return self.return_delivery(extension, &deliver);
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
    pub(super) fn return_delivery(&mut self, extension: ExtensionId, deliver: &Deliver) {
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

    /// The properties of the delivery and those of the message, encoded: whoever takes the first
    /// of a name is told by the broker, whatever the publisher calls its own ([MQTT-3.3.2-17],
    /// [MQTT-3.3.2-18]: those are all there, in their order).
    fn properties_of(&self, key: ConnectionKey, arrival: &Arrival) -> Vec<u8> {
        let mut encoded = Vec::new();
        if self.connections[key.index as usize].version == ProtocolVersion::V5 {
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
            encoded.extend_from_slice(arrival.deliver.message.parts().properties);
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
