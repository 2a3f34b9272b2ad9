//! QoS 2: exactly once (sections 4.3.3 and 4.4 of both specifications).

use std::time::Duration;

use nexum_harness::{
    Connect, Packet, Property, Publish, Received, Version, pubcomp, pubrec, pubrel, reason,
};

use crate::scene::{each_version, expect_no_message, start, text};

fn persistent(version: Version, client_id: &str) -> Connect {
    Connect::new(version, client_id).persistent()
}

/// [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT3-4.3.3-2] [MQTT-2.2.1-5] [MQTT3-2.3.1-6]
#[test]
fn broker_answers_publish_and_pubrel_with_their_identifier() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for identifier in [65_535, 1, 300] {
            publisher.send(Publish::new("t", "x").qos2(identifier));
            publisher.expect_pubrec(identifier);
            publisher.send(pubrel(identifier));
            publisher.expect_pubcomp(identifier);
        }
    });
}

/// [MQTT-4.3.3-10] [MQTT3-4.3.3-2]
#[test]
fn message_repeated_before_pubrel_is_not_delivered_again() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("t", "once").qos2(7));
        publisher.expect_pubrec(7);
        for _ in 0..3 {
            publisher.send(Publish::new("t", "once").qos2(7).duplicate());
            publisher.expect_pubrec(7);
        }
        publisher.send(pubrel(7));
        publisher.expect_pubcomp(7);
        assert_eq!(text(&subscriber.expect_message()), "once");
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// Even if the publisher's connection breaks in between.
/// [MQTT-4.3.3-10] [MQTT3-4.3.3-2] [MQTT-3.1.2-5] [MQTT3-3.1.2-4]
#[test]
fn message_repeated_after_a_reconnect_is_not_delivered_again() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.connect(persistent(version, "publisher"));
        publisher.send(Publish::new("t", "once").qos2(7));
        publisher.expect_pubrec(7);
        publisher.cut();
        let mut publisher = broker.connect(persistent(version, "publisher").resume());
        assert!(publisher.connack().session_present);
        publisher.send(Publish::new("t", "once").qos2(7).duplicate());
        publisher.expect_pubrec(7);
        publisher.send(pubrel(7));
        publisher.expect_pubcomp(7);
        assert_eq!(text(&subscriber.expect_message()), "once");
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-4.3.3-11] [MQTT3-4.3.3-2]
#[test]
fn pubrel_is_answered_after_a_reconnect_and_when_repeated() {
    each_version(|broker, version| {
        let mut publisher = broker.connect(persistent(version, "publisher"));
        publisher.send(Publish::new("t", "x").qos2(7));
        publisher.expect_pubrec(7);
        publisher.cut();
        let mut publisher = broker.connect(persistent(version, "publisher").resume());
        publisher.send(pubrel(7));
        assert_eq!(publisher.expect_pubcomp(7).reason, reason::SUCCESS);
        publisher.send(pubrel(7));
        let unknown = publisher.expect_pubcomp(7);
        let not_found = if version == Version::V5 {
            reason::PACKET_IDENTIFIER_NOT_FOUND
        } else {
            0
        };
        assert_eq!(unknown.reason, not_found);
    });
}

/// [MQTT-4.3.3-11] [MQTT3-4.3.3-2] [MQTT-3.7.2-1]
#[test]
fn pubrel_of_an_unknown_identifier_is_answered() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        publisher.send(pubrel(1234));
        let answer = publisher.expect_pubcomp(1234);
        let not_found = if version == Version::V5 {
            reason::PACKET_IDENTIFIER_NOT_FOUND
        } else {
            0
        };
        assert_eq!(answer.reason, not_found);
        publisher.expect_ping();
    });
}

/// [MQTT-4.3.3-12] [MQTT3-4.3.3-2] [MQTT3-2.3.1-3]
#[test]
fn identifier_is_free_after_pubcomp() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "1").qos2(7));
        publisher.publish(Publish::new("t", "2").qos2(7));
        publisher.publish(Publish::new("t", "3").qos2(7).duplicate());
        for expected in ["1", "2", "3"] {
            assert_eq!(text(&subscriber.expect_message()), expected);
        }
    });
}

