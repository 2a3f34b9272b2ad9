//! How long a session and a will live is no matter of how long the broker does.

use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Connect, Disconnect, Property, Publish, Version, Will};

use crate::metrics::Metrics;
use crate::scene::{absent, builder, come_back, publish_all, resume, settle, take_all};

/// An MQTT 5 session that outlives its connection by so many seconds.
fn lasting(client_id: &str, seconds: u32) -> Connect {
    Connect::new(Version::V5, client_id)
        .resume()
        .property(Property::session_expiry_interval(seconds))
}

/// Kills the broker and leaves it dead for a while.
fn kill_for(broker: &mut Broker, time: Duration) {
    broker.kill();
    thread::sleep(time);
    broker.kill_and_restart();
}

/// Waits until the broker has so many sessions.
#[track_caller]
fn expect_sessions(broker: &Broker, count: u32) {
    Metrics::of(broker).wait_for("nexum_sessions", f64::from(count));
}

/// Section 3.1.2.11.2: the interval is of the time on the wall.
#[test]
fn session_expires_while_the_broker_is_down() {
    let mut broker = builder().start();
    let mut client = broker.connect(lasting("short", 2));
    client.subscribe("queue", 1);
    client.disconnect();
    absent(&broker, Version::V311, "long", "queue", 1);
    publish_all(&broker, [Publish::new("queue", "kept").qos1(1)]);
    settle(&broker);
    kill_for(&mut broker, Duration::from_secs(3));
    expect_sessions(&broker, 2);
    let mut client = broker.connect(lasting("short", 2));
    assert!(!client.connack().session_present, "its time was over");
    client.expect_ping();
    let mut long = come_back(&broker, resume(Version::V311, "long"));
    assert_eq!(take_all(&mut long), ["kept"]);
}

#[test]
fn session_whose_time_is_not_over_survives() {
    let mut broker = builder().start();
    let mut client = broker.connect(lasting("patient", 60));
    client.subscribe("queue", 1);
    client.disconnect();
    publish_all(&broker, [Publish::new("queue", "kept").qos1(1)]);
    kill_for(&mut broker, Duration::from_secs(1));
    let mut client = come_back(&broker, lasting("patient", 60));
    assert_eq!(take_all(&mut client), ["kept"]);
}

/// What of the interval is left when the broker dies runs on when it is back.
#[test]
fn session_expires_after_the_restart_when_it_would_have_without() {
    let mut broker = builder().start();
    broker.connect(lasting("short", 3)).disconnect();
    let gone = Instant::now();
    settle(&broker);
    kill_for(&mut broker, Duration::from_secs(1));
    broker.kill_and_restart();
    thread::sleep(Duration::from_millis(2900).saturating_sub(gone.elapsed()));
    expect_sessions(&broker, 1);
    let late = gone.elapsed();
    assert!(late < Duration::from_secs(6), "it ended after {late:?}");
    let client = broker.connect(lasting("short", 3));
    assert!(!client.connack().session_present, "its time was over");
}

/// `limits.v311_session_expiry_seconds` stands for the interval that 3.1.1 cannot name.
#[test]
fn session_of_3_1_1_expires_while_the_broker_is_down() {
    let mut broker = builder()
        .set("limits.v311_session_expiry_seconds", 2)
        .start();
    absent(&broker, Version::V311, "short", "queue", 1);
    settle(&broker);
    kill_for(&mut broker, Duration::from_secs(3));
    expect_sessions(&broker, 1);
    let client = broker.connect(resume(Version::V311, "short"));
    assert!(!client.connack().session_present, "its time was over");
}

/// [MQTT-3.1.4-4] and section 3.14.2.2.2: the interval of DISCONNECT counts from then on.
#[test]
fn interval_of_disconnect_survives() {
    let mut broker = builder().start();
    for (client_id, seconds) in [("shortened", 2), ("lengthened", 600)] {
        let mut client = broker.connect(lasting(client_id, 60));
        client.send(Disconnect::normal().property(Property::session_expiry_interval(seconds)));
        client.expect_closed();
    }
    settle(&broker);
    kill_for(&mut broker, Duration::from_secs(3));
    expect_sessions(&broker, 2);
    come_back(&broker, lasting("lengthened", 60)).expect_ping();
    let client = broker.connect(lasting("shortened", 60));
    assert!(!client.connack().session_present, "its time was over");
}

