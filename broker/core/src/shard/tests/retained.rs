//! Retained messages for new subscriptions.

use std::time::Duration;

use nexum_codec::{Filters, Unsubscribe};

use super::*;
use crate::Limits;

fn retain(broker: &mut Broker, publisher: usize, topic_name: &str) {
    let mut packet = publish(topic_name, topic_name.as_bytes(), Some(id(1)));
    packet.retain = true;
    broker.send(publisher, Packet::Publish(packet));
}

/// A client that takes one message at a time.
fn slow_client(broker: &mut Broker) -> usize {
    let mut packet = connect("slow");
    packet.properties.receive_maximum = receive_maximum(1);
    broker.admit(packet)
}

fn open_replays(broker: &Broker) -> usize {
    let sessions = broker.shards.iter().flat_map(|shard| &shard.sessions);
    sessions.map(|(_, session)| session.replays.len()).sum()
}

#[test]
fn every_subscription_gets_its_turn() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let publisher = broker.admit(connect("publisher"));
        let names: Vec<String> = (0..100).map(|n| format!("r/{n}")).collect();
        for name in &names {
            retain(&mut broker, publisher, name);
        }
        let client = slow_client(&mut broker);
        let filters: Vec<String> = (0..100).map(|n| format!("+/{n}")).collect();
        let requests: Vec<_> = filters
            .iter()
            .map(|filter| request(filter, QoS::AtLeastOnce))
            .collect();
        broker.send(client, subscribe(&requests));
        assert!(open_replays(&broker) < filters.len(), "the others wait");
        let mut received = broker.acknowledge_all(client);
        received.sort_unstable();
        let mut expected: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        expected.sort_unstable();
        assert_eq!(received, expected);
    }
}

#[test]
fn nothing_retained_comes_after_unsubscribe() {
    let mut broker = Broker::new(1, Limits::default());
    let publisher = broker.admit(connect("publisher"));
    retain(&mut broker, publisher, "r/1");
    retain(&mut broker, publisher, "r/2");
    let client = slow_client(&mut broker);
    broker.send(client, subscribe(&[request("r/#", QoS::AtLeastOnce)]));
    broker.send(
        client,
        Packet::Unsubscribe(Unsubscribe {
            packet_identifier: id(2),
            user_properties: UserProperties::EMPTY,
            filters: Filters::from_slice(&["r/#"]),
        }),
    );
    assert_eq!(broker.acknowledge_all(client).len(), 1, "[MQTT-3.10.4-2]");
}

#[test]
fn a_client_cannot_hasten_a_long_walk() {
    let mut broker = Broker::new(1, Limits::default());
    let publisher = broker.admit(connect("publisher"));
    retain(&mut broker, publisher, "first/x");
    for n in 0..20_000 {
        retain(&mut broker, publisher, &format!("{n}/y"));
    }
    retain(&mut broker, publisher, "last/x");
    let client = broker.admit(connect("client"));
    broker.send(client, subscribe(&[request("+/x", QoS::AtMostOnce)]));
    for _ in 0..10 {
        broker.send(client, Packet::PingReq);
    }
    let before = broker.take_payloads(client).len();
    assert!(before < 2, "the walk went on with each packet");
    broker.wait(Duration::from_millis(1));
    assert_eq!(before + broker.take_payloads(client).len(), 2);
}

#[test]
fn what_a_session_has_not_got_when_its_connection_breaks_comes_with_the_next() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let publisher = broker.admit(connect("publisher"));
        let mut names: Vec<String> = (0..300).map(|n| format!("r/{n}")).collect();
        for name in &names {
            retain(&mut broker, publisher, name);
        }
        let mut packet = connect_to_stay("c");
        packet.properties.receive_maximum = receive_maximum(2);
        let client = broker.admit(packet);
        broker.send(client, subscribe(&[request("r/#", QoS::AtLeastOnce)]));
        broker.lose(client);
        let client = broker.connect(packet);
        let mut received = broker.acknowledge_all(client);
        // Those in flight when it broke are sent again, and with all the others once more.
        assert!(received.len() <= names.len() + 2, "{}", received.len());
        received.sort_unstable();
        received.dedup();
        names.sort_unstable();
        let expected: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        assert_eq!(received, expected, "{shards} shards");
        broker.lose(client);
        assert_eq!(open_replays(&broker), 0);
    }
}
