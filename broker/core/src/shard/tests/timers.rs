//! What ends by itself, and that its timers end with it.

use std::time::Duration;

use super::*;
use crate::Limits;

#[test]
fn clients_that_come_and_go_leave_no_timers_behind() {
    let mut broker = Broker::new(1, Limits::default());
    for _ in 0..1000 {
        let mut packet = connect_to_stay("c");
        packet.keep_alive_seconds = u16::MAX;
        packet.properties.session_expiry_interval_seconds = Some(u32::MAX - 1);
        let mut will = will("w", b"gone");
        will.delay_interval_seconds = u32::MAX;
        packet.will = Some(will);
        let client = broker.admit(packet);
        broker.lose(client);
    }
    broker.wait(Duration::from_secs(61));
    assert!(
        broker.shards[0].wheel.len() <= 1,
        "{}",
        broker.shards[0].wheel.len()
    );
}

#[test]
fn a_will_waits_for_its_delay_and_a_session_for_its_expiry() {
    let mut broker = Broker::new(1, Limits::default());
    let watcher = broker.admit(connect("watcher"));
    broker.send(watcher, subscribe(&[request("w", QoS::AtMostOnce)]));
    let mut packet = connect_to_stay("c");
    packet.properties.session_expiry_interval_seconds = Some(1000);
    let mut will = will("w", b"gone");
    will.delay_interval_seconds = 500;
    packet.will = Some(will);
    let client = broker.admit(packet);
    broker.wait(Duration::from_secs(2000));
    broker.lose(client);
    broker.take(watcher);
    broker.wait(Duration::from_secs(499));
    assert_eq!(broker.take(watcher), []);
    broker.wait(Duration::from_secs(2));
    assert_eq!(broker.take_payloads(watcher), [b"gone"], "[MQTT-3.1.3-9]");
    assert_eq!(broker.shards[0].gauges().sessions, 2);
    broker.wait(Duration::from_secs(500));
    assert_eq!(broker.shards[0].gauges().sessions, 1, "[MQTT-3.1.2-23]");
}

#[test]
fn a_will_comes_with_the_end_of_its_session_if_that_is_first() {
    let mut broker = Broker::new(1, Limits::default());
    let watcher = broker.admit(connect("watcher"));
    broker.send(watcher, subscribe(&[request("w", QoS::AtMostOnce)]));
    let mut packet = connect_to_stay("c");
    packet.properties.session_expiry_interval_seconds = Some(100);
    let mut will = will("w", b"gone");
    will.delay_interval_seconds = 500;
    packet.will = Some(will);
    let client = broker.admit(packet);
    broker.lose(client);
    broker.take(watcher);
    broker.wait(Duration::from_secs(101));
    assert_eq!(broker.take_payloads(watcher), [b"gone"], "[MQTT-3.1.3-9]");
}

#[test]
fn a_will_whose_client_is_back_in_time_is_not_published() {
    let mut broker = Broker::new(1, Limits::default());
    let mut packet = connect_to_stay("c");
    let mut will = will("w", b"gone");
    will.delay_interval_seconds = 500;
    packet.will = Some(will);
    let client = broker.admit(packet);
    broker.lose(client);
    broker.wait(Duration::from_secs(499));
    broker.admit(connect_to_stay("c"));
    broker.wait(Duration::from_secs(1000));
    assert_eq!(
        broker.shards[0].counters().wills_published,
        0,
        "[MQTT-3.1.3-9]"
    );
}
