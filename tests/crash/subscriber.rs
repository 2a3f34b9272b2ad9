//! A client that subscribes once and then comes and goes. It plays the receiver's part of QoS 2
//! across connections (section 4.3.3, method A): an identifier is remembered until its PUBREL, and
//! what comes again under it is no new message.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use nexum_harness::{
    Connect, Disconnect, Packet, Peer, Property, Publish, Received, Suback, Subscribe, Version,
    puback, pubcomp, pubrec, reason,
};

use crate::catalogue::Message;
use crate::random::Random;
use crate::session::{PATIENCE, Session, Stage};
use crate::verdict::{Inbox, Subscription};

/// With nothing to read for that long, a subscriber acknowledges what it held back.
const LULL: Duration = Duration::from_millis(10);

/// After the last promised message and the end of every exchange, so long may nothing more come.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct Subscriber {
    pub(crate) session: Session,
    pub(crate) inbox: Inbox,
    /// It is not there before this round.
    pub(crate) joins: usize,
    /// Receive Maximum of its CONNECT, if it is not the protocol's.
    receive_maximum: Option<u16>,
    random: Random,
    awaiting_pubrel: HashMap<u16, Message>,
}

/// What a subscriber is from the beginning.
pub(crate) struct Role<'a> {
    pub(crate) qos: u8,
    pub(crate) filters: &'a [&'a str],
    pub(crate) joins: usize,
    pub(crate) receive_maximum: Option<u16>,
}

/// When a subscriber stops.
#[derive(Clone, Debug)]
pub(crate) enum Until {
    /// The broker is no longer there.
    Killed,
    /// It has all of these, every exchange has ended, and nothing more comes.
    Silent { missing: HashSet<Message> },
}

/// One connection.
struct Conversation {
    peer: Peer,
    /// Acknowledgements it has not sent yet, in their order.
    owed: VecDeque<Packet>,
    /// How many it lets accumulate.
    hold: usize,
}

/// What became of it.
enum End {
    Vanished,
    Closed,
    Silent,
}

impl Subscriber {
    pub(crate) fn new(session: Session, role: &Role<'_>, random: Random) -> Subscriber {
        let subscriptions = role.filters.iter().map(|filter| Subscription {
            filter: (*filter).to_owned(),
            confirmed: None,
        });
        Subscriber {
            inbox: Inbox {
                name: session.name.clone(),
                qos: role.qos,
                subscriptions: subscriptions.collect(),
                messages: Vec::new(),
            },
            session,
            joins: role.joins,
            receive_maximum: role.receive_maximum,
            random,
            awaiting_pubrel: HashMap::new(),
        }
    }

    pub(crate) fn play(&mut self, stage: &Stage<'_>, mut until: Until) {
        let deadline = Instant::now() + PATIENCE;
        self.session.arrive();
        loop {
            let Some(peer) = self.session.connect(stage, self.connect_packet()) else {
                return;
            };
            let mut conversation = Conversation {
                peer,
                owed: VecDeque::new(),
                hold: self.random.between(0, 60),
            };
            self.subscribe(&mut conversation);
            match self.converse(stage, &mut conversation, &mut until, deadline) {
                End::Vanished => {
                    self.session.note(stage, "vanished", None);
                }
                End::Closed => self.session.closed(stage),
                End::Silent => {
                    conversation.peer.send(Disconnect::normal());
                    return;
                }
            }
        }
    }

    fn connect_packet(&self) -> Connect {
        let connect = self.session.connect_packet();
        match (self.session.version, self.receive_maximum) {
            (Version::V5, Some(maximum)) => connect.property(Property::receive_maximum(maximum)),
            (Version::V5, None) | (Version::V311, _) => connect,
        }
    }

    /// Asks for what was not confirmed yet; the Packet Identifier is the place of the filter.
    fn subscribe(&mut self, conversation: &mut Conversation) {
        for (identifier, subscription) in (1..).zip(&self.inbox.subscriptions) {
            if subscription.confirmed.is_none() {
                let subscribe = Subscribe::new(identifier);
                conversation
                    .peer
                    .send(subscribe.filter(&subscription.filter, self.inbox.qos));
            }
        }
    }

