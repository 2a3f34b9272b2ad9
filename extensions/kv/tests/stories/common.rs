//! What the stories share.

use std::time::Duration;

use nexum_extension_api::driver::Driver;
use nexum_extension_api::{ConsumerId, Deliver, ErrorCode, Label, Options, Refusal, Reply};
use nexum_kv::{Buckets, Settings};

pub(crate) type Broker = Driver<Buckets>;

pub(crate) fn broker() -> Broker {
    broker_with(Settings::default())
}

pub(crate) fn broker_with(settings: Settings) -> Broker {
    Driver::new(move || Buckets::new(settings.clone()))
}

/// A broker with a bucket `b`.
pub(crate) fn bucket(options: &str) -> Broker {
    let mut broker = broker();
    control(&mut broker, "create", options).expect("it is created");
    broker
}

pub(crate) fn control(
    broker: &mut Broker,
    operation: &str,
    payload: &str,
) -> Result<Reply, Refusal> {
    let topic = format!("$kv/b/$ctl/{operation}");
    broker.publish(&topic, payload.as_bytes())
}

/// Publishes to a key of the bucket `b`, or to a verb of it.
pub(crate) fn put(
    broker: &mut Broker,
    key: &str,
    payload: &str,
    pairs: &[(&str, &str)],
) -> Result<Reply, Refusal> {
    let topic = format!("$kv/b/{key}");
    broker.publish_with(&topic, payload.as_bytes(), options(pairs))
}

/// Sets a key, and returns the revision.
pub(crate) fn set(broker: &mut Broker, key: &str, payload: &str) -> u64 {
    revision(&put(broker, key, payload, &[]).expect("it is set"))
}

pub(crate) fn delete(broker: &mut Broker, key: &str) -> u64 {
    revision(&put(broker, key, "", &[]).expect("it is deleted"))
}

pub(crate) fn get(broker: &mut Broker, key: &str) -> Option<String> {
    match put(broker, &format!("{key}/$get"), "", &[]) {
        Ok(reply) => Some(text(&reply)),
        Err(refusal) => {
            assert_eq!(refusal.code, ErrorCode::NotFound);
            None
        }
    }
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8(reply.payload.clone()).expect("text")
}

pub(crate) fn revision(reply: &Reply) -> u64 {
    match reply.properties.first() {
        Some(("rev", Label::Number(revision))) => *revision,
        other => panic!("a revision, not {other:?}"),
    }
}

pub(crate) fn json(reply: &Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.payload).expect("JSON")
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    for (key, value) in pairs {
        options.set(key, value).expect("an option");
    }
    options
}

pub(crate) fn info(broker: &mut Broker, key: &str) -> serde_json::Value {
    let reply = control(broker, "info", "").expect("it is there");
    json(&reply)[key].clone()
}

/// Keys and bytes.
pub(crate) fn counts(broker: &mut Broker) -> (u64, u64) {
    let number = |value: serde_json::Value| value.as_u64().expect("a number");
    (number(info(broker, "keys")), number(info(broker, "bytes")))
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.expect_err("it is refused").code
}

/// A consumer of a filter with so much credit.
pub(crate) fn watcher(broker: &mut Broker, filter: &str, credit: u32) -> ConsumerId {
    let consumer = broker.attach(credit);
    broker.subscribe(consumer, filter).expect("a feed");
    consumer
}

/// Key, payload, what happened, and whether it was there before.
pub(crate) fn told(deliveries: &[Deliver]) -> Vec<String> {
    let told = deliveries.iter().map(|deliver| {
        let payload = std::str::from_utf8(deliver.message.payload()).expect("text");
        let key = deliver.topic.strip_prefix("$kv/b/").expect("of the bucket");
        let op = property(deliver, "op").expect("what happened");
        let retain = if deliver.retain { " retained" } else { "" };
        format!("{op} {key}={payload}{retain}")
    });
    told.collect()
}

pub(crate) fn property(deliver: &Deliver, name: &str) -> Option<String> {
    let found = deliver.properties.iter().find(|(key, _)| *key == name);
    found.map(|(_, value): &(&str, Label)| value.to_string())
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
