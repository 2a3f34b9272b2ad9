//! A client that publishes at QoS 1 and 2 and plays the sender's part across crashes (sections 4.3
//! and 4.4): what was not acknowledged is sent again with its Packet Identifier, what was, never.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nexum_harness::{Ack, Disconnect, Packet, Peer, Publish, Received, pubrel, reason};

use crate::catalogue::{Catalogue, Kind, Message, StreamId};
use crate::clock::Tick;
use crate::random::Random;
use crate::session::{PATIENCE, Session, Stage};
use crate::verdict::Sent;

/// Messages under way at once.
const WINDOW: usize = 20;

/// Packet Identifiers go round in so few that each is soon used again: a broker that takes a new
/// message for an old one loses it.
const IDENTIFIERS: u16 = 32;

/// With nothing to do for that long, a publisher releases what it held back.
const LULL: Duration = Duration::from_millis(10);

pub(crate) struct Publisher {
    pub(crate) session: Session,
    /// How often it had to send something again.
    pub(crate) resent: usize,
    random: Random,
    streams: Vec<(StreamId, Vec<Sent>)>,
    /// Neither PUBACK nor PUBREC has come; in the order in which they were sent first.
    unacknowledged: VecDeque<UnderWay>,
    /// PUBREC has come; in the order in which it came.
    received: VecDeque<Release>,
    last_identifier: u16,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    packet_identifier: u16,
    message: Message,
    qos: u8,
}

#[derive(Clone, Copy, Debug)]
struct Release {
    packet_identifier: u16,
    message: Message,
    sent: bool,
    /// PUBREC came on an earlier connection. A broker may have forgotten the identifier since: of
    /// what PUBREL and PUBCOMP have settled, and of what nobody had subscribed to.
    resumed: bool,
}

/// When a publisher stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// The broker is no longer there; it publishes so many messages meanwhile.
    Killed { messages: usize },
    /// Every exchange has ended. It begins none.
    Settled,
}

/// What became of a connection.
enum End {
    /// The publisher left it without DISCONNECT.
    Vanished,
    /// The broker did.
    Closed,
    /// There was nothing left to do.
    Settled,
}

impl Publisher {
    pub(crate) fn new(session: Session, streams: &[StreamId], random: Random) -> Publisher {
        Publisher {
            session,
            resent: 0,
            random,
            streams: streams.iter().map(|id| (*id, Vec::new())).collect(),
            unacknowledged: VecDeque::new(),
            received: VecDeque::new(),
            last_identifier: 0,
        }
    }

