//! Sections 3.8 and 3.9: SUBSCRIBE and SUBACK.

use nexum_codec::{
    DecodeError, Field, Packet, PacketType, PropertyIdentifier, ReasonCodes, SubAck, Subscribe,
    SubscriptionRequest, SubscriptionRequests, UserProperties, encode,
};
use nexum_types::{PacketIdentifier, QoS, ReasonCode, RetainHandling, SubscriptionOptions};

use crate::notation::{BOTH, V3_1_1, V5, bytes, canonical, decode_bytes, refuse};

fn id() -> PacketIdentifier {
    PacketIdentifier::new(0x1234).expect("not zero")
}

fn subscribe<'a>(requests: &'a [SubscriptionRequest<'a>]) -> Subscribe<'a> {
    Subscribe {
        packet_identifier: id(),
        subscription_identifier: None,
        user_properties: UserProperties::EMPTY,
        requests: SubscriptionRequests::from_slice(requests),
    }
}

fn request(filter: &str, maximum_qos: QoS) -> SubscriptionRequest<'_> {
    SubscriptionRequest {
        filter,
        options: SubscriptionOptions {
            maximum_qos,
            ..SubscriptionOptions::default()
        },
    }
}

#[test]
fn filters_in_order() {
    let requests = [
        request("a/+", QoS::AtMostOnce),
        request("#", QoS::ExactlyOnce),
        request("a/+", QoS::AtLeastOnce),
    ];
    let expected = subscribe(&requests);
    canonical(
        V3_1_1,
        "82 | 1234 s:a/+ 00 s:# 02 s:a/+ 01",
        Packet::Subscribe(expected),
    );
    canonical(
        V5,
        "82 | 1234 [ ] s:a/+ 00 s:# 02 s:a/+ 01",
        Packet::Subscribe(expected),
    );
    let packet = bytes("82 | 1234 s:a/+ 00 s:# 02 s:a/+ 01");
    let Ok(Packet::Subscribe(decoded)) = decode_bytes(&packet, V3_1_1) else {
        panic!("valid")
    };
    assert_eq!(decoded.requests.len(), 3);
    assert_eq!(decoded.requests.iter().collect::<Vec<_>>(), requests);
    assert!(!decoded.requests.is_empty());
    assert_ne!(
        decoded.requests,
        SubscriptionRequests::from_slice(&requests[..2])
    );
}

/// [MQTT-3.8.3-5] [MQTT3-3.8.3-4], figures 3-20 and 3.22: every value of the byte.
#[test]
fn subscription_options() {
    for byte in 0..=u8::MAX {
        let maximum_qos = QoS::from_bits(byte & 0b11);
        let three = format!("82 | 1234 s:a {byte:02X}");
        match maximum_qos {
            _ if byte & 0b1111_1100 != 0 => {
                refuse(
                    V3_1_1,
                    &three,
                    DecodeError::SubscriptionOptionsReserved(byte),
                );
            }
            None => refuse(V3_1_1, &three, DecodeError::SubscriptionQoS3),
            Some(qos) => {
                canonical(
                    V3_1_1,
                    &three,
                    Packet::Subscribe(subscribe(&[request("a", qos)])),
                );
            }
        }
        let five = format!("82 | 1234 [ ] s:a {byte:02X}");
        let retain_handling = match byte >> 4 & 0b11 {
            0 => Some(RetainHandling::SendAtSubscribe),
            1 => Some(RetainHandling::SendIfNew),
            2 => Some(RetainHandling::DoNotSend),
            _ => None,
        };
        match (maximum_qos, retain_handling) {
            _ if byte & 0b1100_0000 != 0 => {
                refuse(V5, &five, DecodeError::SubscriptionOptionsReserved(byte));
            }
            (None, _) => refuse(V5, &five, DecodeError::SubscriptionQoS3),
            (_, None) => refuse(V5, &five, DecodeError::RetainHandling3),
            (Some(maximum_qos), Some(retain_handling)) => {
                let options = SubscriptionOptions {
                    maximum_qos,
                    no_local: byte & 0b0100 != 0,
                    retain_as_published: byte & 0b1000 != 0,
                    retain_handling,
                };
                let requests = [SubscriptionRequest {
                    filter: "a",
                    options,
                }];
                canonical(V5, &five, Packet::Subscribe(subscribe(&requests)));
            }
        }
    }
}

