//! Pushing: what is promised to producers.

use crate::common::*;
use nexum_extension_api::driver::Store;
use nexum_extension_api::{ErrorCode, Options};
use nexum_queue::Settings;

#[test]
fn a_push_is_delivered_and_done_with() {
    let mut broker = jobs("");
    push(&mut broker, "$queue/jobs", "a");
    push(&mut broker, "$queue/jobs/eu/new", "b");
    let worker = worker(&mut broker, "$queue/jobs", 10);
    let done = broker.work_off(worker);
    assert_eq!(payloads(&done), ["a", "b"]);
    assert!(done.iter().all(|it| &*it.topic == "$queue/jobs"));
    assert_eq!(property(&done[0], "q-attempt").as_deref(), Some("1"));
    assert_eq!(property(&done[0], "q-key"), None);
    assert_eq!(property(&done[1], "q-key").as_deref(), Some("eu/new"));
    let now = broker.now().as_micros() / 1000;
    assert_eq!(property(&done[0], "q-ts"), Some(now.to_string()));
    assert!(property(&done[0], "q-id") < property(&done[1], "q-id"));
    // The queue and the mark are left.
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn what_is_delivered_matches_what_was_subscribed() {
    let mut broker = jobs("");
    let eu = worker(&mut broker, "$queue/jobs/eu/+", 10);
    let uk = worker(&mut broker, "$queue/jobs/uk/#", 10);
    for topic in ["eu/new", "eu/new/x", "uk", "uk/a/b", "us"] {
        push(&mut broker, &format!("$queue/jobs/{topic}"), topic);
    }
    push(&mut broker, "$queue/jobs", "none");
    assert_eq!(payloads(&broker.work_off(eu)), ["eu/new"]);
    assert_eq!(payloads(&broker.work_off(uk)), ["uk", "uk/a/b"]);
    let all = worker(&mut broker, "$queue/jobs/#", 10);
    let rest = broker.work_off(all);
    assert_eq!(payloads(&rest), ["eu/new/x", "us", "none"]);
    assert_eq!(&*rest[0].topic, "$queue/jobs/eu/new/x");
    assert_eq!(&*rest[2].topic, "$queue/jobs");
}

#[test]
fn a_push_to_a_queue_that_is_not_there_says_how_to_declare_it() {
    let mut broker = broker();
    let refusal = broker.publish("$queue/jobs", b"a").expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::NotFound);
    assert!(refusal.reason.contains("$queue/jobs/$ctl/create"));
    let consumer = broker.attach(1);
    assert_eq!(
        code(broker.subscribe(consumer, "$queue/jobs")),
        ErrorCode::NotFound
    );
}

#[test]
fn queues_come_by_themselves_where_that_is_configured() {
    let mut broker = broker_with(Settings {
        auto_create: true,
        ..Settings::default()
    });
    push(&mut broker, "$queue/jobs", "a");
    let consumer = worker(&mut broker, "$queue/other", 10);
    push(&mut broker, "$queue/other", "b");
    assert_eq!(payloads(&broker.work_off(consumer)), ["b"]);
    assert_eq!(
        code(broker.publish("$queue/third/$ctl/info", b"")),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(broker.publish("$queue/third/$ack/1-1", b"")),
        ErrorCode::NotFound
    );
}

#[test]
fn what_is_pushed_behind_a_create_waits_for_it() {
    let mut broker = broker();
    broker.set_store(Store::Slow);
    let create = broker.command("$queue/jobs/$ctl/create", b"", Options::default());
    let push = broker.command("$queue/jobs", b"a", Options::default());
    let again = broker.command("$queue/jobs/$ctl/create", b"", Options::default());
    assert!(broker.take_reply(push).is_none());
    broker.commit();
    assert_eq!(broker.take_reply(create).map(|it| it.is_ok()), Some(true));
    broker.commit();
    assert_eq!(broker.take_reply(push).map(|it| it.is_ok()), Some(true));
    assert_eq!(broker.take_reply(again).map(|it| it.is_ok()), Some(true));
}

#[test]
fn what_waits_for_a_queue_that_is_refused_is_refused() {
    let mut broker = broker();
    broker.set_store(Store::Slow);
    let create = broker.command("$queue/jobs/$ctl/create", b"", Options::default());
    let push = broker.command("$queue/jobs", b"a", Options::default());
    broker.set_store(Store::Full);
    broker.commit();
    for command in [create, push] {
        let reply = broker.take_reply(command).expect("an answer");
        assert_eq!(code(reply), ErrorCode::Unavailable);
    }
}

#[test]
fn the_answer_and_the_delivery_come_when_the_push_is_stored() {
    let mut broker = jobs("");
    let worker = worker(&mut broker, "$queue/jobs", 10);
    broker.set_store(Store::Slow);
    let push = broker.command("$queue/jobs", b"a", Options::default());
    assert!(broker.take_reply(push).is_none());
    assert!(broker.deliveries(worker).is_empty());
    broker.commit();
    assert!(broker.take_reply(push).expect("an answer").is_ok());
    assert_eq!(payloads(&broker.deliveries(worker)), ["a"]);
}

#[test]
fn a_push_that_the_store_refuses_is_refused() {
    let mut broker = jobs("");
    let worker = worker(&mut broker, "$queue/jobs", 10);
    broker.set_store(Store::Full);
    let refusal = broker.publish("$queue/jobs", b"a").expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after.is_some());
    broker.set_store(Store::Quick);
    assert!(broker.deliveries(worker).is_empty());
    assert_eq!(info(&mut broker, "ready"), 0);
}

