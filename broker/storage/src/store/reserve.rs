//! A file that is there to be removed: room for deletions and a checkpoint on a disk that is full.
//! While it is not there only what deletes or settles is taken, for what adds would use up the room
//! that it needs. Whether it is there is never a reason to fail.

use std::io;

use super::Store;
use crate::disk::Disk;

pub(crate) const FILE: &str = "reserve";
const PIECE: u64 = 1 << 20;

impl Store {
    /// Whether the reserve is missing, and so what adds is refused. After a while
    /// [`keep_reserve`](Store::keep_reserve) should be tried again.
    pub fn lacks_reserve(&self) -> bool {
        self.lacks_reserve
    }

    /// Makes the reserve if there is room: after that what adds is taken again. The store tries it
    /// itself before and after checkpoints and after deletions; others may make room at any time.
    pub fn keep_reserve(&mut self) {
        if self.lacks_reserve && self.checkpoint_failed {
            // The reserve was released for this checkpoint: it gets the room first.
            return;
        }
        if let Some(disk) = &self.disk {
            let made = fill(&**disk, self.options.reserve_bytes);
            self.lacks_reserve = false;
            if made.is_err() {
                // Half a reserve is in the way.
                self.release_reserve();
            }
        }
    }

    pub(super) fn release_reserve(&mut self) {
        if let Some(disk) = &self.disk {
            let _not_there = disk.remove(FILE);
            self.lacks_reserve = self.options.reserve_bytes > 0;
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
