//! The options of a push, in either spelling: `$opt/<key>=<value>,…/` and User Properties. And
//! `$delayed`.

use std::time::{Duration, Instant, SystemTime};

use nexum_harness::{Property, Publish, Version, reason};

use crate::commands::{self, Listener};
use crate::scene::{Scene, answer, label, next, property, reason_of, take};

/// How options are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// `$opt/…`, with a client of 3.1.1.
    Opt,
    /// User Properties, with one of 5.
    Property,
}

const SPELLINGS: [Spelling; 2] = [Spelling::Opt, Spelling::Property];

/// Pushes with options, which has to be taken. What a client of 5 is told beside is returned.
#[track_caller]
fn push(scene: &mut Scene, how: Spelling, options: &[(&str, &str)], payload: &str) -> Option<bool> {
    match how {
        Spelling::Opt => {
            let pairs = options.iter().map(|(key, value)| format!("{key}={value}"));
            let pairs: Vec<_> = pairs.collect();
            let topic = format!("$opt/{}/$queue/jobs", pairs.join(","));
            commands::publish(scene, &topic, payload);
            None
        }
        Spelling::Property => {
            let mut publish = Publish::new("$queue/jobs", payload);
            for (key, value) in options {
                publish = publish.property(Property::user(key, value));
            }
            let ack = scene.publish(publish);
            assert_eq!(ack.reason, 0, "{ack:?}");
            Some(property(&ack.properties, "duplicate").is_some())
        }
    }
}

#[test]
fn delay() {
    for how in SPELLINGS {
        let mut scene = Scene::start();
        let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
        let begun = Instant::now();
        push(&mut scene, how, &[("delay", "1200ms")], "later");
        scene.push("$queue/jobs", "now");
        assert_eq!(take(&mut worker, 1), ["now"], "{how:?}");
        assert_eq!(scene.info()["delayed"], 1, "{how:?}");
        assert_eq!(take(&mut worker, 1), ["later"]);
        assert!(begun.elapsed() >= Duration::from_millis(1200), "{how:?}");
        scene.wait_until_done();
    }
}

