//! What extensions promise together with the store.

use std::sync::Arc;
use std::time::Duration;

use nexum_codec::AcknowledgementKind;
use nexum_extension_api as api;
use nexum_types::{Message, MessageParts, Time};

use super::broker::Store;
use super::*;
use crate::{Change, Key, Limits, Value};

/// It says what the test says.
struct Quiet;

impl api::Extension for Quiet {
    fn name(&self) -> &'static str {
        "quiet"
    }

    fn claims(&self) -> &'static [api::Claim] {
        &[api::Claim {
            word: "$echo",
            aliases: &[],
            delays: false,
        }]
    }

    fn restore(&mut self, _: &[u8], _: &[u8], _: Time) -> Result<(), api::Unreadable> {
        Ok(())
    }

    fn handle(&mut self, _: api::Input, _: Time) {}

    fn poll_output(&mut self) -> Option<api::Output> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn handle_timeout(&mut self, _: Time) {}
}

fn quiet(shards: u16) -> Broker {
    Broker::extended(shards, Limits::default(), Some(Box::new(Quiet)))
}

/// A session of which only its subscription to `t/#` is there.
fn absent(broker: &mut Broker, client_id: &str) {
    let client = broker.admit(connect_to_stay(client_id));
    broker.send(client, subscribe(&[request("t/#", QoS::ExactlyOnce)]));
    broker.lose(client);
}

fn own_record() -> Key {
    Key::Extension(16, Arc::from([1].as_slice()))
}

fn has(broker: &Broker, key: &Key) -> bool {
    broker.records.keys().any(|it| it == key)
}

/// What an extension publishes, and forgets with that.
fn own_publication() -> api::Output {
    let message = Message::new(MessageParts {
        topic: topic("t/x"),
        payload: b"later",
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        published_at: Time::ZERO,
        properties: &[],
    });
    api::Output::Publish(api::Publish {
        publication: api::PublicationId(1),
        topic: Box::from("t/x"),
        message: Arc::new(message),
        changes: [api::Change::Delete([1].as_slice().into())].into(),
    })
}

fn refusals(broker: &mut Broker) -> Vec<bool> {
    let told = std::mem::take(&mut broker.told).into_iter();
    told.filter_map(|input| match input {
        api::Input::Published { refused, .. } => Some(refused.is_some()),
        _ => None,
    })
    .collect()
}

/// The receipts of what was captured.
fn captured(broker: &mut Broker) -> Vec<api::ReceiptId> {
    let told = std::mem::take(&mut broker.told).into_iter();
    told.filter_map(|input| match input {
        api::Input::Captured(captured) => captured.receipt,
        _ => None,
    })
    .collect()
}

#[test]
fn what_an_extension_publishes_is_its_own_still_if_the_store_refuses_it() {
    // The name lies on another shard or on the same.
    for (shards, subscriber) in [(1, "a"), (3, "a"), (3, "b"), (3, "c"), (3, "d")] {
        let mut broker = quiet(shards);
        absent(&mut broker, subscriber);
        let record = Change::Put(own_record(), Value::Extension(Arc::from([7].as_slice())));
        broker.records.apply(&[record]);
        broker.store = Store::Full;
        // The first finds out that the store takes nothing, the second knows it.
        for _ in 0..2 {
            broker.wish(0, vec![own_publication()]);
            assert_eq!(refusals(&mut broker), [true], "{shards} {subscriber}");
        }
        broker.store = Store::Quick;
        broker.wait(Duration::from_secs(2));
        assert!(has(&broker, &own_record()), "{shards} {subscriber}");
        broker.wish(0, vec![own_publication()]);
        assert_eq!(refusals(&mut broker), [false]);
        assert!(!has(&broker, &own_record()));
        let client = broker.connect(connect_to_stay(subscriber));
        assert_eq!(broker.take_payloads(client), [b"later"], "and once");
    }
}

#[test]
fn a_session_that_is_full_does_not_hold_back_what_an_extension_publishes() {
    for shards in [1, 3] {
        let limits = Limits {
            persistent_queue_messages: 1,
            ..Limits::default()
        };
        let mut broker = Broker::extended(shards, limits, Some(Box::new(Quiet)));
        for subscriber in ["a", "b", "c", "d"] {
            absent(&mut broker, subscriber);
        }
        let record = Change::Put(own_record(), Value::Extension(Arc::from([7].as_slice())));
        broker.records.apply(&[record]);
        broker.wish(0, vec![own_publication()]);
        let empty = broker.connect(connect_to_stay("d"));
        assert_eq!(broker.take_payloads(empty), [b"later"]);
        let another = api::PublicationId(2);
        let api::Output::Publish(mut publish) = own_publication() else {
            panic!("it is a publication")
        };
        publish.publication = another;
        broker.wish(0, vec![api::Output::Publish(publish)]);
        assert_eq!(refusals(&mut broker), [false, false], "{shards}");
        assert_eq!(broker.take_payloads(empty), [b"later"], "once");
        assert!(!has(&broker, &own_record()));
    }
}

