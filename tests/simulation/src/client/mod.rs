//! A simulated client: its half of a session, and what it does with it.
//!
//! It keeps to the specification whatever the network does to it: it answers in order, sends
//! again with DUP what was not acknowledged when a connection was lost, and respects what CONNACK
//! says. So whatever the broker calls a breach of the protocol is the broker's mistake.

mod acts;
mod incoming;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

use nexum_codec::{
    AcknowledgementKind, Connect, ConnectProperties, ForwardedProperties, Packet, Publish,
    PublishDelivery, SubscriptionIdentifiers, UserProperties, Will, encode, encode_acknowledgement,
};
use nexum_types::{PacketIdentifier, ProtocolVersion, QoS, ReasonCode, Time, TopicName};

use crate::judge::Judge;
use crate::judge::messages::{Content, MessageId, Origin, payload_of};
use crate::link::LinkId;
use crate::random::Random;
use crate::scenario::{Answering, Reading, Traits};

pub(crate) use acts::Deed;

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) traits: Traits,
    pub(crate) phase: Phase,
    /// From the last accepted CONNECT on: the broker chose it if the client did not.
    client_id: String,
    version: ProtocolVersion,
    /// It may come back with the other version at some time.
    may_change_version: bool,
    /// CONNECT with Clean Start 1 was sent and not answered: what the broker has is not known.
    must_start_clean: bool,
    outgoing: VecDeque<Outgoing>,
    /// QoS 2 packets whose PUBREL has not come.
    received: BTreeSet<u16>,
    terms: Terms,
    requests: BTreeSet<u16>,
    aliases_up: BTreeMap<NonZeroU16, String>,
    aliases_down: BTreeMap<NonZeroU16, String>,
    inbox: Vec<u8>,
    answers: VecDeque<(Time, Vec<u8>)>,
    /// It is subscribed: who never reads does not read from here on.
    has_begun: bool,
    pub(crate) sent_at: Time,
    pub(crate) pings_unanswered: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Offline,
    /// CONNECT was sent.
    Connecting(LinkId),
    Connected(LinkId),
}

impl Phase {
    pub(crate) fn is_connected(self) -> bool {
        match self {
            Phase::Connected(_) => true,
            Phase::Offline | Phase::Connecting(_) => false,
        }
    }

    pub(crate) fn link(self) -> Option<LinkId> {
        match self {
            Phase::Offline => None,
            Phase::Connecting(link) | Phase::Connected(link) => Some(link),
        }
    }
}

/// A message on its way to the broker.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    id: PacketIdentifier,
    /// `None` clears what is retained.
    message: Option<MessageId>,
    /// The topic of one that clears, as a place in the client's topics.
    topic: usize,
    qos: QoS,
    /// PUBREC has come.
    released: bool,
    was_sent: bool,
    /// What was last sent of it on this connection.
    sent_here: SentHere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentHere {
    Nothing,
    Publish,
    /// PUBREL, after PUBLISH on an earlier connection: that takes no quota.
    ReleaseOnly,
}

/// What CONNACK said.
#[derive(Clone, Copy, Debug)]
struct Terms {
    receive_maximum: usize,
    maximum_packet_size: usize,
    topic_alias_maximum: u16,
    keep_alive_seconds: u16,
}

/// What a client may use while it does something.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) judge: &'a mut Judge,
    pub(crate) random: &'a mut Random,
    pub(crate) verifies_credentials: bool,
    /// Bytes to send on its connection.
    pub(crate) out: Vec<u8>,
}

impl Context<'_> {
    fn send(&mut self, packet: &Packet<'_>, version: ProtocolVersion) {
        encode(packet, version, &mut self.out).expect("simulated packets are small");
    }
}

