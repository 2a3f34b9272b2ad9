//! What a session keeps, and for how long (sections 3.1.2.4 and 4.1 of both specifications).

use std::time::Duration;

use nexum_harness::{Connect, Disconnect, Property, Publish, Version, reason};

use crate::scene::{each_version, expect_no_message, start};

/// [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT3-3.1.2-6] [MQTT3-3.1.4-3]
#[test]
fn clean_start_discards_the_session() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut peer = broker.connect(persistent.clone());
        peer.subscribe("t", 1);
        peer.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "for the old session").qos1(1));

        let mut peer = broker.client(version, "client");
        assert!(!peer.connack().session_present);
        publisher.publish(Publish::new("t", "for nobody").qos1(2));
        expect_no_message(&mut publisher, &mut peer);
        peer.disconnect();

        let peer = broker.connect(persistent.resume());
        assert!(
            !peer.connack().session_present,
            "the old session is gone for good"
        );
    });
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.1.4-4] [MQTT-4.5.0-1] [MQTT3-3.1.2-4] [MQTT3-3.1.2-5]
/// [MQTT3-3.1.4-3] [MQTT3-4.1.0-1] [MQTT3-4.5.0-1] [MQTT-3.2.0-1] [MQTT3-3.2.0-1]
#[test]
fn resumed_session_has_its_subscriptions_and_messages() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        let mut peer = broker.connect(persistent.clone());
        peer.subscribe("one/+", 1);
        peer.subscribe("two/#", 2);
        peer.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("one/t", "1").qos1(1));
        publisher.publish(Publish::new("two/t", "2").qos2(2));

        // CONNACK comes first, or `connect` would panic.
        let mut peer = broker.connect(persistent.resume());
        assert!(peer.connack().session_present);
        let (first, second) = (peer.expect_message(), peer.expect_message());
        assert_eq!((first.topic.as_str(), first.qos), ("one/t", 1));
        assert_eq!((second.topic.as_str(), second.qos), ("two/t", 2));
        publisher.publish(Publish::new("one/t", "live").qos1(3));
        assert_eq!(peer.expect_message().payload, b"live");
    });
}

/// [MQTT-3.1.2-6] [MQTT3-3.1.2-4] [MQTT3-3.2.2-3]
#[test]
fn without_a_session_a_new_one_is_created() {
    each_version(|broker, version| {
        let mut peer = broker.connect(Connect::new(version, "new").persistent().resume());
        assert!(!peer.connack().session_present);
        peer.subscribe("t", 1);
        peer.disconnect();
        let peer = broker.connect(Connect::new(version, "new").persistent().resume());
        assert!(peer.connack().session_present);
    });
}

/// [MQTT-4.1.0-2] [MQTT3-3.1.2-6]
#[test]
fn session_without_expiry_ends_with_its_connection() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.subscribe("t", 1);
        peer.disconnect();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "for nobody").qos1(1));
        let mut peer = broker.connect(Connect::new(version, "client").persistent().resume());
        assert!(!peer.connack().session_present);
        expect_no_message(&mut publisher, &mut peer);
    });
}

/// The session's end is announced by its Will Message, whose delay is longer than the session.
/// [MQTT-4.1.0-2] [MQTT-3.1.2-8]
#[test]
fn v5_session_is_discarded_after_its_expiry_interval() {
    let broker = start();
    let mut watcher = broker.client(Version::V5, "watcher");
    watcher.subscribe("ended", 0);
    let will = nexum_harness::Will::new("ended", "").property(Property::will_delay_interval(3600));
    let connect = Connect::new(Version::V5, "client")
        .property(Property::session_expiry_interval(1))
        .will(will);
    let mut peer = broker.connect(connect);
    peer.subscribe("t", 1);
    peer.cut();
    watcher.expect_publish();
    let peer = broker.connect(Connect::new(Version::V5, "client").resume());
    assert!(!peer.connack().session_present);
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-2]
#[test]
fn v5_session_outlives_its_connection_until_it_expires() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::session_expiry_interval(30));
    let mut peer = broker.connect(connect.clone());
    peer.subscribe("t", 1);
    peer.cut();
    let mut clock = broker.client(Version::V5, "clock");
    clock.expect_nothing_within(Duration::from_millis(1200));
    assert!(broker.connect(connect.resume()).connack().session_present);
}

