//! A client of MQTT 3.1.1: topic, payload and QoS.

use nexum_harness::{Peer, Version};
use serde_json::{Value, json};

use crate::scene::{next, put, start};

/// The last level of the reply, and its payload.
#[track_caller]
fn request(peer: &mut Peer, target: &str, payload: &str) -> (String, Vec<u8>) {
    assert_eq!(put(peer, &format!("$req/t/{target}"), payload).reason, 0);
    let reply = peer.expect_message();
    let end = reply.topic.strip_prefix("$reply/t/").expect("a reply");
    (end.to_owned(), reply.payload.clone())
}

#[track_caller]
fn done(peer: &mut Peer, target: &str, payload: &str) -> Vec<u8> {
    let (end, payload) = request(peer, target, payload);
    assert_eq!(end, "ok", "{target}");
    payload
}

fn parsed(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).expect("JSON")
}

#[test]
fn everything_works_with_topics_and_payloads() {
    let broker = start();
    let mut peer = broker.client(Version::V311, "old");
    peer.subscribe("$reply/+/+", 1);
    done(&mut peer, "$kv/cfg/$ctl/alter", r#"{"history": 2}"#);
    let set = parsed(&done(&mut peer, "$kv/cfg/a", "1"));
    let revision = set["rev"].as_u64().expect("a revision");
    assert_eq!(done(&mut peer, "$kv/cfg/a/$get", ""), b"1");
    assert_eq!(done(&mut peer, "$kv/cfg/a/$incr", ""), b"2");
    let target = format!("$opt/rev={revision}/$kv/cfg/a");
    let (end, body) = request(&mut peer, &target, "9");
    assert_eq!((&*end, &parsed(&body)["code"]), ("err", &json!("conflict")));
    assert!(parsed(&body)["rev"].as_u64() > Some(revision));
    let history = parsed(&done(&mut peer, "$kv/cfg/a/$history", ""));
    assert_eq!(history[0]["payload"], "2");
    assert_eq!(history[1]["payload"], "1");
    done(&mut peer, "$opt/nx=1,ttl=1h/$kv/cfg/b", "x");
    let keys = parsed(&done(&mut peer, "$kv/cfg/$keys", r#"{"limit": 1}"#));
    assert_eq!(keys, json!({"keys": ["a"], "next": "a"}));
    let info = parsed(&done(&mut peer, "$kv/cfg/$ctl/info", ""));
    assert_eq!(info["keys"], 2);
    peer.subscribe("$kv/cfg/b", 1);
    assert_eq!(next(&mut peer), "- b=x retained");
}

#[test]
fn what_is_refused_is_noticed() {
    let broker = start();
    let mut peer = broker.client(Version::V311, "old");
    peer.subscribe("$reply/+/+", 1);
    put(&mut peer, "$opt/nx=1/$kv/cfg/a", "1");
    put(&mut peer, "$opt/nx=1/$kv/cfg/a", "2");
    let notice = peer.expect_message();
    assert_eq!(notice.topic, "$reply/-/err");
    assert_eq!(parsed(&notice.payload)["code"], "conflict");
}
