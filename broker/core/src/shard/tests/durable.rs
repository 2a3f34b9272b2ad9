//! What is kept, and what waits for it.

use std::time::Duration;

use nexum_codec::{AcknowledgementKind, Filters, Unsubscribe};

use super::broker::Store;
use super::*;
use crate::{Key, Limits, QueueOverflow};

/// A session that outlives its connection, subscribed at QoS 2 to `t/#`, whose client is away.
fn absent(broker: &mut Broker, client_id: &str) {
    let client = broker.admit(connect_to_stay(client_id));
    broker.send(client, subscribe(&[request("t/#", QoS::ExactlyOnce)]));
    broker.lose(client);
}

fn exactly_once<'a>(topic_name: &'a str, payload: &'a [u8], packet: u16) -> Publish<'a> {
    Publish {
        delivery: PublishDelivery::ExactlyOnce(id(packet)),
        ..publish(topic_name, payload, None)
    }
}

fn acknowledged(kind: AcknowledgementKind, packet: u16) -> Received {
    Received::Acknowledgement(kind, id(packet), ReasonCode::Success)
}

fn published(payload: &[u8], delivery: PublishDelivery, dup: bool) -> Received {
    Received::Publish {
        topic: "t/1".to_owned(),
        payload: payload.to_vec(),
        delivery,
        dup,
    }
}

fn resumed() -> Received {
    Received::ConnAck {
        session_present: true,
        reason_code: ReasonCode::Success,
        authentication_data: None,
    }
}

/// The kinds of the records there are, in order.
fn kept(broker: &Broker) -> Vec<&'static str> {
    let kind = |key: &Key| match key {
        Key::Session(_) => "session",
        Key::Subscription(..) => "subscription",
        Key::Will(_) => "will",
        Key::Delivery(..) => "delivery",
        Key::Exchange(..) => "exchange",
        Key::Received(..) => "received",
        Key::Message(_) => "message",
        Key::Waiting(..) => "waiting",
        Key::Retained(_) => "retained",
        Key::Extension(..) => "extension",
    };
    broker.records.keys().map(kind).collect()
}

#[test]
fn a_message_that_nobody_keeps_is_acknowledged_at_once_and_not_stored() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let subscriber = broker.admit(connect("subscriber"));
        broker.send(subscriber, subscribe(&[request("t/#", QoS::ExactlyOnce)]));
        let publisher = broker.admit(connect_to_stay("publisher"));
        let records = kept(&broker);
        broker.store = Store::Slow;
        broker.send(
            publisher,
            Packet::Publish(publish("t/1", b"m", Some(id(1)))),
        );
        broker.send(publisher, Packet::Publish(exactly_once("t/1", b"m", 2)));
        let answers = [
            acknowledged(AcknowledgementKind::PubAck, 1),
            acknowledged(AcknowledgementKind::PubRec, 2),
        ];
        assert_eq!(broker.take(publisher), answers);
        broker.acknowledge(publisher, AcknowledgementKind::PubRel, id(2));
        let done = [acknowledged(AcknowledgementKind::PubComp, 2)];
        assert_eq!(broker.take(publisher), done);
        assert_eq!(kept(&broker), records);
    }
}

#[test]
fn puback_pubrec_and_pubcomp_wait_for_the_store() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "absent");
        let publisher = broker.admit(connect_to_stay("publisher"));
        broker.store = Store::Slow;
        broker.send(
            publisher,
            Packet::Publish(publish("t/1", b"1", Some(id(1)))),
        );
        broker.send(publisher, Packet::Publish(exactly_once("t/1", b"2", 2)));
        assert_eq!(broker.take(publisher), [], "{shards} shards");
        broker.commit();
        broker.commit();
        let answers = [
            acknowledged(AcknowledgementKind::PubAck, 1),
            acknowledged(AcknowledgementKind::PubRec, 2),
        ];
        assert_eq!(broker.take(publisher), answers);
        broker.acknowledge(publisher, AcknowledgementKind::PubRel, id(2));
        assert_eq!(broker.take(publisher), []);
        broker.commit();
        let done = [acknowledged(AcknowledgementKind::PubComp, 2)];
        assert_eq!(broker.take(publisher), done);
    }
}

