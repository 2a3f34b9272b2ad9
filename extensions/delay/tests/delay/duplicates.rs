//! One message of each `id` at a time.

use std::time::Duration;

use nexum_delay::Settings;
use nexum_extension_api::{ErrorCode, Label, Refusal, Reply, WhenRefused};

use crate::bench::Bench;
use crate::{after_with_id, driver, payloads};

fn duplicate() -> Result<Reply, Refusal> {
    Ok(Reply {
        payload: Vec::new(),
        properties: vec![("duplicate", Label::Number(1))],
    })
}

#[test]
fn a_duplicate_is_acknowledged_and_dropped() {
    let mut driver = driver();
    let first = driver.publish_with("$delayed/at/t", b"1", after_with_id(5, "a"));
    assert_eq!(first, Ok(Reply::default()));
    let second = driver.publish_with("$delayed/at/t", b"2", after_with_id(1, "a"));
    assert_eq!(second, duplicate());
    let other = driver.publish_with("$delayed/at/t", b"3", after_with_id(1, "b"));
    assert_eq!(other, Ok(Reply::default()));
    driver.restart().expect("its own records");
    let third = driver.publish_with("$delayed/at/t", b"4", after_with_id(1, "a"));
    assert_eq!(third, duplicate());
    driver.wait(Duration::from_secs(10));
    assert_eq!(payloads(&mut driver), ["3", "1"]);
    // It is not pending any more.
    let fourth = driver.publish_with("$delayed/at/t", b"5", after_with_id(1, "a"));
    assert_eq!(fourth, Ok(Reply::default()));
    driver.wait(Duration::from_secs(10));
    assert_eq!(payloads(&mut driver), ["5"]);
}

#[test]
fn a_duplicate_of_what_is_being_stored_shares_its_fate() {
    for is_stored in [true, false] {
        let mut bench = Bench::new(Settings::default());
        bench.is_quick = false;
        let first = bench.publish("t", b"1", after_with_id(5, "a"));
        let second = bench.publish("t", b"2", after_with_id(5, "a"));
        assert_eq!(bench.unanswered(), 2);
        assert_eq!(bench.telling.len(), 1);
        if is_stored {
            bench.store_next(WhenRefused::Tell);
            assert_eq!(bench.reply(first), Some(&Ok(Reply::default())));
            assert_eq!(bench.reply(second), Some(&duplicate()));
        } else {
            bench.refuse_next();
            for command in [first, second] {
                let refusal = bench.reply(command).expect("a reply").clone();
                assert_eq!(refusal.expect_err("refused").code, ErrorCode::Unavailable);
            }
            // The id is free.
            let third = bench.publish("t", b"3", after_with_id(5, "a"));
            bench.store_next(WhenRefused::Tell);
            assert_eq!(bench.reply(third), Some(&Ok(Reply::default())));
        }
    }
}

#[test]
fn what_is_being_published_is_pending_still() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"1", after_with_id(1, "a"));
    bench.wait(Duration::from_secs(1));
    let second = bench.publish("t", b"2", after_with_id(1, "a"));
    assert_eq!(bench.reply(second), Some(&duplicate()));
    // Its target takes nothing: it is pending again.
    bench.answer_next(Some(Refusal::new(ErrorCode::Unavailable, "")));
    let third = bench.publish("t", b"3", after_with_id(1, "a"));
    assert_eq!(bench.reply(third), Some(&duplicate()));
    bench.wait(Duration::from_secs(1));
    assert!(bench.accept_next().is_some());
    let fourth = bench.publish("t", b"4", after_with_id(1, "a"));
    assert_eq!(bench.reply(fourth), Some(&Ok(Reply::default())));
}

#[test]
fn an_id_is_free_when_it_is_cancelled() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"1", after_with_id(1, "a"));
    bench.is_quick = false;
    let cancel = bench.cancel("a");
    let second = bench.publish("t", b"2", after_with_id(1, "a"));
    // Whatever is stored first.
    bench.store_next(WhenRefused::Tell);
    assert_eq!(bench.reply(second), Some(&Ok(Reply::default())));
    bench.store_next(WhenRefused::Retry);
    assert_eq!(bench.reply(cancel), Some(&Ok(Reply::default())));
    let third = bench.publish("t", b"3", after_with_id(1, "a"));
    assert_eq!(
        bench.reply(third),
        Some(&duplicate()),
        "the second is pending"
    );
    bench.wait(Duration::from_secs(1));
    assert_eq!(
        bench.accept_next().expect("it is due").message.payload(),
        b"2"
    );
    assert_eq!(bench.publications.len(), 0);
}
