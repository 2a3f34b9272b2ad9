//! What a shard has changed and the store does not have yet, and who waits for it.
//!
//! The changes of a turn gather in the open part; the shell takes them as one submission, and
//! what waits for them waits until its answer comes. The first answer that is a refusal makes the
//! journal *refusing*: changes then gather as the latest value of each key, and are submitted again
//! from time to time until they are taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_types::{ClientId, PacketIdentifier};

use crate::key::{ConnectionKey, SessionKey, ShardId};
use crate::peer::Receipt;
use crate::record::{Change, Key, MessageId, Submission, Value};
use crate::shared_subscription::GroupId;

/// A submission does not grow beyond so many bytes, but for what one packet changes.
const SUBMISSION_BYTES: usize = 2 * 1024 * 1024;

/// Changes that are kept together or not at all, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) changes: Vec<Change>,
    pub(crate) waiters: Waiters,
    weight_bytes: usize,
}

/// Who waits for a part to be kept.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Deliveries whose record is in it.
    pub(crate) deliveries: Vec<KeptDelivery>,
    /// Messages whose record is in it, and which wait in shared subscriptions.
    pub(crate) waiting: Vec<KeptWaiting>,
    /// Exchanges that go on then.
    pub(crate) gates: Vec<(SessionKey, PacketIdentifier)>,
    /// Parts of other shards that were submitted with it…
    pub(crate) joints: Vec<(ShardId, u32)>,
    /// …and the records that those put: if they are not kept, that is for the other shards to say.
    pub(crate) foreign: Vec<Key>,
    /// Records of an extension that change with what it publishes, and not alone.
    pub(crate) of_publisher: Vec<Key>,
    /// Shared messages of other shards, needed no more when it is kept.
    pub(crate) forgotten: Vec<MessageId>,
    /// QoS 2 publications received.
    pub(crate) received: Vec<(SessionKey, PacketIdentifier)>,
    /// Acknowledgements, and what else is counted.
    pub(crate) receipts: Vec<Receipt>,
    /// Sessions whose clients may be told that they are there.
    pub(crate) sessions: Vec<SessionKey>,
    /// Clients that may be told that their earlier session is gone.
    pub(crate) ended: Vec<ClientId>,
    /// Connections that are sent nothing before.
    pub(crate) corked: Vec<ConnectionKey>,
}

/// A delivery whose record waits to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptDelivery {
    pub(crate) session: SessionKey,
    pub(crate) position: u64,
    /// Of its exchange, if that began at once.
    pub(crate) packet_identifier: Option<PacketIdentifier>,
    /// Its publisher waits for an answer, and will be told if it cannot be kept.
    pub(crate) revocable: bool,
}

/// A message that waits in a shared subscription, and whose record waits to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptWaiting {
    pub(crate) group: GroupId,
    pub(crate) position: u64,
    /// As in [`KeptDelivery`].
    pub(crate) revocable: bool,
}

/// A submission without an answer.
#[derive(Debug)]
pub(crate) struct Submitted {
    sequence: u64,
    pub(crate) changes: Arc<[Change]>,
    pub(crate) waiters: Waiters,
}

/// What is to become of a record when its joint publication is committed, or is not.
#[derive(Debug, Default)]
pub(crate) struct Later {
    change: Option<Change>,
    /// The message that it names, of another shard.
    forgotten: Option<MessageId>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Journal {
    open: Part,
    /// Where changes go instead while a joint publication is routed.
    captured: Option<Part>,
    /// What is to become of records that joint publications put and nobody has committed: a change
    /// of one has to come after it.
    aside: BTreeMap<Key, Later>,
    /// To be submitted before the open part.
    sealed: VecDeque<Part>,
    submitted: VecDeque<Submitted>,
    sequence: u64,
    /// How many changes there ever were.
    changes: u64,
    refusing: Option<Refusing>,
}

/// What gathers while the store refuses.
#[derive(Debug, Default)]
struct Refusing {
    /// The latest value of each key that the store may not have.
    dirty: BTreeMap<Key, Option<Value>>,
    /// Those of them that are deleted only together with what is put.
    replaced: BTreeSet<Key>,
    waiters: Waiters,
    /// The submissions that try again, as long as they have no answer.
    attempts: BTreeSet<u64>,
    attempt_failed: bool,
}

impl Part {
    pub(crate) fn push(&mut self, change: Change) {
        self.weight_bytes += change.weight_bytes();
        self.changes.push(change);
    }

