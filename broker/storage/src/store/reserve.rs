//! A file that is there to be removed: room for deletions and a checkpoint on a disk that is full.
//! Whether it is there is never a reason to fail.

use std::io;

use super::Store;
use crate::disk::Disk;

pub(crate) const FILE: &str = "reserve";
const PIECE: u64 = 1 << 20;

impl Store {
    /// Makes the reserve if there is room.
    pub(super) fn keep_reserve(&self) {
        if let Some(disk) = &self.disk {
            let bytes = self.options.reserve_bytes;
            if fill(&**disk, bytes).is_err() {
                // Half a reserve is in the way.
                self.release_reserve();
            }
        }
    }

    pub(super) fn release_reserve(&self) {
        if let Some(disk) = &self.disk {
            let _not_there = disk.remove(FILE);
        }
    }
}

/// Zeros that were written, for a length alone takes no room.
fn fill(disk: &dyn Disk, bytes: u64) -> io::Result<()> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && bytes > 0 => disk.create(FILE)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut at = file.len()?;
    if at == bytes {
        return Ok(());
    }
    if at > bytes {
        return file.set_len(bytes);
    }
    // It takes what is free, but not the last of it.
    if disk.free_bytes()? < 2 * (bytes - at) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let zeros = vec![0; PIECE.min(bytes) as usize];
    while at < bytes {
        let piece = PIECE.min(bytes - at);
        file.write_at(at, &zeros[..piece as usize])?;
        at += piece;
    }
    file.sync_data()
}
