//! Which reason code in which packet: the tables of sections 3.2 to 3.15.

use nexum_codec::{DecodeError, PacketType, is_allowed};
use nexum_types::ReasonCode;

use crate::notation::{V5, bytes, decode_bytes};

/// A packet with `$` for the code, and the codes of its table.
const TABLES: [(PacketType, &str, &[u8]); 9] = [
    (
        PacketType::ConnAck,
        "20 | 00 $ [ ]",
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (PacketType::PubAck, "40 | 0001 $", PUBLISH_ANSWERS),
    (PacketType::PubRec, "50 | 0001 $", PUBLISH_ANSWERS),
    (PacketType::PubRel, "62 | 0001 $", &[0x00, 0x92]),
    (PacketType::PubComp, "70 | 0001 $", &[0x00, 0x92]),
    (
        PacketType::SubAck,
        "90 | 0001 [ ] $",
        &[
            0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
        ],
    ),
    (
        PacketType::UnsubAck,
        "B0 | 0001 [ ] $",
        &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
    ),
    (
        PacketType::Disconnect,
        "E0 | $",
        &[
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
            0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
            0xA2,
        ],
    ),
    (PacketType::Auth, "F0 | $ [ 15 s:m ]", &[0x00, 0x18, 0x19]),
];

const PUBLISH_ANSWERS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2]
/// [MQTT-3.11.3-2] [MQTT-3.14.2-1] [MQTT-3.15.2-1]
#[test]
fn every_value_in_every_packet() {
    for (packet_type, packet, table) in TABLES {
        for value in 0..=u8::MAX {
            let packet = bytes(&packet.replace('$', &format!("{value:02X}")));
            let expected = if table.contains(&value) {
                Ok(())
            } else {
                Err(DecodeError::ReasonCodeNotAllowed { packet_type, value })
            };
            assert_eq!(
                decode_bytes(&packet, V5).map(|_| ()),
                expected,
                "0x{value:02X}"
            );
            let allowed = ReasonCode::from_value(value)
                .is_some_and(|reason_code| is_allowed(packet_type, reason_code));
            assert_eq!(
                allowed,
                table.contains(&value),
                "{packet_type} 0x{value:02X}"
            );
        }
    }
}

#[test]
fn the_others_carry_none() {
    for packet_type in [
        PacketType::Connect,
        PacketType::Publish,
        PacketType::Subscribe,
        PacketType::Unsubscribe,
        PacketType::PingReq,
        PacketType::PingResp,
    ] {
        assert!(
            !is_allowed(packet_type, ReasonCode::Success),
            "{packet_type}"
        );
    }
}