/// However short the expiry, the session lives while its connection does.
/// [MQTT-4.1.0-1] [MQTT3-4.1.0-1] [MQTT3-4.1.0-2]
#[test]
fn session_lasts_as_long_as_its_connection() {
    each_version(|broker, version| {
        let connect = match version {
            Version::V311 => Connect::new(version, "client"),
            Version::V5 => {
                Connect::new(version, "client").property(Property::session_expiry_interval(1))
            }
        };
        let mut peer = broker.connect(connect);
        peer.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        peer.expect_nothing_within(Duration::from_millis(2200));
        publisher.publish(Publish::new("t", "still here").qos1(1));
        assert_eq!(peer.expect_message().payload, b"still here");
    });
}

/// Reconnecting stops the clock of a session's expiry; losing the connection starts it anew.
/// [MQTT-4.1.0-1]
#[test]
fn v5_reconnecting_stops_the_expiry() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::session_expiry_interval(2));
    let mut peer = broker.connect(connect.clone());
    peer.subscribe("t", 1);
    peer.cut();
    let mut peer = broker.connect(connect.resume());
    assert!(peer.connack().session_present);
    peer.expect_nothing_within(Duration::from_millis(2600));
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(Publish::new("t", "still here").qos1(1));
    assert_eq!(peer.expect_message().payload, b"still here");
}

/// [MQTT-4.1.0-2]
#[test]
fn v5_disconnect_may_shorten_the_expiry() {
    let broker = start();
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut peer = broker.connect(connect.clone());
    peer.subscribe("t", 1);
    peer.send(Disconnect::normal().property(Property::session_expiry_interval(0)));
    peer.expect_closed();
    let peer = broker.connect(connect.resume());
    assert!(!peer.connack().session_present);
}

/// [MQTT-3.1.2-23]
#[test]
fn v5_disconnect_may_lengthen_the_expiry() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::session_expiry_interval(1));
    let mut peer = broker.connect(connect.clone());
    peer.send(Disconnect::normal().property(Property::session_expiry_interval(3600)));
    peer.expect_closed();
    let mut clock = broker.client(Version::V5, "clock");
    clock.expect_nothing_within(Duration::from_millis(2200));
    assert!(broker.connect(connect.resume()).connack().session_present);
}

/// Section 3.14.2.2.2: a session that was to end with its connection cannot be kept after all.
/// [MQTT-4.13.1-1]
#[test]
fn v5_disconnect_cannot_turn_the_expiry_on() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.send(Disconnect::normal().property(Property::session_expiry_interval(10)));
    peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
    let peer = broker.connect(Connect::new(Version::V5, "client").resume());
    assert!(!peer.connack().session_present);
}

/// A Session Expiry Interval of 0xFFFFFFFF means never; a server may grant less, and then says so.
/// [MQTT-3.1.2-23]
#[test]
fn v5_session_may_never_expire() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::session_expiry_interval(u32::MAX));
    let peer = broker.connect(connect.clone());
    let granted = peer.connack().properties.session_expiry_interval();
    assert_ne!(granted, Some(0));
    peer.disconnect();
    assert!(broker.connect(connect.resume()).connack().session_present);
}

/// [MQTT3-3.1.2-7]
#[test]
fn retained_messages_outlive_the_session() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.publish(Publish::new("t", "kept").qos1(1).retain());
        peer.disconnect();
        // Nor does a clean start of the same client take it away.
        broker.client(version, "client").disconnect();
        let mut other = broker.client(version, "other");
        other.subscribe("t", 1);
        let kept = other.expect_message();
        assert_eq!(kept.payload, b"kept");
        assert!(kept.retain);
    });
}

/// A session is one, whichever version its client speaks next: 3.1.1 leaves, 5 returns.
/// [MQTT-3.1.2-5] [MQTT3-3.1.2-4]
#[test]
fn session_may_be_resumed_in_the_other_version() {
    for (before, after) in [(Version::V311, Version::V5), (Version::V5, Version::V311)] {
        println!("{before:?}, then {after:?}");
        let broker = start();
        let mut peer = broker.connect(Connect::new(before, "client").persistent());
        peer.subscribe("t", 1);
        peer.disconnect();
        let mut publisher = broker.client(before, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        let mut peer = broker.connect(Connect::new(after, "client").persistent().resume());
        if peer.connack().session_present {
            assert_eq!(peer.expect_message().payload, b"x");
        } else {
            // Section 4.1 of neither says that a session spans versions: a new one is as good.
            expect_no_message(&mut publisher, &mut peer);
        }
    }
}
