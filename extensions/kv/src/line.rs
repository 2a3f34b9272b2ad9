//! Operations on a key, one after another, against what is stored and what is being stored.
//!
//! The first operation on a key reads what it is. Those that come before the answer wait behind it.
//! What an operation has decided is what the next one is judged by, though it is not stored yet: a
//! refusal takes everything behind it along, so what is decided is not wrong, or it is all refused.
//! While nothing is being stored, nothing is remembered of a key.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{Command, Input, Refusal};
use nexum_types::{Time, TopicName};

use crate::buckets::{Buckets, Pending, Reading};
use crate::entry::Entry;
use crate::operation::{Action, Operation, Origin, Terms, Verdict, judge, parse};
use crate::record::Key;
use crate::refusals;

/// A key of a bucket.
pub(crate) type LineKey = (u64, Arc<str>);

#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<LineKey, Line>);

/// What an operation is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// What is stored, and nothing is being stored.
    Stored,
    /// What this write is to store, the last one of the key.
    Writing(u64),
    /// What was stored by the write that the operation waited for; there may be others behind it.
    Heard,
}

/// What is under way for a key.
#[derive(Debug, Default)]
struct Line {
    /// Revisions whose writes were not heard of, in their order.
    unheard: VecDeque<u64>,
    /// The last of those, and what the key is with it.
    decided: Option<(u64, Option<Arc<Entry>>)>,
    /// Somebody reads what it is.
    is_reading: bool,
    waiting: VecDeque<Operation>,
}

impl Line {
    fn is_idle(&self) -> bool {
        !self.is_reading && self.decided.is_none() && self.waiting.is_empty()
    }
}

impl Lines {
    /// A change of a key was written.
    pub(crate) fn decide(
        &mut self,
        line: LineKey,
        revision: u64,
        write: u64,
        entry: Option<Arc<Entry>>,
    ) {
        let line = self.0.entry(line).or_default();
        line.unheard.push_back(revision);
        line.decided = Some((write, entry));
    }

    /// The first write of a key was heard of.
    pub(crate) fn hear(&mut self, key: &LineKey) {
        let Some(line) = self.0.get_mut(key) else {
            return;
        };
        line.unheard.pop_front();
        if line.unheard.is_empty() {
            line.decided = None;
        }
        if line.is_idle() {
            self.0.remove(key);
        }
    }

    /// Nothing of what was decided will be stored. Returns whose it was.
    pub(crate) fn forget(&mut self) -> Vec<u64> {
        let mut buckets = Vec::new();
        for ((bucket, _), line) in &mut self.0 {
            if line.decided.take().is_some() {
                buckets.push(*bucket);
            }
            line.unheard.clear();
        }
        self.0.retain(|_, line| !line.is_idle());
        buckets.dedup();
        buckets
    }

    /// Whether a revision of a key was not heard of, though it may be stored.
    pub(crate) fn is_unheard(&self, key: &LineKey, revision: u64) -> bool {
        let line = self.0.get(key);
        line.is_some_and(|line| line.unheard.contains(&revision))
    }
}

impl Buckets {
    /// What is published to a key.
    pub(crate) fn operation(&mut self, command: Command, now: Time) -> Result<(), Refusal> {
        let name = command.address.name();
        let Some(bucket) = self.names.get(name).copied() else {
            // What is wrong is wrong without a bucket, too.
            let operation = parse(&command, 0)?;
            let name = Arc::from(name);
            let input = Input::Command(command);
            return if operation.action.is_begin() {
                self.wait_for(&name, input)
            } else {
                self.wait_if_forming(&name, input)
            };
        };
        let operation = parse(&command, bucket)?;
        self.operate(operation, now);
        Ok(())
    }

    pub(crate) fn operate(&mut self, operation: Operation, now: Time) {
        let Some(bucket) = self.buckets.get(&operation.bucket) else {
            return self.conclude(operation.origin, Err(refusals::deleted()), now);
        };
        let shelf = bucket.shelf();
        let key = (operation.bucket, Arc::clone(&operation.key));
        let line = self.lines.0.entry(key.clone()).or_default();
        if line.is_reading {
            return line.waiting.push_back(operation);
        }
        if let Some((write, entry)) = line.decided.clone() {
            return self.decide(operation, entry, Standing::Writing(write), now);
        }
        line.is_reading = true;
        line.waiting.push_back(operation);
        let record = Key::Entry(key.0, &key.1).encode();
        self.read(shelf, vec![record], Reading::Line(key));
    }