    fn converse(
        &mut self,
        stage: &Stage<'_>,
        conversation: &mut Conversation,
        until: &mut Until,
        deadline: Instant,
    ) -> End {
        loop {
            let lull = match until {
                Until::Killed if self.random.one_in(400) => return End::Vanished,
                Until::Killed => LULL,
                Until::Silent { missing } if Instant::now() > deadline => {
                    let what = format!(
                        "after {PATIENCE:?}, {} messages and {} PUBREL are missing",
                        missing.len(),
                        self.awaiting_pubrel.len()
                    );
                    self.session.breach(what, None);
                    return End::Silent;
                }
                Until::Silent { missing } if self.has_all(missing, conversation) => SILENCE,
                Until::Silent { .. } => LULL,
            };
            match conversation.peer.recv_within(lull) {
                Received::Packet(packet) => {
                    let message = self.receive(stage, conversation, packet);
                    if let (Until::Silent { missing }, Some(message)) = (&mut *until, message) {
                        missing.remove(&message);
                    }
                    if conversation.owed.len() > conversation.hold {
                        let count = self.random.between(1, conversation.owed.len());
                        conversation.acknowledge(count);
                    }
                }
                Received::Nothing if lull == SILENCE => return End::Silent,
                Received::Nothing => conversation.acknowledge(usize::MAX),
                Received::Closed => return End::Closed,
            }
        }
    }

    fn has_all(&self, missing: &HashSet<Message>, conversation: &Conversation) -> bool {
        let confirmed = |subscription: &Subscription| subscription.confirmed.is_some();
        missing.is_empty()
            && self.awaiting_pubrel.is_empty()
            && conversation.owed.is_empty()
            && self.inbox.subscriptions.iter().all(confirmed)
    }

    /// A new message, if it is one.
    fn receive(
        &mut self,
        stage: &Stage<'_>,
        conversation: &mut Conversation,
        packet: Packet,
    ) -> Option<Message> {
        match packet {
            Packet::Publish(publish) => return self.on_publish(stage, conversation, &publish),
            Packet::Pubrel(ack) => {
                let identifier = ack.packet_identifier;
                let message = self.awaiting_pubrel.remove(&identifier);
                if let Some(message) = message {
                    let about = Some((message, identifier));
                    self.session.note(stage, "PUBREL came", about);
                }
                // The PUBCOMP of a connection that was lost meanwhile: the broker asks again.
                let unknown = message.is_none() && self.session.version == Version::V5;
                let pubcomp = pubcomp(identifier);
                conversation.owed.push_back(if unknown {
                    pubcomp.reason(reason::PACKET_IDENTIFIER_NOT_FOUND)
                } else {
                    pubcomp
                });
            }
            Packet::Suback(suback) => self.on_suback(stage, &suback),
            other => self
                .session
                .breach(format!("a subscriber got {other:?}"), None),
        }
        None
    }

    fn on_suback(&mut self, stage: &Stage<'_>, suback: &Suback) {
        let place = usize::from(suback.packet_identifier).wrapping_sub(1);
        let tick = self.session.note(stage, "SUBACK came", None);
        match self.inbox.subscriptions.get_mut(place) {
            Some(subscription) if suback.reasons == [self.inbox.qos] => {
                subscription.confirmed = Some(tick);
            }
            Some(_) | None => self
                .session
                .breach(format!("not what was asked for: {suback:?}"), None),
        }
    }

    fn on_publish(
        &mut self,
        stage: &Stage<'_>,
        conversation: &mut Conversation,
        publish: &Publish,
    ) -> Option<Message> {
        let Some(message) = stage.catalogue.read(&publish.topic, &publish.payload) else {
            self.session
                .breach(format!("nobody sent this: {publish:?}"), None);
            return None;
        };
        let identifier = publish.packet_identifier;
        let sent_at = stage.catalogue.stream(message.stream).qos;
        if publish.qos != sent_at.min(self.inbox.qos) {
            let what = format!("sent at QoS {sent_at}, it came as {publish:?}");
            self.session.breach(what, Some(message));
        }
        let is_new = if publish.qos == 2 {
            conversation.owed.push_back(pubrec(identifier));
            self.is_new(identifier, message, publish.duplicate)
        } else {
            conversation.owed.push_back(puback(identifier));
            true
        };
        let what = match (is_new, publish.duplicate) {
            (false, _) => "came again, was seen through",
            (true, true) => "came with DUP",
            (true, false) => "came",
        };
        self.session.note(stage, what, Some((message, identifier)));
        // A copy that the subscription itself brought is not part of the stream.
        if !is_new || publish.retain {
            return None;
        }
        self.inbox.messages.push(message);
        Some(message)
    }

    fn is_new(&mut self, identifier: u16, message: Message, duplicate: bool) -> bool {
        match self.awaiting_pubrel.insert(identifier, message) {
            None => true,
            Some(former) => {
                if former != message {
                    let what = format!("Packet Identifier {identifier} was used before its PUBREL");
                    self.session.breach(what, Some(former));
                } else if !duplicate {
                    let what = format!("Packet Identifier {identifier} came again without DUP");
                    self.session.breach(what, Some(message));
                }
                false
            }
        }
    }
}

impl Conversation {
    /// Sends this many of the acknowledgements it owes, or all.
    fn acknowledge(&mut self, count: usize) {
        let count = count.min(self.owed.len());
        for packet in self.owed.drain(..count) {
            self.peer.send(packet);
        }
    }
}
