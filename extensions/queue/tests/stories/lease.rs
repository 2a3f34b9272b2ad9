//! The lease mode.

use nexum_extension_api::{ErrorCode, Outcome};

use crate::common::*;

#[test]
fn a_lease_is_settled_by_its_receipt_and_not_by_its_acknowledgement() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs/$lease/#", 10);
    push(&mut broker, "$queue/jobs/eu/new", "a");
    let lease = one(&mut broker, consumer);
    let receipt = receipt(&lease);
    assert_eq!(
        &*lease.topic,
        format!("$queue/jobs/$lease/{receipt}/1/eu/new")
    );
    broker.settle(consumer, lease.delivery, Outcome::Done);
    assert_eq!(info(&mut broker, "leased"), 1);
    let ack = format!("$queue/jobs/$ack/{receipt}");
    assert!(broker.publish(&ack, b"").is_ok());
    assert_eq!(info(&mut broker, "leased"), 0);
    assert_eq!(broker.records().len(), 2);
    assert!(broker.publish(&ack, b"").is_ok(), "once more is no error");
    let nack = format!("$queue/jobs/$nack/{receipt}");
    assert_eq!(code(broker.publish(&nack, b"")), ErrorCode::Conflict);
}

#[test]
fn a_lease_may_be_settled_before_it_is_acknowledged() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs/$lease/#", 1);
    push(&mut broker, "$queue/jobs", "a");
    push(&mut broker, "$queue/jobs", "b");
    let lease = one(&mut broker, consumer);
    let ack = format!("$queue/jobs/$ack/{}", receipt(&lease));
    assert!(broker.publish(&ack, b"").is_ok());
    assert!(broker.deliveries(consumer).is_empty(), "no credit yet");
    broker.settle(consumer, lease.delivery, Outcome::Done);
    assert_eq!(payload(&one(&mut broker, consumer)), "b");
}

#[test]
fn leases_take_credit_until_they_are_settled() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs/$lease/+/+/#", 2);
    for number in 0..5 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    let leases = broker.work_off(consumer);
    assert_eq!(leases.len(), 2, "though all of them are acknowledged");
    let ack = format!("$queue/jobs/$ack/{}", receipt(&leases[0]));
    assert!(broker.publish(&ack, b"").is_ok());
    assert_eq!(broker.work_off(consumer).len(), 1);
    broker.wait(seconds(30));
    assert_eq!(broker.work_off(consumer).len(), 2, "those lapsed");
}

