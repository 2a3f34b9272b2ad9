//! How tests begin, and what many of them do.

use std::time::{Duration, Instant};

use nexum_harness::{
    Ack, Broker, BrokerBuilder, Packet, Peer, Property, Publish, Suback, Subscribe, Version, puback,
};
use serde_json::Value;

/// How long the broker may take for what has no event to wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Rests that a test can wait for: what is refused comes again soon.
pub(crate) const SOON: &str = r#"{"backoff": {"first": "20ms", "factor": 1, "jitter": 0}}"#;

/// Where the answers to the manager go.
const ANSWERS: &str = "answers/manager";

/// The broker, not yet started, with as many shards wherever the test runs.
pub(crate) fn builder() -> BrokerBuilder {
    Broker::builder(env!("CARGO_BIN_EXE_nexum")).set("server.shards", 2)
}

/// A broker with a queue `jobs`, and a client of MQTT 5 that declares, pushes and looks.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    manager: Peer,
    asked: u32,
}

/// What a verb is answered at the Response Topic.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `ok`, or what went wrong.
    pub(crate) code: String,
    /// Null if there is none.
    pub(crate) body: Value,
    /// The acknowledgement of the request.
    pub(crate) ack: Ack,
}

impl Scene {
    /// With the defaults of a queue.
    #[track_caller]
    pub(crate) fn start() -> Scene {
        Scene::with("")
    }

    /// With these options of the queue.
    #[track_caller]
    pub(crate) fn with(options: &str) -> Scene {
        let mut scene = Scene::on(builder());
        scene.create("jobs", options);
        scene
    }

    /// Without a queue.
    #[track_caller]
    pub(crate) fn on(builder: BrokerBuilder) -> Scene {
        let broker = builder.start();
        let manager = manager(&broker);
        Scene {
            broker,
            manager,
            asked: 0,
        }
    }

    #[track_caller]
    pub(crate) fn create(&mut self, name: &str, options: &str) {
        let answer = self.control(name, "create", options);
        assert_eq!(answer.code, "ok", "{answer:?}");
    }

    /// `$ctl/<operation>`, with its answer at the Response Topic.
    #[track_caller]
    pub(crate) fn control(&mut self, name: &str, operation: &str, payload: &str) -> Answer {
        self.ask(&format!("$queue/{name}/$ctl/{operation}"), payload)
    }

    /// Any verb, with its answer at the Response Topic.
    #[track_caller]
    pub(crate) fn ask(&mut self, topic: &str, payload: &str) -> Answer {
        self.asked += 1;
        let correlation = self.asked.to_string();
        let identifier = self.manager.next_identifier();
        self.manager.send(
            Publish::new(topic, payload)
                .qos1(identifier)
                .property(Property::response_topic(ANSWERS))
                .property(Property::correlation_data(correlation.as_bytes())),
        );
        let ack = self.manager.expect_puback(identifier);
        let response = self.manager.expect_message();
        assert_eq!(response.topic, ANSWERS);
        assert_eq!(
            response.properties.correlation_data(),
            Some(correlation.as_bytes())
        );
        Answer {
            code: label(&response, "code").unwrap_or_default().to_owned(),
            body: json(&response),
            ack,
        }
    }

    /// `$ctl/info` of `jobs`.
    #[track_caller]
    pub(crate) fn info(&mut self) -> Value {
        self.control("jobs", "info", "").body
    }

    /// Waits until a count of `jobs` is this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, count: &str, expected: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let info = self.info();
            if info[count] == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "'{count}' is never {expected}: {info}"
            );
        }
    }

    /// Waits until the log, which is written beside everything else, says something.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.broker.log().contains(text) {
            let log = self.broker.log();
            assert!(
                Instant::now() < deadline,
                "'{text}' is not in the log: {log}"
            );
            self.info();
        }
    }

    /// Nothing is in `jobs`, dead letters apart.
    #[track_caller]
    pub(crate) fn wait_until_done(&mut self) {
        for count in ["ready", "delayed", "leased"] {
            self.wait_for(count, 0);
        }
    }

    /// Everything is settled, and stored as such: nothing of it comes again after kill -9. What a
    /// consumer settles is answered by nothing; `$ctl/alter` is, when all before it is stored.
    #[track_caller]
    pub(crate) fn wait_until_stored(&mut self) {
        self.wait_until_done();
        assert_eq!(self.control("jobs", "alter", "").code, "ok");
    }

    /// Publishes at QoS 1, which has to be taken.
    #[track_caller]
    pub(crate) fn push(&mut self, topic: &str, payload: &str) {
        let ack = self.publish(Publish::new(topic, payload));
        assert_eq!(ack.reason, 0, "{ack:?}");
    }

    /// Pushes `0`, `1`… to `jobs`.
    #[track_caller]
    pub(crate) fn push_numbers(&mut self, count: usize) {
        for number in 0..count {
            self.push("$queue/jobs", &number.to_string());
        }
    }

    /// Publishes at QoS 1, and returns the answer.
    #[track_caller]
    pub(crate) fn publish(&mut self, publish: Publish) -> Ack {
        publish_to(&mut self.manager, publish)
    }

    /// A client with a clean session that has subscribed at QoS 1.
    #[track_caller]
    pub(crate) fn worker(&self, version: Version, client_id: &str, filter: &str) -> Peer {
        let mut peer = self.broker.client(version, client_id);
        peer.subscribe(filter, 1);
        peer
    }

    /// A client of 3.1.1 that hears what is replied to it.
    #[track_caller]
    pub(crate) fn old_client(&self, client_id: &str) -> OldClient {
        OldClient(self.worker(Version::V311, client_id, "$reply/+/+"))
    }

    /// kill -9, and again on the same data.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.broker.kill_and_restart();
        self.manager = manager(&self.broker);
    }

    pub(crate) fn port(&self) -> u16 {
        self.broker.address("tcp").port()
    }
}

