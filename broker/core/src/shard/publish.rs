//! The one routing path: whatever is published by whomever goes through [`Shard::publish`].

use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{
    Acknowledgement, AcknowledgementKind, Packet, Publish, PublishDelivery, UserProperties,
};
use nexum_types::{
    Message, MessageParts, PacketIdentifier, ProtocolVersion, QoS, ReasonCode, Time, TopicName,
};

use super::Shard;
use super::deliver::{JointTerms, Terms};
use crate::address::Word;
use crate::connection::OwedAcknowledgement;
use crate::counters::DropReason;
use crate::key::{ConnectionKey, ShardId};
use crate::limits::OverlappingSubscriptions;
use crate::output::ProtocolError;
use crate::peer::{Publisher, Receipt};
use crate::route_cache::Route;
use crate::subscription::{Subscriber, Subscription};

/// A message on its way through the routing path.
pub(super) struct Publication<'a> {
    pub(super) parts: MessageParts<'a>,
    /// The owned form, once somebody has to keep it.
    message: Option<Arc<Message>>,
    /// The session of this shard that published it, for No Local.
    pub(super) publisher: Option<u32>,
    /// The connection to hold back if a subscriber falls behind.
    pub(super) source: Option<Publisher>,
    /// It came from another shard, which has told the others itself.
    pub(super) from_peer: bool,
    /// To how many subscribers it goes.
    pub(super) fan_out: usize,
}

impl<'a> Publication<'a> {
    pub(super) fn new(parts: MessageParts<'a>) -> Publication<'a> {
        Publication {
            parts,
            message: None,
            publisher: None,
            source: None,
            from_peer: false,
            fan_out: 0,
        }
    }

    pub(super) fn of_message(message: &'a Arc<Message>) -> Publication<'a> {
        let mut publication = Publication::new(message.parts());
        publication.message = Some(Arc::clone(message));
        publication
    }

    /// The owned form, made once however many keep it.
    pub(super) fn message(&mut self) -> Arc<Message> {
        let parts = self.parts;
        Arc::clone(
            self.message
                .get_or_insert_with(|| Arc::new(Message::new(parts))),
        )
    }
}

/// What came of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// Somebody was subscribed.
    pub(super) matched: bool,
    /// So many receipts will come before its publisher may be acknowledged.
    pub(super) receipts: u16,
}

/// Why a well-formed PUBLISH is not accepted.
pub(super) struct Refusal {
    pub(super) reason_code: ReasonCode,
    reason_string: String,
}

impl Shard {
    /// PUBLISH from a client (section 3.3).
    #[inline]
    pub(super) fn on_publish(
        &mut self,
        key: ConnectionKey,
        session: u32,
        publish: &Publish<'_>,
        now: Time,
    ) {
        if !publish.subscription_identifiers.is_empty() {
            // [MQTT-3.3.4-6]
            let error = ProtocolError::SubscriptionIdentifierFromClient;
            return self.on_protocol_error(key, error, now);
        }
        match (publish.topic, publish.topic_alias) {
            (Some(topic), None) => self.on_named_publish(key, session, publish, topic, now),
            (topic, Some(alias)) => {
                // [MQTT-3.3.2-9]
                if alias.get() > self.limits.topic_alias_maximum {
                    let error = ProtocolError::TopicAliasInvalid;
                    return self.on_protocol_error(key, error, now);
                }
                let aliases = &mut self.connections[key.index as usize].inbound_aliases;
                if let Some(topic) = topic {
                    aliases.set(alias, topic.as_str());
                    return self.on_named_publish(key, session, publish, topic, now);
                }
                let Some(text) = aliases.take(alias) else {
                    let error = ProtocolError::TopicAliasUnknown;
                    return self.on_protocol_error(key, error, now);
                };
                let topic = TopicName::new(&text).expect("only topic names are given aliases");
                self.on_named_publish(key, session, publish, topic, now);
                if let Some(connection) = self.connection_mut(key) {
                    connection.inbound_aliases.put_back(alias, text);
                }
            }
            // [MQTT-3.3.2-1]
            (None, None) => self.on_protocol_error(key, ProtocolError::NoTopic, now),
        }
    }

