//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11 of both specifications).

use nexum_harness::{
    Connect, Frame, Packet, Property, Publish, Received, Unsubscribe, Version, puback, pubcomp,
    pubrec, reason,
};
use std::time::Duration;

use crate::scene::{each_version, expect_no_message, start, text};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];
const NONE: u8 = reason::NO_SUBSCRIPTION_EXISTED;

/// [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT-2.2.1-6]
/// [MQTT3-2.3.1-7]
#[test]
fn unsubscribe_is_answered_even_if_there_was_no_subscription() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        for identifier in [1, 65_535, 1000, 1000] {
            peer.send(Unsubscribe::new(identifier, "never"));
            peer.expect_unsuback(identifier, &[NONE]);
        }
    });
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT3-3.10.4-1] [MQTT3-3.10.4-2]
#[test]
fn unsubscribing_stops_the_messages() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        let mut publisher = broker.client(version, "publisher");
        for filter in ["t", "+", "#", "t/#"] {
            peer.subscribe(filter, 1);
            publisher.publish(Publish::new("t", "x").qos1(1));
            assert_eq!(text(&peer.expect_message()), "x");
            peer.send(Unsubscribe::new(100, filter));
            peer.expect_unsuback(100, &[reason::SUCCESS]);
            publisher.publish(Publish::new("t", "x").qos1(2));
            publisher.expect_ping();
            peer.expect_ping();
        }
        expect_no_message(&mut publisher, &mut peer);
    });
}

/// Neither matching nor case counts, only equality.
/// [MQTT-3.10.4-1] [MQTT3-3.10.4-1]
#[test]
fn filters_are_compared_character_by_character() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.subscribe("a/+", 1);
        for other in ["a/b", "a/#", "#", "A/+", "a/+/", "/a/+", "+/+", "a/+/#"] {
            peer.send(Unsubscribe::new(100, other));
            peer.expect_unsuback(100, &[NONE]);
        }
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("a/b", "x").qos1(1));
        assert_eq!(text(&peer.expect_message()), "x");
    });
}

/// [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT3-3.10.4-6]
#[test]
fn every_filter_has_its_code_in_one_answer() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        for filter in ["a", "b", "c"] {
            peer.subscribe(filter, 1);
        }
        let unsubscribe = Unsubscribe::new(100, "a")
            .filter("never")
            .filter("c")
            .filter("a");
        peer.send(unsubscribe);
        peer.expect_unsuback(100, &[reason::SUCCESS, NONE, reason::SUCCESS, NONE]);
        let mut publisher = broker.client(version, "publisher");
        for topic in ["a", "c", "b"] {
            publisher.publish(Publish::new(topic, "x").qos1(1));
        }
        assert_eq!(peer.expect_message().topic, "b");
    });
}

/// [MQTT-3.10.3-2] [MQTT3-3.10.3-2]
#[test]
fn unsubscribe_without_a_filter_is_a_protocol_error() {
    each_version(|broker, version| {
        let frame = Frame::new(0xA2).u16(1);
        let frame = if version == Version::V5 {
            frame.properties(&[])
        } else {
            frame
        };
        let mut peer = broker.client(version, "client");
        peer.send_frame(&frame);
        peer.expect_disconnected(MALFORMED);
    });
}

/// [MQTT-3.10.3-1] [MQTT3-3.10.3-1] [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn unsubscribe_cut_short_is_malformed() {
    each_version(|broker, version| {
        let whole = Packet::from(Unsubscribe::new(1, "t/u").filter("v")).bytes(version);
        let whole = &whole[2..];
        let fixed = if version == Version::V5 { 3 } else { 2 };
        for length in (0..whole.len()).filter(|length| *length != fixed + 5) {
            println!("{length} bytes of {}", whole.len());
            let mut peer = broker.client(version, "client");
            peer.send_frame(&Frame::new(0xA2).raw(&whole[..length]));
            peer.expect_disconnected(MALFORMED);
        }
    });
}

