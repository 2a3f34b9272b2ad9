//! Who pushes: with or without a delay, and with an identifier if it wants to be sure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nexum_harness::{Packet, Peer, Publish, Received, Version};

use super::link::{LULL, Stage};
use super::{JOBS, LEASES};
use crate::random::Random;

/// Pushes under way at once.
const WINDOW: usize = 10;

/// In one round, at most: more than that and the last round takes long.
const MOST: usize = 150;

pub(super) struct Producer {
    name: &'static str,
    version: Version,
    random: Random,
    count: usize,
    /// Not acknowledged, and with an identifier: they are pushed again.
    again: Vec<Push>,
}

#[derive(Clone, Debug)]
struct Push {
    name: String,
    topic: String,
    has_id: bool,
}

impl Producer {
    pub(super) fn new(name: &'static str, version: Version, random: Random) -> Producer {
        Producer {
            name,
            version,
            random,
            count: 0,
            again: Vec::new(),
        }
    }

    pub(super) fn play(&mut self, stage: &Stage<'_>) {
        let mut left = if stage.is_last { 0 } else { MOST };
        while let Some(mut peer) = stage.connect(self.version, self.name, false) {
            let mut open = BTreeMap::new();
            for push in std::mem::take(&mut self.again) {
                send(&mut peer, &mut open, push);
            }
            let has_finished = self.converse(stage, &mut peer, &mut open, &mut left);
            self.again
                .extend(open.into_values().filter(|push| push.has_id));
            if has_finished {
                return;
            }
        }
    }

    /// Returns whether there is nothing left to do.
    fn converse(
        &mut self,
        stage: &Stage<'_>,
        peer: &mut Peer,
        open: &mut BTreeMap<u16, Push>,
        left: &mut usize,
    ) -> bool {
        loop {
            while *left > 0 && open.len() < WINDOW {
                *left -= 1;
                let push = self.next(stage);
                send(peer, open, push);
            }
            if *left == 0 && open.is_empty() {
                return true;
            }
            match peer.recv_within(LULL) {
                Received::Packet(Packet::Puback(ack)) => {
                    let Some(push) = open.remove(&ack.packet_identifier) else {
                        stage
                            .ledger
                            .breach(format!("an answer to nothing: {ack:?}"));
                        continue;
                    };
                    if ack.reason == 0 {
                        stage.ledger.acknowledged(&push.name);
                    } else {
                        stage
                            .ledger
                            .breach(format!("{} is refused: {ack:?}", push.name));
                    }
                }
                Received::Packet(other) => {
                    stage.ledger.breach(format!("a producer got {other:?}"));
                }
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

    fn next(&mut self, stage: &Stage<'_>) -> Push {
        self.count += 1;
        let name = format!("{}-{}", self.name, self.count);
        let queue = if self.random.percent(50) {
            JOBS
        } else {
            LEASES
        };
        let has_id = self.random.percent(50);
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
        }
    }
}

fn send(peer: &mut Peer, open: &mut BTreeMap<u16, Push>, push: Push) {
    let identifier = peer.next_identifier();
    peer.send(Publish::new(&push.topic, &push.name).qos1(identifier));
    open.insert(identifier, push);
}
