//! Packet Identifiers (section 2.2.1 of MQTT 5, 2.3.1 of 3.1.1).

use std::collections::HashSet;

use nexum_harness::{
    Frame, Packet, Publish, Subscribe, Unsubscribe, Version, puback, pubcomp, pubrec, pubrel,
    reason,
};

use crate::scene::{each_version, start, text};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// At QoS 0 the payload follows the topic at once: two bytes that look like an identifier are the
/// payload's.
/// [MQTT-2.2.1-2] [MQTT3-2.3.1-5]
#[test]
fn qos_0_publish_has_no_identifier() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("t", "").payload(&[0, 1, 2]));
        let message = subscriber.expect_publish();
        assert_eq!((message.qos, message.payload), (0, vec![0, 1, 2]));
    });
}

/// [MQTT-2.2.1-3] [MQTT3-2.3.1-1] [MQTT-4.13.1-1]
#[test]
fn identifier_must_not_be_zero() {
    each_version(|broker, version| {
        let properties = |frame: Frame| match version {
            Version::V311 => frame,
            Version::V5 => frame.properties(&[]),
        };
        let frames = [
            properties(Frame::new(0x82).u16(0)).string("t").u8(0),
            properties(Frame::new(0xA2).u16(0)).string("t"),
            properties(Frame::new(0x32).string("t").u16(0)).raw(b"x"),
            properties(Frame::new(0x34).string("t").u16(0)).raw(b"x"),
        ];
        for frame in frames {
            println!("{frame:02x?}");
            let mut peer = broker.client(version, "client");
            peer.send_frame(&frame);
            peer.expect_disconnected(MALFORMED);
        }
    });
}

/// [MQTT-2.2.1-5] [MQTT3-2.3.1-6] [MQTT-2.2.1-6] [MQTT3-2.3.1-7]
#[test]
fn answers_carry_the_identifier_of_the_request() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        for identifier in [1, 2, 255, 256, 4660, 65_534, 65_535] {
            peer.send(Subscribe::new(identifier).filter("other", 0));
            peer.expect_suback(identifier, &[0]);
            peer.send(Unsubscribe::new(identifier, "other"));
            peer.expect_unsuback(identifier, &[0]);
            peer.send(Publish::new("t", "x").qos1(identifier));
            peer.expect_puback(identifier);
            peer.send(Publish::new("t", "x").qos2(identifier));
            peer.expect_pubrec(identifier);
            peer.send(pubrel(identifier));
            peer.expect_pubcomp(identifier);
        }
    });
}

/// The peer itself refuses an identifier of 0 or one that is still in use.
/// [MQTT-2.2.1-4] [MQTT3-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT3-2.3.1-1]
#[test]
fn broker_assigns_unused_identifiers() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=20 {
            let publish = Publish::new("t", "x").qos(1 + u8::from(number % 2 == 0), number);
            publisher.publish(publish);
        }
        let received: HashSet<u16> = (0..20)
            .map(|_| subscriber.expect_publish().packet_identifier)
            .collect();
        assert_eq!(received.len(), 20);
    });
}

/// Identifiers run out after 65,535; those acknowledged serve again, and those that are not do
/// not.
/// [MQTT-2.2.1-4] [MQTT3-2.3.1-4]
#[test]
fn broker_reuses_only_what_was_acknowledged() {
    let version = Version::V311;
    let broker = start();
    let mut subscriber = broker.client(version, "subscriber");
    subscriber.subscribe("t", 1);
    let mut publisher = broker.client(version, "publisher");
    publisher.publish(Publish::new("t", "held").qos1(1));
    let held = subscriber.expect_publish().packet_identifier;
    let mut seen = HashSet::new();
    let mut reused = false;
    // In batches that no queue is too small for.
    let batch = Packet::from(Publish::new("t", "x").qos1(2))
        .bytes(version)
        .repeat(500);
    for _ in 0..132 {
        publisher.send_bytes(&batch);
        for _ in 0..500 {
            let identifier = subscriber.expect_publish().packet_identifier;
            assert_ne!(identifier, held, "not acknowledged yet");
            reused |= !seen.insert(identifier);
            subscriber.send(puback(identifier));
        }
        for _ in 0..500 {
            publisher.expect_puback(2);
        }
    }
    assert!(
        reused,
        "66,000 messages have had {} identifiers",
        seen.len()
    );
}

/// The identifiers of the two directions have nothing to do with each other.
/// [MQTT-2.2.1-4] [MQTT3-2.3.1-4]
#[test]
fn identifiers_of_the_two_directions_are_independent() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "down").qos2(1));
        let down = subscriber.expect_publish();
        // The same number upwards, while the other is in flight.
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("up", 2);
        subscriber.send(Publish::new("up", "up").qos2(down.packet_identifier));
        subscriber.expect_pubrec(down.packet_identifier);
        subscriber.send(pubrel(down.packet_identifier));
        subscriber.expect_pubcomp(down.packet_identifier);
        assert_eq!(text(&watcher.expect_message()), "up");
        subscriber.send(pubrec(down.packet_identifier));
        subscriber.expect_pubrel(down.packet_identifier);
        subscriber.send(pubcomp(down.packet_identifier));
        subscriber.expect_ping();
    });
}
