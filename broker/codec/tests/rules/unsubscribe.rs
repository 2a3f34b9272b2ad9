//! Sections 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK.

use nexum_codec::{
    DecodeError, Field, Filters, Packet, PacketType, ReasonCodes, UnsubAck, Unsubscribe,
    UserProperties, encode,
};
use nexum_types::{PacketIdentifier, ReasonCode};

use crate::notation::{BOTH, V3_1_1, V5, bytes, canonical, decode_bytes, refuse};

fn id() -> PacketIdentifier {
    PacketIdentifier::new(0x1234).expect("not zero")
}

fn unsubscribe<'a>(filters: &'a [&'a str]) -> Unsubscribe<'a> {
    Unsubscribe {
        packet_identifier: id(),
        user_properties: UserProperties::EMPTY,
        filters: Filters::from_slice(filters),
    }
}

#[test]
fn filters_in_order() {
    let filters = ["a/+", "#", "a/+"];
    let expected = unsubscribe(&filters);
    canonical(
        V3_1_1,
        "A2 | 1234 s:a/+ s:# s:a/+",
        Packet::Unsubscribe(expected),
    );
    canonical(
        V5,
        "A2 | 1234 [ ] s:a/+ s:# s:a/+",
        Packet::Unsubscribe(expected),
    );
    let packet = bytes("A2 | 1234 s:a/+ s:# s:a/+");
    let Ok(Packet::Unsubscribe(decoded)) = decode_bytes(&packet, V3_1_1) else {
        panic!("valid")
    };
    assert_eq!(decoded.filters.len(), 3);
    assert_eq!(decoded.filters.iter().collect::<Vec<_>>(), filters);
    assert!(!decoded.filters.is_empty());
    let user_properties = UserProperties::from_pairs(&[("n", "v")]);
    let expected = Unsubscribe {
        user_properties,
        ..expected
    };
    let text = "A2 | 1234 [ 26 s:n s:v ] s:a/+ s:# s:a/+";
    canonical(V5, text, Packet::Unsubscribe(expected));
}

/// [MQTT-3.10.3-2] [MQTT3-3.10.3-2]
#[test]
fn no_filter() {
    let error = DecodeError::EmptyPayload(PacketType::Unsubscribe);
    refuse(V3_1_1, "A2 | 1234", error);
    refuse(V5, "A2 | 1234 [ ]", error);
}

#[test]
fn lengths_and_identifier() {
    let error = |field| DecodeError::Truncated { field };
    for version in BOTH {
        refuse(version, "A2 | 12", error(Field::PacketIdentifier));
        // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
        refuse(
            version,
            "A2 | 0000 [ ] s:a",
            DecodeError::PacketIdentifierZero,
        );
    }
    refuse(V5, "A2 | 1234", error(Field::PropertyLength));
    refuse(V3_1_1, "A2 | 1234 s:a 00", error(Field::TopicFilter));
    refuse(V5, "A2 | 1234 [ ] s:a 0002 'a'", error(Field::TopicFilter));
}

fn unsub_ack(reason_codes: &[ReasonCode]) -> UnsubAck<'_> {
    UnsubAck {
        packet_identifier: id(),
        reason_string: None,
        user_properties: UserProperties::EMPTY,
        reason_codes: ReasonCodes::from_slice(reason_codes),
    }
}

/// [MQTT-3.11.3-1] [MQTT-3.11.3-2]
#[test]
fn unsuback() {
    let codes = [
        ReasonCode::NoSubscriptionExisted,
        ReasonCode::Success,
        ReasonCode::UnspecifiedError,
    ];
    canonical(
        V5,
        "B0 | 1234 [ ] 11 00 80",
        Packet::UnsubAck(unsub_ack(&codes)),
    );
    let expected = UnsubAck {
        reason_string: Some("why"),
        ..unsub_ack(&codes)
    };
    canonical(
        V5,
        "B0 | 1234 [ 1F s:why ] 11 00 80",
        Packet::UnsubAck(expected),
    );
    refuse(
        V5,
        "B0 | 1234 [ ]",
        DecodeError::EmptyPayload(PacketType::UnsubAck),
    );
    refuse(V5, "B0 | 0000 [ ] 00", DecodeError::PacketIdentifierZero);
}

/// "The UNSUBACK Packet has no payload" (3.1.1 section 3.11.3).
#[test]
fn unsuback_of_3_1_1_has_no_codes() {
    canonical(V3_1_1, "B0 | 1234", Packet::UnsubAck(unsub_ack(&[])));
    refuse(
        V3_1_1,
        "B0 | 1234 00",
        DecodeError::TrailingBytes { bytes: 1 },
    );
    let mut encoded = Vec::new();
    let packet = Packet::UnsubAck(unsub_ack(&[ReasonCode::NoSubscriptionExisted]));
    encode(&packet, V3_1_1, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("B0 | 1234"));
}
