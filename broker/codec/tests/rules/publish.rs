//! Section 3.3: PUBLISH.

use std::num::NonZeroU16;

use nexum_codec::{
    DecodeError, Field, Packet, PacketType, Property, PropertyIdentifier, Publish, PublishDelivery,
    Split, SubscriptionIdentifiers, decode_publish, split_frame,
};
use nexum_types::{PacketIdentifier, QoS, TopicName};

use crate::notation::{BOTH, V3_1_1, V5, accept, bytes, canonical, decode_bytes, refuse};

fn publish(topic: &str) -> Publish<'_> {
    Publish {
        dup: false,
        retain: false,
        delivery: PublishDelivery::AtMostOnce,
        topic: TopicName::new(topic).ok(),
        topic_alias: None,
        message_expiry_interval_seconds: None,
        properties: Default::default(),
        subscription_identifiers: SubscriptionIdentifiers::EMPTY,
        payload: b"",
    }
}

fn id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("the tests use no zero")
}

/// [MQTT-2.2.1-2] [MQTT3-2.3.1-5]
#[test]
fn flags_and_packet_identifier() {
    let qos_1 = PublishDelivery::AtLeastOnce(id(0x1234));
    let qos_2 = PublishDelivery::ExactlyOnce(id(0xFFFF));
    let a = publish("a");
    canonical(V3_1_1, "30 | s:a", Packet::Publish(a));
    canonical(
        V3_1_1,
        "31 | s:a 'x'",
        Packet::Publish(Publish {
            retain: true,
            payload: b"x",
            ..a
        }),
    );
    canonical(
        V3_1_1,
        "32 | s:a 1234",
        Packet::Publish(Publish {
            delivery: qos_1,
            ..a
        }),
    );
    canonical(
        V3_1_1,
        "3A | s:a 1234",
        Packet::Publish(Publish {
            delivery: qos_1,
            dup: true,
            ..a
        }),
    );
    canonical(
        V3_1_1,
        "34 | s:a FFFF",
        Packet::Publish(Publish {
            delivery: qos_2,
            ..a
        }),
    );
    canonical(
        V5,
        "3C | s:a FFFF [ ]",
        Packet::Publish(Publish {
            delivery: qos_2,
            dup: true,
            ..a
        }),
    );
    canonical(
        V5,
        "30 | s:a [ ] '[]'",
        Packet::Publish(Publish {
            payload: b"[]",
            ..a
        }),
    );
    assert_eq!(qos_1.qos(), QoS::AtLeastOnce);
    assert_eq!(qos_2.packet_identifier(), Some(id(0xFFFF)));
    assert_eq!(PublishDelivery::AtMostOnce.packet_identifier(), None);
}

/// [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
#[test]
fn packet_identifier_zero() {
    for first_byte in ["32", "34", "3A"] {
        let text = format!("{first_byte} | s:a 0000");
        refuse(V3_1_1, &text, DecodeError::PacketIdentifierZero);
        refuse(
            V5,
            &format!("{text} [ ]"),
            DecodeError::PacketIdentifierZero,
        );
    }
}

/// [MQTT-3.3.1-2] [MQTT-3.3.1-4]: `decode_publish` checks them too when nobody split the frame.
#[test]
fn decode_publish_checks_the_first_byte() {
    let packet = bytes("30 | s:a [ ]");
    let Ok(Split::Frame(mut frame)) = split_frame(&packet, 1024) else {
        panic!("whole")
    };
    let check = |frame, expected| assert_eq!(decode_publish(frame, V5).map(|_| ()), expected);
    check(frame, Ok(()));
    frame.first_byte = 0x38;
    check(frame, Err(DecodeError::DupAtQoS0));
    frame.first_byte = 0x36;
    check(frame, Err(DecodeError::PublishQoS3));
    frame.first_byte = 0x40;
    check(
        frame,
        Err(DecodeError::UnexpectedPacketType {
            expected: PacketType::Publish,
        }),
    );
}

