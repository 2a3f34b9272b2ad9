//! The way to an extension and back, with the smallest one.

use std::sync::mpsc::{Receiver, Sender, channel};

use nexum_codec::{AcknowledgementKind, Filters, Unsubscribe};
use nexum_echo::Echo;
use nexum_extension_api::{
    Claim, ConsumerId, ErrorCode, Extension, Input, Outcome, Output, Refusal, Unreadable,
};
use nexum_types::{RetainHandling, Time};

use super::*;
use crate::Limits;

fn broker(shards: u16) -> Broker {
    Broker::extended(shards, Limits::default(), Some(Box::new(Echo::default())))
}

/// An echo that grants no QoS 0, and tells what it is fed.
struct Strict {
    echo: Echo,
    refused: Vec<Output>,
    fed: Sender<Fed>,
}

/// What it is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    Subscribe(ConsumerId, QoS),
    Settled(Outcome),
    /// With how many deliveries that were not answered.
    Detach(usize),
}

impl Extension for Strict {
    fn name(&self) -> &'static str {
        self.echo.name()
    }

    fn claims(&self) -> &'static [Claim] {
        self.echo.claims()
    }

    fn restore(&mut self, key: &[u8], value: &[u8], now: Time) -> Result<(), Unreadable> {
        self.echo.restore(key, value, now)
    }

    fn handle(&mut self, input: Input, now: Time) {
        let fed = match &input {
            Input::Subscribe(wish) => Some(Fed::Subscribe(wish.consumer, wish.maximum_qos)),
            Input::Settled { outcome, .. } => Some(Fed::Settled(*outcome)),
            Input::Detach { unanswered, .. } => Some(Fed::Detach(unanswered.len())),
            _ => None,
        };
        if let Some(fed) = fed {
            // A test need not look.
            let _ = self.fed.send(fed);
        }
        match input {
            Input::Subscribe(wish) if wish.maximum_qos == QoS::AtMostOnce => {
                let refusal = Refusal::new(ErrorCode::BadOption, "no QoS 0");
                let feed = wish.feed;
                self.refused.push(Output::Refuse { feed, refusal });
            }
            input => self.echo.handle(input, now),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.refused.pop().or_else(|| self.echo.poll_output())
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.echo.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.echo.handle_timeout(now);
    }
}

fn strict(shards: u16) -> (Broker, Receiver<Fed>) {
    let (fed, told) = channel();
    let strict = Strict {
        echo: Echo::default(),
        refused: Vec::new(),
        fed,
    };
    let broker = Broker::extended(shards, Limits::default(), Some(Box::new(strict)));
    (broker, told)
}

/// A client of each shard.
fn one_on_each(broker: &mut Broker) -> Vec<usize> {
    let mut clients = vec![None; broker.shards.len()];
    for number in 0..100 {
        let client = broker.admit(connect(&format!("client {number}")));
        clients[broker.shard_of(client)].get_or_insert(client);
    }
    clients.into_iter().flatten().collect()
}

fn unsubscribe_from<'a>(filters: &'a [&'a str]) -> Packet<'a> {
    Packet::Unsubscribe(Unsubscribe {
        packet_identifier: id(9),
        user_properties: UserProperties::EMPTY,
        filters: Filters::from_slice(filters),
    })
}

fn old(client_id: &str) -> Connect<'_> {
    Connect {
        version: ProtocolVersion::V3_1_1,
        ..connect(client_id)
    }
}

fn acknowledged(packet: u16, reason_code: ReasonCode) -> Received {
    Received::Acknowledgement(AcknowledgementKind::PubAck, id(packet), reason_code)
}

fn published(topic: &str, payload: &[u8], packet: u16) -> Received {
    Received::Publish {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        delivery: PublishDelivery::AtLeastOnce(id(packet)),
        dup: false,
    }
}

fn granted() -> Received {
    Received::SubAck(vec![ReasonCode::GrantedQoS1])
}

