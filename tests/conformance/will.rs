//! The Will Message (sections 3.1.2.5 and 3.1.3.2 of MQTT 5, 3.1.2.5 of 3.1.1).

use std::time::{Duration, Instant};

use nexum_harness::{
    Broker, Connect, Disconnect, Packet, Peer, Property, Publish, Version, Will, reason,
};

use crate::scene::{each_version, expect_no_message, start};

/// A client that sees every will.
fn watcher(broker: &Broker, version: Version) -> Peer {
    let mut watcher = broker.client(version, "watcher");
    watcher.subscribe("will/#", 2);
    watcher
}

/// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
#[test]
fn will_is_published_when_the_connection_is_lost() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        for qos in 0..=2 {
            let will = Will::new("will/t", "last words").qos(qos);
            let peer = broker.connect(Connect::new(version, "client").will(will));
            peer.cut();
            let published = watcher.expect_message();
            assert_eq!(published.topic, "will/t");
            assert_eq!(published.payload, b"last words");
            assert_eq!(published.qos, qos);
        }
    });
}

/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
#[test]
fn will_is_published_when_the_broker_ends_the_connection() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "misbehaved");
        let mut peer = broker.connect(Connect::new(version, "client").will(will));
        peer.send(Connect::new(version, "client"));
        peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
        assert_eq!(watcher.expect_publish().payload, b"misbehaved");
    });
}

/// [MQTT-3.1.2-10] [MQTT-3.14.4-3] [MQTT3-3.1.2-10] [MQTT3-3.14.4-3]
#[test]
fn normal_disconnect_discards_the_will() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "unsaid").retain();
        broker
            .connect(Connect::new(version, "client").will(will))
            .disconnect();
        let mut publisher = broker.client(version, "publisher");
        expect_no_message(&mut publisher, &mut watcher);
        let mut late = broker.client(version, "late");
        late.subscribe("will/t", 0);
        expect_no_message(&mut publisher, &mut late);
    });
}

/// [MQTT-3.1.2-8]
#[test]
fn v5_disconnect_with_another_reason_publishes_the_will() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    for code in [
        reason::DISCONNECT_WITH_WILL,
        reason::UNSPECIFIED_ERROR,
        reason::IMPLEMENTATION_SPECIFIC_ERROR,
        reason::QUOTA_EXCEEDED,
    ] {
        println!("{code:#04x}");
        let will = Will::new("will/t", "on purpose");
        let mut peer = broker.connect(Connect::new(Version::V5, "client").will(will));
        peer.send(Disconnect::new(code));
        peer.expect_closed();
        assert_eq!(watcher.expect_publish().payload, b"on purpose");
    }
}

/// [MQTT3-3.1.2-12]
#[test]
fn without_a_will_nothing_is_published() {
    each_version(|broker, version| {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("+/#", 0);
        broker.client(version, "client").cut();
        let mut publisher = broker.client(version, "publisher");
        publisher.send(Publish::new("marker", ""));
        assert_eq!(watcher.expect_publish().topic, "marker");
    });
}

/// [MQTT-3.1.2-10] [MQTT3-3.1.2-10]
#[test]
fn will_is_published_once() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let connect = Connect::new(version, "client").persistent();
        let will = Will::new("will/t", "once");
        broker.connect(connect.clone().will(will)).cut();
        assert_eq!(watcher.expect_publish().payload, b"once");
        // The same session, now without a will.
        broker.connect(connect.resume()).cut();
        let mut publisher = broker.client(version, "publisher");
        expect_no_message(&mut publisher, &mut watcher);
    });
}

/// [MQTT-3.1.2-14] [MQTT3-3.1.2-16]
#[test]
fn will_without_retain_is_not_retained() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "fleeting").qos(1);
        broker
            .connect(Connect::new(version, "client").will(will))
            .cut();
        assert!(!watcher.expect_message().retain);
        let mut late = broker.client(version, "late");
        late.subscribe("will/t", 1);
        let mut publisher = broker.client(version, "publisher");
        expect_no_message(&mut publisher, &mut late);
    });
}

/// [MQTT-3.1.2-15] [MQTT3-3.1.2-17]
#[test]
fn will_with_retain_is_retained() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "kept").qos(1).retain();
        broker
            .connect(Connect::new(version, "client").will(will))
            .cut();
        watcher.expect_message();
        let mut late = broker.client(version, "late");
        late.subscribe("will/t", 1);
        let kept = late.expect_message();
        assert_eq!(kept.payload, b"kept");
        assert!(kept.retain);
    });
}

/// An empty retained will removes what is retained under its topic, as any message would.
/// [MQTT-3.1.2-15] [MQTT-3.3.1-6] [MQTT3-3.1.2-17] [MQTT3-3.3.1-10]
#[test]
fn empty_retained_will_removes_the_retained_message() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("will/t", "kept").qos1(1).retain());
        let mut watcher = watcher(broker, version);
        assert_eq!(watcher.expect_message().payload, b"kept");
        let will = Will::new("will/t", "").retain();
        broker
            .connect(Connect::new(version, "client").will(will))
            .cut();
        assert_eq!(watcher.expect_message().payload, b"");
        let mut late = broker.client(version, "late");
        late.subscribe("will/t", 1);
        expect_no_message(&mut publisher, &mut late);
    });
}

