//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9 of both specifications).

use std::time::Duration;

use nexum_harness::{Connect, Frame, Packet, Publish, Received, Subscribe, Version, reason};

use crate::scene::{each_version, expect_no_message, start, text};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// A SUBSCRIBE up to its payload: identifier 1, in MQTT 5 no properties.
fn head(version: Version) -> Frame {
    let frame = Frame::new(0x82).u16(1);
    match version {
        Version::V311 => frame,
        Version::V5 => frame.properties(&[]),
    }
}

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT-2.2.1-6] [MQTT3-2.3.1-7]
#[test]
fn subscribe_is_answered_with_its_identifier() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        for identifier in [1, 65_535, 1000, 1000] {
            peer.send(Subscribe::new(identifier).filter("t", 0));
            peer.expect_suback(identifier, &[0]);
        }
    });
}

/// [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1]
/// [MQTT3-3.9.3-2] [MQTT-3.2.2-10]
#[test]
fn every_filter_has_its_code_in_order() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(
            Subscribe::new(1)
                .filter("a", 2)
                .filter("b", 0)
                .filter("c/+", 1)
                .filter("d/#", 2)
                .filter("a", 0),
        );
        peer.expect_suback(1, &[2, 0, 1, 2, 0]);
    });
}

/// A filter that is refused does not harm its neighbours; ours refuses a misplaced wildcard that
/// way, where it might also end the connection.
/// [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1]
#[test]
fn refused_filter_has_a_failure_code_in_its_place() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(
            Subscribe::new(1)
                .filter("a", 1)
                .filter("b/#/c", 1)
                .filter("d", 2),
        );
        let failure = match version {
            Version::V311 => reason::UNSPECIFIED_ERROR,
            Version::V5 => reason::TOPIC_FILTER_INVALID,
        };
        match peer.recv_within(Duration::from_secs(5)) {
            Received::Packet(Packet::Suback(suback)) => {
                assert_eq!(suback.reasons, [1, failure, 2]);
            }
            Received::Packet(Packet::Disconnect(disconnect)) => {
                let allowed = [MALFORMED, &[reason::TOPIC_FILTER_INVALID]].concat();
                assert!(allowed.contains(&disconnect.reason), "{disconnect:?}");
                return;
            }
            Received::Closed if version == Version::V311 => return,
            other => panic!("expected SUBACK, got {other:?}"),
        }
        let mut publisher = broker.client(version, "publisher");
        for topic in ["a", "d"] {
            publisher.publish(Publish::new(topic, "x").qos1(1));
            assert_eq!(peer.expect_message().topic, topic);
        }
    });
}

/// [MQTT-3.8.4-5] [MQTT3-3.8.4-4]
#[test]
fn filters_of_one_packet_are_subscriptions_in_a_row() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        // The second subscription to "a" replaces the first.
        peer.send(
            Subscribe::new(1)
                .filter("a", 2)
                .filter("b", 1)
                .filter("a", 0),
        );
        peer.expect_suback(1, &[2, 1, 0]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("a", "x").qos2(1));
        let message = peer.expect_message();
        assert_eq!((message.topic.as_str(), message.qos), ("a", 0));
        publisher.publish(Publish::new("b", "x").qos2(2));
        let message = peer.expect_message();
        assert_eq!((message.topic.as_str(), message.qos), ("b", 1));
    });
}

/// [MQTT-3.8.3-2] [MQTT3-3.8.3-3]
#[test]
fn subscribe_without_a_filter_is_a_protocol_error() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send_frame(&head(version));
        peer.expect_disconnected(MALFORMED);
    });
}