#[test]
fn what_is_published_to_a_served_word_is_acknowledged_and_delivered() {
    for shards in [1, 3] {
        let mut broker = broker(shards);
        let consumer = broker.admit(connect("consumer"));
        broker.send(
            consumer,
            subscribe(&[request("$echo/hall", QoS::AtLeastOnce)]),
        );
        assert_eq!(broker.take(consumer), [granted()]);
        let publisher = broker.admit(old("publisher"));
        let hello = publish("$echo/hall", b"hello", Some(id(7)));
        broker.send(publisher, Packet::Publish(hello));
        let success = acknowledged(7, ReasonCode::Success);
        assert_eq!(broker.take(publisher), [success], "{shards} shards");
        assert_eq!(
            broker.take(consumer),
            [published("$echo/hall", b"hello", 1)]
        );
    }
}

#[test]
fn a_consumer_gets_as_much_as_it_has_credit_for() {
    let mut broker = broker(1);
    let mut consumer = connect("consumer");
    consumer.properties.receive_maximum = receive_maximum(2);
    let consumer = broker.admit(consumer);
    broker.send(
        consumer,
        subscribe(&[request("$echo/hall", QoS::AtLeastOnce)]),
    );
    for payload in [b"1", b"2", b"3"] {
        let packet = publish("$echo/hall", payload, Some(id(1)));
        broker.send(consumer, Packet::Publish(packet));
    }
    assert_eq!(broker.take_payloads(consumer), [b"1", b"2"]);
    broker.acknowledge(consumer, AcknowledgementKind::PubAck, id(1));
    assert_eq!(broker.take_payloads(consumer), [b"3"]);
}

#[test]
fn a_session_that_comes_back_has_its_feeds_again() {
    for shards in [1, 3] {
        let mut broker = broker(shards);
        let consumer = broker.admit(connect_to_stay("consumer"));
        broker.send(
            consumer,
            subscribe(&[request("$echo/hall", QoS::AtLeastOnce)]),
        );
        broker.lose(consumer);
        let publisher = broker.admit(connect("publisher"));
        let packet = publish("$echo/hall", b"away", Some(id(1)));
        broker.send(publisher, Packet::Publish(packet));
        let consumer = broker.connect(connect_to_stay("consumer"));
        assert_eq!(broker.take_payloads(consumer), [b"away"], "{shards} shards");
        // And after a restart, since the subscription is kept.
        broker.restart(Limits::default());
        let consumer = broker.connect(connect_to_stay("consumer"));
        assert_eq!(broker.take_payloads(consumer), [b"away"]);
        let filters = Filters::from_slice(&["$echo/hall"]);
        broker.send(
            consumer,
            Packet::Unsubscribe(Unsubscribe {
                packet_identifier: id(9),
                user_properties: UserProperties::EMPTY,
                filters,
            }),
        );
        assert_eq!(broker.take(consumer), [Received::UnsubAck]);
        let publisher = broker.admit(connect("publisher"));
        let packet = publish("$echo/hall", b"more", Some(id(1)));
        broker.send(publisher, Packet::Publish(packet));
        assert_eq!(broker.take(consumer), []);
    }
}

#[test]
fn what_is_there_already_comes_as_retain_handling_says() {
    for shards in [1, 3] {
        let mut broker = broker(shards);
        let publisher = broker.admit(connect("publisher"));
        let packet = publish("$echo/hall", b"last", Some(id(1)));
        broker.send(publisher, Packet::Publish(packet));
        let consumer = broker.admit(connect("consumer"));
        let mut ask = |handling| {
            let mut wish = request("$echo/hall", QoS::AtMostOnce);
            wish.options.retain_handling = handling;
            broker.send(consumer, subscribe(&[wish]));
            broker.take_payloads(consumer).len()
        };
        assert_eq!(ask(RetainHandling::DoNotSend), 0, "{shards} shards");
        assert_eq!(ask(RetainHandling::SendIfNew), 0, "it is not new");
        assert_eq!(ask(RetainHandling::SendAtSubscribe), 1);
    }
}

