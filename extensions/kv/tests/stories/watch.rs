//! Watchers: what there is, what changes, and those that take it slowly.

use nexum_extension_api::driver::Store;
use nexum_extension_api::{Address, ErrorCode, FeedId, Input, Subscribe};
use nexum_kv::Settings;
use nexum_types::QoS;

use crate::common::*;

#[test]
fn a_watcher_is_told_what_there_is_and_then_what_changes() {
    let mut broker = bucket("");
    set(&mut broker, "a/x", "1");
    let revision = set(&mut broker, "a/y", "2");
    set(&mut broker, "b", "3");
    let consumer = watcher(&mut broker, "$kv/b/a/+", 10);
    let present = broker.work_off(consumer);
    assert_eq!(told(&present), ["set a/x=1 retained", "set a/y=2 retained"]);
    assert_eq!(
        property(&present[1], "rev").as_deref(),
        Some(&*revision.to_string())
    );
    set(&mut broker, "a/z", "4");
    put(&mut broker, "a/x/$decr", "3", &[]).expect("it counts");
    set(&mut broker, "b", "5");
    let gone = delete(&mut broker, "a/y");
    delete(&mut broker, "a/y");
    let changes = broker.work_off(consumer);
    assert_eq!(told(&changes), ["set a/z=4", "incr a/x=-2", "del a/y="]);
    assert_eq!(
        property(&changes[2], "rev").as_deref(),
        Some(&*gone.to_string())
    );
}

#[test]
fn a_feed_of_a_key_is_a_get_and_a_watch() {
    let mut broker = bucket("");
    set(&mut broker, "a", "1");
    set(&mut broker, "a/b", "2");
    let consumer = watcher(&mut broker, "$kv/b/a", 10);
    set(&mut broker, "a!", "3");
    set(&mut broker, "a", "4");
    assert_eq!(
        told(&broker.work_off(consumer)),
        ["set a=1 retained", "set a=4"]
    );
    let all = watcher(&mut broker, "$kv/b/a/#", 10);
    assert_eq!(
        told(&broker.work_off(all)),
        ["set a=4 retained", "set a/b=2 retained"]
    );
}

#[test]
fn who_wants_changes_alone_gets_changes_alone() {
    let mut broker = bucket("");
    set(&mut broker, "a", "1");
    let consumer = broker.attach(10);
    broker
        .subscribe_to_changes(consumer, "$kv/b/#")
        .expect("a feed");
    set(&mut broker, "b", "2");
    assert_eq!(told(&broker.work_off(consumer)), ["set b=2"]);
}

#[test]
fn a_session_that_comes_back_is_told_what_there_is() {
    let mut broker = bucket("");
    set(&mut broker, "a", "1");
    let consumer = watcher(&mut broker, "$kv/b/#", 10);
    broker.work_off(consumer);
    broker.detach(consumer, false);
    set(&mut broker, "a", "2");
    set(&mut broker, "a", "3");
    broker.attach_again(consumer, 10);
    broker.subscribe(consumer, "$kv/b/#").expect("a feed");
    assert_eq!(told(&broker.work_off(consumer)), ["set a=3 retained"]);
}

#[test]
fn what_there_is_comes_as_far_as_there_is_credit_and_changes_come_once() {
    let mut broker = bucket("");
    for key in ["a", "b", "c", "d"] {
        set(&mut broker, key, "1");
    }
    let consumer = watcher(&mut broker, "$kv/b/#", 1);
    // The first page is read, so all of this is told as it happens.
    set(&mut broker, "a", "2");
    delete(&mut broker, "b");
    set(&mut broker, "e", "1");
    let all = broker.work_off(consumer);
    let expected = [
        "set a=1 retained",
        "set b=1 retained",
        "set c=1 retained",
        "set d=1 retained",
        "set a=2",
        "del b=",
        "set e=1",
    ];
    assert_eq!(told(&all), expected);
}

#[test]
fn what_was_not_read_yet_is_read_as_it_is_then() {
    let mut broker = bucket("");
    for number in 0..600 {
        set(&mut broker, &format!("k{number:03}"), "1");
    }
    let consumer = watcher(&mut broker, "$kv/b/#", 1);
    set(&mut broker, "k000", "2");
    set(&mut broker, "k599", "2");
    delete(&mut broker, "k598");
    let all = told(&broker.work_off(consumer));
    assert_eq!(all.len(), 600);
    assert_eq!(all[32], "set k000=2", "behind the first page");
    assert_eq!(all[599], "set k599=2 retained");
    assert!(!all.iter().any(|it| it.contains("k598")));
}

#[test]
fn one_credit_is_shared_by_all_feeds_of_a_session() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/a/#", 2);
    broker.subscribe(consumer, "$kv/b/c/#").expect("a feed");
    for number in 0..3 {
        set(&mut broker, &format!("a/{number}"), "1");
    }
    set(&mut broker, "c/1", "1");
    assert_eq!(broker.deliveries(consumer).len(), 2);
}

