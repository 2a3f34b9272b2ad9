//! Who takes what was pushed, and does with it what consumers do.

use std::collections::{BTreeMap, BTreeSet};

use nexum_harness::{
    Packet, Peer, Publish, Received, Subscribe, Version, puback, pubcomp, pubrec, reason,
};

use super::link::{LULL, Stage};
use super::{JOBS, LEASES};
use crate::random::Random;
use crate::scene::text;

/// How a consumer settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// By PUBACK, or PUBREC and PUBCOMP.
    Plain { qos: u8 },
    /// By commands.
    Lease,
}

pub(super) struct Consumer {
    name: &'static str,
    version: Version,
    manner: Manner,
    /// Its session outlives its connections.
    stays: bool,
    random: Random,
    /// Leases of the last life, by receipt.
    former: Vec<(String, String)>,
    next_tag: u32,
}

/// What is under way on one connection.
#[derive(Default)]
struct Open {
    /// Done, as far as PUBACK or PUBCOMP says.
    done: BTreeSet<String>,
    /// PUBREC is sent.
    received: BTreeMap<u16, String>,
    /// Commands by tag, and by Packet Identifier.
    commands: BTreeMap<String, Asked>,
    tags: BTreeMap<u16, String>,
    /// Receipts of leases that nobody has settled.
    leases: BTreeMap<String, String>,
}

struct Asked {
    name: String,
    verb: &'static str,
    /// The lease is of another life, and may be over.
    is_former: bool,
}

impl Consumer {
    pub(super) fn new(
        name: &'static str,
        version: Version,
        manner: Manner,
        stays: bool,
        random: Random,
    ) -> Consumer {
        Consumer {
            name,
            version,
            manner,
            stays,
            random,
            former: Vec::new(),
            next_tag: 0,
        }
    }

    pub(super) fn play(&mut self, stage: &Stage<'_>) {
        while let Some(mut peer) = stage.connect(self.version, self.name, self.stays) {
            let mut open = Open::default();
            let subscribe = match self.manner {
                Manner::Plain { qos } => Subscribe::new(1).filter(&format!("$queue/{JOBS}/#"), qos),
                Manner::Lease => Subscribe::new(1)
                    .filter("$reply/+/+", 1)
                    .filter(&format!("$queue/{LEASES}/$lease/#"), 1),
            };
            peer.send(subscribe);
            for (receipt, name) in std::mem::take(&mut self.former) {
                // The broker may know, though its answer may be lost.
                stage.ledger.settled(&name);
                let asked = Asked {
                    name,
                    verb: "$ack",
                    is_former: true,
                };
                self.command(&mut peer, &mut open, asked, &receipt, "");
            }
            let has_finished = self.converse(stage, &mut peer, &mut open);
            self.former = open.leases.into_iter().collect();
            if has_finished {
                return;
            }
        }
    }

    /// Returns whether everything is over.
    fn converse(&mut self, stage: &Stage<'_>, peer: &mut Peer, open: &mut Open) -> bool {
        loop {
            match peer.recv_within(LULL) {
                Received::Packet(packet) => self.receive(stage, peer, open, packet),
                Received::Nothing if stage.is_last && stage.is_over() => return true,
                Received::Nothing => {}
                Received::Closed => {
                    stage.closed(self.name);
                    return false;
                }
            }
            if !stage.is_last && self.random.one_in(80) {
                // It vanishes, with what it has not settled.
                return false;
            }
        }
    }

    fn receive(&mut self, stage: &Stage<'_>, peer: &mut Peer, open: &mut Open, packet: Packet) {
        match packet {
            Packet::Publish(publish) if publish.topic.starts_with("$reply/") => {
                peer.send(puback(publish.packet_identifier));
                self.replied(stage, open, &publish);
            }
            Packet::Publish(publish) => self.delivered(stage, peer, open, &publish),
            Packet::Pubrel(ack) => {
                // What is not known is of another connection, and was given to somebody else since.
                if let Some(name) = open.received.remove(&ack.packet_identifier) {
                    stage.ledger.settled(&name);
                    open.done.insert(name);
                }
                peer.send(pubcomp(ack.packet_identifier));
            }
            Packet::Puback(ack) if self.version == Version::V5 => {
                let tag = open.tags.remove(&ack.packet_identifier);
                let asked = tag.and_then(|tag| open.commands.remove(&tag));
                match asked {
                    Some(asked) if ack.reason == 0 => finish(stage, &asked),
                    Some(asked) if asked.is_former => {}
                    Some(asked) => stage.ledger.breach(format!(
                        "{} of {} by {} is refused: {ack:?}",
                        asked.verb, asked.name, self.name
                    )),
                    None => stage
                        .ledger
                        .breach(format!("an answer to nothing: {ack:?}")),
                }
            }
            Packet::Puback(_) => {}
            Packet::Suback(suback) => {
                if suback.reasons.iter().any(|reason| *reason >= 0x80) {
                    stage
                        .ledger
                        .breach(format!("{} may not subscribe: {suback:?}", self.name));
                }
            }
            other => stage.ledger.breach(format!("{} got {other:?}", self.name)),
        }
    }