#[test]
fn what_is_refused_is_told() {
    let mut broker = broker(1);
    let new = broker.admit(connect("new"));
    for (topic, reason_code) in [
        ("$echo/hall/$shout", ReasonCode::TopicNameInvalid),
        ("$echo/../x", ReasonCode::TopicNameInvalid),
        ("$echo", ReasonCode::TopicNameInvalid),
        ("$kv/b/k", ReasonCode::TopicNameInvalid),
        (
            "$opt/prio=1/$echo/hall",
            ReasonCode::ImplementationSpecificError,
        ),
        (
            "$opt/prio=256/$echo/hall",
            ReasonCode::ImplementationSpecificError,
        ),
        ("$reply/t/ok", ReasonCode::NotAuthorized),
        ("$delayed/60/t", ReasonCode::TopicNameInvalid),
    ] {
        let packet = publish(topic, b"", Some(id(1)));
        broker.send(new, Packet::Publish(packet));
        assert_eq!(broker.take(new), [acknowledged(1, reason_code)], "{topic}");
    }
    for (filter, reason_code) in [
        ("$echo/hall/#", ReasonCode::TopicFilterInvalid),
        ("$echo/+", ReasonCode::WildcardSubscriptionsNotSupported),
        ("$echo/#", ReasonCode::WildcardSubscriptionsNotSupported),
        ("$echo", ReasonCode::TopicFilterInvalid),
        ("$kv/b/#", ReasonCode::TopicFilterInvalid),
    ] {
        broker.send(new, subscribe(&[request(filter, QoS::AtLeastOnce)]));
        assert_eq!(
            broker.take(new),
            [Received::SubAck(vec![reason_code])],
            "{filter}"
        );
    }
}

