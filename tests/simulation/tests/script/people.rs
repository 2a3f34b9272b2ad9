//! Clients that do what the script tells them, and what each was promised.

use std::collections::{BTreeMap, BTreeSet};

use nexum_harness::{
    Connect, Disconnect, Packet, Publish, Subscribe, Unsubscribe, Version, decode, puback, pubcomp,
    pubrec, pubrel,
};

use crate::rig::{LineId, Rig};

pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// Its session outlives its connections.
    stays: bool,
    line: Option<LineId>,
    /// Whether CONNACK has come on this connection.
    is_in: bool,
    /// A CONNACK has promised a session, and nothing since has put it in doubt.
    pub(crate) promised: bool,
    /// Whether it answers PUBLISH.
    pub(crate) answers: bool,
    /// Whether it answers PUBREC.
    pub(crate) releases: bool,
    /// QoS 2 messages it has and the broker has not released.
    received: BTreeSet<u16>,
    /// Every message it got, QoS 2 ones without repetitions.
    pub(crate) got: Vec<Got>,
    /// What it has published and what is not at its end.
    outgoing: BTreeMap<u16, Outgoing>,
    pub(crate) filters: BTreeMap<&'static str, Subscribed>,
    /// Topics and payloads that the broker has acknowledged, taken by whoever keeps the books.
    pub(crate) acknowledged: Vec<(String, String)>,
    /// SUBACK, UNSUBACK and CONNACK, taken by whoever waits for them.
    answers_seen: Vec<Packet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
}

struct Outgoing {
    publish: Publish,
    /// PUBREC has come.
    is_received: bool,
}

/// What a client knows of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// It was promised.
    Yes,
    /// That it is over was promised.
    No,
    /// It was asked for or given up, and nothing was promised.
    Perhaps,
}

impl Person {
    pub(crate) fn new(name: &'static str, version: Version, stays: bool) -> Person {
        Person {
            name,
            version,
            stays,
            line: None,
            is_in: false,
            promised: false,
            answers: true,
            releases: true,
            received: BTreeSet::new(),
            got: Vec::new(),
            outgoing: BTreeMap::new(),
            filters: BTreeMap::new(),
            acknowledged: Vec::new(),
            answers_seen: Vec::new(),
        }
    }

    /// Whether it is connected.
    pub(crate) fn is_in(&self) -> bool {
        self.is_in
    }

    /// Comes back to its session. What it had not finished goes on (section 4.4).
    pub(crate) fn come(&mut self, rig: &mut Rig) {
        self.connect(rig, false);
    }

    /// Comes, and wants nothing of before.
    pub(crate) fn come_anew(&mut self, rig: &mut Rig) {
        self.connect(rig, true);
    }

    fn connect(&mut self, rig: &mut Rig, clean: bool) {
        if self.is_in {
            return;
        }
        let mut connect = Connect::new(self.version, self.name);
        if self.stays {
            connect = connect.persistent();
        }
        connect.clean_start = clean || !self.stays;
        if connect.clean_start {
            // Perhaps it is discarded although the answer does not come.
            self.promised = false;
            for state in self.filters.values_mut() {
                *state = Subscribed::Perhaps;
            }
        }
        self.line = Some(rig.connect());
        self.send(rig, connect.clone());
        self.listen(rig);
        let connack = self.answers_seen.drain(..).find_map(|packet| match packet {
            Packet::Connack(connack) => Some(connack),
            _ => None,
        });
        let Some(connack) = connack.filter(|connack| connack.reason == 0) else {
            // Nobody waits for ever.
            return self.vanish(rig);
        };
        self.is_in = true;
        assert!(
            connack.session_present || !self.promised,
            "{}: the session is gone that was promised",
            self.name
        );
        self.promised = self.stays;
        if connack.session_present {
            let open: Vec<(u16, Packet)> = self
                .outgoing
                .iter()
                .map(|(identifier, outgoing)| {
                    let packet = if outgoing.is_received {
                        pubrel(*identifier)
                    } else {
                        outgoing.publish.clone().duplicate().into()
                    };
                    (*identifier, packet)
                })
                .collect();
            for (_, packet) in open {
                self.send(rig, packet);
            }
        } else {
            self.received.clear();
            self.outgoing.clear();
            for state in self.filters.values_mut() {
                *state = Subscribed::No;
            }
        }
        self.listen(rig);
    }

    /// Disconnects in good order.
    pub(crate) fn leave(&mut self, rig: &mut Rig) {
        if self.is_in {
            self.send(rig, Disconnect::normal());
            self.listen(rig);
        }
        self.vanish(rig);
    }

    /// Its network is gone.
    pub(crate) fn vanish(&mut self, rig: &mut Rig) {
        if let Some(line) = self.line.take() {
            rig.cut(line);
        }
        self.is_in = false;
        if !self.stays {
            self.outgoing.clear();
        }
    }

    /// The broker is gone.
    pub(crate) fn forget_line(&mut self) {
        self.line = None;
        self.is_in = false;
        if !self.stays {
            self.outgoing.clear();
            self.filters.clear();
        }
    }