#[test]
fn an_acknowledged_retained_message_is_stored() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let publisher = broker.admit(connect("publisher"));
        broker.store = Store::Slow;
        let mut packet = publish("t/1", b"kept", Some(id(1)));
        packet.retain = true;
        broker.send(publisher, Packet::Publish(packet));
        assert_eq!(broker.take(publisher), []);
        broker.commit();
        assert_eq!(kept(&broker), ["retained"]);
        let mut packet = publish("t/1", b"", Some(id(2)));
        packet.retain = true;
        broker.send(publisher, Packet::Publish(packet));
        broker.take(publisher);
        broker.commit();
        assert_eq!(
            broker.take(publisher).len(),
            1,
            "and so is that it is cleared"
        );
        assert_eq!(kept(&broker), [""; 0]);
    }
}

#[test]
fn connack_suback_and_unsuback_of_a_session_that_stays_wait_for_the_store() {
    let mut broker = Broker::new(1, Limits::default());
    broker.store = Store::Slow;
    let client = broker.connect(connect_to_stay("client"));
    assert_eq!(broker.take(client), []);
    assert!(broker.is_held(client));
    broker.commit();
    assert_eq!(broker.take(client), [connack(ReasonCode::Success)]);
    broker.send(client, subscribe(&[request("t/#", QoS::ExactlyOnce)]));
    assert_eq!(broker.take(client), []);
    broker.commit();
    let granted = [Received::SubAck(vec![ReasonCode::GrantedQoS2])];
    assert_eq!(broker.take(client), granted);
    broker.send(
        client,
        Packet::Unsubscribe(Unsubscribe {
            packet_identifier: id(2),
            user_properties: UserProperties::EMPTY,
            filters: Filters::from_slice(&["t/#"]),
        }),
    );
    assert_eq!(broker.take(client), []);
    broker.commit();
    assert_eq!(broker.take(client), [Received::UnsubAck]);
    assert_eq!(kept(&broker), ["session"]);

    let other = broker.connect(connect("other"));
    let admitted = [connack(ReasonCode::Success)];
    assert_eq!(broker.take(other), admitted, "a session that does not stay");
}

#[test]
fn a_session_is_after_a_restart_what_it_was() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "subscriber");
        let publisher = broker.admit(connect("publisher"));
        for (payload, packet) in [(b"1", 1), (b"2", 2), (b"3", 3)] {
            let packet = publish("t/1", payload, Some(id(packet)));
            broker.send(publisher, Packet::Publish(packet));
        }
        broker.restart(Limits::default());
        let mut subscriber = connect_to_stay("subscriber");
        subscriber.properties.receive_maximum = receive_maximum(2);
        let client = broker.connect(subscriber);
        let first = [
            resumed(),
            published(b"1", PublishDelivery::AtLeastOnce(id(1)), false),
            published(b"2", PublishDelivery::AtLeastOnce(id(2)), false),
        ];
        assert_eq!(broker.take(client), first);
        broker.acknowledge(client, AcknowledgementKind::PubAck, id(1));
        broker.take(client);
        broker.restart(Limits::default());
        let client = broker.connect(subscriber);
        let again = [
            resumed(),
            published(b"2", PublishDelivery::AtLeastOnce(id(2)), true),
            published(b"3", PublishDelivery::AtLeastOnce(id(3)), true),
        ];
        assert_eq!(broker.take(client), again, "with the same identifiers");
        let publisher = broker.admit(connect("publisher"));
        let packet = publish("t/1", b"4", Some(id(9)));
        broker.send(publisher, Packet::Publish(packet));
        broker.acknowledge(client, AcknowledgementKind::PubAck, id(2));
        let next = [published(b"4", PublishDelivery::AtLeastOnce(id(4)), false)];
        assert_eq!(broker.take(client), next, "still subscribed");
    }
}

#[test]
fn qos_2_towards_a_client_goes_on_where_it_was() {
    let mut broker = Broker::new(1, Limits::default());
    absent(&mut broker, "subscriber");
    let publisher = broker.admit(connect("publisher"));
    broker.send(publisher, Packet::Publish(exactly_once("t/1", b"m", 1)));
    broker.store = Store::Slow;
    let client = broker.connect(connect_to_stay("subscriber"));
    assert_eq!(broker.take(client), [], "the identifier is not stored");
    broker.commit();
    let delivery = PublishDelivery::ExactlyOnce(id(1));
    let first = [resumed(), published(b"m", delivery, false)];
    assert_eq!(broker.take(client), first);
    broker.restart(Limits::default());
    let client = broker.connect(connect_to_stay("subscriber"));
    assert_eq!(
        broker.take(client),
        [resumed(), published(b"m", delivery, true)]
    );
    broker.store = Store::Slow;
    broker.acknowledge(client, AcknowledgementKind::PubRec, id(1));
    assert_eq!(
        broker.take(client),
        [],
        "that the client has it is not stored"
    );
    broker.acknowledge(client, AcknowledgementKind::PubRec, id(1));
    assert_eq!(broker.take(client), []);
    broker.commit();
    let release = acknowledged(AcknowledgementKind::PubRel, 1);
    assert_eq!(broker.take(client), std::slice::from_ref(&release));
    broker.restart(Limits::default());
    let client = broker.connect(connect_to_stay("subscriber"));
    assert_eq!(broker.take(client), [resumed(), release]);
    broker.acknowledge(client, AcknowledgementKind::PubComp, id(1));
    assert_eq!(kept(&broker), ["session", "subscription"]);
}

