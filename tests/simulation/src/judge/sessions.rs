//! Sessions as the specification has them: when they begin, who is connected to them, when they
//! are over, and what becomes of their wills.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_core::{DisconnectCause, Event};
use nexum_types::{ProtocolVersion, QoS, ReasonCode, Time};

use super::deliveries::Class;
use super::messages::{MessageId, Publication};
use super::retained::WriteId;
use super::subscriptions::Subscriptions;
use super::{Judge, SLACK};
use crate::link::LinkId;
use crate::rule::Rule;

/// Names a session of the run: one client may have several, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) usize);

pub(crate) struct SessionRecord {
    pub(crate) client_id: String,
    /// Which of the simulated clients has it.
    pub(crate) client: usize,
    pub(crate) link: Option<LinkId>,
    pub(crate) expiry_seconds: u32,
    pub(crate) disconnected_at: Option<Time>,
    pub(crate) ended_at: Option<Time>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) exchanges: BTreeMap<u16, Exchange>,
    pub(crate) exchanges_begun: u64,
    /// How often a message was put out because it was published, and not again.
    pub(crate) put_out: BTreeMap<MessageId, usize>,
    /// Those put out at least once as what was published or what was retained.
    pub(crate) ambiguous: BTreeSet<MessageId>,
    /// When something was last sent that was retained, or may have been, by topic.
    pub(crate) replayed: BTreeMap<String, Time>,
    /// QoS 2 packets from the client that clear what is retained, until PUBREL.
    pub(crate) clearing: BTreeMap<u16, WriteId>,
    /// What the client has got.
    pub(crate) received: BTreeSet<MessageId>,
    /// Exchanges of QoS 2 whose message the client's application has got.
    pub(crate) received_once: BTreeSet<u64>,
    /// The newest message got, for each publisher's identifier, topic, QoS published and QoS
    /// delivered.
    pub(crate) newest: BTreeMap<(String, String, QoS, QoS), MessageId>,
    /// Those published with RETAIN and put out as live messages, by topic.
    pub(crate) live_retained: BTreeMap<String, Vec<(MessageId, QoS)>>,
    /// The smallest Maximum Packet Size it ever announced.
    pub(crate) smallest_maximum: usize,
    pub(crate) will: Option<WillRecord>,
}

/// A delivery that is not completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// In the order in which they were begun.
    pub(crate) serial: u64,
    pub(crate) message: Option<MessageId>,
    pub(crate) qos: QoS,
    /// Last sent on it.
    pub(crate) link: LinkId,
    /// The client has sent what completes it; whether the broker has handled that is not known.
    pub(crate) answered: bool,
    /// The client has sent PUBREC.
    pub(crate) received: bool,
    /// Why it was put out first.
    pub(crate) class: Class,
}

pub(crate) struct WillRecord {
    pub(crate) message: MessageId,
    pub(crate) delay_seconds: u32,
    pub(crate) state: WillState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WillState {
    /// Its connection is there.
    Armed,
    /// It is published at that time, unless the client comes back before.
    Due(Time),
    /// It had to be published at that time, or a little later.
    Published(Time),
    /// It must not be published any more.
    Cancelled,
    /// Its time came just as the client did.
    Uncertain,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    Yes,
    No,
    Unknown,
}

impl SessionRecord {
    fn new(client_id: &str, client: usize) -> SessionRecord {
        SessionRecord {
            client_id: client_id.to_owned(),
            client,
            link: None,
            expiry_seconds: 0,
            disconnected_at: None,
            ended_at: None,
            subscriptions: Subscriptions::default(),
            exchanges: BTreeMap::new(),
            exchanges_begun: 0,
            put_out: BTreeMap::new(),
            ambiguous: BTreeSet::new(),
            replayed: BTreeMap::new(),
            clearing: BTreeMap::new(),
            received: BTreeSet::new(),
            received_once: BTreeSet::new(),
            newest: BTreeMap::new(),
            live_retained: BTreeMap::new(),
            smallest_maximum: usize::MAX,
            will: None,
        }
    }

    /// When it is over if nobody comes.
    fn expires_at(&self) -> Option<Time> {
        if self.expiry_seconds == u32::MAX {
            return None;
        }
        Some(self.disconnected_at? + Duration::from_secs(u64::from(self.expiry_seconds)))
    }

    pub(crate) fn is_alive(&self, now: Time) -> Certainty {
        if self.ended_at.is_some() {
            return Certainty::No;
        }
        match self.expires_at() {
            None => Certainty::Yes,
            Some(at) if now < at => Certainty::Yes,
            Some(at) if now > at + SLACK => Certainty::No,
            Some(_) => Certainty::Unknown,
        }
    }
}

impl Judge {
    /// What the core logged, while it handled what came from `fed`.
    pub(crate) fn event(&mut self, fed: Option<LinkId>, event: &Event) {
        match event {
            Event::Connected {
                client_id,
                session_present,
                ..
            } => {
                self.on_connected(fed, client_id, *session_present);
            }
            Event::Disconnected { client_id, cause } => self.on_disconnected(client_id, cause),
            Event::SessionExpired { client_id } => self.on_session_expired(client_id),
            Event::ConnectRefused { .. }
            | Event::ConnectionEnded { .. }
            | Event::QueueOverflow { .. } => {}
            Event::StoreRefuses { .. } | Event::StoreRecovered => {
                self.breach(Rule::Expected, format!("the store never refuses: {event}"));
            }
            Event::SubscriptionLost { .. } | Event::WillRefused { .. } => {
                self.breach(Rule::Expected, format!("there is no extension: {event}"));
            }
        }
    }