    pub(crate) fn subscribe(&mut self, rig: &mut Rig, filter: &'static str, qos: u8) {
        if !self.is_in {
            return;
        }
        self.filters.insert(filter, Subscribed::Perhaps);
        self.send(rig, Subscribe::new(900).filter(filter, qos));
        self.listen(rig);
        for packet in std::mem::take(&mut self.answers_seen) {
            if let Packet::Suback(suback) = packet
                && suback.reasons == [qos]
            {
                self.filters.insert(filter, Subscribed::Yes);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, rig: &mut Rig, filter: &'static str) {
        if !self.is_in {
            return;
        }
        self.filters.insert(filter, Subscribed::Perhaps);
        self.send(rig, Unsubscribe::new(901, filter));
        self.listen(rig);
        for packet in std::mem::take(&mut self.answers_seen) {
            if let Packet::Unsuback(unsuback) = packet
                && unsuback.reasons.iter().all(|reason| *reason < 0x80)
            {
                self.filters.insert(filter, Subscribed::No);
            }
        }
    }

    /// Publishes under the lowest identifier that is free, so that identifiers serve again.
    pub(crate) fn publish(&mut self, rig: &mut Rig, mut publish: Publish) {
        if !self.is_in {
            return;
        }
        let free = (1..).find(|identifier| !self.outgoing.contains_key(identifier));
        publish.packet_identifier = free.expect("few are under way");
        let outgoing = Outgoing {
            publish: publish.clone(),
            is_received: false,
        };
        self.outgoing.insert(publish.packet_identifier, outgoing);
        self.send(rig, publish);
        self.listen(rig);
    }

    /// Sends the PUBREL packets that it has held back.
    pub(crate) fn release(&mut self, rig: &mut Rig) {
        self.releases = true;
        let held: Vec<u16> = self
            .outgoing
            .iter()
            .filter(|(_, outgoing)| outgoing.is_received)
            .map(|(identifier, _)| *identifier)
            .collect();
        for identifier in held {
            if self.is_in {
                self.send(rig, pubrel(identifier));
            }
        }
        self.listen(rig);
    }

    /// Whether nothing of what it has published waits for an answer.
    pub(crate) fn is_done(&self) -> bool {
        self.outgoing.is_empty()
    }

    fn send(&mut self, rig: &mut Rig, packet: impl Into<Packet>) {
        if let Some(line) = self.line {
            rig.send(line, &packet.into().bytes(self.version));
        }
    }

    /// Reads and answers until nothing more comes.
    pub(crate) fn listen(&mut self, rig: &mut Rig) {
        while let Some(line) = self.line {
            let (bytes, is_closed) = rig.read(line);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match decode(self.version, rest) {
                    Ok(Some((packet, size))) => {
                        rest = &rest[size..];
                        self.take(rig, packet);
                    }
                    other => panic!("{}: no whole packet: {other:?}", self.name),
                }
            }
            if is_closed {
                return self.vanish(rig);
            }
            if bytes.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, rig: &mut Rig, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.take_publish(rig, &publish),
            Packet::Pubrel(ack) => {
                self.received.remove(&ack.packet_identifier);
                if self.answers {
                    self.send(rig, pubcomp(ack.packet_identifier));
                }
            }
            Packet::Puback(ack) => {
                if let Some(outgoing) = self.outgoing.remove(&ack.packet_identifier)
                    && ack.reason < 0x80
                {
                    self.note(&outgoing.publish);
                }
            }
            Packet::Pubrec(ack) if ack.reason >= 0x80 => {
                self.outgoing.remove(&ack.packet_identifier);
            }
            Packet::Pubrec(ack) => {
                let Some(outgoing) = self.outgoing.get_mut(&ack.packet_identifier) else {
                    panic!("{}: PUBREC for nothing: {ack:?}", self.name);
                };
                if !std::mem::replace(&mut outgoing.is_received, true) {
                    let publish = outgoing.publish.clone();
                    self.note(&publish);
                }
                if self.releases {
                    self.send(rig, pubrel(ack.packet_identifier));
                }
            }
            Packet::Pubcomp(ack) => {
                self.outgoing.remove(&ack.packet_identifier);
            }
            answer @ (Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_)) => {
                self.answers_seen.push(answer);
            }
            Packet::Disconnect(_) => {}
            other @ (Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Auth(_)) => panic!("{}: unexpected {other:?}", self.name),
        }
    }

    fn take_publish(&mut self, rig: &mut Rig, publish: &Publish) {
        let identifier = publish.packet_identifier;
        // [MQTT-4.3.3-10] from the receiver's side: until PUBREL it is the same message.
        let is_repeated = publish.qos == 2 && !self.received.insert(identifier);
        if !is_repeated {
            let payload = String::from_utf8(publish.payload.clone());
            self.got.push(Got {
                topic: publish.topic.clone(),
                payload: payload.expect("the script publishes text"),
                qos: publish.qos,
            });
        }
        if self.answers {
            match publish.qos {
                0 => {}
                1 => self.send(rig, puback(identifier)),
                _ => self.send(rig, pubrec(identifier)),
            }
        }
    }

    fn note(&mut self, publish: &Publish) {
        let payload = String::from_utf8(publish.payload.clone());
        let payload = payload.expect("the script publishes text");
        self.acknowledged.push((publish.topic.clone(), payload));
    }
}