#[test]
fn a_retained_message_that_overtook_what_waits_keeps_its_identifier() {
    let mut broker = Broker::new(1, Limits::default());
    let publisher = broker.admit(connect("publisher"));
    let mut retained = publish("t/1", b"retained", Some(id(1)));
    retained.retain = true;
    broker.send(publisher, Packet::Publish(retained));
    let mut one_at_a_time = connect_to_stay("subscriber");
    one_at_a_time.properties.receive_maximum = receive_maximum(1);
    let client = broker.admit(one_at_a_time);
    for _ in 0..2 {
        broker.send(client, subscribe(&[request("t/#", QoS::AtLeastOnce)]));
    }
    assert_eq!(broker.take_payloads(client), [b"retained"]);
    broker.store = Store::Slow;
    let waiting = publish("t/2", b"waiting", Some(id(2)));
    broker.send(publisher, Packet::Publish(waiting));
    // What waits is not stored; the retained message for the second subscription is before it.
    broker.acknowledge(client, AcknowledgementKind::PubAck, id(1));
    let delivery = PublishDelivery::AtLeastOnce(id(2));
    assert_eq!(
        broker.take(client),
        [published(b"retained", delivery, false)]
    );
    broker.commit();
    broker.restart(Limits::default());
    let client = broker.connect(one_at_a_time);
    let again = [resumed(), published(b"retained", delivery, true)];
    assert_eq!(broker.take(client), again);
}

#[test]
fn a_qos_2_publication_is_known_again_after_a_restart() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "subscriber");
        let publisher = broker.admit(connect_to_stay("publisher"));
        let mut packet = exactly_once("t/1", b"m", 7);
        broker.send(publisher, Packet::Publish(packet));
        broker.restart(Limits::default());
        let publisher = broker.admit(connect_to_stay("publisher"));
        packet.dup = true;
        broker.send(publisher, Packet::Publish(packet));
        let received = [acknowledged(AcknowledgementKind::PubRec, 7)];
        assert_eq!(broker.take(publisher), received);
        broker.acknowledge(publisher, AcknowledgementKind::PubRel, id(7));
        let client = broker.connect(connect_to_stay("subscriber"));
        assert_eq!(
            broker.take(client).len(),
            2,
            "CONNACK and the message, once"
        );
    }
}

#[test]
fn a_crash_leaves_of_a_joint_publication_everything_or_nothing() {
    // The names lie on different shards.
    for subscriber in ["a", "b", "c", "d"] {
        let mut broker = Broker::new(3, Limits::default());
        absent(&mut broker, subscriber);
        let publisher = broker.admit(connect_to_stay("publisher"));
        broker.store = Store::Slow;
        let mut packet = exactly_once("t/1", b"m", 7);
        broker.send(publisher, Packet::Publish(packet));
        let before = kept(&broker);
        assert!(!before.contains(&"received") && !before.contains(&"delivery"));
        assert_eq!(
            broker.unanswered_changes(&["received", "delivery"]),
            1,
            "one submission"
        );
        broker.restart(Limits::default());
        let publisher = broker.admit(connect_to_stay("publisher"));
        packet.dup = true;
        broker.send(publisher, Packet::Publish(packet));
        let client = broker.connect(connect_to_stay(subscriber));
        assert_eq!(
            broker.take(client).len(),
            2,
            "CONNACK and the message, once"
        );
    }
}

