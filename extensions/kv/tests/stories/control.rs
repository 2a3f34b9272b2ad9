//! `$ctl`, limits, and buckets that come by themselves.

use std::cell::Cell;

use nexum_extension_api::ErrorCode;
use nexum_extension_api::driver::Store;
use nexum_kv::{BucketOptions, Buckets, Settings};

use crate::common::*;

#[test]
fn a_bucket_is_created_once_and_altered() {
    let mut broker = broker();
    let refusal = put(&mut broker, "a", "1", &[]).expect_err("there is none");
    assert_eq!(refusal.code, ErrorCode::NotFound);
    assert!(refusal.reason.contains("$kv/b/$ctl/create"));
    assert_eq!(code(control(&mut broker, "info", "")), ErrorCode::NotFound);
    control(&mut broker, "create", r#"{"max_keys": 5}"#).expect("created");
    control(&mut broker, "create", r#"{"max_keys": 5}"#).expect("it is the same");
    let other = control(&mut broker, "create", r#"{"max_keys": 6}"#);
    assert_eq!(code(other), ErrorCode::Conflict);
    control(&mut broker, "alter", r#"{"max_bytes": 100}"#).expect("altered");
    let other = control(&mut broker, "alter", r#"{"persist": false}"#);
    assert_eq!(code(other), ErrorCode::Conflict);
    let refusal = control(&mut broker, "alter", r#"{"max_byte": 1}"#).expect_err("a slip");
    assert_eq!(refusal.code, ErrorCode::BadPayload);
    assert_eq!(
        refusal.reason,
        "there is no 'max_byte'; did you mean 'max_bytes'?"
    );
    let unknown = control(&mut broker, "drop", "");
    assert_eq!(code(unknown), ErrorCode::BadAddress);
    broker.restart().expect("readable");
    assert_eq!(info(&mut broker, "options")["max_keys"], 5);
    assert_eq!(info(&mut broker, "options")["max_bytes"], 100);
}

#[test]
fn a_full_bucket_takes_no_more_but_changes_what_there_is() {
    let mut broker = bucket(r#"{"max_keys": 2, "max_bytes": 20, "max_value_bytes": 10}"#);
    set(&mut broker, "a", "123456789");
    set(&mut broker, "b", "1");
    let refusal = put(&mut broker, "c", "1", &[]).expect_err("two are enough");
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert_eq!(
        refusal.reason,
        "the bucket is full: its max_keys is reached"
    );
    assert!(refusal.retry_after.is_some());
    let refusal = put(&mut broker, "b", "1234567890", &[]).expect_err("too many bytes");
    assert_eq!(
        refusal.reason,
        "the bucket is full: its max_bytes is reached"
    );
    let refusal = put(&mut broker, "a", "12345678901", &[]).expect_err("too large");
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert!(refusal.retry_after.is_none(), "it will never fit");
    set(&mut broker, "b", "123456789");
    assert_eq!(counts(&mut broker), (2, 20));
    delete(&mut broker, "a");
    set(&mut broker, "c", "1");
    assert_eq!(counts(&mut broker), (2, 12));
    broker.restart().expect("readable");
    assert_eq!(counts(&mut broker), (2, 12));
}

#[test]
fn a_value_that_was_taken_may_be_touched_when_the_limit_is_lower() {
    let mut broker = bucket("");
    set(&mut broker, "n", "999");
    control(&mut broker, "alter", r#"{"max_value_bytes": 3}"#).expect("altered");
    let refused = put(&mut broker, "n/$incr", "", &[]);
    assert_eq!(code(refused), ErrorCode::QuotaExceeded);
    control(&mut broker, "alter", r#"{"max_value_bytes": 2}"#).expect("altered");
    put(&mut broker, "n/$expire", "1h", &[]).expect("it is there");
    put(&mut broker, "n/$decr", "900", &[]).expect("it is smaller");
}

#[test]
fn limits_hold_for_what_is_being_stored() {
    let mut broker = bucket(r#"{"max_keys": 1}"#);
    broker.set_store(Store::Slow);
    let first = broker.command("$kv/b/a", b"1", options(&[]));
    let second = put(&mut broker, "c", "1", &[]);
    assert_eq!(code(second), ErrorCode::QuotaExceeded);
    broker.commit();
    assert!(broker.take_reply(first).expect("an answer").is_ok());
}

#[test]
fn a_bucket_that_is_deleted_leaves_nothing() {
    // Four records for each key, so that what is read at once is removed in parts.
    let mut broker = bucket(r#"{"history": 3}"#);
    let consumer = watcher(&mut broker, "$kv/b/#", 1000);
    for number in 0..300 {
        put(&mut broker, &number.to_string(), "1", &[("ttl", "1h")]).expect("it is set");
        set(&mut broker, &number.to_string(), "2");
        put(&mut broker, &number.to_string(), "3", &[("ttl", "1h")]).expect("it is set");
    }
    broker.work_off(consumer);
    broker.set_store(Store::Slow);
    let late = broker.command("$kv/b/late", b"1", options(&[("ttl", "1h")]));
    let deleted = broker.command("$kv/b/$ctl/delete", b"", options(&[]));
    broker.set_store(Store::Quick);
    let late = broker.take_reply(late).expect("an answer");
    assert_eq!(code(late), ErrorCode::NotFound);
    assert!(broker.take_reply(deleted).expect("an answer").is_ok());
    assert_eq!(broker.records().len(), 1, "the mark");
    assert!(broker.deliveries(consumer).is_empty());
    control(&mut broker, "create", "").expect("created");
    assert_eq!(get(&mut broker, "1"), None);
    broker.wait(seconds(4000));
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn what_a_crash_left_of_a_deletion_goes_at_the_start() {
    let mut broker = bucket("");
    for number in 0..600 {
        put(&mut broker, &number.to_string(), "1", &[("ttl", "1h")]).expect("it is set");
    }
    broker.set_store(Store::Slow);
    let deleted = broker.command("$kv/b/$ctl/delete", b"", options(&[]));
    broker.commit();
    assert!(broker.take_reply(deleted).expect("an answer").is_ok());
    broker.restart().expect("readable");
    assert!(broker.records().len() > 600, "most of it is there");
    broker.set_store(Store::Quick);
    assert_eq!(broker.records().len(), 1, "the mark");
    assert_eq!(code(control(&mut broker, "info", "")), ErrorCode::NotFound);
}

#[test]
fn a_purge_deletes_each_key_and_tells() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/7", 10);
    for number in 0..600 {
        set(&mut broker, &number.to_string(), "1");
    }
    let reply = control(&mut broker, "purge", "").expect("purged");
    assert_eq!(text(&reply), r#"{"purged":600}"#);
    assert_eq!(told(&broker.work_off(consumer)), ["set 7=1", "del 7="]);
    assert_eq!(counts(&mut broker), (0, 0));
    let reply = control(&mut broker, "purge", "").expect("purged");
    assert_eq!(text(&reply), r#"{"purged":0}"#);
    set(&mut broker, "a", "1");
    broker.set_store(Store::Full);
    let refused = control(&mut broker, "purge", "");
    assert_eq!(code(refused), ErrorCode::Unavailable);
    assert_eq!(get(&mut broker, "a").as_deref(), Some("1"));
}

#[test]
fn a_bucket_comes_with_the_first_use_if_that_is_how_it_is_set() {
    let settings = Settings {
        auto_create: true,
        maximum_buckets: 1,
        ..Settings::default()
    };
    let mut broker = broker_with(settings);
    broker.set_store(Store::Slow);
    for key in ["a/$get", "a/$expire", "$keys", "a"] {
        let refused = put(&mut broker, key, "", &[]);
        assert_eq!(code(refused), ErrorCode::NotFound, "{key} is no beginning");
    }
    let first = broker.command("$kv/b/a/$incr", b"", options(&[]));
    let list = broker.command("$kv/b/$keys", b"", options(&[]));
    let second = broker.command("$kv/b/a/$incr", b"", options(&[]));
    let many = broker.publish("$kv/c/a", b"1");
    assert_eq!(code(many), ErrorCode::QuotaExceeded);
    broker.commit();
    broker.commit();
    for (command, expected) in [(first, "1"), (second, "2")] {
        let reply = broker.take_reply(command).expect("an answer");
        assert_eq!(text(&reply.expect("it counts")), expected);
    }
    assert!(broker.take_reply(list).expect("an answer").is_ok());
}

#[test]
fn a_bucket_that_cannot_be_stored_is_not_there() {
    let settings = Settings {
        auto_create: true,
        ..Settings::default()
    };
    let mut broker = broker_with(settings);
    broker.set_store(Store::Full);
    let refused = put(&mut broker, "a", "1", &[]);
    assert_eq!(code(refused), ErrorCode::Unavailable);
    let consumer = broker.attach(1);
    let refused = broker.subscribe(consumer, "$kv/b/#");
    assert_eq!(code(refused), ErrorCode::Unavailable);
    broker.set_store(Store::Quick);
    set(&mut broker, "a", "1");
}

#[test]
fn declared_buckets_are_there_and_follow_the_configuration() {
    let declared = |max_keys, persist| {
        let options = BucketOptions {
            max_keys,
            persist,
            ..BucketOptions::default()
        };
        Settings {
            declared: vec![
                ("b".to_owned(), options),
                ("..".to_owned(), BucketOptions::default()),
            ],
            ..Settings::default()
        }
    };
    // What the configuration says at each start.
    let starts = Cell::new(0);
    let mut broker = Broker::new(move || {
        let start = starts.replace(starts.get() + 1);
        Buckets::new(if start == 0 {
            declared(1, true)
        } else {
            declared(2, false)
        })
    });
    assert_eq!(broker.events().len(), 1, "one has no name");
    set(&mut broker, "a", "1");
    assert_eq!(
        code(put(&mut broker, "c", "1", &[])),
        ErrorCode::QuotaExceeded
    );
    broker.restart().expect("readable");
    assert_eq!(broker.events().len(), 2, "and it stays in the store");
    set(&mut broker, "c", "1");
    broker.restart().expect("readable");
    assert_eq!(get(&mut broker, "c").as_deref(), Some("1"));
}