    pub(crate) fn append(&mut self, other: Part) {
        self.weight_bytes += other.weight_bytes;
        self.changes.extend(other.changes);
        self.waiters.append(other.waiters);
    }

    /// Does not put what is under these keys after all.
    pub(crate) fn leave_out(&mut self, keys: &[Key]) {
        self.changes
            .retain(|change| !(matches!(change, Change::Put(..)) && keys.contains(change.key())));
    }

    /// Does not change what is under these keys after all.
    pub(crate) fn leave_as_is(&mut self, keys: &[Key]) {
        self.changes.retain(|change| !keys.contains(change.key()));
    }

    /// The keys that it puts something under.
    pub(crate) fn puts(&self) -> impl Iterator<Item = &Key> {
        self.changes.iter().filter_map(|change| match change {
            Change::Put(key, _) => Some(key),
            Change::Delete(_) => None,
        })
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.waiters.is_empty()
    }
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
            && self.waiting.is_empty()
            && self.gates.is_empty()
            && self.joints.is_empty()
            && self.foreign.is_empty()
            && self.of_publisher.is_empty()
            && self.forgotten.is_empty()
            && self.received.is_empty()
            && self.receipts.is_empty()
            && self.sessions.is_empty()
            && self.ended.is_empty()
            && self.corked.is_empty()
    }

    pub(crate) fn append(&mut self, mut other: Waiters) {
        self.deliveries.append(&mut other.deliveries);
        self.waiting.append(&mut other.waiting);
        self.gates.append(&mut other.gates);
        self.joints.append(&mut other.joints);
        self.foreign.append(&mut other.foreign);
        self.of_publisher.append(&mut other.of_publisher);
        self.forgotten.append(&mut other.forgotten);
        self.received.append(&mut other.received);
        self.receipts.append(&mut other.receipts);
        self.sessions.append(&mut other.sessions);
        self.ended.append(&mut other.ended);
        self.corked.append(&mut other.corked);
    }
}

impl Journal {
    pub(crate) fn put(&mut self, key: Key, value: Value) {
        self.push(Change::Put(key, value));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.push(Change::Delete(key));
    }

    /// Deletes what something that is put in the same submission takes the place of.
    pub(crate) fn replace(&mut self, key: Key) {
        self.bind(key.clone());
        self.delete(key);
    }

    /// The deletion of this key goes with what is put, also where deletions are tried first.
    pub(crate) fn bind(&mut self, key: Key) {
        if let Some(refusing) = &mut self.refusing {
            refusing.replaced.insert(key);
        }
    }

