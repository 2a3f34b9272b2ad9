//! The properties of PUBLISH (MQTT 5 section 3.3.2.3), but for Topic Alias, Subscription
//! Identifier and Message Expiry Interval, which have files of their own.

use nexum_harness::{Broker, Frame, Peer, Property, Publish, Version, reason};

use crate::scene::start;

fn subscriber(broker: &Broker) -> Peer {
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 2);
    subscriber
}

/// [MQTT-3.3.2-4]
#[test]
fn payload_format_indicator_is_passed_on() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    for value in [0, 1] {
        publisher
            .send(Publish::new("t", "text").property(Property::payload_format_indicator(value)));
        let properties = subscriber.expect_publish().properties;
        assert_eq!(
            properties.payload_format_indicator(),
            Some(u32::from(value))
        );
    }
    publisher.send(Publish::new("t", "text"));
    let properties = subscriber.expect_publish().properties;
    assert_eq!(properties.payload_format_indicator(), None);
}

/// [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-13]
#[test]
fn response_topic_and_correlation_data_are_passed_on() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    let every_byte: Vec<u8> = (0..=255).collect();
    for (topic, data) in [
        ("a", &b""[..]),
        ("/answers/日本", b"x"),
        ("a b", &every_byte),
    ] {
        for qos in 0..=2 {
            publisher.publish(
                Publish::new("t", "request")
                    .qos(qos, 1)
                    .property(Property::response_topic(topic))
                    .property(Property::correlation_data(data)),
            );
            let properties = subscriber.expect_message().properties;
            assert_eq!(properties.response_topic(), Some(topic));
            assert_eq!(properties.correlation_data(), Some(data));
        }
    }
}

/// [MQTT-3.3.2-14]
#[test]
fn response_topic_with_wildcards_is_a_protocol_error() {
    let broker = start();
    for topic in ["+", "#", "a/+/b", "a/#"] {
        let mut peer = broker.client(Version::V5, "client");
        peer.send(Publish::new("t", "x").property(Property::response_topic(topic)));
        peer.expect_disconnected(&[
            reason::MALFORMED_PACKET,
            reason::PROTOCOL_ERROR,
            reason::TOPIC_NAME_INVALID,
        ]);
    }
}

/// [MQTT-3.3.2-20] [MQTT-3.3.2-19]
#[test]
fn content_type_is_passed_on() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    for content_type in ["", "text/plain; charset=utf-8", "内容"] {
        publisher.send(Publish::new("t", "x").property(Property::content_type(content_type)));
        let properties = subscriber.expect_publish().properties;
        assert_eq!(properties.content_type(), Some(content_type));
    }
}

/// [MQTT-3.3.2-17] [MQTT-3.3.2-18]
#[test]
fn user_properties_are_passed_on_in_order() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    let pairs = [
        ("b", "1"),
        ("a", "2"),
        ("b", "1"),
        ("", ""),
        ("ö", "\u{FEFF}"),
        ("a", "0"),
    ];
    for qos in 0..=2 {
        let mut publish = Publish::new("t", "x").qos(qos, 1);
        for (name, value) in pairs {
            publish = publish.property(Property::user(name, value));
        }
        publisher.publish(publish);
        assert_eq!(subscriber.expect_message().properties.user(), pairs);
    }
}