#[test]
fn a_repeat_within_the_window_is_acknowledged_and_dropped() {
    let mut broker = jobs(r#"{"dedup_window": "1m"}"#);
    push_with(&mut broker, "$queue/jobs", "a", &[("id", "1")]);
    let repeat = broker.publish_with("$queue/jobs", b"a", options(&[("id", "1")]));
    let reply = repeat.expect("acknowledged");
    assert_eq!(reply.properties, [("duplicate", 1.into())]);
    push_with(&mut broker, "$queue/jobs", "b", &[("id", "2")]);
    let worker = worker(&mut broker, "$queue/jobs", 10);
    assert_eq!(payloads(&broker.work_off(worker)), ["a", "b"]);

    broker.restart().expect("readable");
    push_with(&mut broker, "$queue/jobs", "a", &[("id", "1")]);
    assert_eq!(info(&mut broker, "ready"), 0, "done, and still remembered");
    broker.wait(seconds(61));
    assert_eq!(broker.records().len(), 2, "forgotten");
    push_with(&mut broker, "$queue/jobs", "a", &[("id", "1")]);
    assert_eq!(info(&mut broker, "ready"), 1);
}

#[test]
fn a_repeat_shares_the_fate_of_the_first() {
    let mut broker = jobs("");
    let id = || options(&[("id", "1")]);
    broker.set_store(Store::Slow);
    let first = broker.command("$queue/jobs", b"a", id());
    let second = broker.command("$queue/jobs", b"a", id());
    assert!(broker.take_reply(second).is_none());
    broker.set_store(Store::Full);
    broker.commit();
    for command in [first, second] {
        let reply = broker.take_reply(command).expect("an answer");
        assert_eq!(code(reply), ErrorCode::Unavailable);
    }
    broker.set_store(Store::Slow);
    let third = broker.command("$queue/jobs", b"a", id());
    let fourth = broker.command("$queue/jobs", b"a", id());
    broker.commit();
    let third = broker.take_reply(third).expect("an answer");
    assert!(third.expect("stored").properties.is_empty());
    let fourth = broker.take_reply(fourth).expect("an answer");
    assert_eq!(fourth.expect("stored").properties.len(), 1);
}

#[test]
fn a_delay_is_kept_over_a_restart() {
    let mut broker = jobs("");
    push_with(&mut broker, "$queue/jobs", "late", &[("delay", "1m")]);
    push(&mut broker, "$queue/jobs", "now");
    assert_eq!(info(&mut broker, "delayed"), 1);
    broker.restart().expect("readable");
    let worker = worker(&mut broker, "$queue/jobs", 10);
    assert_eq!(payloads(&broker.work_off(worker)), ["now"]);
    broker.wait(seconds(59));
    assert!(broker.deliveries(worker).is_empty());
    broker.wait(seconds(1));
    assert_eq!(payloads(&broker.work_off(worker)), ["late"]);
}

#[test]
fn what_is_delayed_can_be_cancelled() {
    let mut broker = jobs("");
    let late = [("delay", "1m"), ("id", "order 1")];
    push_with(&mut broker, "$queue/jobs", "a", &late);
    let cancel = "$queue/_/$cancel/order 1";
    assert!(broker.publish(cancel, b"").is_ok());
    assert_eq!(code(broker.publish(cancel, b"")), ErrorCode::NotFound);
    let worker = worker(&mut broker, "$queue/jobs", 10);
    broker.wait(seconds(100));
    assert!(broker.deliveries(worker).is_empty());
    // The identifier is free again.
    push_with(&mut broker, "$queue/jobs", "b", &late);
    broker.restart().expect("readable");
    assert!(broker.publish(cancel, b"").is_ok());
    push_with(&mut broker, "$queue/jobs", "c", &late);
    broker.wait(seconds(100));
    assert_eq!(
        code(broker.publish(cancel, b"")),
        ErrorCode::NotFound,
        "due"
    );
}

#[test]
fn what_has_expired_is_dropped_or_dead() {
    for (option, dead) in [("drop", 0), ("dlq", 1)] {
        let mut broker = jobs(&format!(r#"{{"expired": "{option}"}}"#));
        push_with(&mut broker, "$queue/jobs", "a", &[("ttl", "10s")]);
        push_with(&mut broker, "$queue/jobs", "b", &[("ttl", "1h")]);
        broker.wait(seconds(10));
        assert_eq!(info(&mut broker, "ready"), 1, "nobody had to look");
        assert_eq!(info(&mut broker, "dead"), dead);
        let worker = worker(&mut broker, "$queue/jobs", 10);
        assert_eq!(payloads(&broker.work_off(worker)), ["b"]);
        if dead > 0 {
            let worker = crate::common::worker(&mut broker, "$queue/jobs/$dlq", 10);
            let letter = one(&mut broker, worker);
            assert_eq!(property(&letter, "dlq-reason").as_deref(), Some("expired"));
        }
    }
}

#[test]
fn options_that_mean_nothing_here_are_refused() {
    let mut broker = jobs("");
    let refusal = broker.publish_with("$queue/jobs", b"", options(&[("rev", "1")]));
    let refusal = refusal.expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::BadOption);
    assert!(refusal.reason.contains("'rev'"), "{}", refusal.reason);
    assert!(refusal.reason.contains("delay, prio"), "{}", refusal.reason);
}