    /// How many changes there ever were: two of these tell whether there was one between them.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.changes += 1;
        if let Some(later) = self.aside.get_mut(change.key()) {
            later.change = Some(change);
            return;
        }
        if self.captured.is_none() && self.gathers(&change) {
            return;
        }
        self.part().push(change);
    }

    /// Whether the change goes to those that wait until the store takes changes again.
    fn gathers(&mut self, change: &Change) -> bool {
        let Some(refusing) = &mut self.refusing else {
            return false;
        };
        match change {
            Change::Put(key, value) => refusing.dirty.insert(key.clone(), Some(value.clone())),
            Change::Delete(key) => refusing.dirty.insert(key.clone(), None),
        };
        true
    }

    /// Who waits for what was put and deleted just now.
    pub(crate) fn waiters(&mut self) -> &mut Waiters {
        match (&mut self.captured, &mut self.refusing) {
            (Some(captured), _) => &mut captured.waiters,
            (None, Some(refusing)) => &mut refusing.waiters,
            (None, None) => &mut self.open.waiters,
        }
    }

    fn part(&mut self) -> &mut Part {
        self.captured.as_mut().unwrap_or(&mut self.open)
    }

    /// Takes what follows aside, until [`captured`](Self::captured).
    pub(crate) fn capture(&mut self) {
        debug_assert!(
            self.captured.is_none(),
            "one publication is routed at a time"
        );
        self.captured = Some(Part::default());
    }

    /// What was taken aside. It is to be [released](Self::release) when it is committed, or is not.
    pub(crate) fn captured(&mut self) -> Part {
        let part = self.captured.take().unwrap_or_default();
        for key in part.puts() {
            self.aside.insert(key.clone(), Later::default());
        }
        part
    }

    /// These keys are not aside any more. Returns what was to become of them meanwhile.
    pub(crate) fn release<'a>(&mut self, keys: impl Iterator<Item = &'a Key>) -> Vec<Later> {
        keys.filter_map(|key| self.aside.remove(key)).collect()
    }

    /// A record that names a message of another shard is deleted; that shard hears of it when the
    /// deletion is kept.
    pub(crate) fn forget_with(&mut self, key: &Key, message: MessageId) {
        match self.aside.get_mut(key) {
            Some(later) => later.forgotten = Some(message),
            None => self.waiters().forgotten.push(message),
        }
    }

    /// How many records are aside.
    pub(crate) fn aside(&self) -> usize {
        self.aside.len()
    }

    /// Makes changes that were withheld.
    pub(crate) fn catch_up(&mut self, later: Vec<Later>) {
        for Later { change, forgotten } in later {
            if let Some(change) = change {
                self.push(change);
            }
            self.waiters().forgotten.extend(forgotten);
        }
    }

    /// For what must not be taken aside; the part taken so far is to be [put back](Self::resume).
    pub(crate) fn suspend(&mut self) -> Option<Part> {
        self.captured.take()
    }

    pub(crate) fn resume(&mut self, captured: Option<Part>) {
        self.captured = captured;
    }

    /// Adds a part that was taken aside.
    pub(crate) fn append(&mut self, part: Part) {
        if self.refusing.is_none() {
            return self.open.append(part);
        }
        for change in part.changes {
            self.push(change);
        }
        for key in &part.waiters.of_publisher {
            self.bind(key.clone());
        }
        self.waiters().append(part.waiters);
    }

    /// Between two packets: what gathered so far may be kept without what follows.
    pub(crate) fn divide(&mut self) {
        if self.open.weight_bytes > SUBMISSION_BYTES {
            self.sealed.push_back(std::mem::take(&mut self.open));
        }
    }

    /// The next submission, if there is one.
    pub(crate) fn submit(&mut self) -> Option<Submission> {
        let part = match self.sealed.pop_front() {
            Some(part) => part,
            None if self.open.is_empty() => return None,
            None => std::mem::take(&mut self.open),
        };
        let Part {
            changes,
            waiters,
            weight_bytes,
        } = part;
        self.sequence += 1;
        let changes: Arc<[Change]> = changes.into();
        let follows_others = !self.submitted.is_empty();
        self.submitted.push_back(Submitted {
            sequence: self.sequence,
            changes: Arc::clone(&changes),
            waiters,
        });
        Some(Submission {
            sequence: self.sequence,
            changes,
            follows_others,
            weight_bytes,
        })
    }

    /// Takes the submission that an answer is for. Answers come in the order of submissions.
    pub(crate) fn answered(&mut self, sequence: u64) -> Option<Submitted> {
        let first = self.submitted.front()?;
        if first.sequence != sequence {
            return None;
        }
        self.submitted.pop_front()
    }

    /// Submissions that have no answer, or are not made.
    pub(crate) fn unanswered(&self) -> usize {
        self.submitted.len() + self.sealed.len() + usize::from(!self.open.is_empty())
    }

    /// Whether the store refuses.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.is_some()
    }

    /// What a refused submission had under this key is not to be submitted again.
    pub(crate) fn abandon(&mut self, key: &Key) {
        if let Some(refusing) = &mut self.refusing {
            refusing.dirty.remove(key);
        }
    }

    /// A submission was refused: what it had is to be submitted again, as far as nothing later
    /// says otherwise. Returns whether this is the first refusal.
    pub(crate) fn begin_refusing(&mut self, sequence: u64, changes: &[Change]) -> bool {
        let is_first = self.refusing.is_none();
        if !self.open.is_empty() {
            self.sealed.push_back(std::mem::take(&mut self.open));
        }
        let mut refusing = self.refusing.take().unwrap_or_default();
        refusing.attempt_failed |= refusing.attempts.remove(&sequence);
        let mut later = BTreeSet::new();
        for submitted in &self.submitted {
            later.extend(submitted.changes.iter().map(Change::key));
        }
        for part in &self.sealed {
            later.extend(part.changes.iter().map(Change::key));
        }
        // Of two changes of one key in a submission the later one is right.
        let latest: BTreeMap<&Key, &Change> = changes
            .iter()
            .map(|change| (change.key(), change))
            .collect();
        // Of what was to change together nothing may change alone.
        let is_mixed = changes
            .iter()
            .any(|change| matches!(change, Change::Put(..)));
        for (key, change) in latest {
            if later.contains(key) || !is_first && refusing.dirty.contains_key(key) {
                continue;
            }
            match change {
                Change::Put(key, value) => refusing.dirty.insert(key.clone(), Some(value.clone())),
                Change::Delete(key) => {
                    if is_mixed {
                        refusing.replaced.insert(key.clone());
                    }
                    refusing.dirty.insert(key.clone(), None)
                }
            };
        }
        self.refusing = Some(refusing);
        is_first
    }

    /// The store kept a submission. Returns whether that ends the refusing.
    pub(crate) fn note_kept(&mut self, sequence: u64) -> bool {
        let Some(refusing) = &mut self.refusing else {
            return false;
        };
        let was_last = refusing.attempts.remove(&sequence) && refusing.attempts.is_empty();
        // What gathered meanwhile, too.
        was_last && !refusing.attempt_failed && self.retry()
    }

    /// Tries the store again: what it may not have is sealed for submission, deletions first and
    /// apart, because a full store takes those. Returns whether there was nothing to submit, so
    /// that the next publication will be the one that tries.
    pub(crate) fn retry(&mut self) -> bool {
        let Some(refusing) = &mut self.refusing else {
            return false;
        };
        if !refusing.attempts.is_empty() {
            return false;
        }
        refusing.attempt_failed = false;
        let replaced = std::mem::take(&mut refusing.replaced);
        let (mut deletions, mut puts) = (Vec::new(), Vec::new());
        for (key, value) in std::mem::take(&mut refusing.dirty) {
            match value {
                Some(value) => puts.push(Change::Put(key, value)),
                // A shared message is not deleted before what may name it.
                None if replaced.contains(&key)
                    || !replaced.is_empty() && matches!(key, Key::Message(_)) =>
                {
                    puts.push(Change::Delete(key));
                }
                None => deletions.push(Change::Delete(key)),
            }
        }
        let mut parts = Vec::new();
        for changes in [deletions, puts] {
            let mut part = Part::default();
            for change in changes {
                part.push(change);
                if part.weight_bytes > SUBMISSION_BYTES {
                    parts.push(std::mem::take(&mut part));
                }
            }
            if !part.changes.is_empty() {
                parts.push(part);
            }
        }
        match parts.last_mut() {
            // Those who wait, wait for all of it: answers come in order.
            Some(last) => last.waiters = std::mem::take(&mut refusing.waiters),
            None => {
                let waiters = std::mem::take(&mut refusing.waiters);
                self.refusing = None;
                self.open.waiters.append(waiters);
                return true;
            }
        }
        // Nothing is submitted before them but what is sealed already.
        let first = self.sequence + self.sealed.len() as u64 + 1;
        refusing.attempts = (first..first + parts.len() as u64).collect();
        self.sealed.extend(parts);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SessionId;

    #[test]
    fn what_changes_with_a_publication_is_not_deleted_before_it_while_the_store_refuses() {
        let session = |number| {
            let client_id = Arc::from("client");
            let record = crate::SessionRecord {
                client_id,
                expiry_interval_seconds: 1,
                disconnected_at: None,
            };
            Change::Put(Key::Session(SessionId(number)), Value::Session(record))
        };
        let own = Key::Extension(16, Arc::from([1].as_slice()));
        let alone = Key::Extension(16, Arc::from([2].as_slice()));
        let mut journal = Journal::default();
        journal.push(session(1));
        let submission = journal.submit().expect("a session");
        journal.answered(1);
        journal.begin_refusing(1, &submission.changes);
        journal.delete(alone.clone());
        let mut part = Part::default();
        part.push(session(2));
        part.push(Change::Delete(own.clone()));
        part.waiters.of_publisher.push(own.clone());
        journal.append(part);
        assert!(!journal.retry());
        let deletions = journal.submit().expect("what stands alone");
        let keys: Vec<_> = deletions.changes.iter().map(Change::key).collect();
        assert_eq!(keys, [&alone]);
        let puts = journal.submit().expect("what belongs together");
        assert!(puts.changes.iter().any(|change| change.key() == &own));
    }
}
