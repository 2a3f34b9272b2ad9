//! A directory of files whose names are ours. All that the store knows of the machine is here, so
//! that a simulated disk can stand in for the real one.

use std::fmt;
use std::io;
use std::sync::Arc;

pub(crate) mod real;
pub(crate) mod simulated;

/// A directory. Nothing in it is durable before [`sync_directory`](Disk::sync_directory), and no
/// content of a file before [`DiskFile::sync_data`].
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound` if it is not, and what the system has against it.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file that is not there. Only its owner may read it.
    ///
    /// # Errors
    /// `AlreadyExists` if it is there, and what the system has against it.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that had it.
    ///
    /// # Errors
    /// What the system has against it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system has against it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in order.
    ///
    /// # Errors
    /// What the system has against it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes names durable: what was created, renamed and removed.
    ///
    /// # Errors
    /// What the system has against it. What is durable then is not known.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// What the system has against it.
    fn free_bytes(&self) -> io::Result<u64>;

    /// A number that no other log has.
    fn unique(&self) -> u128;
}

/// An open file.
// No `is_empty`: nobody asks.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads from `offset` on. Fewer bytes than `into` has only where the file ends.
    ///
    /// # Errors
    /// What the system has against it.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the system has against it. A part may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written, and the length.
    ///
    /// # Errors
    /// What the system has against it. What is durable then is not known, and what is read may be
    /// what is not.
    fn sync_data(&self) -> io::Result<()>;

    /// In bytes.
    ///
    /// # Errors
    /// What the system has against it.
    fn len(&self) -> io::Result<u64>;

    /// What it takes of the disk: less than its length where it has holes.
    ///
    /// # Errors
    /// What the system has against it.
    fn allocated_bytes(&self) -> io::Result<u64>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// What the system has against it.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Has the system forget what it holds of the file in memory and need not write, so that the
    /// next read comes from the disk. Only advice.
    fn forget_cached(&self);
}

/// Reads exactly `into.len()` bytes.
pub(crate) fn read_exact(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<()> {
    if file.read_at(offset, into)? == into.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
