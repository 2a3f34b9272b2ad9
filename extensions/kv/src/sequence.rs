//! Numbers that are never given twice, over restarts.

/// The mark is raised by so much.
const BLOCK: u64 = 1 << 16;

/// Numbers of buckets, and revisions.
#[derive(Debug)]
pub(crate) struct Sequence {
    next: u64,
    /// What is below may have been given before a restart.
    stored: u64,
}

/// A number that was not given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) number: u64,
    /// To be stored before, or together with, whatever has the number.
    pub(crate) mark: Option<u64>,
}

impl Sequence {
    pub(crate) fn new() -> Sequence {
        Sequence { next: 1, stored: 0 }
    }

    pub(crate) fn take(&mut self) -> Taken {
        let number = self.next;
        self.next = number.saturating_add(1);
        let is_beyond = number >= self.stored;
        Taken {
            number,
            mark: is_beyond.then(|| number.saturating_add(BLOCK)),
        }
    }

    /// A mark is stored.
    pub(crate) fn note_stored(&mut self, mark: u64) {
        self.stored = self.stored.max(mark);
    }

    /// A mark was found at the start.
    pub(crate) fn restore_mark(&mut self, mark: u64) {
        self.note_stored(mark);
        self.next = self.next.max(mark);
    }

    /// A number was found at the start.
    pub(crate) fn restore_used(&mut self, used: u64) {
        self.next = self.next.max(used.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_with_a_mark_until_one_is_stored() {
        let mut sequence = Sequence::new();
        let taken = |number, mark| Taken { number, mark };
        assert_eq!(sequence.take(), taken(1, Some(1 + BLOCK)));
        assert_eq!(sequence.take(), taken(2, Some(2 + BLOCK)));
        sequence.note_stored(1 + BLOCK);
        assert_eq!(sequence.take(), taken(3, None));
        let mut again = Sequence::new();
        again.restore_mark(1 + BLOCK);
        again.restore_used(7);
        assert_eq!(again.take(), taken(1 + BLOCK, Some(1 + 2 * BLOCK)));
    }
}