#[track_caller]
fn manager(broker: &Broker) -> Peer {
    let mut manager = broker.client(Version::V5, "manager");
    manager.subscribe(ANSWERS, 1);
    manager
}

/// A client that has topic, payload and QoS alone.
pub(crate) struct OldClient(pub(crate) Peer);

impl OldClient {
    /// `$req/<tag>/<target>`: the reply that it is done.
    #[track_caller]
    pub(crate) fn ask(&mut self, tag: &str, target: &str, payload: &str) -> Value {
        let (end, body) = self.request(tag, target, payload);
        assert_eq!(end, "ok", "{target}: {body}");
        body
    }

    /// `$req/<tag>/<target>`: the last level of the reply, and its payload.
    #[track_caller]
    pub(crate) fn request(&mut self, tag: &str, target: &str, payload: &str) -> (String, Value) {
        let publish = Publish::new(&format!("$req/{tag}/{target}"), payload);
        assert_eq!(publish_to(&mut self.0, publish).reason, 0);
        let reply = self.0.expect_message();
        let prefix = format!("$reply/{tag}/");
        let end = reply.topic.strip_prefix(&prefix);
        let end = end.unwrap_or_else(|| panic!("a reply to something else: {reply:?}"));
        (end.to_owned(), json(&reply))
    }

    /// Publishes what is acknowledged though it is refused. Returns the notice.
    #[track_caller]
    pub(crate) fn refused(&mut self, topic: &str, payload: &str) -> Value {
        publish_to(&mut self.0, Publish::new(topic, payload));
        let notice = self.0.expect_message();
        assert_eq!(notice.topic, "$reply/-/err", "{topic}");
        json(&notice)
    }
}

/// Publishes at QoS 1, and returns the answer.
#[track_caller]
pub(crate) fn publish_to(peer: &mut Peer, publish: Publish) -> Ack {
    let identifier = peer.next_identifier();
    peer.send(publish.qos1(identifier));
    peer.expect_puback(identifier)
}

/// A SUBSCRIBE that is refused with this.
#[track_caller]
pub(crate) fn refused_filter(peer: &mut Peer, filter: &str, qos: u8, reason: u8) -> Suback {
    let identifier = peer.next_identifier();
    peer.send(Subscribe::new(identifier).filter(filter, qos));
    let suback = peer.expect_suback(identifier, &[reason]);
    if peer.version() == Version::V5 {
        let said = suback.properties.reason_string();
        assert!(said.is_some(), "a refusal says why: {suback:?}");
    }
    suback
}

/// What a refused SUBSCRIBE or PUBLISH says.
#[track_caller]
pub(crate) fn reason_of(properties: &nexum_harness::Properties) -> &str {
    properties.reason_string().expect("a refusal says why")
}

/// A User Property.
pub(crate) fn label<'a>(publish: &'a Publish, name: &str) -> Option<&'a str> {
    property(&publish.properties, name)
}

/// A User Property of any packet.
pub(crate) fn property<'a>(
    properties: &'a nexum_harness::Properties,
    name: &str,
) -> Option<&'a str> {
    let user = properties.user();
    let mut named = user.into_iter().filter(|(known, _)| *known == name);
    named.next().map(|(_, value)| value)
}

/// The property `q-attempt`.
#[track_caller]
pub(crate) fn attempt(publish: &Publish) -> u32 {
    let attempt = label(publish, "q-attempt").expect("deliveries to MQTT 5 have it");
    attempt.parse().expect("it is a number")
}

/// The payload.
#[track_caller]
pub(crate) fn text(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.payload).expect("these tests publish text")
}

/// The payload, in JSON; null if there is none.
#[track_caller]
pub(crate) fn json(publish: &Publish) -> Value {
    if publish.payload.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&publish.payload).expect("it is JSON")
}

/// A PUBACK with this Reason Code.
pub(crate) fn answer(peer: &mut Peer, delivery: &Publish, reason: u8) {
    peer.send(puback(delivery.packet_identifier).reason(reason));
}

/// The next delivery, left as it is.
#[track_caller]
pub(crate) fn next(peer: &mut Peer, payload: &str) -> Publish {
    let delivery = peer.expect_publish();
    assert_eq!(text(&delivery), payload, "{delivery:?}");
    assert!(!delivery.duplicate, "nothing is resent: {delivery:?}");
    assert!(!delivery.retain, "a queue retains nothing: {delivery:?}");
    delivery
}

/// The next deliveries, acknowledged.
#[track_caller]
pub(crate) fn take(peer: &mut Peer, count: usize) -> Vec<String> {
    let deliveries = (0..count).map(|_| peer.expect_message());
    deliveries
        .map(|delivery| text(&delivery).to_owned())
        .collect()
}

/// The subscription is gone from the broker when this returns.
#[track_caller]
pub(crate) fn unsubscribe(peer: &mut Peer, filter: &str) {
    let identifier = peer.next_identifier();
    peer.send(nexum_harness::Unsubscribe::new(identifier, filter));
    peer.expect_unsuback(identifier, &[0]);
}

/// Plays the receiver's part of QoS 2 up to PUBCOMP.
#[track_caller]
pub(crate) fn receive_released(peer: &mut Peer, identifier: u16) {
    let received: Packet = nexum_harness::pubrec(identifier);
    peer.send(received);
    peer.expect_pubrel(identifier);
}
