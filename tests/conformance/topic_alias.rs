//! Topic Alias (MQTT 5 section 3.3.2.3.4), in both directions. The peer itself refuses an alias of
//! the broker above the maximum it announced, or one that stands for nothing.

use nexum_harness::{Broker, Connect, Peer, Property, Publish, Version, reason};

use crate::scene::{builder, start, text};

fn subscriber(broker: &Broker) -> Peer {
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("a/#", 2);
    subscriber
}

fn alias_maximum(peer: &Peer) -> u16 {
    peer.connack().properties.topic_alias_maximum().unwrap_or(0)
}

/// [MQTT-3.3.2-12]
#[test]
fn broker_takes_every_alias_up_to_its_maximum() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    let maximum = alias_maximum(&publisher);
    assert_ne!(maximum, 0, "this broker offers aliases");
    for alias in 1..=maximum {
        let topic = format!("a/{alias}");
        publisher.send(Publish::new(&topic, "name").property(Property::topic_alias(alias)));
        assert_eq!(subscriber.expect_publish().topic, topic);
    }
    for alias in (1..=maximum).rev() {
        for qos in 0..=2 {
            let publish = Publish::new("", "alias").qos(qos, 1);
            publisher.publish(publish.property(Property::topic_alias(alias)));
            let message = subscriber.expect_message();
            assert_eq!(message.topic, format!("a/{alias}"));
            assert_eq!((text(&message), message.qos), ("alias", qos));
        }
    }
}

/// [MQTT-3.3.2-12]
#[test]
fn alias_may_be_given_another_topic() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut publisher = broker.client(Version::V5, "publisher");
    for topic in ["a/1", "a/2", "a/1"] {
        publisher.send(Publish::new(topic, "name").property(Property::topic_alias(1)));
        publisher.send(Publish::new("", "alias").property(Property::topic_alias(1)));
        assert_eq!(subscriber.expect_publish().topic, topic);
        assert_eq!(subscriber.expect_publish().topic, topic);
    }
    // Two aliases may stand for one topic.
    publisher.send(Publish::new("a/1", "name").property(Property::topic_alias(2)));
    publisher.send(Publish::new("", "alias").property(Property::topic_alias(1)));
    assert_eq!(subscriber.expect_publish().topic, "a/1");
    assert_eq!(subscriber.expect_publish().topic, "a/1");
}

/// [MQTT-3.3.2-8] [MQTT-4.13.1-1]
#[test]
fn alias_0_is_invalid() {
    let broker = start();
    for topic in ["t", ""] {
        let mut peer = broker.client(Version::V5, "client");
        peer.send(Publish::new(topic, "x").property(Property::topic_alias(0)));
        peer.expect_disconnected(&[
            reason::TOPIC_ALIAS_INVALID,
            reason::PROTOCOL_ERROR,
            reason::MALFORMED_PACKET,
        ]);
    }
}

/// [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-4.13.1-1]
#[test]
fn alias_above_the_maximum_is_invalid() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    let maximum = alias_maximum(&peer);
    peer.send(Publish::new("t", "x").property(Property::topic_alias(maximum + 1)));
    peer.expect_disconnected(&[reason::TOPIC_ALIAS_INVALID]);
}

/// [MQTT-3.2.2-18] [MQTT-3.3.2-9]
#[test]
fn broker_that_offers_no_alias_takes_none() {
    let broker = builder().set("limits.topic_alias_maximum", 0).start();
    let mut peer = broker.client(Version::V5, "client");
    assert_eq!(alias_maximum(&peer), 0);
    peer.send(Publish::new("t", "x").property(Property::topic_alias(1)));
    peer.expect_disconnected(&[reason::TOPIC_ALIAS_INVALID]);
}

/// [MQTT-3.3.2-7]
#[test]
fn alias_is_forgotten_with_its_connection() {
    let broker = start();
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut peer = broker.connect(connect.clone());
    peer.publish(
        Publish::new("t", "x")
            .qos1(1)
            .property(Property::topic_alias(1)),
    );
    peer.publish(
        Publish::new("", "x")
            .qos1(2)
            .property(Property::topic_alias(1)),
    );
    peer.cut();
    // The session is the same, the connection is not.
    let mut peer = broker.connect(connect.resume());
    assert!(peer.connack().session_present);
    peer.send(
        Publish::new("", "x")
            .qos1(3)
            .property(Property::topic_alias(1)),
    );
    peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
}