#[test]
fn an_identifier_is_stored_when_what_came_under_it_is_captured() {
    for shards in [1, 3] {
        let mut broker = quiet(shards);
        let capture = api::Output::Capture {
            capture: api::CaptureId(1),
            filter: Box::from("t/#"),
        };
        for shard in 0..usize::from(shards) {
            broker.wish(shard, vec![capture.clone()]);
        }
        let publisher = broker.admit(connect_to_stay("publisher"));
        let shard = broker.shard_of(publisher);
        let mut packet = Publish {
            delivery: PublishDelivery::ExactlyOnce(id(3)),
            ..publish("t/x", b"once", None)
        };
        broker.send(publisher, Packet::Publish(packet));
        let is_received = |key: &Key| matches!(key, Key::Received(..));
        assert!(!broker.records.keys().any(is_received));
        let [receipt] = captured(&mut broker)[..] else {
            panic!("it is captured")
        };
        // It is refused, and nobody is there to be told: a repetition is no repetition.
        broker.lose(publisher);
        let refusal = api::Refusal::new(api::ErrorCode::QuotaExceeded, "full");
        let result = Err(refusal);
        broker.wish(shard, vec![api::Output::Commit { receipt, result }]);
        assert!(!broker.records.keys().any(is_received));
        let publisher = broker.admit(connect_to_stay("publisher"));
        packet.dup = true;
        broker.send(publisher, Packet::Publish(packet));
        let [receipt] = captured(&mut broker)[..] else {
            panic!("it is captured again")
        };
        assert_eq!(broker.take(publisher), []);
        let result = Ok(());
        broker.wish(shard, vec![api::Output::Commit { receipt, result }]);
        assert!(broker.records.keys().any(is_received));
        let kind = AcknowledgementKind::PubRec;
        let reason = ReasonCode::NoMatchingSubscribers;
        let told = broker.take(publisher);
        let success = Received::Acknowledgement(kind, id(3), ReasonCode::Success);
        let nobody = Received::Acknowledgement(kind, id(3), reason);
        assert!(told == [success] || told == [nobody], "{told:?}");
    }
}

#[test]
fn an_identifier_that_is_stored_after_its_session_has_ended_is_deleted() {
    let mut broker = quiet(1);
    let publisher = broker.admit(connect_to_stay("publisher"));
    let packet = Publish {
        delivery: PublishDelivery::ExactlyOnce(id(3)),
        ..publish("$echo/hall", b"once", None)
    };
    broker.send(publisher, Packet::Publish(packet));
    let commands: Vec<_> = std::mem::take(&mut broker.told)
        .into_iter()
        .filter_map(|input| match input {
            api::Input::Command(command) => Some(command.id),
            _ => None,
        })
        .collect();
    // The session ends, and only then comes what the extension stores.
    let received: Vec<_> = broker
        .records
        .keys()
        .filter(|key| matches!(key, Key::Received(..)))
        .cloned()
        .collect();
    broker.admit(connect("publisher"));
    let late: Vec<_> = received
        .into_iter()
        .map(|key| Change::Put(key, Value::Received))
        .collect();
    assert_eq!((commands.len(), late.len()), (1, 1));
    broker.records.apply(&late);
    let result = Ok(api::Reply::default());
    let command = commands[0];
    broker.wish(0, vec![api::Output::Reply { command, result }]);
    assert_eq!(broker.records.keys().count(), 0);
}

#[test]
fn an_identifier_that_comes_again_is_not_deleted_for_its_earlier_use() {
    let mut broker = quiet(1);
    let publisher = broker.admit(connect_to_stay("publisher"));
    let once = Publish {
        delivery: PublishDelivery::ExactlyOnce(id(3)),
        ..publish("$echo/hall", b"once", None)
    };
    let push = |broker: &mut Broker, result: Result<api::Reply, api::Refusal>| {
        broker.send(publisher, Packet::Publish(once));
        for input in std::mem::take(&mut broker.told) {
            if let api::Input::Command(api::Command { id: command, .. }) = input {
                let result = result.clone();
                broker.wish(0, vec![api::Output::Reply { command, result }]);
            }
        }
    };
    // What is refused is deleted, which the store does not take…
    broker.store = Store::Full;
    let refusal = api::Refusal::new(api::ErrorCode::QuotaExceeded, "full");
    push(&mut broker, Err(refusal));
    // …before what comes under the same identifier is stored.
    push(&mut broker, Ok(api::Reply::default()));
    broker.store = Store::Quick;
    broker.wait(Duration::from_secs(2));
    let received = |key: &Key| matches!(key, Key::Received(..));
    assert!(broker.records.keys().any(received));
}