#[test]
fn a_3_1_1_client_is_told_by_replies_and_notices() {
    for shards in [1, 3] {
        let mut broker = broker(shards);
        let client = broker.admit(old("client"));
        broker.send(client, subscribe(&[request("$reply/+/+", QoS::AtMostOnce)]));
        assert_eq!(
            broker.take(client),
            [Received::SubAck(vec![ReasonCode::Success])]
        );
        let mut ask = |topic: &str| {
            let packet = publish(topic, b"hello", Some(id(1)));
            broker.send(client, Packet::Publish(packet));
            let received = broker.take(client).into_iter();
            let told = received.filter_map(|received| match received {
                Received::Publish { topic, payload, .. } => {
                    Some(format!("{topic} {}", String::from_utf8_lossy(&payload)))
                }
                _ => None,
            });
            told.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(ask("$echo/hall"), "");
        assert_eq!(ask("$req/t1/$echo/hall/$last"), "$reply/t1/ok hello");
        assert_eq!(ask("$req/t2/plain/topic"), "$reply/t2/ok ");
        let missing = ask("$req/t3/$echo/nobody/$last");
        assert!(
            missing.starts_with("$reply/t3/err {\"code\":\"not_found\""),
            "{missing}"
        );
        let notice = ask("$echo/hall/$shout");
        assert!(
            notice.starts_with("$reply/-/err {\"code\":\"bad_address\""),
            "{notice}"
        );
        let notice = ask("$echo/a b");
        assert!(
            notice.starts_with("$reply/-/err {\"code\":\"bad_address\""),
            "{notice}"
        );
    }
}

#[test]
fn one_session_at_a_time_has_an_exclusive_subscription() {
    for shards in [1, 3] {
        for filter in ["$exclusive/t/#", "$exclusive/$echo/hall"] {
            let mut broker = broker(shards);
            let ask = |broker: &mut Broker, client| {
                broker.send(client, subscribe(&[request(filter, QoS::AtLeastOnce)]));
                let mut received = broker.take(client);
                received.retain(|it| matches!(it, Received::SubAck(_)));
                received
            };
            let unsubscribe = |broker: &mut Broker, client| {
                let filters = [filter];
                let filters = Filters::from_slice(&filters);
                broker.send(
                    client,
                    Packet::Unsubscribe(Unsubscribe {
                        packet_identifier: id(9),
                        user_properties: UserProperties::EMPTY,
                        filters,
                    }),
                );
                broker.take(client);
            };
            let refused = [Received::SubAck(vec![ReasonCode::QuotaExceeded])];
            let first = broker.admit(connect("a"));
            let second = broker.admit(connect_to_stay("b"));
            assert_eq!(ask(&mut broker, first), [granted()]);
            assert_eq!(ask(&mut broker, second), refused, "{shards} shards");
            assert_eq!(ask(&mut broker, first), [granted()], "once more");
            unsubscribe(&mut broker, first);
            assert_eq!(ask(&mut broker, second), [granted()]);
            assert_eq!(ask(&mut broker, first), refused);
            let topic = if shards == 1 { "$echo/hall" } else { "t/1" };
            let is_here = filter.ends_with("hall") == topic.ends_with("hall");
            broker.send(
                first,
                Packet::Publish(publish(topic, b"hello", Some(id(1)))),
            );
            assert_eq!(broker.take_payloads(second).len(), usize::from(is_here));
            // It is the session's, also while its client is away, and after a restart.
            broker.lose(second);
            broker.take(first);
            assert_eq!(ask(&mut broker, first), refused);
            broker.restart(Limits::default());
            let first = broker.admit(connect("a"));
            assert_eq!(ask(&mut broker, first), refused);
            let second = broker.admit(connect("b"));
            assert_eq!(
                ask(&mut broker, first),
                [granted()],
                "its session has ended"
            );
            assert_eq!(ask(&mut broker, second), refused);
        }
    }
}

/// Its home hears of it after the request for it: the client knows it before its home does.
#[test]
fn what_was_let_go_is_granted_to_the_next() {
    for filter in ["$exclusive/t/#", "$exclusive/$echo/hall"] {
        for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let mut broker = broker(3);
            let clients = one_on_each(&mut broker);
            let (first, second) = (clients[first], clients[second]);
            let wanted = [request(filter, QoS::AtLeastOnce)];
            broker.send(first, subscribe(&wanted));
            assert_eq!(broker.take(first), [granted()]);
            broker.send_meanwhile(first, unsubscribe_from(&[filter]));
            broker.send(second, subscribe(&wanted));
            assert_eq!(broker.take(first), [Received::UnsubAck]);
            assert_eq!(broker.take(second), [granted()]);
            // Whoever has it keeps it.
            broker.send(first, subscribe(&wanted));
            let refused = Received::SubAck(vec![ReasonCode::QuotaExceeded]);
            assert_eq!(broker.take(first), [refused]);
            // And is gone before it is granted.
            broker.send_meanwhile(second, unsubscribe_from(&[filter]));
            broker.send_meanwhile(first, subscribe(&wanted));
            broker.lose(first);
            let third = broker.admit(connect("third"));
            broker.send(third, subscribe(&wanted));
            assert_eq!(broker.take(third), [granted()]);
        }
    }
}

/// [MQTT-3.10.4-1]: what is let go is what is named. The session has it under the name of its last
/// SUBSCRIBE.
#[test]
fn a_filter_is_exclusive_under_that_name_alone() {
    let (plain, exclusive) = ("t", "$exclusive/t");
    for shards in [1, 3] {
        for restarts in [false, true] {
            let mut broker = broker(shards);
            for (subscribed, unsubscribed, hears, is_free) in [
                (&[plain][..], exclusive, true, true),
                (&[exclusive], plain, true, false),
                (&[exclusive, plain], exclusive, true, true),
                (&[plain, exclusive], plain, true, false),
                (&[exclusive, plain], plain, false, true),
                (&[plain, exclusive], exclusive, false, true),
            ] {
                let client = broker.admit(connect_to_stay("client"));
                for filter in subscribed {
                    broker.send(client, subscribe(&[request(filter, QoS::AtLeastOnce)]));
                }
                broker.send(client, unsubscribe_from(&[unsubscribed]));
                broker.take(client);
                let mut client = client;
                if restarts {
                    broker.restart(Limits::default());
                    client = broker.admit(connect_to_stay("client"));
                }
                let case = format!("{subscribed:?}, {unsubscribed}, {restarts}");
                let other = broker.admit(connect("other"));
                broker.send(other, Packet::Publish(publish("t", b"m", Some(id(1)))));
                assert_eq!(
                    broker.take_payloads(client).len(),
                    usize::from(hears),
                    "{case}"
                );
                broker.take(other);
                broker.send(other, subscribe(&[request(exclusive, QoS::AtLeastOnce)]));
                let expected = match is_free {
                    true => ReasonCode::GrantedQoS1,
                    false => ReasonCode::QuotaExceeded,
                };
                assert_eq!(
                    broker.take(other),
                    [Received::SubAck(vec![expected])],
                    "{case}"
                );
                broker.lose(other);
                broker.lose(client);
                let again = broker.admit(connect("client"));
                broker.lose(again);
            }
        }
    }
}