/// [MQTT-3.3.2-7]
#[test]
fn aliases_of_two_connections_are_apart() {
    let broker = start();
    let mut subscriber = subscriber(&broker);
    let mut one = broker.client(Version::V5, "one");
    let mut two = broker.client(Version::V5, "two");
    one.send(Publish::new("a/1", "").property(Property::topic_alias(1)));
    assert_eq!(subscriber.expect_publish().topic, "a/1");
    two.send(Publish::new("a/2", "").property(Property::topic_alias(1)));
    assert_eq!(subscriber.expect_publish().topic, "a/2");
    one.send(Publish::new("", "").property(Property::topic_alias(1)));
    assert_eq!(subscriber.expect_publish().topic, "a/1");
}

/// [MQTT-4.13.1-1]
#[test]
fn alias_that_stands_for_nothing_is_a_protocol_error() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.send(Publish::new("", "x").property(Property::topic_alias(1)));
    peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
}

/// [MQTT-3.1.2-27] [MQTT-3.1.2-26]
#[test]
fn broker_sends_no_alias_to_a_client_that_takes_none() {
    let broker = start();
    for connect in [
        Connect::new(Version::V5, "absent"),
        Connect::new(Version::V5, "zero").property(Property::topic_alias_maximum(0)),
    ] {
        let mut subscriber = broker.connect(connect);
        subscriber.subscribe("a/#", 1);
        let mut publisher = broker.client(Version::V5, "publisher");
        for number in 0..10 {
            let publish = Publish::new("a/t", "x").qos1(1);
            publisher.publish(publish.property(Property::topic_alias(1 + number % 2)));
            let message = subscriber.expect_message();
            assert_eq!(message.topic, "a/t");
            assert_eq!(message.properties.topic_alias(), None);
        }
    }
}

/// Whatever the broker does with the aliases it may use, every message has its topic.
/// [MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-3] [MQTT-3.3.2-10] [MQTT-3.3.2-8]
#[test]
fn aliases_of_the_broker_stand_for_the_right_topics() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    for maximum in [1, 2, 10, u16::MAX] {
        let connect = Connect::new(Version::V5, "subscriber")
            .property(Property::topic_alias_maximum(maximum));
        let mut subscriber = broker.connect(connect);
        subscriber.subscribe("a/#", 1);
        for round in 0..3 {
            for number in 0..12_u8 {
                let topic = format!("a/{number}");
                publisher.publish(Publish::new(&topic, &topic).qos(round % 2, 1));
                let message = subscriber.expect_message();
                assert_eq!(message.topic, text(&message));
            }
        }
        subscriber.disconnect();
    }
}

/// The broker, too, begins anew with each connection, or the peer would see an alias it does not
/// know.
/// [MQTT-3.3.2-7]
#[test]
fn broker_forgets_its_aliases_with_the_connection() {
    let broker = start();
    let connect = Connect::new(Version::V5, "subscriber")
        .persistent()
        .property(Property::topic_alias_maximum(10));
    let mut publisher = broker.client(Version::V5, "publisher");
    let mut subscriber = broker.connect(connect.clone());
    subscriber.subscribe("a/#", 1);
    for _ in 0..3 {
        publisher.publish(Publish::new("a/t", "x").qos1(1));
        subscriber.expect_message();
    }
    publisher.publish(Publish::new("a/t", "in flight").qos1(1));
    subscriber.expect_publish();
    subscriber.cut();
    publisher.publish(Publish::new("a/t", "queued").qos1(1));
    let mut subscriber = broker.connect(connect.resume());
    for expected in ["in flight", "queued"] {
        let message = subscriber.expect_message();
        assert_eq!((message.topic.as_str(), text(&message)), ("a/t", expected));
    }
}
