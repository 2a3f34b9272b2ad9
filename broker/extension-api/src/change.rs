//! What extensions store: values under keys, in a table of their own.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// The key of a record. Extensions number what they keep, so it is short, and a short one takes no
/// allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(SmallVec<[u8; 24]>);

/// One change in the extension's own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the value of a key that was never there. What is inserted and deleted soon costs little,
    /// and what was to be inserted by a write that failed is not there after a crash either.
    Insert(RecordKey, Box<[u8]>),
    /// Sets a value, whether or not there is one.
    Put(RecordKey, Box<[u8]>),
    /// Removes a key.
    Delete(RecordKey),
}

/// Changes, in this order. Most often it is one, which takes no allocation.
pub type Changes = SmallVec<[Change; 1]>;

impl Change {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &RecordKey {
        match self {
            Change::Insert(key, _) | Change::Put(key, _) | Change::Delete(key) => key,
        }
    }
}

impl From<&[u8]> for RecordKey {
    fn from(bytes: &[u8]) -> RecordKey {
        RecordKey(SmallVec::from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for RecordKey {
    fn from(bytes: [u8; N]) -> RecordKey {
        RecordKey::from(&bytes[..])
    }
}

impl Deref for RecordKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for RecordKey {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