#[test]
fn prio() {
    for how in SPELLINGS {
        let mut scene = Scene::with(r#"{"order": "prio"}"#);
        for (priority, payload) in [("5", "c"), ("255", "a"), ("5", "d"), ("6", "b")] {
            push(&mut scene, how, &[("prio", priority)], payload);
        }
        scene.push("$queue/jobs", "e");
        scene.restart();
        let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
        let got = take(&mut worker, 5);
        assert_eq!(got, ["a", "b", "c", "d", "e"], "{how:?}");
    }
}

#[test]
fn ttl() {
    for how in SPELLINGS {
        let mut scene = Scene::start();
        push(&mut scene, how, &[("ttl", "1h")], "fresh");
        push(&mut scene, how, &[("ttl", "100ms")], "stale");
        scene.wait_for("ready", 1);
        let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
        let delivery = next(&mut worker, "fresh");
        let left = delivery.properties.message_expiry_interval();
        assert!(
            matches!(left, Some(3500..=3600)),
            "{how:?}: what is left of it: {left:?}"
        );
        worker.expect_ping();
    }
}

/// The Message Expiry Interval of MQTT 5 is the same; of both the shorter one holds.
#[test]
fn message_expiry_interval_is_a_ttl() {
    let mut scene = Scene::start();
    let expiring = |seconds| {
        let interval = Property::message_expiry_interval(seconds);
        Publish::new("$queue/jobs", "x").property(interval)
    };
    scene.publish(expiring(1));
    scene.publish(expiring(3600).property(Property::user("ttl", "100ms")));
    scene.publish(expiring(1000).property(Property::user("ttl", "1h")));
    scene.wait_for("ready", 1);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    let left = worker.expect_message().properties;
    assert!(matches!(left.message_expiry_interval(), Some(900..=1000)));
}

/// A repeat is acknowledged and dropped, also one that comes after a restart.
#[test]
fn id() {
    for how in SPELLINGS {
        let mut scene = Scene::start();
        let first = push(&mut scene, how, &[("id", "order-17")], "first");
        let repeat = push(&mut scene, how, &[("id", "order-17")], "repeat");
        assert!(first != Some(true) && repeat != Some(false), "{how:?}");
        push(&mut scene, how, &[("id", "order-18")], "other");
        let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
        assert_eq!(take(&mut worker, 2), ["first", "other"]);
        scene.wait_until_stored();
        // Though the first is done with.
        push(&mut scene, how, &[("id", "order-17")], "repeat");
        scene.restart();
        push(&mut scene, how, &[("id", "order-17")], "repeat");
        assert_eq!(scene.info()["ready"], 0, "{how:?}");
    }
}

/// Each queue has identifiers of its own, for as long as its window.
#[test]
fn id_is_forgotten_after_the_window() {
    let mut scene = Scene::with(r#"{"dedup_window": "200ms"}"#);
    scene.create("other", "");
    scene.push("$opt/id=1/$queue/jobs", "x");
    scene.push("$opt/id=1/$queue/other", "x");
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    next(&mut worker, "x");
    let deadline = Instant::now() + crate::scene::PATIENCE;
    let again = loop {
        let ack = scene.publish(Publish::new("$opt/id=1/$queue/jobs", "y"));
        if property(&ack.properties, "duplicate").is_none() {
            break next(&mut worker, "y");
        }
        assert!(Instant::now() < deadline, "it is never forgotten");
    };
    answer(&mut worker, &again, reason::SUCCESS);
    worker.expect_ping();
}

/// Of each key one at a time.
#[test]
fn key() {
    for how in SPELLINGS {
        let mut scene = Scene::with(r#"{"order": "key"}"#);
        let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
        let (key, spelt) = match how {
            Spelling::Opt => ("a/b,=%", "a%2Fb%2C%3D%25"),
            Spelling::Property => ("a/b,=%", "a/b,=%"),
        };
        for payload in ["1", "2"] {
            push(&mut scene, how, &[("key", spelt)], payload);
        }
        push(&mut scene, how, &[("key", "other")], "3");
        let first = next(&mut worker, "1");
        assert_eq!(label(&first, "q-key"), Some(key), "{how:?}");
        next(&mut worker, "3");
        worker.expect_ping();
        answer(&mut worker, &first, reason::SUCCESS);
        next(&mut worker, "2");
    }
}

/// All of them, around each other, in one topic.
#[test]
fn options_and_wrappers_together() {
    let mut scene = Scene::with(r#"{"order": "prio"}"#);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    let mut old = scene.old_client("old");
    let target = "$opt/prio=9,id=i,key=k,ttl=1h/$delayed/300ms/$q/jobs/eu";
    let begun = Instant::now();
    old.ask("t", target, "x");
    old.ask("t", target, "a repeat");
    let delivery = next(&mut worker, "x");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(delivery.topic, "$queue/jobs/eu");
    assert_eq!(label(&delivery, "q-key"), Some("k"));
    worker.expect_ping();
    // Half in the topic, half in properties.
    let publish = Publish::new("$opt/id=j/$queue/jobs", "y").property(Property::user("key", "l"));
    assert_eq!(scene.publish(publish).reason, 0);
    assert_eq!(label(&next(&mut worker, "y"), "q-key"), Some("l"));
}

/// A User Property with another name is the application's.
#[test]
fn other_user_properties_are_no_options() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    let publish = Publish::new("$queue/jobs", "x").property(Property::user("priority", "high"));
    assert_eq!(scene.publish(publish).reason, 0);
    assert_eq!(label(&next(&mut worker, "x"), "priority"), Some("high"));
}

/// A plain topic has options in `$opt/` alone: there User Properties are the application's, whatever
/// their names.
#[test]
fn user_properties_of_a_plain_topic_are_no_options() {
    let mut scene = Scene::start();
    let mut subscriber = scene.worker(Version::V5, "subscriber", "plain");
    let own = [
        ("id", "17"),
        ("ttl", "soon"),
        ("prio", "high"),
        ("rev", "a"),
    ];
    for payload in ["first", "second"] {
        let publish = Publish::new("plain", payload);
        let publish = own.iter().fold(publish, |publish, (name, value)| {
            publish.property(Property::user(name, value))
        });
        assert_eq!(scene.publish(publish).reason, 0);
        let delivery = next(&mut subscriber, payload);
        assert_eq!(delivery.properties.user(), own);
    }
}

#[test]
fn delayed_with_mosquitto() {
    let mut scene = Scene::start();
    let mut listener = Listener::start(&scene, "$queue/jobs/#");
    let begun = Instant::now();
    commands::publish(&scene, "$delayed/3/$queue/jobs/x", "in three seconds");
    commands::publish(&scene, "$delayed/1500ms/$q/jobs/y", "sooner");
    commands::publish(&scene, "$delayed/0/$queue/jobs", "at once");
    listener.expect("$queue/jobs", "at once");
    listener.expect("$queue/jobs/y", "sooner");
    listener.expect("$queue/jobs/x", "in three seconds");
    assert!(begun.elapsed() >= Duration::from_secs(3));
    scene.wait_until_done();
}

#[test]
fn delayed_until_a_unix_time() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    let now = || {
        let now = SystemTime::UNIX_EPOCH.elapsed();
        now.expect("it is later than 1970").as_secs()
    };
    let due = now() + 3;
    scene.push(&format!("$delayed/{due}/$queue/jobs"), "then");
    scene.push(&format!("$delayed/{}/$queue/jobs", now() - 100), "past");
    assert_eq!(take(&mut worker, 1), ["past"]);
    scene.wait_for("delayed", 1);
    assert_eq!(take(&mut worker, 1), ["then"]);
    assert!(now() >= due);
}

#[test]
fn cancel_with_mosquitto() {
    let mut scene = Scene::start();
    commands::publish(&scene, "$opt/id=mine/$delayed/1h/$queue/jobs", "never");
    commands::publish(&scene, "$opt/id=other/$delayed/1h/$queue/jobs", "kept");
    scene.restart();
    assert_eq!(scene.info()["delayed"], 2);
    commands::ask(&scene, "$delayed/$cancel/mine", "");
    assert_eq!(scene.info()["delayed"], 1);
    let missing = commands::ask_in_vain(&scene, "$delayed/$cancel/mine", "");
    assert_eq!(missing["code"], "not_found");
    let notice = commands::notice(&scene, "$delayed/$cancel/unknown", "");
    assert_eq!(notice["code"], "not_found");
    scene.restart();
    assert_eq!(scene.info()["delayed"], 1);
    // The identifier may serve again.
    commands::publish(&scene, "$opt/id=mine/$queue/jobs", "again");
    assert_eq!(scene.info()["ready"], 1);
}

#[test]
fn cancel_on_5() {
    let mut scene = Scene::start();
    scene.create("mail", "");
    let delayed = |queue: &str, id: &str| {
        Publish::new(&format!("$queue/{queue}"), "x")
            .property(Property::user("delay", "1h"))
            .property(Property::user("id", id))
    };
    assert_eq!(scene.publish(delayed("jobs", "a")).reason, 0);
    assert_eq!(scene.publish(delayed("mail", "a")).reason, 0);
    assert_eq!(scene.publish(delayed("mail", "b")).reason, 0);
    // In every queue.
    let answer = scene.ask("$delayed/$cancel/a", "");
    assert_eq!((answer.code.as_str(), answer.ack.reason), ("ok", 0));
    assert_eq!(scene.info()["delayed"], 0);
    assert_eq!(scene.control("mail", "info", "").body["delayed"], 1);
    let ack = scene.publish(Publish::new("$delayed/$cancel/a", ""));
    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
    assert!(reason_of(&ack.properties).contains("this id"));
}

/// What is due cannot be cancelled: it may be with a consumer.
#[test]
fn what_is_due_is_not_cancelled() {
    let mut scene = Scene::start();
    commands::publish(&scene, "$opt/id=a/$delayed/50ms/$queue/jobs", "x");
    scene.wait_for("ready", 1);
    let missing = commands::ask_in_vain(&scene, "$delayed/$cancel/a", "");
    assert_eq!(missing["code"], "not_found");
    assert_eq!(scene.info()["ready"], 1);
}

#[test]
fn delayed_survives_kill_9() {
    let mut scene = Scene::start();
    let begun = Instant::now();
    scene.push("$delayed/1500ms/$queue/jobs", "later");
    scene.push("$delayed/50ms/$queue/jobs", "sooner");
    scene.wait_for("ready", 1);
    scene.restart();
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    assert_eq!(take(&mut worker, 1), ["sooner"]);
    assert_eq!(take(&mut worker, 1), ["later"]);
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    scene.wait_until_stored();
    scene.restart();
    assert_eq!(scene.info()["bytes"], 0);
}

/// The time to live begins when it is due.
#[test]
fn ttl_of_what_is_delayed() {
    let mut scene = Scene::start();
    scene.push("$opt/ttl=1500ms/$delayed/1600ms/$queue/jobs", "x");
    scene.wait_for("ready", 1);
    scene.wait_for("ready", 0);
    assert_eq!(scene.info()["bytes"], 0);
}