#[test]
fn a_feed_is_asked_for_when_it_is_reserved() {
    for shards in [1, 3] {
        let (mut broker, told) = strict(shards);
        let wanted = [request("$exclusive/$echo/hall", QoS::AtLeastOnce)];
        for client in one_on_each(&mut broker) {
            broker.send(client, subscribe(&wanted));
            broker.take(client);
        }
        let asked = told.try_iter();
        let asked = asked.filter(|fed| matches!(fed, Fed::Subscribe(..)));
        assert_eq!(
            asked.count(),
            1,
            "who is refused is nobody for the extension"
        );
    }
}

/// [MQTT-3.8.4-5]: as if each had come in a packet of its own.
#[test]
fn a_filter_that_is_named_twice_is_granted_twice_or_refused() {
    let refused = ReasonCode::TopicFilterInvalid;
    for shards in [1, 3] {
        for filter in ["$echo/hall", "$exclusive/$echo/hall"] {
            let at = |qos| request(filter, qos);
            let (low, high) = (at(QoS::AtMostOnce), at(QoS::AtLeastOnce));
            for (requests, expected, is_fed) in [
                (
                    &[high, low][..],
                    vec![ReasonCode::GrantedQoS1, refused],
                    false,
                ),
                (&[low, high], vec![refused, ReasonCode::GrantedQoS1], true),
                (&[low, low], vec![refused; 2], false),
                (&[high; 3], vec![ReasonCode::GrantedQoS1; 3], true),
            ] {
                let (mut broker, _told) = strict(shards);
                let client = broker.admit(connect("client"));
                broker.send(client, subscribe(requests));
                assert_eq!(broker.take(client), [Received::SubAck(expected)]);
                let other = broker.admit(connect("other"));
                let hello = publish("$echo/hall", b"hello", Some(id(1)));
                broker.send(other, Packet::Publish(hello));
                let fed = usize::from(is_fed);
                assert_eq!(broker.take_payloads(client).len(), fed, "{requests:?}");
                // What was refused is held by nobody.
                broker.send(other, subscribe(&[high]));
                let is_free = !is_fed || !filter.starts_with("$exclusive");
                let expected = match is_free {
                    true => ReasonCode::GrantedQoS1,
                    false => ReasonCode::QuotaExceeded,
                };
                let subacks = broker.take(other).into_iter();
                let mut subacks = subacks.filter(|it| matches!(it, Received::SubAck(_)));
                assert_eq!(subacks.next(), Some(Received::SubAck(vec![expected])));
            }
        }
    }
}

#[test]
fn nothing_is_left_of_a_subscribe_whose_client_is_gone() {
    for shards in [1, 3] {
        for filter in ["$echo/hall", "$exclusive/$echo/hall", "$exclusive/t"] {
            let mut broker = broker(shards);
            let client = broker.admit(connect("client"));
            let wanted = [
                request(filter, QoS::AtLeastOnce),
                request(filter, QoS::AtLeastOnce),
                request("plain", QoS::AtLeastOnce),
            ];
            broker.send_meanwhile(client, subscribe(&wanted));
            broker.lose(client);
            for shard in &broker.shards {
                let residue = shard.residue();
                let residue = residue.iter().filter(|(table, _)| *table != "connections");
                assert_eq!(residue.collect::<Vec<_>>(), [] as [&_; 0], "{filter}");
            }
        }
    }
}

