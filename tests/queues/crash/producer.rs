//! Who pushes: with or without a delay, and with an identifier or at QoS 2 if it wants to be sure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nexum_harness::{Packet, Peer, Publish, Received, Version, pubrel};

use super::link::{LULL, Stage};
use super::{JOBS, LEASES};
use crate::random::Random;

/// Pushes under way at once.
const WINDOW: usize = 10;

/// In one round, at most: more than that and the last round takes long.
const MOST: usize = 300;

pub(super) struct Producer {
    name: &'static str,
    version: Version,
    /// At 2 its session outlives its connections, and what is under way is of the session.
    qos: u8,
    random: Random,
    count: usize,
    open: BTreeMap<u16, Push>,
    /// Not acknowledged at QoS 1, and with an identifier: they are pushed again.
    again: Vec<Push>,
    last_identifier: u16,
}

#[derive(Clone, Debug)]
struct Push {
    name: String,
    topic: String,
    has_id: bool,
    /// PUBREC came.
    is_received: bool,
}

impl Producer {
    pub(super) fn new(name: &'static str, version: Version, qos: u8, random: Random) -> Producer {
        Producer {
            name,
            version,
            qos,
            random,
            count: 0,
            open: BTreeMap::new(),
            again: Vec::new(),
            last_identifier: 0,
        }
    }

    pub(super) fn play(&mut self, stage: &Stage<'_>) {
        let mut left = if stage.is_last { 0 } else { MOST };
        while let Some(mut peer) = stage.connect(self.version, self.name, self.qos == 2) {
            self.resume(stage, &mut peer);
            let has_finished = self.converse(stage, &mut peer, &mut left);
            if self.qos == 1 {
                let lost = std::mem::take(&mut self.open).into_values();
                self.again.extend(lost.filter(|push| push.has_id));
            }
            if has_finished {
                return;
            }
        }
    }

    /// [MQTT-4.4.0-1] at QoS 2; at QoS 1 the session is another.
    fn resume(&mut self, stage: &Stage<'_>, peer: &mut Peer) {
        if !self.open.is_empty() && !peer.connack().session_present {
            stage
                .ledger
                .breach(format!("the session of {} is gone", self.name));
        }
        for (identifier, push) in &self.open {
            if push.is_received {
                peer.send(pubrel(*identifier));
            } else {
                let publish = Publish::new(&push.topic, &push.name);
                peer.send(publish.qos2(*identifier).duplicate());
            }
        }
        for push in std::mem::take(&mut self.again) {
            self.send(peer, push);
        }
    }

    /// Returns whether there is nothing left to do.
    fn converse(&mut self, stage: &Stage<'_>, peer: &mut Peer, left: &mut usize) -> bool {
        loop {
            while *left > 0 && self.open.len() < WINDOW {
                *left -= 1;
                let push = self.next(stage);
                self.send(peer, push);
            }
            if *left == 0 && self.open.is_empty() {
                return true;
            }
            match peer.recv_within(LULL) {
                Received::Packet(packet) => self.receive(stage, peer, packet),
                Received::Nothing => {}
                Received::Closed => {
                    stage.closed(self.name);
                    return false;
                }
            }
            if !stage.is_last && self.random.one_in(200) {
                return false;
            }
        }
    }

    fn receive(&mut self, stage: &Stage<'_>, peer: &mut Peer, packet: Packet) {
        let (ack, is_end) = match packet {
            Packet::Puback(ack) if self.qos == 1 => (ack, true),
            Packet::Pubrec(ack) if self.qos == 2 => (ack, false),
            Packet::Pubcomp(ack) if self.qos == 2 => {
                self.open.remove(&ack.packet_identifier);
                return;
            }
            other => return stage.ledger.breach(format!("a producer got {other:?}")),
        };
        let identifier = ack.packet_identifier;
        let Some(push) = self.open.get_mut(&identifier) else {
            return stage
                .ledger
                .breach(format!("an answer to nothing: {ack:?}"));
        };
        if ack.reason == 0 {
            stage.ledger.acknowledged(&push.name);
            push.is_received = true;
        } else {
            let breach = format!("{} is refused: {ack:?}", push.name);
            stage.ledger.breach(breach);
        }
        if is_end {
            self.open.remove(&identifier);
        } else {
            peer.send(pubrel(identifier));
        }
    }

    fn send(&mut self, peer: &mut Peer, push: Push) {
        self.last_identifier = self.last_identifier % u16::MAX + 1;
        let publish = Publish::new(&push.topic, &push.name);
        peer.send(publish.qos(self.qos, self.last_identifier));
        self.open.insert(self.last_identifier, push);
    }

    fn next(&mut self, stage: &Stage<'_>) -> Push {
        self.count += 1;
        let name = format!("{}-{}", self.name, self.count);
        let queue = if self.random.percent(50) {
            JOBS
        } else {
            LEASES
        };
        let has_id = self.qos == 1 && self.random.percent(50);
        let delay = self.random.between(10, 900);
        let is_delayed = self.random.percent(25);
        let mut topic = String::new();
        if has_id {
            topic += &format!("$opt/id={name}/");
        }
        if is_delayed {
            topic += &format!("$delayed/{delay}ms/");
        }
        topic += &format!("$queue/{queue}/{}", self.random.between(1, 9));
        let not_before = Instant::now() + Duration::from_millis(delay as u64);
        stage.ledger.pushes(&name, is_delayed.then_some(not_before));
        Push {
            name,
            topic,
            has_id,
            is_received: false,
        }
    }
}
