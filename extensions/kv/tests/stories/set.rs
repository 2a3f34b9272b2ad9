//! Set, get, delete, and what has to be true.

use nexum_extension_api::ErrorCode;

use crate::common::*;

#[test]
fn what_is_set_is_there_until_it_is_deleted() {
    let mut broker = bucket("");
    assert_eq!(get(&mut broker, "a"), None);
    let first = put(&mut broker, "a", "1", &[]).expect("it is set");
    assert_eq!(text(&first), format!("{{\"rev\":{}}}", revision(&first)));
    assert_eq!(get(&mut broker, "a").as_deref(), Some("1"));
    let second = set(&mut broker, "a", "2");
    assert!(second > revision(&first));
    assert_eq!(get(&mut broker, "a").as_deref(), Some("2"));
    let third = delete(&mut broker, "a");
    assert!(third > second);
    assert_eq!(get(&mut broker, "a"), None);
    assert_eq!(delete(&mut broker, "a"), 0, "it was not there");
    assert!(set(&mut broker, "a", "3") > third);
}

#[test]
fn a_get_says_which_revision_it_is_and_which_was_the_first() {
    let mut broker = bucket("");
    let first = set(&mut broker, "a/b", "1");
    let second = set(&mut broker, "a/b", "2");
    let reply = put(&mut broker, "a/b/$get", "", &[]).expect("it is there");
    let expected = vec![("rev", second.into()), ("created", first.into())];
    assert_eq!(reply.properties, expected);
    delete(&mut broker, "a/b");
    let third = set(&mut broker, "a/b", "3");
    let reply = put(&mut broker, "a/b/$get", "", &[]).expect("it is there");
    assert_eq!(reply.properties[1], ("created", third.into()));
}

#[test]
fn of_two_that_ask_for_one_revision_one_is_refused() {
    let mut broker = bucket("");
    let first = set(&mut broker, "a", "1");
    let wanted = first.to_string();
    let second = put(&mut broker, "a", "2", &[("rev", &wanted)]).expect("it is that");
    let refused = put(&mut broker, "a", "3", &[("rev", &wanted)]);
    let refusal = refused.expect_err("it is not that any more");
    assert_eq!(refusal.code, ErrorCode::Conflict);
    assert_eq!(refusal.revision, Some(revision(&second)));
    assert_eq!(
        refusal.reason,
        format!(
            "the present revision is {}, and rev={first} was asked for",
            revision(&second)
        )
    );
    assert_eq!(get(&mut broker, "a").as_deref(), Some("2"));
    let wrong = put(&mut broker, "a", "", &[("rev", &wanted)]);
    assert_eq!(code(wrong), ErrorCode::Conflict, "of a deletion, too");
    let wrong = put(&mut broker, "a/$expire", "1", &[("rev", &wanted)]);
    assert_eq!(code(wrong), ErrorCode::Conflict);
}

#[test]
fn create_only_and_revision_zero_are_for_what_is_not_there() {
    let mut broker = bucket("");
    put(&mut broker, "a", "1", &[("nx", "1")]).expect("it is not there");
    let present = put(&mut broker, "a", "2", &[("nx", "1")]);
    assert_eq!(code(present), ErrorCode::Conflict);
    let present = put(&mut broker, "a", "2", &[("rev", "0")]);
    assert_eq!(code(present), ErrorCode::Conflict);
    put(&mut broker, "a", "2", &[("nx", "0")]).expect("that asks for nothing");
    delete(&mut broker, "a");
    let absent = put(&mut broker, "a", "3", &[("rev", "7")]);
    let refusal = absent.expect_err("it is not there");
    assert_eq!(refusal.revision, Some(0));
    assert_eq!(
        refusal.reason,
        "there is no such key, and rev=7 was asked for"
    );
    put(&mut broker, "a", "3", &[("rev", "0")]).expect("it is not there");
    assert_eq!(get(&mut broker, "a").as_deref(), Some("3"));
}

#[test]
fn what_means_nothing_is_refused() {
    let mut broker = bucket("");
    for (key, payload, pairs) in [
        ("a", "1", ("id", "x")),
        ("a", "1", ("prio", "1")),
        ("a", "", ("nx", "1")),
        ("a", "", ("ttl", "1")),
        ("a/$get", "", ("rev", "1")),
        ("a/$incr", "", ("nx", "1")),
        ("a/$expire", "1", ("ttl", "1")),
        ("$keys", "", ("rev", "1")),
        ("$ctl/info", "", ("rev", "1")),
    ] {
        let refused = put(&mut broker, key, payload, &[pairs]);
        assert_eq!(code(refused), ErrorCode::BadOption, "{key} {pairs:?}");
    }
    let long = "k".repeat(1025);
    for key in [
        "",
        "$get",
        "a/$got",
        "a/$get/b",
        "a/$keys",
        "a/$ctl/info",
        "$ctl/infos",
        &long,
    ] {
        let refused = put(&mut broker, key, "1", &[]);
        assert_eq!(code(refused), ErrorCode::BadAddress, "{key}");
    }
    for (key, payload) in [("a/$incr", "x"), ("a/$expire", "soon"), ("$keys", "[]")] {
        let refused = put(&mut broker, key, payload, &[]);
        assert_eq!(code(refused), ErrorCode::BadPayload, "{key}");
    }
    assert_eq!(counts(&mut broker), (0, 0));
    set(&mut broker, &"k".repeat(1024), "1");
    set(&mut broker, "/", "levels may be empty");
    assert_eq!(
        get(&mut broker, "/").as_deref(),
        Some("levels may be empty")
    );
}

#[test]
fn former_values_are_kept_as_far_as_the_bucket_says() {
    let mut broker = bucket(r#"{"history": 3}"#);
    let mut revisions = Vec::new();
    for payload in ["1", "2", "3", "4"] {
        revisions.push(set(&mut broker, "a", payload));
    }
    set(&mut broker, "a/b", "another");
    let touched = put(&mut broker, "a/$expire", "1h", &[]).expect("it is there");
    let history = put(&mut broker, "a/$history", "", &[]).expect("it is there");
    let ts = broker.now().as_micros() / 1000;
    let expected = serde_json::json!([
        {"rev": revision(&touched), "ts": ts, "payload": "4"},
        {"rev": revisions[2], "ts": ts, "payload": "3"},
        {"rev": revisions[1], "ts": ts, "payload": "2"},
    ]);
    assert_eq!(json(&history), expected);
    broker.restart().expect("readable");
    let history = put(&mut broker, "a/$history", "", &[]).expect("it is there");
    assert_eq!(json(&history), expected);
    control(&mut broker, "alter", r#"{"history": 1}"#).expect("altered");
    set(&mut broker, "a", "5");
    let history = put(&mut broker, "a/$history", "", &[]).expect("it is there");
    assert_eq!(json(&history).as_array().map(Vec::len), Some(1));
    delete(&mut broker, "a");
    let gone = put(&mut broker, "a/$history", "", &[]);
    assert_eq!(code(gone), ErrorCode::NotFound);
    // The mark, the bucket, and the other key.
    assert_eq!(broker.records().len(), 3);
}