/// Section 3.1.3.2.2: the delay runs on while the broker is down, and after.
#[test]
fn delayed_will_comes_after_the_restart() {
    for (delay, down) in [(4, 0), (1, 2)] {
        let mut broker = builder().start();
        for version in Version::ALL {
            absent(&broker, version, &format!("heir {version:?}"), "will", 1);
        }
        let will = Will::new("will", "gone").qos(1);
        let will = will.property(Property::will_delay_interval(delay));
        let testator = broker.connect(lasting("testator", 600).will(will));
        testator.cut();
        let died = Instant::now();
        publish_all(&broker, [Publish::new("will", "before").qos1(1)]);
        settle(&broker);
        kill_for(&mut broker, Duration::from_secs(down));
        for version in Version::ALL {
            let mut heir = come_back(&broker, resume(version, &format!("heir {version:?}")));
            assert_eq!(heir.expect_message().payload, b"before");
            assert_eq!(heir.expect_message().payload, b"gone");
            heir.expect_ping();
            heir.disconnect();
        }
        let after = died.elapsed();
        assert!(
            after >= Duration::from_millis(u64::from(delay) * 1000 - 100),
            "the will came after {after:?}, its delay is {delay} s"
        );
        // Once is enough, when the store knows that everybody has it.
        settle(&broker);
        broker.kill_and_restart();
        let mut heir = come_back(&broker, resume(Version::V5, "heir V5"));
        assert!(take_all(&mut heir).is_empty());
    }
}

/// [MQTT-3.1.3-9]: who is back before the delay is over has no will published.
#[test]
fn delayed_will_of_a_client_that_came_back_is_not_published() {
    let mut broker = builder().start();
    absent(&broker, Version::V5, "heir", "will", 1);
    let will = Will::new("will", "gone").qos(1);
    let will = will.property(Property::will_delay_interval(4));
    let testator = broker.connect(lasting("testator", 600).will(will));
    testator.cut();
    let died = Instant::now();
    publish_all(&broker, [Publish::new("will", "before").qos1(1)]);
    settle(&broker);
    broker.kill_and_restart();
    let testator = come_back(&broker, lasting("testator", 600));
    thread::sleep(Duration::from_millis(4500).saturating_sub(died.elapsed()));
    let mut heir = come_back(&broker, resume(Version::V5, "heir"));
    assert_eq!(take_all(&mut heir), ["before"]);
    testator.disconnect();
    assert!(take_all(&mut heir).is_empty());
}

/// The broker dies with its clients connected: their wills are due, for their connections ended
/// without DISCONNECT ([MQTT-3.1.2-8], [MQTT3-3.1.2-8]).
#[test]
fn will_of_a_client_that_was_connected_is_published_after_the_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        absent(&broker, version, "heir", "will", 1);
        let connect = resume(version, "testator").will(Will::new("will", "gone").qos(1));
        let testator = broker.connect(connect);
        broker.kill_and_restart();
        drop(testator);
        let mut heir = come_back(&broker, resume(version, "heir"));
        assert_eq!(heir.expect_message().payload, b"gone");
        heir.expect_ping();
    }
}

/// [MQTT-3.14.4-3]: DISCONNECT deletes the will, also from what is kept.
#[test]
fn will_that_was_withdrawn_is_not_published_after_the_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        absent(&broker, version, "heir", "will", 1);
        let connect = resume(version, "testator").will(Will::new("will", "gone").qos(1));
        broker.connect(connect).disconnect();
        publish_all(&broker, [Publish::new("will", "after").qos1(1)]);
        settle(&broker);
        broker.kill_and_restart();
        let mut heir = come_back(&broker, resume(version, "heir"));
        assert_eq!(take_all(&mut heir), ["after"], "{version:?}");
    }
}

/// [MQTT-3.1.2-4] [MQTT3-3.1.2-6]: what Clean Start has discarded does not come back.
#[test]
fn clean_start_is_not_undone_by_a_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        absent(&broker, version, "renewed", "queue", 1);
        publish_all(
            &broker,
            [Publish::new("queue", "of the old session").qos1(1)],
        );
        // In 3.1.1 the session ends again with this connection; in 5 it stays.
        let clean = match version {
            Version::V311 => Connect::new(version, "renewed"),
            Version::V5 => Connect::new(version, "renewed").persistent(),
        };
        let client = broker.connect(clean);
        assert!(!client.connack().session_present);
        broker.kill_and_restart();
        drop(client);
        let mut client = broker.connect(resume(version, "renewed"));
        assert_eq!(client.connack().session_present, version == Version::V5);
        publish_all(&broker, [Publish::new("queue", "for nobody").qos1(1)]);
        assert!(take_all(&mut client).is_empty(), "{version:?}");
    }
}