#[test]
fn a_lease_is_given_back_rejected_or_extended() {
    let mut broker = jobs(r#"{"backoff": {"first": "10s", "jitter": 0}}"#);
    let consumer = worker(&mut broker, "$queue/jobs/$lease/#", 10);
    push(&mut broker, "$queue/jobs", "a");
    let command = |verb: &str, lease: &nexum_extension_api::Deliver, rest: &str| {
        format!("$queue/jobs/{verb}/{}{rest}", receipt(lease))
    };
    let lease = one(&mut broker, consumer);
    let nack = command("$nack", &lease, "/5s");
    assert!(broker.publish(&nack, b"").is_ok());
    broker.wait(seconds(5));
    let lease = one(&mut broker, consumer);
    assert!(lease.topic.ends_with("/2"), "{}", lease.topic);
    assert_eq!(code(broker.publish(&nack, b"")), ErrorCode::Conflict);
    let nack = command("$nack", &lease, "");
    assert!(broker.publish(&nack, b"").is_ok());
    broker.wait(seconds(19));
    assert!(broker.deliveries(consumer).is_empty());
    broker.wait(seconds(1));
    let lease = one(&mut broker, consumer);
    broker.wait(seconds(20));
    let extend = command("$extend", &lease, "/1m");
    assert!(broker.publish(&extend, b"").is_ok());
    broker.wait(seconds(59));
    assert!(broker.deliveries(consumer).is_empty());
    let reject = command("$reject", &lease, "");
    assert!(broker.publish(&reject, b"").is_ok());
    assert_eq!(info(&mut broker, "dead"), 1);
    assert_eq!(code(broker.publish(&extend, b"")), ErrorCode::Conflict);
}

#[test]
fn a_lease_that_lapsed_is_not_its_consumers_any_more() {
    let mut broker = jobs("");
    let slow = worker(&mut broker, "$queue/jobs/$lease/#", 1);
    push(&mut broker, "$queue/jobs", "a");
    let late = one(&mut broker, slow);
    broker.wait(seconds(30));
    let ack = format!("$queue/jobs/$ack/{}", receipt(&late));
    let refusal = broker.publish(&ack, b"").expect_err("refused");
    assert!(refusal.reason.contains("waits"), "{refusal}");
    let other = worker(&mut broker, "$queue/jobs/$lease/#", 1);
    assert_eq!(broker.deliveries(other).len(), 1);
    let refusal = broker.publish(&ack, b"").expect_err("refused");
    assert!(refusal.reason.contains("another"), "{refusal}");
}

#[test]
fn a_receipt_of_before_a_restart_is_good_until_somebody_else_has_the_message() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs/$lease/#", 10);
    for payload in ["a", "b", "c"] {
        push(&mut broker, "$queue/jobs", payload);
    }
    let leases = broker.work_off(consumer);
    let topic = |verb: &str, at: usize| format!("$queue/jobs/{verb}/{}", receipt(&leases[at]));
    broker.restart().expect("readable");
    assert!(broker.publish(&topic("$ack", 0), b"").is_ok());
    let extend = format!("{}/1m", topic("$extend", 1));
    assert!(broker.publish(&extend, b"").is_ok());
    let consumer = worker(&mut broker, "$queue/jobs/$lease/#", 10);
    assert_eq!(payload(&one(&mut broker, consumer)), "c");
    assert!(broker.publish(&topic("$ack", 1), b"").is_ok());
    let late = broker.publish(&topic("$ack", 2), b"");
    assert_eq!(code(late), ErrorCode::Conflict);
}

#[test]
fn a_key_that_fits_no_topic_is_in_its_property_alone() {
    let mut broker = jobs("");
    let with = worker(&mut broker, "$queue/jobs/$lease/+/+/eu/#", 10);
    let without = worker(&mut broker, "$queue/jobs/$lease/+/+", 10);
    push_with(&mut broker, "$queue/jobs", "a", &[("key", "a+b")]);
    push_with(&mut broker, "$queue/jobs/x", "b", &[("key", "eu")]);
    push(&mut broker, "$queue/jobs/eu/new", "c");
    let leases = broker.deliveries(without);
    assert_eq!(payloads(&leases), ["a"]);
    assert_eq!(property(&leases[0], "q-key").as_deref(), Some("a+b"));
    assert_eq!(payloads(&broker.deliveries(with)), ["b", "c"]);
}

#[test]
fn what_is_no_receipt_is_a_bad_address() {
    let mut broker = jobs("");
    for topic in [
        "$queue/jobs/$ack",
        "$queue/jobs/$ack/17",
        "$queue/jobs/$ack/x-y",
        "$queue/jobs/$ack/-",
        "$queue/jobs/$ack/+1-1",
        "$queue/jobs/$ack/1-1/30s",
        "$queue/jobs/$extend/1-1",
        "$queue/jobs/$extend/1-1/soon",
        "$queue/jobs/$lease/1-1",
        "$queue/jobs/x/$ack/1-1",
    ] {
        if !topic.contains('+') {
            assert_eq!(
                code(broker.publish(topic, b"")),
                ErrorCode::BadAddress,
                "{topic}"
            );
        }
    }
    assert_eq!(
        code(broker.publish("$queue/jobs/$ack/1-1", b"")),
        ErrorCode::Conflict
    );
}
