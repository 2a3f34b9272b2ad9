//! One order of everything that happens, whichever thread it happens in.

use std::sync::atomic::{AtomicU64, Ordering};

/// A moment. If one event is known to have happened before another, its tick is the lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u64);

/// Counts what happens; it does not measure time.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn tick(&self) -> Tick {
        Tick(self.0.fetch_add(1, Ordering::SeqCst))
    }
}
