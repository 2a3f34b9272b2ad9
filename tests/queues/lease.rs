//! The lease mode: for those whose library acknowledges before the work is done.

use std::time::{Duration, Instant};

use nexum_harness::{Peer, Publish, Version, puback, reason};
use serde_json::json;

use crate::commands::{self, Listener};
use crate::scene::{SOON, Scene, property, publish_to, reason_of, text};

/// Receipt, attempt, and the key behind them if there is one.
#[track_caller]
fn parts(topic: &str) -> (&str, &str, Option<&str>) {
    let rest = topic.strip_prefix("$queue/jobs/$lease/");
    let rest = rest.unwrap_or_else(|| panic!("no lease: {topic}"));
    let mut levels = rest.splitn(3, '/');
    let receipt = levels.next().expect("there is one");
    let attempt = levels.next().expect("the attempt follows the receipt");
    (receipt, attempt, levels.next())
}

/// The next lease, acknowledged, as a library would: its receipt.
#[track_caller]
fn lease(peer: &mut Peer, payload: &str, attempt: &str) -> String {
    let delivery = peer.expect_message();
    assert_eq!(text(&delivery), payload);
    let (receipt, number, _) = parts(&delivery.topic);
    assert_eq!(number, attempt);
    receipt.to_owned()
}

#[test]
fn lease_with_mosquitto() {
    let mut scene = Scene::with(SOON);
    let mut listener = Listener::start(&scene, "$queue/jobs/$lease/#");
    commands::publish(&scene, "$queue/jobs/eu/new", "x");
    let heard = listener.next();
    let (receipt, attempt, key) = parts(&heard.topic);
    assert_eq!((attempt, key), ("1", Some("eu/new")));
    assert_eq!(scene.info()["leased"], 1, "PUBACK does not settle a lease");
    commands::publish(&scene, &format!("$queue/jobs/$nack/{receipt}"), "");
    let heard = listener.next();
    let (receipt, attempt, _) = parts(&heard.topic);
    assert_eq!(attempt, "2");
    let extend = format!("$queue/jobs/$extend/{receipt}/5m");
    commands::ask(&scene, &extend, "");
    commands::publish(&scene, &format!("$queue/jobs/$ack/{receipt}"), "");
    scene.wait_until_done();
    commands::publish(&scene, "$queue/jobs", "no key");
    let heard = listener.next();
    let (receipt, _, key) = parts(&heard.topic);
    assert_eq!(key, None);
    commands::publish(&scene, &format!("$queue/jobs/$reject/{receipt}"), "");
    scene.wait_for("dead", 1);
    let again = commands::ask_in_vain(&scene, &format!("$queue/jobs/$ack/{receipt}"), "");
    assert_eq!(again["code"], "conflict");
}

#[test]
fn ack_on_either_version() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        let receipt = lease(&mut worker, "x", "1");
        let ack = format!("$queue/jobs/$ack/{receipt}");
        assert_eq!(publish_to(&mut worker, Publish::new(&ack, "")).reason, 0);
        scene.wait_until_done();
        // Who did not hear the answer asks again.
        assert_eq!(publish_to(&mut worker, Publish::new(&ack, "")).reason, 0);
        scene.restart();
        assert_eq!(scene.info()["bytes"], 0);
    }
}

/// The order of PUBACK and `$ack` is not the consumer's to choose: its library sends the first.
#[test]
fn ack_may_come_before_puback() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        let delivery = worker.expect_publish();
        let (receipt, ..) = parts(&delivery.topic);
        let ack = Publish::new(&format!("$queue/jobs/$ack/{receipt}"), "");
        assert_eq!(publish_to(&mut worker, ack).reason, 0);
        scene.wait_until_done();
        worker.send(puback(delivery.packet_identifier));
        worker.expect_ping();
    }
}

/// Anybody who knows the receipt may settle: a pool of workers behind one connection.
#[test]
fn another_client_settles() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/$lease/#");
    scene.push("$queue/jobs", "x");
    let receipt = lease(&mut worker, "x", "1");
    scene.push(&format!("$q/jobs/$ack/{receipt}"), "");
    scene.wait_until_done();
}

#[test]
fn nack_after_a_delay() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let mut worker = scene.worker(version, "worker", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        let receipt = lease(&mut worker, "x", "1");
        let begun = Instant::now();
        scene.push(&format!("$queue/jobs/$nack/{receipt}/300ms"), "");
        let receipt = lease(&mut worker, "x", "2");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        scene.push(&format!("$queue/jobs/$nack/{receipt}/0s"), "");
        let receipt = lease(&mut worker, "x", "3");
        scene.push(&format!("$queue/jobs/$ack/{receipt}"), "");
        scene.wait_until_done();
        worker.disconnect();
    }
}