/// [MQTT-3.8.3-1] [MQTT3-3.8.3-1] [MQTT-2.2.2-1] [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn subscribe_cut_short_is_malformed() {
    each_version(|broker, version| {
        let whole = head(version).string("t/u").u8(0).string("v").u8(1).bytes();
        let whole = &whole[2..];
        let fixed = if version == Version::V5 { 3 } else { 2 };
        for length in (0..whole.len()).filter(|length| *length != fixed + 6) {
            println!("{length} bytes of {}", whole.len());
            let mut peer = broker.client(version, "client");
            peer.send_frame(&Frame::new(0x82).raw(&whole[..length]));
            peer.expect_disconnected(MALFORMED);
        }
    });
}

/// [MQTT3-3.8.3-4]
#[test]
fn v311_reserved_bits_of_the_requested_qos_are_malformed() {
    let broker = start();
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x81, 0xFF] {
        let mut peer = broker.client(Version::V311, "client");
        peer.send(Subscribe::new(1).filter("t", options));
        peer.expect_closed();
    }
}

/// [MQTT-3.8.3-5] [MQTT-4.13.1-1]
#[test]
fn v5_reserved_bits_of_the_options_are_malformed() {
    let broker = start();
    // Reserved bits, QoS 3, Retain Handling 3.
    for options in [0x40, 0x80, 0xC0, 0x41, 0x03, 0x30, 0x31] {
        println!("{options:#04x}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send(Subscribe::new(1).filter("t", options));
        peer.expect_disconnected(MALFORMED);
    }
}

/// [MQTT-3.8.4-3] [MQTT3-3.8.4-3]
#[test]
fn identical_filter_replaces_the_subscription() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        let mut publisher = broker.client(version, "publisher");
        for qos in [2, 0, 1] {
            peer.subscribe("a/+", qos);
            publisher.publish(Publish::new("a/b", "x").qos2(1));
            assert_eq!(peer.expect_message().qos, qos);
            expect_no_message(&mut publisher, &mut peer);
        }
    });
}

/// Messages before, during and after the replacement: all of them, once each.
/// [MQTT-3.8.4-4] [MQTT3-3.8.4-3]
#[test]
fn replacing_a_subscription_loses_nothing() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=100_u16 {
            publisher.send(Publish::new("t", &number.to_string()).qos1(number));
            if number % 10 == 0 {
                peer.subscribe("t", 1);
            }
        }
        for number in 1..=100_u16 {
            assert_eq!(text(&peer.expect_message()), number.to_string());
        }
        expect_no_message(&mut publisher, &mut peer);
    });
}

/// A replacement does not touch messages that are queued already at the QoS of before.
/// [MQTT-3.8.4-4] [MQTT3-3.8.4-3]
#[test]
fn messages_in_flight_outlive_a_replacement() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut peer = broker.connect(persistent.clone());
        peer.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let first = peer.expect_publish();
        peer.subscribe("t", 0);
        peer.cut();
        let mut peer = broker.connect(persistent.resume());
        let again = peer.expect_message();
        assert_eq!(
            (again.packet_identifier, again.qos),
            (first.packet_identifier, 1)
        );
    });
}

/// [MQTT-3.2.2-10] [MQTT3-3.8.3-2]
#[test]
fn wildcards_and_every_qos_are_supported() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        for filter in ["#", "+", "a/+/b", "+/+", "a/#", "/#", "/+", "+/#"] {
            for qos in 0..=2 {
                peer.subscribe(filter, qos);
            }
        }
    });
}

/// One SUBSCRIBE may hold very many filters.
/// [MQTT-3.8.4-6] [MQTT3-3.8.4-5]
#[test]
fn subscribe_may_have_a_thousand_filters() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        let subscribe = (0..1000).fold(Subscribe::new(1), |subscribe, number| {
            subscribe.filter(
                &format!("t/{number}"),
                u8::try_from(number % 3).expect("below 3"),
            )
        });
        let granted: Vec<u8> = subscribe.filters.iter().map(|(_, qos)| *qos).collect();
        peer.send(subscribe);
        peer.expect_suback(1, &granted);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t/998", "x").qos2(1));
        assert_eq!(peer.expect_message().qos, 2, "998 leaves 2");
    });
}