impl Client {
    pub(crate) fn new(number: usize, traits: Traits) -> Client {
        Client {
            number,
            phase: Phase::Offline,
            client_id: traits.client_id.clone(),
            version: traits.version,
            may_change_version: traits.changes_version,
            traits,
            must_start_clean: false,
            outgoing: VecDeque::new(),
            received: BTreeSet::new(),
            terms: Terms {
                receive_maximum: 0,
                maximum_packet_size: 0,
                topic_alias_maximum: 0,
                keep_alive_seconds: 0,
            },
            requests: BTreeSet::new(),
            aliases_up: BTreeMap::new(),
            aliases_down: BTreeMap::new(),
            inbox: Vec::new(),
            answers: VecDeque::new(),
            has_begun: false,
            sent_at: Time::ZERO,
            pings_unanswered: 0,
        }
    }

    /// From now on it reads and answers at once, and does not leave by itself.
    pub(crate) fn become_healthy(&mut self) {
        self.traits.reading = Reading::Promptly;
        self.traits.answering = Answering::AtOnce;
        self.traits.wrong_password_percent = 0;
        self.traits.clean_start_percent = 0;
        self.traits.will_percent = 0;
        self.traits.pipelines = false;
        self.traits.changes_version = false;
        self.traits.window_bytes = self.traits.window_bytes.max(20_000);
    }

    /// How it reads now. Who never reads would never be subscribed if it did not at first.
    pub(crate) fn reading(&self) -> Reading {
        match self.traits.reading {
            Reading::Never if !self.has_begun => Reading::Promptly,
            reading @ (Reading::Promptly | Reading::Slowly { .. } | Reading::Never) => reading,
        }
    }

    /// Whether it reads and answers at once.
    pub(crate) fn is_healthy(&self) -> bool {
        self.traits.reading == Reading::Promptly
            && matches!(self.traits.answering, Answering::AtOnce)
    }

