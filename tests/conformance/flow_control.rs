//! Receive Maximum and send quota (MQTT 5 sections 3.3.4 and 4.9). The peer itself refuses more in
//! flight than it announced.

use std::time::Duration;

use nexum_harness::{
    Broker, Connect, Peer, Property, Publish, Subscribe, Unsubscribe, Version, puback, pubcomp,
    pubrec, reason,
};

use crate::scene::{start, text};

const A_MOMENT: Duration = Duration::from_millis(100);

/// A subscriber to `t` at QoS 2 that takes `maximum` at once.
fn subscriber(broker: &Broker, maximum: u16) -> Peer {
    let connect = Connect::new(Version::V5, "subscriber")
        .persistent()
        .property(Property::receive_maximum(maximum));
    let mut subscriber = broker.connect(connect);
    subscriber.subscribe("t", 2);
    subscriber
}

/// Publishes the numbers at this QoS.
fn publish(publisher: &mut Peer, qos: u8, numbers: std::ops::RangeInclusive<u16>) {
    for number in numbers {
        publisher.publish(Publish::new("t", &number.to_string()).qos(qos, number));
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn broker_sends_no_more_than_the_receive_maximum() {
    let broker = start();
    for (maximum, qos) in [(1, 1), (1, 2), (2, 1), (5, 2), (7, 1)] {
        println!("Receive Maximum {maximum}, QoS {qos}");
        let mut subscriber = subscriber(&broker, maximum);
        let mut publisher = broker.client(Version::V5, "publisher");
        publish(&mut publisher, qos, 1..=20);
        let mut in_flight: Vec<_> = (0..maximum).map(|_| subscriber.expect_publish()).collect();
        subscriber.expect_nothing_within(A_MOMENT);
        // Each acknowledgement makes room for one.
        for number in 1..=20_u16 {
            let message = in_flight.remove(0);
            assert_eq!(text(&message), number.to_string());
            let identifier = message.packet_identifier;
            if qos == 1 {
                subscriber.send(puback(identifier));
            } else {
                subscriber.send(pubrec(identifier));
                subscriber.expect_pubrel(identifier);
                subscriber.send(pubcomp(identifier));
            }
            if number + maximum <= 20 {
                in_flight.push(subscriber.expect_publish());
            }
        }
        subscriber.expect_ping();
        subscriber.send(Unsubscribe::new(100, "t"));
        subscriber.expect_unsuback(100, &[reason::SUCCESS]);
        subscriber.disconnect();
    }
}

/// A PUBREC that accepts is no end; a PUBREC that refuses is one.
/// [MQTT-4.9.0-2] [MQTT-3.3.4-9]
#[test]
fn quota_is_given_back_by_pubcomp_or_a_negative_pubrec() {
    let broker = start();
    let mut subscriber = subscriber(&broker, 1);
    let mut publisher = broker.client(Version::V5, "publisher");
    publish(&mut publisher, 2, 1..=3);
    let first = subscriber.expect_publish().packet_identifier;
    subscriber.send(pubrec(first));
    subscriber.expect_pubrel(first);
    subscriber.expect_nothing_within(A_MOMENT);
    subscriber.send(pubcomp(first));
    let second = subscriber.expect_publish();
    assert_eq!(text(&second), "2");
    subscriber.send(pubrec(second.packet_identifier).reason(reason::UNSPECIFIED_ERROR));
    assert_eq!(text(&subscriber.expect_publish()), "3");
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
#[test]
fn other_packets_flow_while_the_quota_is_used_up() {
    let broker = start();
    let mut subscriber = subscriber(&broker, 1);
    let mut publisher = broker.client(Version::V5, "publisher");
    publish(&mut publisher, 1, 1..=2);
    let held = subscriber.expect_publish();
    subscriber.expect_ping();
    subscriber.send(Subscribe::new(10).filter("other", 1));
    subscriber.expect_suback(10, &[1]);
    subscriber.send(Unsubscribe::new(11, "other"));
    subscriber.expect_unsuback(11, &[reason::SUCCESS]);
    for qos in 1..=2 {
        subscriber.publish(Publish::new("elsewhere", "x").qos(qos, 12));
    }
    subscriber.send(puback(held.packet_identifier));
    assert_eq!(text(&subscriber.expect_message()), "2");
}

/// [MQTT-4.9.0-2] [MQTT-3.3.4-9] [MQTT-4.4.0-1]
#[test]
fn resent_messages_count() {
    let broker = start();
    let mut subscriber = subscriber(&broker, 3);
    let mut publisher = broker.client(Version::V5, "publisher");
    publish(&mut publisher, 1, 1..=6);
    for _ in 0..3 {
        subscriber.expect_publish();
    }
    subscriber.cut();
    // A new connection announces anew: now only two at once.
    let connect = Connect::new(Version::V5, "subscriber")
        .persistent()
        .resume()
        .property(Property::receive_maximum(2));
    let mut subscriber = broker.connect(connect);
    for number in 1..=6 {
        let message = subscriber.expect_publish();
        assert_eq!(text(&message), number.to_string());
        assert_eq!(message.duplicate, number <= 3);
        subscriber.send(puback(message.packet_identifier));
    }
    subscriber.expect_ping();
}

/// [MQTT-4.9.0-2]
#[test]
fn qos_0_needs_no_quota() {
    let broker = start();
    let mut subscriber = subscriber(&broker, 1);
    subscriber.subscribe("free", 0);
    let mut publisher = broker.client(Version::V5, "publisher");
    publish(&mut publisher, 1, 1..=1);
    subscriber.expect_publish();
    publisher.send(Publish::new("free", "x"));
    assert_eq!(subscriber.expect_publish().topic, "free");
}

/// Without a Receive Maximum a client takes 65,535; the broker may send fewer.
/// [MQTT-4.9.0-1]
#[test]
fn without_a_receive_maximum_many_may_be_in_flight() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 1);
    let mut publisher = broker.client(Version::V5, "publisher");
    publish(&mut publisher, 1, 1..=10);
    for number in 1..=10 {
        assert_eq!(text(&subscriber.expect_publish()), number.to_string());
    }
}

/// [MQTT-3.3.4-7] [MQTT-3.3.4-8]
#[test]
fn client_may_use_the_whole_receive_maximum_of_the_broker() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    let maximum = publisher
        .connack()
        .properties
        .receive_maximum()
        .unwrap_or(u16::MAX);
    for identifier in 1..=maximum {
        publisher.send(Publish::new("t", "x").qos2(identifier));
        publisher.expect_pubrec(identifier);
    }
    publisher.expect_ping();
    // With one handshake finished, one more.
    publisher.send(nexum_harness::pubrel(1));
    publisher.expect_pubcomp(1);
    publisher.send(Publish::new("t", "x").qos2(1));
    publisher.expect_pubrec(1);
}

