//! The process dies at each step of a message's life.

use std::time::Duration;

use nexum_delay::{Delay, Settings};
use nexum_extension_api::{Change, ErrorCode, Extension, Refusal, WhenRefused};
use nexum_types::Time;

use crate::bench::Bench;
use crate::{after, after_with_id, driver, gauges, payloads};

#[test]
fn what_is_past_due_is_published_at_once_in_order() {
    let mut driver = driver();
    for (payload, seconds) in [("b", 2), ("a", 1), ("late", 60), ("b2", 2)] {
        let stored = driver.publish_with("$delayed/at/t", payload.as_bytes(), after(seconds));
        stored.expect("it is stored");
    }
    let mut bench = Bench::new(Settings::default());
    bench.records = driver.records().clone();
    bench.now = driver.now() + Duration::from_secs(30);
    bench.restart();
    let payloads = std::iter::from_fn(|| bench.accept_next());
    let payloads: Vec<Vec<u8>> = payloads.map(|it| it.message.payload().to_vec()).collect();
    assert_eq!(payloads, [&b"a"[..], b"b", b"b2"]);
    bench.wait(Duration::from_secs(30));
    assert!(bench.accept_next().is_some());
}

#[test]
fn before_it_is_stored_nobody_was_told_and_nothing_is_published() {
    let mut bench = Bench::new(Settings::default());
    bench.is_quick = false;
    bench.publish("t", b"", after_with_id(1, "a"));
    assert_eq!(bench.unanswered(), 1);
    bench.restart();
    bench.is_quick = true;
    bench.store_all();
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.publications.len(), 0);
    let again = bench.publish("t", b"", after_with_id(1, "a"));
    assert!(matches!(bench.reply(again), Some(Ok(it)) if it.properties.is_empty()));
}

#[test]
fn after_it_is_stored_it_is_published() {
    let mut driver = driver();
    let stored = driver.publish_with("$delayed/at/t", b"x", after(5));
    stored.expect("it is stored");
    driver.restart().expect("its own records");
    assert_eq!(gauges(driver.extension()), (1.0, 26.0));
    driver.wait(Duration::from_secs(4));
    driver.restart().expect("its own records");
    assert_eq!(payloads(&mut driver), [""; 0]);
    driver.wait(Duration::from_secs(1));
    assert_eq!(payloads(&mut driver), ["x"]);
    driver.restart().expect("its own records");
    driver.wait(Duration::from_secs(10));
    assert_eq!(payloads(&mut driver), [""; 0]);
}

#[test]
fn while_it_is_read_or_published_it_comes_again_only_if_it_is_still_there() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"", after(1));
    bench.reads_at_once = false;
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.reads.len(), 1);
    bench.restart();
    assert_eq!(bench.reads.len(), 1, "it is read again");
    bench.reads_at_once = true;
    bench.answer_next_read();
    assert_eq!(bench.publications.len(), 1);
    bench.restart();
    assert_eq!(bench.publications.len(), 1, "it is published again");
    // The deletion is stored, the answer never comes.
    let [Change::Delete(key)] = &bench.publications[0].changes[..] else {
        panic!("it deletes its record");
    };
    bench.records.remove(key).expect("its own record");
    bench.restart();
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.publications.len(), 0);
}

#[test]
fn what_is_tried_again_is_tried_at_once_after_a_restart() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"", after(1));
    bench.wait(Duration::from_secs(1));
    bench.answer_next(Some(Refusal::new(ErrorCode::Unavailable, "")));
    assert_eq!(bench.publications.len(), 0);
    bench.restart();
    assert_eq!(bench.publications.len(), 1);
}

#[test]
fn a_cancellation_that_was_acknowledged_holds() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"1", after_with_id(1, "a"));
    bench.publish("t", b"2", after_with_id(1, "b"));
    bench.cancel("a");
    bench.is_quick = false;
    bench.cancel("b");
    bench.restart();
    bench.wait(Duration::from_secs(1));
    let publish = bench.accept_next().expect("nobody was told");
    assert_eq!(publish.message.payload(), b"2");
    assert_eq!(bench.publications.len(), 0);
}

#[test]
fn of_two_with_one_id_the_newer_is_meant() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"1", after_with_id(1, "a"));
    bench.is_quick = false;
    bench.cancel("a");
    bench.publish("t", b"2", after_with_id(1, "a"));
    bench.store_next(WhenRefused::Tell);
    assert_eq!(bench.stored(), 2);
    bench.restart();
    bench.store_all();
    assert_eq!(bench.stored(), 1);
    assert_eq!(gauges(&bench.delay).0, 1.0);
    bench.wait(Duration::from_secs(1));
    assert_eq!(
        bench.accept_next().expect("it is due").message.payload(),
        b"2"
    );
    assert_eq!(bench.publications.len(), 0);
}

/// The numbers of all messages that are stored.
fn numbers(bench: &Bench) -> Vec<u64> {
    let keys = bench
        .records
        .keys()
        .filter_map(|key| (**key).try_into().ok());
    keys.map(u64::from_be_bytes).collect()
}

#[test]
fn no_number_is_given_twice() {
    let mut bench = Bench::new(Settings::default());
    let mut last = None;
    for round in 0..5 {
        for _ in 0..3 {
            bench.publish("t", b"", after(1));
        }
        let given = numbers(&bench);
        assert_eq!(given.len(), 3);
        assert!(last < given.first().copied(), "{given:?} in round {round}");
        last = given.last().copied();
        bench.wait(Duration::from_secs(1));
        while bench.accept_next().is_some() {}
        assert_eq!(bench.stored(), 0, "nothing is left to tell");
        bench.restart();
        assert_eq!(bench.records.len(), 1, "there is one mark");
    }
}

#[test]
fn numbers_go_on_beyond_a_block() {
    let mut bench = Bench::new(Settings::default());
    for _ in 0..70_000 {
        bench.publish("t", b"", after(1));
    }
    assert_eq!(bench.unanswered(), 0);
    assert_eq!(bench.stored(), 70_000);
}

#[test]
fn what_it_did_not_write_is_not_read() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"", after(1));
    let value = bench.records.values().next().expect("a record").clone();
    for (key, value) in [
        (&b"12345678"[..], &b""[..]),
        (b"12345678", b"\x02"),
        (&[0xFF; 8], &value),
        (b"mark\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b"\x01"),
        (b"mark12345678", b"\x02"),
        (b"mark", b"\x01"),
        (b"", b""),
    ] {
        let mut delay = Delay::new(Settings::default());
        let restored = delay.restore(key, value, Time::ZERO);
        assert!(restored.is_err(), "{}", key.escape_ascii());
    }
}
