//! What becomes of packets that are written so that a reader sees the fields.

use nexum_codec::{DecodeError, Packet, Split, decode, split_frame};
use nexum_types::ProtocolVersion;

#[path = "../packets/notation.rs"]
mod text;

pub(crate) use nexum_types::ProtocolVersion::{V3_1_1, V5};

pub(crate) use self::text::{bytes, variable_byte_integer};

pub(crate) const BOTH: [ProtocolVersion; 2] = [V3_1_1, V5];

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
