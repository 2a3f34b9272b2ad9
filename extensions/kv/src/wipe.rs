//! What is left of a bucket that is gone is removed in the background, a part at a time.
//!
//! It begins when all that was being written to the bucket was heard of, so that nothing comes after
//! it; a crash leaves the rest for the next start.

use nexum_extension_api::{Change, Changes};
use nexum_types::Time;

use crate::buckets::{Buckets, Pending, Reading, Records, Span};
use crate::entry::Entry;
use crate::operation::Shelf;
use crate::record::{Key, behind};
use crate::rest::Work;

/// So many entries are read at once.
const PART: usize = 256;

/// So many records are removed at once, and those of one entry: a write that is tried until it is
/// stored is to be small.
const MOST_REMOVED: usize = 1000;

impl Buckets {
    /// A write to a bucket that is gone was heard of.
    pub(crate) fn left(&mut self, bucket: u64, now: Time) {
        let Some((unheard, shelf)) = self.leaving.get_mut(&bucket) else {
            return;
        };
        *unheard -= 1;
        let shelf = *shelf;
        if *unheard == 0 {
            self.leaving.remove(&bucket);
            self.wiped(bucket, shelf, now);
        }
    }

    pub(crate) fn wipe(&mut self, bucket: u64, shelf: Shelf) {
        let from = Key::Entry(bucket, "").encode();
        let to = behind(&from);
        let span = Span {
            from,
            to,
            records: PART,
        };
        self.scan(shelf, span, Reading::Wipe(bucket, shelf));
    }

    /// A part of what is left was read.
    pub(crate) fn wipe_found(&mut self, bucket: u64, shelf: Shelf, found: &Records) {
        let mut changes = Changes::new();
        for (record, value) in &found.records {
            if changes.len() >= MOST_REMOVED {
                // What is left is found again.
                break;
            }
            changes.push(Change::Delete(record.clone()));
            let Ok(Key::Entry(_, key)) = Key::decode(record) else {
                continue;
            };
            // Any topic does.
            let Ok(entry) = Entry::decode(value, "$kv") else {
                continue;
            };
            let due = entry.expires_at().map(|at| Key::Due(at, bucket, key));
            let former = entry.former.iter();
            let former = former.map(|revision| Key::Former(bucket, key, *revision));
            let rows = due.into_iter().chain(former);
            changes.extend(rows.map(|row| Change::Delete(row.encode())));
        }
        if !changes.is_empty() {
            self.note_on(shelf, changes, Some(Pending::Wipe(bucket, shelf)));
        }
    }

    /// A part of what is left was removed.
    pub(crate) fn wiped(&mut self, bucket: u64, shelf: Shelf, now: Time) {
        match shelf {
            Shelf::Store => self.wipe(bucket, shelf),
            Shelf::Memory => self.resting.add(Work::Wipe(bucket, shelf), now),
        }
    }

    /// What has rested goes on.
    pub(crate) fn wake(&mut self, now: Time) {
        for work in self.resting.take(now) {
            match work {
                Work::Page(feed) => self.read_page(feed),
                Work::Wipe(bucket, shelf) => self.wipe(bucket, shelf),
                Work::Purge(purge) => self.purge_on(purge),
            }
        }
    }
}
