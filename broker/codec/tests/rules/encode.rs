//! Writing: the quick way for PUBLISH, and what does not fit.

use std::num::NonZeroU16;

use nexum_codec::{
    ConnectProperties, EncodeError, ForwardedProperties, MAXIMUM_REMAINING_LENGTH, Outbound,
    Packet, Publish, PublishDelivery, SubscriptionIdentifiers, encode, encode_publish_header,
    publish_size,
};
use nexum_types::{PacketIdentifier, TopicName};

use crate::notation::{BOTH, V3_1_1, V5, bytes};

const DELIVERIES: [PublishDelivery; 3] = [
    PublishDelivery::AtMostOnce,
    PublishDelivery::AtLeastOnce(PacketIdentifier::FIRST),
    PublishDelivery::ExactlyOnce(PacketIdentifier::FIRST),
];

/// Both ways write the same packet.
#[track_caller]
fn check(outbound: Outbound<'_>) {
    let payload = vec![0x55; outbound.payload_bytes];
    for version in BOTH {
        let publish = Publish {
            dup: outbound.dup,
            retain: outbound.retain,
            delivery: outbound.delivery,
            topic: TopicName::new(outbound.topic).ok(),
            topic_alias: outbound.topic_alias.and_then(NonZeroU16::new),
            message_expiry_interval_seconds: outbound.message_expiry_interval_seconds,
            properties: ForwardedProperties::from_encoded(outbound.properties)
                .expect("valid properties"),
            subscription_identifiers: SubscriptionIdentifiers::from_slice(
                outbound.subscription_identifiers,
            ),
            payload: &payload,
        };
        let mut expected = Vec::new();
        encode(&Packet::Publish(publish), version, &mut expected).expect("small enough");
        let mut out = vec![0xAA];
        encode_publish_header(&outbound, version, &mut out);
        out.extend_from_slice(&payload);
        assert_eq!(out[1..], expected, "{version:?} {outbound:?}");
        assert_eq!(
            publish_size(&outbound, version),
            expected.len(),
            "{version:?} {outbound:?}"
        );
    }
}

#[test]
fn the_quick_way_writes_the_same() {
    let properties = bytes("01 01 08 s:answers 26 s:n s:v");
    // Remaining Lengths of one to four bytes.
    for payload_bytes in [0, 64, 130, 20_000, 2_100_000] {
        for delivery in DELIVERIES {
            let plain = Outbound {
                dup: delivery != PublishDelivery::AtMostOnce,
                retain: payload_bytes == 64,
                delivery,
                topic: "home/kitchen",
                topic_alias: None,
                message_expiry_interval_seconds: None,
                subscription_identifiers: &[],
                properties: &[],
                payload_bytes,
            };
            check(plain);
            check(Outbound {
                properties: &properties,
                ..plain
            });
            check(Outbound {
                topic_alias: Some(1),
                ..plain
            });
            check(Outbound {
                message_expiry_interval_seconds: Some(u32::MAX),
                ..plain
            });
            check(Outbound {
                subscription_identifiers: &[1, 128, 268_435_455],
                ..plain
            });
            check(Outbound {
                topic_alias: Some(65_535),
                message_expiry_interval_seconds: Some(0),
                subscription_identifiers: &[16_383],
                properties: &properties,
                ..plain
            });
        }
    }
}

#[test]
fn the_length_of_the_properties_takes_what_it_needs() {
    let value = "v".repeat(130);
    for count in [1, 200] {
        let properties = bytes(&format!("26 s:n s:{value} ").repeat(count));
        check(Outbound {
            dup: false,
            retain: false,
            delivery: PublishDelivery::AtMostOnce,
            topic: "t",
            topic_alias: None,
            message_expiry_interval_seconds: None,
            subscription_identifiers: &[],
            properties: &properties,
            payload_bytes: 3,
        });
    }
}

#[test]
fn an_alias_stands_for_the_topic() {
    let outbound = Outbound {
        dup: false,
        retain: false,
        delivery: PublishDelivery::AtMostOnce,
        topic: "",
        topic_alias: Some(7),
        message_expiry_interval_seconds: None,
        subscription_identifiers: &[],
        properties: &[],
        payload_bytes: 0,
    };
    let mut out = Vec::new();
    encode_publish_header(&outbound, V5, &mut out);
    assert_eq!(out, bytes("30 | s: [ 23 0007 ]"));
}

/// [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn no_dup_at_qos_0() {
    let outbound = Outbound {
        dup: true,
        retain: false,
        delivery: PublishDelivery::AtMostOnce,
        topic: "a",
        topic_alias: None,
        message_expiry_interval_seconds: None,
        subscription_identifiers: &[],
        properties: &[],
        payload_bytes: 0,
    };
    let mut out = Vec::new();
    encode_publish_header(&outbound, V3_1_1, &mut out);
    assert_eq!(out, bytes("30 | s:a"));
    check(outbound);
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let too_long = "x".repeat(65_536);
    let connect = nexum_codec::Connect {
        version: V5,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id: &too_long,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let mut out = vec![0xAA];
    let result = encode(&Packet::Connect(connect), V5, &mut out);
    assert_eq!(result, Err(EncodeError::FieldTooLong { bytes: 65_536 }));
    // Within the properties too.
    let properties = ConnectProperties {
        authentication_method: Some(&too_long),
        ..ConnectProperties::default()
    };
    let connect = nexum_codec::Connect {
        client_id: "c",
        properties,
        ..connect
    };
    let result = encode(&Packet::Connect(connect), V5, &mut out);
    assert_eq!(result, Err(EncodeError::FieldTooLong { bytes: 65_536 }));
    assert_eq!(out, [0xAA]);
}

#[test]
fn the_largest_packet() {
    let publish = |payload| {
        Packet::Publish(Publish {
            dup: false,
            retain: false,
            delivery: PublishDelivery::AtMostOnce,
            topic: TopicName::new("a").ok(),
            topic_alias: None,
            message_expiry_interval_seconds: None,
            properties: ForwardedProperties::default(),
            subscription_identifiers: SubscriptionIdentifiers::EMPTY,
            payload,
        })
    };
    let payload = vec![0; MAXIMUM_REMAINING_LENGTH as usize - 2];
    let mut out = vec![0xAA];
    let result = encode(&publish(&payload), V3_1_1, &mut out);
    assert_eq!((result, out.len()), (Err(EncodeError::TooLarge), 1));
    let result = encode(&publish(&payload[1..]), V3_1_1, &mut out);
    assert_eq!((result, out.len()), (Ok(()), 1 + 268_435_460));
    assert_eq!(out[1..9], bytes("30 FFFFFF7F s:a"));
}
