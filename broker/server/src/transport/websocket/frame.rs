//! WebSocket framing for a server (RFC 6455 section 5), one byte strict.
//!
//! MQTT is a stream of bytes to which frames mean nothing [MQTT-6.0.0-2], so no frame is ever
//! gathered: payloads are unmasked where they lie and moved together, and a frame of 256 MiB
//! costs no more memory than one of ten bytes. What is kept between reads is half a frame header
//! and at most one control frame.

use super::outgoing::ControlFrame;

/// Longest payload announced by a frame, or summed over the frames of a message, in bytes: the
/// largest MQTT packet. Nothing is allocated by it; a longer one is no MQTT client.
const MAXIMUM_MESSAGE_BYTES: u64 = 268_435_460;

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const MAXIMUM_CONTROL_BYTES: usize = 125;

/// Longest header of a masked frame: two bytes, a length of eight and a mask of four.
const MAXIMUM_HEAD_BYTES: usize = 14;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// Why a connection ends, as its Close frame says it (RFC 6455 section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CloseCode(pub(crate) u16);

impl CloseCode {
    pub(crate) const NORMAL: CloseCode = CloseCode(1000);
    pub(crate) const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    pub(crate) const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    pub(crate) const INVALID_TEXT: CloseCode = CloseCode(1007);
    pub(crate) const TOO_BIG: CloseCode = CloseCode(1009);

    /// Whether a peer may send it.
    const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// The peer did what the WebSocket or the MQTT specification forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) code: CloseCode,
    /// What was wrong, for the log.
    pub(crate) what: &'static str,
}

const fn breach(what: &'static str) -> Breach {
    Breach {
        code: CloseCode::PROTOCOL_ERROR,
        what,
    }
}

/// How a stream of frames ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameEnd {
    /// A Close frame, with its code if it has one.
    Close(Option<CloseCode>),
    Breach(Breach),
}

/// Takes frames apart.
#[derive(Debug)]
pub(crate) struct Deframer {
    head: [u8; MAXIMUM_HEAD_BYTES],
    head_bytes: u8,
    /// The frame whose payload is being received; none while its header is.
    frame: Option<Frame>,
    /// Bytes of the data message that has begun and not ended.
    message_bytes: Option<u64>,
    control: [u8; MAXIMUM_CONTROL_BYTES],
    control_bytes: u8,
    pong: Option<ControlFrame>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: FrameKind,
    last_of_message: bool,
    bytes_left: u64,
    /// Turned so that it begins with the byte for the next byte of the payload.
    mask: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Data,
    Ping,
    Pong,
    Close,
}

