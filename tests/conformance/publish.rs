//! PUBLISH, but for its properties and RETAIN (section 3.3 of both specifications).

use nexum_harness::{Packet, Publish, Received, Subscribe, Version, pubrel, reason};
use std::time::Duration;

use crate::scene::{each_version, expect_no_message};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// [MQTT-3.3.4-1] [MQTT3-3.3.4-1] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1]
#[test]
fn each_qos_has_its_answer() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(Publish::new("t", "0"));
        peer.expect_ping();
        peer.send(Publish::new("t", "1").qos1(10));
        peer.expect_puback(10);
        peer.send(Publish::new("t", "2").qos2(11));
        peer.expect_pubrec(11);
        peer.send(pubrel(11));
        peer.expect_pubcomp(11);
        peer.expect_ping();
    });
}

/// [MQTT-3.3.1-4] [MQTT3-3.3.1-4]
#[test]
fn qos_3_is_malformed() {
    each_version(|broker, version| {
        for first_byte in [0x36, 0x37, 0x3E, 0x3F] {
            let mut bytes = Packet::from(Publish::new("t", "x").qos1(1)).bytes(version);
            bytes[0] = first_byte;
            let mut peer = broker.client(version, "client");
            peer.send_bytes(&bytes);
            peer.expect_disconnected(MALFORMED);
        }
    });
}

/// [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn dup_at_qos_0_is_malformed() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(Publish::new("t", "x").duplicate());
        peer.expect_disconnected(MALFORMED);
    });
}

/// [MQTT-3.3.1-3] [MQTT3-3.3.1-3] [MQTT-3.3.1-2] [MQTT3-3.3.1-2] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
/// [MQTT-4.3.1-1] [MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1]
#[test]
fn dup_is_not_passed_on() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        for (qos, duplicate) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
            let mut publish = Publish::new("t", "x").qos(qos, 1);
            publish.duplicate = duplicate;
            publisher.publish(publish);
            let message = subscriber.expect_message();
            assert_eq!((message.qos, message.duplicate), (qos, false));
        }
    });
}

/// [MQTT-3.3.2-3] [MQTT3-3.3.2-3] [MQTT-3.3.2-1] [MQTT3-3.3.2-1]
#[test]
fn topic_name_is_delivered_as_published() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("#", 0);
        let mut publisher = broker.client(version, "publisher");
        for topic in [
            "t",
            "/",
            "a/b",
            "/a",
            "a/",
            "a//b",
            " ",
            "a b",
            "Ä/ö/日本",
            "$",
            "x$/y",
        ] {
            publisher.send(Publish::new(topic, topic));
            if topic.starts_with('$') {
                continue;
            }
            let message = subscriber.expect_publish();
            assert_eq!(message.topic, topic);
            assert_eq!(message.payload, topic.as_bytes());
        }
    });
}

/// [MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1]
#[test]
fn wildcards_in_a_topic_name_end_the_connection() {
    each_version(|broker, version| {
        for topic in ["+", "#", "a/+", "a/#", "a/+/b", "a+", "a#", "#/a"] {
            for qos in 0..=2 {
                let mut peer = broker.client(version, "client");
                peer.send(Publish::new(topic, "x").qos(qos, 1));
                peer.expect_disconnected(&[
                    reason::MALFORMED_PACKET,
                    reason::PROTOCOL_ERROR,
                    reason::TOPIC_NAME_INVALID,
                ]);
            }
        }
    });
}

/// [MQTT-4.7.3-1] [MQTT3-4.7.3-1] [MQTT-3.3.2-1] [MQTT3-3.3.2-1]
#[test]
fn empty_topic_name_ends_the_connection() {
    each_version(|broker, version| {
        for qos in 0..=2 {
            let mut peer = broker.client(version, "client");
            peer.send(Publish::new("", "x").qos(qos, 1));
            peer.expect_disconnected(&[
                reason::MALFORMED_PACKET,
                reason::PROTOCOL_ERROR,
                reason::TOPIC_NAME_INVALID,
            ]);
        }
    });
}

/// A payload is bytes, and any number of them.
/// [MQTT-3.3.4-1] [MQTT3-3.3.4-1]
#[test]
fn payload_is_delivered_byte_by_byte() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        let every_byte: Vec<u8> = (0..=255).collect();
        for payload in [
            &[][..],
            &[0],
            &[0; 1000],
            &every_byte,
            &every_byte.repeat(1000),
        ] {
            for qos in 0..=2 {
                publisher.publish(Publish::new("t", "").payload(payload).qos(qos, 1));
                let message = subscriber.expect_message();
                assert!(
                    message.payload == payload,
                    "{} bytes came",
                    message.payload.len()
                );
            }
        }
    });
}

