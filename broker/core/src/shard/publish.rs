//! The one routing path: whatever is published by whomever goes through [`Shard::publish`].

use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{AcknowledgementKind, Property, Publish, PublishDelivery};
use nexum_extension_api::{ErrorCode, Refusal};
use nexum_types::{Message, MessageParts, PacketIdentifier, ProtocolVersion, QoS, Time, TopicName};

use super::Shard;
use super::deliver::{JointTerms, Terms};
use crate::key::{ConnectionKey, ShardId};
use crate::limits::OverlappingSubscriptions;
use crate::output::ProtocolError;
use crate::peer::{Moved, NotKept, Publisher, Receipt};
use crate::record::{Change, Key, MessageId, SessionId, Value};
use crate::route_cache::Route;
use crate::session::Received;
use crate::subscription::{Subscriber, Subscription};

/// Who of those that a publication is due gets it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pass {
    #[default]
    All,
    /// Those who keep it.
    Keepers,
    /// The others.
    Others,
}

impl Pass {
    fn is_for(self, terms: &Subscription) -> bool {
        match self {
            Pass::All => true,
            Pass::Keepers => terms.is_durable(),
            Pass::Others => !terms.is_durable(),
        }
    }
}

/// A message on its way through the routing path.
pub(super) struct Publication<'a> {
    pub(super) parts: MessageParts<'a>,
    /// The owned form, once somebody has to keep it.
    message: Option<Arc<Message>>,
    /// The session of this shard that published it, for No Local.
    pub(super) publisher: Option<u32>,
    /// The connection to hold back if a subscriber falls behind.
    pub(super) source: Option<Publisher>,
    /// Its publisher is told if it cannot be kept, and may publish it again.
    pub(super) revocable: bool,
    /// It came from another shard, which has told the others itself.
    pub(super) from_peer: bool,
    /// To how many subscribers it goes.
    pub(super) fan_out: usize,
    /// Who waits until everybody who is to keep it has it safe.
    pub(super) receipt: Option<Receipt>,
    /// So many answers will come for the receipt.
    pub(super) receipts: u16,
    /// Somebody who should keep it cannot.
    pub(super) refused: Option<NotKept>,
    /// All that is kept of it is committed by one shard at once, and nobody who keeps it is sent it
    /// before.
    pub(super) joint: bool,
    /// So many sessions and groups of this shard may keep it.
    keepers: usize,
    /// Something of this shard's is kept of it.
    pub(super) kept: bool,
    /// What the store calls it, if several share it.
    pub(super) shared: Option<MessageId>,
    /// It moves with a reference to that, which who takes it takes over.
    pub(super) carries_reference: bool,
    /// Where it was kept before: deleted in the submission that keeps it anew.
    pub(super) moved: Vec<Moved>,
    pub(super) pass: Pass,
    /// What its publisher changes in the submission in which it is kept, if it is joint.
    pub(super) own_changes: Vec<Change>,
}

