//! What was promised to whom, and whether it was kept.
//!
//! It believes the clients: what they sent and got. Where they cannot know what the broker has, it
//! claims nothing.

use std::collections::{BTreeMap, BTreeSet};

use nexum_types::{QoS, Time};

use super::jobs::{JobDelivery, Jobs, Journey, Pushed};
use crate::judge::messages::{MessageId, payload_of, read_payload};
use crate::judge::topics::{matches, shared_filter};

/// A promise of a broker with durable sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// The core, the records and the store do not panic.
    NoPanic,
    /// A store that a crash has left opens, undamaged, and every record in it can be read.
    Recovers,
    /// What arrives is what was published.
    Unaltered,
    /// What was acknowledged reaches everyone who was subscribed.
    NotLost,
    /// By QoS 2 it comes once.
    ExactlyOnce,
    /// Order for each publisher, topic and QoS.
    Order,
    /// What is retained is at least as new as the last that was acknowledged.
    Retained,
    /// A session that was acknowledged is there, and one that was to begin anew is not.
    SessionPresent,
    /// A will is published when its connection ends with the broker.
    Will,
    /// Nothing comes for what was unsubscribed from.
    Unsubscribed,
    /// Whoever asks is answered, and what is to be sent is sent.
    Progress,
    /// The broker keeps to the protocol otherwise.
    Protocol,
    /// What a publisher was told is not kept is not delivered.
    Refused,
    /// What is published later does not come before.
    NotEarly,
    /// By QoS 2 it is pushed once, and by QoS 1 as often as it was sent.
    PushedOnce,
    /// What is settled, and stored so, does not come again.
    Settled,
    /// When all sessions have ended and nothing is retained, nothing is stored.
    NothingLeft,
}

/// A message of the run, by the number in its payload.
pub(super) struct Message {
    publisher: usize,
    /// As subscribers see it.
    topic: String,
    journey: Journey,
    qos: QoS,
    bytes: usize,
    /// It has a Content Type of its own.
    is_labelled: bool,
    /// It was published with RETAIN.
    retain: bool,
    /// Its publisher's session outlives its connections, so a repetition is known as one.
    persistent: bool,
    /// When it was sent first.
    from: Option<Time>,
    acknowledged: bool,
    /// Its publisher was told that it is not kept.
    refused: bool,
    /// On how many connections it was sent.
    sends: u32,
    is_will: bool,
}

/// What is known of a client as a subscriber.
#[derive(Default)]
struct Subscriber {
    subscriptions: BTreeMap<String, Subscription>,
    /// What its application got in its present session, and how often by QoS 2.
    got: BTreeMap<u32, u32>,
    newest: BTreeMap<(usize, String, QoS, QoS), u32>,
    /// Whether the broker has acknowledged a session that must be there.
    has_session: bool,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    qos: QoS,
    /// When SUBACK was read.
    since: Option<Time>,
    /// When UNSUBACK was read.
    until: Option<Time>,
    /// UNSUBSCRIBE was sent.
    ending: bool,
}

#[derive(Default)]
pub(super) struct Verdict {
    breach: Option<(Promise, String)>,
    messages: Vec<Message>,
    subscribers: Vec<Subscriber>,
    /// What anyone ever got of a shared subscription.
    shared_got: BTreeSet<u32>,
    /// What is retained, in the order of its one publisher: the number, or none for clearing.
    writes: BTreeMap<String, Vec<Write>>,
    audited: BTreeMap<String, u32>,
    pub(super) jobs: Jobs,
    pub(super) claims: u64,
    pub(super) wills: u64,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    number: Option<u32>,
    acknowledged: bool,
}

/// Names a write of a retained topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteNumber(usize);

impl Verdict {
    pub(super) fn new(clients: usize, jobs: Jobs) -> Verdict {
        Verdict {
            jobs,
            subscribers: (0..clients).map(|_| Subscriber::default()).collect(),
            ..Verdict::default()
        }
    }

    pub(super) fn breach(&mut self, promise: Promise, what: String) {
        self.breach.get_or_insert((promise, what));
    }

    pub(super) fn has_breach(&self) -> bool {
        self.breach.is_some()
    }

