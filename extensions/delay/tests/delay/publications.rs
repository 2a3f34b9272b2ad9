//! What becomes of a publication.

use std::time::Duration;

use nexum_delay::Settings;
use nexum_extension_api::{ErrorCode, Input, PublicationId, ReadId, Refusal, Severity, WriteId};

use crate::bench::Bench;
use crate::{after, after_with_id, gauges};

fn refusal(code: ErrorCode) -> Option<Refusal> {
    Some(Refusal::new(code, "why"))
}

#[test]
fn what_takes_nothing_for_now_is_tried_again() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("busy", b"", after(1));
    bench.wait(Duration::from_secs(1));
    let mut expected = Duration::from_secs(1);
    for code in [ErrorCode::Unavailable, ErrorCode::QuotaExceeded].repeat(6) {
        assert!(bench.answer_next(refusal(code)).is_some());
        assert_eq!(bench.stored(), 1);
        bench.wait(expected - Duration::from_micros(1));
        assert_eq!(bench.publications.len(), 0, "{expected:?}");
        bench.wait(Duration::from_micros(1));
        assert_eq!(bench.publications.len(), 1, "{expected:?}");
        expected = (expected * 2).min(Duration::from_secs(300));
    }
    assert!(matches!(&bench.events[..], [(Severity::Info, text)] if text.contains("busy")));
    bench.accept_next();
    assert_eq!(bench.stored(), 0);
    assert_eq!(gauges(&bench.delay), (0.0, 0.0));
}

#[test]
fn others_do_not_wait_for_what_is_tried_again() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("busy", b"1", after(1));
    bench.publish("idle", b"2", after(2));
    bench.wait(Duration::from_secs(1));
    for _ in 0..2 {
        bench.answer_next(refusal(ErrorCode::Unavailable));
        bench.wait(Duration::from_secs(1));
    }
    let topics = bench.publications.iter().map(|it| &*it.topic);
    assert_eq!(topics.collect::<Vec<_>>(), ["idle"]);
}

#[test]
fn the_log_is_not_filled_with_what_is_tried_again() {
    let mut bench = Bench::new(Settings::default());
    for _ in 0..3 {
        bench.publish("t", b"", after(1));
    }
    bench.publish("u", b"", after(2));
    bench.wait(Duration::from_secs(1));
    for _ in 0..3 {
        bench.answer_next(refusal(ErrorCode::Unavailable));
    }
    bench.wait(Duration::from_secs(1));
    while bench.publications.len() > 1 {
        assert_eq!(&*bench.accept_next().expect("one").topic, "t");
    }
    // Nothing else is in trouble any more.
    bench.answer_next(refusal(ErrorCode::Unavailable));
    let severities: Vec<Severity> = bench.events.iter().map(|it| it.0).collect();
    use Severity::{Debug, Info};
    assert_eq!(severities, [Info, Debug, Debug, Info]);
}

#[test]
fn what_has_no_target_any_more_is_dropped() {
    for code in [
        ErrorCode::NotFound,
        ErrorCode::NotAuthorized,
        ErrorCode::BadAddress,
        ErrorCode::BadOption,
        ErrorCode::BadPayload,
        ErrorCode::Conflict,
        ErrorCode::WildcardInName,
    ] {
        let mut bench = Bench::new(Settings::default());
        bench.publish("$queue/gone", b"", after_with_id(1, "a"));
        bench.wait(Duration::from_secs(1));
        bench.answer_next(refusal(code));
        assert_eq!(bench.stored(), 0, "{code:?}");
        let events = &bench.events[..];
        assert!(
            matches!(events, [(Severity::Warn, text)] if text.contains("$queue/gone")),
            "{events:?}"
        );
        bench.wait(Duration::from_secs(1_000));
        assert_eq!(bench.publications.len(), 0);
        let again = bench.publish("t", b"", after_with_id(1, "a"));
        assert!(matches!(bench.reply(again), Some(Ok(it)) if it.properties.is_empty()));
    }
}

#[test]
fn a_thousand_are_under_way_at_once() {
    let mut bench = Bench::new(Settings::default());
    for number in 0..1_500_u32 {
        bench.publish("t", &number.to_be_bytes(), after(1));
    }
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.publications.len(), 1_000);
    let mut numbers = Vec::new();
    while let Some(publish) = bench.accept_next() {
        let number = publish.message.payload().try_into().expect("a number");
        numbers.push(u32::from_be_bytes(number));
        assert!(bench.publications.len() <= 1_000);
    }
    assert!(numbers.into_iter().eq(0..1_500), "in order");
    assert_eq!(bench.stored(), 0);
}

#[test]
fn bytes_under_way_are_bounded_but_whatever_was_taken_is_published() {
    const MIB: usize = 1024 * 1024;
    let mut bench = Bench::new(Settings::default());
    for mebibytes in [10, 5, 5, 40, 1] {
        bench.publish("t", &vec![0; mebibytes * MIB], after(1));
    }
    bench.wait(Duration::from_secs(1));
    let mut sizes = Vec::new();
    loop {
        let under_way = bench.publications.iter();
        let under_way: Vec<usize> = under_way
            .map(|it| it.message.payload().len() / MIB)
            .collect();
        if under_way.is_empty() {
            break;
        }
        sizes.push(under_way);
        bench.accept_next();
    }
    assert_eq!(sizes, [vec![10, 5], vec![5, 5], vec![5], vec![40], vec![1]]);
}

#[test]
fn what_cannot_be_read_is_lost_and_told() {
    let mut bench = Bench::new(Settings::default());
    bench.reads_at_once = false;
    for payload in [b"1", b"2", b"3"] {
        bench.publish("t", payload, after(1));
    }
    bench.wait(Duration::from_secs(1));
    let (read, keys) = bench.reads.pop_front().expect("a read");
    let whole = bench.records.get(&keys[2]).cloned();
    let values = vec![None, Some(Box::from(*b"\x02")), whole];
    bench.feed(Input::Read { read, values });
    let severities: Vec<Severity> = bench.events.iter().map(|it| it.0).collect();
    assert_eq!(severities, [Severity::Warn; 2]);
    assert_eq!(bench.stored(), 1);
    assert_eq!(
        bench.accept_next().expect("the third").message.payload(),
        b"3"
    );
    assert_eq!(gauges(&bench.delay), (0.0, 0.0));
}

#[test]
fn answers_to_what_was_not_asked_change_nothing() {
    let mut bench = Bench::new(Settings::default());
    bench.publish("t", b"", after(1));
    for name in 0..100 {
        let (write, refused) = (WriteId(name), None);
        bench.feed(Input::Written { write, refused });
        let (read, values) = (ReadId(name), vec![None]);
        bench.feed(Input::Read { read, values });
        let (publication, refused) = (PublicationId(name), refusal(ErrorCode::NotFound));
        bench.feed(Input::Published {
            publication,
            refused,
        });
    }
    bench.wait(Duration::from_secs(1));
    assert!(bench.accept_next().is_some());
}
