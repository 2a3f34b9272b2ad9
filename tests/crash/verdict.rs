//! What was promised against what came.
//!
//! It knows nothing of connections and crashes: only what publishers sent and saw acknowledged, and
//! what subscribers got, in which order. For each subscriber and stream:
//!
//! - an acknowledged message whose first PUBLISH came after the SUBACK has arrived;
//! - no number came that was never sent;
//! - from QoS 2 to QoS 2, nothing came twice;
//! - first occurrences came in the order of their numbers. (What was sent before the SUBACK may come
//!   by a repetition only, after newer ones.)
//!
//! And for each retained topic: what is retained is no older than what was last acknowledged.

mod retained;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::breach::Breach;
use crate::catalogue::{Catalogue, Kind, Message, Stream, StreamId, matches};
use crate::clock::Tick;

pub(crate) use retained::{expected, outdated};

/// What became of one message at its publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Before its first PUBLISH; of a will, before its CONNECT.
    pub(crate) first_sent: Tick,
    /// Before its last PUBLISH.
    pub(crate) last_sent: Tick,
    /// PUBACK or PUBREC came; of a will, its connection was accepted and then lost.
    pub(crate) acknowledged: bool,
}

/// All messages of all streams.
pub(crate) struct History<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) sent: BTreeMap<StreamId, &'a [Sent]>,
}

/// What a subscriber asked for and got.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    pub(crate) name: String,
    pub(crate) qos: u8,
    pub(crate) subscriptions: Vec<Subscription>,
    /// As they came, without repetitions that QoS 2 let the subscriber see through.
    pub(crate) messages: Vec<Message>,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    /// After its SUBACK, if it has come.
    pub(crate) confirmed: Option<Tick>,
}

impl History<'_> {
    pub(crate) fn sent(&self, stream: StreamId) -> &[Sent] {
        self.sent.get(&stream).copied().unwrap_or_default()
    }

    /// The messages that this subscriber must have, once everything has been delivered.
    pub(crate) fn promised<'a>(&'a self, inbox: &'a Inbox) -> impl Iterator<Item = Message> + 'a {
        self.catalogue.ids().flat_map(move |stream| {
            let confirmed = inbox.confirmed(self.catalogue.stream(stream));
            self.sent(stream)
                .iter()
                .enumerate()
                .filter(move |(_, sent)| sent.acknowledged && sent.is_after(confirmed))
                .map(move |(number, _)| Message { stream, number })
        })
    }

    /// Every promise that was broken to this subscriber.
    pub(crate) fn judge(&self, inbox: &Inbox) -> Vec<Breach> {
        let mut came: BTreeMap<StreamId, Vec<usize>> = BTreeMap::new();
        for message in &inbox.messages {
            came.entry(message.stream).or_default().push(message.number);
        }
        let mut promised: BTreeMap<StreamId, Vec<usize>> = BTreeMap::new();
        for message in self.promised(inbox) {
            promised
                .entry(message.stream)
                .or_default()
                .push(message.number);
        }
        let nothing = Vec::new();
        self.catalogue
            .ids()
            .flat_map(|stream| {
                Case {
                    stream,
                    what: self.catalogue.stream(stream),
                    inbox,
                    sent: self.sent(stream),
                    promised: promised.get(&stream).unwrap_or(&nothing),
                    came: came.get(&stream).unwrap_or(&nothing),
                }
                .breaches()
            })
            .collect()
    }
}

impl Sent {
    fn is_after(&self, confirmed: Option<Tick>) -> bool {
        confirmed.is_some_and(|since| since < self.first_sent)
    }
}

impl Inbox {
    /// Since when this subscriber has been sure to get the stream.
    fn confirmed(&self, stream: &Stream) -> Option<Tick> {
        self.subscriptions
            .iter()
            .filter(|subscription| matches(&subscription.filter, &stream.topic))
            .filter_map(|subscription| subscription.confirmed)
            .min()
    }
}

/// One stream at one subscriber.
struct Case<'a> {
    stream: StreamId,
    what: &'a Stream,
    inbox: &'a Inbox,
    sent: &'a [Sent],
    promised: &'a [usize],
    came: &'a [usize],
}

impl Case<'_> {
    fn breaches(&self) -> Vec<Breach> {
        let confirmed = self.inbox.confirmed(self.what);
        let mut times = vec![0_u32; self.sent.len()];
        let mut newest: Option<usize> = None;
        let (mut twice, mut late) = (Vec::new(), Vec::new());
        for &number in self.came {
            let Some(times) = times.get_mut(number) else {
                return vec![self.breach("never sent", &[number])];
            };
            *times += 1;
            if *times == 2 {
                twice.push(number);
            } else if *times == 1
                && newest.is_some_and(|newest| number < newest)
                && self.sent[number].is_after(confirmed)
            {
                late.push(number);
            }
            newest = newest.max(Some(number));
        }
        let lost: Vec<usize> = self
            .promised
            .iter()
            .copied()
            .filter(|number| times[*number] == 0)
            .collect();
        let exactly_once = self.what.qos == 2 && self.inbox.qos == 2;
        let ordered = self.what.kind != Kind::Will;
        [
            ("lost", true, lost),
            ("came twice at QoS 2", exactly_once, twice),
            ("came after a newer one", ordered, late),
        ]
        .into_iter()
        .filter(|(_, forbidden, numbers)| *forbidden && !numbers.is_empty())
        .map(|(what, _, numbers)| self.breach(what, &numbers))
        .collect()
    }

    /// One for all messages of the stream, so that a bad case stays readable.
    fn breach(&self, what: &str, numbers: &[usize]) -> Breach {
        let shown = &numbers[..numbers.len().min(10)];
        Breach {
            client: self.inbox.name.clone(),
            what: format!(
                "{what}: {} of the {} messages of {}: {shown:?}",
                numbers.len(),
                self.sent.len(),
                self.what,
            ),
            message: numbers.first().map(|number| Message {
                stream: self.stream,
                number: *number,
            }),
        }
    }
}