    /// What it has sent so far.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (StreamId, &[Sent])> {
        self.streams.iter().map(|(id, sent)| (*id, sent.as_slice()))
    }

    pub(crate) fn play(&mut self, stage: &Stage<'_>, until: Until) {
        let mut left = match until {
            Until::Killed { messages } => messages,
            Until::Settled => 0,
        };
        let deadline = Instant::now() + PATIENCE;
        self.session.arrive();
        loop {
            let connect = self.session.connect_packet();
            let Some(mut peer) = self.session.connect(stage, connect) else {
                return;
            };
            self.resume(stage, &mut peer);
            match self.converse(stage, &mut peer, until, &mut left, deadline) {
                End::Vanished => {
                    self.session.note(stage, "vanished", None);
                }
                End::Closed => self.session.closed(stage),
                End::Settled => {
                    peer.send(Disconnect::normal());
                    return;
                }
            }
        }
    }

    /// [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4]
    fn resume(&mut self, stage: &Stage<'_>, peer: &mut Peer) {
        for release in &mut self.received {
            release.sent = true;
            release.resumed = true;
            let about = Some((release.message, release.packet_identifier));
            self.session.note(stage, "PUBREL sent again", about);
            peer.send(pubrel(release.packet_identifier));
            self.resent += 1;
        }
        for under_way in self.unacknowledged.clone() {
            let tick = self.note(stage, "PUBLISH sent again", under_way);
            self.sent_mut(under_way.message).last_sent = tick;
            peer.send(publish(stage.catalogue, under_way).duplicate());
            self.resent += 1;
        }
    }

    fn converse(
        &mut self,
        stage: &Stage<'_>,
        peer: &mut Peer,
        until: Until,
        left: &mut usize,
        deadline: Instant,
    ) -> End {
        let hold = self.random.between(0, WINDOW / 2);
        loop {
            if matches!(until, Until::Settled) {
                if self.unacknowledged.is_empty() && self.received.is_empty() {
                    return End::Settled;
                }
                if Instant::now() > deadline {
                    let open = (self.unacknowledged.len(), self.received.len());
                    self.session.breach(
                        format!("the broker does not answer (PUBLISH, PUBREL): {open:?}"),
                        self.unacknowledged.front().map(|first| first.message),
                    );
                    return End::Settled;
                }
            } else if self.random.one_in(400) {
                return End::Vanished;
            }
            self.fill_window(stage, peer, left);
            match peer.recv_within(LULL) {
                Received::Packet(packet) => self.receive(stage, packet),
                Received::Nothing => self.release(stage, peer, 0),
                Received::Closed => return End::Closed,
            }
            self.release(stage, peer, hold);
        }
    }

    fn fill_window(&mut self, stage: &Stage<'_>, peer: &mut Peer, left: &mut usize) {
        while *left > 0 && self.unacknowledged.len() + self.received.len() < WINDOW {
            *left -= 1;
            let index = self.random.between(0, self.streams.len() - 1);
            let packet_identifier = self.free_identifier();
            let (stream, sent) = &mut self.streams[index];
            let under_way = UnderWay {
                packet_identifier,
                message: Message {
                    stream: *stream,
                    number: sent.len(),
                },
                qos: stage.catalogue.stream(*stream).qos,
            };
            sent.push(Sent::default());
            let tick = self.note(stage, "PUBLISH sent", under_way);
            *self.sent_mut(under_way.message) = Sent {
                first_sent: tick,
                last_sent: tick,
                acknowledged: false,
            };
            self.unacknowledged.push_back(under_way);
            peer.send(publish(stage.catalogue, under_way));
        }
    }

    fn free_identifier(&mut self) -> u16 {
        loop {
            self.last_identifier = self.last_identifier % IDENTIFIERS + 1;
            let identifier = self.last_identifier;
            let mut used = self
                .unacknowledged
                .iter()
                .map(|under_way| under_way.packet_identifier)
                .chain(
                    self.received
                        .iter()
                        .map(|release| release.packet_identifier),
                );
            // The window is narrower than the identifiers are many, so this ends.
            if !used.any(|used| used == identifier) {
                return identifier;
            }
        }
    }

    /// Sends PUBREL until only `hold` of them are held back.
    fn release(&mut self, stage: &Stage<'_>, peer: &mut Peer, hold: usize) {
        let waiting = self.received.iter().filter(|release| !release.sent).count();
        let due = waiting.saturating_sub(hold);
        for release in self
            .received
            .iter_mut()
            .filter(|release| !release.sent)
            .take(due)
        {
            release.sent = true;
            let about = Some((release.message, release.packet_identifier));
            self.session.note(stage, "PUBREL sent", about);
            peer.send(pubrel(release.packet_identifier));
        }
    }

    fn receive(&mut self, stage: &Stage<'_>, packet: Packet) {
        match packet {
            Packet::Puback(ack) => {
                self.acknowledged(stage, &ack, 1);
            }
            Packet::Pubrec(ack) => {
                if let Some(under_way) = self.acknowledged(stage, &ack, 2) {
                    self.received.push_back(Release {
                        packet_identifier: under_way.packet_identifier,
                        message: under_way.message,
                        sent: false,
                        resumed: false,
                    });
                }
            }
            Packet::Pubcomp(ack) => self.completed(stage, &ack),
            other => self
                .session
                .breach(format!("a publisher got {other:?}"), None),
        }
    }

    fn acknowledged(&mut self, stage: &Stage<'_>, ack: &Ack, qos: u8) -> Option<UnderWay> {
        let position = self.unacknowledged.iter().position(|under_way| {
            under_way.packet_identifier == ack.packet_identifier && under_way.qos == qos
        });
        let Some(under_way) = position.and_then(|position| self.unacknowledged.remove(position))
        else {
            self.session
                .breach(format!("an answer at QoS {qos} to nothing: {ack:?}"), None);
            return None;
        };
        self.note(stage, "acknowledged", under_way);
        if ack.reason >= 0x80 {
            self.session
                .breach(format!("refused: {ack:?}"), Some(under_way.message));
            return None;
        }
        self.sent_mut(under_way.message).acknowledged = true;
        Some(under_way)
    }

    fn completed(&mut self, stage: &Stage<'_>, ack: &Ack) {
        let position = self
            .received
            .iter()
            .position(|release| release.packet_identifier == ack.packet_identifier && release.sent);
        let Some(release) = position.and_then(|position| self.received.remove(position)) else {
            self.session
                .breach(format!("PUBCOMP without PUBREL: {ack:?}"), None);
            return;
        };
        let about = Some((release.message, release.packet_identifier));
        self.session.note(stage, "PUBCOMP came", about);
        let was_forgotten = ack.reason == reason::PACKET_IDENTIFIER_NOT_FOUND && release.resumed;
        if ack.reason != reason::SUCCESS && !was_forgotten {
            self.session
                .breach(format!("not completed: {ack:?}"), Some(release.message));
        }
    }

    fn note(&mut self, stage: &Stage<'_>, what: &'static str, under_way: UnderWay) -> Tick {
        let about = Some((under_way.message, under_way.packet_identifier));
        self.session.note(stage, what, about)
    }

    fn sent_mut(&mut self, message: Message) -> &mut Sent {
        let (_, sent) = self
            .streams
            .iter_mut()
            .find(|(id, _)| *id == message.stream)
            .expect("a publisher sends only what belongs to its streams");
        &mut sent[message.number]
    }
}

fn publish(catalogue: &Catalogue, under_way: UnderWay) -> Publish {
    let stream = catalogue.stream(under_way.message.stream);
    let payload = catalogue.payload(under_way.message);
    let publish =
        Publish::new(&stream.topic, &payload).qos(stream.qos, under_way.packet_identifier);
    match stream.kind {
        Kind::Retained => publish.retain(),
        Kind::Plain | Kind::Will => publish,
    }
}
