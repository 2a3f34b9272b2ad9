//! Messages that are only in the store, read back before it is their turn.

use nexum_extension_api::{CommandId, Output, ReadId, Severity};
use nexum_types::Time;

use crate::entry::State;
use crate::member::Slot;
use crate::queues::Queues;
use crate::record::{Key, MessageRecord};
use crate::shift::held_bytes;

/// So many messages are read at once, unless they are large.
const MOST_MESSAGES: usize = 128;

/// So many bytes are read at once, or one message.
const MOST_BYTES: usize = 1 << 20;

/// However full the memory is with what nobody takes, a queue that is worked off reads so much at
/// once, and not a message at a time.
const LEAST_BYTES: usize = 64 << 10;

/// What is being read.
#[derive(Debug)]
pub(crate) enum PendingRead {
    /// What a selector hands out next.
    Ahead {
        slot: Slot,
        queue: u64,
        selector: u32,
        sequences: Vec<u64>,
    },
    /// What somebody wants to look at.
    Peek {
        slot: Slot,
        queue: u64,
        command: CommandId,
        sequences: Vec<u64>,
        missing: Vec<u64>,
    },
}

impl Queues {
    /// Reads what a selector hands out next.
    pub(crate) fn read_ahead(&mut self, slot: Slot, selector: u32) {
        let room = self
            .settings
            .memory_bytes
            .saturating_sub(self.held_bytes)
            .clamp(LEAST_BYTES, MOST_BYTES);
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let queue_id = queue.id;
        let mut sequences = Vec::new();
        let mut bytes = 0;
        let Some(state) = queue.line.selectors.iter_mut().find(|it| it.id == selector) else {
            return;
        };
        for rank in &state.ready {
            let sequence = rank.sequence();
            let Some(entry) = queue.entries.get(&sequence) else {
                continue;
            };
            if entry.message.is_some() {
                continue;
            }
            bytes += held_bytes(entry);
            if !sequences.is_empty() && (bytes > room || sequences.len() == MOST_MESSAGES) {
                break;
            }
            sequences.push(sequence);
        }
        if sequences.is_empty() {
            return;
        }
        state.is_reading = true;
        let keys = sequences
            .iter()
            .map(|sequence| Key::Message(queue_id, *sequence).encode())
            .collect();
        let name = self.next_name();
        let pending = PendingRead::Ahead {
            slot,
            queue: queue_id,
            selector,
            sequences,
        };
        self.reads.insert(name, pending);
        let read = ReadId(name);
        self.put_out(Output::Read { read, keys });
    }

    pub(crate) fn was_read(&mut self, read: u64, values: Vec<Option<Box<[u8]>>>, now: Time) {
        let Some(pending) = self.reads.remove(&read) else {
            return;
        };
        match pending {
            PendingRead::Ahead {
                slot,
                queue: id,
                selector,
                sequences,
            } => {
                let Some(queue) = self.queue_mut(slot).filter(|queue| queue.id == id) else {
                    return;
                };
                if let Some(selector) = queue.line.selector_mut(selector) {
                    selector.is_reading = false;
                }
                for (sequence, value) in sequences.into_iter().zip(values) {
                    self.message_read(slot, sequence, value.as_deref());
                }
                self.dispatch(slot, now);
            }
            PendingRead::Peek {
                slot,
                queue,
                command,
                sequences,
                missing,
            } => {
                let values = missing.into_iter().zip(values).collect();
                let found = self.queue(slot).is_some_and(|it| it.id == queue);
                let slot = found.then_some(slot);
                self.peeked(slot, command, &sequences, &values, now);
            }
        }
    }

    fn message_read(&mut self, slot: Slot, sequence: u64, value: Option<&[u8]>) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let topic = std::sync::Arc::clone(&queue.topic);
        let Some(entry) = queue.entries.get_mut(&sequence) else {
            return;
        };
        if entry.message.is_some()
            || !matches!(entry.state, State::Ready { .. } | State::Dead { .. })
        {
            return;
        }
        match value.map(|value| MessageRecord::decode(value, &topic)) {
            Some(Ok(record)) => {
                entry.message = Some(record.message);
                let held = held_bytes(entry);
                self.held_bytes += held;
            }
            Some(Err(error)) => self.lose(slot, sequence, &error.to_string()),
            None => self.lose(slot, sequence, "it is not in the store"),
        }
    }

    /// A message cannot be handed out, ever: it must not stop those behind it. Its record stays
    /// for whoever repairs the store.
    fn lose(&mut self, slot: Slot, sequence: u64, why: &str) {
        self.take_out(slot, sequence);
        let name = self.queue(slot).map_or("", |queue| &queue.name);
        let text = format!("message {sequence} of queue '{name}' cannot be read: {why}");
        self.event(Severity::Warn, text);
    }
}
