//! Inputs that nobody should send.

use nexum_extension_api::driver::Store;
use nexum_extension_api::{
    Address, ConsumerId, DeliveryId, FeedId, Input, Outcome, PublicationId, ReadId, Subscribe,
    Unsubscribe, WriteId,
};

use nexum_types::QoS;

use crate::common::*;

#[test]
fn what_is_stale_or_unknown_is_ignored() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let had = one(&mut broker, consumer);
    let nobody = ConsumerId { shard: 9, key: 999 };
    let feed = FeedId { shard: 9, key: 999 };
    let settled = |consumer, delivery| Input::Settled {
        consumer,
        delivery,
        outcome: Outcome::Done,
    };
    for input in [
        settled(nobody, had.delivery),
        settled(consumer, DeliveryId(0)),
        settled(consumer, DeliveryId(u64::MAX)),
        Input::Unsubscribe(Unsubscribe {
            feed,
            consumer: nobody,
        }),
        Input::Detach {
            consumer: nobody,
            unanswered: vec![had.delivery, DeliveryId(7)],
            has_ended: true,
        },
        Input::Written {
            write: WriteId(u64::MAX),
            refused: None,
        },
        Input::Read {
            read: ReadId(7),
            values: vec![None, Some(Box::from([1, 2, 3]))],
        },
        Input::Published {
            publication: PublicationId(1),
            refused: None,
        },
    ] {
        broker.feed(input);
    }
    assert_eq!(info(&mut broker, "leased"), 1);
    broker.settle(consumer, had.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "leased"), 0);
}

#[test]
fn a_consumer_that_attaches_after_it_subscribed_is_served() {
    let mut broker = jobs("");
    push(&mut broker, "$queue/jobs", "a");
    let consumer = broker.attach(0);
    broker.subscribe(consumer, "$queue/jobs").expect("a feed");
    broker.detach(consumer, false);
    broker.attach_again(consumer, 1);
    broker.subscribe(consumer, "$queue/jobs").expect("a feed");
    assert_eq!(broker.deliveries(consumer).len(), 1);
}

#[test]
fn records_that_are_no_records_are_refused_and_never_a_panic() {
    let mut broker = jobs("");
    for number in 0..3 {
        let id = number.to_string();
        let pairs = [("id", &*id), ("key", "k"), ("ttl", "1h"), ("delay", "1m")];
        push_with(&mut broker, "$queue/jobs/eu", "payload", &pairs);
    }
    let records: Vec<_> = broker.records().clone().into_iter().collect();
    for (key, value) in &records {
        for length in 0..value.len() {
            let mut queues = nexum_queue::Queues::new(nexum_queue::Settings::default());
            let cut = &value[..length];
            // What is cut inside a payload or a text is another one, and no error.
            let _ = nexum_extension_api::Extension::restore(&mut queues, key, cut, broker.now());
        }
        let mut queues = nexum_queue::Queues::new(nexum_queue::Settings::default());
        let mut other = value.to_vec();
        other[0] = 2;
        let error = nexum_extension_api::Extension::restore(&mut queues, key, &other, broker.now());
        let is_orphan = key[0] == 2;
        assert!(error.is_err() || is_orphan, "a later version");
        let error = nexum_extension_api::Extension::restore(
            &mut queues,
            &key[..key.len() - 1],
            value,
            broker.now(),
        );
        assert!(error.is_err(), "a shorter key");
    }
}

#[test]
fn a_full_store_keeps_what_has_happened_in_order() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    push(&mut broker, "$queue/jobs", "a");
    push(&mut broker, "$queue/jobs", "b");
    broker.set_store(Store::Full);
    for delivery in broker.deliveries(consumer) {
        let outcome = match payload(&delivery).as_str() {
            "a" => Outcome::Done,
            _ => refused(0x80),
        };
        broker.settle(consumer, delivery.delivery, outcome);
    }
    broker.set_store(Store::Quick);
    broker.restart().expect("readable");
    broker.wait(seconds(10));
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    let again = one(&mut broker, consumer);
    assert_eq!(payload(&again), "b");
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("2"));
}

#[test]
fn a_subscription_takes_no_options_and_joins_the_one_set_whatever_its_share() {
    let mut broker = jobs("");
    let consumer = broker.attach(1);
    let refused = Input::Subscribe(Subscribe {
        feed: FeedId { shard: 9, key: 1 },
        consumer,
        address: Address::parse("$queue/jobs").expect("an address"),
        maximum_qos: QoS::AtLeastOnce,
        wants_present: true,
        share_name: Some("group".into()),
        options: Some(Box::new(options(&[("from", "earliest")]))),
    });
    broker.feed(refused);
    push(&mut broker, "$queue/jobs", "a");
    assert!(broker.deliveries(consumer).is_empty());
    assert_eq!(info(&mut broker, "consumers"), 0);
}