    fn on_named_publish(
        &mut self,
        key: ConnectionKey,
        session: u32,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        now: Time,
    ) {
        let qos = match publish.delivery {
            PublishDelivery::AtMostOnce => QoS::AtMostOnce,
            PublishDelivery::AtLeastOnce(_) => QoS::AtLeastOnce,
            PublishDelivery::ExactlyOnce(id) => {
                // [MQTT-4.3.3-10] [MQTT3-4.3.3-2]: known already, so acknowledged and not routed.
                if self.sessions[session as usize].received.contains(id) {
                    if !self.connections[key.index as usize].owes(id) {
                        let kind = AcknowledgementKind::PubRec;
                        self.send_acknowledgement(key.index, kind, id, ReasonCode::Success);
                    }
                    return;
                }
                QoS::ExactlyOnce
            }
        };
        self.counters.messages_received[qos as usize] += 1;
        if qos != QoS::AtMostOnce && self.exceeds_receive_maximum(key, session) {
            // [MQTT-3.3.4-9]
            return self.on_protocol_error(key, ProtocolError::ReceiveMaximumExceeded, now);
        }
        if let Some(refusal) = self.refusal_of(topic) {
            return self.refuse_publish(key, publish.delivery, &refusal);
        }
        let mut filtered = Vec::new();
        let properties = match publish.properties.as_encoded() {
            Some(encoded) => encoded,
            None => {
                publish.properties.write_to(&mut filtered);
                &filtered
            }
        };
        let expires_at = publish
            .message_expiry_interval_seconds
            .map(|seconds| now + Duration::from_secs(u64::from(seconds)));
        let mut publication = Publication::new(MessageParts {
            topic,
            properties,
            payload: publish.payload,
            qos,
            retain: publish.retain,
            published_at: now,
            expires_at,
        });
        publication.publisher = Some(session);
        publication.source = Some(Publisher {
            shard: self.id,
            connection: key,
        });
        match publish.delivery {
            PublishDelivery::AtMostOnce => {
                self.publish(&mut publication, None, now);
            }
            PublishDelivery::AtLeastOnce(id) => {
                self.publish_acknowledged(
                    &mut publication,
                    key,
                    AcknowledgementKind::PubAck,
                    id,
                    now,
                );
            }
            PublishDelivery::ExactlyOnce(id) => {
                self.sessions[session as usize].received.insert(id);
                self.publish_acknowledged(
                    &mut publication,
                    key,
                    AcknowledgementKind::PubRec,
                    id,
                    now,
                );
            }
        }
    }

