//! What runs out.

use nexum_extension_api::ErrorCode;
use nexum_extension_api::driver::Store;

use crate::common::*;

#[test]
fn an_entry_runs_out_and_its_watchers_are_told_once() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/#", 10);
    put(&mut broker, "a", "1", &[("ttl", "10s")]).expect("it is set");
    put(&mut broker, "b", "1", &[("ttl", "20s")]).expect("it is set");
    set(&mut broker, "c", "1");
    assert_eq!(broker.work_off(consumer).len(), 3);
    broker.wait(seconds(9));
    assert_eq!(get(&mut broker, "a").as_deref(), Some("1"));
    broker.wait(seconds(1));
    assert_eq!(get(&mut broker, "a"), None);
    assert_eq!(told(&broker.work_off(consumer)), ["expire a="]);
    broker.wait(seconds(100));
    assert_eq!(told(&broker.work_off(consumer)), ["expire b="]);
    assert_eq!(counts(&mut broker), (1, 2));
    // The mark, the bucket, and the one that stays.
    assert_eq!(broker.records().len(), 3);
}

#[test]
fn a_bucket_gives_a_time_and_a_set_takes_it_away() {
    let mut broker = bucket(r#"{"ttl": "5s"}"#);
    set(&mut broker, "a", "1");
    put(&mut broker, "b", "1", &[("ttl", "0")]).expect("it is set");
    put(&mut broker, "c", "1", &[("ttl", "1s")]).expect("it is set");
    set(&mut broker, "d", "1");
    put(&mut broker, "d/$expire", "", &[]).expect("it is there");
    set(&mut broker, "e", "1");
    put(&mut broker, "e/$expire", "0", &[]).expect("it is there");
    broker.wait(seconds(1));
    assert_eq!(get(&mut broker, "c"), None);
    assert!(get(&mut broker, "a").is_some());
    broker.wait(seconds(100));
    assert_eq!(get(&mut broker, "a"), None);
    for key in ["b", "d", "e"] {
        assert!(get(&mut broker, key).is_some(), "{key} stays");
    }
}

#[test]
fn a_touch_moves_the_time_and_has_a_revision() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/a", 10);
    let absent = put(&mut broker, "a/$expire", "10s", &[]);
    assert_eq!(code(absent), ErrorCode::NotFound);
    let first = set(&mut broker, "a", "1");
    let touched = put(&mut broker, "a/$expire", "10s", &[]).expect("it is there");
    assert!(revision(&touched) > first);
    broker.wait(seconds(6));
    put(&mut broker, "a/$expire", "10s", &[]).expect("it is there");
    broker.wait(seconds(6));
    assert_eq!(get(&mut broker, "a").as_deref(), Some("1"));
    broker.wait(seconds(4));
    assert_eq!(get(&mut broker, "a"), None);
    let expected = ["set a=1", "touch a=1", "touch a=1", "expire a="];
    assert_eq!(told(&broker.work_off(consumer)), expected);
}

#[test]
fn what_is_due_is_not_there_though_it_could_not_be_removed() {
    let mut broker = bucket("");
    put(&mut broker, "a", "1", &[("ttl", "1s")]).expect("it is set");
    put(&mut broker, "b", "1", &[("ttl", "1s")]).expect("it is set");
    broker.set_store(Store::Full);
    broker.wait(seconds(3));
    assert_eq!(get(&mut broker, "a"), None);
    assert_eq!(watch_once(&mut broker), Vec::<String>::new());
    assert_eq!(counts(&mut broker).0, 2, "they take room");
    let consumer = watcher(&mut broker, "$kv/b/#", 10);
    broker.set_store(Store::Quick);
    put(&mut broker, "a", "2", &[("nx", "1")]).expect("it is not there");
    broker.wait(seconds(3));
    assert_eq!(
        told(&broker.work_off(consumer)),
        ["set a=2", "expire b="],
        "what takes its place says so"
    );
    assert_eq!(counts(&mut broker), (1, 2));
}

fn watch_once(broker: &mut Broker) -> Vec<String> {
    let consumer = watcher(broker, "$kv/b/#", 10);
    let all = told(&broker.work_off(consumer));
    broker.detach(consumer, true);
    all
}

#[test]
fn what_fell_due_while_the_broker_was_away_goes_after_the_start() {
    let mut broker = bucket("");
    for number in 0..600 {
        put(&mut broker, &format!("k{number}"), "1", &[("ttl", "1s")]).expect("it is set");
    }
    broker.set_store(Store::Full);
    broker.wait(seconds(5));
    broker.restart().expect("readable");
    assert_eq!(counts(&mut broker).0, 600);
    broker.set_store(Store::Quick);
    broker.wait(seconds(2));
    assert_eq!(counts(&mut broker), (0, 0));
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn what_is_stored_after_its_time_goes_then() {
    let mut broker = bucket("");
    broker.set_store(Store::Slow);
    broker.command("$kv/b/a", b"1", options(&[("ttl", "1s")]));
    broker.wait(seconds(2));
    broker.set_store(Store::Quick);
    broker.wait(seconds(2));
    assert_eq!(counts(&mut broker), (0, 0));
}

#[test]
fn a_set_that_comes_while_the_old_value_runs_out_stays() {
    let mut broker = bucket("");
    put(&mut broker, "a", "1", &[("ttl", "1s")]).expect("it is set");
    broker.set_store(Store::Slow);
    broker.wait(seconds(1));
    // Its removal is being stored.
    let set = broker.command("$kv/b/a", b"2", options(&[("nx", "1")]));
    broker.commit();
    assert!(broker.take_reply(set).expect("an answer").is_ok());
    assert_eq!(get(&mut broker, "a").as_deref(), Some("2"));
    broker.wait(seconds(100));
    assert_eq!(get(&mut broker, "a").as_deref(), Some("2"));
}