/// [MQTT-3.8.3-2] [MQTT3-3.8.3-3]
#[test]
fn no_filter() {
    let error = DecodeError::EmptyPayload(PacketType::Subscribe);
    refuse(V3_1_1, "82 | 1234", error);
    refuse(V5, "82 | 1234 [ ]", error);
    refuse(V5, "82 | 1234 [ 0B 01 ]", error);
}

#[test]
fn lengths_and_identifier() {
    let error = |field| DecodeError::Truncated { field };
    for version in BOTH {
        refuse(version, "82 |", error(Field::PacketIdentifier));
        refuse(version, "82 | 12", error(Field::PacketIdentifier));
        // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
        refuse(
            version,
            "82 | 0000 [ ] s:a 00",
            DecodeError::PacketIdentifierZero,
        );
    }
    refuse(V5, "82 | 1234", error(Field::PropertyLength));
    refuse(V3_1_1, "82 | 1234 s:a", error(Field::SubscriptionOptions));
    refuse(V5, "82 | 1234 [ ] s:a 00 0001", error(Field::TopicFilter));
    refuse(V5, "82 | 1234 [ ] s:a 00 00", error(Field::TopicFilter));
}

#[test]
fn properties() {
    let requests = [request("a", QoS::AtMostOnce)];
    let expected = Subscribe {
        subscription_identifier: Some(268_435_455),
        user_properties: UserProperties::from_pairs(&[("n", "v")]),
        ..subscribe(&requests)
    };
    let text = "82 | 1234 [ 0B FFFFFF7F 26 s:n s:v ] s:a 00";
    canonical(V5, text, Packet::Subscribe(expected));
    let property = PropertyIdentifier::SubscriptionIdentifier;
    let zero = DecodeError::PropertyValue { property, value: 0 };
    refuse(V5, "82 | 1234 [ 0B 00 ] s:a 00", zero);
    // More than one only in PUBLISH (section 3.8.2.1.2).
    let twice = DecodeError::DuplicateProperty(property);
    refuse(V5, "82 | 1234 [ 0B 01 0B 02 ] s:a 00", twice);
}

fn sub_ack(reason_codes: &[ReasonCode]) -> SubAck<'_> {
    SubAck {
        packet_identifier: id(),
        reason_string: None,
        user_properties: UserProperties::EMPTY,
        reason_codes: ReasonCodes::from_slice(reason_codes),
    }
}

/// [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2]
#[test]
fn suback_codes_in_order() {
    let codes = [
        ReasonCode::GrantedQoS2,
        ReasonCode::Success,
        ReasonCode::UnspecifiedError,
        ReasonCode::GrantedQoS1,
    ];
    canonical(
        V3_1_1,
        "90 | 1234 02 00 80 01",
        Packet::SubAck(sub_ack(&codes)),
    );
    canonical(
        V5,
        "90 | 1234 [ ] 02 00 80 01",
        Packet::SubAck(sub_ack(&codes)),
    );
    let expected = SubAck {
        reason_string: Some("why"),
        ..sub_ack(&[ReasonCode::NotAuthorized])
    };
    canonical(V5, "90 | 1234 [ 1F s:why ] 87", Packet::SubAck(expected));
    for version in BOTH {
        let text = if version == V5 {
            "90 | 1234 [ ]"
        } else {
            "90 | 1234"
        };
        refuse(version, text, DecodeError::EmptyPayload(PacketType::SubAck));
        refuse(
            version,
            "90 | 0000 [ ] 00",
            DecodeError::PacketIdentifierZero,
        );
    }
}

/// [MQTT3-3.9.3-2]: "SUBACK return codes other than 0x00, 0x01, 0x02 and 0x80 are reserved".
#[test]
fn suback_knows_one_failure_on_3_1_1() {
    let packet_type = PacketType::SubAck;
    for value in (0..=u8::MAX).filter(|value| !matches!(value, 0 | 1 | 2 | 0x80)) {
        let error = DecodeError::ReasonCodeNotAllowed { packet_type, value };
        refuse(V3_1_1, &format!("90 | 1234 {value:02X}"), error);
    }
    let codes = [
        ReasonCode::GrantedQoS1,
        ReasonCode::NotAuthorized,
        ReasonCode::QuotaExceeded,
    ];
    let mut encoded = Vec::new();
    encode(&Packet::SubAck(sub_ack(&codes)), V3_1_1, &mut encoded).expect("small");
    assert_eq!(encoded, bytes("90 | 1234 01 80 80"));
}
