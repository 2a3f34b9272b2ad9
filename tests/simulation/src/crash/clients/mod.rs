//! A client that goes on after the broker was gone, as the specification has it: it sends again what
//! was not acknowledged, with DUP and the same identifiers, and knows what it has got by QoS 2.

mod brief;
mod consume;
mod incoming;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use nexum_codec::{
    AcknowledgementKind, Connect, ConnectProperties, Disconnect, Filters, ForwardedProperties,
    Packet, Publish, PublishDelivery, Subscribe, SubscriptionIdentifiers, SubscriptionRequest,
    SubscriptionRequests, Unsubscribe, UserProperties, Will, encode, encode_acknowledgement,
};
use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions, Time,
    TopicName,
};

use self::brief::brief;
use super::jobs::WITH_ID;
use super::scenario::Traits;
use super::verdict::{Verdict, WriteNumber, is_of_queue};
use crate::history::History;
use crate::link::LinkId;
use crate::random::Random;

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) traits: Traits,
    pub(super) phase: Phase,
    outgoing: VecDeque<Outgoing>,
    /// QoS 2 packets whose PUBREL has not come.
    received: BTreeSet<u16>,
    requests: BTreeMap<u16, Request>,
    answers: VecDeque<Answer>,
    /// What came from queues at QoS 2 and is not complete.
    in_flight: BTreeMap<u16, Job>,
    /// What it will not answer while there is trouble.
    ignored: Vec<(AcknowledgementKind, PacketIdentifier, Job)>,
    /// What it has leased and not settled.
    leases: Vec<Lease>,
    /// Filters of queues that the broker has confirmed for the session.
    confirmed: BTreeSet<String>,
    is_calm: bool,
    inbox: Vec<u8>,
    next_identifier: u16,
    /// CONNECT with Clean Start 1 was sent and not answered.
    must_start_clean: bool,
    clean_sent: bool,
    will: Option<Testament>,
    /// It ends its session and does nothing else.
    pub(super) is_leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Offline,
    Connecting(LinkId),
    Connected(LinkId),
}

/// A will of the present connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Testament {
    pub(super) number: u32,
    pub(super) delay_seconds: u32,
}

#[derive(Debug)]
enum Request {
    Subscribe(Vec<String>),
    Unsubscribe(String),
}

/// Something that a queue has delivered.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// The message.
    number: u32,
    /// What the broker calls it, if it says so.
    job: Option<u64>,
}

/// A job that a command settles.
#[derive(Clone, Debug)]
struct Lease {
    job: Job,
    /// The topic of the command.
    topic: String,
    /// The job is done when it is acknowledged.
    is_done: bool,
}

/// An acknowledgement that is to be sent.
#[derive(Debug)]
struct Answer {
    at: Time,
    bytes: Vec<u8>,
    /// What is done with it.
    settles: Option<Job>,
}

/// A message on its way to the broker.
#[derive(Clone, Debug)]
struct Outgoing {
    id: PacketIdentifier,
    /// `None` clears what is retained.
    number: Option<u32>,
    topic: String,
    qos: QoS,
    retains: Option<WriteNumber>,
    /// It is a command that settles this.
    settles: Option<Job>,
    /// PUBREC has come.
    released: bool,
    was_sent: bool,
    sent_here: bool,
}

/// What a client may use while it does something.
pub(super) struct Tools<'a> {
    pub(super) now: Time,
    pub(super) random: &'a mut Random,
    pub(super) verdict: &'a mut Verdict,
    pub(super) history: &'a mut History,
    /// No shard's store has refused anything.
    pub(super) stores: bool,
    /// When the broker wrote what is being read.
    pub(super) written: Time,
    /// Jobs that it has settled.
    pub(super) settled: Vec<u64>,
    /// Bytes for its connection.
    pub(super) out: Vec<u8>,
    /// It ends the connection.
    pub(super) closes: bool,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Something,
    /// The network loses its connection.
    Cut,
    /// It opens another one beside it.
    TakeOver,
}

const PLAIN: SubscriptionOptions = SubscriptionOptions {
    maximum_qos: QoS::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::SendAtSubscribe,
};

