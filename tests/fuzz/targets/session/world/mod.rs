//! Shards with their shells and the clients' network connections: what an operation does to them,
//! and what has to hold at the end.

mod limits;
mod shell;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{AcknowledgementKind, Packet, encode};
use nexum_core::{
    AuthenticationOutcome, ConnectionOrigin, ExchangeOutcome, Gauges, Input, Key, Limits, Output,
    RecordTable, Shard, ShardConfig, ShardId,
};
use nexum_types::{PacketIdentifier, ProtocolVersion, QoS, ReasonCode, Time};

use crate::operation::{Choice, Operation, Sending, Setup};
use crate::packet;
use crate::witness::Witness;
use limits::limits;
use shell::{Arrival, Link, Place, Shell};

/// Connections at once.
const MOST_LINKS: usize = 8;
/// No list of operations keeps shards busy for so many turns without the time passing.
const MOST_TURNS: usize = 2_000;
const TIMES: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(70),
    Duration::from_millis(600),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(70),
];

pub struct World {
    now: Time,
    eager: bool,
    origin: ConnectionOrigin,
    limits: Arc<Limits>,
    shells: Vec<Shell>,
    links: Vec<Link>,
    questions: VecDeque<(usize, Output)>,
    /// What the store has.
    records: RecordTable,
}

impl World {
    pub fn new(setup: &Setup) -> World {
        let limits = Arc::new(limits(setup));
        let shards = if setup.two_shards { 2 } else { 1 };
        let shell = |id| Shell {
            shard: Shard::new(ShardConfig {
                id: ShardId(id),
                shards,
                limits: Arc::clone(&limits),
                seed: 7,
                authentication_methods: Arc::from([Box::from("method")]),
                extensions: Arc::from([]),
            }),
            mailbox: VecDeque::new(),
            arrivals: VecDeque::new(),
            submissions: VecDeque::new(),
            loads: VecDeque::new(),
        };
        World {
            now: Time::ZERO,
            eager: setup.eager,
            origin: ConnectionOrigin {
                address: None,
                listener: Arc::from("fuzzing"),
                anonymous: setup.anonymous,
                verify_credentials: setup.verify_credentials,
                certificate: None,
            },
            shells: (0..shards).map(shell).collect(),
            limits,
            links: Vec::new(),
            questions: VecDeque::new(),
            records: RecordTable::default(),
        }
    }

    pub fn obey(&mut self, operation: &Operation) {
        match operation {
            Operation::Open { at, version_5 } => self.open(*at, *version_5, Vec::new()),
            Operation::Connect {
                at,
                version_5,
                connect,
            } => {
                let mut bytes = Vec::new();
                connect.write(version(*version_5), &mut bytes);
                self.open(*at, *version_5, bytes);
            }
            Operation::Send { link, packet, how } => {
                if let Some(link) = self.choose(*link) {
                    let mut bytes = Vec::new();
                    packet.write(self.links[link].version, &mut bytes);
                    self.send(link, &bytes, how);
                }
            }
            Operation::SendRaw { link, bytes, how } => {
                if let Some(link) = self.choose(*link) {
                    self.send(link, &bytes.0, how);
                }
            }
            Operation::Acknowledge { link, which, how } => {
                if let Some(link) = self.choose(*link) {
                    let witness = &self.links[link].witness;
                    if let Some((id, kind)) = witness.awaited(|count| which.below(count)) {
                        let bytes = acknowledgement(id, kind, self.links[link].version);
                        self.send(link, &bytes, how);
                    }
                }
            }
            Operation::Break { link } => {
                if let Some(link) = self.choose(*link) {
                    self.lose(link);
                }
            }
            Operation::Block { link, room } => {
                if let Some(link) = self.choose(*link) {
                    self.links[link].room = room.of(&[0, 1, 100, 1000]);
                    self.write(link);
                }
            }
            Operation::Unblock { link } => {
                if let Some(link) = self.choose(*link) {
                    self.links[link].room = usize::MAX;
                    self.write(link);
                }
            }
            Operation::Turn { shard } => {
                self.turn(shard.below(self.shells.len()));
            }
            Operation::Settle => self.settle(),
            Operation::Wait { time } => self.wait(time.of(&TIMES)),
            Operation::Answer { which, outcome } => self.answer(*which, *outcome),
            Operation::Disconnect { link } => {
                if let Some(link) = self.choose(*link)
                    && let Place::Open(at, connection) = self.links[link].place
                {
                    let reason = ReasonCode::AdministrativeAction;
                    self.input(at, Input::Disconnect { connection, reason });
                }
            }
            Operation::Publish {
                shard,
                topic,
                qos,
                retain,
                payload,
            } => {
                let Some(topic) = packet::topic(*topic) else {
                    return;
                };
                let input = Input::Publish {
                    topic: topic.as_str().to_owned(),
                    payload: packet::payload(*payload).to_vec(),
                    qos: qos.of(&QoS::ALL),
                    retain: *retain,
                };
                self.input(shard.below(self.shells.len()), input);
            }
            Operation::ShutDown { shard } => {
                self.input(shard.below(self.shells.len()), Input::ShutDown);
            }
        }
        if self.eager {
            self.settle();
        }
    }

