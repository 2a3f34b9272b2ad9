//! From the store, after a start. What there is of keys is counted, and not kept.

use std::sync::Arc;

use nexum_extension_api::{Change, Changes, Severity, Unreadable, check_name};

use crate::bucket::{Bucket, Counts};
use crate::bucket_options::BucketOptions;
use crate::buckets::Buckets;
use crate::entry::Entry;
use crate::operation::Shelf;
use crate::record::{BucketRecord, Key, check_due, decode_mark};

impl Buckets {
    pub(crate) fn restore_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        match Key::decode(key)? {
            Key::Mark => self.sequence.restore_mark(decode_mark(value)?),
            Key::Bucket(id) => {
                self.sequence.restore_used(id);
                self.restore_bucket(id, &BucketRecord::decode(value)?)?;
            }
            Key::Entry(bucket, key) => {
                // Any topic does.
                let entry = Entry::decode(value, "$kv")?;
                self.sequence.restore_used(entry.revision);
                let Some(bucket) = self.buckets.get_mut(&bucket) else {
                    self.orphans.insert(bucket);
                    return Ok(());
                };
                bucket.stored.add(Counts {
                    keys: 1,
                    bytes: entry.size_bytes(key) as i64,
                });
                bucket.decided = bucket.stored;
            }
            Key::Due(at, ..) => {
                check_due(value)?;
                self.sweeps.expect(Shelf::Store, at);
            }
            Key::Former(_, _, revision) => {
                self.sequence.restore_used(revision);
                Entry::decode(value, "$kv")?;
            }
        }
        Ok(())
    }

    fn restore_bucket(&mut self, id: u64, record: &BucketRecord) -> Result<(), Unreadable> {
        let unreadable = |what: String| Unreadable {
            what: format!("the bucket '{}': {what}", record.name),
        };
        // Every option is stored, so no default is taken.
        let options = BucketOptions::default()
            .with_json(&record.options)
            .map_err(|error| unreadable(error.to_string()))?;
        check_name(&record.name).map_err(|error| unreadable(error.to_string()))?;
        let name: Arc<str> = Arc::from(&*record.name);
        // Of two of one name the first was deleted, or the second would not have been created; a
        // crash came before that was stored.
        if let Some(deleted) = self.names.remove(&name) {
            self.buckets.remove(&deleted);
            self.orphans.insert(deleted);
        }
        self.place(Bucket::new(id, name, options));
        Ok(())
    }

    /// Everything is restored.
    pub(crate) fn start(&mut self) {
        let orphans = std::mem::take(&mut self.orphans);
        if !orphans.is_empty() {
            let text = format!(
                "what is left of {} deleted buckets is removed",
                orphans.len()
            );
            self.event(Severity::Info, text);
        }
        for bucket in orphans {
            let changes = Changes::from([Change::Delete(Key::Bucket(bucket).encode())]);
            self.note(changes, None);
            self.wipe(bucket, Shelf::Store);
        }
        self.declare();
    }
}
