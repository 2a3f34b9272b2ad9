//! UTF-8 Encoded Strings (section 1.5.4 of MQTT 5, 1.5.3 of 3.1.1).

use std::time::Duration;

use nexum_harness::{Broker, Frame, Packet, Publish, Received, Version, reason};

use crate::scene::{CLEAN, connect_head, each_version, start};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// Every way not to be UTF-8, and U+0000.
const ILL_FORMED: &[(&str, &[u8])] = &[
    ("a lone continuation byte", &[b'a', 0x80]),
    ("a byte that never occurs", &[0xFF]),
    ("another that never occurs", &[0xFE, b'a']),
    ("a sequence cut short", &[b'a', 0xC3]),
    ("a sequence of three cut short", &[0xE2, 0x82]),
    ("a sequence broken by ASCII", &[0xE2, b'a', 0x82]),
    ("an overlong slash", &[0xC0, 0xAF]),
    ("an overlong NUL", &[0xC0, 0x80]),
    ("an overlong form of three bytes", &[0xE0, 0x80, 0xAF]),
    ("an overlong form of four bytes", &[0xF0, 0x80, 0x80, 0xAF]),
    ("the first surrogate U+D800", &[0xED, 0xA0, 0x80]),
    ("the last surrogate U+DFFF", &[0xED, 0xBF, 0xBF]),
    (
        "a pair of surrogates",
        &[0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80],
    ),
    ("beyond U+10FFFF", &[0xF4, 0x90, 0x80, 0x80]),
    ("a sequence of five bytes", &[0xF8, 0x88, 0x80, 0x80, 0x80]),
    ("U+0000", &[0x00]),
    ("U+0000 inside", b"a\0b"),
];

/// For each ill-formed string, makes a CONNECT and expects that it is refused as malformed.
#[track_caller]
fn expect_connect_refused(broker: &Broker, version: Version, connect: impl Fn(&[u8]) -> Frame) {
    for (what, bytes) in ILL_FORMED {
        println!("{what}: {bytes:02x?}");
        let mut peer = broker.dial(version);
        peer.send_frame(&connect(bytes));
        peer.expect_malformed_connect_refused(&[
            reason::MALFORMED_PACKET,
            reason::PROTOCOL_ERROR,
            reason::CLIENT_IDENTIFIER_NOT_VALID,
            reason::TOPIC_NAME_INVALID,
            reason::BAD_USER_NAME_OR_PASSWORD,
        ]);
    }
}

/// For each ill-formed string, makes a packet and expects that it ends the connection.
#[track_caller]
fn expect_packet_refused(broker: &Broker, version: Version, packet: impl Fn(&[u8]) -> Frame) {
    for (what, bytes) in ILL_FORMED {
        println!("{what}: {bytes:02x?}");
        let mut peer = broker.client(version, "client");
        peer.send_frame(&packet(bytes));
        peer.expect_disconnected(&[MALFORMED, &[reason::TOPIC_NAME_INVALID]].concat());
    }
}

/// No properties, where the version has any.
fn no_properties(version: Version, frame: Frame) -> Frame {
    match version {
        Version::V311 => frame,
        Version::V5 => frame.properties(&[]),
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.3-4] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT3-3.1.3-4]
#[test]
fn client_identifier_must_be_utf8() {
    each_version(|broker, version| {
        expect_connect_refused(broker, version, |bytes| {
            connect_head(version, CLEAN).binary(bytes)
        });
    });
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.3-11] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// [MQTT3-3.1.3-10] [MQTT-4.7.3-2] [MQTT3-4.7.3-2]
#[test]
fn will_topic_must_be_utf8() {
    each_version(|broker, version| {
        expect_connect_refused(broker, version, |bytes| {
            let frame = connect_head(version, CLEAN | 0x04).string("client");
            no_properties(version, frame)
                .binary(bytes)
                .binary(b"payload")
        });
    });
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.3-12] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// [MQTT3-3.1.3-11]
#[test]
fn user_name_must_be_utf8() {
    each_version(|broker, version| {
        expect_connect_refused(broker, version, |bytes| {
            connect_head(version, CLEAN | 0x80)
                .string("client")
                .binary(bytes)
        });
    });
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.2-1] [MQTT-4.7.3-2] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// [MQTT3-3.3.2-1] [MQTT3-4.7.3-2]
#[test]
fn topic_name_must_be_utf8() {
    each_version(|broker, version| {
        expect_packet_refused(broker, version, |bytes| {
            no_properties(version, Frame::new(0x30).binary(bytes)).raw(b"payload")
        });
    });
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.8.3-1] [MQTT-4.7.3-2] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// [MQTT3-3.8.3-1] [MQTT3-4.7.3-2]
#[test]
fn topic_filter_of_subscribe_must_be_utf8() {
    each_version(|broker, version| {
        expect_packet_refused(broker, version, |bytes| {
            no_properties(version, Frame::new(0x82).u16(1))
                .binary(bytes)
                .u8(0)
        });
    });
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.10.3-1] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// [MQTT3-3.10.3-1]
#[test]
fn topic_filter_of_unsubscribe_must_be_utf8() {
    each_version(|broker, version| {
        expect_packet_refused(broker, version, |bytes| {
            no_properties(version, Frame::new(0xA2).u16(1)).binary(bytes)
        });
    });
}

/// A property whose value is a string: identifier, then the string.
fn string_property(identifier: u8, bytes: &[u8]) -> Vec<u8> {
    // The frame lends its writer; its two bytes of header go.
    Frame::new(0).u8(identifier).binary(bytes).bytes()[2..].to_vec()
}

