//! What runs out: rows in the order of their time, of which only the first time is in memory.
//!
//! A row is written and removed with its entry. When the first is due, rows are read in their order,
//! a part at a time, and each is an operation on its key like any other: whatever was decided about
//! the key meanwhile, it runs out once or not at all. Until then, who reads an entry that is due
//! takes it for none.

use std::sync::Arc;
use std::time::Duration;

use nexum_extension_api::Change;
use nexum_types::Time;

use crate::buckets::{Buckets, Reading, Records, Span};
use crate::operation::{Action, Condition, Operation, Origin, Shelf};
use crate::record::{Key, all_due};

/// So many rows are read at once.
const PART: usize = 256;

/// When what could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What memory holds is removed with pauses, so that others have their turn.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    store: Sweep,
    memory: Sweep,
}

#[derive(Debug, Default)]
struct Sweep {
    /// Nothing runs out before.
    due: Option<Time>,
    /// Rows are being read, or removed.
    is_busy: bool,
    /// Rows whose removal was not heard of.
    unheard: usize,
    /// There are more rows that are due.
    has_more: bool,
    /// A row could not be removed.
    has_failed: bool,
}

impl Sweeps {
    fn of(&mut self, shelf: Shelf) -> &mut Sweep {
        match shelf {
            Shelf::Store => &mut self.store,
            Shelf::Memory => &mut self.memory,
        }
    }

    /// Something will run out.
    pub(crate) fn expect(&mut self, shelf: Shelf, at: Time) {
        let sweep = self.of(shelf);
        sweep.due = Some(sweep.due.map_or(at, |due| due.min(at)));
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        let idle = [&self.store, &self.memory]
            .into_iter()
            .filter(|sweep| !sweep.is_busy);
        idle.filter_map(|sweep| sweep.due).min()
    }
}

impl Buckets {
    /// Looks for what is due.
    pub(crate) fn sweep(&mut self, now: Time) {
        for shelf in [Shelf::Store, Shelf::Memory] {
            let sweep = self.sweeps.of(shelf);
            if !sweep.is_busy && sweep.due.is_some_and(|due| due <= now) {
                self.read_rows(shelf);
            }
        }
    }

    fn read_rows(&mut self, shelf: Shelf) {
        *self.sweeps.of(shelf) = Sweep {
            is_busy: true,
            ..Sweep::default()
        };
        let (from, to) = all_due();
        let span = Span {
            from,
            to,
            records: PART,
        };
        self.scan(shelf, span, Reading::Sweep(shelf));
    }

    /// Rows were read.
    pub(crate) fn due_found(&mut self, shelf: Shelf, found: &Records, now: Time) {
        let mut due = Vec::new();
        let mut next = None;
        for (row, _) in &found.records {
            match Key::decode(row) {
                Ok(Key::Due(at, bucket, key)) if at <= now => due.push((at, bucket, key)),
                Ok(Key::Due(at, ..)) => {
                    next = Some(at);
                    break;
                }
                // There are no others between those.
                Ok(_) | Err(_) => {}
            }
        }
        let sweep = self.sweeps.of(shelf);
        sweep.has_more = next.is_none() && found.next.is_some();
        // One more, so that it does not end before all were begun.
        sweep.unheard = due.len() + 1;
        if let Some(next) = next {
            self.sweeps.expect(shelf, next);
        }
        for (at, bucket, key) in due {
            if !self.buckets.contains_key(&bucket) {
                let row = Key::Due(at, bucket, key).encode();
                self.note_on(shelf, [Change::Delete(row)].into(), None);
                self.swept(shelf, true, now);
                continue;
            }
            let operation = Operation {
                bucket,
                key: Arc::from(key),
                action: Action::Expire(at),
                condition: Condition::default(),
                origin: Origin::Sweep(shelf),
            };
            self.operate(operation, now);
        }
        self.swept(shelf, true, now);
    }

    /// A row was removed, or was not.
    pub(crate) fn swept(&mut self, shelf: Shelf, is_removed: bool, now: Time) {
        let sweep = self.sweeps.of(shelf);
        sweep.has_failed |= !is_removed;
        sweep.unheard -= 1;
        if sweep.unheard > 0 {
            return;
        }
        sweep.is_busy = false;
        let (has_failed, has_more) = (sweep.has_failed, sweep.has_more);
        if has_failed {
            self.sweeps.expect(shelf, now + RETRY);
        } else if has_more {
            match shelf {
                Shelf::Store => self.read_rows(shelf),
                Shelf::Memory => self.sweeps.expect(shelf, now + PAUSE),
            }
        }
    }
}