    /// What a key is was read.
    pub(crate) fn line_read(&mut self, key: &LineKey, value: Option<&[u8]>, now: Time) {
        let Some(line) = self.lines.0.get_mut(key) else {
            return;
        };
        line.is_reading = false;
        let waiting = std::mem::take(&mut line.waiting);
        let bucket = self.buckets.get(&key.0);
        let topic = bucket.map(|bucket| bucket.topic(&key.1));
        // What was read at the start can be read now; a damaged record is none.
        let entry = topic
            .zip(value)
            .and_then(|(topic, value)| Entry::decode(value, &topic).ok());
        let stored = entry.map(Arc::new);
        for operation in waiting {
            let line = self.lines.0.get(key);
            let decided = line.and_then(|line| line.decided.clone());
            let (entry, standing) = match decided {
                Some((write, entry)) => (entry, Standing::Writing(write)),
                None => (stored.clone(), Standing::Stored),
            };
            self.decide(operation, entry, standing, now);
        }
        if self.lines.0.get(key).is_some_and(Line::is_idle) {
            self.lines.0.remove(key);
        }
    }

    /// Judges an operation by what the key is, or will be.
    pub(crate) fn decide(
        &mut self,
        operation: Operation,
        entry: Option<Arc<Entry>>,
        standing: Standing,
        now: Time,
    ) {
        let Some(bucket) = self.buckets.get(&operation.bucket) else {
            return self.conclude(operation.origin, Err(refusals::deleted()), now);
        };
        let topic = bucket.topic(&operation.key);
        let Ok(topic) = TopicName::new(&topic) else {
            // It was part of a topic name.
            return self.conclude(operation.origin, Err(refusals::deleted()), now);
        };
        let terms = Terms {
            options: &bucket.options,
            topic,
            now,
        };
        let verdict = judge(&operation, entry.as_deref(), terms);
        match (verdict, standing) {
            // That there is nothing is an answer, too, to who only looks.
            (Verdict::Refused(_), Standing::Writing(write)) if operation.action.is_look() => {
                self.follow(write, operation, now);
            }
            (Verdict::Refused(refusal), _) => self.conclude(operation.origin, Err(refusal), now),
            // It waited to be told, and there is something to do: a clock that was set back.
            (Verdict::Becomes { .. } | Verdict::Stale, Standing::Heard) => {
                self.operate(operation, now);
            }
            (Verdict::Becomes { message, change }, _) => {
                self.change(operation, entry, message, change, now);
            }
            (Verdict::Unchanged(_) | Verdict::History, Standing::Writing(write)) => {
                self.follow(write, operation, now);
            }
            (Verdict::Unchanged(reply), _) => self.conclude(operation.origin, Ok(reply), now),
            (Verdict::History, _) => {
                if let Some(entry) = entry {
                    self.show_history(&operation, &entry);
                }
            }
            (Verdict::Stale, standing) => {
                self.drop_stale(&operation, standing != Standing::Stored, now);
            }
        }
    }

    /// What is told of something that is not stored is told when it is.
    fn follow(&mut self, write: u64, operation: Operation, now: Time) {
        match self.pending.get_mut(&write) {
            Some(Pending::Change(pending)) => pending.followers.push(operation),
            Some(Pending::Create(_) | Pending::Reply(..) | Pending::Wipe(..)) | None => {
                self.conclude(operation.origin, Err(refusals::deleted()), now);
            }
        }
    }

    /// The time of an entry was found, and the entry is not there with it.
    fn drop_stale(&mut self, operation: &Operation, is_writing: bool, now: Time) {
        let (Origin::Sweep(shelf), Action::Expire(at)) = (operation.origin, &operation.action)
        else {
            return;
        };
        // What is being written takes it along.
        if !is_writing {
            let row = Key::Due(*at, operation.bucket, &operation.key).encode();
            let changes = [nexum_extension_api::Change::Delete(row)];
            self.note_on(shelf, changes.into(), None);
        }
        self.swept(shelf, !is_writing, now);
    }
}
