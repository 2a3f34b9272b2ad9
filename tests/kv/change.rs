//! What changes a key, on MQTT 5.

use nexum_harness::{Property, Publish, Version, reason};

use crate::scene::{ask, builder, label, put, revision, send, set, start, start_with};

#[test]
fn changes_are_acknowledged_with_their_revision() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    peer.subscribe("answers/#", 1);
    let first = set(&mut peer, "$kv/cfg/a/b", "1");
    let second = set(&mut peer, "$kv/cfg/a/b", "2");
    assert!(second > first);
    let answer = ask(&mut peer, "$kv/cfg/a/b/$get", "");
    assert_eq!(answer.payload, b"2");
    assert_eq!(revision(&answer.properties), second);
    let sum = ask(&mut peer, "$kv/cfg/a/b/$incr", "40");
    assert_eq!(sum.payload, b"42");
    let gone = set(&mut peer, "$kv/cfg/a/b", "");
    assert!(gone > second);
    let answer = ask(&mut peer, "$kv/cfg/a/b/$get", "");
    assert_eq!(label(&answer.properties, "code"), Some("not_found"));
}

#[test]
fn one_of_two_that_ask_for_the_same_revision_is_refused() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    let first = set(&mut peer, "$kv/cfg/a", "1");
    let with = |revision: u64| {
        let property = Property::user("rev", &revision.to_string());
        Publish::new("$kv/cfg/a", "2").property(property)
    };
    let second = send(&mut peer, with(first));
    assert_eq!(second.reason, 0);
    let refused = send(&mut peer, with(first));
    assert_eq!(refused.reason, reason::IMPLEMENTATION_SPECIFIC_ERROR);
    assert_eq!(label(&refused.properties, "code"), Some("conflict"));
    assert_eq!(
        revision(&refused.properties),
        revision(&second.properties),
        "the present one"
    );
    let said = refused.properties.reason_string().expect("why");
    assert!(said.contains("the present revision is"), "{said}");
    let refused = put(&mut peer, "$opt/nx=1/$kv/cfg/a", "3");
    assert_eq!(label(&refused.properties, "code"), Some("conflict"));
}

#[test]
fn a_set_at_qos_2_or_0_is_a_set() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    peer.publish(Publish::new("$kv/cfg/a", "2").qos2(9));
    peer.send(Publish::new("$kv/cfg/b", "0"));
    peer.expect_ping();
    peer.subscribe("answers/#", 1);
    assert_eq!(ask(&mut peer, "$kv/cfg/a/$get", "").payload, b"2");
    assert_eq!(ask(&mut peer, "$kv/cfg/b/$get", "").payload, b"0");
}

#[test]
fn the_configuration_lets_buckets_come_and_bounds_them() {
    let broker = start_with(
        builder()
            .set("kv.auto_create", true)
            .set("kv.maximum_buckets", 2),
    );
    let mut peer = broker.client(Version::V5, "peer");
    set(&mut peer, "$kv/second/a", "1");
    let refused = put(&mut peer, "$kv/third/a", "1");
    assert_eq!(refused.reason, reason::QUOTA_EXCEEDED);
    assert_eq!(label(&refused.properties, "code"), Some("quota_exceeded"));
    peer.subscribe("$kv/second/#", 1);
    assert_eq!(peer.expect_message().payload, b"1");
}

#[test]
fn properties_of_a_value_travel_with_it() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    let publish = Publish::new("$kv/cfg/a", "{}")
        .property(Property::content_type("application/json"))
        .property(Property::user("rev", "0"))
        .property(Property::user("op", "del"))
        .property(Property::user("unit", "bar"));
    assert_eq!(send(&mut peer, publish).reason, 0);
    peer.subscribe("$kv/cfg/a", 1);
    let value = peer.expect_message();
    assert_eq!(value.properties.content_type(), Some("application/json"));
    assert_eq!(label(&value.properties, "unit"), Some("bar"));
    assert_eq!(label(&value.properties, "op"), Some("set"));
    assert!(
        revision(&value.properties) > 0,
        "what it is, not what was asked for"
    );
    assert_eq!(value.properties.user().len(), 3);
}
