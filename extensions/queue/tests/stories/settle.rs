//! Settling: retries, visibility, dead letters, and who gets what.

use crate::common::*;
use nexum_extension_api::{ErrorCode, Input, Outcome};
use nexum_types::QoS;

const STEADY: &str = r#"{"backoff": {"first": "1s", "factor": 2, "jitter": 0}}"#;

#[test]
fn what_is_refused_rests_longer_each_time_and_then_is_dead() {
    let mut broker = jobs(STEADY);
    let worker = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    for (attempt, rest) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        let delivery = one(&mut broker, worker);
        assert_eq!(property(&delivery, "q-attempt"), Some(attempt.to_string()));
        broker.settle(worker, delivery.delivery, refused(0x80));
        broker.wait(seconds(rest) - std::time::Duration::from_millis(1));
        assert!(broker.deliveries(worker).is_empty());
        broker.wait(std::time::Duration::from_millis(1));
    }
    let last = one(&mut broker, worker);
    broker.settle(worker, last.delivery, refused(0x83));
    assert_eq!(info(&mut broker, "dead"), 1);
    broker.wait(seconds(1000));
    assert!(broker.deliveries(worker).is_empty());

    let dead = crate::common::worker(&mut broker, "$queue/jobs/$dlq", 10);
    let letter = one(&mut broker, dead);
    assert_eq!(&*letter.topic, "$queue/jobs/$dlq");
    assert_eq!(
        property(&letter, "dlq-reason").as_deref(),
        Some("max_attempts")
    );
    assert_eq!(property(&letter, "dlq-attempts").as_deref(), Some("5"));
    broker.settle(dead, letter.delivery, refused(0x80));
    assert!(broker.deliveries(dead).is_empty());
    broker.wait(seconds(1));
    let letter = one(&mut broker, dead);
    broker.settle(dead, letter.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "dead"), 0);
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn attempts_are_kept_over_a_restart() {
    let mut broker = jobs(r#"{"max_attempts": 2, "backoff": {"first": "1s", "jitter": 0}}"#);
    let worker = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let first = one(&mut broker, worker);
    broker.settle(worker, first.delivery, refused(0x80));
    broker.restart().expect("readable");
    let worker = crate::common::worker(&mut broker, "$queue/jobs", 1);
    assert!(broker.deliveries(worker).is_empty(), "it rests still");
    broker.wait(seconds(1));
    let second = one(&mut broker, worker);
    assert_eq!(property(&second, "q-attempt").as_deref(), Some("2"));
    // A delivery in flight is no attempt.
    broker.restart().expect("readable");
    let worker = crate::common::worker(&mut broker, "$queue/jobs", 1);
    let second = one(&mut broker, worker);
    assert_eq!(property(&second, "q-attempt").as_deref(), Some("2"));
    broker.settle(worker, second.delivery, refused(0x80));
    assert_eq!(info(&mut broker, "dead"), 1);
    broker.restart().expect("readable");
    assert_eq!(info(&mut broker, "dead"), 1);
}

#[test]
fn a_busy_consumer_is_no_attempt() {
    let mut broker = jobs(r#"{"max_attempts": 1}"#);
    let worker = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    for _ in 0..3 {
        let delivery = one(&mut broker, worker);
        assert_eq!(property(&delivery, "q-attempt").as_deref(), Some("1"));
        broker.settle(worker, delivery.delivery, refused(0x97));
        assert!(broker.deliveries(worker).is_empty());
        broker.wait(seconds(1));
    }
    assert_eq!(info(&mut broker, "leased"), 1);
}

#[test]
fn what_never_works_is_dead_at_once() {
    for code in [0x99, 0x87] {
        let mut broker = jobs("");
        let worker = worker(&mut broker, "$queue/jobs", 1);
        push(&mut broker, "$queue/jobs", "a");
        let delivery = one(&mut broker, worker);
        broker.settle(worker, delivery.delivery, refused(code));
        let dead = crate::common::worker(&mut broker, "$queue/jobs/$dlq", 10);
        let letter = one(&mut broker, dead);
        assert_eq!(property(&letter, "dlq-reason").as_deref(), Some("rejected"));
        assert_eq!(property(&letter, "dlq-attempts").as_deref(), Some("1"));
    }
}

#[test]
fn what_is_too_large_for_a_consumer_is_an_attempt() {
    let mut broker = jobs(r#"{"max_attempts": 1}"#);
    let worker = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let delivery = one(&mut broker, worker);
    broker.settle(worker, delivery.delivery, Outcome::TooLarge);
    assert_eq!(info(&mut broker, "dead"), 1);
}

#[test]
fn a_delivery_that_lapses_goes_to_somebody_else() {
    let mut broker = jobs("");
    let slow = worker(&mut broker, "$queue/jobs", 2);
    push(&mut broker, "$queue/jobs", "a");
    let late = one(&mut broker, slow);
    let other = worker(&mut broker, "$queue/jobs", 5);
    // The other one has more to do, and gets it nevertheless.
    push(&mut broker, "$queue/jobs", "b");
    push(&mut broker, "$queue/jobs", "c");
    let had: Vec<_> = [broker.deliveries(slow), broker.deliveries(other)].concat();
    assert_eq!(had.len(), 2);
    broker.wait(seconds(30));
    let again = broker.deliveries(other);
    let again = again.iter().find(|it| payload(it) == "a").expect("it");
    assert_eq!(property(again, "q-attempt").as_deref(), Some("2"));
    // The late answer gives the credit back, and is of no other effect.
    broker.settle(slow, late.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "leased"), 3);
    broker.settle(other, again.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "leased"), 2);
}

#[test]
fn the_credit_of_a_delivery_that_lapsed_stays_taken() {
    let mut broker = jobs("");
    let slow = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let late = one(&mut broker, slow);
    broker.wait(seconds(100));
    assert!(broker.deliveries(slow).is_empty());
    broker.settle(slow, late.delivery, Outcome::Done);
    let again = one(&mut broker, slow);
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("2"));
}

