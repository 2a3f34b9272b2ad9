//! Series: runs of records, each with an offset one more than the one before. They grow at their end
//! and are trimmed at their beginning.
//!
//! What was appended since the last checkpoint lies in memory, in pages; a checkpoint writes the
//! pages into volumes, files that are written once, and where each is into the tables.

pub(crate) mod page;
mod tail;
pub(crate) mod volume;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::page::{Page, PageHeader};
pub(crate) use self::tail::Tail;
use crate::changes::{Record, TableId};

/// A series. The caller gives the numbers, and none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId {
    /// The table whose owner it belongs to.
    pub table: TableId,
    /// Its number there.
    pub number: u64,
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "series {} of {}", self.number, self.table)
    }
}

/// What there is of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The offset of the first record that is kept.
    pub first: u64,
    /// The offset of the next record.
    pub next: u64,
    /// The latest stamp of all records there ever were.
    pub stamp: u64,
    /// The bytes of all records there ever were.
    pub written: u64,
}

/// Records of a series, one after another: a page, or the rest of one.
#[derive(Clone, Debug)]
pub struct Records {
    page: Arc<Page>,
    /// The first that is meant.
    from: u64,
}

impl Records {
    pub(crate) fn new(page: Arc<Page>, from: u64) -> Records {
        Records { page, from }
    }

    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let from = self.from;
        self.page
            .records()
            .skip_while(move |record| record.offset < from)
    }

    /// The offset behind them.
    pub fn next(&self) -> u64 {
        self.page.next()
    }
}
