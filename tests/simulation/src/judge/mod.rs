//! The judge: sees everything that goes into the core and comes out of it, knows the
//! specification, and nothing of how the core works.
//!
//! Where it cannot know whether the core has handled something already, it takes what is better
//! for the core; what it calls a breach is one.

pub(crate) mod deliveries;
pub(crate) mod messages;
mod retained;
pub(crate) mod sessions;
mod shared;
mod subscriptions;
pub(crate) mod topics;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_core::{Counters, DropReason, Gauges, Limits};
use nexum_types::{ProtocolVersion, Time};

use crate::history::History;
use crate::link::LinkId;
use crate::rule::{Breach, Rule};
use crate::tally::Tally;

use messages::{Content, MessageId, MessageRecord, Publication};
use retained::Write;
use sessions::{Certainty, SessionId, SessionRecord, WillState};
use shared::GroupRecord;
use wire::LinkRecord;

/// How late a timer of the core may fire in the simulated shell: its wheel turns every 66 ms, and
/// a shard's turn comes a little after it is due.
pub(crate) const SLACK: Duration = Duration::from_millis(250);

pub(crate) struct Judge {
    pub(crate) now: Time,
    pub(crate) history: History,
    pub(crate) tally: Tally,
    pub(crate) limits: Limits,
    /// Packets in either direction, without keep alives.
    pub(crate) traffic: u64,
    /// Whether queues are never full.
    pub(crate) loses_nothing: bool,
    breach: Option<Breach>,
    messages: Vec<MessageRecord>,
    links: BTreeMap<LinkId, LinkRecord>,
    sessions: Vec<SessionRecord>,
    /// The latest session of each Client Identifier.
    current: BTreeMap<String, SessionId>,
    writes: Vec<Write>,
    groups: BTreeMap<String, GroupRecord>,
}

impl Judge {
    pub(crate) fn new(limits: Limits, loses_nothing: bool, history: History) -> Judge {
        Judge {
            now: Time::ZERO,
            history,
            tally: Tally::default(),
            traffic: 0,
            limits,
            loses_nothing,
            breach: None,
            messages: Vec::new(),
            links: BTreeMap::new(),
            sessions: Vec::new(),
            current: BTreeMap::new(),
            writes: Vec::new(),
            groups: BTreeMap::new(),
        }
    }

    /// The first promise broken, if any was.
    pub(crate) fn verdict(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// A promise was broken; only the first counts, what follows may follow from it.
    pub(crate) fn breach(&mut self, rule: Rule, what: String) {
        self.breach.get_or_insert(Breach { rule, what });
    }

    pub(crate) fn linked(&mut self, link: LinkId, client: Option<usize>) {
        self.links.insert(link, LinkRecord::new(client, self.now));
    }

    pub(crate) fn link(&self, link: LinkId) -> &LinkRecord {
        self.links
            .get(&link)
            .expect("the world announces every link")
    }

    fn link_mut(&mut self, link: LinkId) -> &mut LinkRecord {
        self.links
            .get_mut(&link)
            .expect("the world announces every link")
    }

    pub(crate) fn version_of(&self, link: LinkId) -> ProtocolVersion {
        self.link(link)
            .terms
            .as_ref()
            .map_or(ProtocolVersion::V3_1_1, |terms| terms.version)
    }

    pub(crate) fn session(&self, id: SessionId) -> &SessionRecord {
        &self.sessions[id.0]
    }

    fn session_mut(&mut self, id: SessionId) -> &mut SessionRecord {
        &mut self.sessions[id.0]
    }

    pub(crate) fn message(&self, id: MessageId) -> &MessageRecord {
        &self.messages[id.0 as usize]
    }

    fn message_mut(&mut self, id: MessageId) -> &mut MessageRecord {
        &mut self.messages[id.0 as usize]
    }

    /// Somebody is going to publish this.
    pub(crate) fn add_message(&mut self, content: Content) -> MessageId {
        let id = MessageId(self.messages.len() as u32);
        self.messages.push(MessageRecord::new(content));
        id
    }

    /// Every topic that something was ever retained on.
    pub(crate) fn retained_topics(&self) -> BTreeSet<String> {
        self.writes
            .iter()
            .map(|write| write.topic.clone())
            .collect()
    }

    /// The broker itself published it.
    pub(crate) fn published_by_broker(&mut self, message: MessageId) {
        let now = self.now;
        let record = self.message_mut(message);
        record.publications.push(Publication {
            from: now,
            by: Some(now),
            link: None,
            refused: false,
        });
        record.acknowledged_at = Some(now);
        if record.content.retain {
            let topic = record.content.topic.clone();
            self.retain_written(&topic, Some(message), now, Some(now + SLACK));
        }
    }

    /// At rest: wills whose time came while nobody looked.
    pub(crate) fn catch_up(&mut self) {
        for session in (0..self.sessions.len()).map(SessionId) {
            let due = self.sessions[session.0].will.as_ref().is_some_and(
                |will| matches!(will.state, WillState::Due(at) if self.now > at + SLACK),
            );
            if due {
                self.resolve_will(session, false);
            }
        }
    }

    /// At rest: everything due was done. `dropped` is what the core admits to have dropped.
    pub(crate) fn check_at_rest(&mut self, counters: &Counters, gauges: &Gauges) {
        self.catch_up();
        let missing = self.check_nothing_is_lost() + self.check_nothing_is_stranded();
        let full = counters.dropped[DropReason::QueueFull as usize];
        let ended = counters.dropped[DropReason::SessionEnded as usize];
        if self.loses_nothing && full > 0 {
            self.breach(
                Rule::Bounds,
                format!("{full} dropped by queues without bounds"),
            );
        }
        if missing as u64 > full + ended {
            let text = format!("{missing} missing, {full} + {ended} dropped");
            self.breach(Rule::NotLost, text);
        }
        if counters.dropped[DropReason::RetainedFull as usize] == 0 {
            for session in (0..self.sessions.len()).map(SessionId) {
                self.check_replays_are_complete(session);
            }
        }
        let alive = |certainty| {
            self.current
                .values()
                .filter(|session| self.session(**session).is_alive(self.now) == certainty)
                .count() as u64
        };
        let (certain, uncertain) = (alive(Certainty::Yes), alive(Certainty::Unknown));
        if !(certain..=certain + uncertain).contains(&gauges.sessions) {
            let text = format!(
                "{} sessions, not {certain} to {uncertain} more",
                gauges.sessions
            );
            self.breach(Rule::SessionLifetime, text);
        }
        let (due, uncertain) = (self.tally.wills_due, self.tally.wills_uncertain);
        if !(due..=due + uncertain).contains(&counters.wills_published) {
            let text = format!(
                "{} wills published, not {due} to {uncertain} more",
                counters.wills_published
            );
            self.breach(Rule::Will, text);
        }
        self.tally.missing += missing as u64;
    }

    /// At rest: nobody who is connected waits for an answer.
    pub(crate) fn check_answers(&mut self, link: LinkId) {
        if let Err(waits_for) = self.link(link).owes_nothing() {
            self.breach(Rule::Progress, format!("{link:?} waits for {waits_for}"));
        }
    }
}
