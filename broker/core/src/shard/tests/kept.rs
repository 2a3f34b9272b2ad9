//! What outlives the shard, and what happens while the store is slow or full.

use std::time::Duration;

use nexum_codec::AcknowledgementKind;

use super::broker::Store;
use super::*;
use crate::{Key, Limits, ShardId, home_of};

const PUBREC: AcknowledgementKind = AcknowledgementKind::PubRec;
const PUBREL: AcknowledgementKind = AcknowledgementKind::PubRel;
const PUBCOMP: AcknowledgementKind = AcknowledgementKind::PubComp;

fn once<'a>(topic_name: &'a str, payload: &'a [u8], id: PacketIdentifier) -> Packet<'a> {
    Packet::Publish(Publish {
        delivery: PublishDelivery::ExactlyOnce(id),
        ..publish(topic_name, payload, None)
    })
}

/// A Client Identifier whose session is on this of two shards.
fn client_of(shard: u16) -> String {
    (0..)
        .map(|number| format!("client-{number}"))
        .find(|name| home_of(7, 2, name) == ShardId(shard))
        .expect("names without end")
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let mut broker = Broker::new(1, Limits::default());
    let subscriber = broker.admit(connect_to_stay("subscriber"));
    broker.send(subscriber, subscribe(&[request("t", QoS::ExactlyOnce)]));
    broker.lose(subscriber);
    broker.store = Store::Slow;
    let publisher = broker.admit(connect("publisher"));
    broker.send(publisher, once("t", b"kept", id(1)));
    assert_eq!(broker.take(publisher), [], "it is not stored");
    broker.commit();
    let pubrec = Received::Acknowledgement(PUBREC, id(1), ReasonCode::Success);
    assert_eq!(broker.take(publisher), [pubrec]);

    broker.restart(Limits::default());
    let subscriber = broker.connect(connect_to_stay("subscriber"));
    assert_eq!(broker.take_payloads(subscriber), [b"kept"]);
}

#[test]
fn a_session_that_ends_takes_its_shared_subscriptions_from_the_store() {
    let mut broker = Broker::new(1, Limits::default());
    let member = broker.admit(connect_to_stay("member"));
    broker.send(
        member,
        subscribe(&[request("$share/g/t", QoS::AtLeastOnce)]),
    );
    let member = broker.admit(connect("member"));
    broker.lose(member);
    assert_eq!(broker.records.keys().next(), None);
}

#[test]
fn an_identifier_is_free_when_the_store_knows_it_also_if_pubrel_comes_again() {
    let mut broker = Broker::new(1, Limits::default());
    let subscriber = broker.admit(connect_to_stay("subscriber"));
    broker.send(subscriber, subscribe(&[request("t", QoS::ExactlyOnce)]));
    broker.lose(subscriber);
    let publisher = broker.admit(connect_to_stay("publisher"));
    broker.send(publisher, once("t", b"x", id(1)));
    assert_eq!(broker.take(publisher).len(), 1, "PUBREC");

    broker.store = Store::Full;
    broker.acknowledge(publisher, PUBREL, id(1));
    broker.lose(publisher);
    let publisher = broker.connect(connect_to_stay("publisher"));
    assert_eq!(broker.take(publisher).len(), 1, "CONNACK");
    broker.acknowledge(publisher, PUBREL, id(1));
    assert_eq!(broker.take(publisher), [], "the store has the identifier");
    broker.store = Store::Quick;
    broker.wait(Duration::from_secs(1));
    let pubcomp = Received::Acknowledgement(PUBCOMP, id(1), ReasonCode::Success);
    assert_eq!(broker.take(publisher), [pubcomp]);
}

#[test]
fn what_several_shards_keep_and_the_store_refuses_does_not_come_back() {
    let mut broker = Broker::new(2, Limits::default());
    let (here, there) = (client_of(0), client_of(1));
    let subscriber = broker.admit(connect_to_stay(&there));
    broker.send(subscriber, subscribe(&[request("t", QoS::ExactlyOnce)]));
    broker.lose(subscriber);
    let publisher = broker.admit(connect_to_stay(&here));
    broker.store = Store::Full;
    broker.send(publisher, once("t", b"refused", id(1)));
    let pubrec = Received::Acknowledgement(PUBREC, id(1), ReasonCode::QuotaExceeded);
    assert_eq!(broker.take(publisher), [pubrec]);

    broker.store = Store::Quick;
    broker.wait(Duration::from_secs(1));
    let deliveries = broker
        .records
        .keys()
        .filter(|key| matches!(key, Key::Delivery(..) | Key::Message(_) | Key::Received(..)));
    assert_eq!(deliveries.count(), 0);
    broker.restart(Limits::default());
    let subscriber = broker.connect(connect_to_stay(&there));
    assert_eq!(broker.take_payloads(subscriber), [[0_u8; 0]; 0]);
}