#[test]
fn a_message_for_many_is_stored_once() {
    let mut broker = Broker::new(1, Limits::default());
    for client in ["a", "b", "c"] {
        absent(&mut broker, client);
    }
    let publisher = broker.admit(connect("publisher"));
    broker.send(
        publisher,
        Packet::Publish(publish("t/1", b"m", Some(id(1)))),
    );
    let count = |broker: &Broker, kind| kept(broker).iter().filter(|it| **it == kind).count();
    assert_eq!(
        (count(&broker, "delivery"), count(&broker, "message")),
        (3, 1)
    );
    broker.restart(Limits::default());
    for (client, left) in [("b", 1), ("a", 1), ("c", 0)] {
        let client = broker.connect(connect_to_stay(client));
        assert_eq!(broker.take_payloads(client), [b"m"]);
        broker.acknowledge(client, AcknowledgementKind::PubAck, id(1));
        assert_eq!(count(&broker, "message"), left);
    }
    assert_eq!(count(&broker, "delivery"), 0);
}

#[test]
fn what_waits_for_an_absent_client_is_not_in_memory() {
    let mut broker = Broker::new(1, Limits::default());
    absent(&mut broker, "subscriber");
    let publisher = broker.admit(connect("publisher"));
    for number in 0..3000_u16 {
        let payload = number.to_be_bytes();
        let packet = publish("t/1", &payload, Some(id(number + 1)));
        broker.send(publisher, Packet::Publish(packet));
    }
    let sessions = &broker.shards[0].sessions;
    let held = |session: &crate::session::Session| {
        let held = session.queue.iter().filter(|it| it.message.is_some());
        (session.queue.len(), held.count())
    };
    let (_, session) = sessions
        .iter()
        .find(|(_, it)| !it.queue.is_empty())
        .expect("absent");
    assert_eq!(held(session), (3000, 0));
    let mut subscriber = connect_to_stay("subscriber");
    subscriber.properties.receive_maximum = receive_maximum(20);
    let client = broker.connect(subscriber);
    let payloads = broker.acknowledge_all(client);
    let expected: Vec<_> = (0..3000_u16).map(|it| it.to_be_bytes().to_vec()).collect();
    assert_eq!(payloads, expected, "and comes back in its order");
}

#[test]
fn a_full_session_does_as_it_is_told() {
    let kept = |overflow| {
        let limits = Limits {
            persistent_queue_messages: 2,
            persistent_queue_overflow: overflow,
            ..Limits::default()
        };
        let mut broker = Broker::new(1, limits);
        absent(&mut broker, "subscriber");
        let publisher = broker.admit(connect("publisher"));
        for payload in [b"1", b"2", b"3"] {
            let packet = publish("t/1", payload, Some(id(1)));
            broker.send(publisher, Packet::Publish(packet));
        }
        let reasons: Vec<_> = broker
            .take(publisher)
            .into_iter()
            .map(|received| match received {
                Received::Acknowledgement(_, _, reason) => reason,
                other => panic!("{other:?}"),
            })
            .collect();
        let client = broker.connect(connect_to_stay("subscriber"));
        (broker.take_payloads(client).concat(), reasons[2])
    };
    let full = ReasonCode::QuotaExceeded;
    assert_eq!(kept(QueueOverflow::Refuse), (b"12".to_vec(), full));
    let success = ReasonCode::Success;
    assert_eq!(kept(QueueOverflow::DropOldest), (b"23".to_vec(), success));
    assert_eq!(kept(QueueOverflow::DropNewest), (b"12".to_vec(), success));
}

#[test]
fn a_full_store_is_told_to_publishers_and_forgotten_when_there_is_room() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "subscriber");
        let publisher = broker.admit(connect_to_stay("publisher"));
        let mut old = connect("old");
        old.version = ProtocolVersion::V3_1_1;
        let old = broker.admit(old);
        broker.store = Store::Full;
        for packet in [1, 2] {
            // The second is refused before it is routed.
            let first = publish("t/1", b"lost", Some(id(packet)));
            broker.send(publisher, Packet::Publish(first));
            let told = Received::Acknowledgement(
                AcknowledgementKind::PubAck,
                id(packet),
                ReasonCode::QuotaExceeded,
            );
            assert_eq!(broker.take(publisher), [told]);
        }
        broker.send(publisher, Packet::Publish(exactly_once("t/1", b"lost", 3)));
        let told = Received::Acknowledgement(
            AcknowledgementKind::PubRec,
            id(3),
            ReasonCode::QuotaExceeded,
        );
        assert_eq!(broker.take(publisher), [told]);
        broker.send(old, Packet::Publish(publish("t/1", b"lost", Some(id(1)))));
        assert!(broker.is_closed(old), "3.1.1 has no other word for it");
        assert_eq!(broker.take(old), []);
        let live = broker.admit(connect("live"));
        broker.send(live, subscribe(&[request("live", QoS::AtLeastOnce)]));
        broker.send(live, Packet::Publish(publish("live", b"on", Some(id(1)))));
        assert_eq!(broker.take_payloads(live), [b"on"], "others go on");
        let refused = broker.connect(connect_to_stay("new"));
        let full = ReasonCode::QuotaExceeded;
        assert_eq!(broker.take(refused), [connack(full)]);

        broker.store = Store::Quick;
        broker.wait(Duration::from_secs(2));
        broker.send(publisher, Packet::Publish(exactly_once("t/1", b"kept", 3)));
        let received = [acknowledged(AcknowledgementKind::PubRec, 3)];
        assert_eq!(broker.take(publisher), received, "{shards} shards");
        broker.restart(Limits::default());
        let client = broker.connect(connect_to_stay("subscriber"));
        assert_eq!(broker.take_payloads(client), [b"kept"]);
    }
}