/// What is under way is brought to its end, also over a reconnect.
/// [MQTT-3.10.4-3] [MQTT3-3.10.4-3]
#[test]
fn deliveries_under_way_are_completed() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut peer = broker.connect(persistent.clone());
        peer.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "1").qos1(1));
        publisher.publish(Publish::new("t", "2").qos2(2));
        publisher.publish(Publish::new("t", "3").qos2(3));
        let [first, second, third] = [(); 3].map(|()| peer.expect_publish());
        peer.send(pubrec(third.packet_identifier));
        peer.expect_pubrel(third.packet_identifier);
        peer.send(Unsubscribe::new(100, "t"));
        peer.expect_unsuback(100, &[reason::SUCCESS]);
        peer.cut();

        let mut peer = broker.connect(persistent.resume());
        // Where PUBREL stands among the others is open.
        let mut resent: Vec<_> = (0..3).map(|_| peer.recv()).collect();
        resent.retain(|packet| {
            let Packet::Pubrel(ack) = packet else {
                return true;
            };
            assert_eq!(ack.packet_identifier, third.packet_identifier);
            false
        });
        peer.send(pubcomp(third.packet_identifier));
        let identifiers: Vec<u16> = resent
            .iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => publish.packet_identifier,
                other => panic!("expected PUBLISH, got {other:?}"),
            })
            .collect();
        assert_eq!(
            identifiers,
            [first.packet_identifier, second.packet_identifier]
        );
        peer.send(puback(first.packet_identifier));
        peer.send(pubrec(second.packet_identifier));
        peer.expect_pubrel(second.packet_identifier);
        peer.send(pubcomp(second.packet_identifier));
        peer.expect_ping();
    });
}

/// An unsubscribed session stays unsubscribed.
/// [MQTT-3.10.4-2] [MQTT3-3.10.4-2]
#[test]
fn unsubscribing_is_part_of_the_session() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut peer = broker.connect(persistent.clone());
        peer.subscribe("t", 1);
        peer.send(Unsubscribe::new(100, "t"));
        peer.expect_unsuback(100, &[reason::SUCCESS]);
        peer.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let mut peer = broker.connect(persistent.resume());
        expect_no_message(&mut publisher, &mut peer);
    });
}

/// [MQTT-4.13.1-1]
#[test]
fn v5_properties_must_keep_their_rules() {
    let broker = start();
    for (what, properties) in [
        (
            "a property of SUBSCRIBE",
            Property::subscription_identifier(1).bytes(),
        ),
        ("Reason String", Property::reason_string("r").bytes()),
        ("no such property", vec![0x7F, 0]),
        ("a pair cut short", vec![0x26, 0, 1, b'a']),
    ] {
        println!("{what}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send_frame(
            &Frame::new(0xA2)
                .u16(1)
                .raw_properties(&properties)
                .string("t"),
        );
        peer.expect_disconnected(MALFORMED);
    }
}

/// A filter that could never have been granted is refused, unknown, or ends the connection.
/// [MQTT-3.11.3-2] [MQTT-4.7.1-1] [MQTT3-4.7.1-2]
#[test]
fn invalid_filter_is_no_subscription() {
    each_version(|broker, version| {
        for filter in ["a/#/b", "a+", "#/a", "$share//t"] {
            println!("{filter}");
            let mut peer = broker.client(version, "client");
            peer.send(Unsubscribe::new(1, filter));
            match peer.recv_within(Duration::from_secs(5)) {
                Received::Packet(Packet::Unsuback(unsuback)) => {
                    let allowed = [NONE, reason::TOPIC_FILTER_INVALID];
                    assert!(
                        unsuback.reasons.iter().all(|code| allowed.contains(code)),
                        "{unsuback:?}"
                    );
                }
                Received::Packet(Packet::Disconnect(disconnect)) => {
                    let allowed = [
                        reason::MALFORMED_PACKET,
                        reason::PROTOCOL_ERROR,
                        reason::TOPIC_FILTER_INVALID,
                    ];
                    assert!(allowed.contains(&disconnect.reason), "{disconnect:?}");
                }
                Received::Closed if version == Version::V311 => {}
                other => panic!("neither UNSUBACK nor the end: {other:?}"),
            }
        }
    });
}