/// Section 3.3.2.1, [MQTT-4.7.3-1], [MQTT3-4.7.3-1].
#[test]
fn an_empty_topic_needs_an_alias() {
    refuse(V3_1_1, "30 | s: 'x'", DecodeError::TopicNameMissing);
    refuse(V5, "30 | s: [ ] 'x'", DecodeError::TopicNameMissing);
    let alias = Publish {
        topic_alias: NonZeroU16::new(7),
        ..publish("")
    };
    canonical(V5, "30 | s: [ 23 0007 ]", Packet::Publish(alias));
    let both = Publish {
        topic_alias: NonZeroU16::new(65_535),
        ..publish("a")
    };
    canonical(V5, "30 | s:a [ 23 FFFF ]", Packet::Publish(both));
}

/// [MQTT-3.3.2-8]
#[test]
fn alias_zero() {
    refuse(V5, "30 | s:a [ 23 0000 ]", DecodeError::TopicAliasZero);
}

#[test]
fn lengths() {
    let error = |field| DecodeError::Truncated { field };
    for version in BOTH {
        refuse(version, "30 |", error(Field::TopicName));
        refuse(version, "30 | 00", error(Field::TopicName));
        refuse(version, "30 | 0005 'abcd'", error(Field::TopicName));
        refuse(version, "32 | s:a 00", error(Field::PacketIdentifier));
    }
    refuse(V5, "30 | s:a", error(Field::PropertyLength));
    refuse(V5, "30 | s:a 80", error(Field::PropertyLength));
    refuse(V5, "30 | s:a 03 2300", error(Field::Properties));
    let field = Field::PropertyLength;
    refuse(
        V5,
        "30 | s:a 8000",
        DecodeError::VariableByteIntegerNotMinimal { field },
    );
    refuse(
        V5,
        "30 | s:a FFFFFFFF7F",
        DecodeError::VariableByteIntegerTooLong { field },
    );
    // A property may not go beyond the section, even where the payload goes on.
    let field = Field::Property(PropertyIdentifier::TopicAlias);
    refuse(V5, "30 | s:a 02 2300 07", DecodeError::Truncated { field });
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn subscription_identifiers() {
    let identifiers = SubscriptionIdentifiers::from_slice(&[1, 128, 268_435_455]);
    let expected = Publish {
        subscription_identifiers: identifiers,
        ..publish("a")
    };
    canonical(
        V5,
        "30 | s:a [ 0B 01 0B 8001 0B FFFFFF7F ]",
        Packet::Publish(expected),
    );
    assert!(SubscriptionIdentifiers::default().is_empty());
    assert!(!identifiers.is_empty());
    refuse(
        V5,
        "30 | s:a [ 0B 00 ]",
        DecodeError::PropertyValue {
            property: PropertyIdentifier::SubscriptionIdentifier,
            value: 0,
        },
    );
    let field = Field::Property(PropertyIdentifier::SubscriptionIdentifier);
    refuse(
        V5,
        "30 | s:a [ 0B 8100 ]",
        DecodeError::VariableByteIntegerNotMinimal { field },
    );
    refuse(
        V5,
        "30 | s:a [ 0B FFFFFFFF01 ]",
        DecodeError::VariableByteIntegerTooLong { field },
    );
}

/// Section 3.3.2.3.2: the receiver's own affair.
#[test]
fn a_payload_that_is_not_what_its_format_says_decodes() {
    let packet = bytes("30 | s:a [ 01 01 ] FF");
    let Ok(Packet::Publish(publish)) = decode_bytes(&packet, V5) else {
        panic!("valid")
    };
    assert_eq!(publish.properties.payload_format_indicator(), Some(true));
    assert!(!publish.properties.payload_format_matches(publish.payload));
    assert!(publish.properties.payload_format_matches("é".as_bytes()));
    let packet = bytes("30 | s:a [ 01 00 ] FF");
    let Ok(Packet::Publish(publish)) = decode_bytes(&packet, V5) else {
        panic!("valid")
    };
    assert!(publish.properties.payload_format_matches(publish.payload));
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn what_is_forwarded_and_what_is_not() {
    let check = |section: &str, encoded: Option<&str>, forwarded: &str| {
        let packet = bytes(&format!("30 | s:a [ {section} ]"));
        let Ok(Packet::Publish(publish)) = decode_bytes(&packet, V5) else {
            panic!("{section} is valid")
        };
        let properties = publish.properties;
        let forwarded = bytes(forwarded);
        assert_eq!(
            properties.as_encoded(),
            encoded.map(bytes).as_deref(),
            "{section}"
        );
        assert_eq!(properties.is_empty(), forwarded.is_empty(), "{section}");
        assert_eq!(properties.encoded_bytes(), forwarded.len(), "{section}");
        let mut out = vec![0xAA];
        properties.write_to(&mut out);
        assert_eq!(out[1..], forwarded, "{section}");
        // What was written is a section of its own that says the same.
        let again = nexum_codec::ForwardedProperties::from_encoded(&forwarded);
        assert_eq!(again, Ok(properties), "{section}");
    };
    check("", Some(""), "");
    check("23 0001 02 00000001 0B 01", Some(""), "");
    check("26 s:n s:v", Some("26 s:n s:v"), "26 s:n s:v");
    // What stands together is one copy, whatever surrounds it.
    check(
        "23 0001 26 s:n s:v 03 s:t 02 00000001",
        Some("26 s:n s:v 03 s:t"),
        "26 s:n s:v 03 s:t",
    );
    check("26 s:n s:v 23 0001 03 s:t", None, "26 s:n s:v 03 s:t");
    check(
        "0B 01 01 01 0B 02 08 s:r 0B 03 09 s:c 26 s: s: 02 00000001 26 s:n s:v 26 s:n s:v 23 0001",
        None,
        "01 01 08 s:r 09 s:c 26 s: s: 26 s:n s:v 26 s:n s:v",
    );
}

#[test]
fn forwarded_properties_by_name() {
    let packet = bytes("30 | s:a [ 09 s:c 23 0001 08 s:r 03 s:t 26 s:n s:v 01 01 ]");
    let Ok(Packet::Publish(publish)) = decode_bytes(&packet, V5) else {
        panic!("valid")
    };
    let properties = publish.properties;
    assert_eq!(properties.correlation_data(), Some(&b"c"[..]));
    assert_eq!(
        properties.response_topic().map(|topic| topic.as_str()),
        Some("r")
    );
    assert_eq!(properties.content_type(), Some("t"));
    assert_eq!(properties.payload_format_indicator(), Some(true));
    assert_eq!(
        properties.user_properties().iter().collect::<Vec<_>>(),
        [("n", "v")]
    );
    assert!(
        properties
            .iter()
            .all(|property| !matches!(property, Property::TopicAlias(_)))
    );
    let none = publish_properties_of("30 | s:a [ ]");
    assert_eq!(none, (true, true, true, true));
}

fn publish_properties_of(text: &str) -> (bool, bool, bool, bool) {
    let packet = bytes(text);
    let Ok(Packet::Publish(Publish { properties, .. })) = decode_bytes(&packet, V5) else {
        panic!("{text} is valid")
    };
    (
        properties.correlation_data().is_none(),
        properties.response_topic().is_none(),
        properties.content_type().is_none(),
        properties.payload_format_indicator().is_none() && properties.user_properties().is_empty(),
    )
}

#[test]
fn the_order_of_properties_does_not_matter() {
    let expected = Publish {
        topic_alias: NonZeroU16::new(1),
        message_expiry_interval_seconds: Some(2),
        ..publish("a")
    };
    accept(
        V5,
        "30 | s:a [ 02 00000002 23 0001 ]",
        Packet::Publish(expected),
    );
    canonical(
        V5,
        "30 | s:a [ 23 0001 02 00000002 ]",
        Packet::Publish(expected),
    );
}
