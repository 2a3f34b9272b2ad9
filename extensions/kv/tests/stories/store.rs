//! A store that is slow, or takes nothing.

use nexum_extension_api::ErrorCode;
use nexum_extension_api::driver::Store;

use crate::common::*;

#[test]
fn nothing_is_acknowledged_before_it_is_stored() {
    let mut broker = bucket("");
    broker.set_store(Store::Slow);
    let set = broker.command("$kv/b/a", b"1", options(&[]));
    let gone = broker.command("$kv/b/a", b"", options(&[]));
    let again = broker.command("$kv/b/a", b"", options(&[]));
    assert!(broker.take_reply(set).is_none());
    assert!(
        broker.take_reply(again).is_none(),
        "that it is not there is not stored yet"
    );
    broker.commit();
    assert!(broker.take_reply(set).expect("an answer").is_ok());
    assert!(broker.take_reply(gone).expect("an answer").is_ok());
    let again = broker.take_reply(again).expect("an answer").expect("done");
    assert_eq!(revision(&again), 0);
}

#[test]
fn that_a_key_is_gone_is_not_told_before_it_is() {
    let mut broker = bucket("");
    set(&mut broker, "a", "1");
    broker.set_store(Store::Slow);
    broker.command("$kv/b/a", b"", options(&[]));
    let get = broker.command("$kv/b/a/$get", b"", options(&[]));
    assert!(broker.take_reply(get).is_none());
    broker.set_store(Store::Full);
    broker.commit();
    let value = broker.take_reply(get).expect("an answer").expect("there");
    assert_eq!(text(&value), "1");
}

#[test]
fn a_refusal_takes_along_what_was_built_on_it() {
    let mut broker = bucket(r#"{"max_keys": 2}"#);
    let first = set(&mut broker, "a", "5");
    broker.set_store(Store::Slow);
    let commands: Vec<_> = [("a/$incr", ""), ("a/$incr", ""), ("c", "1"), ("a/$get", "")]
        .into_iter()
        .map(|(key, payload)| {
            broker.command(&format!("$kv/b/{key}"), payload.as_bytes(), options(&[]))
        })
        .collect();
    broker.set_store(Store::Full);
    broker.commit();
    let mut answers: Vec<_> = commands
        .into_iter()
        .map(|command| broker.take_reply(command).expect("an answer"))
        .collect();
    let value = answers.pop().expect("the get");
    assert_eq!(
        text(&value.expect("it is there")),
        "5",
        "it was not changed"
    );
    for answer in answers {
        assert_eq!(code(answer), ErrorCode::Unavailable);
    }
    broker.set_store(Store::Quick);
    let wanted = first.to_string();
    put(&mut broker, "a", "6", &[("rev", &wanted)]).expect("it is what it was");
    set(&mut broker, "c", "there is room");
    assert_eq!(counts(&mut broker), (2, 16));
}

#[test]
fn revisions_go_on_behind_all_that_were_used() {
    let mut broker = bucket("");
    let mut last = set(&mut broker, "a", "1");
    for _ in 0..3 {
        let gone = delete(&mut broker, "a");
        assert!(gone > last);
        broker.restart().expect("readable");
        last = set(&mut broker, "a", "1");
        assert!(last > gone);
    }
    assert_eq!(counts(&mut broker), (1, 2));
}

#[test]
fn a_mark_that_was_refused_is_written_again() {
    let mut broker = bucket("");
    broker.restart().expect("readable");
    broker.set_store(Store::Full);
    let refused = put(&mut broker, "a", "1", &[]);
    assert_eq!(code(refused), ErrorCode::Unavailable);
    broker.set_store(Store::Quick);
    let used = set(&mut broker, "a", "1");
    delete(&mut broker, "a");
    broker.restart().expect("readable");
    assert!(set(&mut broker, "a", "1") > used + 1);
}
