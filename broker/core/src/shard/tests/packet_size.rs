//! The client's Maximum Packet Size (MQTT 5 section 3.1.2.11.4).

use super::*;
use crate::Limits;
use nexum_codec::AcknowledgementKind;

fn connect_with_maximum(client_id: &str, bytes: u32) -> Connect<'_> {
    let mut connect = connect_to_stay(client_id);
    connect.properties.maximum_packet_size = Some(bytes);
    connect
}

#[test]
fn a_client_whose_connack_does_not_fit_is_told_nothing_and_leaves_no_will() {
    let mut broker = Broker::new(1, Limits::default());
    let mut packet = connect_with_maximum("c", 10);
    packet.will = Some(will("w", b"it never was here"));
    let client = broker.connect(packet);
    assert_eq!(broker.take(client), [], "[MQTT-3.14.0-1]");
    assert!(broker.is_closed(client));
    assert_eq!(broker.shards[0].counters().wills_published, 0);
    assert_eq!(broker.shards[0].residue(), []);
}

#[test]
fn a_reason_string_that_does_not_fit_is_left_out() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect_with_maximum("c", 20));
    broker.send(
        client,
        Packet::Publish(publish("$queue/x", b"", Some(id(1)))),
    );
    let kind = AcknowledgementKind::PubAck;
    let refused = Received::Acknowledgement(kind, id(1), ReasonCode::TopicNameInvalid);
    assert_eq!(broker.take(client), [refused], "[MQTT-3.4.2-2]");
    broker.send(client, subscribe(&[request("$queue/x", QoS::AtMostOnce)]));
    let refused = Received::SubAck(vec![ReasonCode::TopicFilterInvalid]);
    assert_eq!(broker.take(client), [refused], "[MQTT-3.9.2-1]");
}

#[test]
fn a_delivery_that_no_longer_fits_is_as_good_as_completed() {
    let mut broker = Broker::new(1, Limits::default());
    let client = broker.admit(connect_to_stay("c"));
    broker.send(client, subscribe(&[request("t", QoS::AtLeastOnce)]));
    let publisher = broker.admit(connect("publisher"));
    broker.send(
        publisher,
        Packet::Publish(publish("t", &[b'x'; 100], Some(id(1)))),
    );
    assert_eq!(broker.take_payloads(client).len(), 1);
    broker.lose(client);

    let mut packet = connect_with_maximum("c", 50);
    packet.properties.receive_maximum = receive_maximum(1);
    let client = broker.admit(packet);
    broker.send(
        publisher,
        Packet::Publish(publish("t", b"small", Some(id(2)))),
    );
    assert_eq!(broker.take_payloads(client), [b"small"], "[MQTT-3.1.2-25]");
}

#[test]
fn a_client_that_could_not_take_the_answer_is_told_so_before_anything_is_done() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let client = broker.admit(connect_with_maximum("c", 40));
        let filters: Vec<String> = (0..36).map(|n| format!("t/{n}")).collect();
        let requests: Vec<_> = filters
            .iter()
            .map(|filter| request(filter, QoS::AtMostOnce))
            .collect();
        broker.send(client, subscribe(&requests[..35]));
        assert_eq!(
            broker.take(client),
            [Received::SubAck(vec![ReasonCode::Success; 35])],
            "40 bytes"
        );
        broker.send(client, subscribe(&requests));
        let told = Received::Disconnect(ReasonCode::PacketTooLarge);
        assert_eq!(broker.take(client), [told]);
        let gauges = broker.shards.iter().map(|shard| shard.gauges());
        assert_eq!(gauges.map(|gauges| gauges.subscriptions).sum::<u64>(), 35);
    }
}
