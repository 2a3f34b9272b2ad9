//! Dead letters.

use nexum_extension_api::ErrorCode;

use crate::common::*;

/// A broker with so many dead letters, named by numbers from 0.
fn dead(options: &str, count: usize) -> Broker {
    let mut broker = jobs(options);
    let consumer = worker(&mut broker, "$queue/jobs", 100);
    for number in 0..count {
        push(&mut broker, "$queue/jobs", &number.to_string());
        let delivery = one(&mut broker, consumer);
        broker.settle(consumer, delivery.delivery, refused(0x99));
    }
    broker.detach(consumer, true);
    broker
}

fn ids(broker: &mut Broker) -> Vec<u64> {
    let reply = control(broker, "dlq.peek", r#"{"limit": 100}"#).expect("shown");
    let shown: serde_json::Value = serde_json::from_slice(&reply.payload).expect("JSON");
    let shown = shown.as_array().expect("a list").iter();
    shown
        .map(|it| it["id"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn beyond_their_limit_the_oldest_is_dropped() {
    let mut broker = dead(r#"{"dlq_max_len": 2}"#, 5);
    let consumer = worker(&mut broker, "$queue/jobs/$dlq", 10);
    assert_eq!(payloads(&broker.work_off(consumer)), ["3", "4"]);
    let mut broker = dead(r#"{"dlq_max_len": 0}"#, 2);
    assert_eq!(info(&mut broker, "dead"), 0);
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn they_are_redriven_with_no_attempts() {
    let mut broker = dead("", 3);
    let ids = ids(&mut broker);
    let one_id = format!(r#"{{"id": {}}}"#, ids[1]);
    let reply = control(&mut broker, "dlq.redrive", &one_id).expect("redriven");
    assert_eq!(reply.payload, br#"{"redriven":1}"#);
    broker.restart().expect("readable");
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    let again = one(&mut broker, consumer);
    assert_eq!(payload(&again), "1");
    assert_eq!(property(&again, "q-attempt").as_deref(), Some("1"));
    control(&mut broker, "dlq.redrive", r#"{"all": true}"#).expect("redriven");
    assert_eq!(payloads(&broker.deliveries(consumer)), ["0", "2"]);
    let unknown = control(&mut broker, "dlq.redrive", &one_id);
    assert_eq!(code(unknown), ErrorCode::NotFound);
}

#[test]
fn they_are_deleted_and_purged() {
    let mut broker = dead("", 4);
    let ids = ids(&mut broker);
    let two = format!(r#"{{"ids": [{}, {}]}}"#, ids[0], ids[2]);
    control(&mut broker, "dlq.delete", &two).expect("deleted");
    assert_eq!(info(&mut broker, "dead"), 2);
    let consumer = worker(&mut broker, "$queue/jobs/$dlq", 1);
    assert_eq!(payload(&one(&mut broker, consumer)), "1");
    let with_consumer = format!(r#"{{"id": {}}}"#, ids[1]);
    let refused = control(&mut broker, "dlq.delete", &with_consumer);
    assert_eq!(code(refused), ErrorCode::Conflict);
    control(&mut broker, "dlq.purge", "").expect("purged");
    assert_eq!(info(&mut broker, "dead"), 1, "a consumer has it");
}

#[test]
fn a_lost_consumer_of_dead_letters_gives_them_back() {
    let mut broker = dead("", 1);
    let consumer = worker(&mut broker, "$queue/jobs/$dlq", 1);
    assert_eq!(broker.deliveries(consumer).len(), 1);
    let other = worker(&mut broker, "$queue/jobs/$dlq", 1);
    broker.wait(seconds(30));
    let letter = one(&mut broker, other);
    assert_eq!(property(&letter, "dlq-attempts").as_deref(), Some("1"));
}

#[test]
fn a_selection_says_what_it_takes() {
    let mut broker = dead("", 1);
    for wrong in ["", "{}", r#"{"all": false}"#, r#"{"id": 1, "all": true}"#] {
        let refusal = control(&mut broker, "dlq.redrive", wrong).expect_err(wrong);
        assert_eq!(refusal.code, ErrorCode::BadPayload);
        assert!(refusal.reason.contains("\"all\": true"), "{refusal}");
    }
}