/// A session of its own for the clean start: nothing of the old handshake is left.
/// [MQTT-3.1.2-4] [MQTT3-3.1.2-6]
#[test]
fn clean_start_forgets_the_identifiers() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("t", "1").qos2(7));
        publisher.expect_pubrec(7);
        publisher.cut();
        assert_eq!(text(&subscriber.expect_message()), "1");
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "2").qos2(7));
        assert_eq!(text(&subscriber.expect_message()), "2");
    });
}

/// [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-3.6.2-1] [MQTT3-4.3.3-1]
#[test]
fn broker_plays_the_senders_part() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let message = subscriber.expect_publish();
        let identifier = message.packet_identifier;
        assert_ne!(identifier, 0);
        assert_eq!((message.qos, message.duplicate), (2, false));
        subscriber.send(pubrec(identifier));
        subscriber.expect_pubrel(identifier);
        subscriber.send(pubcomp(identifier));
        subscriber.expect_ping();
    });
}

/// [MQTT-4.3.3-3] [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1]
#[test]
fn publish_without_pubrec_is_resent_after_a_reconnect() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version, "subscriber"));
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let first = subscriber.expect_publish();
        subscriber.cut();
        let mut subscriber = broker.connect(persistent(version, "subscriber").resume());
        let again = subscriber.expect_message();
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert!(again.duplicate);
        subscriber.disconnect();
        let mut subscriber = broker.connect(persistent(version, "subscriber").resume());
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1]
#[test]
fn after_pubrec_only_pubrel_is_resent() {
    each_version(|broker, version| {
        let mut subscriber = broker.connect(persistent(version, "subscriber"));
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let identifier = subscriber.expect_publish().packet_identifier;
        subscriber.send(pubrec(identifier));
        subscriber.expect_pubrel(identifier);
        subscriber.cut();
        for _ in 0..2 {
            let mut subscriber = broker.connect(persistent(version, "subscriber").resume());
            match subscriber.recv() {
                Packet::Pubrel(ack) => assert_eq!(ack.packet_identifier, identifier),
                other => panic!("expected PUBREL, got {other:?}"),
            }
            subscriber.cut();
        }
        let mut subscriber = broker.connect(persistent(version, "subscriber").resume());
        subscriber.expect_pubrel(identifier);
        subscriber.send(pubcomp(identifier));
        expect_no_message(&mut publisher, &mut subscriber);
        subscriber.disconnect();
        let mut subscriber = broker.connect(persistent(version, "subscriber").resume());
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-4.4.0-1]
#[test]
fn pubrel_is_not_resent_on_a_connection_that_lives() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let identifier = subscriber.expect_publish().packet_identifier;
        subscriber.send(pubrec(identifier));
        subscriber.expect_pubrel(identifier);
        subscriber.expect_nothing_within(Duration::from_millis(1500));
    });
}

/// [MQTT-4.4.0-2] [MQTT-4.3.3-4] [MQTT-3.5.2-1]
#[test]
fn v5_negative_pubrec_ends_the_delivery() {
    let version = Version::V5;
    let broker = start();
    let connect = persistent(version, "subscriber").property(Property::receive_maximum(1));
    let mut subscriber = broker.connect(connect.clone());
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(version, "publisher");
    for code in [
        reason::UNSPECIFIED_ERROR,
        reason::IMPLEMENTATION_SPECIFIC_ERROR,
        reason::NOT_AUTHORIZED,
        reason::TOPIC_NAME_INVALID,
        reason::QUOTA_EXCEEDED,
        reason::PAYLOAD_FORMAT_INVALID,
    ] {
        publisher.publish(Publish::new("t", "x").qos2(1));
        // With a Receive Maximum of 1 each message shows that the one before was settled.
        let identifier = subscriber.expect_publish().packet_identifier;
        subscriber.send(pubrec(identifier).reason(code));
    }
    subscriber.expect_ping();
    subscriber.cut();
    let mut subscriber = broker.connect(connect.resume());
    expect_no_message(&mut publisher, &mut subscriber);
}

