//! The fixed header: packet types, reserved flags, Remaining Length (section 2.1 of MQTT 5, 2.2 of
//! 3.1.1).

use nexum_harness::{Broker, Frame, Packet, Publish, Version, reason};

use crate::scene::{CLEAN, connect_head, each_version, start};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

/// Sends the bytes on a fresh connection that is logged in, and expects that they end it.
#[track_caller]
fn expect_malformed(broker: &Broker, version: Version, bytes: &[u8]) {
    let mut peer = broker.client(version, "client");
    peer.send_bytes(bytes);
    peer.expect_disconnected(MALFORMED);
}

/// Every flag nibble but the right one, on a packet that is otherwise in order.
#[track_caller]
fn expect_flags_checked(version: Version, whole: &[u8]) {
    let broker = start();
    let right = whole[0] & 0x0F;
    for flags in (0..16).filter(|flags| *flags != right) {
        println!("{:#04x}", (whole[0] & 0xF0) | flags);
        let mut bytes = whole.to_vec();
        bytes[0] = (whole[0] & 0xF0) | flags;
        expect_malformed(&broker, version, &bytes);
    }
}

/// [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT-3.1.4-1] [MQTT3-3.1.4-1]
#[test]
fn connect_flags_are_reserved() {
    each_version(|broker, version| {
        for flags in 1..16 {
            let mut bytes = connect_head(version, CLEAN).string("client").bytes();
            bytes[0] |= flags;
            let mut peer = broker.dial(version);
            peer.send_bytes(&bytes);
            peer.expect_malformed_connect_refused(MALFORMED);
        }
    });
}

/// [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
#[test]
fn puback_flags_are_reserved() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0x40, 2, 0, 1]);
    }
}

/// [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
#[test]
fn pubrec_flags_are_reserved() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0x50, 2, 0, 1]);
    }
}

/// [MQTT-3.6.1-1] [MQTT3-3.6.1-1] [MQTT-2.1.3-1] [MQTT3-2.2.2-2]
#[test]
fn pubrel_flags_are_0010() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0x62, 2, 0, 1]);
    }
}

/// [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
#[test]
fn pubcomp_flags_are_reserved() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0x70, 2, 0, 1]);
    }
}

/// [MQTT-3.8.1-1] [MQTT3-3.8.1-1] [MQTT-2.1.3-1] [MQTT3-2.2.2-2]
#[test]
fn subscribe_flags_are_0010() {
    expect_flags_checked(Version::V311, &[0x82, 6, 0, 1, 0, 1, b't', 0]);
    expect_flags_checked(Version::V5, &[0x82, 7, 0, 1, 0, 0, 1, b't', 0]);
}

/// [MQTT-3.10.1-1] [MQTT3-3.10.1-1] [MQTT-2.1.3-1] [MQTT3-2.2.2-2]
#[test]
fn unsubscribe_flags_are_0010() {
    expect_flags_checked(Version::V311, &[0xA2, 5, 0, 1, 0, 1, b't']);
    expect_flags_checked(Version::V5, &[0xA2, 6, 0, 1, 0, 0, 1, b't']);
}

/// [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
#[test]
fn pingreq_flags_are_reserved() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0xC0, 0]);
    }
}

/// [MQTT-3.14.1-1] [MQTT3-3.14.1-1] [MQTT-2.1.3-1] [MQTT3-2.2.2-2]
#[test]
fn disconnect_flags_are_reserved() {
    for version in Version::ALL {
        expect_flags_checked(version, &[0xE0, 0]);
    }
}

/// [MQTT-3.15.1-1] [MQTT-2.1.3-1]
#[test]
fn v5_auth_flags_are_reserved() {
    expect_flags_checked(Version::V5, &[0xF0, 0]);
}

/// Packets that only a server sends, and types that do not exist.
/// [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn packets_no_client_sends_are_protocol_errors() {
    each_version(|broker, version| {
        let mut packets: Vec<Vec<u8>> = vec![
            vec![0x00, 0],
            vec![0xD0, 0],
            Frame::new(0x20).u8(0).u8(0).bytes(),
            Frame::new(0x90).u16(1).u8(0).bytes(),
            Frame::new(0xB0).u16(1).bytes(),
        ];
        if version == Version::V311 {
            packets.push(vec![0xF0, 0]);
        }
        for bytes in packets {
            println!("{bytes:02x?}");
            expect_malformed(broker, version, &bytes);
        }
    });
}

/// [MQTT-1.5.5-1] [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn remaining_length_has_at_most_four_bytes() {
    each_version(|broker, version| {
        expect_malformed(broker, version, &[0xC0, 0x80, 0x80, 0x80, 0x80, 0x00]);
        expect_malformed(broker, version, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        expect_malformed(broker, version, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]);
    });
}

/// [MQTT-1.5.5-1]
#[test]
fn v5_variable_byte_integers_take_their_shortest_form() {
    let broker = start();
    for (what, bytes) in [
        ("Remaining Length 0", vec![0xC0, 0x80, 0x00]),
        ("Remaining Length 0", vec![0xC0, 0x80, 0x80, 0x00]),
        (
            "Property Length of PUBLISH",
            vec![0x30, 6, 0, 1, b't', 0x80, 0x00, b'x'],
        ),
        (
            "Property Length of SUBSCRIBE",
            vec![0x82, 8, 0, 1, 0x80, 0x00, 0, 1, b't', 0],
        ),
        (
            "Subscription Identifier",
            vec![0x82, 10, 0, 1, 3, 0x0B, 0x81, 0x00, 0, 1, b't', 0],
        ),
    ] {
        println!("{what}: {bytes:02x?}");
        expect_malformed(&broker, Version::V5, &bytes);
    }
}

/// A packet of each width of Remaining Length, whole or in pieces.
/// [MQTT-1.5.5-1]
#[test]
fn packets_of_every_length_are_read() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 0);
        let mut publisher = broker.client(version, "publisher");
        // Around the steps at 128 and 16,384 bytes.
        for length in [
            0, 1, 110, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16_370, 16_380, 16_384,
            100_000,
        ] {
            let payload = vec![b'x'; length];
            publisher.send(Publish::new("t", "").payload(&payload));
            assert_eq!(subscriber.expect_publish().payload.len(), length);
        }
        let whole = Packet::from(Publish::new("t", "").payload(&[b'y'; 300])).bytes(version);
        for size in [1, 2, 3, 100] {
            publisher.send_in_fragments(&whole, size);
            assert_eq!(subscriber.expect_publish().payload.len(), 300);
        }
    });
}

/// Many packets in one segment, the last one in two.
/// [MQTT-4.2-1] [MQTT3-7.1.1-1]
#[test]
fn packets_are_not_bound_to_segments() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 0);
        let mut publisher = broker.client(version, "publisher");
        let one = Packet::from(Publish::new("t", "payload")).bytes(version);
        let many = one.repeat(500);
        let (head, tail) = many.split_at(many.len() - 3);
        publisher.send_bytes(head);
        for _ in 0..499 {
            subscriber.expect_publish();
        }
        publisher.send_bytes(tail);
        subscriber.expect_publish();
    });
}