impl Deframer {
    pub(super) fn new() -> Deframer {
        Deframer {
            head: [0; MAXIMUM_HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            message_bytes: None,
            control: [0; MAXIMUM_CONTROL_BYTES],
            control_bytes: 0,
            pong: None,
        }
    }

    /// The answer to the last Ping, once. Only the most recent one needs an answer (RFC 6455
    /// section 5.5.3).
    pub(super) fn take_pong(&mut self) -> Option<ControlFrame> {
        self.pong.take()
    }

    /// Takes the frames in `bytes` apart. The payloads of data frames are moved together at the
    /// beginning of `bytes`; returns their number of bytes, and the end if these frames hold one.
    pub(super) fn deframe(&mut self, bytes: &mut [u8]) -> (usize, Option<FrameEnd>) {
        let mut read = 0;
        let mut written = 0;
        while read < bytes.len() {
            let Some(frame) = &mut self.frame else {
                match self.take_head_byte(bytes[read]) {
                    Ok(()) => {}
                    Err(breach) => return (written, Some(FrameEnd::Breach(breach))),
                }
                read += 1;
                if let Some(end) = self.finish_frame_if_complete() {
                    return (written, Some(end));
                }
                continue;
            };
            let available = bytes.len() - read;
            let taken = usize::try_from(frame.bytes_left).map_or(available, |n| n.min(available));
            match frame.kind {
                FrameKind::Data => {
                    bytes.copy_within(read..read + taken, written);
                    unmask(&mut bytes[written..written + taken], frame.mask);
                    written += taken;
                }
                FrameKind::Ping | FrameKind::Pong | FrameKind::Close => {
                    let from = usize::from(self.control_bytes);
                    let part = &mut self.control[from..from + taken];
                    part.copy_from_slice(&bytes[read..read + taken]);
                    unmask(part, frame.mask);
                    self.control_bytes += taken as u8;
                }
            }
            read += taken;
            frame.bytes_left -= taken as u64;
            frame.mask.rotate_left(taken % 4);
            if let Some(end) = self.finish_frame_if_complete() {
                return (written, Some(end));
            }
        }
        (written, None)
    }

    /// Takes a byte of a frame's header, and turns the header into a frame if it was the last.
    fn take_head_byte(&mut self, byte: u8) -> Result<(), Breach> {
        self.head[usize::from(self.head_bytes)] = byte;
        self.head_bytes += 1;
        match self.head_bytes {
            1 => self.check_first_byte(byte),
            2 => self.check_second_byte(byte),
            bytes if bytes == head_bytes(self.head[1]) => self.begin_frame(),
            _ => Ok(()),
        }
    }

    fn check_first_byte(&self, byte: u8) -> Result<(), Breach> {
        if byte & 0x70 != 0 {
            return Err(breach("a reserved bit is set and no extension was agreed"));
        }
        let last = byte & 0x80 != 0;
        match (byte & 0x0F, self.message_bytes) {
            (BINARY, None) | (CONTINUATION, Some(_)) => Ok(()),
            (BINARY, Some(_)) => Err(breach("a new message begins inside another")),
            (CONTINUATION, None) => Err(breach("a continuation of no message")),
            // [MQTT-6.0.0-1]: control packets are sent in binary data frames.
            (TEXT, _) => Err(Breach {
                code: CloseCode::UNSUPPORTED_DATA,
                what: "a text frame; MQTT is sent in binary frames",
            }),
            (CLOSE | PING | PONG, _) if last => Ok(()),
            (CLOSE | PING | PONG, _) => Err(breach("a fragmented control frame")),
            (_, _) => Err(breach("a reserved opcode")),
        }
    }

    fn check_second_byte(&self, byte: u8) -> Result<(), Breach> {
        if byte & 0x80 == 0 {
            return Err(breach("a frame from the client is not masked"));
        }
        if self.head[0] & 0x08 != 0 && usize::from(byte & 0x7F) > MAXIMUM_CONTROL_BYTES {
            return Err(breach("a control frame longer than 125 bytes"));
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), Breach> {
        let bytes = usize::from(self.head_bytes);
        let bytes_left = match self.head[1] & 0x7F {
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.head[2..10]);
                let length = u64::from_be_bytes(length);
                if length <= 0xFFFF {
                    return Err(breach("a length not in its shortest form"));
                }
                length
            }
            126 => {
                let length = u16::from_be_bytes([self.head[2], self.head[3]]);
                if length <= 125 {
                    return Err(breach("a length not in its shortest form"));
                }
                u64::from(length)
            }
            length => u64::from(length),
        };
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.head[bytes - 4..bytes]);
        let kind = match self.head[0] & 0x0F {
            CLOSE => FrameKind::Close,
            PING => FrameKind::Ping,
            PONG => FrameKind::Pong,
            _ => FrameKind::Data,
        };
        if kind == FrameKind::Data {
            let message = self.message_bytes.unwrap_or(0).saturating_add(bytes_left);
            if message > MAXIMUM_MESSAGE_BYTES {
                return Err(Breach {
                    code: CloseCode::TOO_BIG,
                    what: "a message longer than the largest MQTT packet",
                });
            }
            self.message_bytes = Some(message);
        }
        let last_of_message = self.head[0] & 0x80 != 0;
        self.frame = Some(Frame {
            kind,
            last_of_message,
            bytes_left,
            mask,
        });
        self.head_bytes = 0;
        self.control_bytes = 0;
        Ok(())
    }

    fn finish_frame_if_complete(&mut self) -> Option<FrameEnd> {
        let frame = self.frame.filter(|frame| frame.bytes_left == 0)?;
        self.frame = None;
        let control = &self.control[..usize::from(self.control_bytes)];
        match frame.kind {
            FrameKind::Data => {
                if frame.last_of_message {
                    self.message_bytes = None;
                }
                None
            }
            FrameKind::Ping => {
                self.pong = Some(ControlFrame::new(PONG, control));
                None
            }
            FrameKind::Pong => None,
            FrameKind::Close => Some(close_end(control)),
        }
    }
}