#[test]
fn who_takes_nothing_gets_changes_in_order_then_the_newest_then_what_there_is() {
    let settings = Settings {
        backlog: 8,
        ..Settings::default()
    };
    let mut broker = broker_with(settings);
    control(&mut broker, "create", "").expect("created");
    let consumer = watcher(&mut broker, "$kv/b/#", 1);
    set(&mut broker, "first", "1");
    for number in 0..8 {
        set(&mut broker, "a", &number.to_string());
    }
    let delivered = broker.work_off(consumer);
    assert_eq!(delivered.len(), 9, "all of them");
    broker.detach(consumer, true);

    let consumer = broker.attach(0);
    broker
        .subscribe_to_changes(consumer, "$kv/b/#")
        .expect("a feed");
    set(&mut broker, "b", "1");
    delete(&mut broker, "b");
    for number in 0..20 {
        set(&mut broker, "a", &number.to_string());
    }
    broker.add_credit(consumer, 1);
    let newest = told(&broker.work_off(consumer));
    assert!(newest.len() <= 8, "{newest:?}");
    assert_eq!(newest[0], "del b=", "the newest of each");
    assert_eq!(newest.last().map(String::as_str), Some("set a=19"));

    let consumer = broker.attach(0);
    broker
        .subscribe_to_changes(consumer, "$kv/b/#")
        .expect("a feed");
    for number in 0..20 {
        set(&mut broker, &format!("k{number}"), "1");
    }
    delete(&mut broker, "k0");
    broker.add_credit(consumer, 1);
    let anew = broker.work_off(consumer);
    assert_eq!(property(&anew[0], "resync").as_deref(), Some("1"));
    assert!(anew[1..].iter().all(|it| property(it, "resync").is_none()));
    // first, a, and all but one of the others.
    assert_eq!(anew.len(), 21);
    assert!(anew.iter().all(|it| it.retain));
}

#[test]
fn who_watches_one_key_hears_the_last_of_it_however_large_it_is() {
    let mut broker = bucket("");
    let large = "v".repeat(1 << 20);
    let consumer = watcher(&mut broker, "$kv/b/a", 0);
    for _ in 0..3 {
        set(&mut broker, "a", &large);
    }
    set(&mut broker, "a", "small");
    broker.add_credit(consumer, 1);
    // What there was at first is read when there is credit.
    assert_eq!(told(&broker.work_off(consumer)), ["set a=small retained"]);
    for _ in 0..3 {
        broker.detach(consumer, false);
        broker.attach_again(consumer, 0);
        broker
            .subscribe_to_changes(consumer, "$kv/b/a")
            .expect("a feed");
        set(&mut broker, "a", &large);
        set(&mut broker, "a", &large);
        delete(&mut broker, "a");
        broker.add_credit(consumer, 1);
        let all = broker.work_off(consumer);
        assert_eq!(told(&all[all.len() - 1..]), ["del a="]);
    }
}

#[test]
fn a_watcher_is_told_when_it_is_stored_and_not_if_it_is_refused() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/#", 10);
    broker.set_store(Store::Slow);
    broker.command("$kv/b/a", b"1", options(&[]));
    assert!(broker.deliveries(consumer).is_empty());
    broker.commit();
    assert_eq!(told(&broker.work_off(consumer)), ["set a=1"]);
    broker.set_store(Store::Full);
    let refused = put(&mut broker, "a", "2", &[]);
    assert_eq!(code(refused), ErrorCode::Unavailable);
    assert!(broker.deliveries(consumer).is_empty());
}

#[test]
fn feeds_have_rules() {
    let mut broker = bucket("");
    let consumer = broker.attach(10);
    for (filter, expected) in [
        ("$kv/b", ErrorCode::BadAddress),
        ("$kv/b/", ErrorCode::BadAddress),
        ("$kv/b/a/$get", ErrorCode::BadAddress),
        ("$kv/none/#", ErrorCode::NotFound),
    ] {
        assert_eq!(
            code(broker.subscribe(consumer, filter)),
            expected,
            "{filter}"
        );
    }
    let shared = Subscribe {
        feed: FeedId { shard: 9, key: 1 },
        consumer,
        address: Address::parse("$kv/b/#").expect("an address"),
        maximum_qos: QoS::AtLeastOnce,
        wants_present: true,
        share_name: Some("group".into()),
        options: None,
    };
    broker.feed(Input::Subscribe(shared));
    assert_eq!(info(&mut broker, "watchers"), 0);
    let feed = broker
        .subscribe_at(consumer, "$kv/b/#", QoS::ExactlyOnce)
        .expect("a feed");
    set(&mut broker, "a", "1");
    assert_eq!(told(&broker.work_off(consumer)), ["set a=1"]);
    broker.unsubscribe(feed);
    set(&mut broker, "a", "2");
    assert!(broker.deliveries(consumer).is_empty());
    assert_eq!(info(&mut broker, "watchers"), 0);
}

#[test]
fn a_watcher_at_qos_0_is_served() {
    let mut broker = bucket("");
    for number in 0..5 {
        set(&mut broker, &number.to_string(), "1");
    }
    let consumer = broker.attach(2);
    broker
        .subscribe_at(consumer, "$kv/b/#", QoS::AtMostOnce)
        .expect("a feed");
    set(&mut broker, "5", "1");
    assert_eq!(broker.deliveries(consumer).len(), 6);
}

#[test]
fn a_filter_that_matches_little_is_read_in_parts() {
    let mut broker = bucket("");
    for number in 0..10_000 {
        set(&mut broker, &format!("k{number:05}/x"), "1");
    }
    set(&mut broker, "z/y", "1");
    let consumer = watcher(&mut broker, "$kv/b/+/y", 10);
    assert!(broker.deliveries(consumer).is_empty(), "others have a turn");
    broker.wait(seconds(1));
    assert_eq!(told(&broker.work_off(consumer)), ["set z/y=1 retained"]);
}
