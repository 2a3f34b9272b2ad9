//! How tests begin, and what many of them do.

use std::time::Duration;

use nexum_harness::{
    Ack, Broker, BrokerBuilder, Peer, Properties, Property, Publish, Subscribe, Version,
};

/// How long the broker may take for what has no event to wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The broker, not yet started, with as many shards wherever the test runs.
pub(crate) fn builder() -> BrokerBuilder {
    Broker::builder(env!("CARGO_BIN_EXE_nexum")).set("server.shards", 2)
}

/// A broker with a bucket `cfg`.
pub(crate) fn start() -> Broker {
    start_with(builder())
}

pub(crate) fn start_with(builder: BrokerBuilder) -> Broker {
    let broker = builder.start();
    let mut peer = broker.client(Version::V5, "manager");
    assert_eq!(put(&mut peer, "$kv/cfg/$ctl/create", "").reason, 0);
    peer.disconnect();
    broker
}

/// Publishes at QoS 1, and returns the answer.
#[track_caller]
pub(crate) fn put(peer: &mut Peer, topic: &str, payload: &str) -> Ack {
    send(peer, Publish::new(topic, payload))
}

#[track_caller]
pub(crate) fn send(peer: &mut Peer, publish: Publish) -> Ack {
    let identifier = peer.next_identifier();
    peer.send(publish.qos1(identifier));
    peer.expect_puback(identifier)
}

/// Publishes what has to be taken, and returns the revision.
#[track_caller]
pub(crate) fn set(peer: &mut Peer, topic: &str, payload: &str) -> u64 {
    let ack = put(peer, topic, payload);
    assert_eq!(ack.reason, 0, "{ack:?}");
    revision(&ack.properties)
}

/// Asks at the Response Topic, which the client has subscribed to.
#[track_caller]
pub(crate) fn ask(peer: &mut Peer, topic: &str, payload: &str) -> Publish {
    let publish = Publish::new(topic, payload).property(Property::response_topic("answers/here"));
    let identifier = peer.next_identifier();
    peer.send(publish.qos1(identifier));
    peer.expect_puback(identifier);
    let answer = peer.expect_message();
    assert_eq!(answer.topic, "answers/here");
    answer
}

#[track_caller]
pub(crate) fn revision(properties: &Properties) -> u64 {
    let revision = label(properties, "rev").expect("a revision");
    revision.parse().expect("a number")
}

/// A User Property.
pub(crate) fn label<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    let user = properties.user();
    let mut named = user.into_iter().filter(|(known, _)| *known == name);
    named.next().map(|(_, value)| value)
}

/// What happened, the key, the value, and whether it was there before.
#[track_caller]
pub(crate) fn next(peer: &mut Peer) -> String {
    let publish = peer.expect_message();
    let key = publish.topic.strip_prefix("$kv/cfg/").expect("a key");
    let value = std::str::from_utf8(&publish.payload).expect("text");
    let op = label(&publish.properties, "op").unwrap_or("-");
    let retain = if publish.retain { " retained" } else { "" };
    format!("{op} {key}={value}{retain}")
}

/// Subscribes with these options and is granted QoS 1.
#[track_caller]
pub(crate) fn subscribe(peer: &mut Peer, filter: &str, options: u8) {
    let identifier = peer.next_identifier();
    peer.send(Subscribe::new(identifier).filter(filter, options));
    peer.expect_suback(identifier, &[1]);
}
