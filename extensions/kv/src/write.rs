//! A key becomes something else: what is written for it, and what is told when that is heard of.

use std::sync::Arc;

use nexum_extension_api::{Change as RecordChange, Changes, CommandId, Refusal, Reply};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::bucket::{Bucket, Counts};
use crate::buckets::Buckets;
use crate::entry::Entry;
use crate::feed::Update;
use crate::line::Standing;
use crate::operation::{Change, Operation, Origin, revision_reply};
use crate::record::{Key, encode_due};
use crate::refusals;

/// A change that is being stored.
#[derive(Debug)]
pub(crate) struct PendingChange {
    bucket: u64,
    key: Arc<str>,
    /// When it was decided.
    era: u64,
    revision: u64,
    entry: Option<Arc<Entry>>,
    change: Change,
    difference: Counts,
    mark: Option<u64>,
    origin: Origin,
    /// To be changed when the mark is stored.
    pub(crate) in_memory: Changes,
    /// Who is told when it is stored.
    pub(crate) followers: Vec<Operation>,
}

impl PendingChange {
    /// Which command it fulfils.
    pub(crate) fn command(&self) -> Option<CommandId> {
        match self.origin {
            Origin::Command(command) => Some(command),
            Origin::Sweep(_) | Origin::Purge(_) => None,
        }
    }

    fn reply(&self) -> Reply {
        let mut reply = revision_reply(self.revision);
        if let (Change::Count, Some(entry)) = (self.change, &self.entry) {
            reply.payload = entry.message.payload().to_vec();
        }
        reply
    }
}

impl Buckets {
    /// Has a key become a message, or nothing.
    pub(crate) fn change(
        &mut self,
        operation: Operation,
        before: Option<Arc<Entry>>,
        message: Option<Arc<Message>>,
        change: Change,
        now: Time,
    ) {
        let Operation {
            bucket: id,
            key,
            origin,
            ..
        } = operation;
        let Some(bucket) = self.buckets.get_mut(&id) else {
            return;
        };
        let before = before.as_deref();
        let difference = difference(&key, before, message.as_deref());
        if let Err(refusal) = admit(bucket, difference, &key, message.as_deref()) {
            return self.conclude(origin, Err(refusal), now);
        }
        bucket.decided.add(difference);
        bucket.writing += 1;
        let taken = self.sequence.take();
        let entry = message.map(|message| {
            let present = before.filter(|entry| !entry.is_due(now));
            Arc::new(Entry {
                revision: taken.number,
                created: present.map_or(taken.number, |entry| entry.created),
                former: former(present, change, bucket.options.history),
                message,
            })
        });
        let shelf = bucket.shelf();
        let changes = changes(id, &key, before, entry.as_deref());
        let line = (id, Arc::clone(&key));
        let pending = PendingChange {
            bucket: id,
            key,
            era: self.era,
            revision: taken.number,
            entry: entry.clone(),
            change,
            difference,
            mark: taken.mark,
            origin,
            in_memory: Changes::new(),
            followers: Vec::new(),
        };
        let write = self.ask(shelf, changes, taken.mark, pending);
        self.lines.decide(line, taken.number, write, entry);
    }

    /// A change is stored, or refused.
    pub(crate) fn heard(&mut self, mut pending: PendingChange, refused: Option<String>, now: Time) {
        let followers = std::mem::take(&mut pending.followers);
        if refused.is_some() {
            self.forget_decided();
        } else if let Some(mark) = pending.mark {
            self.sequence.note_stored(mark);
        }
        let is_current = pending.era == self.era;
        if is_current {
            self.lines.hear(&(pending.bucket, Arc::clone(&pending.key)));
        }
        let Some(bucket) = self.buckets.get_mut(&pending.bucket) else {
            self.left(pending.bucket, now);
            return self.conclude_all(&pending, followers, &refusals::deleted(), now);
        };
        bucket.writing -= 1;
        if let Some(reason) = refused {
            let refusal = Refusal::not_stored(&reason);
            self.conclude(pending.origin, Err(refusal), now);
            for operation in followers {
                self.operate(operation, now);
            }
            return;
        }
        bucket.stored.add(pending.difference);
        if !is_current {
            bucket.decided.add(pending.difference);
        }
        let shelf = bucket.shelf();
        // Not before: what is not stored cannot be found.
        if let Some(at) = pending.entry.as_ref().and_then(|entry| entry.expires_at()) {
            self.sweeps.expect(shelf, at);
        }
        let changes = std::mem::take(&mut pending.in_memory);
        self.change_memory(changes);
        self.conclude(pending.origin, Ok(pending.reply()), now);
        for operation in followers {
            self.decide(operation, pending.entry.clone(), Standing::Heard, now);
        }
        let bucket = self.buckets.get(&pending.bucket);
        let watchers = bucket.map_or_else(Vec::new, |bucket| bucket.watchers_of(&pending.key));
        if !watchers.is_empty()
            && let Some(update) = self.update(&pending, now)
        {
            self.tell_watchers(&watchers, &Arc::new(update), now);
        }
    }

