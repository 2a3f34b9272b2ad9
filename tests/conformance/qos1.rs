//! QoS 1: at least once (sections 4.3.2 and 4.4 of both specifications).

use std::time::Duration;

use nexum_harness::{Connect, Peer, Publish, Version, puback, reason};

use crate::scene::{each_version, expect_no_message, start, text};

/// A subscriber whose session outlives its connection, with one filter at QoS 1.
fn persistent(version: Version) -> Connect {
    Connect::new(version, "subscriber").persistent()
}

/// [MQTT-4.3.2-4] [MQTT3-4.3.2-2] [MQTT-2.2.1-5] [MQTT3-2.3.1-6]
#[test]
fn broker_acknowledges_with_the_identifier_of_the_message() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        for identifier in [65_535, 1, 300] {
            publisher.send(Publish::new("t", "x").qos1(identifier));
            publisher.expect_puback(identifier);
            subscriber.expect_message();
        }
    });
}

/// [MQTT-4.3.2-5] [MQTT3-4.3.2-2] [MQTT3-2.3.1-2] [MQTT3-2.3.1-3]
#[test]
fn identifier_is_free_after_puback() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "1").qos1(7));
        publisher.publish(Publish::new("t", "2").qos1(7));
        // Whatever DUP says.
        publisher.publish(Publish::new("t", "3").qos1(7).duplicate());
        for expected in ["1", "2", "3"] {
            assert_eq!(text(&subscriber.expect_message()), expected);
        }
    });
}

/// [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT3-4.3.2-1]
#[test]
fn broker_sends_a_new_message_with_an_identifier_and_without_dup() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let message = subscriber.expect_publish();
        assert_ne!(message.packet_identifier, 0);
        assert_eq!((message.qos, message.duplicate), (1, false));
    });
}

/// [MQTT-4.3.2-3] [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1]
/// [MQTT3-2.3.1-4]
#[test]
fn unacknowledged_message_is_resent_after_a_reconnect() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version));
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let first = subscriber.expect_publish();
        subscriber.cut();
        // As often as it takes.
        for _ in 0..3 {
            let mut subscriber = broker.connect(persistent(version).resume());
            let again = subscriber.expect_publish();
            assert_eq!(again.packet_identifier, first.packet_identifier);
            assert!(again.duplicate);
            assert_eq!(
                (again.topic, again.payload),
                (first.topic.clone(), first.payload.clone())
            );
            subscriber.cut();
        }
        let mut subscriber = broker.connect(persistent(version).resume());
        subscriber.expect_message();
        subscriber.disconnect();
        let mut subscriber = broker.connect(persistent(version).resume());
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-4.4.0-1]
#[test]
fn nothing_is_resent_on_a_connection_that_lives() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        subscriber.expect_publish();
        subscriber.expect_nothing_within(Duration::from_millis(1500));
        subscriber.expect_ping();
    });
}

/// [MQTT-4.4.0-1] [MQTT3-4.4.0-1] [MQTT3-4.6.0-1] [MQTT3-4.6.0-6]
#[test]
fn only_what_is_unacknowledged_is_resent_in_its_order() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version));
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=6_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos1(number));
        }
        let first: Vec<_> = (0..6).map(|_| subscriber.expect_publish()).collect();
        // The second and the fifth are acknowledged, out of order.
        for index in [4, 1] {
            subscriber.send(puback(first[index].packet_identifier));
        }
        subscriber.expect_ping();
        subscriber.cut();
        publisher.publish(Publish::new("t", "7").qos1(7));

        let mut subscriber = broker.connect(persistent(version).resume());
        for index in [0, 2, 3, 5] {
            let again = subscriber.expect_publish();
            assert_eq!(again.packet_identifier, first[index].packet_identifier);
            assert_eq!(again.payload, first[index].payload);
            assert!(again.duplicate);
            subscriber.send(puback(again.packet_identifier));
        }
        let next = subscriber.expect_message();
        assert_eq!((text(&next), next.duplicate), ("7", false));
    });
}

/// [MQTT-4.4.0-2] [MQTT-3.4.2-1]
#[test]
fn v5_negative_puback_ends_the_delivery() {
    let version = Version::V5;
    let broker = start();
    let mut subscriber = broker.connect(persistent(version));
    subscriber.subscribe("t", 1);
    let mut publisher = broker.client(version, "publisher");
    for (number, code) in [
        reason::UNSPECIFIED_ERROR,
        reason::IMPLEMENTATION_SPECIFIC_ERROR,
        reason::NOT_AUTHORIZED,
        reason::TOPIC_NAME_INVALID,
        reason::PACKET_IDENTIFIER_IN_USE,
        reason::QUOTA_EXCEEDED,
        reason::PAYLOAD_FORMAT_INVALID,
    ]
    .into_iter()
    .enumerate()
    {
        publisher.publish(Publish::new("t", &number.to_string()).qos1(1));
        let message = subscriber.expect_publish();
        subscriber.send(puback(message.packet_identifier).reason(code));
    }
    subscriber.expect_ping();
    subscriber.cut();
    let mut subscriber = broker.connect(persistent(version).resume());
    expect_no_message(&mut publisher, &mut subscriber);
}

/// Messages that came while the session was away wait unsent, so they are first sent with DUP 0.
/// [MQTT-3.3.1-1] [MQTT3-3.3.1-1] [MQTT-4.5.0-1] [MQTT3-4.5.0-1] [MQTT3-3.1.2-5]
#[test]
fn queued_message_is_no_redelivery() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version));
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let mut subscriber = broker.connect(persistent(version).resume());
        assert!(!subscriber.expect_message().duplicate);
    });
}

/// A PUBACK nobody waits for is no reason to harm the others.
/// [MQTT-4.3.2-3] [MQTT3-4.3.2-1]
#[test]
fn foreign_puback_acknowledges_nothing() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version));
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let first = subscriber.expect_publish();
        let foreign = first.packet_identifier.wrapping_add(1000).max(1);
        // The broker may also hold it for a protocol error; the message is safe either way.
        subscriber.send(puback(foreign));
        subscriber.cut();
        let mut subscriber = broker.connect(persistent(version).resume());
        assert_eq!(
            subscriber.expect_publish().packet_identifier,
            first.packet_identifier
        );
    });
}

/// [MQTT-4.5.0-1] [MQTT3-4.5.0-1] [MQTT3-3.1.2-5]
#[test]
fn every_message_of_an_absence_is_kept() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version));
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=200_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos1(number));
        }
        let mut subscriber: Peer = broker.connect(persistent(version).resume());
        for number in 1..=200 {
            assert_eq!(text(&subscriber.expect_message()), number.to_string());
        }
    });
}
