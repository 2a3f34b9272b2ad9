//! Orders: by key and by priority.

use nexum_extension_api::Outcome;

use crate::common::*;

#[test]
fn more_urgent_messages_go_first() {
    let mut broker = jobs(r#"{"order": "prio"}"#);
    for (payload, prio) in [("a", "0"), ("b", "9"), ("c", "255"), ("d", "9")] {
        push_with(&mut broker, "$queue/jobs", payload, &[("prio", prio)]);
    }
    push(&mut broker, "$queue/jobs", "e");
    broker.restart().expect("readable");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    let done = broker.work_off(consumer);
    assert_eq!(payloads(&done), ["c", "b", "d", "a", "e"]);
}

#[test]
fn a_priority_means_nothing_in_another_order() {
    let mut broker = jobs("");
    push(&mut broker, "$queue/jobs", "a");
    push_with(&mut broker, "$queue/jobs", "b", &[("prio", "9")]);
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    assert_eq!(payloads(&broker.work_off(consumer)), ["a", "b"]);
}

#[test]
fn of_each_key_one_message_is_out_at_a_time() {
    let mut broker = jobs(r#"{"order": "key"}"#);
    for (payload, key) in [
        ("a1", "a"),
        ("a2", "a"),
        ("b1", "b"),
        ("a3", "a"),
        ("b2", "b"),
    ] {
        push_with(&mut broker, "$queue/jobs", payload, &[("key", key)]);
    }
    push(&mut broker, "$queue/jobs", "x");
    push(&mut broker, "$queue/jobs", "y");
    push(&mut broker, "$queue/jobs/a", "a4");
    let first = worker(&mut broker, "$queue/jobs", 10);
    let second = worker(&mut broker, "$queue/jobs", 10);
    let mut out = broker.deliveries(first);
    let of_second = broker.deliveries(second);
    assert_eq!(out.len() + of_second.len(), 4);
    out.extend(of_second.clone());
    let mut shown = payloads(&out);
    shown.sort();
    assert_eq!(shown, ["a1", "b1", "x", "y"]);
    let is_of = |consumer| move |it: &&nexum_extension_api::Deliver| it.consumer == consumer;
    let a1 = out.iter().find(|it| payload(it) == "a1").expect("it");
    let holder = [first, second].into_iter().find(|it| is_of(*it)(&a1));
    broker.settle(holder.expect("it"), a1.delivery, Outcome::Done);
    let next = [broker.deliveries(first), broker.deliveries(second)].concat();
    assert_eq!(payloads(&next), ["a2"]);
}

#[test]
fn a_refused_head_keeps_its_key_back() {
    let mut broker =
        jobs(r#"{"order": "key", "max_attempts": 2, "backoff": {"first": "10s", "jitter": 0}}"#);
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    for payload in ["a", "b"] {
        push_with(&mut broker, "$queue/jobs", payload, &[("key", "k")]);
    }
    let head = one(&mut broker, consumer);
    broker.settle(consumer, head.delivery, refused(0x80));
    assert!(broker.deliveries(consumer).is_empty());
    broker.restart().expect("readable");
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    assert!(broker.deliveries(consumer).is_empty());
    broker.wait(seconds(10));
    let head = one(&mut broker, consumer);
    assert_eq!(payload(&head), "a");
    broker.settle(consumer, head.delivery, refused(0x80));
    assert_eq!(info(&mut broker, "dead"), 1);
    assert_eq!(payload(&one(&mut broker, consumer)), "b");
}

#[test]
fn a_selective_consumer_gets_a_key_in_order_with_the_others() {
    let mut broker = jobs(r#"{"order": "key"}"#);
    let eu = worker(&mut broker, "$queue/jobs/eu", 10);
    let us = worker(&mut broker, "$queue/jobs/us", 10);
    push_with(&mut broker, "$queue/jobs/eu", "1", &[("key", "k")]);
    push_with(&mut broker, "$queue/jobs/us", "2", &[("key", "k")]);
    push_with(&mut broker, "$queue/jobs/eu", "3", &[("key", "k")]);
    assert!(broker.deliveries(us).is_empty());
    let first = one(&mut broker, eu);
    broker.settle(eu, first.delivery, Outcome::Done);
    let second = one(&mut broker, us);
    assert!(broker.deliveries(eu).is_empty());
    broker.settle(us, second.delivery, Outcome::Done);
    assert_eq!(payload(&one(&mut broker, eu)), "3");
}

#[test]
fn the_order_changes_only_while_nothing_is_queued() {
    let mut broker = jobs("");
    push(&mut broker, "$queue/jobs", "a");
    let refusal = control(&mut broker, "alter", r#"{"order": "key"}"#).expect_err("refused");
    assert_eq!(refusal.code, nexum_extension_api::ErrorCode::Conflict);
    control(&mut broker, "purge", "").expect("purged");
    control(&mut broker, "alter", r#"{"order": "key"}"#).expect("altered");
    for payload in ["a", "b"] {
        push_with(&mut broker, "$queue/jobs", payload, &[("key", "k")]);
    }
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    assert_eq!(payload(&one(&mut broker, consumer)), "a");
}
