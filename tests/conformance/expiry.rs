//! Message Expiry Interval (MQTT 5 section 3.3.2.3.3).

use std::time::Duration;

use nexum_harness::{
    Broker, Connect, Peer, Property, Publish, Subscribe, Version, pubcomp, pubrec, pubrel,
};

use crate::scene::{expect_no_message, start};

const LONGER_THAN_A_SECOND: Duration = Duration::from_millis(1600);

fn persistent() -> Connect {
    Connect::new(Version::V5, "subscriber").persistent()
}

/// A session that subscribes to `t` and goes away, and a publisher.
fn absent_subscriber(broker: &Broker) -> Peer {
    let mut subscriber = broker.connect(persistent());
    subscriber.subscribe("t", 2);
    subscriber.disconnect();
    broker.client(Version::V5, "publisher")
}

fn expiring(seconds: u32) -> Publish {
    Publish::new("t", "x").property(Property::message_expiry_interval(seconds))
}

/// [MQTT-3.3.2-5]
#[test]
fn expired_message_is_not_delivered() {
    let broker = start();
    let mut publisher = absent_subscriber(&broker);
    publisher.publish(expiring(1).qos1(1));
    publisher.publish(expiring(1).qos2(2));
    publisher.publish(Publish::new("t", "lasting").qos1(3));
    publisher.expect_nothing_within(LONGER_THAN_A_SECOND);
    let mut subscriber = broker.connect(persistent().resume());
    assert_eq!(subscriber.expect_message().payload, b"lasting");
    expect_no_message(&mut publisher, &mut subscriber);
}

/// [MQTT-3.3.2-6]
#[test]
fn interval_is_lessened_by_the_time_spent_waiting() {
    let broker = start();
    let mut publisher = absent_subscriber(&broker);
    publisher.publish(expiring(100).qos1(1));
    publisher.expect_nothing_within(Duration::from_millis(2200));
    let mut subscriber = broker.connect(persistent().resume());
    let left = subscriber
        .expect_message()
        .properties
        .message_expiry_interval();
    let left = left.expect("the interval is passed on");
    assert!(
        (90..=98).contains(&left),
        "{left} of 100 s are left after 2 s"
    );
}

/// [MQTT-3.3.2-6]
#[test]
fn interval_of_a_message_that_did_not_wait_is_unchanged() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 0);
    let mut publisher = broker.client(Version::V5, "publisher");
    for seconds in [1, 100, u32::MAX] {
        publisher.send(expiring(seconds));
        let left = subscriber
            .expect_publish()
            .properties
            .message_expiry_interval();
        let left = left.expect("the interval is passed on");
        assert!(
            left == seconds || left == seconds - 1,
            "{left} of {seconds}"
        );
    }
    publisher.send(Publish::new("t", "lasting"));
    let lasting = subscriber.expect_publish();
    assert_eq!(lasting.properties.message_expiry_interval(), None);
}

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
#[test]
fn retained_message_expires() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(
        Publish::new("short", "x")
            .qos1(1)
            .retain()
            .property(Property::message_expiry_interval(1)),
    );
    publisher.publish(
        Publish::new("long", "x")
            .qos1(2)
            .retain()
            .property(Property::message_expiry_interval(100)),
    );
    publisher.expect_nothing_within(Duration::from_millis(2200));
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("short", 1);
    subscriber.subscribe("long", 1);
    let retained = subscriber.expect_message();
    assert_eq!(retained.topic, "long");
    let left = retained
        .properties
        .message_expiry_interval()
        .expect("it is passed on");
    assert!(
        (90..=98).contains(&left),
        "{left} of 100 s are left after 2 s"
    );
    expect_no_message(&mut publisher, &mut subscriber);
}

/// Once it is under way, a message no longer expires: the client may hold half of it.
/// [MQTT-4.3.3-7] [MQTT-4.4.0-1]
#[test]
fn message_under_way_does_not_expire() {
    let broker = start();
    let mut subscriber = broker.connect(persistent());
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(expiring(1).qos2(1));
    let first = subscriber.expect_publish();
    subscriber.cut();
    publisher.expect_nothing_within(LONGER_THAN_A_SECOND);
    let mut subscriber = broker.connect(persistent().resume());
    let again = subscriber.expect_publish();
    assert_eq!(again.packet_identifier, first.packet_identifier);
    assert!(again.duplicate);
    subscriber.send(pubrec(again.packet_identifier));
    subscriber.expect_pubrel(again.packet_identifier);
    subscriber.send(pubcomp(again.packet_identifier));
}

/// [MQTT-4.3.3-13]
#[test]
fn qos_2_handshake_goes_on_after_the_message_expired() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.send(expiring(1).qos2(1));
    publisher.expect_pubrec(1);
    publisher.expect_nothing_within(LONGER_THAN_A_SECOND);
    publisher.send(pubrel(1));
    assert_eq!(publisher.expect_pubcomp(1).reason, 0);
}

/// A message that waits for the send quota expires like one that waits for its client.
/// [MQTT-3.3.2-5]
#[test]
fn message_that_waits_for_the_quota_expires() {
    let broker = start();
    let mut subscriber = broker
        .connect(Connect::new(Version::V5, "subscriber").property(Property::receive_maximum(1)));
    subscriber.send(Subscribe::new(1).filter("t", 1));
    subscriber.expect_suback(1, &[1]);
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(Publish::new("t", "holds the quota").qos1(1));
    publisher.publish(expiring(1).qos1(2));
    publisher.publish(Publish::new("t", "lasting").qos1(3));
    let first = subscriber.expect_publish();
    assert_eq!(first.payload, b"holds the quota");
    subscriber.expect_nothing_within(LONGER_THAN_A_SECOND);
    subscriber.send(nexum_harness::puback(first.packet_identifier));
    assert_eq!(subscriber.expect_message().payload, b"lasting");
}
