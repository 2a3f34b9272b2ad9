//! Bytes received and not handled: a part of a packet, or all that came while held back.

/// How much of an incomplete packet counts as a sign of life.
const PROGRESS_BYTES: usize = 4 * 1024;

/// Bytes that wait in their order. Handling some of them moves the rest only now and then, so that
/// a client whose packets are handled one at a time costs no more for having sent many.
///
/// Invariant: `handled` is less than the length, or both are 0.
#[derive(Debug, Default)]
pub(crate) struct Unhandled {
    bytes: Vec<u8>,
    /// How many of them are handled already.
    handled: usize,
}

impl Unhandled {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.handled..]
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `bytes` are handled.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.handled += bytes;
        if self.handled >= self.bytes.len() {
            // A connection between two packets holds no memory for them.
            *self = Unhandled::default();
        } else if self.handled * 2 > self.bytes.len() {
            self.bytes.drain(..self.handled);
            self.handled = 0;
        }
    }

    /// How far a long packet has come; it grows while the client goes on sending it.
    pub(crate) fn progress(&self) -> usize {
        self.as_slice().len() / PROGRESS_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_not_handled() {
        let all: Vec<u8> = (0..=255).collect();
        for step in 1..=256 {
            let mut unhandled = Unhandled::default();
            unhandled.extend(&all);
            let mut handled = 0;
            while !unhandled.is_empty() {
                assert_eq!(unhandled.as_slice(), &all[handled..], "step {step}");
                let next = step.min(all.len() - handled);
                unhandled.advance(next);
                handled += next;
            }
            assert_eq!(unhandled.bytes.capacity(), 0);
        }
    }
}