impl Client {
    pub(super) fn new(number: usize, traits: Traits) -> Client {
        Client {
            number,
            traits,
            phase: Phase::Offline,
            outgoing: VecDeque::new(),
            received: BTreeSet::new(),
            requests: BTreeMap::new(),
            answers: VecDeque::new(),
            in_flight: BTreeMap::new(),
            ignored: Vec::new(),
            leases: Vec::new(),
            confirmed: BTreeSet::new(),
            is_calm: false,
            inbox: Vec::new(),
            next_identifier: 1,
            must_start_clean: false,
            clean_sent: false,
            will: None,
            is_leaving: false,
        }
    }

    pub(super) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Offline => None,
            Phase::Connecting(link) | Phase::Connected(link) => Some(link),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// Whether nothing of its own is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.outgoing.is_empty() && self.requests.is_empty() && self.answers.is_empty()
    }

    /// The will that the end of its connection is to publish.
    pub(super) fn will(&self) -> Option<Testament> {
        self.will
            .filter(|_| self.is_connected() && self.traits.persistent)
    }

    pub(super) fn waits_for(&self) -> String {
        format!(
            "{:?}: {:?}, {:?}, {} answers",
            self.phase,
            self.outgoing,
            self.requests,
            self.answers.len()
        )
    }

    /// From now on it is there, answers at once and does nothing else.
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.traits.answers = crate::random::Span::millis(0, 0);
        self.traits.pause = crate::random::Span::millis(1, 50);
        self.traits.clean_start_percent = 0;
        self.traits.will_percent = 0;
    }

    pub(super) fn disconnected(&mut self) {
        self.phase = Phase::Offline;
        self.inbox.clear();
        self.answers.clear();
        self.in_flight.clear();
        self.ignored.clear();
        self.requests.clear();
        self.will = None;
        if !self.persists() {
            self.outgoing.clear();
            self.received.clear();
            self.confirmed.clear();
        }
    }

    pub(super) fn connect(&mut self, link: LinkId, tools: &mut Tools<'_>) {
        self.disconnected();
        self.phase = Phase::Connecting(link);
        let v5 = self.traits.version == ProtocolVersion::V5;
        let keeps = self.traits.persistent && !self.is_leaving;
        let clean = !keeps
            || self.must_start_clean
            || tools.random.percent(self.traits.clean_start_percent);
        self.must_start_clean = clean;
        self.clean_sent = clean;
        tools.verdict.connect_sent(self.number, clean);
        let topic = format!("w/{}", self.number);
        // A session that 3.1.1 begins cleanly ends with its connection.
        let will = (keeps && (v5 || !clean) && tools.random.percent(self.traits.will_percent))
            .then(|| Testament {
                number: tools.verdict.new_will(self.number, &topic),
                delay_seconds: if v5 { tools.random.below(2) as u32 } else { 0 },
            });
        self.will = will;
        let payload = will.map(|will| tools.verdict.payload(will.number));
        let packet = Packet::Connect(Connect {
            version: self.traits.version,
            clean_start: clean,
            keep_alive_seconds: 0,
            client_id: &self.traits.client_id,
            will: will.zip(payload.as_ref()).map(|(will, payload)| Will {
                topic: TopicName::new(&topic).expect("it is one"),
                payload,
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_interval_seconds: will.delay_seconds,
                message_expiry_interval_seconds: None,
                properties: ForwardedProperties::from_encoded(&[]).expect("there are none"),
            }),
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval_seconds: (v5 && keeps).then_some(u32::MAX),
                receive_maximum: NonZeroU16::new(self.traits.receive_maximum)
                    .filter(|_| v5)
                    .unwrap_or(NonZeroU16::MAX),
                maximum_packet_size: None,
                topic_alias_maximum: 0,
                request_response_information: false,
                request_problem_information: true,
                authentication_method: None,
                authentication_data: None,
                user_properties: UserProperties::EMPTY,
            },
        });
        self.send(&packet, tools);
    }

    fn send(&self, packet: &Packet<'_>, tools: &mut Tools<'_>) {
        let number = self.number;
        tools.history.note(tools.now, || {
            format!("client {number} ──► {}", brief(packet))
        });
        encode(packet, self.traits.version, &mut tools.out).expect("simulated packets are small");
    }

    /// Whether the session that it begins now outlives its connection.
    fn persists(&self) -> bool {
        let v5 = self.traits.version == ProtocolVersion::V5;
        self.traits.persistent && !self.is_leaving && (v5 || !self.clean_sent)
    }

    // What it does of its own accord.

    pub(super) fn act(&mut self, tools: &mut Tools<'_>) -> Deed {
        let traits = &self.traits;
        let chances = [
            traits.publishes,
            traits.subscribes,
            traits.unsubscribes,
            traits.leaves,
            10,
        ];
        let mut chosen = tools.random.below(chances.iter().sum::<u32>() as usize) as u32;
        let deed = chances
            .iter()
            .position(|chance| {
                let is_it = chosen < *chance;
                chosen = chosen.saturating_sub(*chance);
                is_it
            })
            .unwrap_or(4);
        if tools.random_if(!self.leases.is_empty(), 70) {
            self.settle_leases(tools);
        }
        match deed {
            0 => self.publish(tools),
            1 => self.subscribe(tools),
            2 => self.unsubscribe(tools),
            3 => match tools.random.below(4) {
                0 => {
                    self.disconnect(tools);
                }
                1 => return Deed::TakeOver,
                _ => return Deed::Cut,
            },
            _ => {}
        }
        Deed::Something
    }

    pub(super) fn disconnect(&mut self, tools: &mut Tools<'_>) {
        self.will = None;
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        self.send(&packet, tools);
        tools.closes = true;
    }

    fn publish(&mut self, tools: &mut Tools<'_>) {
        let qos = *tools.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let retains = self.traits.retained_topic.is_some() && tools.random.percent(15);
        if let Some(topic) = self.traits.retained_topic.clone().filter(|_| retains) {
            let clears = tools.random.percent(20);
            let qos = self.traits.retained_qos;
            return self.publish_on(&topic, qos, Some(clears), tools);
        }
        if self.traits.topics.is_empty() {
            return;
        }
        let topic = tools.random.pick(&self.traits.topics).clone();
        self.publish_on(&topic, qos, None, tools);
    }

    /// `retains`: whether that is to clear it.
    pub(super) fn publish_on(
        &mut self,
        topic: &str,
        qos: QoS,
        retains: Option<bool>,
        tools: &mut Tools<'_>,
    ) {
        if self.outgoing.len() >= self.traits.window {
            return;
        }
        let identified;
        let topic = if self.traits.identifies && is_of_queue(topic) {
            identified = format!("{WITH_ID}{}/{topic}", tools.verdict.messages());
            &identified
        } else {
            topic
        };
        let bytes = match tools.random.below(12) {
            0 => tools.random.between(500, 3_000),
            _ => tools.random.between(4, 60),
        } as usize;
        let number = (retains != Some(true)).then(|| {
            let persistent = self.traits.persistent;
            tools
                .verdict
                .new_message(self.number, topic, qos, bytes, persistent)
        });
        if let Some(number) = number.filter(|_| self.traits.labels) {
            tools.verdict.label(number);
        }
        let retains = retains.map(|_| tools.verdict.will_retain(topic, number));
        let id = self.free_identifier();
        self.outgoing.push_back(Outgoing {
            id,
            number,
            topic: topic.to_owned(),
            qos,
            retains,
            settles: None,
            released: false,
            was_sent: false,
            sent_here: false,
        });
        self.pump(tools);
    }

    pub(super) fn subscribe(&mut self, tools: &mut Tools<'_>) {
        let filters = self.traits.filters.clone();
        self.subscribe_to(&filters, tools);
    }

    pub(super) fn subscribe_to(&mut self, filters: &[(String, QoS)], tools: &mut Tools<'_>) {
        if filters.is_empty() {
            return;
        }
        let id = self.free_identifier();
        let requests: Vec<SubscriptionRequest<'_>> = filters
            .iter()
            .map(|(filter, qos)| SubscriptionRequest {
                filter,
                options: SubscriptionOptions {
                    maximum_qos: *qos,
                    ..PLAIN
                },
            })
            .collect();
        for (filter, qos) in filters {
            tools.verdict.subscribe_sent(self.number, filter, *qos);
        }
        let names = filters.iter().map(|(filter, _)| filter.clone()).collect();
        self.requests.insert(id.value(), Request::Subscribe(names));
        let packet = Packet::Subscribe(Subscribe {
            packet_identifier: id,
            subscription_identifier: None,
            user_properties: UserProperties::EMPTY,
            requests: SubscriptionRequests::from_slice(&requests),
        });
        self.send(&packet, tools);
    }

    fn unsubscribe(&mut self, tools: &mut Tools<'_>) {
        if self.traits.filters.is_empty() || !self.requests.is_empty() {
            return;
        }
        let (filter, _) = tools.random.pick(&self.traits.filters).clone();
        let id = self.free_identifier();
        tools.verdict.unsubscribe_sent(self.number, &filter);
        let filters = [filter.as_str()];
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_identifier: id,
            user_properties: UserProperties::EMPTY,
            filters: Filters::from_slice(&filters),
        });
        self.send(&packet, tools);
        self.requests
            .insert(id.value(), Request::Unsubscribe(filter));
    }

    fn free_identifier(&mut self) -> PacketIdentifier {
        loop {
            let id = PacketIdentifier::new(self.next_identifier).expect("it is never zero");
            // Few, so that they are used again soon.
            self.next_identifier = self.next_identifier % 40 + 1;
            let is_taken = self.requests.contains_key(&id.value())
                || self.outgoing.iter().any(|one| one.id == id);
            if !is_taken {
                return id;
            }
        }
    }

    /// Sends what has not been sent on this connection, in its order.
    fn pump(&mut self, tools: &mut Tools<'_>) {
        if !self.is_connected() {
            return;
        }
        let most = match self.traits.is_careful && self.is_calm {
            true => 1,
            false => usize::MAX,
        };
        for at in 0..self.outgoing.len().min(most) {
            if std::mem::replace(&mut self.outgoing[at].sent_here, true) {
                continue;
            }
            let outgoing = self.outgoing[at].clone();
            self.outgoing[at].was_sent = true;
            if outgoing.released {
                self.acknowledge(AcknowledgementKind::PubRel, outgoing.id, tools);
                continue;
            }
            let payload = outgoing
                .number
                .map_or(Vec::new(), |number| tools.verdict.payload(number));
            let mut properties = Vec::new();
            if let Some(number) = outgoing.number {
                tools.verdict.sent(number, tools.now);
                let label = tools.verdict.label_of(number);
                properties = label.map_or(Vec::new(), |label| content_type(&label));
            }
            if let Some(job) = outgoing.settles {
                tools.verdict.jobs.done(job.number);
            }
            let packet = Packet::Publish(Publish {
                dup: outgoing.was_sent,
                retain: outgoing.retains.is_some(),
                delivery: match outgoing.qos {
                    QoS::ExactlyOnce => PublishDelivery::ExactlyOnce(outgoing.id),
                    QoS::AtMostOnce | QoS::AtLeastOnce => PublishDelivery::AtLeastOnce(outgoing.id),
                },
                topic: Some(TopicName::new(&outgoing.topic).expect("it is one")),
                topic_alias: None,
                message_expiry_interval_seconds: None,
                properties: ForwardedProperties::from_encoded(&properties).expect("one at most"),
                subscription_identifiers: SubscriptionIdentifiers::EMPTY,
                payload: &payload,
            });
            self.send(&packet, tools);
        }
    }

    fn acknowledge(&self, kind: AcknowledgementKind, id: PacketIdentifier, tools: &mut Tools<'_>) {
        let number = self.number;
        tools.history.note(tools.now, || {
            format!("client {number} ──► {kind:?} {}", id.value())
        });
        let version = self.traits.version;
        encode_acknowledgement(kind, id, ReasonCode::Success, version, &mut tools.out);
    }
}

impl Tools<'_> {
    /// Nothing is drawn where there is nothing to decide.
    fn random_if(&mut self, may: bool, chance: u32) -> bool {
        may && self.random.percent(chance)
    }
}

/// The property, as it is encoded.
fn content_type(text: &str) -> Vec<u8> {
    let mut encoded = vec![3];
    encoded.extend((text.len() as u16).to_be_bytes());
    encoded.extend(text.as_bytes());
    encoded
}