/// How many bytes a header has whose second byte is this.
const fn head_bytes(second: u8) -> u8 {
    match second & 0x7F {
        127 => 14,
        126 => 8,
        _ => 6,
    }
}

/// What a Close frame says (RFC 6455 section 5.5.1).
fn close_end(payload: &[u8]) -> FrameEnd {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => FrameEnd::Close(None),
            _ => FrameEnd::Breach(breach("half a close code")),
        };
    };
    let code = CloseCode(u16::from_be_bytes([*high, *low]));
    if !code.is_sendable() {
        return FrameEnd::Breach(breach("a close code that is never sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return FrameEnd::Breach(Breach {
            code: CloseCode::INVALID_TEXT,
            what: "a close reason that is not UTF-8",
        });
    }
    FrameEnd::Close(Some(code))
}

/// `mask` begins with the byte for the first byte.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    /// A frame as a client sends it, with the shortest length.
    fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first_byte];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length @ 126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    fn deframe(bytes: &[u8]) -> (Vec<u8>, Option<FrameEnd>) {
        let mut bytes = bytes.to_vec();
        let (payload, end) = Deframer::new().deframe(&mut bytes);
        bytes.truncate(payload);
        (bytes, end)
    }

    #[test]
    fn payloads_come_out_whatever_the_frames_and_the_reads_are() {
        // [MQTT-6.0.0-2]: packets may span frames, and frames may hold several.
        let payload: Vec<u8> = (0..70_000_u32).map(|n| (n % 251) as u8).collect();
        let mut stream = Vec::new();
        stream.extend(frame(0x82, &payload[..3]));
        stream.extend(frame(0x89, b"are you there"));
        stream.extend(frame(0x02, &payload[3..300]));
        stream.extend(frame(0x8A, b"unasked"));
        stream.extend(frame(0x00, &[]));
        stream.extend(frame(0x00, &payload[300..301]));
        stream.extend(frame(0x89, b"still"));
        stream.extend(frame(0x80, &payload[301..425]));
        stream.extend(frame(0x82, &payload[425..]));
        for read_bytes in [1, 2, 3, 5, 7, 64, 1021, 65_536, stream.len()] {
            let mut deframer = Deframer::new();
            let mut received: Vec<u8> = Vec::new();
            for read in stream.chunks(read_bytes) {
                let mut read = read.to_vec();
                let (bytes, end) = deframer.deframe(&mut read);
                assert_eq!(end, None);
                received.extend(&read[..bytes]);
            }
            assert!(received == payload, "reads of {read_bytes}");
            let pong = deframer.take_pong().expect("a Ping was received");
            assert_eq!(pong.unsent(), b"\x8A\x05still");
            assert_eq!(deframer.take_pong(), None);
        }
    }

    #[test]
    fn what_the_specifications_forbid_ends_the_connection() {
        let binary = frame(0x82, b"mqtt");
        let with = |mut before: Vec<u8>, after: Vec<u8>| {
            before.extend(after);
            before
        };
        let masked = |second: u8, rest: &[u8]| {
            let mut bytes = vec![0x82, 0x80 | second];
            bytes.extend(rest);
            bytes.extend(MASK);
            bytes
        };
        for (name, bytes, code) in [
            ("text [MQTT-6.0.0-1]", frame(0x81, b"hello"), 1003),
            ("text in a fragment", frame(0x01, b"hello"), 1003),
            ("RSV1 without compression", frame(0xC2, b""), 1002),
            ("RSV2", frame(0xA2, b""), 1002),
            ("RSV3", frame(0x92, b""), 1002),
            ("reserved data opcode 3", frame(0x83, b""), 1002),
            ("reserved data opcode 7", frame(0x87, b""), 1002),
            ("reserved control opcode B", frame(0x8B, b""), 1002),
            ("reserved control opcode F", frame(0x8F, b""), 1002),
            ("not masked", vec![0x82, 0x01, 0x00], 1002),
            ("continuation of nothing", frame(0x80, b"x"), 1002),
            (
                "continuation after the last",
                with(binary.clone(), frame(0x80, b"x")),
                1002,
            ),
            (
                "message in a message",
                with(frame(0x02, b"a"), binary.clone()),
                1002,
            ),
            ("fragmented ping", frame(0x09, b""), 1002),
            ("fragmented close", frame(0x08, b""), 1002),
            ("long ping", frame(0x89, &[0; 126]), 1002),
            (
                "16-bit length of 125",
                masked(126, &125_u16.to_be_bytes()),
                1002,
            ),
            (
                "64-bit length of 65535",
                masked(127, &0xFFFF_u64.to_be_bytes()),
                1002,
            ),
            (
                "64-bit length with its highest bit",
                masked(127, &u64::MAX.to_be_bytes()),
                1009,
            ),
            (
                "message too long",
                masked(127, &268_435_461_u64.to_be_bytes()),
                1009,
            ),
            ("close with half a code", frame(0x88, &[3]), 1002),
            ("close with 999", frame(0x88, &999_u16.to_be_bytes()), 1002),
            (
                "close with 1005",
                frame(0x88, &1005_u16.to_be_bytes()),
                1002,
            ),
            (
                "close with 5000",
                frame(0x88, &5000_u16.to_be_bytes()),
                1002,
            ),
            (
                "close with a reason that is not UTF-8",
                frame(0x88, b"\x03\xE8\xFF"),
                1007,
            ),
        ] {
            match deframe(&bytes) {
                (_, Some(FrameEnd::Breach(breach))) => assert_eq!(breach.code.0, code, "{name}"),
                (_, end) => panic!("{name}: {end:?}"),
            }
        }
    }

    #[test]
    fn a_message_is_bounded_over_its_fragments() {
        let half = MAXIMUM_MESSAGE_BYTES / 2;
        let mut deframer = Deframer::new();
        let head = |first_byte: u8, length: u64| {
            let mut bytes = vec![first_byte, 0xFF];
            bytes.extend(length.to_be_bytes());
            bytes.extend(MASK);
            bytes
        };
        assert_eq!(deframer.deframe(&mut head(0x02, half)), (0, None));
        let mut part = vec![0; 1 << 20];
        let mut left = half;
        while left > 0 {
            let taken = part
                .len()
                .min(usize::try_from(left).expect("less than 256 MiB"));
            assert_eq!(deframer.deframe(&mut part[..taken]), (taken, None));
            left -= taken as u64;
        }
        let (_, end) = deframer.deframe(&mut head(0x80, half + 1));
        assert!(matches!(
            end,
            Some(FrameEnd::Breach(Breach {
                code: CloseCode::TOO_BIG,
                ..
            }))
        ));
    }

    #[test]
    fn what_came_before_the_end_is_not_lost() {
        let mut bytes = frame(0x82, b"DISCONNECT");
        bytes.extend(frame(0x88, b"\x03\xE8bye"));
        bytes.extend(frame(0x82, b"ignored"));
        let (payload, end) = deframe(&bytes);
        assert_eq!(payload, b"DISCONNECT");
        assert_eq!(end, Some(FrameEnd::Close(Some(CloseCode::NORMAL))));
        assert_eq!(deframe(&frame(0x88, b"")).1, Some(FrameEnd::Close(None)));
    }
}
