//! What is cancelled is never published after the reply.

use std::time::Duration;

use nexum_delay::Settings;
use nexum_extension_api::{CommandId, ErrorCode, Reply, WhenRefused};

use crate::bench::Bench;
use crate::{after_with_id, driver, gauges, payloads};

fn assert_not_found(bench: &Bench, cancel: CommandId) {
    let refusal = bench.reply(cancel).expect("a reply").clone();
    assert_eq!(refusal.expect_err("refused").code, ErrorCode::NotFound);
}

#[test]
fn what_is_cancelled_is_not_published() {
    let mut driver = driver();
    for id in ["a", "b/c"] {
        let stored = driver.publish_with("$delayed/at/t", id.as_bytes(), after_with_id(5, id));
        stored.expect("it is stored");
    }
    let cancelled = driver.publish("$delayed/_/$cancel/b/c", b"");
    assert_eq!(cancelled, Ok(Reply::default()));
    driver.wait(Duration::from_secs(5));
    assert_eq!(payloads(&mut driver), ["a"]);
    assert_eq!(gauges(driver.extension()), (0.0, 0.0));
    for id in ["a", "b/c", "never"] {
        let refusal = driver.publish(&format!("$delayed/_/$cancel/{id}"), b"");
        assert!(matches!(refusal, Err(it) if it.code == ErrorCode::NotFound));
    }
}

#[test]
fn a_cancellation_is_acknowledged_when_it_is_stored() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"", after_with_id(5, "a"));
    bench.is_quick = false;
    let first = bench.cancel("a");
    let second = bench.cancel("a");
    assert_eq!(bench.unanswered(), 2);
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.publications.len(), 0);
    bench.store_next(WhenRefused::Retry);
    for cancel in [first, second] {
        assert_eq!(bench.reply(cancel), Some(&Ok(Reply::default())));
    }
    let third = bench.cancel("a");
    assert_not_found(&bench, third);
}

#[test]
fn a_cancellation_waits_for_what_is_being_stored() {
    let mut bench = Bench::new(Settings::default());
    bench.is_quick = false;
    let first = bench.publish("t", b"1", after_with_id(0, "a"));
    let cancel = bench.cancel("a");
    // After the cancellation the id is free.
    let second = bench.publish("t", b"2", after_with_id(0, "a"));
    bench.store_next(WhenRefused::Tell);
    assert_eq!(bench.reply(first), Some(&Ok(Reply::default())));
    assert_eq!(bench.reply(cancel), None);
    bench.store_next(WhenRefused::Tell);
    assert_eq!(bench.reply(second), Some(&Ok(Reply::default())));
    bench.store_next(WhenRefused::Retry);
    assert_eq!(bench.reply(cancel), Some(&Ok(Reply::default())));
    assert_eq!(bench.publications.len(), 1);
    assert_eq!(bench.accept_next().expect("it").message.payload(), b"2");
    assert_eq!(bench.stored(), 0);
}

#[test]
fn there_is_nothing_to_cancel_of_what_was_refused() {
    let mut bench = Bench::new(Settings::default());
    bench.is_quick = false;
    bench.publish("t", b"", after_with_id(0, "a"));
    let cancel = bench.cancel("a");
    bench.refuse_next();
    assert_not_found(&bench, cancel);
}

#[test]
fn what_is_being_read_can_be_cancelled_and_what_is_being_published_cannot() {
    let mut bench = Bench::new(Settings::default());
    bench.reads_at_once = false;
    bench.publish("t", b"", after_with_id(1, "a"));
    bench.publish("t", b"", after_with_id(1, "b"));
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.reads.len(), 1);
    let in_time = bench.cancel("a");
    assert_eq!(bench.reply(in_time), Some(&Ok(Reply::default())));
    bench.answer_next_read();
    assert_eq!(bench.publications.len(), 1);
    let too_late = bench.cancel("b");
    assert_not_found(&bench, too_late);
    assert!(bench.accept_next().is_some());
    assert_eq!(bench.events, [], "what was cancelled is not lost");
}
