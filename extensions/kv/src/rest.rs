//! Long work in parts: what has read enough for one turn goes on a little later, so that others have
//! their turn.

use std::time::Duration;

use nexum_extension_api::FeedId;
use nexum_types::Time;

use crate::operation::Shelf;

/// Records that are read in one turn for nobody in particular.
const BUDGET: usize = 4096;

const PAUSE: Duration = Duration::from_millis(1);

/// What goes on later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Page(FeedId),
    Wipe(u64, Shelf),
    Purge(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Resting {
    works: Vec<Work>,
    until: Option<Time>,
    read: usize,
}

impl Resting {
    pub(crate) fn begin_turn(&mut self) {
        self.read = 0;
    }

    /// So many records were read. Returns whether it is enough for now.
    pub(crate) fn note_read(&mut self, records: usize) -> bool {
        self.read += records;
        self.read >= BUDGET
    }

    /// Goes on with it later.
    pub(crate) fn add(&mut self, work: Work, now: Time) {
        self.works.push(work);
        self.until.get_or_insert(now + PAUSE);
    }

    pub(crate) fn until(&self) -> Option<Time> {
        self.until
    }

    /// What has rested enough.
    pub(crate) fn take(&mut self, now: Time) -> Vec<Work> {
        if self.until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        self.until = None;
        std::mem::take(&mut self.works)
    }
}
