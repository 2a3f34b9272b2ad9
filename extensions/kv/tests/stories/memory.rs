//! Buckets without `persist`.

use nexum_extension_api::ErrorCode;
use nexum_extension_api::driver::Store;

use crate::common::*;

#[test]
fn entries_are_in_memory_and_gone_after_a_restart() {
    let mut broker = bucket(r#"{"persist": false, "history": 2}"#);
    let consumer = watcher(&mut broker, "$kv/b/#", 10);
    let first = set(&mut broker, "a", "1");
    set(&mut broker, "a", "2");
    put(&mut broker, "n/$incr", "", &[]).expect("it counts");
    put(&mut broker, "t", "1", &[("ttl", "1s")]).expect("it is set");
    // The mark and the bucket.
    assert_eq!(broker.records().len(), 2);
    let history = put(&mut broker, "a/$history", "", &[]).expect("it is there");
    assert_eq!(json(&history)[1]["rev"], first);
    broker.wait(seconds(1));
    let all = ["set a=1", "set a=2", "incr n=1", "set t=1", "expire t="];
    assert_eq!(told(&broker.work_off(consumer)), all);
    let again = watcher(&mut broker, "$kv/b/#", 10);
    let present = ["set a=2 retained", "set n=1 retained"];
    assert_eq!(told(&broker.work_off(again)), present);
    let list = put(&mut broker, "$keys", "", &[]).expect("a list");
    assert_eq!(json(&list)["keys"], serde_json::json!(["a", "n"]));
    assert_eq!(counts(&mut broker), (2, 4));
    broker.restart().expect("readable");
    assert_eq!(get(&mut broker, "a"), None);
    assert_eq!(counts(&mut broker), (0, 0));
    assert!(set(&mut broker, "a", "3") > first);
}

#[test]
fn revisions_wait_for_the_mark_and_then_for_nothing() {
    let mut broker = bucket(r#"{"persist": false}"#);
    let before = set(&mut broker, "a", "1");
    broker.restart().expect("readable");
    broker.set_store(Store::Full);
    let refused = put(&mut broker, "a", "2", &[]);
    assert_eq!(code(refused), ErrorCode::Unavailable);
    assert_eq!(get(&mut broker, "a"), None);
    broker.set_store(Store::Quick);
    assert!(set(&mut broker, "a", "3") > before);
    broker.set_store(Store::Full);
    set(&mut broker, "a", "4");
    assert_eq!(get(&mut broker, "a").as_deref(), Some("4"));
}

#[test]
fn many_run_out_and_many_are_purged_or_dropped_in_parts() {
    let mut broker = bucket(r#"{"persist": false}"#);
    let fill = |broker: &mut Broker, pairs: &[(&str, &str)]| {
        for number in 0..5000 {
            put(broker, &number.to_string(), "1", pairs).expect("it is set");
        }
    };
    fill(&mut broker, &[("ttl", "1s")]);
    broker.wait(seconds(2));
    assert_eq!(counts(&mut broker), (0, 0));
    fill(&mut broker, &[("ttl", "1h")]);
    let purge = broker.command("$kv/b/$ctl/purge", b"", options(&[]));
    assert!(broker.take_reply(purge).is_none(), "others have a turn");
    broker.wait(seconds(1));
    let reply = broker
        .take_reply(purge)
        .expect("an answer")
        .expect("purged");
    assert_eq!(text(&reply), r#"{"purged":5000}"#);
    fill(&mut broker, &[]);
    control(&mut broker, "delete", "").expect("deleted");
    control(&mut broker, "create", r#"{"persist": false}"#).expect("created");
    assert_eq!(counts(&mut broker), (0, 0));
    broker.wait(seconds(1));
    assert_eq!(get(&mut broker, "1"), None);
}
