//! Dead letters: how they die, and what may be done with them.

use nexum_harness::{Property, Publish, Version, reason};
use serde_json::{Value, json};

use crate::commands::{self, Listener};
use crate::scene::{Scene, answer, attempt, builder, label, next, property, reason_of, take};

/// Pushes these and has them rejected. Returns their ids.
#[track_caller]
fn bury(scene: &mut Scene, payloads: &[&str]) -> Vec<u64> {
    let mut worker = scene.worker(Version::V5, "undertaker", "$queue/jobs");
    let mut ids = Vec::new();
    for payload in payloads {
        scene.push("$queue/jobs", payload);
        let delivery = next(&mut worker, payload);
        answer(&mut worker, &delivery, reason::PAYLOAD_FORMAT_INVALID);
        let id = label(&delivery, "q-id").expect("it has one");
        ids.push(id.parse().expect("it is a number"));
    }
    worker.disconnect();
    scene.wait_for("dead", payloads.len() as u64);
    ids
}

#[track_caller]
fn dead(scene: &mut Scene) -> Vec<Value> {
    let shown = scene.control("jobs", "dlq.peek", "");
    let mut shown = shown.body.as_array().expect("it is a list").clone();
    shown
        .iter_mut()
        .map(|letter| letter["payload"].take())
        .collect()
}

