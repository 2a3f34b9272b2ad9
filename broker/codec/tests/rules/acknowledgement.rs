//! Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP.

use nexum_codec::{
    Acknowledgement, AcknowledgementKind, DecodeError, Field, Packet, UserProperties, encode,
    encode_acknowledgement,
};
use nexum_types::{PacketIdentifier, ReasonCode};

use crate::notation::{BOTH, V3_1_1, V5, accept, bytes, canonical, refuse};

/// First byte, kind, a reason code other than Success, and how the packet is made.
type Form = (
    &'static str,
    AcknowledgementKind,
    ReasonCode,
    fn(Acknowledgement<'static>) -> Packet<'static>,
);

const FORMS: [Form; 4] = [
    (
        "40",
        AcknowledgementKind::PubAck,
        ReasonCode::NoMatchingSubscribers,
        Packet::PubAck,
    ),
    (
        "50",
        AcknowledgementKind::PubRec,
        ReasonCode::QuotaExceeded,
        Packet::PubRec,
    ),
    (
        "62",
        AcknowledgementKind::PubRel,
        ReasonCode::PacketIdentifierNotFound,
        Packet::PubRel,
    ),
    (
        "70",
        AcknowledgementKind::PubComp,
        ReasonCode::PacketIdentifierNotFound,
        Packet::PubComp,
    ),
];

fn acknowledgement(reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement {
        packet_identifier: PacketIdentifier::new(0x1234).expect("not zero"),
        reason_code,
        reason_string: None,
        user_properties: UserProperties::EMPTY,
    }
}

#[test]
fn forms() {
    for (first, _, reason_code, packet) in FORMS {
        let success = acknowledgement(ReasonCode::Success);
        let other = acknowledgement(reason_code);
        let code = reason_code.value();
        canonical(V3_1_1, &format!("{first} | 1234"), packet(success));
        canonical(V5, &format!("{first} | 1234"), packet(success));
        // "The Reason Code and Property Length can be omitted" is not "must".
        accept(V5, &format!("{first} | 1234 00"), packet(success));
        accept(V5, &format!("{first} | 1234 00 [ ]"), packet(success));
        canonical(V5, &format!("{first} | 1234 {code:02X}"), packet(other));
        accept(V5, &format!("{first} | 1234 {code:02X} [ ]"), packet(other));
        let properties = Acknowledgement {
            reason_string: Some("why"),
            user_properties: UserProperties::from_pairs(&[("n", "v"), ("n", "")]),
            ..other
        };
        let text = format!("{first} | 1234 {code:02X} [ 1F s:why 26 s:n s:v 26 s:n s: ]");
        canonical(V5, &text, packet(properties));
        let user_property = Acknowledgement {
            user_properties: UserProperties::from_pairs(&[("n", "v")]),
            ..success
        };
        canonical(
            V5,
            &format!("{first} | 1234 00 [ 26 s:n s:v ]"),
            packet(user_property),
        );
    }
}

#[test]
fn lengths() {
    for (first, _, _, _) in FORMS {
        for version in BOTH {
            let error = DecodeError::Truncated {
                field: Field::PacketIdentifier,
            };
            refuse(version, &format!("{first} |"), error);
            refuse(version, &format!("{first} | 12"), error);
        }
        let trailing = DecodeError::TrailingBytes { bytes: 1 };
        refuse(V3_1_1, &format!("{first} | 1234 00"), trailing);
        refuse(V5, &format!("{first} | 1234 00 [ ] 00"), trailing);
        let error = DecodeError::Truncated {
            field: Field::Properties,
        };
        refuse(V5, &format!("{first} | 1234 00 01"), error);
    }
}

/// [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
#[test]
fn packet_identifier_zero() {
    for (first, _, _, _) in FORMS {
        for version in BOTH {
            refuse(
                version,
                &format!("{first} | 0000"),
                DecodeError::PacketIdentifierZero,
            );
        }
    }
}

#[test]
fn the_quick_way_writes_the_same() {
    for (_, kind, other, packet) in FORMS {
        for version in BOTH {
            for reason_code in [ReasonCode::Success, other] {
                let acknowledgement = acknowledgement(reason_code);
                let id = acknowledgement.packet_identifier;
                let mut expected = vec![0xAA];
                encode(&packet(acknowledgement), version, &mut expected).expect("small");
                let mut out = vec![0xAA];
                encode_acknowledgement(kind, id, reason_code, version, &mut out);
                assert_eq!(out, expected, "{kind:?} {version:?} {reason_code}");
                assert_eq!(
                    Some(kind.packet_type()),
                    nexum_codec::PacketType::from_first_byte(out[1])
                );
            }
        }
    }
}

/// 3.1.1 has neither reason code nor properties.
#[test]
fn nothing_but_the_identifier_on_3_1_1() {
    for (first, _, reason_code, packet) in FORMS {
        let properties = Acknowledgement {
            reason_string: Some("why"),
            ..acknowledgement(reason_code)
        };
        let mut encoded = Vec::new();
        encode(&packet(properties), V3_1_1, &mut encoded).expect("small");
        assert_eq!(encoded, bytes(&format!("{first} | 1234")));
    }
}
