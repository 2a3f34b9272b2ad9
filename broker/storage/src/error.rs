//! What can go wrong, and what to do about it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::store::Ticket;

/// Why a directory could not be opened. Nothing was changed in it but what a crash had left undone.
#[derive(Debug)]
pub enum OpenError {
    /// The disk refused something.
    Io {
        /// What was being done.
        what: String,
        /// Why it was not.
        error: io::Error,
    },
    /// A file is of a later format.
    Newer {
        /// Which.
        file: String,
        /// Its format.
        version: u32,
    },
    /// A segment belongs to another log than the tables, or its name to another segment.
    Foreign {
        /// Its name.
        file: String,
    },
    /// Batches that are in no segment and not in the tables.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A batch is whole, and what is in it is not what this program writes.
    Unreadable {
        /// Its number.
        batch: u64,
    },
    /// There are segments and no tables, and the log does not reach back to its beginning.
    TablesMissing {
        /// The first batch that is there.
        first: u64,
    },
    /// The file of the tables cannot be read.
    TablesDamaged {
        /// What was found.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
        |error| OpenError::Io {
            what: what.into(),
            error,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { what, error } => write!(f, "{what}: {error}"),
            OpenError::Newer { file, version } => write!(
                f,
                "{file}: format {version} is newer than this program, which knows {}; start the \
                 version that wrote it, or a later one",
                crate::segment::FORMAT_VERSION
            ),
            OpenError::Foreign { file } => write!(
                f,
                "{file}: belongs to another log or has another's name; move it out of the data \
                 directory, or restore all of the directory from one backup"
            ),
            OpenError::Missing { first, last } => write!(
                f,
                "batches {first} to {last} are in no file: a segment is missing or was cut; \
                 restore it, or open with salvage to go on without what they held"
            ),
            OpenError::Unreadable { batch } => write!(
                f,
                "the log: batch {batch} is whole but says nothing that this program knows; start \
                 the version that wrote it"
            ),
            OpenError::TablesMissing { first } => write!(
                f,
                "{} is missing, and the log begins at batch {first}: what was before is only \
                 there; restore it, or open with salvage to build it from the log alone",
                crate::tables::FILE
            ),
            OpenError::TablesDamaged { reason } => write!(
                f,
                "{} cannot be read: {reason}; restore it from a backup that is not older than \
                 the oldest segment, or open with salvage to set it aside and build it from the \
                 log alone",
                crate::tables::FILE
            ),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> OpenError {
        match error {
            ReadError::Io(error) => OpenError::io(crate::tables::FILE)(error),
            ReadError::Damaged(reason) => OpenError::TablesDamaged { reason },
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            OpenError::Newer { .. }
            | OpenError::Foreign { .. }
            | OpenError::Missing { .. }
            | OpenError::Unreadable { .. }
            | OpenError::TablesMissing { .. }
            | OpenError::TablesDamaged { .. } => None,
        }
    }
}

/// Why changes were not taken, or not made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A write or a sync has failed, and nothing is promised until the log was reopened. Whether
    /// the changes will be there after a crash is not known; after a reopening they are not.
    Failed(Arc<str>),
    /// There is no room: the disk or the budget is used up, the reserve is missing, or a checkpoint
    /// would have no room. Changes that only delete or settle are still taken.
    Full,
    /// The tables are behind, and memory for what they have not taken is used up. Changes that only
    /// delete or settle are still taken.
    Behind,
    /// Larger than a batch may be, together with what waits in it. What is too large beside others
    /// may fit after a commit.
    TooLarge,
    /// It appends to a series that is not there.
    NoSeries,
    /// The store is being closed.
    Closed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Failed(why) => {
                write!(f, "nothing is promised until the log was reopened: {why}")
            }
            Refusal::Full => f.write_str("no room on the disk, or in its budget"),
            Refusal::Behind => f.write_str("the tables are too far behind the log"),
            Refusal::TooLarge => f.write_str("larger than a batch may be"),
            Refusal::NoSeries => f.write_str("the series is not there"),
            Refusal::Closed => f.write_str("the store is being closed"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a commit did not make durable all that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// There is no room. Only what deletes or settles was kept, if there was any and room for it.
    Full {
        /// What is durable all the same.
        kept: Vec<Ticket>,
        /// What is not, and will not be.
        refused: Vec<Ticket>,
    },
    /// A write or a sync failed: see [`Refusal::Failed`].
    Failed {
        /// All that was submitted.
        refused: Vec<Ticket>,
        /// Why.
        why: Arc<str>,
    },
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Full { .. } => Refusal::Full.fmt(f),
            CommitError::Failed { why, .. } => Refusal::Failed(Arc::clone(why)).fmt(f),
        }
    }
}

impl std::error::Error for CommitError {}

/// Why something could not be read. What it is about the tables or their file is damaged.
#[derive(Debug)]
pub enum ReadError {
    /// The disk refused.
    Io(io::Error),
    /// What is there is not what was written.
    Damaged(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::tables::FILE;
        match self {
            ReadError::Io(error) => write!(f, "{file}: cannot be read: {error}"),
            ReadError::Damaged(what) => write!(f, "{file}: damaged: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why a checkpoint was not made. The log keeps what it would have held.
#[derive(Debug)]
pub struct CheckpointError(pub(crate) ReadError);

impl CheckpointError {
    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(&self.0, ReadError::Io(error) if is_full(error))
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no checkpoint: {}", self.0)
    }
}

impl std::error::Error for CheckpointError {}

/// Why a failed store still promises nothing.
#[derive(Debug)]
pub enum ReopenError {
    /// The disk still refuses.
    Io(io::Error),
    /// What was acknowledged is not in the log any more, and could not be saved from memory either.
    Lost(CheckpointError),
    /// A checkpoint is under way; when it is finished, try again.
    Busy,
}

impl fmt::Display for ReopenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReopenError::Io(error) => write!(f, "the log cannot be reopened: {error}"),
            ReopenError::Lost(error) => write!(
                f,
                "the log has lost what was acknowledged, and it cannot be saved: {error}"
            ),
            ReopenError::Busy => f.write_str("a checkpoint is under way"),
        }
    }
}

impl std::error::Error for ReopenError {}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