    fn delivered(
        &mut self,
        stage: &Stage<'_>,
        peer: &mut Peer,
        open: &mut Open,
        publish: &Publish,
    ) {
        let name = text(publish).to_owned();
        stage.ledger.delivered(&name, self.name);
        if open.done.contains(&name) {
            stage.ledger.breach(format!(
                "{name} came again to {} that had done it",
                self.name
            ));
        }
        let identifier = publish.packet_identifier;
        if self.manner == Manner::Lease {
            peer.send(puback(identifier));
            let mut levels = publish.topic.split('/').skip(3);
            let receipt = levels.next().unwrap_or_default();
            return self.work(stage, peer, open, name, receipt);
        }
        let luck = if stage.is_last {
            0
        } else {
            self.random.between(1, 100)
        };
        let answer = if publish.qos == 2 { pubrec } else { puback };
        let is_new = self.version == Version::V5;
        match luck {
            0..70 => {
                if publish.qos == 2 {
                    open.received.insert(identifier, name);
                } else {
                    stage.ledger.settled(&name);
                    open.done.insert(name);
                }
                peer.send(answer(identifier));
            }
            70..80 if is_new => {
                peer.send(answer(identifier).reason(reason::UNSPECIFIED_ERROR));
            }
            80..84 if is_new => {
                peer.send(answer(identifier).reason(reason::QUOTA_EXCEEDED));
            }
            84..88 if is_new => {
                stage.ledger.settled(&name);
                peer.send(answer(identifier).reason(reason::PAYLOAD_FORMAT_INVALID));
            }
            // It keeps it.
            _ => {}
        }
    }

    /// A lease: something is done with it, or not.
    fn work(
        &mut self,
        stage: &Stage<'_>,
        peer: &mut Peer,
        open: &mut Open,
        name: String,
        receipt: &str,
    ) {
        let luck = if stage.is_last {
            0
        } else {
            self.random.between(1, 100)
        };
        let (verb, rest) = match luck {
            0..70 => ("$ack", ""),
            70..80 => ("$nack", "/10ms"),
            80..85 => ("$reject", ""),
            85..90 => ("$extend", "/5m"),
            _ => {
                open.leases.insert(receipt.to_owned(), name);
                return;
            }
        };
        if verb == "$ack" || verb == "$reject" {
            stage.ledger.settled(&name);
        }
        let asked = Asked {
            name,
            verb,
            is_former: false,
        };
        self.command(peer, open, asked, receipt, rest);
    }

    fn command(
        &mut self,
        peer: &mut Peer,
        open: &mut Open,
        asked: Asked,
        receipt: &str,
        rest: &str,
    ) {
        self.next_tag += 1;
        let tag = self.next_tag.to_string();
        let identifier = peer.next_identifier();
        let target = format!("$queue/{LEASES}/{}/{receipt}{rest}", asked.verb);
        // A client of MQTT 5 is told by PUBACK.
        let topic = match self.version {
            Version::V311 => format!("$req/{tag}/{target}"),
            Version::V5 => target,
        };
        peer.send(Publish::new(&topic, "").qos1(identifier));
        open.tags.insert(identifier, tag.clone());
        open.commands.insert(tag, asked);
    }

    fn replied(&self, stage: &Stage<'_>, open: &mut Open, reply: &Publish) {
        let mut levels = reply.topic.split('/').skip(1);
        let (tag, end) = (levels.next(), levels.next());
        match tag.and_then(|tag| open.commands.remove(tag)) {
            Some(asked) if end == Some("ok") => finish(stage, &asked),
            Some(asked) if asked.is_former => {}
            // A reply of a former connection waits for a session that stays.
            None if self.stays => {}
            Some(Asked { name, verb, .. }) => {
                let said = text(reply);
                stage.ledger.breach(format!(
                    "{verb} of {name} by {} is refused: {said}",
                    self.name
                ));
            }
            None => stage
                .ledger
                .breach(format!("{} is told {}", self.name, reply.topic)),
        }
    }
}

fn finish(stage: &Stage<'_>, asked: &Asked) {
    if matches!(asked.verb, "$ack" | "$reject") {
        stage.ledger.finished(&asked.name, asked.verb);
    }
}