/// [MQTT-3.1.2-8]
#[test]
fn v5_will_waits_for_its_delay() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will/t", "late").property(Property::will_delay_interval(1));
    let connect = Connect::new(Version::V5, "client").persistent().will(will);
    let lost = Instant::now();
    broker.connect(connect).cut();
    watcher.expect_nothing_within(Duration::from_millis(700));
    assert_eq!(watcher.expect_publish().payload, b"late");
    let waited = lost.elapsed();
    assert!(
        waited >= Duration::from_millis(950),
        "already after {waited:?}"
    );
    assert!(waited < Duration::from_secs(4), "only after {waited:?}");
}

/// [MQTT-3.1.3-9]
#[test]
fn v5_will_is_dropped_if_the_client_returns_in_time() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will/t", "premature").property(Property::will_delay_interval(1));
    let connect = Connect::new(Version::V5, "client").persistent();
    broker.connect(connect.clone().will(will)).cut();
    let mut peer = broker.connect(connect.resume());
    assert!(peer.connack().session_present);
    watcher.expect_nothing_within(Duration::from_millis(1700));
    peer.expect_ping();
}

/// A delay longer than the session ends with the session: here at once.
/// [MQTT-3.1.2-8]
#[test]
fn v5_will_is_published_when_the_session_ends_before_its_delay() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will/t", "now").property(Property::will_delay_interval(3600));
    broker
        .connect(Connect::new(Version::V5, "client").will(will))
        .cut();
    assert_eq!(watcher.expect_publish().payload, b"now");
}

/// The will goes with the connection that brought it, also when the session lives on.
/// [MQTT-3.14.4-3] [MQTT-3.1.2-10]
#[test]
fn v5_normal_disconnect_discards_a_delayed_will() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will/t", "unsaid").property(Property::will_delay_interval(1));
    let connect = Connect::new(Version::V5, "client").persistent().will(will);
    broker.connect(connect).disconnect();
    watcher.expect_nothing_within(Duration::from_millis(1500));
}

/// [MQTT-3.1.3-10] [MQTT-3.3.2-18] [MQTT-3.3.2-17] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16]
/// [MQTT-3.3.2-20]
#[test]
fn v5_will_properties_are_those_of_its_message() {
    let broker = start();
    let mut watcher = watcher(&broker, Version::V5);
    let will = Will::new("will/t", "payload")
        .property(Property::user("b", "1"))
        .property(Property::payload_format_indicator(1))
        .property(Property::content_type("text/plain"))
        .property(Property::user("a", "2"))
        .property(Property::response_topic("answer/here"))
        .property(Property::correlation_data(&[0, 1, 255]))
        .property(Property::user("b", "3"))
        .property(Property::user("", ""))
        .property(Property::message_expiry_interval(100))
        .property(Property::will_delay_interval(0));
    broker
        .connect(Connect::new(Version::V5, "client").will(will))
        .cut();
    let properties = watcher.expect_publish().properties;
    assert_eq!(
        properties.user(),
        [("b", "1"), ("a", "2"), ("b", "3"), ("", "")]
    );
    assert_eq!(properties.payload_format_indicator(), Some(1));
    assert_eq!(properties.content_type(), Some("text/plain"));
    assert_eq!(properties.response_topic(), Some("answer/here"));
    assert_eq!(properties.correlation_data(), Some(&[0, 1, 255][..]));
    let expiry = properties.message_expiry_interval().expect("it was set");
    assert!((95..=100).contains(&expiry), "{expiry}");
}

/// Each CONNECT brings its own will, or none.
/// [MQTT-3.1.2-7] [MQTT3-3.1.2-8]
#[test]
fn will_is_that_of_the_latest_connect() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let connect = Connect::new(version, "client").persistent();
        broker
            .connect(connect.clone().will(Will::new("will/first", "1")))
            .disconnect();
        broker
            .connect(connect.resume().will(Will::new("will/second", "2")))
            .cut();
        assert_eq!(watcher.expect_publish().topic, "will/second");
    });
}

/// A will is routed like any message: to offline sessions, too.
/// [MQTT-4.5.0-1] [MQTT3-4.5.0-1]
#[test]
fn will_is_queued_for_sessions_that_are_away() {
    each_version(|broker, version| {
        let connect = Connect::new(version, "away").persistent();
        let mut away = broker.connect(connect.clone());
        away.subscribe("will/t", 1);
        away.disconnect();
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "last words").qos(1);
        broker
            .connect(Connect::new(version, "client").will(will))
            .cut();
        watcher.expect_message();
        let mut away = broker.connect(connect.resume());
        assert_eq!(away.expect_message().payload, b"last words");
    });
}

/// A client that half-closed its side and then the rest of its packets: what came whole counts.
/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
#[test]
fn packets_before_the_loss_are_processed_before_the_will() {
    each_version(|broker, version| {
        let mut watcher = watcher(broker, version);
        let will = Will::new("will/t", "2");
        let mut peer = broker.connect(Connect::new(version, "client").will(will));
        peer.send(Publish::new("will/t", "1"));
        // Half a packet is no packet.
        let half = Packet::from(Publish::new("will/t", "never")).bytes(version);
        peer.send_bytes(&half[..half.len() - 1]);
        peer.cut();
        assert_eq!(watcher.expect_publish().payload, b"1");
        assert_eq!(watcher.expect_publish().payload, b"2");
    });
}
