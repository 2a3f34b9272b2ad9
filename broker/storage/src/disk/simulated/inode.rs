//! A file: what a process sees of it, and what of that is on the disk.

use crate::random::Random;

/// Written whole or not at all.
const SECTOR: u64 = 512;

#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What a process sees.
    pub(super) seen: Vec<u8>,
    /// What is on the disk.
    pub(super) durable: Vec<u8>,
    /// From the latter to the former, but for what a failed sync has lost.
    pub(super) pending: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Change {
    pub(super) fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let start = *offset as usize;
                let end = start + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[start..end].copy_from_slice(bytes);
            }
            Change::SetLen(bytes) => contents.resize(*bytes as usize, 0),
        }
    }

    /// As the disk gets it: a sector at a time.
    pub(super) fn pieces(self) -> Vec<Change> {
        let Change::Write { mut offset, bytes } = self else {
            return vec![self];
        };
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let room = (SECTOR - offset % SECTOR) as usize;
            let (piece, after) = rest.split_at(room.min(rest.len()));
            pieces.push(Change::Write {
                offset,
                bytes: piece.to_vec(),
            });
            offset += piece.len() as u64;
            rest = after;
        }
        pieces
    }
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// The power goes: of what is pending some pieces reach the disk, in any order as far as they
    /// do not overlap, and the file may have its new length without its new contents.
    pub(super) fn lose(&mut self, random: &mut Random) {
        self.write_some(random);
        self.seen.clone_from(&self.durable);
    }

    /// A sync that fails: the system counts all as written, shows all, and has written some.
    pub(super) fn sync_in_part(&mut self, random: &mut Random) {
        self.write_some(random);
    }

    pub(super) fn write_some(&mut self, random: &mut Random) {
        if self.pending.is_empty() {
            return;
        }
        let keep_percent = match random.up_to(3) {
            0 => 0,
            1 => 100,
            _ => random.next() % 101,
        };
        for change in std::mem::take(&mut self.pending) {
            for piece in change.pieces() {
                if random.percent(keep_percent) {
                    piece.apply(&mut self.durable);
                }
            }
        }
        if random.percent(10) {
            self.durable.resize(self.seen.len(), 0);
        }
    }
}
