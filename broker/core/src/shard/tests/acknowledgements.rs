//! The client's acknowledgements and its send quota (MQTT 5 section 4.9).

use nexum_codec::AcknowledgementKind;

use super::*;
use crate::Limits;

fn deliveries(received: &[Received]) -> usize {
    received
        .iter()
        .filter(|received| matches!(received, Received::Publish { .. }))
        .count()
}

#[test]
fn an_early_acknowledgement_frees_no_quota_that_was_not_taken() {
    let mut broker = Broker::new(1, Limits::default());
    let mut packet = connect_to_stay("c");
    packet.properties.receive_maximum = receive_maximum(10);
    let client = broker.admit(packet);
    broker.send(client, subscribe(&[request("t", QoS::AtLeastOnce)]));
    let publisher = broker.admit(connect("publisher"));
    for n in 1..=20 {
        broker.send(publisher, Packet::Publish(publish("t", b"x", Some(id(n)))));
    }
    assert_eq!(deliveries(&broker.take(client)), 10);
    broker.lose(client);

    packet.properties.receive_maximum = receive_maximum(4);
    let client = broker.connect(packet);
    assert_eq!(deliveries(&broker.take(client)), 4, "sent again");
    // It got these on its first connection and acknowledges them before they are sent again.
    for n in 5..=10 {
        broker.acknowledge(client, AcknowledgementKind::PubAck, id(n));
    }
    assert_eq!(deliveries(&broker.take(client)), 0, "[MQTT-3.3.4-9]");
    for n in 1..=4 {
        broker.acknowledge(client, AcknowledgementKind::PubAck, id(n));
    }
    assert_eq!(deliveries(&broker.take(client)), 4);
}

#[test]
fn an_unknown_pubrec_is_answered_unless_it_is_an_error() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect("c"));
    broker.acknowledge(client, AcknowledgementKind::PubRec, id(1));
    let not_found = ReasonCode::PacketIdentifierNotFound;
    let pubrel = Received::Acknowledgement(AcknowledgementKind::PubRel, id(1), not_found);
    assert_eq!(broker.take(client), [pubrel]);
    // PUBREC of identifier 1 with 0x80.
    broker.send_bytes(client, b"\x50\x03\0\x01\x80");
    assert_eq!(broker.take(client), [], "[MQTT-4.3.3-4]");
    assert!(!broker.is_closed(client));
}
