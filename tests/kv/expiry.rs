//! What runs out.

use std::time::Instant;

use nexum_harness::{Property, Publish, Version};

use crate::scene::{PATIENCE, ask, next, put, send, set, start};

#[test]
fn a_key_runs_out_and_its_watchers_are_told() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    peer.subscribe("$kv/cfg/#", 1);
    assert_eq!(put(&mut peer, "$opt/ttl=1s/$kv/cfg/a", "1").reason, 0);
    let mut told: Vec<String> = (0..2).map(|_| next(&mut peer)).collect();
    assert_eq!(told.pop().as_deref(), Some("expire a="));
    assert_eq!(told.pop().as_deref(), Some("set a=1"));
    peer.expect_ping();
}

#[test]
fn message_expiry_is_the_time_to_live_of_mqtt_5() {
    let mut broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    let publish = Publish::new("$kv/cfg/a", "1").property(Property::message_expiry_interval(100));
    assert_eq!(send(&mut peer, publish).reason, 0);
    let publish = Publish::new("$kv/cfg/b", "1").property(Property::message_expiry_interval(1));
    assert_eq!(send(&mut peer, publish).reason, 0);
    set(&mut peer, "$kv/cfg/c", "1");
    drop(peer);
    broker.kill_and_restart();
    let mut peer = broker.client(Version::V5, "watcher");
    peer.subscribe("answers/#", 1);
    let deadline = Instant::now() + PATIENCE;
    while ask(&mut peer, "$kv/cfg/b/$get", "").payload == b"1" {
        assert!(Instant::now() < deadline, "it never runs out");
    }
    let keys = ask(&mut peer, "$kv/cfg/$keys", "");
    assert_eq!(keys.payload, br#"{"keys":["a","c"]}"#);
    peer.subscribe("$kv/cfg/a", 1);
    let value = peer.expect_message();
    let left = value.properties.message_expiry_interval().expect("a time");
    assert!((1..=100).contains(&left), "{left}");
}
