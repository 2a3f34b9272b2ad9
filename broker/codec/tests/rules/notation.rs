//! Packets written so that a reader sees the fields.

use nexum_codec::{DecodeError, Packet, Split, decode, split_frame};
use nexum_types::ProtocolVersion;

pub(crate) use nexum_types::ProtocolVersion::{V3_1_1, V5};

pub(crate) const BOTH: [ProtocolVersion; 2] = [V3_1_1, V5];

/// Bytes from text. Hexadecimal digits are bytes; `s:text` is a string with its length; `'text'`
/// is the text alone; `[ … ]` is a property section with its length; `30 | …` is a packet with its
/// Remaining Length.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    if let Some((first_byte, body)) = text.split_once('|') {
        let body = bytes(body);
        return [bytes(first_byte), variable_byte_integer(body.len()), body].concat();
    }
    let mut out = Vec::new();
    let mut tokens = text.split_whitespace();
    while let Some(token) = tokens.next() {
        if token == "[" {
            let section: Vec<&str> = tokens.by_ref().take_while(|&token| token != "]").collect();
            let section = bytes(&section.join(" "));
            out.extend(variable_byte_integer(section.len()));
            out.extend(section);
        } else if let Some(string) = token.strip_prefix("s:") {
            out.extend((string.len() as u16).to_be_bytes());
            out.extend(string.bytes());
        } else if let Some(raw) = token.strip_prefix('\'') {
            out.extend(raw.trim_end_matches('\'').bytes());
        } else {
            assert!(token.len() % 2 == 0, "{token:?} is not whole bytes");
            for at in (0..token.len()).step_by(2) {
                let byte = u8::from_str_radix(&token[at..at + 2], 16);
                out.push(byte.unwrap_or_else(|_| panic!("{token:?} is not hexadecimal")));
            }
        }
    }
    out
}

pub(crate) fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Decodes bytes that are one whole packet or fail before its end.
pub(crate) fn decode_bytes(
    bytes: &[u8],
    version: ProtocolVersion,
) -> Result<Packet<'_>, DecodeError> {
    match split_frame(bytes, u32::MAX)? {
        Split::Frame(frame) => {
            assert_eq!(frame.size, bytes.len(), "one packet: {bytes:02X?}");
            decode(frame, version)
        }
        Split::Incomplete { .. } => panic!("a whole packet: {bytes:02X?}"),
    }
}

/// The packet decodes to `expected`, and `expected` encodes to something that decodes to itself.
#[track_caller]
pub(crate) fn accept(version: ProtocolVersion, text: &str, expected: Packet<'_>) {
    let bytes = bytes(text);
    assert_eq!(
        decode_bytes(&bytes, version),
        Ok(expected),
        "{version:?} {text}"
    );
    let mut encoded = Vec::new();
    nexum_codec::encode(&expected, version, &mut encoded).expect("what was decoded fits");
    assert_eq!(
        decode_bytes(&encoded, version),
        Ok(expected),
        "{version:?} {text}, encoded again"
    );
}

/// The packet decodes to `expected`, which encodes to the very same bytes.
#[track_caller]
pub(crate) fn canonical(version: ProtocolVersion, text: &str, expected: Packet<'_>) {
    accept(version, text, expected);
    let mut encoded = Vec::new();
    nexum_codec::encode(&expected, version, &mut encoded).expect("what was decoded fits");
    assert_eq!(encoded, bytes(text), "{version:?} {text}");
}

/// The packet breaks a rule.
#[track_caller]
pub(crate) fn refuse(version: ProtocolVersion, text: &str, expected: DecodeError) {
    assert_eq!(
        decode_bytes(&bytes(text), version),
        Err(expected),
        "{version:?} {text}"
    );
}