#[test]
fn an_extension_is_told_what_a_lost_client_has_not_answered() {
    let (mut broker, told) = strict(1);
    let publisher = broker.admit(connect("publisher"));
    let hello = publish("$echo/hall", b"1", Some(id(1)));
    broker.send(publisher, Packet::Publish(hello));
    for (answers, expected) in [
        (true, &[Fed::Settled(Outcome::Done), Fed::Detach(0)][..]),
        (false, &[Fed::Detach(1)]),
    ] {
        let consumer = broker.admit(connect("consumer"));
        let wanted = [request("$echo/hall", QoS::AtLeastOnce)];
        broker.send(consumer, subscribe(&wanted));
        assert_eq!(broker.take_payloads(consumer), [b"1"]);
        if answers {
            broker.acknowledge(consumer, AcknowledgementKind::PubAck, id(1));
        }
        broker.lose(consumer);
        let mut told: Vec<Fed> = told.try_iter().collect();
        told.retain(|fed| !matches!(fed, Fed::Subscribe(..)));
        assert_eq!(told[..expected.len()], *expected);
    }
}

#[test]
fn a_repeat_of_an_id_on_a_plain_topic_is_acknowledged_and_dropped() {
    let mut broker = broker(1);
    let subscriber = broker.admit(connect("subscriber"));
    broker.send(subscriber, subscribe(&[request("t", QoS::AtMostOnce)]));
    broker.take(subscriber);
    let publisher = broker.admit(old("publisher"));
    for (topic, is_new) in [
        ("$opt/id=1/t", true),
        ("$opt/id=1/t", false),
        ("$opt/id=2/t", true),
    ] {
        let packet = publish(topic, b"m", Some(id(1)));
        broker.send(publisher, Packet::Publish(packet));
        let success = acknowledged(1, ReasonCode::Success);
        assert_eq!(broker.take(publisher), [success]);
        assert_eq!(broker.take(subscriber).len(), usize::from(is_new));
    }
    broker.wait(std::time::Duration::from_secs(121));
    let packet = publish("$opt/id=1/t", b"m", Some(id(1)));
    broker.send(publisher, Packet::Publish(packet));
    assert_eq!(broker.take(subscriber).len(), 1);
}

#[test]
fn a_qos_2_publication_is_pushed_once_through_a_restart() {
    for shards in [1, 3] {
        let mut broker = broker(shards);
        let consumer = broker.admit(connect("consumer"));
        broker.send(
            consumer,
            subscribe(&[request("$echo/hall", QoS::AtLeastOnce)]),
        );
        broker.take(consumer);
        let publisher = broker.admit(connect_to_stay("publisher"));
        let once = Publish {
            delivery: PublishDelivery::ExactlyOnce(id(3)),
            ..publish("$echo/hall", b"once", None)
        };
        broker.send(publisher, Packet::Publish(once));
        let received =
            Received::Acknowledgement(AcknowledgementKind::PubRec, id(3), ReasonCode::Success);
        assert_eq!(broker.take(publisher), std::slice::from_ref(&received));
        assert_eq!(broker.take_payloads(consumer), [b"once"]);
        // PUBREC was lost with the broker: the client sends it again.
        broker.restart(Limits::default());
        let consumer = broker.admit(connect("consumer"));
        let publisher = broker.admit(connect_to_stay("publisher"));
        broker.send(
            consumer,
            subscribe(&[request("$echo/hall", QoS::AtLeastOnce)]),
        );
        // The echo of the last.
        assert_eq!(broker.take_payloads(consumer), [b"once"]);
        broker.send(publisher, Packet::Publish(Publish { dup: true, ..once }));
        assert_eq!(broker.take(publisher), [received]);
        assert_eq!(broker.take(consumer), []);
        broker.acknowledge(publisher, AcknowledgementKind::PubRel, id(3));
        broker.take(publisher);
        assert_eq!(broker.records.keys().count(), 1, "the session alone");
    }
}
