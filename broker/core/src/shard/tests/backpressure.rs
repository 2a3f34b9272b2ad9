//! Publishers wait for subscribers that are behind.

use std::time::Duration;

use super::*;
use crate::Limits;

#[test]
fn a_publisher_waits_for_the_slowest_of_its_subscribers() {
    for shards in [1, 3] {
        let limits = Limits {
            session_queue_messages: 10,
            ..Limits::default()
        };
        let mut broker = Broker::new(shards, limits);
        let subscribers = ["one", "two"].map(|client_id| {
            let mut packet = connect(client_id);
            packet.properties.receive_maximum = receive_maximum(1);
            let subscriber = broker.admit(packet);
            broker.send(subscriber, subscribe(&[request("t", QoS::AtLeastOnce)]));
            subscriber
        });
        let publisher = broker.admit(connect("publisher"));
        for n in 1..=7 {
            assert!(!broker.is_held(publisher), "message {n}");
            broker.send(publisher, Packet::Publish(publish("t", b"x", Some(id(n)))));
        }
        assert!(
            broker.is_held(publisher),
            "both have more than half of what they may have"
        );
        assert_eq!(broker.acknowledge_all(subscribers[0]).len(), 7);
        assert!(broker.is_held(publisher), "the second is still behind");
        assert_eq!(broker.acknowledge_all(subscribers[1]).len(), 7);
        assert!(!broker.is_held(publisher));
    }
}

#[test]
fn a_publisher_does_not_wait_for_ever() {
    let limits = Limits {
        session_queue_messages: 10,
        ..Limits::default()
    };
    let patience = Duration::from_millis(u64::from(limits.backpressure_milliseconds));
    let mut broker = Broker::new(1, limits);
    let mut packet = connect("subscriber");
    packet.properties.receive_maximum = receive_maximum(1);
    let subscriber = broker.admit(packet);
    broker.send(subscriber, subscribe(&[request("t", QoS::AtLeastOnce)]));
    let publisher = broker.admit(connect("publisher"));
    for n in 1..=7 {
        broker.send(publisher, Packet::Publish(publish("t", b"x", Some(id(n)))));
    }
    assert!(broker.is_held(publisher));
    broker.wait(patience + Duration::from_millis(100));
    assert!(!broker.is_held(publisher));
}