#[test]
fn what_a_lost_connection_had_returns_after_its_time() {
    let mut broker = jobs("");
    let lost = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    assert_eq!(broker.deliveries(lost).len(), 1);
    let other = worker(&mut broker, "$queue/jobs", 1);
    broker.wait(seconds(10));
    broker.detach(lost, false);
    // It comes back, and gets what is new.
    broker.attach_again(lost, 2);
    broker.subscribe(lost, "$queue/jobs/#").expect("a feed");
    push(&mut broker, "$queue/jobs", "b");
    push(&mut broker, "$queue/jobs", "c");
    let mut new = broker.deliveries(lost);
    new.extend(broker.deliveries(other));
    assert_eq!(new.len(), 2);
    broker.wait(seconds(19));
    assert!(broker.deliveries(lost).is_empty());
    broker.wait(seconds(1));
    let again = one(&mut broker, lost);
    assert_eq!(payload(&again), "a");
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("2"));
}

#[test]
fn what_an_ended_session_had_returns_at_once() {
    let mut broker = jobs("");
    let lost = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let other = worker(&mut broker, "$queue/jobs", 1);
    broker.detach(lost, false);
    assert!(broker.deliveries(other).is_empty());
    broker.detach(lost, true);
    let again = one(&mut broker, other);
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("2"));
}

