//! Malformed Packets and Protocol Errors (MQTT 5 section 4.13, 3.1.1 section 4.8) of the packets
//! that have no chapter of their own here, and what they must not do to others.

use nexum_harness::{Broker, Frame, Packet, Property, Publish, Version, reason};

use crate::scene::{each_version, start};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];

#[track_caller]
fn expect_malformed(broker: &Broker, version: Version, what: &str, bytes: &[u8]) {
    println!("{what}: {bytes:02x?}");
    let mut peer = broker.client(version, "client");
    peer.send_bytes(bytes);
    peer.expect_disconnected(MALFORMED);
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT3-4.8.0-1]
#[test]
fn publish_cut_short_is_malformed() {
    each_version(|broker, version| {
        for (what, bytes) in [
            ("no topic length", &[0x30, 0][..]),
            ("half a topic length", &[0x30, 1, 0]),
            ("a topic beyond the packet", &[0x30, 3, 0, 5, b't']),
            ("no identifier at QoS 1", &[0x32, 3, 0, 1, b't']),
            ("half an identifier at QoS 2", &[0x34, 4, 0, 1, b't', 1]),
        ] {
            expect_malformed(broker, version, what, bytes);
        }
        if version == Version::V5 {
            for (what, bytes) in [
                ("no Property Length", &[0x30, 3, 0, 1, b't'][..]),
                (
                    "a Property Length beyond the packet",
                    &[0x30, 5, 0, 1, b't', 9, b'x'],
                ),
                (
                    "a Property Length of five bytes",
                    &[0x30, 8, 0, 1, b't', 0x80, 0x80, 0x80, 0x80, 0],
                ),
                ("half a property", &[0x30, 6, 0, 1, b't', 2, 0x23, 0]),
            ] {
                expect_malformed(broker, version, what, bytes);
            }
        }
    });
}

/// [MQTT-4.13.1-1] [MQTT3-4.8.0-1] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
#[test]
fn acknowledgement_of_the_wrong_form_is_malformed() {
    each_version(|broker, version| {
        for first_byte in [0x40, 0x50, 0x62, 0x70] {
            expect_malformed(broker, version, "no identifier", &[first_byte, 0]);
            expect_malformed(broker, version, "half an identifier", &[first_byte, 1, 0]);
            expect_malformed(broker, version, "identifier 0", &[first_byte, 2, 0, 0]);
            match version {
                Version::V311 => {
                    expect_malformed(broker, version, "too long", &[first_byte, 3, 0, 1, 0]);
                }
                Version::V5 => {
                    for reason_code in [0x01, 0x55, 0x81, 0x82, 0xFF] {
                        let bytes = [first_byte, 3, 0, 1, reason_code];
                        expect_malformed(broker, version, "an unknown Reason Code", &bytes);
                    }
                    let bytes = [first_byte, 4, 0, 1, 0, 9];
                    expect_malformed(broker, version, "properties beyond the packet", &bytes);
                    let bytes = [first_byte, 5, 0, 1, 0, 0, 0];
                    expect_malformed(broker, version, "bytes after the properties", &bytes);
                    let bytes = [first_byte, 7, 0, 1, 0, 3, 0x23, 0, 1];
                    expect_malformed(broker, version, "a property of PUBLISH", &bytes);
                    let text = Property::reason_string("r").bytes();
                    let frame = Frame::new(first_byte)
                        .u16(1)
                        .u8(0)
                        .raw_properties(&text.repeat(2));
                    expect_malformed(broker, version, "Reason String twice", &frame.bytes());
                }
            }
        }
    });
}

/// A Reason String and User Properties are welcome in an acknowledgement.
/// [MQTT-3.4.2-1] [MQTT-4.3.2-3]
#[test]
fn v5_acknowledgement_may_have_properties() {
    let broker = start();
    for properties in [
        &[][..],
        &[
            Property::reason_string("r"),
            Property::user("a", "b"),
            Property::user("a", "b"),
        ],
    ] {
        let mut peer = broker.client(Version::V5, "client");
        peer.subscribe("t", 1);
        peer.publish(Publish::new("t", "x").qos1(1));
        let identifier = peer.expect_publish().packet_identifier;
        peer.send_frame(
            &Frame::new(0x40)
                .u16(identifier)
                .u8(0)
                .properties(properties),
        );
        peer.expect_ping();
    }
}

/// [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn rubbish_ends_its_connection_and_no_other() {
    each_version(|broker, version| {
        let mut healthy = broker.client(version, "healthy");
        healthy.subscribe("t", 1);
        let rubbish: [&[u8]; 6] = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &[0xFF; 100],
            &[0x00; 100],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ];
        for bytes in rubbish {
            println!("{bytes:02x?}");
            // Before CONNECT …
            let mut peer = broker.dial(version);
            peer.send_bytes(bytes);
            assert_eq!(peer.recv_bytes_until_closed(), [0_u8; 0]);
            // … and after.
            let mut peer = broker.client(version, "client");
            peer.send_bytes(bytes);
            peer.recv_until_closed();
        }
        healthy.publish(Publish::new("t", "unharmed").qos1(1));
        assert_eq!(healthy.expect_message().payload, b"unharmed");
    });
}

/// What came before the error was right and keeps its effect.
/// [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn packets_before_an_error_are_processed() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 0);
        let mut peer = broker.client(version, "client");
        let right = Packet::from(Publish::new("t", "right")).bytes(version);
        let wrong = [0x36, 6, 0, 1, b't', 0, 1, 0];
        let later = Packet::from(Publish::new("t", "later")).bytes(version);
        peer.send_bytes(&[&right[..], &wrong, &later].concat());
        peer.expect_disconnected(MALFORMED);
        assert_eq!(subscriber.expect_publish().payload, b"right");
        let mut publisher = broker.client(version, "publisher");
        crate::scene::expect_no_message(&mut publisher, &mut subscriber);
    });
}
