use std::fmt;

use nexum_storage::{CommitError, ReadError, Refusal};

use crate::fields::Unreadable;

/// Why records could not be read or written.
#[derive(Debug)]
pub enum RecordsError {
    /// The store could not be read.
    Read(ReadError),
    /// A later version of the program wrote a record, or all of them.
    Newer {
        /// Which.
        what: String,
        /// Its version.
        version: u32,
        /// The latest this program knows.
        known: u32,
    },
    /// A record is not what any version wrote.
    Damaged {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store did not take what was to be written.
    Refused(Refusal),
    /// The store took it and could not make it durable.
    NotCommitted(CommitError),
}

impl RecordsError {
    pub(crate) fn unreadable(what: String, unreadable: Unreadable) -> RecordsError {
        match unreadable {
            Unreadable::Newer(version) => RecordsError::Newer {
                what,
                version: u32::from(version),
                known: u32::from(crate::fields::VERSION),
            },
            Unreadable::Damaged(why) => RecordsError::Damaged { what, why },
        }
    }
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordsError::Read(error) => error.fmt(f),
            RecordsError::Newer {
                what,
                version,
                known,
            } => write!(
                f,
                "{what}: version {version} is newer than this program, which knows {known}; start \
                 the version that wrote it, or a later one"
            ),
            RecordsError::Damaged { what, why } => write!(
                f,
                "{what}: damaged: {why}; restore the data directory from a backup"
            ),
            RecordsError::Refused(refusal) => {
                write!(f, "the data directory cannot be begun: {refusal}")
            }
            RecordsError::NotCommitted(error) => {
                write!(f, "the data directory cannot be begun: {error}")
            }
        }
    }
}

impl std::error::Error for RecordsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordsError::Read(error) => Some(error),
            RecordsError::Refused(refusal) => Some(refusal),
            RecordsError::NotCommitted(error) => Some(error),
            RecordsError::Newer { .. } | RecordsError::Damaged { .. } => None,
        }
    }
}

impl From<ReadError> for RecordsError {
    fn from(error: ReadError) -> RecordsError {
        RecordsError::Read(error)
    }
}