#[test]
fn what_never_reached_a_lost_connection_returns_at_once_and_was_no_attempt() {
    for has_ended in [false, true] {
        let mut broker = jobs(r#"{"max_attempts": 1}"#);
        let lost = worker(&mut broker, "$queue/jobs", 1);
        push(&mut broker, "$queue/jobs", "a");
        let other = worker(&mut broker, "$queue/jobs", 1);
        broker.detach_before_delivery(lost, has_ended);
        let again = one(&mut broker, other);
        assert_eq!(property(&again, "q-attempt").as_deref(), Some("1"));
        broker.settle(other, again.delivery, Outcome::Done);
        broker.wait(seconds(60));
        assert!(broker.deliveries(other).is_empty());
    }
}

/// Its session ends before what was on its way has come back.
#[test]
fn what_never_reached_an_ended_session_was_no_attempt() {
    let mut broker = jobs(r#"{"max_attempts": 1}"#);
    let lost = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let on_its_way = one(&mut broker, lost).delivery;
    let other = worker(&mut broker, "$queue/jobs", 1);
    for has_ended in [false, true] {
        broker.feed(Input::Detach {
            consumer: lost,
            unanswered: Vec::new(),
            has_ended,
        });
    }
    broker.feed(Input::Settled {
        consumer: lost,
        delivery: on_its_way,
        outcome: Outcome::Undelivered,
    });
    let again = one(&mut broker, other);
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("1"));
}

#[test]
fn whoever_has_the_least_to_do_is_next() {
    let mut broker = jobs("");
    let first = worker(&mut broker, "$queue/jobs", 10);
    let second = worker(&mut broker, "$queue/jobs", 10);
    for number in 0..6 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    let of_first = broker.deliveries(first);
    assert_eq!(of_first.len(), 3);
    assert_eq!(broker.deliveries(second).len(), 3);
    for delivery in of_first {
        broker.settle(first, delivery.delivery, Outcome::Done);
    }
    for number in 0..3 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    assert_eq!(broker.deliveries(first).len(), 3);
    assert!(broker.deliveries(second).is_empty());
}

#[test]
fn round_robin_looks_at_no_load() {
    let mut broker = jobs(r#"{"dispatch": "round_robin"}"#);
    let first = worker(&mut broker, "$queue/jobs", 10);
    let second = worker(&mut broker, "$queue/jobs", 10);
    for number in 0..6 {
        push(&mut broker, "$queue/jobs", &number.to_string());
        broker.work_off(first);
    }
    assert_eq!(broker.deliveries(second).len(), 3);
}

#[test]
fn the_queues_of_a_consumer_take_turns() {
    let mut broker = broker();
    let names = ["a", "b", "c"];
    for name in names {
        create(&mut broker, name, "");
        for number in 0..4 {
            push(&mut broker, &format!("$queue/{name}"), &number.to_string());
        }
    }
    let consumer = broker.attach(1);
    for name in names {
        let filter = format!("$queue/{name}");
        broker.subscribe(consumer, &filter).expect("a feed");
    }
    let done = broker.work_off(consumer);
    assert_eq!(done.len(), 12);
    for turn in done[1..10].chunks(3) {
        let topics: std::collections::BTreeSet<_> = turn.iter().map(|it| &it.topic).collect();
        assert_eq!(topics.len(), 3, "{turn:?}");
    }
}

#[test]
fn the_feeds_of_a_consumer_take_turns() {
    let mut broker = jobs("");
    let consumer = broker.attach(100);
    let plain = broker.subscribe(consumer, "$queue/jobs").expect("a feed");
    let levels = broker.subscribe(consumer, "$queue/jobs/#").expect("a feed");
    for number in 0..10 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    let deliveries = broker.deliveries(consumer);
    let on = |feed| deliveries.iter().filter(|it| it.feed == feed).count();
    assert_eq!((on(plain), on(levels)), (5, 5));
}

#[test]
fn prefetch_bounds_what_one_consumer_has() {
    let mut broker = jobs(r#"{"prefetch": 2}"#);
    let consumer = worker(&mut broker, "$queue/jobs", 100);
    for number in 0..5 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    let first = broker.deliveries(consumer);
    assert_eq!(payloads(&first), ["0", "1"]);
    broker.settle(consumer, first[0].delivery, Outcome::Done);
    assert_eq!(payloads(&broker.deliveries(consumer)), ["2"]);
    control(&mut broker, "alter", r#"{"prefetch": null}"#).expect("altered");
    assert_eq!(broker.deliveries(consumer).len(), 2);
}

#[test]
fn at_qos_0_what_was_sent_is_done_where_the_queue_allows_it() {
    let mut broker = jobs("");
    let consumer = broker.attach(1);
    let refused = broker.subscribe_at(consumer, "$queue/jobs", QoS::AtMostOnce);
    assert_eq!(code(refused), ErrorCode::BadOption);
    control(&mut broker, "alter", r#"{"allow_qos0": true}"#).expect("altered");
    let granted = broker.subscribe_at(consumer, "$queue/jobs", QoS::AtMostOnce);
    assert!(granted.is_ok());
    push(&mut broker, "$queue/jobs", "a");
    push(&mut broker, "$queue/jobs", "b");
    assert_eq!(payloads(&broker.deliveries(consumer)), ["a", "b"]);
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn an_unsubscribed_feed_gets_nothing_more_and_may_settle_what_it_had() {
    let mut broker = jobs("");
    let consumer = broker.attach(10);
    let feed = broker.subscribe(consumer, "$queue/jobs").expect("a feed");
    push(&mut broker, "$queue/jobs", "a");
    broker.unsubscribe(feed);
    push(&mut broker, "$queue/jobs", "b");
    let had = one(&mut broker, consumer);
    broker.settle(consumer, had.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "ready"), 1);
    assert_eq!(info(&mut broker, "leased"), 0);
    assert_eq!(info(&mut broker, "consumers"), 0);
}

#[test]
fn a_consumer_with_several_feeds_of_a_queue_may_be_lost() {
    let mut broker = jobs("");
    let lost = worker(&mut broker, "$queue/jobs", 1);
    for filter in ["$queue/jobs/#", "$queue/jobs/a/#"] {
        broker.subscribe(lost, filter).expect("a feed");
    }
    broker.detach(lost, true);
    push(&mut broker, "$queue/jobs/a", "a");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    assert_eq!(payload(&one(&mut broker, consumer)), "a");
}

#[test]
fn whoever_let_a_delivery_lapse_is_the_last_to_get_it_again() {
    for filter in ["$queue/jobs/x", "$queue/jobs/#"] {
        let mut broker = jobs("");
        let slow = worker(&mut broker, filter, 100);
        push(&mut broker, "$queue/jobs/x", "a");
        broker.wait(seconds(10));
        let other = worker(&mut broker, "$queue/jobs/#", 100);
        for _ in 0..9 {
            push(&mut broker, "$queue/jobs/y", "b");
        }
        for mut had in [broker.deliveries(slow), broker.deliveries(other)] {
            // One that lapsed counts, so the slow one has no more to do than the other.
            had.retain(|it| it.consumer == slow && payload(it) == "b");
            for delivery in had {
                broker.settle(slow, delivery.delivery, Outcome::Done);
            }
        }
        broker.wait(seconds(20));
        assert_eq!(payloads(&broker.deliveries(other)), ["a"], "{filter}");
        assert!(broker.deliveries(slow).is_empty());
    }
}