/// [MQTT-3.8.4-8] [MQTT3-3.8.4-6]
#[test]
fn message_has_the_lesser_qos_of_publisher_and_subscription() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for granted in 0..=2 {
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe("t", granted);
            for published in 0..=2 {
                publisher.publish(Publish::new("t", "x").qos(published, 1));
                assert_eq!(subscriber.expect_message().qos, published.min(granted));
            }
        }
    });
}

/// One copy with the highest QoS of the matching subscriptions, or one for each.
/// [MQTT-3.3.4-2] [MQTT3-3.3.5-1]
#[test]
fn overlapping_subscriptions_deliver_at_their_highest_qos() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("marker", 0);
        for (filter, qos) in [("a/b", 0), ("a/+", 2), ("a/#", 1)] {
            subscriber.subscribe(filter, qos);
        }
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("a/b", "x").qos2(1));
        publisher.publish(Publish::new("marker", ""));
        let mut copies = Vec::new();
        loop {
            let message = subscriber.expect_message();
            if message.topic == "marker" {
                break;
            }
            copies.push(message.qos);
        }
        copies.sort_unstable();
        assert!(
            copies == [2] || copies == [0, 1, 2],
            "copies at these QoS: {copies:?}"
        );
    });
}

/// A publisher that also subscribes gets its own message.
/// [MQTT-3.3.4-2] [MQTT3-3.3.5-1] [MQTT-4.5.0-1] [MQTT3-4.5.0-1]
#[test]
fn publisher_may_be_its_own_subscriber() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.subscribe("t", 2);
        for qos in 0..=2 {
            peer.publish(Publish::new("t", "echo").qos(qos, 1));
            assert_eq!(peer.expect_message().payload, b"echo");
        }
    });
}

/// [MQTT-4.5.0-1] [MQTT3-4.5.0-1]
#[test]
fn message_goes_to_every_matching_subscriber_and_to_no_other() {
    each_version(|broker, version| {
        let mut matching: Vec<_> = ["a/b", "a/+", "#", "+/b"]
            .iter()
            .map(|filter| {
                let mut peer = broker.client(version, &format!("matching {filter}"));
                peer.subscribe(filter, 1);
                peer
            })
            .collect();
        let mut others: Vec<_> = ["a", "a/c", "b/+", "+"]
            .iter()
            .map(|filter| {
                let mut peer = broker.client(version, &format!("other {filter}"));
                peer.subscribe(filter, 1);
                peer
            })
            .collect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("a/b", "x").qos1(1));
        for peer in &mut matching {
            assert_eq!(peer.expect_message().payload, b"x");
        }
        // "+" would match the marker itself.
        for peer in &mut others[..3] {
            expect_no_message(&mut publisher, peer);
        }
    });
}

/// What a client may not publish is refused in words (5), or acknowledged or closed (3.1.1);
/// never is it delivered.
/// [MQTT3-3.3.5-2] [MQTT-3.4.2-1] [MQTT-3.5.2-1]
#[test]
fn publish_without_authorisation_has_a_defined_end() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.send(Subscribe::new(1).filter("$SYS/broker/nonsense", 1));
        let Packet::Suback(suback) = subscriber.recv() else {
            panic!("a SUBACK is due");
        };
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("$SYS/broker/nonsense", "x").qos1(1));
        let delivered_is_wrong = match publisher.recv_within(Duration::from_secs(5)) {
            // A positive answer may cover a message the broker throws away.
            Received::Packet(Packet::Puback(_)) => version == Version::V311,
            Received::Packet(Packet::Disconnect(disconnect)) => {
                let allowed = [reason::NOT_AUTHORIZED, reason::TOPIC_NAME_INVALID];
                assert!(allowed.contains(&disconnect.reason), "{disconnect:?}");
                true
            }
            Received::Closed => {
                assert_eq!(version, Version::V311, "MQTT 5 has a reason to give");
                true
            }
            other => panic!("neither acknowledged nor closed: {other:?}"),
        };
        if delivered_is_wrong && suback.reasons == [1] {
            let mut other = broker.client(version, "other");
            expect_no_message(&mut other, &mut subscriber);
        }
    });
}
