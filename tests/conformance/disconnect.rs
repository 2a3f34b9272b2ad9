//! DISCONNECT, in both directions (section 3.14 of both specifications).

use nexum_harness::{Connect, Disconnect, Frame, Packet, Property, Publish, Version, Will, reason};

use crate::scene::{each_version, expect_no_message, start};

/// [MQTT-3.14.4-2] [MQTT3-3.14.4-1] [MQTT-4.13.2-1]
#[test]
fn connection_ends_after_the_clients_disconnect() {
    each_version(|broker, version| {
        broker.client(version, "client").disconnect();
        let mut peer = broker.client(version, "client");
        peer.send(Publish::new("t", "x").qos1(1));
        peer.send(Disconnect::normal());
        // What came before is still answered, or not; nothing follows.
        let rest = peer.recv_until_closed();
        assert!(
            rest.iter()
                .all(|packet| matches!(packet, Packet::Puback(_))),
            "{rest:?}"
        );
    });
}

/// [MQTT-3.14.4-1] [MQTT3-3.14.4-2]
#[test]
fn packets_after_disconnect_are_not_processed() {
    each_version(|broker, version| {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("t", 0);
        let mut peer = broker.client(version, "client");
        let disconnect = Packet::from(Disconnect::normal()).bytes(version);
        let publish = Packet::from(Publish::new("t", "too late")).bytes(version);
        peer.send_bytes(&[disconnect, publish].concat());
        peer.expect_closed();
        let mut publisher = broker.client(version, "publisher");
        expect_no_message(&mut publisher, &mut watcher);
    });
}

/// [MQTT3-4.8.0-1]
#[test]
fn v311_disconnect_has_no_body() {
    let broker = start();
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.subscribe("will", 0);
    let connect =
        Connect::new(Version::V311, "client").will(Will::new("will", "malformed is not normal"));
    let mut peer = broker.connect(connect);
    peer.send_bytes(&[0xE0, 1, 0]);
    peer.expect_closed();
    watcher.expect_publish();
}

/// [MQTT-3.14.2-1] [MQTT-4.13.1-1]
#[test]
fn v5_disconnect_must_keep_its_form() {
    let broker = start();
    let interval = Property::session_expiry_interval(1).bytes();
    let text = Property::reason_string("r").bytes();
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
    for (what, body) in [
        ("a Reason Code that does not exist", vec![0x01]),
        ("a Reason Code of another packet", vec![0x10]),
        ("a Reason Code of CONNACK", vec![0x86]),
        ("a Property Length beyond the packet", vec![0x00, 5]),
        ("bytes after the properties", vec![0x00, 0, 0]),
        (
            "Session Expiry Interval twice",
            [&[0, 2 * length(&interval)][..], &interval, &interval].concat(),
        ),
        (
            "Reason String twice",
            [&[0, 2 * length(&text)][..], &text, &text].concat(),
        ),
        ("a property of PUBLISH", vec![0x00, 3, 0x23, 0, 1]),
        ("no such property", vec![0x00, 2, 0x7F, 0]),
    ] {
        println!("{what}");
        let mut peer = broker.connect(Connect::new(Version::V5, "client").persistent());
        peer.send_frame(&Frame::new(0xE0).raw(&body));
        peer.expect_disconnected(&[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR]);
    }
}

/// Every form a client may give it.
/// [MQTT-3.14.2-1]
#[test]
fn v5_every_well_formed_disconnect_is_taken() {
    let broker = start();
    for body in [
        &[][..],
        &[0x00],
        &[0x04],
        &[0x80],
        &[0x81],
        &[0x82],
        &[0x83],
        &[0x90],
        &[0x93],
        &[0x94],
        &[0x95],
        &[0x96],
        &[0x97],
        &[0x98],
        &[0x99],
        &[0x00, 0x00],
        &[0x00, 5, 0x11, 0, 0, 0, 9],
        &[0x00, 4, 0x1F, 0, 1, b'r'],
        &[
            0x04, 14, 0x26, 0, 1, b'a', 0, 1, b'b', 0x26, 0, 1, b'a', 0, 1, b'b',
        ],
    ] {
        println!("{body:02x?}");
        let mut peer = broker.connect(Connect::new(Version::V5, "client").persistent());
        peer.send_frame(&Frame::new(0xE0).raw(body));
        peer.expect_closed();
    }
}

/// The last packet of a connection is the last, and says why in words of its own table. The peer
/// refuses one that is followed by another packet, or has a Session Expiry Interval.
/// [MQTT-3.14.0-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]
#[test]
fn v5_brokers_disconnect_is_its_last_packet() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    let mut peer = broker.connect(Connect::new(Version::V5, "client").persistent());
    peer.subscribe("t", 0);
    peer.send(Connect::new(Version::V5, "client"));
    for _ in 0..20 {
        publisher.send(Publish::new("t", "x"));
    }
    publisher.expect_ping();
    let packets = peer.recv_until_closed();
    match packets.last() {
        Some(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason, reason::PROTOCOL_ERROR);
        }
        other => panic!("expected DISCONNECT, got {other:?}"),
    }
}

/// [MQTT-3.14.2-1] [MQTT-4.13.2-1]
#[test]
fn stopping_broker_says_good_bye() {
    for version in Version::ALL {
        let mut broker = start();
        let mut peer = broker.client(version, "client");
        let status = broker.terminate();
        assert!(status.success(), "{status:?}");
        peer.expect_disconnected(&[reason::SERVER_SHUTTING_DOWN]);
    }
}
