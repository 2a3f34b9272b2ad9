//! What decoding must hold for any bytes of a network connection.

use std::fmt::Write;

use nexum_codec::{Packet, Split, decode, decode_publish, refusal_version, split_frame};
use nexum_types::ProtocolVersion;

const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;

/// Reads packet after packet, as a connection does, until the bytes end or break a rule.
pub fn read(mut bytes: &[u8], version: ProtocolVersion) {
    let mut text = String::new();
    loop {
        let frame = match split_frame(bytes, MAXIMUM_PACKET_SIZE) {
            Ok(Split::Frame(frame)) => frame,
            Ok(Split::Incomplete { needed }) => {
                assert!(needed.is_none_or(|needed| needed > bytes.len()));
                return;
            }
            Err(error) => {
                assert!(error.reason_code().is_error());
                return;
            }
        };
        assert!(frame.size >= 2 && frame.size <= bytes.len());
        let _ = refusal_version(frame);
        let packet = match decode(frame, version) {
            Ok(packet) => packet,
            Err(error) => {
                assert!(error.reason_code().is_error());
                write!(text, "{error}").expect("a string takes all");
                return;
            }
        };
        if let Packet::Publish(publish) = packet {
            assert_eq!(decode_publish(frame, version), Ok(publish));
            publish.properties.write_to(&mut Vec::new());
            let _ = publish.properties.payload_format_matches(publish.payload);
        }
        // Reads everything that decoding left to be read lazily.
        text.clear();
        write!(text, "{packet:?}").expect("a string takes all");
        bytes = &bytes[frame.size..];
    }
}