    /// Whether nothing of its own is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outgoing.is_empty() && self.requests.is_empty() && self.answers.is_empty()
    }

    /// What it still waits for.
    pub(crate) fn waits_for(&self) -> String {
        format!("outgoing {:?}, requests {:?}", self.outgoing, self.requests)
    }

    /// A connection is there: CONNECT.
    pub(crate) fn connect(&mut self, link: LinkId, clean: Option<bool>, context: &mut Context<'_>) {
        let traits = &self.traits;
        self.phase = Phase::Connecting(link);
        self.inbox.clear();
        self.answers.clear();
        self.requests.clear();
        self.aliases_up.clear();
        self.aliases_down.clear();
        self.pings_unanswered = 0;
        self.has_begun = false;
        if traits.changes_version && context.random.percent(30) {
            self.version = match self.version {
                ProtocolVersion::V3_1_1 => ProtocolVersion::V5,
                ProtocolVersion::V5 => ProtocolVersion::V3_1_1,
            };
        }
        let version = self.version;
        let v5 = version == ProtocolVersion::V5;
        let clean_start = clean.unwrap_or_else(|| {
            self.must_start_clean || context.random.percent(traits.clean_start_percent)
        }) || (self.client_id.is_empty() && !v5);
        self.must_start_clean = clean_start;
        let has_will = context.random.percent(traits.will_percent);
        let will = has_will.then(|| self.make_will(context));
        let (name, password): (Option<&str>, &[u8]) = if context.verifies_credentials
            && (traits.wrong_password_percent == 0 || context.random.percent(70))
        {
            let wrong = context.random.percent(traits.wrong_password_percent);
            (Some("user"), if wrong { b"wrong" } else { b"right" })
        } else {
            (None, b"")
        };
        let payload = will.as_ref().map(|(id, bytes, _)| payload_of(*id, *bytes));
        let content = will
            .as_ref()
            .map(|(id, _, _)| context.judge.message(*id).content.clone());
        let packet = Packet::Connect(Connect {
            version,
            clean_start,
            keep_alive_seconds: traits.keep_alive_seconds,
            client_id: &self.client_id,
            will: match (&will, &payload, &content) {
                (Some((_, _, delay)), Some(payload), Some(content)) => Some(Will {
                    topic: TopicName::new(&content.topic).expect("scenarios have valid topics"),
                    payload,
                    qos: content.qos,
                    retain: content.retain,
                    delay_interval_seconds: *delay,
                    message_expiry_interval_seconds: content.expiry_seconds,
                    properties: ForwardedProperties::from_encoded(&content.properties)
                        .expect("made by this crate"),
                }),
                (_, _, _) => None,
            },
            user_name: name,
            password: name.map(|_| password),
            properties: ConnectProperties {
                session_expiry_interval_seconds: traits.session_expiry_seconds.filter(|_| v5),
                receive_maximum: traits
                    .receive_maximum
                    .filter(|_| v5)
                    .unwrap_or(NonZeroU16::MAX),
                maximum_packet_size: traits.maximum_packet_size.filter(|_| v5),
                topic_alias_maximum: if v5 { traits.topic_alias_maximum } else { 0 },
                request_response_information: false,
                request_problem_information: true,
                authentication_method: None,
                authentication_data: None,
                user_properties: UserProperties::EMPTY,
            },
        });
        context.send(&packet, version);
        // Before CONNACK nothing is known of the broker: a QoS 0 message and a subscription at most.
        if traits.pipelines && clean_start {
            self.terms = Terms {
                receive_maximum: 0,
                maximum_packet_size: 1000,
                topic_alias_maximum: 0,
                keep_alive_seconds: traits.keep_alive_seconds,
            };
            self.outgoing.clear();
            self.received.clear();
            if context.random.percent(60) {
                self.subscribe(context);
            }
            if context.random.percent(60) {
                self.publish_at(QoS::AtMostOnce, context);
            }
        }
        self.sent_at = context.now;
    }

    fn make_will(&self, context: &mut Context<'_>) -> (MessageId, usize, u32) {
        let v5 = self.version == ProtocolVersion::V5;
        let random = &mut *context.random;
        let topic = match random.below(4) {
            0 => random.pick(&self.traits.topics).clone(),
            _ => format!("w/{}", self.number),
        };
        let content = Content {
            origin: Origin::Will(self.number),
            topic,
            qos: *random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: random.percent(20),
            expiry_seconds: (self.speaks_properties() && random.percent(10))
                .then(|| random.between(1, 5) as u32),
            properties: self.properties(random),
            payload_bytes: random.between(4, 40) as usize,
        };
        let delay = if v5 {
            *random.pick(&[0, 0, 1, 2, 6])
        } else {
            0
        };
        let bytes = content.payload_bytes;
        (context.judge.add_message(content), bytes, delay)
    }

    /// Whether what it makes has properties: not if it may have to send it by 3.1.1.
    fn speaks_properties(&self) -> bool {
        self.version == ProtocolVersion::V5 && !self.may_change_version
    }

    /// Properties that travel with a message, encoded.
    fn properties(&self, random: &mut Random) -> Vec<u8> {
        let mut properties = Vec::new();
        if self.speaks_properties() {
            if random.percent(20) {
                // Content Type.
                properties.extend_from_slice(b"\x03\0\x04text");
            }
            if random.percent(20) {
                // User Property: the sticky strategy goes by it.
                let value = b'a' + random.below(3) as u8;
                properties.extend_from_slice(b"\x26\0\x03key\0\x01");
                properties.push(value);
            }
        }
        properties
    }

    /// The connection is gone, by whomever.
    pub(crate) fn disconnected(&mut self) {
        self.phase = Phase::Offline;
        self.answers.clear();
        self.inbox.clear();
    }

    /// When it has to say something next so that the broker does not take it for dead.
    pub(crate) fn ping_due(&self) -> Option<Time> {
        let seconds = NonZeroU16::new(self.terms.keep_alive_seconds)?;
        match self.phase {
            Phase::Connected(_) => {
                Some(self.sent_at + Duration::from_millis(u64::from(seconds.get()) * 800))
            }
            Phase::Offline | Phase::Connecting(_) => None,
        }
    }

    pub(crate) fn ping(&mut self, context: &mut Context<'_>) {
        context.send(&Packet::PingReq, self.version);
        self.pings_unanswered += 1;
    }

    /// The answers that are due now, in order.
    pub(crate) fn take_answers(&mut self, now: Time) -> Vec<u8> {
        let mut due = Vec::new();
        while let Some((at, bytes)) = self.answers.pop_front() {
            if at > now {
                self.answers.push_front((at, bytes));
                break;
            }
            due.extend_from_slice(&bytes);
        }
        due
    }

    pub(crate) fn next_answer(&self) -> Option<Time> {
        self.answers.front().map(|(at, _)| *at)
    }

    /// Sends what may be sent of the messages under way, in their order.
    fn pump(&mut self, context: &mut Context<'_>) {
        let version = self.version;
        let mut used = self
            .outgoing
            .iter()
            .filter(|one| one.sent_here == SentHere::Publish)
            .count();
        for at in 0..self.outgoing.len() {
            let outgoing = self.outgoing[at];
            match outgoing.sent_here {
                SentHere::Publish | SentHere::ReleaseOnly => continue,
                SentHere::Nothing => {}
            }
            if outgoing.released {
                self.outgoing[at].sent_here = SentHere::ReleaseOnly;
                let kind = AcknowledgementKind::PubRel;
                let success = ReasonCode::Success;
                encode_acknowledgement(kind, outgoing.id, success, version, &mut context.out);
                continue;
            }
            if used >= self.terms.receive_maximum {
                return;
            }
            used += 1;
            self.outgoing[at].sent_here = SentHere::Publish;
            self.outgoing[at].was_sent = true;
            self.send_publish(&outgoing, context);
        }
    }

    fn send_publish(&mut self, outgoing: &Outgoing, context: &mut Context<'_>) {
        let delivery = match outgoing.qos {
            QoS::AtMostOnce => PublishDelivery::AtMostOnce,
            QoS::AtLeastOnce => PublishDelivery::AtLeastOnce(outgoing.id),
            QoS::ExactlyOnce => PublishDelivery::ExactlyOnce(outgoing.id),
        };
        let content = match outgoing.message {
            Some(message) => context.judge.message(message).content.clone(),
            None => Content {
                origin: Origin::Client(self.number),
                topic: self.traits.topics[outgoing.topic].clone(),
                qos: outgoing.qos,
                retain: true,
                expiry_seconds: None,
                properties: Vec::new(),
                payload_bytes: 0,
            },
        };
        let payload = outgoing
            .message
            .map_or(Vec::new(), |id| payload_of(id, content.payload_bytes));
        let (topic, topic_alias) = self.name(&content.topic, context.random);
        let packet = Packet::Publish(Publish {
            dup: outgoing.was_sent && outgoing.qos != QoS::AtMostOnce,
            retain: content.retain,
            delivery,
            topic: topic.map(|topic| TopicName::new(topic).expect("scenarios have valid topics")),
            topic_alias,
            message_expiry_interval_seconds: content.expiry_seconds,
            properties: ForwardedProperties::from_encoded(&content.properties)
                .expect("made by this crate"),
            subscription_identifiers: SubscriptionIdentifiers::EMPTY,
            payload: &payload,
        });
        context.send(&packet, self.version);
    }

    /// A topic by name, by name and alias, or by alias alone.
    fn name<'a>(
        &mut self,
        topic: &'a str,
        random: &mut Random,
    ) -> (Option<&'a str>, Option<NonZeroU16>) {
        let most = self.terms.topic_alias_maximum;
        if self.version != ProtocolVersion::V5 || !self.traits.uses_aliases || most == 0 {
            return (Some(topic), None);
        }
        let known = self
            .aliases_up
            .iter()
            .find(|(_, known)| *known == topic)
            .map(|(alias, _)| *alias);
        match known {
            Some(alias) if random.percent(80) => (None, Some(alias)),
            Some(_) | None if random.percent(50) => {
                let alias =
                    NonZeroU16::new(random.between(1, u64::from(most)) as u16).expect("at least 1");
                self.aliases_up.insert(alias, topic.to_owned());
                (Some(topic), Some(alias))
            }
            Some(_) | None => (Some(topic), None),
        }
    }

    fn free_identifier(&self, random: &mut Random) -> PacketIdentifier {
        loop {
            let value = random.between(1, 60) as u16 + if random.percent(3) { 65_000 } else { 0 };
            let id = PacketIdentifier::new(value).expect("at least 1");
            if !self.requests.contains(&value) && self.outgoing.iter().all(|one| one.id != id) {
                return id;
            }
        }
    }
}