    /// When every client reads, every question is answered and some time has passed, nothing
    /// waits any more.
    pub fn check_progress(&mut self) {
        for link in 0..self.links.len() {
            self.links[link].room = usize::MAX;
            self.write(link);
        }
        self.settle();
        while !self.questions.is_empty() {
            self.answer(Choice::FIRST, Choice::FIRST);
            self.settle();
        }
        self.wait(Duration::from_secs(20));
        for link in &self.links {
            let Place::Open(at, key) = link.place else {
                continue;
            };
            let shard = &self.shells[at].shard;
            assert!(shard.wants_read(key), "held back for ever");
            assert_eq!(shard.pending_transmit(key), 0, "sent nowhere");
            if link.witness.is_connected() {
                link.witness.check_answered();
            }
        }
    }

    /// Everyone leaves, every session expires, every retained message is cleared: nothing is left.
    pub fn end(mut self) {
        for link in 0..self.links.len() {
            self.lose(link);
        }
        for topic in packet::topics() {
            let (topic, payload) = (topic.to_owned(), Vec::new());
            self.input(
                0,
                Input::Publish {
                    topic,
                    payload,
                    qos: QoS::AtMostOnce,
                    retain: true,
                },
            );
        }
        self.settle();
        for _ in 0..MOST_TURNS {
            let due = self
                .shells
                .iter()
                .filter_map(|shell| shell.shard.poll_timeout())
                .min();
            let Some(due) = due else {
                return self.check_forgotten();
            };
            self.now = self.now.max(due);
            self.settle();
        }
        panic!("timers without end");
    }

    fn check_forgotten(&self) {
        let kept = self
            .records
            .keys()
            .find(|key| !matches!(key, Key::Retained(_)));
        assert_eq!(kept, None, "a record is left");
        for Shell { shard, .. } in &self.shells {
            let Gauges {
                retained,
                retained_bytes,
                ..
            } = shard.gauges();
            assert_eq!(
                retained == 0,
                retained_bytes == 0,
                "{retained} messages in {retained_bytes} bytes"
            );
            let gauges = Gauges {
                retained: 0,
                retained_bytes: 0,
                ..shard.gauges()
            };
            assert_eq!(gauges, Gauges::default());
            // Raw bytes may retain something under a topic that nobody foresaw.
            let residue: Vec<_> = shard
                .residue()
                .into_iter()
                .filter(|(table, _)| *table != "retained")
                .collect();
            assert_eq!(residue, []);
        }
    }

    fn choose(&self, choice: Choice) -> Option<usize> {
        let alive = |link: &&Link| link.place != Place::Gone;
        let count = self.links.iter().filter(alive).count();
        let which = (count > 0).then(|| choice.below(count))?;
        let mut alive = self
            .links
            .iter()
            .enumerate()
            .filter(|(_, link)| link.place != Place::Gone);
        alive.nth(which).map(|(index, _)| index)
    }

