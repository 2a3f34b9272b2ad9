//! `$ctl/purge`: all keys of a bucket are deleted, a part at a time, and watchers are told of each.

use std::sync::Arc;

use nexum_extension_api::{CommandId, RecordKey, Refusal, Reply};
use nexum_types::Time;

use crate::buckets::{Buckets, Reading, Records, Span};
use crate::operation::{Action, Condition, Operation, Origin};
use crate::record::{Key, behind};
use crate::refusals;
use crate::rest::Work;

/// So many keys are deleted at once.
const PART: usize = 256;

#[derive(Debug)]
pub(crate) struct Purge {
    bucket: u64,
    command: CommandId,
    /// Where it goes on.
    from: Option<RecordKey>,
    deleted: u64,
    /// Deletions that were not heard of.
    unheard: usize,
    refused: Option<Refusal>,
}

impl Buckets {
    pub(crate) fn purge(&mut self, bucket: u64, command: CommandId) {
        let name = self.next_name();
        let purge = Purge {
            bucket,
            command,
            from: Some(Key::Entry(bucket, "").encode()),
            deleted: 0,
            unheard: 0,
            refused: None,
        };
        self.purges.insert(name, purge);
        self.purge_on(name);
    }

    /// Deletes the next part, or tells that all is done.
    pub(crate) fn purge_on(&mut self, name: u64) {
        let Some(purge) = self.purges.get_mut(&name) else {
            return;
        };
        let bucket = self.buckets.get(&purge.bucket);
        if bucket.is_none() {
            purge.refused.get_or_insert_with(refusals::deleted);
        }
        let from = purge.from.take().filter(|_| purge.refused.is_none());
        if let (Some(from), Some(bucket)) = (from, bucket) {
            let span = Span {
                from,
                to: behind(&Key::Entry(purge.bucket, "").encode()),
                records: PART,
            };
            return self.scan(bucket.shelf(), span, Reading::Purge(name));
        }
        let Some(purge) = self.purges.remove(&name) else {
            return;
        };
        match purge.refused {
            Some(refusal) => self.refuse(purge.command, refusal),
            None => {
                let payload = serde_json::json!({ "purged": purge.deleted });
                let reply = Reply {
                    payload: payload.to_string().into_bytes(),
                    properties: Vec::new(),
                };
                self.reply(purge.command, reply);
            }
        }
    }

    /// Keys to delete were read.
    pub(crate) fn purge_found(&mut self, name: u64, found: Records, now: Time) {
        self.resting.note_read(found.records.len());
        let Some(purge) = self.purges.get_mut(&name) else {
            return;
        };
        purge.from = found.next;
        // One more, so that it does not end before all were begun.
        purge.unheard = found.records.len() + 1;
        let bucket = purge.bucket;
        for (record, _) in &found.records {
            let Ok(Key::Entry(_, key)) = Key::decode(record) else {
                self.purged(name, Ok(Reply::default()), now);
                continue;
            };
            let operation = Operation {
                bucket,
                key: Arc::from(key),
                action: Action::Delete,
                condition: Condition::default(),
                origin: Origin::Purge(name),
            };
            self.operate(operation, now);
        }
        self.purged(name, Ok(Reply::default()), now);
    }

    /// A key was deleted, or was not there, or could not be deleted.
    pub(crate) fn purged(&mut self, name: u64, result: Result<Reply, Refusal>, now: Time) {
        let Some(purge) = self.purges.get_mut(&name) else {
            return;
        };
        match result {
            // What was not there has no revision.
            Ok(reply) => {
                let is_deleted = reply.properties.first() != Some(&("rev", 0.into()));
                purge.deleted += u64::from(is_deleted && !reply.properties.is_empty());
            }
            Err(refusal) => purge.refused = Some(refusal),
        }
        purge.unheard -= 1;
        if purge.unheard > 0 {
            return;
        }
        if self.resting.note_read(0) {
            return self.resting.add(Work::Purge(name), now);
        }
        self.purge_on(name);
    }
}