/// [MQTT-3.3.4-7] [MQTT-4.13.1-1]
#[test]
fn client_that_exceeds_the_receive_maximum_is_disconnected() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    let maximum = publisher
        .connack()
        .properties
        .receive_maximum()
        .unwrap_or(u16::MAX);
    if maximum == u16::MAX {
        // There are not more identifiers than that, so nobody can exceed it.
        return;
    }
    for identifier in 1..=maximum {
        publisher.send(Publish::new("t", "x").qos2(identifier));
        publisher.expect_pubrec(identifier);
    }
    publisher.send(Publish::new("t", "x").qos2(maximum + 1));
    publisher.expect_disconnected(&[reason::RECEIVE_MAXIMUM_EXCEEDED]);
}

/// A repeated PUBLISH is the one that counts already.
/// [MQTT-3.3.4-7] [MQTT-4.3.3-10]
#[test]
fn repeated_publish_counts_once() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    let maximum = publisher
        .connack()
        .properties
        .receive_maximum()
        .unwrap_or(u16::MAX);
    for identifier in 1..=maximum {
        publisher.send(Publish::new("t", "x").qos2(identifier));
        publisher.expect_pubrec(identifier);
    }
    publisher.send(Publish::new("t", "x").qos2(1).duplicate());
    publisher.expect_pubrec(1);
    publisher.expect_ping();
}