    /// Routes, and answers when everyone who promised to keep the message has it.
    fn publish_acknowledged(
        &mut self,
        publication: &mut Publication<'_>,
        key: ConnectionKey,
        kind: AcknowledgementKind,
        packet_identifier: PacketIdentifier,
        now: Time,
    ) {
        let sequence = self.connections[key.index as usize].owed_sequence;
        let receipt = Receipt {
            connection: key,
            sequence,
        };
        let published = self.publish(publication, Some(receipt), now);
        let reason_code = if published.matched {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        let connection = &mut self.connections[key.index as usize];
        if published.receipts == 0 && connection.owed.is_empty() {
            return self.send_acknowledgement(key.index, kind, packet_identifier, reason_code);
        }
        let receipts = published.receipts;
        let owed = OwedAcknowledgement {
            kind,
            packet_identifier,
            reason_code,
            receipts,
        };
        connection.owed.push_back(owed);
        connection.owed_sequence = connection.owed_sequence.wrapping_add(1);
    }

    /// Somebody who promised to keep a message has it.
    pub(super) fn on_receipt(&mut self, receipt: Receipt) {
        let Some(connection) = self.connection_mut(receipt.connection) else {
            return;
        };
        // The last one owed has the sequence before the next one's.
        let behind = connection.owed_sequence.wrapping_sub(receipt.sequence) as usize;
        let Some(index) = connection.owed.len().checked_sub(behind) else {
            return;
        };
        let Some(owed) = connection.owed.get_mut(index) else {
            return;
        };
        owed.receipts = owed.receipts.saturating_sub(1);
        while let Some(connection) = self.connection_mut(receipt.connection)
            && connection
                .owed
                .front()
                .is_some_and(|owed| owed.receipts == 0)
            && let Some(owed) = connection.owed.pop_front()
        {
            let index = receipt.connection.index;
            self.send_acknowledgement(index, owed.kind, owed.packet_identifier, owed.reason_code);
        }
    }

    /// 3.1.1 has no Receive Maximum; there the 65,535 identifiers are the bound.
    fn exceeds_receive_maximum(&self, key: ConnectionKey, session: u32) -> bool {
        let connection = &self.connections[key.index as usize];
        let received = self.sessions[session as usize].received.len();
        if connection.version == ProtocolVersion::V3_1_1
            || (received == 0 && connection.owed.is_empty())
        {
            return false;
        }
        let owed = connection
            .owed
            .iter()
            .filter(|owed| owed.kind == AcknowledgementKind::PubAck)
            .count();
        // Section 4.9: the quota begins anew with each connection; what an earlier one left (3.1.1
        // knows no maximum) is not held against this one.
        let inherited = usize::from(self.sessions[session as usize].received_before);
        received + owed >= usize::from(self.limits.receive_maximum.get()) + inherited
    }

    /// Why a client may publish nothing to this topic, if so.
    #[inline]
    pub(super) fn refusal_of(&self, topic: TopicName<'_>) -> Option<Refusal> {
        let text = topic.as_str();
        if text.starts_with('$')
            && let Some(word) = Word::of(text)
        {
            return Some(match word {
                Word::Sys => Refusal {
                    reason_code: ReasonCode::NotAuthorized,
                    reason_string: "only the broker publishes to $SYS".to_owned(),
                },
                Word::Served(word) => Refusal {
                    reason_code: ReasonCode::TopicNameInvalid,
                    reason_string: format!("nothing on this broker serves {word}"),
                },
            });
        }
        let most = usize::from(self.limits.maximum_topic_levels);
        // A topic shorter than the bound cannot have more levels than bytes.
        if text.len() >= most && text.bytes().filter(|byte| *byte == b'/').count() >= most {
            return Some(Refusal {
                reason_code: ReasonCode::TopicNameInvalid,
                reason_string: format!("a topic has at most {most} levels here"),
            });
        }
        None
    }

    fn refuse_publish(&mut self, key: ConnectionKey, delivery: PublishDelivery, refusal: &Refusal) {
        let connection = &self.connections[key.index as usize];
        let (version, explain) = (connection.version, connection.request_problem_information);
        self.counters.drop_message(DropReason::Refused);
        let (kind, packet_identifier) = match delivery {
            // Nobody can be told; [MQTT3-3.3.5-2] allows it on 3.1.1.
            PublishDelivery::AtMostOnce => return,
            PublishDelivery::AtLeastOnce(id) => (AcknowledgementKind::PubAck, id),
            PublishDelivery::ExactlyOnce(id) => (AcknowledgementKind::PubRec, id),
        };
        if version == ProtocolVersion::V3_1_1 {
            // [MQTT3-3.3.5-2]: acknowledged, since there is no way to say no, or closed. For QoS 2
            // the identifier is remembered so that PUBREL finds it.
            if let (AcknowledgementKind::PubRec, Some(session)) = (kind, connection.session()) {
                self.sessions[session as usize]
                    .received
                    .insert(packet_identifier);
            }
            return self.send_acknowledgement(
                key.index,
                kind,
                packet_identifier,
                ReasonCode::Success,
            );
        }
        // [MQTT-3.1.2-29]
        let reason_string = explain.then_some(refusal.reason_string.as_str());
        self.send_explained(key.index, reason_string, |reason_string| {
            let acknowledgement = Acknowledgement {
                packet_identifier,
                reason_code: refusal.reason_code,
                reason_string,
                user_properties: UserProperties::default(),
            };
            match kind {
                AcknowledgementKind::PubAck => Packet::PubAck(acknowledgement),
                AcknowledgementKind::PubRec => Packet::PubRec(acknowledgement),
                AcknowledgementKind::PubRel => Packet::PubRel(acknowledgement),
                AcknowledgementKind::PubComp => Packet::PubComp(acknowledgement),
            }
        });
    }

    /// Routes a message to everyone it is due, and keeps it if it is to be retained.
    ///
    /// `receipt` names the publisher's acknowledgement; as many receipts as the result counts will
    /// come for it through [`on_receipt`](Self::on_receipt).
    pub(super) fn publish(
        &mut self,
        publication: &mut Publication<'_>,
        receipt: Option<Receipt>,
        now: Time,
    ) -> Published {
        let receipts = if publication.parts.retain {
            self.retain(publication, receipt)
        } else {
            0
        };
        Published {
            matched: self.route(publication, now),
            receipts,
        }
    }

    /// Routes a message to everyone it is due; true if there is anyone.
    pub(super) fn route(&mut self, publication: &mut Publication<'_>, now: Time) -> bool {
        let topic = publication.parts.topic.as_str();
        let at = self.routes.place_of(topic);
        let generation = self.index.generation();
        if let Some(route) = self.routes.take(at, topic, generation) {
            self.deliver_route(&route, publication, now);
            let matched = !route.is_empty();
            self.routes.put_back(at, route, generation);
            matched
        } else {
            let mut found: Route = std::mem::take(&mut self.found);
            found.clear();
            self.index.matches(publication.parts.topic, &mut found);
            found.sort_unstable_by_key(|(subscriber, _)| *subscriber);
            self.routes.learn(at, topic, generation, &found);
            self.deliver_route(&found, publication, now);
            let matched = !found.is_empty();
            self.found = found;
            matched
        }
    }

    fn deliver_route(
        &mut self,
        route: &[(Subscriber, Subscription)],
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        publication.fan_out = route.len();
        self.templates.clear();
        for matching in route.chunk_by(|(one, _), (other, _)| one == other) {
            let (subscriber, _) = matching[0];
            match subscriber {
                Subscriber::Session(session) => {
                    let own = publication.publisher == Some(session);
                    if let [(_, subscription)] = matching {
                        if !(own && subscription.no_local()) {
                            self.deliver(session, Terms::of(subscription), publication, now);
                        }
                        continue;
                    }
                    let together = match self.limits.overlapping_subscriptions {
                        OverlappingSubscriptions::Once => matching.len(),
                        OverlappingSubscriptions::Each => 1,
                    };
                    for matching in matching.chunks(together) {
                        if let Some(terms) = JointTerms::of(matching, own) {
                            self.deliver(session, terms.terms(), publication, now);
                        }
                    }
                }
                Subscriber::Pending(_) => {}
                Subscriber::Group(group) => self.deliver_to_group(group, publication, now),
                Subscriber::Peer(peer) => {
                    if !publication.from_peer {
                        self.forward(ShardId(peer), publication);
                    }
                }
            }
        }
    }

    /// The broker's own voice.
    pub(super) fn publish_own(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        now: Time,
    ) {
        let Ok(topic) = TopicName::new(topic) else {
            return;
        };
        let parts = MessageParts {
            topic,
            properties: &[],
            payload,
            qos,
            retain,
            published_at: now,
            expires_at: None,
        };
        self.publish(&mut Publication::new(parts), None, now);
    }
}
