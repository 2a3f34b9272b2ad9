//! Retained messages: a register for each topic, of which a new subscription must read nothing
//! older than the last write that was over.
//!
//! Writes of different publishers may overlap; then either may be the last.

use nexum_types::{QoS, Time};

use super::Judge;
use super::messages::{MessageId, Origin};
use super::sessions::SessionId;
use super::subscriptions::ReplayRight;
use super::topics::matches;
use crate::rule::Rule;

/// Names a write of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteId(usize);

/// A message was published with RETAIN.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(super) topic: String,
    /// `None` clears.
    message: Option<MessageId>,
    /// It was not done before.
    from: Time,
    /// It is done since then, if this is known.
    done: Option<Time>,
}

impl Judge {
    pub(super) fn retain_written(
        &mut self,
        topic: &str,
        message: Option<MessageId>,
        from: Time,
        done: Option<Time>,
    ) -> WriteId {
        let id = WriteId(self.writes.len());
        self.writes.push(Write {
            topic: topic.to_owned(),
            message,
            from,
            done,
        });
        id
    }

    pub(super) fn write_is_done(&mut self, write: WriteId, at: Time) {
        self.writes[write.0].done.get_or_insert(at);
    }

    pub(super) fn writes_are_done(&mut self, message: MessageId, at: Time) {
        for write in self
            .writes
            .iter_mut()
            .filter(|write| write.message == Some(message))
        {
            write.done.get_or_insert(at);
        }
    }

    fn writes_of(&self, message: MessageId) -> impl Iterator<Item = &Write> {
        self.writes
            .iter()
            .filter(move |write| write.message == Some(message))
    }

    /// Whether `newer` was written after every write of `older` was over.
    fn is_newer(&self, newer: &Write, older: MessageId) -> bool {
        if newer.message == Some(older) {
            return false;
        }
        let follows = self
            .writes_of(older)
            .all(|write| write.done.is_some_and(|done| done < newer.from));
        // A publisher's own messages are in the order in which it sent them, however close together.
        let place = |message| {
            let mut writes = self.writes.iter();
            writes.position(|write| write.message == Some(message))
        };
        let own = newer.message.is_some_and(|message| {
            let (one, other) = (self.message(message), self.message(older));
            matches!(one.content.origin, Origin::Client(_))
                && one.content.origin == other.content.origin
                && place(message) > place(older)
                && other.publications.len() == 1
                && one
                    .publications
                    .iter()
                    .zip(&other.publications)
                    .all(|(one, other)| one.link == other.link && one.from >= other.from)
        });
        follows || own
    }

    /// Whether a topic's message is still to be sent for that subscription: once, or again after
    /// the topic had none for a while, since the walk over the topics may come by another time.
    pub(super) fn may_be_replayed(&self, right: &ReplayRight, topic: &str) -> bool {
        let Some(taken) = right.taken.get(topic).map(|taken| taken.at) else {
            return true;
        };
        self.writes
            .iter()
            .filter(|write| write.topic == topic)
            .any(|write| match write.message {
                None => write.done.is_none_or(|done| done >= taken),
                Some(message) => self
                    .message(message)
                    .expiry(self.now)
                    .is_some_and(|(earliest, latest)| earliest <= self.now && latest >= taken),
            })
    }

    /// A retained message was put out for a new subscription: is it new enough?
    pub(super) fn check_replayed(
        &mut self,
        session: SessionId,
        message: MessageId,
        topic: &str,
        qos: QoS,
        right: &ReplayRight,
    ) {
        let overtaken = self
            .writes
            .iter()
            .filter(|write| write.topic == topic)
            .find(|write| {
                write.done.is_some_and(|done| done < right.requested_at)
                    && self.is_newer(write, message)
            })
            .cloned();
        if let Some(overtaken) = overtaken {
            let text = format!(
                "{message:?} on {topic} for the subscription {} of {:?}: {overtaken:?} is newer",
                right.filter, right.requested_at
            );
            self.breach(Rule::Retained, text);
        }
        let live = self
            .session(session)
            .live_retained
            .get(topic)
            .cloned()
            .unwrap_or_default();
        // Of a message that its publisher sent again, the first may be the one that came.
        // What is sent at once may come before what waits for the store.
        let before = |live: &QoS| *live != QoS::AtMostOnce || qos == QoS::AtMostOnce;
        let mut live = live.iter().filter(|(_, live)| before(live));
        let stale = live.find_map(|(newer, _)| {
            self.writes_of(*newer)
                .next()
                .filter(|first| self.is_newer(first, message))
                .cloned()
        });
        if let Some(newer) = stale {
            let client = self.session(session).client_id.clone();
            let text =
                format!("{client} got {message:?} on {topic} as retained after {newer:?} live");
            self.breach(Rule::Retained, text);
        }
    }

    /// At rest: every subscription that asked for what is retained has it.
    pub(super) fn check_replays_are_complete(&mut self, session: SessionId) {
        let record = self.session(session);
        let Some(link) = record.link else { return };
        let rights: Vec<ReplayRight> = record
            .subscriptions
            .rights
            .iter()
            .filter(|right| right.due && right.granted.is_some_and(|(_, on)| on == link))
            .cloned()
            .collect();
        let topics = self.retained_topics();
        for right in rights {
            for topic in topics.iter().filter(|topic| matches(&right.filter, topic)) {
                let got = self
                    .session(session)
                    .replayed
                    .get(topic)
                    .is_some_and(|at| *at >= right.requested_at);
                if !got && self.must_have(session, &right, topic) {
                    let client = &self.session(session).client_id;
                    let writes = self.writes.iter().filter(|write| write.topic == *topic);
                    let text = format!(
                        "{client} has nothing on {topic} for {} of {:?}: {:?}",
                        right.filter,
                        right.requested_at,
                        writes.collect::<Vec<_>>()
                    );
                    self.breach(Rule::Retained, text);
                }
            }
        }
    }

    /// Whether a message was retained on the topic for certain when the subscription was made, and
    /// nothing newer has come to the client instead.
    fn must_have(&self, session: SessionId, right: &ReplayRight, topic: &str) -> bool {
        let writes: Vec<&Write> = self
            .writes
            .iter()
            .filter(|write| write.topic == topic)
            .collect();
        let done_before = |write: &Write| write.done.is_some_and(|done| done < right.requested_at);
        let is_overtaken = |write: &Write| match write.message {
            Some(message) => writes
                .iter()
                .any(|other| done_before(other) && self.is_newer(other, message)),
            None => writes.iter().any(|other| {
                done_before(other) && write.done.is_some_and(|done| done < other.from)
            }),
        };
        let mut candidates = writes
            .iter()
            .filter(|write| !is_overtaken(write))
            .peekable();
        if candidates.peek().is_none() || !writes.iter().any(|write| done_before(write)) {
            return false;
        }
        candidates.all(|write| {
            let Some(message) = write.message else {
                return false;
            };
            let record = self.message(message);
            // Whether No Local holds for what is retained the specification leaves open.
            let own = record.content.origin == Origin::Client(self.session(session).client);
            record.content.expiry_seconds.is_none()
                && !(own && right.no_local)
                && record.packet_bytes() <= self.session(session).smallest_maximum
                && !(write.from >= right.requested_at
                    && self.session(session).received.contains(&message))
        })
    }
}