const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const AUTHENTICATION_METHOD: u8 = 0x15;
const REASON_STRING: u8 = 0x1F;

/// [MQTT-3.3.2-19] [MQTT-3.3.2-13] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
#[test]
fn v5_content_type_and_response_topic_must_be_utf8() {
    let broker = start();
    for identifier in [CONTENT_TYPE, RESPONSE_TOPIC] {
        expect_packet_refused(&broker, Version::V5, |bytes| {
            Frame::new(0x30)
                .string("t")
                .raw_properties(&string_property(identifier, bytes))
                .raw(b"payload")
        });
        expect_connect_refused(&broker, Version::V5, |bytes| {
            connect_head(Version::V5, CLEAN | 0x04)
                .string("client")
                .raw_properties(&string_property(identifier, bytes))
                .string("will")
                .binary(b"payload")
        });
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2]
#[test]
fn v5_other_string_properties_must_be_utf8() {
    let broker = start();
    expect_connect_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x10)
            .string("MQTT")
            .u8(5)
            .u8(CLEAN)
            .u16(0)
            .raw_properties(&string_property(AUTHENTICATION_METHOD, bytes))
            .string("client")
    });
    expect_packet_refused(&broker, Version::V5, |bytes| {
        Frame::new(0xE0)
            .u8(0)
            .raw_properties(&string_property(REASON_STRING, bytes))
    });
    expect_packet_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x40)
            .u16(1)
            .u8(0)
            .raw_properties(&string_property(REASON_STRING, bytes))
    });
}

/// [MQTT-1.5.7-1] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
#[test]
fn v5_both_strings_of_a_user_property_must_be_utf8() {
    let broker = start();
    let pair = |name: &[u8], value: &[u8]| {
        Frame::new(0).u8(0x26).binary(name).binary(value).bytes()[2..].to_vec()
    };
    expect_packet_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x30)
            .string("t")
            .raw_properties(&pair(bytes, b"value"))
            .raw(b"x")
    });
    expect_packet_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x30)
            .string("t")
            .raw_properties(&pair(b"name", bytes))
            .raw(b"x")
    });
    expect_packet_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x82)
            .u16(1)
            .raw_properties(&pair(bytes, bytes))
            .string("t")
            .u8(0)
    });
    expect_connect_refused(&broker, Version::V5, |bytes| {
        Frame::new(0x10)
            .string("MQTT")
            .u8(5)
            .u8(CLEAN)
            .u16(0)
            .raw_properties(&pair(b"name", bytes))
            .string("client")
    });
}

/// What is well-formed is accepted, at the edges of each length.
/// [MQTT-1.5.4-1] [MQTT3-1.5.3-1]
#[test]
fn every_well_formed_string_is_accepted() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("u/+", 0);
        let mut publisher = broker.client(version, "publisher");
        for text in [
            " ",
            "~",
            "\u{A0}",
            "\u{7FF}",
            "\u{800}",
            "\u{D7FF}",
            "\u{E000}",
            "\u{FFFD}",
            "\u{10000}",
            "\u{10FFFD}",
            "\u{1F469}\u{200D}\u{1F680}",
        ] {
            let topic = format!("u/{text}");
            publisher.send(Publish::new(&topic, text));
            let message = subscriber.expect_publish();
            assert_eq!(
                (message.topic, message.payload),
                (topic, text.as_bytes().to_vec())
            );
        }
    });
}

/// Control characters and noncharacters should not be sent; a server may take them for malformed,
/// or pass them on as they are.
/// [MQTT-1.5.4-1] [MQTT3-1.5.3-1]
#[test]
fn discouraged_characters_are_passed_on_or_refused() {
    each_version(|broker, version| {
        for text in [
            "\u{1}",
            "\u{1F}",
            "\u{7F}",
            "\u{9F}",
            "\u{FFFF}",
            "\u{FDD0}",
            "\u{1FFFE}",
        ] {
            println!("{text:?}");
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe("u/+", 0);
            let mut publisher = broker.client(version, "publisher");
            let topic = format!("u/{text}");
            publisher.send(Publish::new(&topic, "").qos1(1));
            match publisher.recv_within(Duration::from_secs(5)) {
                Received::Packet(Packet::Puback(ack)) if ack.reason < 0x80 => {
                    assert_eq!(subscriber.expect_publish().topic, topic);
                }
                Received::Packet(Packet::Disconnect(disconnect)) => {
                    assert!(MALFORMED.contains(&disconnect.reason), "{disconnect:?}");
                }
                Received::Closed if version == Version::V311 => {}
                other => panic!("neither passed on nor refused: {other:?}"),
            }
        }
    });
}

/// [MQTT-1.5.4-3] [MQTT3-1.5.3-3]
#[test]
fn byte_order_mark_is_a_character_like_any_other() {
    each_version(|broker, version| {
        let mut with = broker.client(version, "with");
        with.subscribe("\u{FEFF}t", 0);
        let mut without = broker.client(version, "without");
        without.subscribe("t", 0);
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("\u{FEFF}t", "with"));
        publisher.send(Publish::new("t", "without"));
        let message = with.expect_publish();
        assert_eq!(
            (message.topic.as_str(), message.payload),
            ("\u{FEFF}t", b"with".to_vec())
        );
        let message = without.expect_publish();
        assert_eq!(
            (message.topic.as_str(), message.payload),
            ("t", b"without".to_vec())
        );
    });
}
