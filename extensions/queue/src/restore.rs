//! From the store, after a start.

use std::sync::Arc;

use nexum_extension_api::{Severity, Unreadable};
use nexum_types::Time;

use crate::entry::{Entry, Marks, State};
use crate::member::Slot;
use crate::queue::{Known, Queue};
use crate::queues::Queues;
use crate::record::{IdentifierRecord, Key, MessageRecord, Progress, QueueRecord, decode_mark};

impl Queues {
    pub(crate) fn restore_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let key = Key::decode(key)?;
        match key {
            Key::Mark => self.restore_mark(decode_mark(value)?),
            Key::Queue(id) => {
                self.raise_sequence(id.saturating_add(1));
                self.restore_queue(id, &QueueRecord::decode(value)?)?;
            }
            Key::Message(queue, sequence) => {
                self.raise_sequence(sequence.saturating_add(1));
                match self.restoring.get(&queue).copied() {
                    Some(slot) => self.restore_message(slot, sequence, value)?,
                    None => self.orphans.push_back(key),
                }
            }
            Key::Progress(queue, sequence) => {
                let progress = Progress::decode(value)?;
                let slot = self.restoring.get(&queue).copied();
                if !slot.is_some_and(|slot| self.restore_progress(slot, sequence, progress)) {
                    self.orphans.push_back(key);
                }
            }
            Key::Identifier(queue, sequence) => {
                self.raise_sequence(sequence.saturating_add(1));
                let record = IdentifierRecord::decode(value)?;
                match self.restoring.get(&queue).copied() {
                    Some(slot) => self.restore_identifier(slot, sequence, record),
                    None => self.orphans.push_back(key),
                }
            }
        }
        Ok(())
    }

    fn restore_queue(&mut self, id: u64, record: &QueueRecord) -> Result<(), Unreadable> {
        let unreadable = |what: String| Unreadable {
            what: format!("the queue '{}': {what}", record.name),
        };
        // Every option is stored, so no default is taken.
        let options = crate::QueueOptions::of_record(&record.options)
            .map_err(|error| unreadable(error.to_string()))?;
        nexum_extension_api::check_name(&record.name)
            .map_err(|error| unreadable(error.to_string()))?;
        let name: Arc<str> = Arc::from(&*record.name);
        // Of two of one name the first was deleted, or the second would not have been created; a
        // crash came before that was stored.
        if let Some(slot) = self.names.remove(&name)
            && let Some(deleted) = self.slots[slot as usize].take()
        {
            self.free_slots.push(slot);
            self.restoring.remove(&deleted.id);
            self.orphans.push_back(Key::Queue(deleted.id));
        }
        let mut queue = Queue::new(id, name, options);
        queue.is_paused = record.is_paused;
        let slot = self.place(queue);
        self.restoring.insert(id, slot);
        Ok(())
    }

    fn restore_message(
        &mut self,
        slot: Slot,
        sequence: u64,
        value: &[u8],
    ) -> Result<(), Unreadable> {
        let Some(queue) = self.queue(slot) else {
            return Ok(());
        };
        let record = MessageRecord::decode(value, &queue.topic)?;
        // Whether that is past is found out at the start.
        let state = match record.due {
            Some(until) => State::Delayed { until },
            None => State::Ready { since: Time::ZERO },
        };
        let expires_at = record.message.expires_at();
        let size = record.message.size_bytes();
        let is_held = record.due.is_none() && self.held_bytes + size <= self.settings.memory_bytes;
        let entry = Entry {
            size: size as u32,
            message: is_held.then_some(record.message),
            route: record.route,
            state,
            attempts: 0,
            priority: record.priority,
            marks: Marks::default(),
        };
        self.insert_expiring(slot, sequence, entry, expires_at);
        Ok(())
    }

    fn restore_progress(&mut self, slot: Slot, sequence: u64, progress: Progress) -> bool {
        let Some(queue) = self.queue_mut(slot) else {
            return false;
        };
        let Some(entry) = queue.entries.get_mut(&sequence) else {
            return false;
        };
        entry.marks.set(Marks::PROGRESS, true);
        match progress {
            Progress::Rests { attempts, until } => {
                entry.attempts = attempts;
                self.shift(slot, sequence, State::Resting { until });
            }
            Progress::Dead {
                attempts,
                since,
                reason,
            } => {
                entry.attempts = attempts;
                queue.dead.insert(sequence, reason);
                self.shift(slot, sequence, State::Dead { since });
                self.let_go(slot, sequence);
            }
        }
        true
    }

    fn restore_identifier(&mut self, slot: Slot, sequence: u64, record: IdentifierRecord) {
        let IdentifierRecord { until, id } = record;
        if let Some(queue) = self.queue_mut(slot) {
            let known = Known {
                sequence,
                until,
                waiting: None,
            };
            let identifiers = &mut queue.identifiers;
            identifiers.known.insert(Arc::clone(&id), known);
            identifiers.order.push_back((until, sequence, id));
        }
    }

    /// Everything is restored.
    pub(crate) fn start(&mut self, seed: u64, now: Time) {
        self.restoring.clear();
        self.random = seed ^ now.as_micros().rotate_left(32);
        self.first_delivery = self.random();
        self.next_delivery = self.first_delivery;
        self.mark_restored();
        let orphans = std::mem::take(&mut self.orphans);
        if !orphans.is_empty() {
            let text = format!("{} records of deleted queues are removed", orphans.len());
            self.event(Severity::Info, text);
            self.remove_keys(orphans, None);
        }
        let slots: Vec<Slot> = self.names.values().copied().collect();
        for slot in &slots {
            self.date(*slot, now);
            self.time_identifiers(*slot);
        }
        // What fell due while the broker was away is due now.
        nexum_extension_api::Extension::handle_timeout(self, now);
        self.declare();
        for slot in slots {
            self.capture(slot);
        }
    }

    /// What was restored as ready is ready since now.
    fn date(&mut self, slot: Slot, now: Time) {
        if let Some(queue) = self.queue_mut(slot) {
            for entry in queue.entries.values_mut() {
                if let State::Ready { since } = &mut entry.state {
                    *since = now;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nexum_extension_api::{Change, Extension, Input, Output};

    use super::*;
    use crate::record::encode_mark;
    use crate::{QueueOptions, Settings};

    /// The marks that are written at a start with a queue of this number and a mark.
    fn marks(queue: u64, mark: u64) -> Vec<u64> {
        let mut queues = Queues::new(Settings::default());
        let record = QueueRecord {
            name: Box::from("jobs"),
            is_paused: false,
            options: QueueOptions::default().to_json().to_string().into_bytes(),
        };
        let records = [
            (Key::Mark, encode_mark(mark)),
            (Key::Queue(queue), record.encode()),
        ];
        for (key, value) in records {
            let restored = queues.restore(&key.encode(), &value, Time::ZERO);
            restored.expect("what was written");
        }
        queues.handle(Input::Start { seed: 7 }, Time::ZERO);
        let mut marks = Vec::new();
        while let Some(output) = queues.poll_output() {
            let Output::Write(write) = output else {
                continue;
            };
            for change in write.changes {
                if let Change::Put(key, value) = change
                    && Key::decode(&key) == Ok(Key::Mark)
                {
                    marks.push(decode_mark(&value).expect("a mark"));
                }
            }
        }
        marks
    }

    #[test]
    fn a_number_that_was_stored_before_its_mark_is_not_given_again_after_two_restarts() {
        assert_eq!(marks(99, 100), [0_u64; 0], "below its mark");
        let raised = marks(100, 100);
        assert!(matches!(raised[..], [mark] if mark > 100), "{raised:?}");
    }
}
