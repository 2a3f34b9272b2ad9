//! PINGREQ and PINGRESP (section 3.12 of both specifications).

use nexum_harness::{Packet, reason};

use crate::scene::each_version;

/// [MQTT-3.12.4-1] [MQTT3-3.12.4-1]
#[test]
fn every_ping_is_answered() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.expect_ping();
        peer.send_bytes(&Packet::Pingreq.bytes(version).repeat(10));
        for _ in 0..10 {
            assert_eq!(peer.recv(), Packet::Pingresp);
        }
    });
}

/// [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn ping_has_no_body() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send_bytes(&[0xC0, 1, 0]);
        peer.expect_disconnected(&[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR]);
    });
}
