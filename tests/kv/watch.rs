//! Watchers.

use nexum_harness::{Connect, Publish, Version, puback};

use crate::scene::{next, put, set, start, subscribe};

#[test]
fn a_watcher_is_told_what_there_is_and_then_what_changes() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    set(&mut peer, "$kv/cfg/a/x", "1");
    set(&mut peer, "$kv/cfg/b", "2");
    for version in Version::ALL {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("$kv/cfg/a/#", 1);
        let op = |op| if version == Version::V5 { op } else { "-" };
        assert_eq!(next(&mut watcher), format!("{} a/x=1 retained", op("set")));
        set(&mut peer, "$kv/cfg/b", "3");
        set(&mut peer, "$kv/cfg/a/y", "4");
        assert_eq!(next(&mut watcher), format!("{} a/y=4", op("set")));
        set(&mut peer, "$kv/cfg/a/y", "");
        assert_eq!(next(&mut watcher), format!("{} a/y=", op("del")));
        watcher.expect_ping();
        watcher.disconnect();
    }
}

#[test]
fn retain_handling_says_whether_what_there_is_is_wanted() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    set(&mut peer, "$kv/cfg/a", "1");
    // Only what changes.
    subscribe(&mut peer, "$kv/cfg/#", 0x21);
    peer.expect_ping();
    // What there is if it is new, which it is not.
    subscribe(&mut peer, "$kv/cfg/#", 0x11);
    peer.expect_ping();
    subscribe(&mut peer, "$kv/cfg/#", 0x01);
    assert_eq!(next(&mut peer), "set a=1 retained");
    subscribe(&mut peer, "$kv/cfg/a", 0x11);
    assert_eq!(next(&mut peer), "set a=1 retained");
}

#[test]
fn a_session_that_comes_back_is_told_what_there_is() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    set(&mut peer, "$kv/cfg/a", "1");
    let connect = || Connect::new(Version::V5, "watcher").persistent();
    let mut watcher = broker.connect(connect());
    watcher.subscribe("$kv/cfg/#", 1);
    assert_eq!(next(&mut watcher), "set a=1 retained");
    watcher.cut();
    set(&mut peer, "$kv/cfg/a", "2");
    set(&mut peer, "$kv/cfg/b", "3");
    let mut watcher = broker.connect(connect().resume());
    assert_eq!(next(&mut watcher), "set a=2 retained");
    assert_eq!(next(&mut watcher), "set b=3 retained");
    set(&mut peer, "$kv/cfg/a", "4");
    assert_eq!(next(&mut watcher), "set a=4");
}

#[test]
fn who_acknowledges_late_is_told_everything_in_its_order() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    let mut watcher = broker.client(Version::V5, "watcher");
    watcher.subscribe("$kv/cfg/#", 1);
    for number in 0..500 {
        set(&mut peer, "$kv/cfg/a", &number.to_string());
    }
    for number in 0..500 {
        let publish: Publish = watcher.expect_publish();
        assert_eq!(publish.payload, number.to_string().as_bytes());
        watcher.send(puback(publish.packet_identifier));
    }
}

#[test]
fn a_thousand_keys_are_told_once_each() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    for number in 0..1000 {
        set(&mut peer, &format!("$kv/cfg/k{number:04}"), "1");
    }
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.subscribe("$kv/cfg/+", 0);
    for number in 0..1000 {
        assert_eq!(next(&mut watcher), format!("- k{number:04}=1 retained"));
    }
    assert_eq!(put(&mut peer, "$kv/cfg/$ctl/purge", "").reason, 0);
    for number in 0..1000 {
        assert_eq!(next(&mut watcher), format!("- k{number:04}="));
    }
    watcher.expect_ping();
}
