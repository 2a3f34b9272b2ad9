//! Room on the disk for the next checkpoint.
//!
//! A checkpoint writes what is in memory into the tables, and only then the log is shorter. So what
//! adds is taken while there is room for both: otherwise a disk that has filled up would stay full
//! whatever is deleted, because what says so cannot be brought to the tables.

use super::Store;
use crate::view::Below;

/// A checkpoint of less is tried in any case, and nothing is refused for it.
const SMALL: u64 = 1 << 20;

/// After so many bytes of log the system is asked again.
const ASK_AGAIN: u64 = 1 << 20;

/// What the system said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    /// Besides the reserve.
    bytes: u64,
    /// How much log had been written when it was asked.
    log_bytes: u64,
}

impl Store {
    /// Whether there would be no room for a checkpoint of what is in memory and of so many bytes
    /// more, the reserve included.
    pub(super) fn lacks_room(&mut self, more: usize) -> bool {
        let needed = self.needed_bytes(more);
        if needed < SMALL {
            return false;
        }
        let reserve = match self.lacks_reserve {
            true => 0,
            false => self.options.reserve_bytes,
        };
        let written = self.statistics.log_bytes;
        let known = self
            .free
            .filter(|free| written - free.log_bytes < ASK_AGAIN);
        let lacks = |free: Free| {
            let taken = written - free.log_bytes;
            needed > free.bytes.saturating_sub(taken).saturating_add(reserve)
        };
        if known.is_some_and(|free| !lacks(free)) {
            return false;
        }
        self.free = self.ask_for_free();
        self.free.is_some_and(lacks)
    }

    /// Gives the room of the reserve to a checkpoint that needs it.
    pub(super) fn make_room_for_checkpoint(&mut self) -> bool {
        if self.lacks_room(0) {
            return false;
        }
        let needed = self.needed_bytes(0);
        if needed >= SMALL && self.free.is_some_and(|free| needed > free.bytes) {
            self.release_reserve();
        }
        true
    }

    /// Whether a checkpoint may write what it need not, to make few volumes of many.
    pub(super) fn has_room_to_move(&self) -> bool {
        if self.lacks_reserve || self.over_budget_at.is_some() {
            return false;
        }
        let needed = self.needed_bytes(0) + self.options.volume_bytes / 2;
        self.ask_for_free().is_some_and(|free| needed <= free.bytes)
    }

    /// An estimate: the tables have pages of powers of two, so that a value may take twice its length.
    fn needed_bytes(&self, more: usize) -> u64 {
        if self.disk.is_none() {
            return 0;
        }
        let layers = self.view().layers;
        let frozen = layers.frozen.as_ref().map_or(0, |frozen| frozen.bytes());
        let bytes = (frozen + layers.active.bytes() + self.batch.len() + more) as u64;
        bytes * 2
    }

    /// None where the system does not say.
    fn ask_for_free(&self) -> Option<Free> {
        let disk = self.disk.as_ref()?.free_bytes().ok()?;
        let layers = self.view().layers;
        let unused = match &layers.tables {
            Below::Tables(tables) => {
                let holds = self.checkpoint.live_bytes.saturating_mul(2);
                tables.allocated_bytes().ok()?.saturating_sub(holds)
            }
            Below::Nothing | Below::Closed => 0,
        };
        Some(Free {
            bytes: disk.saturating_add(unused),
            log_bytes: self.statistics.log_bytes,
        })
    }
}
