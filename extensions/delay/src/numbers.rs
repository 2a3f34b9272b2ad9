//! Numbers of messages: each is given once, and never again after a restart.
//!
//! They are given out of blocks. Before a block is used a mark is stored that says where it ends, so
//! that after a restart numbers go on behind the last mark, whatever was given and forgotten before
//! it. Each mark is a key of its own, because it is written in a way that only adds; the one before
//! it is deleted when it is stored.

use std::ops::Range;

use nexum_extension_api::{Unreadable, WriteId};

use crate::record::unreadable;

/// How many numbers a mark reserves.
const BLOCK: u64 = 1 << 16;

/// No number is as high: a million of them a second last for 290,000 years.
const BEYOND: u64 = 1 << 63;

#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Reserved, and not given.
    free: Range<u64>,
    /// A block whose mark has no answer yet.
    reserving: Option<(WriteId, Range<u64>)>,
    /// Where the next block begins.
    next_block: u64,
    /// Marks that are stored.
    marks: Vec<u64>,
}

impl Numbers {
    /// A mark that is stored.
    pub(crate) fn restore_mark(&mut self, end: u64) -> Result<(), Unreadable> {
        self.go_behind(end)?;
        self.marks.push(end);
        Ok(())
    }

    /// A number that was given.
    pub(crate) fn restore_number(&mut self, number: u64) -> Result<(), Unreadable> {
        self.go_behind(number.saturating_add(1))
    }

    fn go_behind(&mut self, end: u64) -> Result<(), Unreadable> {
        if end >= BEYOND {
            return Err(unreadable("a number that was never given"));
        }
        self.next_block = self.next_block.max(end);
        Ok(())
    }

    /// One more, if there is one reserved.
    pub(crate) fn next(&mut self) -> Option<u64> {
        self.free.next()
    }

    /// Whether the next block is to be reserved now.
    pub(crate) fn are_low(&self) -> bool {
        let left = self.free.end - self.free.start;
        left < BLOCK / 2 && self.reserving.is_none()
    }

    /// Reserves the next block: the mark to store. One that was refused is not tried again, since
    /// nobody knows when it is gone for good; the block behind it is.
    pub(crate) fn reserve(&mut self, write: WriteId) -> u64 {
        let end = self.next_block + BLOCK;
        self.reserving = Some((write, self.next_block..end));
        self.next_block = end;
        end
    }

    /// What became of a mark, if this write was one: the marks that are to be deleted. What was
    /// left of the block before is not used.
    pub(crate) fn on_written(&mut self, write: WriteId, is_stored: bool) -> Option<Vec<u64>> {
        let (_, block) = self.reserving.take_if(|(own, _)| *own == write)?;
        if !is_stored {
            return Some(Vec::new());
        }
        self.free = block;
        Some(std::mem::replace(&mut self.marks, vec![self.free.end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_before_its_block_is_reserved() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.next(), None);
        assert!(numbers.are_low());
        let first = numbers.reserve(WriteId(1));
        assert!(!numbers.are_low(), "it is on its way");
        assert_eq!(numbers.next(), None);
        assert_eq!(numbers.on_written(WriteId(7), true), None, "not its write");
        assert_eq!(numbers.on_written(WriteId(1), true), Some(vec![]));
        for number in 0..=BLOCK / 2 {
            assert!(!numbers.are_low(), "{number}");
            assert_eq!(numbers.next(), Some(number));
        }
        assert!(numbers.are_low());
        numbers.reserve(WriteId(2));
        assert_eq!(numbers.on_written(WriteId(2), false), Some(vec![]));
        let third = numbers.reserve(WriteId(3));
        assert_eq!(third, first + 2 * BLOCK, "a mark is tried once");
        assert_eq!(numbers.next(), Some(BLOCK / 2 + 1));
        assert_eq!(numbers.on_written(WriteId(3), true), Some(vec![first]));
        assert_eq!(numbers.next(), Some(third - BLOCK));
    }

    #[test]
    fn numbers_go_on_behind_whatever_was_restored() {
        let mut numbers = Numbers::default();
        numbers.restore_mark(BLOCK).expect("a mark");
        numbers.restore_number(2 * BLOCK).expect("a number");
        assert!(numbers.restore_number(u64::MAX).is_err());
        assert!(numbers.restore_mark(BEYOND).is_err());
        numbers.reserve(WriteId(1));
        assert_eq!(numbers.on_written(WriteId(1), true), Some(vec![BLOCK]));
        assert_eq!(numbers.next(), Some(2 * BLOCK + 1));
    }
}
