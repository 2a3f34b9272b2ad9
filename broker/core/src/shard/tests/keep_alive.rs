//! Keep Alive (MQTT 5 section 3.1.2.10).

use std::time::Duration;

use super::*;
use crate::Limits;

fn connect_with_keep_alive(client_id: &str) -> Connect<'_> {
    let mut connect = connect(client_id);
    connect.keep_alive_seconds = 10;
    connect
}

#[test]
fn a_byte_now_and_then_keeps_nobody_alive() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect_with_keep_alive("c"));
    let mut packet = Vec::new();
    let message = publish("t", &[0; 100], None);
    let version = ProtocolVersion::V5;
    nexum_codec::encode(&Packet::Publish(message), version, &mut packet).expect("small");
    for byte in packet.chunks(1).take(4) {
        broker.send_bytes(client, byte);
        broker.wait(Duration::from_secs(5));
    }
    let told = Received::Disconnect(ReasonCode::KeepAliveTimeout);
    assert_eq!(broker.take(client), [told], "[MQTT-3.1.2-22]");
}

#[test]
fn a_long_packet_that_goes_on_coming_does() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect_with_keep_alive("c"));
    let mut packet = Vec::new();
    let message = publish("t", &[0; 50_000], Some(id(1)));
    let version = ProtocolVersion::V5;
    nexum_codec::encode(&Packet::Publish(message), version, &mut packet).expect("small");
    for piece in packet.chunks(5000) {
        broker.send_bytes(client, piece);
        broker.wait(Duration::from_secs(10));
    }
    assert!(!broker.is_closed(client));
    assert_eq!(broker.take(client).len(), 1, "PUBACK");
}

#[test]
fn any_packet_does() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect_with_keep_alive("c"));
    for _ in 0..4 {
        broker.send(client, Packet::PingReq);
        broker.wait(Duration::from_secs(14));
    }
    assert!(!broker.is_closed(client));
    broker.wait(Duration::from_secs(2));
    assert!(broker.is_closed(client));
}