    fn open(&mut self, at: Choice, version_5: bool, upward: Vec<u8>) {
        if self
            .links
            .iter()
            .filter(|link| link.place != Place::Gone)
            .count()
            == MOST_LINKS
        {
            return;
        }
        let at = at.below(self.shells.len());
        let link = self.links.len();
        self.links.push(Link {
            place: Place::Moving,
            version: version(version_5),
            upward,
            shown: 0,
            wants_write: false,
            room: usize::MAX,
            witness: Witness::new(usize::from(self.limits.maximum_inflight.get())),
        });
        let (origin, received) = (self.origin.clone(), Vec::new());
        self.arrive(
            at,
            Arrival {
                link,
                origin,
                received,
            },
        );
        self.read(link);
        self.finish(at);
    }

    fn send(&mut self, link: usize, bytes: &[u8], how: &Sending) {
        let pieces: Vec<&[u8]> = match how {
            Sending::Whole | Sending::WithTheNext => vec![bytes],
            Sending::InTwo(at) => {
                let (first, second) = bytes.split_at(at.below(bytes.len() + 1));
                vec![first, second]
            }
            Sending::ByteByByte => bytes.chunks(1).collect(),
        };
        for piece in pieces {
            self.links[link].upward.extend_from_slice(piece);
            if !matches!(how, Sending::WithTheNext) {
                self.read(link);
            }
        }
        if let Place::Open(at, _) | Place::Closing(at, ..) = self.links[link].place {
            self.finish(at);
        }
    }

    fn answer(&mut self, which: Choice, outcome: Choice) {
        if self.questions.is_empty() {
            return;
        }
        let which = which.below(self.questions.len());
        let Some((at, question)) = self.questions.remove(which) else {
            return;
        };
        let input = match question {
            Output::Authenticate { connection, .. } => Input::Authenticated {
                connection,
                outcome: outcome.of(&[
                    AuthenticationOutcome::Accepted,
                    AuthenticationOutcome::Refused,
                    AuthenticationOutcome::Unavailable,
                ]),
            },
            Output::Exchange { connection, .. } => Input::Exchange {
                connection,
                outcome: match outcome.below(5) {
                    0 => ExchangeOutcome::Accepted { data: None },
                    1 => ExchangeOutcome::Accepted {
                        data: Some(b"welcome".to_vec()),
                    },
                    2 => ExchangeOutcome::Continue {
                        data: b"challenge".to_vec(),
                    },
                    3 => ExchangeOutcome::Refused,
                    _ => ExchangeOutcome::Unavailable,
                },
            },
            other => panic!("not a question: {other:?}"),
        };
        self.input(at, input);
    }

    fn input(&mut self, at: usize, input: Input) {
        self.shells[at].shard.handle(input, self.now);
        self.look(at);
        self.finish(at);
    }

    /// Lets the time pass as a shell does that is never late.
    fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..MOST_TURNS {
            self.settle();
            if self.now == until {
                return;
            }
            let due = self
                .shells
                .iter()
                .filter_map(|shell| shell.shard.poll_timeout())
                .min();
            self.now = due
                .map_or(until, |due| due.min(until))
                .max(self.now + TIMES[0])
                .min(until);
        }
        panic!("timers without end");
    }
}

fn version(version_5: bool) -> ProtocolVersion {
    if version_5 {
        ProtocolVersion::V5
    } else {
        ProtocolVersion::V3_1_1
    }
}

fn acknowledgement(
    id: PacketIdentifier,
    kind: AcknowledgementKind,
    version: ProtocolVersion,
) -> Vec<u8> {
    let ack = packet::acknowledgement(id, ReasonCode::Success);
    let packet = match kind {
        AcknowledgementKind::PubAck => Packet::PubAck(ack),
        AcknowledgementKind::PubRec => Packet::PubRec(ack),
        AcknowledgementKind::PubRel => Packet::PubRel(ack),
        AcknowledgementKind::PubComp => Packet::PubComp(ack),
    };
    let mut bytes = Vec::new();
    encode(&packet, version, &mut bytes).expect("it is small");
    bytes
}