impl<'a> Publication<'a> {
    pub(super) fn new(parts: MessageParts<'a>) -> Publication<'a> {
        Publication {
            parts,
            message: None,
            publisher: None,
            source: None,
            revocable: false,
            from_peer: false,
            fan_out: 0,
            receipt: None,
            receipts: 0,
            refused: None,
            joint: false,
            keepers: 0,
            kept: false,
            shared: None,
            carries_reference: false,
            moved: Vec::new(),
            pass: Pass::All,
            own_changes: Vec::new(),
        }
    }

    pub(super) fn of_message(message: &'a Arc<Message>) -> Publication<'a> {
        let mut publication = Publication::new(message.parts());
        publication.message = Some(Arc::clone(message));
        publication
    }

    /// It was kept already, under this name, and whoever keeps it next takes that over.
    pub(super) fn move_reference(&mut self, message: MessageId) {
        self.shared = Some(message);
        self.carries_reference = true;
    }

    /// Whether something of it is kept by this shard.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether one session of this shard keeps it at most, so that it needs no record of its own.
    pub(super) fn is_kept_once(&self) -> bool {
        self.keepers <= 1 && self.shared.is_none()
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// Somebody was subscribed.
    pub(super) matched: bool,
    /// So many receipts will come before its publisher may be acknowledged.
    pub(super) receipts: u16,
    /// It may not be acknowledged at all.
    pub(super) refused: Option<NotKept>,
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
                let receipt = self.next_receipt(key);
                if let Some(received) = self.sessions[session as usize].received.get_mut(id) {
                    if self.connections[key.index as usize].owes(id) {
                        return;
                    }
                    let mut known = Published {
                        matched: true,
                        ..Published::default()
                    };
                    if matches!(received, Received::Waiting | Received::AskedAgain(_)) {
                        // It came on an earlier connection, and waits for the store still.
                        *received = Received::AskedAgain(receipt);
                        known.receipts = 1;
                    }
                    // [MQTT-4.6.0-3]: after those for what came before it.
                    return self.owe(key, AcknowledgementKind::PubRec, id, known, now);
                }
                QoS::ExactlyOnce
            }
        };
        self.counters.messages_received[qos as usize] += 1;
        if qos != QoS::AtMostOnce && self.exceeds_receive_maximum(key, session) {
            // [MQTT-3.3.4-9]
            return self.on_protocol_error(key, ProtocolError::ReceiveMaximumExceeded, now);
        }
        let is_addressed = self.words.is_addressed(topic.as_str()) || has_delay(publish);
        if !is_addressed && let Some(refusal) = self.refusal_of(topic) {
            return self.refuse_publish(key, publish.delivery, &refusal, now);
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
        let parts = MessageParts {
            topic,
            properties,
            payload: publish.payload,
            qos,
            retain: publish.retain,
            published_at: now,
            expires_at,
        };
        if is_addressed {
            return self.on_addressed_publish(key, session, publish, topic, parts, now);
        }
        self.publish_from_client(key, session, publish.delivery, parts, now);
    }

    /// To a plain topic.
    pub(super) fn publish_from_client(
        &mut self,
        key: ConnectionKey,
        session: u32,
        delivery: PublishDelivery,
        parts: MessageParts<'_>,
        now: Time,
    ) {
        let mut publication = Publication::new(parts);
        publication.publisher = Some(session);
        publication.source = Some(Publisher {
            shard: self.id,
            connection: key,
        });
        publication.revocable = true;
        match delivery {
            PublishDelivery::AtMostOnce => {
                self.publish(&mut publication, now);
            }
            PublishDelivery::AtLeastOnce(id) => {
                if self.journal.is_refusing() && self.would_be_kept(&publication) {
                    return self.refuse_publish(
                        key,
                        delivery,
                        &NotKept::StoreRefuses.refusal(),
                        now,
                    );
                }
                let kind = AcknowledgementKind::PubAck;
                self.publish_acknowledged(&mut publication, key, kind, id, now);
            }
            PublishDelivery::ExactlyOnce(id) => {
                if self.journal.is_refusing() && self.would_be_kept(&publication) {
                    return self.refuse_publish(
                        key,
                        delivery,
                        &NotKept::StoreRefuses.refusal(),
                        now,
                    );
                }
                self.publish_once(&mut publication, key, session, id, now);
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
        let receipt = self.next_receipt(key);
        let published = if self.is_shared_over_shards(publication) {
            self.publish_jointly(publication, None, receipt, now)
        } else {
            publication.receipt = Some(receipt);
            self.publish(publication, now)
        };
        self.owe(key, kind, packet_identifier, published, now);
        self.begin_joint(now);
    }

    /// QoS 2: if anybody keeps the message and the session outlives its connection, the identifier
    /// is kept in the same submission. A repetition that is taken for another message would come
    /// twice, a message that is taken for a repetition not at all. What an extension captures has no
    /// part in that submission, which waits until the extension has it: it may come to have it twice.
    fn publish_once(
        &mut self,
        publication: &mut Publication<'_>,
        key: ConnectionKey,
        session: u32,
        id: PacketIdentifier,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        state.received.insert(id, Received::Here);
        let Some(session_id) = state.keeps() else {
            let kind = AcknowledgementKind::PubRec;
            return self.publish_acknowledged(publication, key, kind, id, now);
        };
        let receipt = self.next_receipt(key);
        let published = if self.is_kept_elsewhere(publication) {
            self.publish_jointly(publication, Some((session, id)), receipt, now)
        } else {
            publication.receipt = Some(receipt);
            let published = self.publish(publication, now);
            if published.receipts > 0 {
                self.keep_received(session, session_id, id);
            }
            published
        };
        self.owe(key, AcknowledgementKind::PubRec, id, published, now);
        self.begin_joint(now);
    }

    /// The record of an identifier goes with what was put just now.
    pub(super) fn keep_received(&mut self, session: u32, id: SessionId, packet: PacketIdentifier) {
        let key = self.session_key(session);
        let state = &mut self.sessions[session as usize];
        if let Some(received) = state.received.get_mut(packet) {
            *received = Received::Waiting;
            self.journal.put(Key::Received(id, packet), Value::Received);
            self.journal.waiters().received.push((key, packet));
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
        let owed = connection.owed_pubacks as usize;
        // Section 4.9: the quota begins anew with each connection; what an earlier one left (3.1.1
        // knows no maximum) is not held against this one.
        let inherited = usize::from(self.sessions[session as usize].received_before);
        received + owed >= usize::from(self.limits.receive_maximum.get()) + inherited
    }

    /// Why nobody may publish to this plain topic, if so.
    #[inline]
    pub(super) fn refusal_of(&self, topic: TopicName<'_>) -> Option<Refusal> {
        let text = topic.as_str();
        let most = usize::from(self.limits.maximum_topic_levels);
        // A topic shorter than the bound cannot have more levels than bytes.
        if text.len() >= most && text.bytes().filter(|byte| *byte == b'/').count() >= most {
            return Some(Refusal::new(
                ErrorCode::BadAddress,
                format!("a topic has at most {most} levels here"),
            ));
        }
        None
    }

    /// Routes a message to everyone it is due, and keeps it if it is to be retained.
    ///
    /// As many answers as the result counts will come for the publication's receipt.
    pub(super) fn publish(&mut self, publication: &mut Publication<'_>, now: Time) -> Published {
        if publication.parts.retain && publication.pass != Pass::Others {
            self.retain(publication);
        }
        let matched = self.route(publication, now);
        self.await_own_commit(publication);
        Published {
            matched,
            receipts: publication.receipts,
            refused: publication.refused.clone(),
        }
    }

    /// If something of it is kept here, whoever waits for it waits for that, too.
    pub(super) fn await_own_commit(&mut self, publication: &mut Publication<'_>) {
        if publication.kept
            && !publication.joint
            && let Some(receipt) = publication.receipt
        {
            publication.receipts += 1;
            self.journal.waiters().receipts.push(receipt);
        }
    }

    /// Whether somebody would promise to keep it.
    pub(super) fn would_be_kept(&mut self, publication: &Publication<'_>) -> bool {
        publication.parts.retain
            || self.look_at_route(publication.parts.topic, |route| {
                route.iter().any(|(_, terms)| terms.is_durable())
            })
    }

    /// Whether another shard may have to keep it, too, or an extension that captures it.
    fn is_kept_elsewhere(&mut self, publication: &Publication<'_>) -> bool {
        let topic = publication.parts.topic;
        let has_peers = self.shards > 1;
        if !has_peers && self.captures.is_empty() {
            return false;
        }
        publication.parts.retain && self.home_of(topic.as_str()) != self.id
            || self.look_at_route(topic, |route| {
                route.iter().any(|(subscriber, terms)| match subscriber {
                    Subscriber::Capture(_) => true,
                    Subscriber::Session(_) => false,
                    Subscriber::Peer(_) | Subscriber::Group(_) | Subscriber::Pending(_) => {
                        has_peers && terms.is_durable()
                    }
                })
            })
    }

    /// Whether several may have to keep it, of whom some are on other shards: its record is theirs
    /// together.
    fn is_shared_over_shards(&mut self, publication: &Publication<'_>) -> bool {
        self.durable_interests > 0
            && self.look_at_route(publication.parts.topic, |route| {
                let mut keepers = route.iter().filter(|(_, terms)| terms.is_durable());
                let is_peer = |subscriber: &Subscriber| matches!(subscriber, Subscriber::Peer(_));
                keepers.clone().count() > 1 && keepers.any(|(subscriber, _)| is_peer(subscriber))
            })
    }

    fn look_at_route<R>(
        &mut self,
        topic: TopicName<'_>,
        look: impl FnOnce(&[(Subscriber, Subscription)]) -> R,
    ) -> R {
        let at = self.routes.place_of(topic.as_str());
        let generation = self.index.generation();
        if let Some(route) = self.routes.take(at, topic.as_str(), generation) {
            let seen = look(&route);
            self.routes.put_back(at, route, generation);
            return seen;
        }
        let mut found: Route = std::mem::take(&mut self.found);
        found.clear();
        self.index.matches(topic, &mut found);
        let seen = look(&found);
        self.found = found;
        seen
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
        if publication.parts.qos != QoS::AtMostOnce {
            publication.keepers = route.iter().filter(|(_, terms)| terms.is_durable()).count();
        }
        self.templates.clear();
        for matching in route.chunk_by(|(one, _), (other, _)| one == other) {
            let (subscriber, terms) = &matching[0];
            let is_captured = matches!(subscriber, Subscriber::Capture(_));
            if !publication.pass.is_for(terms) && !is_captured {
                continue;
            }
            match *subscriber {
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
                Subscriber::Capture(capture) => {
                    // Once, and with those who keep it.
                    if publication.pass != Pass::Others {
                        self.hand_to_capture(capture, publication);
                    }
                }
                Subscriber::Group(group) => self.deliver_to_group(group, publication, now),
                Subscriber::Peer(peer) => {
                    if !publication.from_peer {
                        let durable = matching.iter().any(|(_, terms)| terms.is_durable());
                        self.forward(ShardId(peer), publication, durable);
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
        self.publish_anywhere(parts, None, None, None, now);
    }
}

/// Whether an MQTT 5 client says when a plain topic is to be published to.
fn has_delay(publish: &Publish<'_>) -> bool {
    !publish.properties.is_empty()
        && publish
            .properties
            .iter()
            .any(|property| matches!(property, Property::UserProperty("delay", _)))
}