    fn on_connected(&mut self, fed: Option<LinkId>, client_id: &str, session_present: bool) {
        let now = self.now;
        let Some(link) = fed else {
            return self.breach(Rule::Expected, format!("{client_id} connected by nothing"));
        };
        let Some(terms) = self.link(link).terms.clone() else {
            return self.breach(
                Rule::Expected,
                format!("{client_id} connected without CONNECT"),
            );
        };
        let Some(client) = self.link(link).client else {
            return self.breach(Rule::Expected, "a vandal was let in".to_owned());
        };
        if !terms.client_id.is_empty() && terms.client_id != client_id {
            self.breach(
                Rule::Expected,
                format!("{} is called {client_id}", terms.client_id),
            );
        }
        let previous = self.current.get(client_id).copied();
        if let Some(previous) = previous
            && let Some(other) = self.session(previous).link
        {
            let text = format!("{client_id} is connected by {other:?} and by {link:?}");
            self.breach(Rule::SessionLifetime, text);
        }
        let alive = previous.map_or(Certainty::No, |previous| {
            self.session(previous).is_alive(now)
        });
        let expected = if terms.clean_start {
            Certainty::No
        } else {
            alive
        };
        match (expected, session_present) {
            (Certainty::Yes, false) | (Certainty::No, true) => {
                let text = format!("{client_id}: session present is {session_present}");
                self.breach(Rule::SessionPresent, text);
            }
            (Certainty::Yes | Certainty::Unknown, true)
            | (Certainty::No | Certainty::Unknown, false) => {}
        }
        let id = match previous {
            Some(previous) if session_present => {
                self.resolve_will(previous, true);
                previous
            }
            Some(_) | None => {
                if let Some(previous) = previous
                    && self.session(previous).ended_at.is_none()
                {
                    self.end_session(previous);
                }
                let id = SessionId(self.sessions.len());
                self.sessions.push(SessionRecord::new(client_id, client));
                self.current.insert(client_id.to_owned(), id);
                id
            }
        };
        let limits = &self.limits;
        let asked = match terms.version {
            ProtocolVersion::V5 => terms.session_expiry_seconds.unwrap_or(0),
            ProtocolVersion::V3_1_1 if terms.clean_start => 0,
            ProtocolVersion::V3_1_1 => limits.v311_session_expiry_seconds,
        };
        let expiry_seconds = asked.min(limits.maximum_session_expiry_seconds);
        let session = self.session_mut(id);
        session.link = Some(link);
        session.disconnected_at = None;
        session.subscriptions.renew_rights(link, now);
        session.expiry_seconds = expiry_seconds;
        session.smallest_maximum = session.smallest_maximum.min(terms.maximum_packet_size);
        session.will = terms.will.map(|(message, delay_seconds)| WillRecord {
            message,
            delay_seconds,
            state: WillState::Armed,
        });
        let record = self.link_mut(link);
        record.session = Some(id);
        record.session_present = Some(session_present);
        self.read_fed(link);
        self.tally.connected += 1;
        self.tally.resumed += u64::from(session_present);
    }

    fn on_disconnected(&mut self, client_id: &str, cause: &DisconnectCause) {
        let now = self.now;
        let Some(id) = self.current.get(client_id).copied() else {
            return self.breach(Rule::Expected, format!("{client_id} was never connected"));
        };
        let Some(link) = self.session_mut(id).link.take() else {
            return self.breach(Rule::Expected, format!("{client_id} is not connected"));
        };
        self.session_mut(id).disconnected_at = Some(now);
        self.link_mut(link).ended_at = Some(now);
        let mut keeps_will = true;
        match cause {
            DisconnectCause::ByClient(reason) => match self.link(link).disconnect {
                Some((asked, expiry)) if asked == *reason => {
                    keeps_will = asked != ReasonCode::Success;
                    if let Some(expiry) = expiry {
                        let most = self.limits.maximum_session_expiry_seconds;
                        self.session_mut(id).expiry_seconds = expiry.min(most);
                    }
                }
                Some(_) | None => {
                    self.breach(
                        Rule::Expected,
                        format!("{client_id} has sent no DISCONNECT"),
                    );
                }
            },
            DisconnectCause::KeepAliveTimeout => self.check_keep_alive(link),
            DisconnectCause::TakenOver => self.tally.takeovers += 1,
            DisconnectCause::Malformed(error) => {
                self.breach(
                    Rule::Expected,
                    format!("{client_id} called malformed: {error}"),
                );
            }
            DisconnectCause::Protocol(error) => {
                self.breach(Rule::Expected, format!("{client_id} called wrong: {error}"));
            }
            DisconnectCause::Unstored | DisconnectCause::PublishRefused(_) => {
                let text = format!("{client_id}: nothing is refused");
                self.breach(Rule::Expected, text);
            }
            DisconnectCause::Lost(_)
            | DisconnectCause::AuthenticationTimeout
            | DisconnectCause::Refused(_)
            | DisconnectCause::Administrative(_)
            | DisconnectCause::ShuttingDown => {}
        }
        let session = self.session_mut(id);
        let expiry_seconds = session.expiry_seconds;
        if let Some(will) = &mut session.will {
            // [MQTT-3.1.2-8] [MQTT-3.1.3-9]
            will.state = if keeps_will {
                let wait = will.delay_seconds.min(expiry_seconds);
                WillState::Due(now + Duration::from_secs(u64::from(wait)))
            } else {
                WillState::Cancelled
            };
        }
        if expiry_seconds == 0 {
            self.end_session(id);
        } else if let Some(WillRecord {
            state: WillState::Due(at),
            ..
        }) = self.session(id).will
            && at <= now
        {
            self.resolve_will(id, false);
        }
    }