#[test]
fn reject_buries() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs/$lease/+/+/#");
        scene.push("$queue/jobs/eu", "x");
        let receipt = lease(&mut worker, "x", "1");
        scene.push(&format!("$queue/jobs/$reject/{receipt}"), "");
        let dead = &scene.control("jobs", "dlq.peek", "").body[0];
        assert_eq!(dead["reason"], "rejected");
        worker.expect_ping();
    }
}

#[test]
fn extend_keeps_others_away() {
    let mut scene = Scene::with(r#"{"visibility": "800ms"}"#);
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/$lease/#");
    scene.push("$queue/jobs", "x");
    let receipt = lease(&mut worker, "x", "1");
    let begun = Instant::now();
    scene.push(&format!("$queue/jobs/$extend/{receipt}/1800ms"), "");
    let late = lease(&mut worker, "x", "2");
    assert!(begun.elapsed() >= Duration::from_millis(1800));
    // A lease that lapsed is somebody's else, were it the same consumer.
    for verb in ["$ack", "$nack", "$reject"] {
        let answer = scene.ask(&format!("$queue/jobs/{verb}/{receipt}"), "");
        assert_eq!(answer.code, "conflict", "{verb}");
        let properties = &answer.ack.properties;
        assert_eq!(answer.ack.reason, reason::IMPLEMENTATION_SPECIFIC_ERROR);
        assert_eq!(property(properties, "code"), Some("conflict"));
        assert!(reason_of(properties).contains("the lease is over"));
    }
    let answer = scene.ask(&format!("$queue/jobs/$ack/{late}"), "");
    assert_eq!(answer.code, "ok", "{answer:?}");
}

#[test]
fn lease_lapses_though_it_was_acknowledged() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "700ms"}"#);
        let mut idle = scene.worker(version, "idle", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        lease(&mut idle, "x", "1");
        let mut other = scene.worker(version, "other", "$queue/jobs/$lease/#");
        let receipt = lease(&mut other, "x", "2");
        scene.push(&format!("$queue/jobs/$ack/{receipt}"), "");
        scene.wait_until_done();
        idle.expect_ping();
    }
}

/// A lease takes a place of the prefetch until it is settled.
#[test]
fn leases_are_prefetched_like_any() {
    let mut scene = Scene::on(crate::scene::builder().set("limits.prefetch", 2));
    scene.create("jobs", "");
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/$lease/#");
    scene.push_numbers(3);
    let receipt = lease(&mut worker, "0", "1");
    lease(&mut worker, "1", "1");
    worker.expect_ping();
    scene.push(&format!("$queue/jobs/$ack/{receipt}"), "");
    lease(&mut worker, "2", "1");
}

/// Consumers of either mode are one competing set, each settling in its own way.
#[test]
fn leases_and_plain_deliveries_compete() {
    let mut scene = Scene::start();
    let mut plain = scene.worker(Version::V311, "plain", "$queue/jobs");
    let mut leasing = scene.worker(Version::V311, "leasing", "$queue/jobs/$lease/#");
    scene.push_numbers(10);
    for _ in 0..5 {
        plain.expect_message();
        let delivery = leasing.expect_message();
        let (receipt, ..) = parts(&delivery.topic);
        scene.push(&format!("$queue/jobs/$ack/{receipt}"), "");
    }
    scene.wait_until_done();
}

/// A receipt of before a restart is good as long as nobody else was given the message.
#[test]
fn receipt_outlives_the_broker() {
    for verb in ["$ack", "$nack", "$reject", "$extend"] {
        let mut scene = Scene::start();
        let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        let receipt = lease(&mut worker, "x", "1");
        scene.restart();
        let rest = if verb == "$extend" { "/1m" } else { "" };
        let answer = scene.ask(&format!("$queue/jobs/{verb}/{receipt}{rest}"), "");
        assert_eq!(answer.code, "ok", "{verb}: {answer:?}");
        let info = scene.info();
        let expected = match verb {
            "$ack" => json!([0, 0, 0]),
            "$reject" => json!([0, 0, 1]),
            _ => json!([0, 1, 0]),
        };
        let counts = json!([info["ready"], info["delayed"], info["dead"]]);
        assert_eq!(counts, expected, "{verb}");
    }
}

#[test]
fn lease_of_the_session_that_went_comes_again() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut gone = scene.worker(version, "gone", "$queue/jobs/$lease/#");
        scene.push("$queue/jobs", "x");
        let receipt = lease(&mut gone, "x", "1");
        gone.disconnect();
        let mut worker = scene.worker(version, "worker", "$queue/jobs/$lease/#");
        let again = lease(&mut worker, "x", "2");
        let answer = scene.ask(&format!("$queue/jobs/$ack/{receipt}"), "");
        assert_eq!(answer.code, "conflict");
        scene.push(&format!("$queue/jobs/$ack/{again}"), "");
        scene.wait_until_done();
    }
}
