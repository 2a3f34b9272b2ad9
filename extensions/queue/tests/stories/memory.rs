//! What is held in memory, and what is only in the store.

use nexum_extension_api::Extension;
use nexum_queue::Settings;

use crate::common::*;

fn small() -> Broker {
    let mut broker = broker_with(Settings {
        memory_bytes: 10_000,
        ..Settings::default()
    });
    create(&mut broker, "jobs", "");
    broker
}

fn held(broker: &Broker) -> f64 {
    let gauges = broker.extension().gauges();
    let held = gauges
        .iter()
        .find(|it| it.name == "nexum_queues_memory_bytes");
    held.expect("a gauge").value
}

#[test]
fn messages_beyond_the_limit_are_read_back_in_their_order() {
    for is_restarted in [false, true] {
        let mut broker = small();
        let filler = "x".repeat(100);
        for number in 0..1000 {
            push(&mut broker, "$queue/jobs", &format!("{number:04}{filler}"));
        }
        assert!(held(&broker) <= 10_000.0);
        if is_restarted {
            broker.restart().expect("readable");
            assert!(held(&broker) <= 10_000.0);
        }
        let consumer = worker(&mut broker, "$queue/jobs", 3);
        let done = broker.work_off(consumer);
        assert_eq!(done.len(), 1000);
        for (number, delivery) in done.iter().enumerate() {
            assert_eq!(&payload(delivery)[..4], format!("{number:04}"));
        }
        assert_eq!(held(&broker), 0.0);
        assert_eq!(broker.records().len(), 2);
    }
}

#[test]
fn levels_and_properties_come_back_from_the_store() {
    let mut broker = broker_with(Settings {
        memory_bytes: 0,
        ..Settings::default()
    });
    create(&mut broker, "jobs", "");
    push_with(
        &mut broker,
        "$queue/jobs/eu",
        "a",
        &[("key", "k"), ("prio", "3")],
    );
    push(&mut broker, "$queue/jobs/us", "b");
    broker.restart().expect("readable");
    let eu = worker(&mut broker, "$queue/jobs/eu/#", 1);
    let delivery = one(&mut broker, eu);
    assert_eq!(&*delivery.topic, "$queue/jobs/eu");
    assert_eq!(property(&delivery, "q-key").as_deref(), Some("k"));
    assert!(property(&delivery, "q-ts").is_some());
    assert!(held(&broker) > 0.0, "it is with a consumer");
}

#[test]
fn what_cannot_be_read_does_not_stop_what_is_behind_it() {
    let mut broker = small();
    let large = "x".repeat(20_000);
    push(&mut broker, "$queue/jobs", &large);
    push(&mut broker, "$queue/jobs", &large);
    push(&mut broker, "$queue/jobs", "b");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    assert_eq!(broker.work_off(consumer).len(), 3);
}

#[test]
fn a_dead_letter_is_read_back() {
    let mut broker = small();
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let delivery = one(&mut broker, consumer);
    broker.settle(consumer, delivery.delivery, refused(0x99));
    assert_eq!(held(&broker), 0.0);
    let dead = worker(&mut broker, "$queue/jobs/$dlq", 1);
    assert_eq!(payload(&one(&mut broker, dead)), "a");
}
