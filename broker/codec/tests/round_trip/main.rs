//! For any packet: what is encoded decodes to the same; for any bytes: decoding does not panic, and
//! what decodes encodes to something that decodes to the same.

#[path = "../packets/mod.rs"]
mod packets;

use nexum_codec::{
    DecodeError, Frame, Packet, Split, decode, decode_publish, encode, refusal_version, split_frame,
};
use nexum_types::ProtocolVersion;
use proptest::prelude::*;

use crate::packets::{Mutation, mutations, packets, publishes};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5];

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).expect("generated packets are small");
    bytes
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    match split_frame(bytes, u32::MAX) {
        Ok(Split::Frame(frame)) => frame,
        other => panic!("{bytes:02X?} is not whole: {other:?}"),
    }
}

/// Decodes whatever the bytes are; what decodes must survive being written and read again.
fn decode_anything(bytes: &[u8], version: ProtocolVersion) -> Result<(), TestCaseError> {
    let frame = match split_frame(bytes, 1 << 20) {
        Ok(Split::Frame(frame)) => frame,
        Ok(Split::Incomplete { needed }) => {
            prop_assert!(needed.is_none_or(|needed| needed > bytes.len()));
            return Ok(());
        }
        Err(error) => return says_something(error),
    };
    let _ = refusal_version(frame);
    match decode(frame, version) {
        Ok(packet) => {
            let again = encoded(&packet, version);
            prop_assert_eq!(decode(whole(&again), version), Ok(packet), "{:02X?}", again);
            if let Packet::Publish(publish) = packet {
                prop_assert_eq!(decode_publish(frame, version), Ok(publish));
            }
            // Everything that is read lazily.
            let _ = format!("{packet:?}");
        }
        Err(error) => says_something(error)?,
    }
    Ok(())
}

fn says_something(error: DecodeError) -> Result<(), TestCaseError> {
    prop_assert!(!error.to_string().is_empty());
    prop_assert!(error.reason_code().is_error());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(
        (version, packet) in prop::sample::select(&VERSIONS[..])
            .prop_flat_map(|version| (Just(version), packets(version)))
    ) {
        let bytes = encoded(&packet, version);
        let frame = whole(&bytes);
        prop_assert_eq!(frame.size, bytes.len());
        prop_assert_eq!(decode(frame, version), Ok(packet));
        // Writing what was read writes the same bytes.
        let decoded = decode(frame, version).expect("just seen");
        prop_assert_eq!(encoded(&decoded, version), bytes);
    }

    #[test]
    fn a_packet_arrives_byte_by_byte_and_others_follow(
        (version, packet) in prop::sample::select(&VERSIONS[..])
            .prop_flat_map(|version| (Just(version), packets(version))),
        rest in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let bytes = encoded(&packet, version);
        for length in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = split_frame(&bytes[..length], u32::MAX) else {
                return Err(TestCaseError::fail(format!("{length} bytes of {bytes:02X?}")));
            };
            prop_assert!(needed.is_none_or(|needed| needed == bytes.len()));
        }
        let with_rest = [bytes.clone(), rest].concat();
        prop_assert_eq!(whole(&with_rest), whole(&bytes));
        let size = bytes.len() as u32;
        prop_assert!(split_frame(&bytes, size).is_ok());
        let too_large = DecodeError::PacketTooLarge { size, maximum: size - 1 };
        prop_assert_eq!(split_frame(&bytes, size - 1), Err(too_large));
    }

    #[test]
    fn a_mutated_packet_does_no_harm(
        (version, packet) in prop::sample::select(&VERSIONS[..])
            .prop_flat_map(|version| (Just(version), packets(version))),
        mutations in mutations(),
        read_as in prop::sample::select(&VERSIONS[..]),
    ) {
        let mut bytes = encoded(&packet, version);
        for mutation in mutations {
            Mutation::apply(mutation, &mut bytes);
        }
        decode_anything(&bytes, read_as)?;
    }

    #[test]
    fn any_bytes_do_no_harm(
        first_byte in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..120),
        version in prop::sample::select(&VERSIONS[..]),
    ) {
        let bytes = [vec![first_byte, body.len() as u8], body].concat();
        decode_anything(&bytes, version)?;
    }

    /// A message from a client of one version reaches a client of the other.
    #[test]
    fn a_publish_crosses_the_versions(packet in publishes(ProtocolVersion::V5)) {
        let Packet::Publish(publish) = packet else { unreachable!("publishes are PUBLISH") };
        prop_assume!(publish.topic.is_some());
        let bytes = encoded(&packet, ProtocolVersion::V3_1_1);
        let frame = whole(&bytes);
        let Ok(old) = decode_publish(frame, ProtocolVersion::V3_1_1) else {
            return Err(TestCaseError::fail(format!("{bytes:02X?}")));
        };
        prop_assert_eq!(
            (old.topic, old.payload, old.delivery, old.retain, old.dup),
            (publish.topic, publish.payload, publish.delivery, publish.retain, publish.dup)
        );
        prop_assert!(old.properties.is_empty() && old.topic_alias.is_none());
    }
}