    fn check_keep_alive(&mut self, link: LinkId) {
        let record = self.link(link);
        let seconds = record.keep_alive_seconds;
        let silent = self.now.since(record.fed_at);
        if seconds == 0 || silent < Duration::from_millis(u64::from(seconds) * 1500) {
            let text = format!("{link:?}: keep alive of {seconds} s, silent for {silent:?}");
            self.breach(Rule::Deadline, text);
        }
        self.tally.keep_alive_timeouts += 1;
    }

    fn on_session_expired(&mut self, client_id: &str) {
        let now = self.now;
        let Some(id) = self.current.get(client_id).copied() else {
            return self.breach(
                Rule::Expected,
                format!("{client_id} has no session to expire"),
            );
        };
        let due = self.session(id).expires_at();
        if due.is_none_or(|due| now < due) {
            let text = format!("{client_id}: expired at {now:?}, not due before {due:?}");
            self.breach(Rule::SessionLifetime, text);
        }
        self.end_session(id);
        self.tally.sessions_expired += 1;
    }

    fn end_session(&mut self, id: SessionId) {
        let now = self.now;
        let session = self.session_mut(id);
        session.ended_at = Some(now);
        if let Some(WillRecord {
            state: state @ WillState::Due(_),
            ..
        }) = &mut session.will
        {
            if let WillState::Due(at) = *state {
                *state = WillState::Due(at.min(now));
            }
            self.resolve_will(id, false);
        }
    }

    /// The session goes on, or does not: what about a will that waits?
    pub(crate) fn resolve_will(&mut self, id: SessionId, is_resumed: bool) {
        let now = self.now;
        let Some(will) = &mut self.session_mut(id).will else {
            return;
        };
        let WillState::Due(due) = will.state else {
            return;
        };
        will.state = if now < due {
            if !is_resumed {
                return;
            }
            WillState::Cancelled
        } else if now > due + SLACK || !is_resumed {
            WillState::Published(due)
        } else {
            WillState::Uncertain
        };
        let (message, state) = (will.message, will.state);
        match state {
            WillState::Published(at) => {
                self.tally.wills_due += 1;
                self.will_published(message, at, Some(now + SLACK));
                self.message_mut(message).acknowledged_at = Some(now + SLACK);
            }
            WillState::Cancelled => self.tally.wills_cancelled += 1,
            WillState::Uncertain => {
                self.tally.wills_uncertain += 1;
                self.will_published(message, due, None);
            }
            WillState::Armed | WillState::Due(_) => {}
        }
    }

    /// A will was put out to somebody: was it due?
    pub(crate) fn check_will_is_due(&mut self, message: MessageId, client: usize) {
        if !self.message(message).publications.is_empty() {
            return;
        }
        let now = self.now;
        let state = self
            .sessions
            .iter()
            .filter(|session| session.client == client)
            .filter_map(|session| session.will.as_ref())
            .find(|will| will.message == message)
            .map(|will| will.state);
        match state {
            Some(WillState::Due(at)) if at <= now => {
                self.will_published(message, at, Some(now + SLACK));
            }
            Some(
                WillState::Armed
                | WillState::Due(_)
                | WillState::Published(_)
                | WillState::Cancelled
                | WillState::Uncertain,
            )
            | None => {
                let text = format!("the will {message:?} was published while it is {state:?}");
                self.breach(Rule::Will, text);
            }
        }
    }

    /// `by` is when it is published without doubt, if it is.
    fn will_published(&mut self, message: MessageId, at: Time, by: Option<Time>) {
        let record = self.message_mut(message);
        if record.publications.is_empty() {
            record.publications.push(Publication {
                from: at,
                by,
                link: None,
                refused: false,
            });
            if record.content.retain {
                let topic = record.content.topic.clone();
                self.retain_written(&topic, Some(message), at, by);
            }
        }
    }
}
