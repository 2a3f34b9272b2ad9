//! What can be seen of a queue: `info`, `peek` and the metrics.

use std::collections::BTreeMap;

use nexum_extension_api::json::show_payload;
use nexum_extension_api::{CommandId, Gauge, Output, ReadId, Reply};
use nexum_types::{Message, Time};
use serde_json::{Map, Value, json};

use crate::control::Page;
use crate::entry::{Entry, State};
use crate::member::Slot;
use crate::queue::Queue;
use crate::queues::Queues;
use crate::read::PendingRead;
use crate::record::{Key, MessageRecord};
use crate::refusals;

/// What is shown at once has about so many bytes of payload.
const MOST_SHOWN: usize = 1 << 20;

/// The metrics name so many queues; all of them are in the totals.
const MOST_NAMED: usize = 100;

impl Queues {
    pub(crate) fn info(&self, slot: Slot, now: Time) -> Value {
        let Some(queue) = self.queue(slot) else {
            return Value::Null;
        };
        let counts = queue.counts;
        let oldest =
            queue
                .oldest_ready(0)
                .and_then(|sequence| match queue.entries.get(&sequence)?.state {
                    State::Ready { since } => Some(milliseconds(now, since)),
                    _ => None,
                });
        json!({
            "name": &*queue.name,
            "options": queue.options.to_json(),
            "ready": counts.ready,
            "delayed": counts.delayed,
            "leased": counts.leased,
            "dead": counts.dead,
            "bytes": counts.bytes,
            "consumers": queue.consumers(),
            "paused": queue.is_paused,
            "oldest_ready_ms": oldest,
        })
    }

    /// Shows messages in the order of their numbers.
    pub(crate) fn peek(&mut self, slot: Slot, page: Page, command: CommandId, now: Time) {
        let Some(queue) = self.queue(slot) else {
            return;
        };
        let is_shown = |entry: &Entry| entry.state.is_dead() == page.is_dead;
        let entries = queue.entries.iter().filter(|(_, entry)| is_shown(entry));
        let mut shown: Vec<u64> = Vec::new();
        let mut missing: Vec<u64> = Vec::new();
        let mut bytes = 0;
        for (sequence, entry) in entries.skip(page.offset).take(page.limit) {
            bytes += entry.size as usize;
            if !shown.is_empty() && bytes > MOST_SHOWN {
                break;
            }
            shown.push(*sequence);
            if entry.message.is_none() {
                missing.push(*sequence);
            }
        }
        if missing.is_empty() {
            return self.peeked(Some(slot), command, &shown, &BTreeMap::new(), now);
        }
        let queue_id = queue.id;
        let keys = missing.iter();
        let keys = keys
            .map(|sequence| Key::Message(queue_id, *sequence).encode())
            .collect();
        let name = self.next_name();
        let pending = PendingRead::Peek {
            slot,
            queue: queue_id,
            command,
            sequences: shown,
            missing,
        };
        self.reads.insert(name, pending);
        let read = ReadId(name);
        self.put_out(Output::Read { read, keys });
    }

    /// What was to be shown is in memory, or among the values that were read.
    pub(crate) fn peeked(
        &mut self,
        slot: Option<Slot>,
        command: CommandId,
        sequences: &[u64],
        values: &BTreeMap<u64, Option<Box<[u8]>>>,
        now: Time,
    ) {
        let Some(queue) = slot.and_then(|slot| self.queue(slot)) else {
            return self.refuse(command, refusals::deleted());
        };
        let mut shown = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            // It may be gone meanwhile.
            let Some(entry) = queue.entries.get(sequence) else {
                continue;
            };
            let read = values.get(sequence).and_then(Option::as_deref);
            let read = read.and_then(|value| MessageRecord::decode(value, &queue.topic).ok());
            let read = read.map(|record| record.message);
            let message = entry.message.as_ref().or(read.as_ref());
            if let Some(message) = message {
                shown.push(show(queue, *sequence, entry, message, now));
            }
        }
        let reply = Reply {
            payload: Value::Array(shown).to_string().into_bytes(),
            properties: Vec::new(),
        };
        let result = Ok(reply);
        self.put_out(Output::Reply { command, result });
    }

    pub(crate) fn all_gauges(&self) -> Vec<Gauge> {
        let mut gauges = Vec::new();
        let mut totals = [("ready", 0), ("delayed", 0), ("leased", 0), ("dead", 0)];
        for (at, slot) in self.names.values().enumerate() {
            let Some(queue) = self.queue(*slot) else {
                continue;
            };
            let counts = queue.counts;
            let counts = [counts.ready, counts.delayed, counts.leased, counts.dead];
            for ((state, total), count) in totals.iter_mut().zip(counts) {
                *total += count;
                if at < MOST_NAMED {
                    gauges.push(Gauge {
                        name: "nexum_queue_messages",
                        help: "Messages of a queue, by what they wait for.",
                        labels: vec![
                            ("queue", queue.name.to_string()),
                            ("state", (*state).to_owned()),
                        ],
                        value: count as f64,
                    });
                }
            }
            if at < MOST_NAMED {
                gauges.push(Gauge {
                    name: "nexum_queue_consumers",
                    help: "Consumers of a queue.",
                    labels: vec![("queue", queue.name.to_string())],
                    value: queue.consumers() as f64,
                });
            }
        }
        for (state, total) in totals {
            gauges.push(Gauge {
                name: "nexum_queues_messages",
                help: "Messages of all queues, by what they wait for.",
                labels: vec![("state", state.to_owned())],
                value: total as f64,
            });
        }
        for (name, help, value) in [
            ("nexum_queues", "Queues there are.", self.names.len()),
            (
                "nexum_queues_memory_bytes",
                "Messages of queues in memory.",
                self.held_bytes,
            ),
            (
                "nexum_queues_deliveries",
                "Deliveries that are not settled.",
                self.flights.len(),
            ),
        ] {
            gauges.push(Gauge {
                name,
                help,
                labels: Vec::new(),
                value: value as f64,
            });
        }
        gauges
    }
}

fn show(queue: &Queue, sequence: u64, entry: &Entry, message: &Message, now: Time) -> Value {
    let mut shown = Map::new();
    let attempt = match entry.state.is_dead() {
        true => u32::from(entry.attempts),
        false => u32::from(entry.attempts) + 1,
    };
    shown.insert("id".to_owned(), sequence.into());
    shown.insert("attempt".to_owned(), attempt.into());
    let age = milliseconds(now, message.published_at());
    shown.insert("age_ms".to_owned(), age.into());
    shown.insert("prio".to_owned(), entry.priority.into());
    let key = entry.key().map(|key| key.to_string());
    shown.insert("key".to_owned(), key.into());
    shown.insert("state".to_owned(), entry.state.as_str().into());
    if let Some(reason) = queue.dead.get(&sequence) {
        shown.insert("reason".to_owned(), reason.as_str().into());
    }
    show_payload(message.payload(), &mut shown);
    Value::Object(shown)
}

fn milliseconds(now: Time, since: Time) -> u64 {
    now.since(since).as_micros() as u64 / 1000
}