    pub(super) fn into_breach(self) -> Option<(Promise, String)> {
        self.breach
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn acknowledged_count(&self) -> usize {
        self.messages
            .iter()
            .filter(|message| message.acknowledged)
            .count()
    }

    // What publishers do.

    pub(super) fn new_message(
        &mut self,
        publisher: usize,
        topic: &str,
        qos: QoS,
        bytes: usize,
        persistent: bool,
    ) -> u32 {
        let journey = self.jobs.journey(topic);
        self.messages.push(Message {
            publisher,
            topic: journey.plain.clone().unwrap_or_else(|| topic.to_owned()),
            journey,
            qos,
            bytes,
            is_labelled: false,
            retain: false,
            persistent,
            from: None,
            acknowledged: false,
            refused: false,
            sends: 0,
            is_will: false,
        });
        self.messages.len() as u32 - 1
    }

    pub(super) fn new_will(&mut self, publisher: usize, topic: &str) -> u32 {
        let number = self.new_message(publisher, topic, QoS::AtLeastOnce, 8, false);
        self.messages[number as usize].is_will = true;
        number
    }

    pub(super) fn payload(&self, number: u32) -> Vec<u8> {
        payload_of(MessageId(number), self.messages[number as usize].bytes)
    }

    /// From now on it has a Content Type.
    pub(super) fn label(&mut self, number: u32) {
        self.messages[number as usize].is_labelled = true;
    }

    /// Its Content Type, if it has one.
    pub(super) fn label_of(&self, number: u32) -> Option<String> {
        let is_labelled = self.messages[number as usize].is_labelled;
        is_labelled.then(|| format!("message/{number}"))
    }

    /// Whether a message came with the Content Type that it went with.
    fn check_label(&mut self, number: u32, client: usize, label: ContentType<'_>) {
        let expected = self.label_of(number);
        if let ContentType::Told(told) = label
            && told != expected.as_deref()
        {
            let text = format!("client {client} got message {number} with content type {told:?}");
            self.breach(Promise::Unaltered, text);
        }
    }

    pub(super) fn will_retain(&mut self, topic: &str, number: Option<u32>) -> WriteNumber {
        if let Some(number) = number {
            self.messages[number as usize].retain = true;
        }
        let writes = self.writes.entry(topic.to_owned()).or_default();
        writes.push(Write {
            number,
            acknowledged: false,
        });
        WriteNumber(writes.len() - 1)
    }

    pub(super) fn sent(&mut self, number: u32, now: Time) {
        let message = &mut self.messages[number as usize];
        message.sends += 1;
        message.from.get_or_insert(now);
    }

    pub(super) fn acknowledged(&mut self, number: u32) {
        self.messages[number as usize].acknowledged = true;
    }

    pub(super) fn refused(&mut self, number: u32) {
        self.messages[number as usize].refused = true;
    }

    pub(super) fn retained(&mut self, topic: &str, write: WriteNumber) {
        if let Some(writes) = self.writes.get_mut(topic) {
            writes[write.0].acknowledged = true;
        }
    }

    /// The broker has ended the connection of a client that stays away: its will is due.
    pub(super) fn will_is_due(&mut self, number: u32, now: Time) {
        let message = &mut self.messages[number as usize];
        message.from = Some(now);
        message.acknowledged = true;
        self.wills += 1;
    }

    // What subscribers do.

    pub(super) fn connect_sent(&mut self, client: usize, clean: bool) {
        if clean || !self.subscribers[client].has_session {
            // From here on nothing that was is certain.
            self.subscribers[client].has_session = false;
            for subscription in self.subscribers[client].subscriptions.values_mut() {
                subscription.ending = true;
            }
        }
    }

    pub(super) fn connected(&mut self, client: usize, clean: bool, present: bool, persists: bool) {
        let subscriber = &mut self.subscribers[client];
        let must_be = subscriber.has_session;
        if clean && present || must_be && !present {
            let text = format!("client {client}: clean {clean}, session present {present}");
            self.breach(Promise::SessionPresent, text);
        }
        let subscriber = &mut self.subscribers[client];
        if !present {
            *subscriber = Subscriber::default();
        }
        subscriber.has_session = persists;
    }

    pub(super) fn subscribe_sent(&mut self, client: usize, filter: &str, qos: QoS) {
        let subscription = Subscription {
            qos,
            since: None,
            until: None,
            ending: false,
        };
        let known = self.subscribers[client]
            .subscriptions
            .entry(filter.to_owned())
            .or_insert(subscription);
        if known.ending {
            *known = subscription;
        }
    }

    pub(super) fn subscribed(&mut self, client: usize, filter: &str, now: Time) {
        if let Some(known) = self.subscribers[client].subscriptions.get_mut(filter)
            && !known.ending
        {
            known.since.get_or_insert(now);
        }
    }

    pub(super) fn unsubscribe_sent(&mut self, client: usize, filter: &str) {
        if let Some(known) = self.subscribers[client].subscriptions.get_mut(filter) {
            known.ending = true;
            known.until = None;
        }
    }

    pub(super) fn unsubscribed(&mut self, client: usize, filter: &str, now: Time) {
        if let Some(known) = self.subscribers[client].subscriptions.get_mut(filter)
            && known.ending
        {
            known.until = Some(now);
        }
    }

    /// The client's application got this.
    pub(super) fn received(&mut self, client: usize, topic: &str, payload: &[u8], form: Form<'_>) {
        if payload.is_empty() {
            return;
        }
        let Some(number) = self.number_in(client, topic, payload) else {
            return;
        };
        let message = &self.messages[number as usize];
        if message.topic != topic || message.bytes != payload.len() {
            let text = format!("client {client}: message {number} on {topic}");
            return self.breach(Promise::Unaltered, text);
        }
        self.check_label(number, client, form.content_type);
        let message = &self.messages[number as usize];
        if form.retain {
            let newest = self.audited.entry(topic.to_owned()).or_insert(number);
            *newest = number.max(*newest);
            return;
        }
        let from = message.from;
        let delay = message.journey.delay;
        if let (Some(from), Some(delay)) = (from, delay)
            && form.written < from + delay
        {
            let text = format!("client {client} got message {number}, and it is not due");
            return self.breach(Promise::NotEarly, text);
        }
        let key = (message.publisher, topic.to_owned(), message.qos, form.qos);
        let once = form.qos == QoS::ExactlyOnce
            && message.persistent
            && self.subscribers[client].has_session;
        let is_in_order = !message.is_will && delay.is_none();
        let repeated = self.messages[number as usize].sends > 1;
        let subscriber = &mut self.subscribers[client];
        let is_wanted = subscriber.subscriptions.iter().any(|(filter, terms)| {
            let matched = matches(shared_filter(filter).unwrap_or(filter), topic);
            let over = match (terms.until, from) {
                (Some(until), Some(from)) => until < from,
                (_, _) => false,
            };
            matched && !over
        });
        let is_shared = topic.starts_with("s/");
        let is_first = !subscriber.got.contains_key(&number);
        let times = subscriber.got.entry(number).or_default();
        *times += u32::from(form.qos == QoS::ExactlyOnce);
        let times = *times;
        if is_shared {
            self.shared_got.insert(number);
        }
        if !is_wanted {
            let text = format!("client {client}: message {number} on {topic}");
            return self.breach(Promise::Unsubscribed, text);
        }
        if once && times > 1 && !is_shared {
            let text = format!("client {client} got message {number} {times} times by QoS 2");
            return self.breach(Promise::ExactlyOnce, text);
        }
        if is_first && is_in_order && !is_shared {
            let newest = self.subscribers[client].newest.entry(key).or_insert(number);
            if *newest > number && !repeated {
                let text = format!("client {client} got message {number} after {newest}");
                return self.breach(Promise::Order, text);
            }
            *newest = number.max(*newest);
        }
    }

    /// The number in a payload, if it is whole and that of a message.
    fn number_in(&mut self, client: usize, topic: &str, payload: &[u8]) -> Option<u32> {
        let Some(MessageId(number)) = read_payload(payload) else {
            let text = format!("client {client}: a payload of nobody on {topic}");
            self.breach(Promise::Unaltered, text);
            return None;
        };
        if self.messages.len() <= number as usize {
            let text = format!("client {client}: message {number}?");
            self.breach(Promise::Unaltered, text);
            return None;
        }
        Some(number)
    }

    /// A consumer got this from a queue. Returns the number of the message.
    pub(super) fn job_received(&mut self, delivery: &JobDelivery<'_>) -> Option<u32> {
        let number = self.number_in(delivery.client, delivery.topic, delivery.payload)?;
        let message = &self.messages[number as usize];
        if message.bytes != delivery.payload.len() {
            let text = format!("message {number} on {}", delivery.topic);
            self.breach(Promise::Unaltered, text);
            return None;
        }
        self.check_label(number, delivery.client, delivery.content_type);
        let message = &self.messages[number as usize];
        let pushed = Pushed {
            number,
            journey: message.journey.clone(),
            qos: message.qos,
            persistent: message.persistent,
            from: message.from,
            sends: message.sends,
            refused: message.refused && !message.acknowledged,
        };
        if let Err((promise, text)) = self.jobs.delivered(delivery, &pushed) {
            self.breach(promise, text);
        }
        Some(number)
    }

    // The end.

    /// What was pushed and acknowledged has been settled, or died.
    pub(super) fn check_jobs(&mut self) {
        for number in 0..self.messages.len() as u32 {
            let message = &self.messages[number as usize];
            let is_pushed = message.acknowledged
                && message.journey.queue.is_some()
                && !(message.journey.is_captured() && message.from <= self.jobs.captures_since);
            if is_pushed && let Err(why) = self.jobs.has_ended(number) {
                let message = &self.messages[number as usize];
                let text = format!(
                    "message {number} of client {} ({:?}, {:?}), sent first at {:?}: {why}",
                    message.publisher, message.journey, message.qos, message.from
                );
                return self.breach(Promise::NotLost, text);
            }
        }
    }

    /// Everybody has been there for long enough.
    pub(super) fn check_deliveries(&mut self) {
        for client in 0..self.subscribers.len() {
            for number in 0..self.messages.len() as u32 {
                if let Some(why) = self.missing(client, number) {
                    let message = &self.messages[number as usize];
                    let promise = if message.is_will {
                        Promise::Will
                    } else {
                        Promise::NotLost
                    };
                    let text = format!(
                        "client {client} never got message {number} of client {} on {} at {:?}, \
                         sent first at {:?}: {why}",
                        message.publisher, message.topic, message.qos, message.from
                    );
                    return self.breach(promise, text);
                }
            }
        }
    }

    /// Why a client should have a message that it did not get.
    fn missing(&mut self, client: usize, number: u32) -> Option<String> {
        let message = &self.messages[number as usize];
        let (true, Some(from)) = (message.acknowledged, message.from) else {
            return None;
        };
        message.journey.plain.as_ref()?;
        let subscriber = &self.subscribers[client];
        if !subscriber.has_session {
            return None;
        }
        let holds = subscriber.subscriptions.iter().find(|(filter, terms)| {
            !terms.ending
                && !is_of_queue(filter)
                && terms.since.is_some_and(|since| since < from)
                && terms.qos != QoS::AtMostOnce
                && matches(shared_filter(filter).unwrap_or(filter), &message.topic)
        });
        let (filter, terms) = holds?;
        self.claims += 1;
        let has_it = if shared_filter(filter).is_some() {
            self.shared_got.contains(&number)
        } else {
            subscriber.got.contains_key(&number)
        };
        (!has_it).then(|| format!("subscribed to {filter} since {:?}", terms.since))
    }

    pub(super) fn begin_audit(&mut self) {
        self.audited.clear();
    }

    /// The auditor has what is retained.
    pub(super) fn check_retained(&mut self) {
        let mut breach = None;
        for (topic, writes) in &self.writes {
            let Some(last) = writes.iter().rposition(|write| write.acknowledged) else {
                continue;
            };
            let allowed = &writes[last..];
            let found = self.audited.get(topic).copied();
            if !allowed.iter().any(|write| write.number == found) {
                breach = Some(format!("{topic} has {found:?}, and may have {allowed:?}"));
            }
        }
        if let Some(text) = breach {
            self.breach(Promise::Retained, text);
        }
    }

    pub(super) fn retained_topics(&self) -> Vec<String> {
        self.writes.keys().cloned().collect()
    }
}

/// Whether a filter is of a queue, of which each message goes to one.
pub(super) fn is_of_queue(filter: &str) -> bool {
    let filter = shared_filter(filter).unwrap_or(filter);
    filter.starts_with("$queue/") || filter.starts_with("$q/")
}

/// What a client was told of the Content Type.
#[derive(Clone, Copy, Debug)]
pub(super) enum ContentType<'a> {
    /// 3.1.1 knows none.
    Unknown,
    Told(Option<&'a str>),
}

/// How a message came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'a> {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) content_type: ContentType<'a>,
    /// When the broker wrote it.
    pub(super) written: Time,
}