/// The properties that belong to the message outlast a wait in the session, and retention.
/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn properties_are_kept_with_queued_and_retained_messages() {
    let broker = start();
    let connect = nexum_harness::Connect::new(Version::V5, "away").persistent();
    let mut away = broker.connect(connect.clone());
    away.subscribe("t", 1);
    away.disconnect();
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(
        Publish::new("t", "x")
            .qos1(1)
            .retain()
            .property(Property::user("a", "1"))
            .property(Property::payload_format_indicator(1))
            .property(Property::content_type("c"))
            .property(Property::user("b", "2"))
            .property(Property::response_topic("r"))
            .property(Property::correlation_data(b"d"))
            .property(Property::user("a", "3")),
    );
    let mut away = broker.connect(connect.resume());
    let queued = away.expect_message();
    let mut late = broker.client(Version::V5, "late");
    late.subscribe("t", 1);
    let retained = late.expect_message();
    assert!(retained.retain);
    for properties in [queued.properties, retained.properties] {
        assert_eq!(properties.user(), [("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(properties.payload_format_indicator(), Some(1));
        assert_eq!(properties.content_type(), Some("c"));
        assert_eq!(properties.response_topic(), Some("r"));
        assert_eq!(properties.correlation_data(), Some(&b"d"[..]));
    }
}

/// A 3.1.1 subscriber gets the same message without its properties, and its publisher's messages
/// reach a subscriber of MQTT 5.
/// [MQTT-3.3.2-17]
#[test]
fn messages_cross_the_versions() {
    let broker = start();
    let mut old = broker.client(Version::V311, "old");
    let mut new = broker.client(Version::V5, "new");
    old.subscribe("t", 2);
    new.subscribe("t", 2);
    let mut publisher = broker.client(Version::V5, "new publisher");
    let publish = Publish::new("t", "from 5").property(Property::user("a", "1"));
    for qos in 0..=2 {
        publisher.publish(publish.clone().qos(qos, 1));
        let (at_old, at_new) = (old.expect_message(), new.expect_message());
        assert_eq!((at_old.qos, at_old.payload), (qos, b"from 5".to_vec()));
        assert_eq!(at_new.properties.user(), [("a", "1")]);
    }
    let mut publisher = broker.client(Version::V311, "old publisher");
    for qos in 0..=2 {
        publisher.publish(Publish::new("t", "from 3.1.1").qos(qos, 1));
        let (at_old, at_new) = (old.expect_message(), new.expect_message());
        assert_eq!((at_old.qos, at_old.payload), (qos, b"from 3.1.1".to_vec()));
        assert_eq!((at_new.qos, at_new.payload), (qos, b"from 3.1.1".to_vec()));
        assert!(at_new.properties.is_empty(), "{:?}", at_new.properties);
    }
}

/// [MQTT-4.13.1-1]
#[test]
fn properties_must_keep_their_rules() {
    let broker = start();
    let twice = |property: Property| property.bytes().repeat(2);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "Payload Format Indicator 2",
            Property::payload_format_indicator(2).bytes(),
        ),
        (
            "Payload Format Indicator twice",
            twice(Property::payload_format_indicator(0)),
        ),
        (
            "Message Expiry Interval twice",
            twice(Property::message_expiry_interval(1)),
        ),
        ("Topic Alias twice", twice(Property::topic_alias(1))),
        ("Response Topic twice", twice(Property::response_topic("r"))),
        (
            "Correlation Data twice",
            twice(Property::correlation_data(b"c")),
        ),
        ("Content Type twice", twice(Property::content_type("c"))),
        (
            "a property of CONNECT",
            Property::receive_maximum(1).bytes(),
        ),
        ("Reason String", Property::reason_string("r").bytes()),
        ("no such property", vec![0x7E, 0]),
        ("property 0", vec![0x00, 0]),
        ("a value cut short", vec![0x02, 0, 0]),
        (
            "a string longer than the properties",
            vec![0x03, 0, 9, b'x'],
        ),
        ("a pair without its value", vec![0x26, 0, 1, b'x']),
    ];
    for (what, properties) in cases {
        println!("{what}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send_frame(
            &Frame::new(0x30)
                .string("t")
                .raw_properties(&properties)
                .raw(b"x"),
        );
        peer.expect_disconnected(&[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR]);
    }
}

/// A broker that checks payloads says 0x99; one that does not passes them on.
/// [MQTT-3.3.2-4] [MQTT-3.4.2-1]
#[test]
fn payload_that_is_not_what_its_indicator_says_is_refused_or_passed_on() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.send(
        Publish::new("t", "")
            .payload(&[0xFF, 0xFE])
            .qos1(1)
            .property(Property::payload_format_indicator(1)),
    );
    let puback = publisher.expect_puback(1);
    if puback.reason == reason::PAYLOAD_FORMAT_INVALID {
        crate::scene::expect_no_message(&mut publisher, &mut subscriber);
    } else {
        assert_eq!(puback.reason, reason::SUCCESS);
        assert_eq!(subscriber.expect_message().payload, [0xFF, 0xFE]);
    }
}
