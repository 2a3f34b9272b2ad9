//! What the oracle takes and what it refuses.

use super::*;
use crate::packet::{puback, pubcomp, pubrec, pubrel};

fn round_trip(version: Version, packet: impl Into<Packet>) {
    let packet = packet.into();
    let bytes = packet.bytes(version);
    for cut in 0..bytes.len() {
        assert_eq!(
            decode(version, &bytes[..cut]),
            Ok(None),
            "{cut} of {} bytes of {packet:?}",
            bytes.len()
        );
    }
    let length = bytes.len();
    assert_eq!(decode(version, &bytes), Ok(Some((packet, length))));
}

fn refused(version: Version, bytes: &[u8]) {
    let decoded = decode(version, bytes);
    assert!(decoded.is_err(), "{bytes:02x?} passed as {decoded:?}");
}

#[test]
fn every_packet_survives_a_round_trip() {
    for version in Version::ALL {
        round_trip(version, Connect::new(version, ""));
        let will = Will::new("w/t", "gone").qos(2).retain();
        let full = Connect::new(version, "c")
            .resume()
            .keep_alive(60)
            .will(will)
            .user_name("u")
            .password(&[0, 255]);
        round_trip(version, full);
        for reason in 0..=5 {
            let connack = Connack {
                session_present: reason == 0,
                reason: if version == Version::V5 && reason > 0 {
                    0x80
                } else {
                    reason
                },
                properties: Properties::default(),
            };
            round_trip(version, connack);
        }
        round_trip(version, Publish::new("a/b", ""));
        round_trip(version, Publish::new("a/b", "x").qos1(1).retain());
        round_trip(version, Publish::new("a/b", "x").qos2(65_535).duplicate());
        for ack in [puback(1), pubrec(2), pubrel(3), pubcomp(4)] {
            round_trip(version, ack);
        }
        round_trip(version, Subscribe::new(5).filter("a/+", 0).filter("#", 2));
        let suback = Suback {
            packet_identifier: 5,
            properties: Properties::default(),
            reasons: vec![0, 0x80],
        };
        round_trip(version, suback);
        round_trip(version, Unsubscribe::new(6, "a/+").filter("#"));
        let unsuback = Unsuback {
            packet_identifier: 6,
            properties: Properties::default(),
            reasons: if version == Version::V5 {
                vec![0, 0x11]
            } else {
                vec![]
            },
        };
        round_trip(version, unsuback);
        round_trip(version, Packet::Pingreq);
        round_trip(version, Packet::Pingresp);
        round_trip(version, Disconnect::normal());
    }
    round_trip(Version::V5, puback(9).reason(0x10));
    round_trip(Version::V5, pubrel(9).reason(0x92));
    round_trip(
        Version::V5,
        Disconnect::new(0x8E).property(Property::user("a", "b")),
    );
    let auth = Auth::new(0x18).property(Property::authentication_method("SCRAM"));
    round_trip(Version::V5, auth);
    let publish = Publish::new("", "x")
        .property(Property::topic_alias(1))
        .property(Property::subscription_identifier(1))
        .property(Property::subscription_identifier(268_435_455))
        .property(Property::correlation_data(&[0]))
        .property(Property::message_expiry_interval(1));
    round_trip(Version::V5, publish);
}

#[test]
fn what_breaks_a_rule_of_form_is_refused() {
    for version in Version::ALL {
        // Reserved flags of PINGRESP, SUBACK without reserved 0, PUBREL without 0010.
        refused(version, &[0xD1, 0x00]);
        refused(version, &[0x60, 0x02, 0x00, 0x01]);
        // Types 0, and QoS 3, DUP at QoS 0, a wildcard in a Topic Name, identifier 0.
        refused(version, &[0x00, 0x00]);
        refused(version, &[0x36, 0x06, 0x00, 0x01, b'a', 0x00, 0x01, 0x00]);
        refused(version, &[0x38, 0x04, 0x00, 0x01, b'a', 0x00]);
        refused(version, &[0x30, 0x04, 0x00, 0x01, b'#', 0x00]);
        refused(version, &[0x40, 0x02, 0x00, 0x00]);
        // Trailing bytes, U+0000, ill-formed UTF-8, a fifth byte of Remaining Length.
        refused(version, &[0xD0, 0x01, 0x00]);
        refused(version, &[0x30, 0x04, 0x00, 0x01, 0x00, 0x00]);
        refused(version, &[0x30, 0x05, 0x00, 0x02, 0xC0, 0x80, 0x00]);
        refused(version, &[0xD0, 0x80, 0x80, 0x80, 0x80, 0x01]);
        refused(version, &[0xD0, 0x80, 0x00]);
        // Reserved CONNACK flags; a SUBACK code that does not exist, and none at all.
        refused(version, &[0x20, 0x03, 0x02, 0x00, 0x00]);
        refused(version, &[0x90, 0x04, 0x00, 0x01, 0x00, 0x03]);
        refused(version, &[0x90, 0x02, 0x00, 0x01]);
    }
    refused(Version::V311, &[0xF0, 0x00]);
    refused(Version::V311, &[0x20, 0x02, 0x00, 0x06]);
    // A property in the wrong place, twice, of the value 0, unknown.
    refused(Version::V5, &[0xE0, 0x05, 0x00, 0x03, 0x23, 0x00, 0x01]);
    refused(
        Version::V5,
        &[0x30, 0x0A, 0x00, 0x01, b'a', 0x06, 0x23, 0, 1, 0x23, 0, 1],
    );
    refused(
        Version::V5,
        &[0x30, 0x07, 0x00, 0x01, b'a', 0x03, 0x23, 0, 0],
    );
    refused(Version::V5, &[0xE0, 0x04, 0x00, 0x02, 0x7F, 0x00]);
    // A Reason Code that has no place there.
    refused(Version::V5, &[0x40, 0x03, 0x00, 0x01, 0x82]);
    refused(Version::V5, &[0xE0, 0x01, 0x86]);
    // Neither topic nor alias.
    refused(Version::V5, &[0x30, 0x03, 0x00, 0x00, 0x00]);
}