    /// All that is being written will be refused, too.
    pub(crate) fn forget_decided(&mut self) {
        self.era += 1;
        for bucket in self.lines.forget() {
            if let Some(bucket) = self.buckets.get_mut(&bucket) {
                bucket.decided = bucket.stored;
            }
        }
    }

    fn conclude_all(
        &mut self,
        pending: &PendingChange,
        followers: Vec<Operation>,
        refusal: &Refusal,
        now: Time,
    ) {
        let origins = followers.into_iter().map(|operation| operation.origin);
        for origin in [pending.origin].into_iter().chain(origins) {
            self.conclude(origin, Err(refusal.clone()), now);
        }
    }

    /// What watchers are told.
    fn update(&self, pending: &PendingChange, now: Time) -> Option<Update> {
        let bucket = self.buckets.get(&pending.bucket)?;
        let topic = bucket.topic(&pending.key);
        let message = match &pending.entry {
            Some(entry) => Arc::clone(&entry.message),
            None => Arc::new(Message::new(MessageParts {
                topic: TopicName::new(&topic).ok()?,
                properties: &[],
                payload: &[],
                qos: QoS::AtLeastOnce,
                retain: false,
                published_at: now,
                expires_at: None,
            })),
        };
        Some(Update {
            key: Arc::clone(&pending.key),
            topic: Arc::from(topic),
            revision: pending.revision,
            change: pending.change,
            message,
        })
    }

    /// Whoever asked for an operation is told what came of it.
    pub(crate) fn conclude(&mut self, origin: Origin, result: Result<Reply, Refusal>, now: Time) {
        match origin {
            Origin::Command(command) => {
                self.put_out(nexum_extension_api::Output::Reply { command, result });
            }
            Origin::Sweep(shelf) => self.swept(shelf, result.is_ok(), now),
            Origin::Purge(purge) => self.purged(purge, result, now),
        }
    }
}

fn difference(key: &str, before: Option<&Entry>, message: Option<&Message>) -> Counts {
    let size = |message: &Message| message.size_bytes() - message.topic_bytes() + key.len();
    let after = message.map_or(0, size) as i64;
    Counts {
        keys: i64::from(message.is_some()) - i64::from(before.is_some()),
        bytes: after - before.map_or(0, |entry| entry.size_bytes(key)) as i64,
    }
}

/// Whether a bucket takes more.
fn admit(
    bucket: &Bucket,
    difference: Counts,
    key: &str,
    message: Option<&Message>,
) -> Result<(), Refusal> {
    let options = &bucket.options;
    let mut counts = bucket.decided;
    counts.add(difference);
    if difference.keys > 0 && counts.keys as u64 > options.max_keys {
        return Err(refusals::full("max_keys"));
    }
    if difference.bytes > 0 && counts.bytes as u64 > options.max_bytes {
        let size = message.map_or(0, |it| it.size_bytes() - it.topic_bytes() + key.len());
        if size as u64 > options.max_bytes {
            return Err(refusals::too_large("max_bytes"));
        }
        return Err(refusals::full("max_bytes"));
    }
    Ok(())
}

/// The revisions of values that can be seen beside a new one.
fn former(present: Option<&Entry>, change: Change, history: u8) -> Vec<u64> {
    let Some(present) = present else {
        return Vec::new();
    };
    let mut former = present.former.clone();
    // The value is the same, so there is no other one before it.
    if change != Change::Touch {
        former.push(present.revision);
    }
    let most = usize::from(history) - 1;
    former.drain(..former.len().saturating_sub(most));
    former
}

/// What is written so that a key is `after` and not `before`.
fn changes(bucket: u64, key: &str, before: Option<&Entry>, after: Option<&Entry>) -> Changes {
    let mut changes = Changes::new();
    let record = Key::Entry(bucket, key).encode();
    changes.push(match after {
        Some(entry) => RecordChange::Put(record, entry.encode()),
        None => RecordChange::Delete(record),
    });
    let due = |entry: Option<&Entry>| entry.and_then(Entry::expires_at);
    if due(before) != due(after) {
        let row = |at| Key::Due(at, bucket, key).encode();
        changes.extend(due(before).map(|at| RecordChange::Delete(row(at))));
        changes.extend(due(after).map(|at| RecordChange::Put(row(at), encode_due())));
    }
    let Some(before) = before else {
        return changes;
    };
    let kept: &[u64] = after.map_or(&[], |entry| &entry.former);
    let row = |revision| Key::Former(bucket, key, revision).encode();
    if kept.contains(&before.revision) {
        changes.push(RecordChange::Put(
            row(before.revision),
            before.encode_former(),
        ));
    }
    for revision in &before.former {
        if !kept.contains(revision) {
            changes.push(RecordChange::Delete(row(*revision)));
        }
    }
    changes
}