/// [MQTT-4.3.3-4] [MQTT3-4.3.3-1] [MQTT-3.6.2-1]
#[test]
fn pubrec_of_an_unknown_identifier_is_answered_or_ends_the_connection() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(pubrec(1234));
        match peer.recv_within(Duration::from_secs(5)) {
            Received::Packet(Packet::Pubrel(ack)) => {
                assert_eq!(ack.packet_identifier, 1234);
                if version == Version::V5 {
                    assert_eq!(ack.reason, reason::PACKET_IDENTIFIER_NOT_FOUND);
                }
            }
            Received::Packet(Packet::Disconnect(disconnect)) => {
                assert_eq!(disconnect.reason, reason::PROTOCOL_ERROR);
            }
            Received::Closed if version == Version::V311 => {}
            other => panic!("expected PUBREL or the end, got {other:?}"),
        }
    });
}

/// A repeated PUBREC gets its PUBREL again.
/// [MQTT-4.3.3-4] [MQTT3-4.3.3-1]
#[test]
fn repeated_pubrec_is_answered_again() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let identifier = subscriber.expect_publish().packet_identifier;
        for _ in 0..2 {
            subscriber.send(pubrec(identifier));
            subscriber.expect_pubrel(identifier);
        }
        subscriber.send(pubcomp(identifier));
        subscriber.expect_ping();
    });
}

/// A message is delivered by its PUBLISH or by its PUBREL, as the broker likes, but to each
/// subscriber once, whatever its QoS.
/// [MQTT-4.3.3-10] [MQTT3-4.3.3-2] [MQTT-3.8.4-8] [MQTT3-3.8.4-6]
#[test]
fn one_qos_2_message_is_one_message_for_everybody() {
    each_version(|broker, version| {
        let mut subscribers: Vec<_> = (0..=2)
            .map(|qos| {
                let mut peer = broker.client(version, &format!("subscriber {qos}"));
                peer.subscribe("t", qos);
                peer
            })
            .collect();
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("t", "once").qos2(7));
        publisher.expect_pubrec(7);
        publisher.send(Publish::new("t", "once").qos2(7).duplicate());
        publisher.expect_pubrec(7);
        publisher.send(pubrel(7));
        publisher.expect_pubcomp(7);
        for subscriber in &mut subscribers {
            assert_eq!(text(&subscriber.expect_message()), "once");
            expect_no_message(&mut publisher, subscriber);
        }
    });
}

/// A PUBREC with an error leaves nothing behind: the identifier serves the next message. The
/// broker says so to a topic of more levels than it takes, if it does not take them all.
/// [MQTT-4.3.3-9]
#[test]
fn v5_identifier_is_free_after_a_negative_pubrec() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(Version::V5, "publisher");
    let deep = "x/".repeat(200);
    publisher.send(Publish::new(&deep, "refused").qos2(7));
    let refused = publisher.expect_pubrec(7);
    if refused.reason < 0x80 {
        publisher.send(pubrel(7));
        publisher.expect_pubcomp(7);
    }
    publisher.publish(Publish::new("t", "new").qos2(7));
    assert_eq!(text(&subscriber.expect_message()), "new");
}

/// The handshakes of many messages may interleave.
/// [MQTT-4.3.3-11] [MQTT-4.3.3-12] [MQTT3-4.3.3-2]
#[test]
fn handshakes_interleave() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        for identifier in 1..=10 {
            publisher.send(Publish::new("t", &identifier.to_string()).qos2(identifier));
            publisher.expect_pubrec(identifier);
        }
        for identifier in (1..=10).rev() {
            publisher.send(pubrel(identifier));
            publisher.expect_pubcomp(identifier);
        }
        let mut came: Vec<u16> = (0..10)
            .map(|_| {
                text(&subscriber.expect_message())
                    .parse()
                    .expect("a number")
            })
            .collect();
        came.sort_unstable();
        assert_eq!(came, (1..=10).collect::<Vec<u16>>());
        expect_no_message(&mut publisher, &mut subscriber);
    });
}
