//! A second connection of one client (section 3.1.4 of both specifications).

use nexum_harness::{
    Broker, Connect, Packet, Property, Publish, Received, Version, Will, puback, reason,
};
use std::time::Duration;

use crate::scene::{each_version, expect_no_message, start};

/// [MQTT-3.1.4-3] [MQTT3-3.1.4-2] [MQTT-3.14.4-2]
#[test]
fn existing_connection_is_closed() {
    each_version(|broker, version| {
        let mut old = broker.client(version, "client");
        let mut new = broker.client(version, "client");
        old.expect_disconnected(&[reason::SESSION_TAKEN_OVER]);
        new.expect_ping();
    });
}

/// [MQTT-3.1.4-3] [MQTT3-3.1.4-2] [MQTT-3.1.2-5] [MQTT-4.4.0-1] [MQTT3-4.4.0-1]
#[test]
fn session_passes_to_the_new_connection() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut old = broker.connect(persistent.clone());
        old.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "unacknowledged").qos1(1));
        let first = old.expect_publish();

        let mut new = broker.connect(persistent.resume());
        assert!(new.connack().session_present);
        old.expect_disconnected(&[reason::SESSION_TAKEN_OVER]);
        let again = new.expect_publish();
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert_eq!(again.payload, b"unacknowledged");
        assert!(again.duplicate);
        new.send(puback(again.packet_identifier));
        publisher.publish(Publish::new("t", "next").qos1(2));
        assert_eq!(new.expect_message().payload, b"next");
    });
}

/// [MQTT-3.1.4-3] [MQTT-3.1.2-4] [MQTT3-3.1.4-2] [MQTT3-3.1.2-6]
#[test]
fn clean_start_of_the_new_connection_discards_the_session() {
    each_version(|broker, version| {
        let mut old = broker.connect(Connect::new(version, "client").persistent());
        old.subscribe("t", 1);
        let mut new = broker.client(version, "client");
        assert!(!new.connack().session_present);
        old.expect_disconnected(&[reason::SESSION_TAKEN_OVER]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "for nobody").qos1(1));
        expect_no_message(&mut publisher, &mut new);
    });
}

/// Ten connections in a row: each ends the one before, the last one stays.
/// [MQTT-3.1.4-3] [MQTT3-3.1.4-2]
#[test]
fn takeovers_in_a_row_leave_the_last() {
    each_version(|broker, version| {
        let mut peers: Vec<_> = (0..10).map(|_| broker.client(version, "client")).collect();
        let mut last = peers.pop().expect("there are ten");
        for peer in &mut peers {
            peer.expect_disconnected(&[reason::SESSION_TAKEN_OVER]);
        }
        last.expect_ping();
    });
}

fn watcher(broker: &Broker, version: Version) -> nexum_harness::Peer {
    let mut watcher = broker.client(version, "watcher");
    watcher.subscribe("will", 0);
    watcher
}

/// The old connection ended without a DISCONNECT of its client.
/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
#[test]
fn will_of_the_old_connection_is_published() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will", "of the old");
        let _old = broker.connect(Connect::new(version, "client").persistent().will(will));
        let _new = broker.connect(Connect::new(version, "client").persistent().resume());
        assert_eq!(watcher.expect_publish().payload, b"of the old");
    });
}

/// [MQTT-3.1.3-9]
#[test]
fn v5_delayed_will_is_dropped_when_the_session_passes_on() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will", "of the old").property(Property::will_delay_interval(1));
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut old = broker.connect(connect.clone().will(will));
    let _new = broker.connect(connect.resume());
    old.expect_disconnected(&[reason::SESSION_TAKEN_OVER]);
    watcher.expect_nothing_within(Duration::from_millis(1700));
}

/// A clean start ends the session, and that is as good as the delay's end.
/// [MQTT-3.1.2-8]
#[test]
fn v5_delayed_will_is_published_when_a_clean_start_ends_the_session() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will", "of the old").property(Property::will_delay_interval(3600));
    let connect = Connect::new(Version::V5, "client").persistent();
    let _old = broker.connect(connect.will(will));
    let _new = broker.client(Version::V5, "client");
    assert_eq!(watcher.expect_publish().payload, b"of the old");
}

/// A CONNECT that is refused has no effect on the session it names.
/// [MQTT-3.1.4-2] [MQTT-3.1.4-6]
#[test]
fn v5_refused_connect_takes_nothing_over() {
    let broker = start();
    let mut old = broker.client(Version::V5, "client");
    let mut refused = broker.dial(Version::V5);
    refused.send(
        Connect::new(Version::V5, "client")
            .property(Property::authentication_method("no such method")),
    );
    match refused.recv_within(Duration::from_secs(5)) {
        Received::Packet(Packet::Connack(connack)) => assert!(connack.reason >= 0x80),
        Received::Closed => {}
        other => panic!("expected a refusal, got {other:?}"),
    }
    old.expect_ping();
}
