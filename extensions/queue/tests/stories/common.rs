//! What the stories share.

use std::time::Duration;

use nexum_extension_api::driver::Driver;
use nexum_extension_api::{
    ConsumerId, Deliver, ErrorCode, Label, Options, Outcome, Refusal, Reply,
};
use nexum_queue::{Queues, Settings};
use nexum_types::ReasonCode;

pub(crate) type Broker = Driver<Queues>;

pub(crate) fn broker() -> Broker {
    broker_with(Settings::default())
}

pub(crate) fn broker_with(settings: Settings) -> Broker {
    Driver::new(move || Queues::new(settings.clone()))
}

/// A broker with a queue `jobs`.
pub(crate) fn jobs(options: &str) -> Broker {
    let mut broker = broker();
    create(&mut broker, "jobs", options);
    broker
}

pub(crate) fn create(broker: &mut Broker, name: &str, options: &str) {
    let topic = format!("$queue/{name}/$ctl/create");
    broker
        .publish(&topic, options.as_bytes())
        .expect("it is created");
}

pub(crate) fn push(broker: &mut Broker, topic: &str, payload: &str) {
    broker
        .publish(topic, payload.as_bytes())
        .expect("it is pushed");
}

pub(crate) fn push_with(broker: &mut Broker, topic: &str, payload: &str, pairs: &[(&str, &str)]) {
    broker
        .publish_with(topic, payload.as_bytes(), options(pairs))
        .expect("it is pushed");
}

pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    for (key, value) in pairs {
        options.set(key, value).expect("an option");
    }
    options
}

pub(crate) fn control(
    broker: &mut Broker,
    operation: &str,
    payload: &str,
) -> Result<Reply, Refusal> {
    let topic = format!("$queue/jobs/$ctl/{operation}");
    broker.publish(&topic, payload.as_bytes())
}

pub(crate) fn info(broker: &mut Broker, key: &str) -> serde_json::Value {
    let reply = control(broker, "info", "").expect("it is there");
    let info: serde_json::Value = serde_json::from_slice(&reply.payload).expect("JSON");
    info[key].clone()
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.expect_err("it is refused").code
}

/// A consumer of a filter with so much credit.
pub(crate) fn worker(broker: &mut Broker, filter: &str, credit: u32) -> ConsumerId {
    let consumer = broker.attach(credit);
    broker.subscribe(consumer, filter).expect("a feed");
    consumer
}

pub(crate) fn one(broker: &mut Broker, consumer: ConsumerId) -> Deliver {
    let mut deliveries = broker.deliveries(consumer);
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    deliveries.remove(0)
}

pub(crate) fn payload(deliver: &Deliver) -> String {
    String::from_utf8(deliver.message.payload().to_vec()).expect("text")
}

pub(crate) fn payloads(deliveries: &[Deliver]) -> Vec<String> {
    deliveries.iter().map(payload).collect()
}

pub(crate) fn property(deliver: &Deliver, name: &str) -> Option<String> {
    let found = deliver.properties.iter().find(|(key, _)| *key == name);
    found.map(|(_, value): &(&str, Label)| value.to_string())
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn refused(code: u8) -> Outcome {
    Outcome::Refused(ReasonCode::from_value(code).expect("a code"))
}

/// The receipt in the topic of a lease.
pub(crate) fn receipt(deliver: &Deliver) -> String {
    deliver
        .topic
        .split('/')
        .nth(3)
        .expect("a receipt")
        .to_owned()
}