/// From its death to its resurrection with topic, payload and QoS alone.
#[test]
fn dead_letters_with_mosquitto() {
    let mut scene = Scene::with(r#"{"max_attempts": 1, "visibility": "100ms"}"#);
    // mosquitto_sub takes a lease, and nobody settles it.
    let leases = Listener::start(&scene, "$queue/jobs/$lease/#");
    for payload in ["a", "b", "c", "d"] {
        commands::publish(&scene, "$queue/jobs/eu", payload);
    }
    scene.wait_for("dead", 4);
    drop(leases);
    let letters = commands::ask(&scene, "$queue/jobs/$ctl/dlq.peek", r#"{"limit": 2}"#);
    let letters = letters.as_array().expect("it is a list");
    assert_eq!(letters.len(), 2);
    for (letter, payload) in letters.iter().zip(["a", "b"]) {
        assert_eq!(letter["payload"], payload);
        assert_eq!(letter["reason"], "max_attempts");
        assert_eq!(letter["key"], "eu");
        assert_eq!(letter["state"], "dead");
    }
    let id = &letters[0]["id"];
    let one = json!({ "id": id }).to_string();
    scene.control("jobs", "alter", r#"{"visibility": "60s"}"#);
    let redriven = commands::ask(&scene, "$queue/jobs/$ctl/dlq.redrive", &one);
    assert_eq!(redriven, json!({ "redriven": 1 }));
    let mut listener = Listener::start(&scene, "$queue/jobs/#");
    listener.expect("$queue/jobs/eu", "a");
    let one = json!({ "id": letters[1]["id"] }).to_string();
    let deleted = commands::ask(&scene, "$queue/jobs/$ctl/dlq.delete", &one);
    assert_eq!(deleted, json!({ "deleted": 1 }));
    let gone = commands::ask_in_vain(&scene, "$queue/jobs/$ctl/dlq.delete", &one);
    assert_eq!(gone["code"], "not_found");
    let mut mourner = Listener::start(&scene, "$queue/jobs/$dlq");
    mourner.expect("$queue/jobs/$dlq", "c");
    mourner.expect("$queue/jobs/$dlq", "d");
    scene.wait_for("dead", 0);
    let purged = commands::ask(&scene, "$queue/jobs/$ctl/dlq.purge", "");
    assert_eq!(purged, json!({ "deleted": 0 }));
}

#[test]
fn dead_letters_on_5() {
    let mut scene = Scene::start();
    let mut mourner = scene.worker(Version::V5, "mourner", "$queue/jobs/$dlq");
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    scene.publish(Publish::new("$queue/jobs/eu", "x").property(Property::user("trace", "17")));
    let delivery = next(&mut worker, "x");
    answer(&mut worker, &delivery, reason::PAYLOAD_FORMAT_INVALID);
    let letter = next(&mut mourner, "x");
    assert_eq!(letter.topic, "$queue/jobs/$dlq");
    assert_eq!(label(&letter, "dlq-reason"), Some("rejected"));
    assert_eq!(label(&letter, "dlq-attempts"), Some("1"));
    assert_eq!(label(&letter, "q-key"), Some("eu"));
    assert_eq!(label(&letter, "q-id"), label(&delivery, "q-id"));
    assert_eq!(label(&letter, "trace"), Some("17"));
    assert_eq!(scene.info()["dead"], 1, "until it is acknowledged");
    answer(&mut mourner, &letter, reason::SUCCESS);
    scene.wait_for("dead", 0);
}

/// A dead letter that is given back is dead, and comes again.
#[test]
fn dead_letter_is_given_back() {
    let mut scene = Scene::start();
    bury(&mut scene, &["x"]);
    let mut first = scene.worker(Version::V5, "first", "$queue/jobs/$dlq");
    let letter = next(&mut first, "x");
    answer(&mut first, &letter, reason::PAYLOAD_FORMAT_INVALID);
    // It rests a moment.
    next(&mut first, "x");
    first.cut();
    let mut second = scene.worker(Version::V311, "second", "$queue/jobs/$dlq");
    assert_eq!(take(&mut second, 1), ["x"]);
    scene.wait_for("dead", 0);
}

#[test]
fn letters_are_redriven() {
    let mut scene = Scene::start();
    let ids = bury(&mut scene, &["a", "b", "c", "d"]);
    let mut redrive = |payload: Value| scene.control("jobs", "dlq.redrive", &payload.to_string());
    assert_eq!(redrive(json!({ "id": ids[2] })).body["redriven"], 1);
    assert_eq!(redrive(json!({ "ids": [ids[1]] })).body["redriven"], 1);
    let missing = redrive(json!({ "ids": [ids[0], 1_u64 << 60] }));
    assert_eq!(missing.code, "not_found");
    assert!(reason_of(&missing.ack.properties).contains("dlq.peek"));
    assert_eq!(redrive(json!({ "all": true })).body["redriven"], 2);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    for payload in ["a", "b", "c", "d"] {
        let delivery = next(&mut worker, payload);
        assert_eq!(attempt(&delivery), 1, "it begins anew");
        answer(&mut worker, &delivery, reason::SUCCESS);
    }
    scene.wait_until_done();
}

#[test]
fn letters_are_deleted() {
    let mut scene = Scene::start();
    let ids = bury(&mut scene, &["a", "b", "c", "d"]);
    let one = json!({ "id": ids[1] }).to_string();
    assert_eq!(scene.control("jobs", "dlq.delete", &one).body["deleted"], 1);
    assert_eq!(dead(&mut scene), ["a", "c", "d"]);
    let one = json!({ "ids": [ids[0]] }).to_string();
    assert_eq!(scene.control("jobs", "dlq.delete", &one).body["deleted"], 1);
    let all = scene.control("jobs", "dlq.delete", r#"{"all": true}"#);
    assert_eq!(all.body["deleted"], 2);
    bury(&mut scene, &["e"]);
    assert_eq!(scene.control("jobs", "dlq.purge", "").body["deleted"], 1);
    assert_eq!(scene.info()["bytes"], 0);
}

#[test]
fn dead_letter_with_a_consumer_is_not_redriven() {
    let mut scene = Scene::start();
    let ids = bury(&mut scene, &["x"]);
    let mut mourner = scene.worker(Version::V5, "mourner", "$queue/jobs/$dlq");
    next(&mut mourner, "x");
    for operation in ["dlq.redrive", "dlq.delete"] {
        let one = json!({ "id": ids[0] }).to_string();
        let answer = scene.control("jobs", operation, &one);
        assert_eq!(answer.code, "conflict", "{operation}");
        assert_eq!(property(&answer.ack.properties, "code"), Some("conflict"));
    }
}

#[test]
fn they_stay_dead_after_kill_9() {
    let mut scene = Scene::start();
    bury(&mut scene, &["a", "b"]);
    scene.wait_until_stored();
    scene.restart();
    assert_eq!(dead(&mut scene), ["a", "b"]);
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    worker.expect_ping();
    scene.control("jobs", "dlq.redrive", r#"{"all": true}"#);
    assert_eq!(take(&mut worker, 2), ["a", "b"]);
    scene.wait_until_stored();
    scene.restart();
    assert_eq!(scene.info()["bytes"], 0);
}

#[test]
fn what_expires_or_overflows_may_be_kept_as_dead() {
    let mut scene = Scene::with(r#"{"expired": "dlq", "overflow": "dlq", "max_len": 2}"#);
    commands::publish(&scene, "$opt/ttl=50ms/$queue/jobs", "expired");
    scene.wait_for("dead", 1);
    for payload in ["overflowed", "b", "c"] {
        scene.push("$queue/jobs", payload);
    }
    let shown = scene.control("jobs", "dlq.peek", "").body;
    let reasons = json!([shown[0]["reason"], shown[1]["reason"]]);
    assert_eq!(reasons, json!(["expired", "overflow"]));
    assert_eq!(shown[1]["payload"], "overflowed");
}

#[test]
fn dead_letters_are_bounded() {
    let mut scene = Scene::on(builder());
    scene.create("jobs", r#"{"dlq_max_len": 2}"#);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    for payload in ["a", "b", "c"] {
        scene.push("$queue/jobs", payload);
        let delivery = next(&mut worker, payload);
        answer(&mut worker, &delivery, reason::PAYLOAD_FORMAT_INVALID);
        scene.wait_for("leased", 0);
    }
    assert_eq!(dead(&mut scene), ["b", "c"]);
}
