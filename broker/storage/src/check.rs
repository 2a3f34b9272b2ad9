//! Looking at a data directory that no store has open: what is in it, and is it whole.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::changes::{Change, TableId};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::options::Options;
use crate::recovery::{Damage, Replay, TornTail};
use crate::series::volume::Volumes;
use crate::store::tables_unusable;
use crate::tables::Tables;

/// What was found. Nothing was changed by looking, except that redb repairs its file as it would
/// when the store is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The last batch in the tables.
    pub checkpoint: u64,
    /// The last batch in the log, or in the tables if that is later.
    pub last: u64,
    /// Segments that are needed.
    pub segments: usize,
    /// Batches in the log behind the checkpoint…
    pub batches: u64,
    /// …and the submissions in them.
    pub submissions: u64,
    /// What each table has at the checkpoint, and how much the log changes in it.
    pub tables: BTreeMap<TableId, TableContents>,
    /// An interrupted write at the end, which a start takes away.
    pub torn: Option<TornTail>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// What is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableContents {
    /// Entries in the file.
    pub entries: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// Values set by the log behind the checkpoint.
    pub set: u64,
    /// Deletions there.
    pub deleted: u64,
    /// Series in the tables.
    pub series: u64,
    /// Records that are kept of them, there and in volumes.
    pub records: u64,
    /// Records that the log appends.
    pub appended: u64,
}

impl CheckReport {
    /// Whether nothing that was promised is lost.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "checkpoint at batch {}; {} segments hold {} batches behind it, to {}, with {} \
             submissions",
            self.checkpoint, self.segments, self.batches, self.last, self.submissions
        )?;
        for (table, contents) in &self.tables {
            let TableContents {
                entries,
                bytes,
                set,
                deleted,
                series,
                records,
                appended,
            } = contents;
            write!(
                f,
                "{table}: {entries} entries of {bytes} bytes; the log sets {set} and deletes \
                 {deleted}"
            )?;
            if *series > 0 || *appended > 0 {
                write!(
                    f,
                    "; {series} series with {records} records; the log appends {appended}"
                )?;
            }
            writeln!(f)?;
        }
        if let Some(torn) = &self.torn {
            writeln!(
                f,
                "{}: {} bytes at {} are of an interrupted write; a start takes them away",
                torn.file, torn.length, torn.offset
            )?;
        }
        for damage in &self.damage {
            writeln!(f, "{damage} when the store is opened")?;
        }
        f.write_str(if self.is_whole() { "whole" } else { "DAMAGED" })
    }
}

/// Reads and verifies all there is.
///
/// # Errors
/// The directory could not be opened for this reason, or an entry of the tables is damaged.
pub fn check(disk: &Arc<dyn Disk>) -> Result<CheckReport, OpenError> {
    let opened = Tables::open(&**disk, Options::default().table_cache_bytes);
    let (mut tables, checkpoint) = opened.map_err(tables_unusable)?;
    let mut report = CheckReport {
        checkpoint: checkpoint.position,
        ..CheckReport::default()
    };
    for (table, entries, bytes) in tables.verify()? {
        let contents = report.tables.entry(table).or_default();
        contents.entries = entries;
        contents.bytes = bytes;
    }
    let (next, _) = tables.volumes()?;
    let full = Options::default().volume_bytes;
    let volumes = Volumes::new(Arc::clone(disk), checkpoint.identity, next, full);
    tables.verify_pages(&volumes)?;
    for (series, head) in tables.heads()? {
        let contents = report.tables.entry(series.table).or_default();
        contents.series += 1;
        contents.records += head.next - head.first;
    }
    let replay = Replay {
        disk: &**disk,
        identity: checkpoint.identity,
        position: checkpoint.position,
        salvage: false,
        quarantine: false,
    };
    let contents = &mut report.tables;
    let replayed = replay.run(
        |batch| {
            let changes = batch.changes().map_err(|_| OpenError::Unreadable {
                batch: batch.number,
            })?;
            for change in changes {
                match change {
                    Change::Put(table, ..) | Change::Insert(table, ..) => {
                        contents.entry(table).or_default().set += 1;
                    }
                    Change::Delete(table, _) => contents.entry(table).or_default().deleted += 1,
                    Change::Append(series, _) => {
                        contents.entry(series.table).or_default().appended += 1;
                    }
                    Change::Create(_) | Change::Trim(..) | Change::Remove(_) => {}
                }
            }
            Ok(())
        },
        &mut |_| {},
    )?;
    report.last = replayed.last;
    report.segments = replayed.segments.len();
    report.batches = replayed.batches;
    report.submissions = replayed.submissions;
    report.torn = replayed.torn;
    report.damage = replayed.damage;
    Ok(report)
}
