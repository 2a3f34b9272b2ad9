//! Section 2.1: type, flags, Remaining Length.

use nexum_codec::{DecodeError, Field, Packet, PacketType, Split, split_frame};

use crate::notation::{BOTH, V3_1_1, accept, bytes, refuse, variable_byte_integer};

const RESERVED: &str = "reserved";

/// Table 2-1 and table 2-2.
const TYPES: [(u8, &str, u8); 16] = [
    (0, RESERVED, 0),
    (1, "CONNECT", 0b0000),
    (2, "CONNACK", 0b0000),
    (3, "PUBLISH", 0b0000),
    (4, "PUBACK", 0b0000),
    (5, "PUBREC", 0b0000),
    (6, "PUBREL", 0b0010),
    (7, "PUBCOMP", 0b0000),
    (8, "SUBSCRIBE", 0b0010),
    (9, "SUBACK", 0b0000),
    (10, "UNSUBSCRIBE", 0b0010),
    (11, "UNSUBACK", 0b0000),
    (12, "PINGREQ", 0b0000),
    (13, "PINGRESP", 0b0000),
    (14, "DISCONNECT", 0b0000),
    (15, "AUTH", 0b0000),
];

/// [MQTT-2.1.3-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
/// [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT3-3.3.1-2] [MQTT3-3.3.1-4]
/// [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1]
#[test]
fn the_first_byte_alone_shows_what_is_wrong_with_it() {
    for first_byte in 0..=u8::MAX {
        let (value, name, required_flags) = TYPES[usize::from(first_byte >> 4)];
        let flags = first_byte & 0x0F;
        let packet_type = PacketType::from_first_byte(first_byte);
        assert_eq!(packet_type.map_or(RESERVED, PacketType::name), name);
        let expected = match packet_type {
            None => Err(DecodeError::ReservedPacketType(value)),
            Some(PacketType::Publish) => match flags {
                0b0110 | 0b0111 | 0b1110 | 0b1111 => Err(DecodeError::PublishQoS3),
                0b1000 | 0b1001 => Err(DecodeError::DupAtQoS0),
                _ => Ok(Split::Incomplete { needed: None }),
            },
            Some(packet_type) if flags != required_flags => {
                Err(DecodeError::FixedHeaderFlags { packet_type, flags })
            }
            Some(_) => Ok(Split::Incomplete { needed: None }),
        };
        assert_eq!(
            split_frame(&[first_byte], 1024),
            expected,
            "0x{first_byte:02X}"
        );
    }
}

/// Table 2.1 of 3.1.1: 15 is reserved.
#[test]
fn auth_is_reserved_on_3_1_1() {
    refuse(V3_1_1, "F0 |", DecodeError::ReservedPacketType(15));
}

/// Sections 3.12 and 3.13.
#[test]
fn pings_have_no_body() {
    for version in BOTH {
        accept(version, "C0 00", Packet::PingReq);
        accept(version, "D0 00", Packet::PingResp);
        refuse(version, "C0 | 00", DecodeError::TrailingBytes { bytes: 1 });
        refuse(
            version,
            "D0 | 0000",
            DecodeError::TrailingBytes { bytes: 2 },
        );
    }
}

/// Section 2.1.4, [MQTT-1.5.5-1].
#[test]
fn remaining_length() {
    let field = Field::RemainingLength;
    let check = |header: &str, expected: Result<Option<usize>, DecodeError>| {
        let result = split_frame(&bytes(header), u32::MAX).map(|split| match split {
            Split::Incomplete { needed } => needed,
            Split::Frame(frame) => panic!("{header} is not whole: {frame:?}"),
        });
        assert_eq!(result, expected, "{header}");
    };
    check("", Ok(None));
    check("30", Ok(None));
    check("30 01", Ok(Some(3)));
    check("30 7F", Ok(Some(129)));
    check("30 80", Ok(None));
    check("30 80 01", Ok(Some(131)));
    check("30 FF 7F", Ok(Some(16_386)));
    check("30 80 80 01", Ok(Some(16_388)));
    check("30 FF FF FF 7F", Ok(Some(268_435_460)));
    check("30 FF FF FF", Ok(None));
    check(
        "30 FF FF FF 80",
        Err(DecodeError::VariableByteIntegerTooLong { field }),
    );
    check(
        "30 FF FF FF FF 7F",
        Err(DecodeError::VariableByteIntegerTooLong { field }),
    );
    check(
        "30 80 00",
        Err(DecodeError::VariableByteIntegerNotMinimal { field }),
    );
    check(
        "30 80 80 80 00",
        Err(DecodeError::VariableByteIntegerNotMinimal { field }),
    );
}

/// [MQTT-3.1.2-24] [MQTT-3.2.2-15]: known before the packet has arrived.
#[test]
fn maximum_packet_size_counts_the_whole_packet() {
    let header = bytes("30 7F");
    assert_eq!(
        split_frame(&header, 129),
        Ok(Split::Incomplete { needed: Some(129) })
    );
    let too_large = DecodeError::PacketTooLarge {
        size: 129,
        maximum: 128,
    };
    assert_eq!(split_frame(&header, 128), Err(too_large));
    let header = bytes("30 FF FF FF 7F");
    let too_large = DecodeError::PacketTooLarge {
        size: 268_435_460,
        maximum: 268_435_459,
    };
    assert_eq!(split_frame(&header, 268_435_459), Err(too_large));
}

#[test]
fn a_frame_ends_where_the_next_begins() {
    let two = bytes("C0 00 E0 00");
    let Ok(Split::Frame(first)) = split_frame(&two, 16) else {
        panic!("PINGREQ is whole")
    };
    assert_eq!(
        (first.first_byte, first.body, first.size),
        (0xC0, &[][..], 2)
    );
    assert_eq!(first.packet_type(), Some(PacketType::PingReq));
    let Ok(Split::Frame(second)) = split_frame(&two[first.size..], 16) else {
        panic!("DISCONNECT is whole")
    };
    assert_eq!(second.packet_type(), Some(PacketType::Disconnect));
}

#[test]
fn a_frame_of_every_length_of_length() {
    for (length, length_bytes) in [(127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_152, 4)] {
        let mut packet = [vec![0x30], variable_byte_integer(length)].concat();
        packet.resize(packet.len() + length, 0);
        let Ok(Split::Frame(frame)) = split_frame(&packet, u32::MAX) else {
            panic!("{length} bytes are whole")
        };
        assert_eq!(
            (frame.body.len(), frame.size),
            (length, 1 + length_bytes + length)
        );
        packet.pop();
        let needed = Some(packet.len() + 1);
        assert_eq!(
            split_frame(&packet, u32::MAX),
            Ok(Split::Incomplete { needed })
        );
    }
}
