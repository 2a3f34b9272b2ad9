//! The Connect Flags and the payload of CONNECT, field by field (sections 3.1.2 and 3.1.3).

use std::collections::HashSet;

use nexum_harness::{Connect, Frame, Packet, Property, Publish, Received, Version, Will, reason};

use crate::scene::{CLEAN, connect_head, each_version, start};

const WILL: u8 = 0x04;
const WILL_QOS_1: u8 = 0x08;
const WILL_QOS_2: u8 = 0x10;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// Sends the CONNECT and expects that it ends the connection as malformed.
#[track_caller]
fn expect_malformed(broker: &nexum_harness::Broker, version: Version, frame: &Frame) {
    let mut peer = broker.dial(version);
    peer.send_frame(frame);
    peer.expect_malformed_connect_refused(MALFORMED);
}

/// The will's part of the payload: in MQTT 5 no properties, then topic and payload.
fn will_fields(version: Version, frame: Frame) -> Frame {
    let frame = match version {
        Version::V311 => frame,
        Version::V5 => frame.properties(&[]),
    };
    frame.string("will").string("payload")
}

/// [MQTT-3.1.2-3] [MQTT3-3.1.2-3] [MQTT-3.1.4-1] [MQTT3-3.1.4-1]
#[test]
fn reserved_connect_flag_must_be_zero() {
    each_version(|broker, version| {
        let frame = connect_head(version, CLEAN | 0x01).string("client");
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-15]
#[test]
fn will_qos_and_retain_without_will_are_malformed() {
    each_version(|broker, version| {
        for flag in [WILL_QOS_1, WILL_QOS_2, WILL_RETAIN] {
            println!("{flag:#04x}");
            let frame = connect_head(version, CLEAN | flag).string("client");
            expect_malformed(broker, version, &frame);
        }
    });
}

/// [MQTT3-3.1.2-11]
#[test]
fn will_fields_without_will_flag_are_malformed() {
    each_version(|broker, version| {
        let frame = will_fields(version, connect_head(version, CLEAN).string("client"));
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-12] [MQTT3-3.1.2-14]
#[test]
fn will_qos_3_is_malformed() {
    each_version(|broker, version| {
        let flags = CLEAN | WILL | WILL_QOS_1 | WILL_QOS_2;
        let frame = will_fields(version, connect_head(version, flags).string("client"));
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-12] [MQTT-3.2.2-12] [MQTT-3.2.2-9] [MQTT-3.2.2-13]
#[test]
fn every_will_qos_and_retain_is_accepted() {
    each_version(|broker, version| {
        for qos in 0..=2 {
            let will = Will::new("will", "payload").qos(qos).retain();
            let mut peer = broker.connect(Connect::new(version, "client").will(will));
            peer.expect_ping();
            let offered = &peer.connack().properties;
            assert_eq!(offered.maximum_qos(), None, "absent means 2");
            assert!(offered.retain_available() != Some(0));
            peer.disconnect();
        }
    });
}

/// [MQTT-3.1.2-9] [MQTT3-3.1.2-9]
#[test]
fn will_flag_without_will_fields_is_malformed() {
    each_version(|broker, version| {
        let flags = CLEAN | WILL;
        let head = connect_head(version, flags).string("client");
        expect_malformed(broker, version, &head);
        let head = match version {
            Version::V311 => head,
            Version::V5 => head.properties(&[]),
        };
        expect_malformed(broker, version, &head.clone());
        // A Will Topic, but no Will Payload.
        expect_malformed(broker, version, &head.string("will"));
    });
}

/// [MQTT-3.1.2-16] [MQTT3-3.1.2-18]
#[test]
fn user_name_without_its_flag_is_malformed() {
    each_version(|broker, version| {
        let frame = connect_head(version, CLEAN).string("client").string("user");
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-17] [MQTT3-3.1.2-19]
#[test]
fn user_name_flag_without_user_name_is_malformed() {
    each_version(|broker, version| {
        let frame = connect_head(version, CLEAN | USER_NAME).string("client");
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-18] [MQTT3-3.1.2-20]
#[test]
fn password_without_its_flag_is_malformed() {
    each_version(|broker, version| {
        let frame = connect_head(version, CLEAN | USER_NAME)
            .string("client")
            .string("user")
            .string("password");
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT-3.1.2-19] [MQTT3-3.1.2-21]
#[test]
fn password_flag_without_password_is_malformed() {
    each_version(|broker, version| {
        let frame = connect_head(version, CLEAN | USER_NAME | PASSWORD)
            .string("client")
            .string("user");
        expect_malformed(broker, version, &frame);
    });
}

/// [MQTT3-3.1.2-22]
#[test]
fn v311_password_flag_needs_the_user_name_flag() {
    let broker = start();
    let frame = connect_head(Version::V311, CLEAN | PASSWORD)
        .string("client")
        .string("password");
    expect_malformed(&broker, Version::V311, &frame);
}

/// MQTT 5 lets a client send a Password alone; what the broker makes of it is its own matter, but
/// it is not malformed (section 3.1.2.9).
/// [MQTT-3.1.2-16]
#[test]
fn v5_password_without_user_name_is_well_formed() {
    let broker = start();
    let mut peer = broker.dial(Version::V5);
    peer.send(Connect::new(Version::V5, "client").password(b"token"));
    let connack = peer.expect_connack();
    let allowed = [
        reason::SUCCESS,
        reason::BAD_USER_NAME_OR_PASSWORD,
        reason::NOT_AUTHORIZED,
    ];
    assert!(allowed.contains(&connack.reason), "{connack:?}");
}

/// [MQTT-3.1.3-3] [MQTT3-3.1.3-3]
#[test]
fn client_identifier_must_be_present() {
    each_version(|broker, version| {
        expect_malformed(broker, version, &connect_head(version, CLEAN));
    });
}

/// [MQTT-3.1.3-5] [MQTT3-3.1.3-5]
#[test]
fn plain_client_identifiers_of_1_to_23_bytes_are_accepted() {
    const ALPHABET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    each_version(|broker, version| {
        for length in [1, 2, 22, 23] {
            for start in (0..ALPHABET.len()).step_by(length.max(8)) {
                let id: String = ALPHABET.chars().cycle().skip(start).take(length).collect();
                println!("{id}");
                broker.client(version, &id).disconnect();
            }
        }
    });
}

/// A server may take more than the 23 bytes, or any characters; if not, it must say so.
/// [MQTT-3.1.3-8] [MQTT3-3.1.3-9]
#[test]
fn other_client_identifiers_are_accepted_or_refused_by_name() {
    each_version(|broker, version| {
        let long = "x".repeat(60_000);
        for id in [
            "a b",
            "a/b",
            "+",
            "#",
            "$SYS",
            "söndag",
            "\u{1F980}",
            "../x",
            &long,
        ] {
            println!(
                "{} bytes: {}",
                id.len(),
                id.get(..8.min(id.len())).unwrap_or(id)
            );
            let mut peer = broker.dial(version);
            peer.send(Connect::new(version, id));
            let connack = peer.expect_connack();
            let refusal = match version {
                Version::V311 => reason::V311_IDENTIFIER_REJECTED,
                Version::V5 => reason::CLIENT_IDENTIFIER_NOT_VALID,
            };
            if connack.reason == reason::SUCCESS {
                peer.expect_ping();
            } else {
                assert_eq!(connack.reason, refusal, "{connack:?}");
                peer.expect_closed();
            }
        }
    });
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[test]
fn v5_empty_client_identifier_is_replaced_by_a_unique_one() {
    let broker = start();
    let mut taken = HashSet::new();
    let mut peers = Vec::new();
    for clean_start in [true, false, true, false] {
        let mut connect = Connect::new(Version::V5, "");
        connect.clean_start = clean_start;
        let peer = broker.connect(connect);
        assert!(!peer.connack().session_present);
        let assigned = peer.connack().properties.assigned_client_identifier();
        let assigned = assigned.expect("an identifier is assigned").to_owned();
        assert!(!assigned.is_empty());
        assert!(taken.insert(assigned), "assigned twice: {taken:?}");
        peers.push(peer);
    }
    // All of them live side by side.
    for peer in &mut peers {
        peer.expect_ping();
    }
}

/// The assigned identifier is as good as one of the client's own: it names a session to resume.
/// [MQTT-3.1.3-7] [MQTT-3.1.3-2]
#[test]
fn v5_assigned_client_identifier_names_the_session() {
    let broker = start();
    let mut peer = broker.connect(Connect::new(Version::V5, "").persistent());
    peer.subscribe("t", 1);
    let assigned = peer.connack().properties.assigned_client_identifier();
    let assigned = assigned.expect("an identifier is assigned").to_owned();
    peer.disconnect();
    let peer = broker.connect(Connect::new(Version::V5, &assigned).resume());
    assert!(peer.connack().session_present);
    assert_eq!(peer.connack().properties.assigned_client_identifier(), None);
}

/// [MQTT3-3.1.3-6]
#[test]
fn v311_empty_client_identifiers_are_distinct_clients() {
    let broker = start();
    let mut peers: Vec<_> = (0..3).map(|_| broker.client(Version::V311, "")).collect();
    for peer in &mut peers {
        peer.subscribe("t", 0);
    }
    let mut publisher = broker.client(Version::V311, "publisher");
    publisher.send(Publish::new("t", "to all"));
    for peer in &mut peers {
        assert_eq!(peer.expect_publish().payload, b"to all");
    }
}

/// [MQTT3-3.1.3-7] [MQTT3-3.1.3-8] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn v311_empty_client_identifier_needs_clean_session() {
    let broker = start();
    let mut peer = broker.dial(Version::V311);
    peer.send(Connect::new(Version::V311, "").resume());
    let connack = peer.expect_refused(&[reason::V311_IDENTIFIER_REJECTED]);
    assert!(!connack.session_present);
}

/// Two identifiers, two sessions; one identifier, one session.
/// [MQTT-3.1.3-2] [MQTT3-3.1.3-2]
#[test]
fn client_identifier_names_the_session() {
    each_version(|broker, version| {
        let persistent = |id: &str| Connect::new(version, id).persistent();
        let mut first = broker.connect(persistent("first"));
        first.subscribe("of/first", 1);
        first.disconnect();
        let mut second = broker.connect(persistent("second"));
        assert!(!second.connack().session_present);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("of/first", "x").qos1(1));
        crate::scene::expect_no_message(&mut publisher, &mut second);
        second.disconnect();
        let mut first = broker.connect(persistent("first").resume());
        assert!(first.connack().session_present);
        assert_eq!(first.expect_message().topic, "of/first");
    });
}

/// Identifiers differ by case and by every byte.
/// [MQTT-3.1.3-2] [MQTT3-3.1.3-2]
#[test]
fn client_identifiers_are_compared_byte_by_byte() {
    each_version(|broker, version| {
        let mut peers: Vec<_> = ["client", "Client", "client ", "clien", "e\u{301}", "\u{e9}"]
            .iter()
            .map(|id| broker.client(version, id))
            .collect();
        for peer in &mut peers {
            peer.expect_ping();
        }
    });
}

/// A Will Topic is a topic, not a filter, and not empty.
/// [MQTT-4.7.0-1] [MQTT3-4.7.1-1] [MQTT-4.7.3-1] [MQTT3-4.7.3-1]
#[test]
fn will_topic_must_be_a_topic_name() {
    each_version(|broker, version| {
        for topic in ["", "a/+", "#", "a/#/b", "+", "a+"] {
            println!("{topic:?}");
            let mut peer = broker.dial(version);
            peer.send(Connect::new(version, "client").will(Will::new(topic, "x")));
            peer.expect_malformed_connect_refused(&[
                reason::MALFORMED_PACKET,
                reason::PROTOCOL_ERROR,
                reason::TOPIC_NAME_INVALID,
            ]);
        }
    });
}

/// An empty Will Payload is a message like any other.
/// [MQTT-3.1.2-9] [MQTT3-3.1.2-9]
#[test]
fn will_payload_may_be_empty() {
    each_version(|broker, version| {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("will", 0);
        let connect = Connect::new(version, "client").will(Will::new("will", ""));
        broker.connect(connect).cut();
        assert_eq!(watcher.expect_publish().payload, b"");
    });
}

/// Each of these breaks section 3.1.2.11 on its own.
/// [MQTT-3.1.4-1] [MQTT-4.13.1-1]
#[test]
fn v5_connect_properties_must_keep_their_rules() {
    let broker = start();
    let interval = Property::session_expiry_interval(1).bytes();
    let maximum = Property::receive_maximum(1).bytes();
    let size = Property::maximum_packet_size(100).bytes();
    let aliases = Property::topic_alias_maximum(1).bytes();
    let method = Property::authentication_method("m").bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "Session Expiry Interval twice",
            [interval.clone(), interval].concat(),
        ),
        ("Receive Maximum twice", [maximum.clone(), maximum].concat()),
        ("Receive Maximum 0", Property::receive_maximum(0).bytes()),
        ("Maximum Packet Size twice", [size.clone(), size].concat()),
        (
            "Maximum Packet Size 0",
            Property::maximum_packet_size(0).bytes(),
        ),
        (
            "Topic Alias Maximum twice",
            [aliases.clone(), aliases].concat(),
        ),
        ("Request Response Information 2", vec![0x19, 2]),
        ("Request Response Information twice", vec![0x19, 1, 0x19, 1]),
        ("Request Problem Information 2", vec![0x17, 2]),
        ("Request Problem Information twice", vec![0x17, 0, 0x17, 0]),
        (
            "Authentication Method twice",
            [method.clone(), method].concat(),
        ),
        (
            "Authentication Data without a method",
            Property::authentication_data(b"data").bytes(),
        ),
        ("a property of PUBLISH", Property::topic_alias(1).bytes()),
        ("a property of CONNACK", vec![0x24, 1]),
        (
            "a property of the will",
            Property::will_delay_interval(1).bytes(),
        ),
        ("no such property", vec![0x7F, 0]),
        ("a property cut short", vec![0x11, 0, 0]),
        (
            "a property identifier of two bytes",
            vec![0x91, 0x01, 0, 0, 0, 1],
        ),
    ];
    for (what, properties) in cases {
        println!("{what}");
        let frame = Frame::new(0x10)
            .string("MQTT")
            .u8(5)
            .u8(CLEAN)
            .u16(0)
            .raw_properties(&properties)
            .string("client");
        expect_malformed(&broker, Version::V5, &frame);
    }
}

/// … and each of these section 3.1.3.2.
/// [MQTT-3.1.4-1] [MQTT-4.13.1-1]
#[test]
fn v5_will_properties_must_keep_their_rules() {
    let broker = start();
    let delay = Property::will_delay_interval(1).bytes();
    let expiry = Property::message_expiry_interval(1).bytes();
    let content = Property::content_type("t").bytes();
    let response = Property::response_topic("r").bytes();
    let correlation = Property::correlation_data(b"c").bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Will Delay Interval twice", [delay.clone(), delay].concat()),
        (
            "Message Expiry Interval twice",
            [expiry.clone(), expiry].concat(),
        ),
        ("Content Type twice", [content.clone(), content].concat()),
        (
            "Response Topic twice",
            [response.clone(), response].concat(),
        ),
        (
            "Correlation Data twice",
            [correlation.clone(), correlation].concat(),
        ),
        ("Payload Format Indicator twice", vec![0x01, 0, 0x01, 0]),
        ("Payload Format Indicator 2", vec![0x01, 2]),
        (
            "a property of CONNECT",
            Property::session_expiry_interval(1).bytes(),
        ),
        ("Topic Alias", Property::topic_alias(1).bytes()),
    ];
    for (what, properties) in cases {
        println!("{what}");
        let frame = connect_head(Version::V5, CLEAN | WILL)
            .string("client")
            .raw_properties(&properties)
            .string("will")
            .string("payload");
        expect_malformed(&broker, Version::V5, &frame);
    }
}

/// A broker that checks the will's payload against its Payload Format Indicator may refuse; one
/// that does not must take it.
/// [MQTT-3.3.2-4]
#[test]
fn v5_will_payload_format_is_checked_at_connect_or_not_at_all() {
    let broker = start();
    let mut will = Will::new("will", "").property(Property::payload_format_indicator(1));
    will.payload = vec![0xFF, 0xFE];
    let mut peer = broker.dial(Version::V5);
    peer.send(Connect::new(Version::V5, "client").will(will));
    match peer.recv_within(std::time::Duration::from_secs(5)) {
        Received::Packet(Packet::Connack(connack)) => assert!(
            [reason::SUCCESS, reason::PAYLOAD_FORMAT_INVALID].contains(&connack.reason),
            "{connack:?}"
        ),
        other => panic!("expected CONNACK, got {other:?}"),
    }
}