#[test]
fn what_waits_behind_a_refused_delivery_is_sent() {
    let mut broker = Broker::new(3, Limits::default());
    let subscriber = broker.admit(connect_to_stay("subscriber"));
    broker.send(subscriber, subscribe(&[request("t/#", QoS::AtLeastOnce)]));
    let home = broker.shard_of(subscriber);
    broker.lose(subscriber);
    let publishers: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|client_id| broker.admit(connect_to_stay(client_id)))
        .into();
    let (near, far): (Vec<_>, Vec<_>) = publishers
        .into_iter()
        .partition(|publisher| broker.shard_of(*publisher) == home);
    let elsewhere = broker.shard_of(far[0]);

    broker.store = Store::Slow;
    broker.send(far[0], Packet::Publish(exactly_once("t/1", b"refused", 1)));
    let kept = publish("t/1", b"kept", Some(id(1)));
    broker.send(near[0], Packet::Publish(kept));
    let subscriber = broker.connect(connect_to_stay("subscriber"));
    broker.commit_of(home);
    assert_eq!(broker.take(subscriber), [resumed()]);

    broker.store = Store::Full;
    broker.commit_of(elsewhere);
    assert_eq!(broker.take_payloads(subscriber), [b"kept"]);
}

#[test]
fn that_a_session_is_gone_is_told_when_the_store_has_it_no_more() {
    let mut broker = Broker::new(1, Limits::default());
    absent(&mut broker, "client");
    broker.store = Store::Slow;
    let first = broker.connect(connect("client"));
    assert_eq!(broker.take(first), []);
    // It does not wait for the answer, and what ended its session has none yet.
    broker.lose(first);
    let second = broker.connect(connect("client"));
    assert_eq!(broker.take(second), []);
    broker.store = Store::Full;
    broker.commit();
    assert!(broker.is_closed(second), "the session would be there again");
    let third = broker.connect(connect("client"));
    let full = ReasonCode::QuotaExceeded;
    assert_eq!(broker.take(third), [connack(full)]);
    broker.store = Store::Quick;
    broker.wait(Duration::from_secs(2));
    broker.admit(connect("client"));
}

#[test]
fn a_will_is_published_after_a_restart_that_ended_its_connection() {
    for (delay, waits) in [(0, false), (60, true)] {
        let mut broker = Broker::new(1, Limits::default());
        absent(&mut broker, "subscriber");
        let mut packet = connect_to_stay("mortal");
        packet.will = Some(nexum_codec::Will {
            qos: QoS::AtLeastOnce,
            delay_interval_seconds: delay,
            ..will("t/1", b"farewell")
        });
        broker.admit(packet);
        broker.restart(Limits::default());
        broker.wait(Duration::from_secs(1));
        let client = broker.connect(connect_to_stay("subscriber"));
        assert_eq!(broker.take_payloads(client).is_empty(), waits);
        broker.wait(Duration::from_secs(60));
        assert_eq!(broker.take_payloads(client).is_empty(), !waits);
        assert!(!kept(&broker).contains(&"will"));
    }
}

#[test]
fn a_session_that_ends_leaves_nothing_in_the_store() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "subscriber");
        absent(&mut broker, "another");
        let publisher = broker.admit(connect_to_stay("publisher"));
        for packet in 1..20 {
            broker.send(
                publisher,
                Packet::Publish(exactly_once("t/1", b"m", packet)),
            );
        }
        let client = broker.connect(connect_to_stay("subscriber"));
        broker.acknowledge(client, AcknowledgementKind::PubRec, id(1));
        broker.lose(client);
        broker.restart(Limits::default());
        for client_id in ["subscriber", "another", "publisher"] {
            broker.admit(connect(client_id));
        }
        assert_eq!(kept(&broker), [""; 0]);
    }
}

