//! Full queues.

use nexum_extension_api::{ErrorCode, Outcome};
use nexum_queue::Settings;

use crate::common::*;

#[test]
fn a_full_queue_refuses_and_says_when_to_try_again() {
    let mut broker = jobs(r#"{"max_len": 2}"#);
    push(&mut broker, "$queue/jobs", "a");
    push_with(&mut broker, "$queue/jobs", "b", &[("delay", "1h")]);
    let refusal = broker.publish("$queue/jobs", b"c").expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert_eq!(refusal.retry_after, Some(seconds(1)));
    assert!(refusal.reason.contains("max_len"));
    // What a consumer has counts, too.
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    let had = one(&mut broker, consumer);
    assert!(broker.publish("$queue/jobs", b"c").is_err());
    broker.settle(consumer, had.delivery, Outcome::Done);
    assert!(broker.publish("$queue/jobs", b"c").is_ok());
}

#[test]
fn bytes_are_bounded_as_well() {
    let mut broker = jobs(r#"{"max_bytes": 1000}"#);
    let payload = "x".repeat(400);
    push(&mut broker, "$queue/jobs", &payload);
    push(&mut broker, "$queue/jobs", &payload);
    let refusal = broker.publish("$queue/jobs", payload.as_bytes());
    assert!(refusal.expect_err("refused").reason.contains("max_bytes"));
    let large = broker.publish("$queue/jobs", &[0; 1001]);
    assert_eq!(code(large), ErrorCode::QuotaExceeded);
}

#[test]
fn the_oldest_goes_where_that_is_wanted_but_never_what_a_consumer_has() {
    for order in ["fifo", "prio", "key"] {
        let mut broker = jobs(&format!(
            r#"{{"max_len": 3, "overflow": "drop_oldest", "order": "{order}"}}"#
        ));
        let consumer = worker(&mut broker, "$queue/jobs", 1);
        for payload in ["a", "b", "c", "d", "e"] {
            push(&mut broker, "$queue/jobs", payload);
        }
        assert_eq!(payloads(&broker.work_off(consumer)), ["a", "d", "e"]);
        assert_eq!(broker.records().len(), 2);
    }
}

#[test]
fn where_nothing_may_be_dropped_a_push_is_refused() {
    let mut broker = jobs(r#"{"max_len": 1, "overflow": "drop_oldest"}"#);
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    assert_eq!(broker.deliveries(consumer).len(), 1);
    let refused = broker.publish("$queue/jobs", b"b");
    assert_eq!(code(refused), ErrorCode::QuotaExceeded);
}

#[test]
fn the_oldest_becomes_a_dead_letter_where_that_is_wanted() {
    let mut broker = jobs(r#"{"max_len": 1, "overflow": "dlq"}"#);
    push(&mut broker, "$queue/jobs", "a");
    push(&mut broker, "$queue/jobs", "b");
    let dead = worker(&mut broker, "$queue/jobs/$dlq", 10);
    let letter = one(&mut broker, dead);
    assert_eq!(payload(&letter), "a");
    assert_eq!(property(&letter, "dlq-reason").as_deref(), Some("overflow"));
}

#[test]
fn queues_are_bounded() {
    let mut broker = broker_with(Settings {
        maximum_queues: 2,
        ..Settings::default()
    });
    create(&mut broker, "a", "");
    create(&mut broker, "b", "");
    let third = broker.publish("$queue/c/$ctl/create", b"");
    assert_eq!(code(third), ErrorCode::QuotaExceeded);
    broker
        .publish("$queue/a/$ctl/delete", b"")
        .expect("deleted");
    create(&mut broker, "c", "");
}
