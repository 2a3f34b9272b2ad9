//! Frames that a server sends: unmasked, never fragmented.

use super::frame::{BINARY, CLOSE, CloseCode, MAXIMUM_CONTROL_BYTES};

/// Longest header of an unmasked frame.
const MAXIMUM_HEAD_BYTES: usize = 10;

/// A control frame to send: its bytes, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ControlFrame {
    bytes: [u8; 2 + MAXIMUM_CONTROL_BYTES],
    len: u8,
    sent: u8,
}

impl ControlFrame {
    pub(super) fn new(opcode: u8, payload: &[u8]) -> ControlFrame {
        let mut bytes = [0; 2 + MAXIMUM_CONTROL_BYTES];
        let size = payload.len().min(MAXIMUM_CONTROL_BYTES);
        bytes[0] = 0x80 | opcode;
        bytes[1] = size as u8;
        bytes[2..2 + size].copy_from_slice(&payload[..size]);
        ControlFrame {
            bytes,
            len: size as u8 + 2,
            sent: 0,
        }
    }

    pub(super) fn close(code: CloseCode) -> ControlFrame {
        ControlFrame::new(CLOSE, &code.0.to_be_bytes())
    }

    /// What is still to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[usize::from(self.sent)..usize::from(self.len)]
    }

    /// `bytes` of it were sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.unsent().len());
        self.sent += bytes as u8;
    }
}

/// The header of an unmasked binary frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BinaryHead {
    bytes: [u8; MAXIMUM_HEAD_BYTES],
    len: u8,
    sent: u8,
}

impl BinaryHead {
    pub(super) fn new(payload_bytes: usize) -> BinaryHead {
        let mut head = BinaryHead::default();
        head.bytes[0] = 0x80 | BINARY;
        head.len = match payload_bytes {
            0..=125 => {
                head.bytes[1] = payload_bytes as u8;
                2
            }
            126..=0xFFFF => {
                head.bytes[1] = 126;
                head.bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
                4
            }
            _ => {
                head.bytes[1] = 127;
                head.bytes[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
                10
            }
        };
        head
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[usize::from(self.sent)..usize::from(self.len)]
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.unsent().len());
        self.sent += bytes as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_frames_have_the_shortest_header() {
        for (payload, head) in [
            (1, &[0x82, 1][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (0xFFFF, &[0x82, 126, 0xFF, 0xFF]),
            (0x1_0000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(BinaryHead::new(payload).unsent(), head);
        }
        assert_eq!(
            ControlFrame::close(CloseCode(1009)).unsent(),
            [0x88, 2, 0x03, 0xF1]
        );
    }
}