#[test]
fn a_client_that_came_back_meanwhile_gets_each_message_under_its_own_identifier() {
    let mut broker = Broker::new(1, Limits::default());
    absent(&mut broker, "subscriber");
    let publisher = broker.admit(connect("publisher"));
    for payload in [b"1", b"2"] {
        let packet = publish("t/1", payload, Some(id(1)));
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.slow_loads = true;
    let client = broker.connect(connect_to_stay("subscriber"));
    broker.lose(client);
    let publisher = broker.connect(connect("publisher"));
    broker.send(
        publisher,
        Packet::Publish(publish("t/1", b"3", Some(id(1)))),
    );
    let client = broker.connect(connect_to_stay("subscriber"));
    broker.slow_loads = false;
    broker.answer_loads();
    let payloads = broker.acknowledge_all(client);
    assert_eq!(payloads.concat(), b"123");
}

#[test]
fn a_message_for_many_is_stored_once_over_all_shards() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut broker = Broker::new(3, Limits::default());
        let clients = ["a", "b", "c", "d", "e", "f", "g"];
        for client in clients {
            absent(&mut broker, client);
        }
        let publisher = broker.admit(connect_to_stay("publisher"));
        let packet = match qos {
            QoS::ExactlyOnce => exactly_once("t/1", b"m", 1),
            QoS::AtMostOnce | QoS::AtLeastOnce => publish("t/1", b"m", Some(id(1))),
        };
        broker.send(publisher, Packet::Publish(packet));
        broker.acknowledge(publisher, AcknowledgementKind::PubRel, id(1));
        let count = |broker: &Broker, kind| kept(broker).iter().filter(|it| **it == kind).count();
        assert_eq!(
            (count(&broker, "delivery"), count(&broker, "message")),
            (7, 1)
        );
        // In the middle of it the shards lose count, and count again.
        for (number, client) in clients.into_iter().enumerate() {
            if number == 3 {
                broker.restart(Limits::default());
            }
            let client = broker.connect(connect_to_stay(client));
            assert_eq!(broker.take_payloads(client), [b"m"]);
            match qos {
                QoS::ExactlyOnce => {
                    broker.acknowledge(client, AcknowledgementKind::PubRec, id(1));
                    broker.acknowledge(client, AcknowledgementKind::PubComp, id(1));
                }
                QoS::AtMostOnce | QoS::AtLeastOnce => {
                    broker.acknowledge(client, AcknowledgementKind::PubAck, id(1));
                }
            }
            assert_eq!(
                count(&broker, "message"),
                usize::from(number < 6),
                "{number}"
            );
        }
        assert_eq!(count(&broker, "delivery"), 0);
    }
}

#[test]
fn a_session_that_expired_while_the_broker_was_down_is_not_resumed() {
    let mut broker = Broker::new(1, Limits::default());
    let mut packet = connect_to_stay("client");
    packet.properties.session_expiry_interval_seconds = Some(10);
    let client = broker.admit(packet);
    broker.send(client, subscribe(&[request("t/#", QoS::ExactlyOnce)]));
    broker.lose(client);
    broker.down_for(Duration::from_secs(9), Limits::default());
    let client = broker.connect(packet);
    assert_eq!(broker.take(client), [resumed()]);
    broker.lose(client);
    broker.down_for(Duration::from_secs(11), Limits::default());
    let client = broker.connect(packet);
    let new = [connack(ReasonCode::Success)];
    assert_eq!(broker.take(client), new);
    assert_eq!(kept(&broker), ["session"]);
}

#[test]
fn who_comes_to_take_what_waits_is_let_in_while_the_store_is_full() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        absent(&mut broker, "subscriber");
        let publisher = broker.admit(connect("publisher"));
        broker.send(
            publisher,
            Packet::Publish(publish("t/1", b"m", Some(id(1)))),
        );
        broker.store = Store::Full;
        let client = broker.connect(connect_to_stay("subscriber"));
        let delivery = PublishDelivery::AtLeastOnce(id(1));
        let received = [resumed(), published(b"m", delivery, false)];
        assert_eq!(broker.take(client), received);
    }
}
