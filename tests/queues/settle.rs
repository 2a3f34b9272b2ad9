//! How a delivery ends: done, refused, too late.

use std::time::{Duration, Instant};

use nexum_harness::{Connect, Packet, Property, Version, puback, pubcomp, pubrec, reason};
use serde_json::json;

use crate::scene::{SOON, Scene, answer, attempt, label, next, text};

#[test]
fn refused_comes_again_until_it_is_dead() {
    let mut scene = Scene::with(SOON);
    scene.control("jobs", "alter", r#"{"max_attempts": 3}"#);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    scene.push("$queue/jobs/eu", "x");
    let mut identity = None;
    for (number, refusal) in [
        (1, reason::UNSPECIFIED_ERROR),
        (2, reason::IMPLEMENTATION_SPECIFIC_ERROR),
        (3, reason::UNSPECIFIED_ERROR),
    ] {
        let delivery = next(&mut worker, "x");
        assert_eq!(attempt(&delivery), number);
        let id = label(&delivery, "q-id").map(str::to_owned);
        assert_eq!(*identity.get_or_insert(id.clone()), id, "the same message");
        answer(&mut worker, &delivery, refusal);
    }
    scene.wait_for("dead", 1);
    worker.expect_ping();
    let dead = &scene.control("jobs", "dlq.peek", "").body[0];
    assert_eq!(dead["reason"], "max_attempts");
    assert_eq!(dead["attempt"], 3);
}

#[test]
fn busy_is_no_attempt() {
    let mut scene = Scene::with(r#"{"max_attempts": 1}"#);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    scene.push("$queue/jobs", "x");
    let delivery = next(&mut worker, "x");
    answer(&mut worker, &delivery, reason::QUOTA_EXCEEDED);
    let delivery = next(&mut worker, "x");
    assert_eq!(attempt(&delivery), 1);
    answer(&mut worker, &delivery, reason::SUCCESS);
    scene.wait_until_done();
}

#[test]
fn what_can_never_be_done_is_dead_at_once() {
    for refusal in [reason::PAYLOAD_FORMAT_INVALID, reason::NOT_AUTHORIZED] {
        let mut scene = Scene::start();
        let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut worker, "x");
        answer(&mut worker, &delivery, refusal);
        scene.wait_for("dead", 1);
        let dead = &scene.control("jobs", "dlq.peek", "").body[0];
        assert_eq!(
            (&dead["reason"], &dead["attempt"]),
            (&json!("rejected"), &json!(1))
        );
        worker.expect_ping();
    }
}

/// At QoS 2 PUBREC refuses, and there is no PUBREL after it.
#[test]
fn pubrec_refuses_as_puback_does() {
    for connect in [
        Connect::new(Version::V5, "worker"),
        Connect::new(Version::V5, "worker").persistent(),
    ] {
        let mut scene = Scene::with(SOON);
        let mut worker = scene.broker.connect(connect);
        worker.subscribe("$queue/jobs", 2);
        scene.push("$queue/jobs", "x");
        for (number, refusal) in [
            (1, reason::UNSPECIFIED_ERROR),
            (2, reason::QUOTA_EXCEEDED),
            (2, reason::PAYLOAD_FORMAT_INVALID),
        ] {
            let delivery = next(&mut worker, "x");
            assert_eq!((delivery.qos, attempt(&delivery)), (2, number));
            worker.send(pubrec(delivery.packet_identifier).reason(refusal));
        }
        scene.wait_for("dead", 1);
        worker.expect_ping();
    }
}

#[test]
fn rests_grow() {
    let mut scene = Scene::with(
        r#"{"backoff": {"first": "100ms", "factor": 3, "max": "400ms", "jitter": 0},
            "max_attempts": 0}"#,
    );
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    scene.push("$queue/jobs", "x");
    for rest in [100, 300, 400, 400] {
        let delivery = next(&mut worker, "x");
        let refused = Instant::now();
        answer(&mut worker, &delivery, reason::UNSPECIFIED_ERROR);
        let Packet::Publish(again) = worker.recv() else {
            panic!("expected the message again");
        };
        assert!(refused.elapsed() >= Duration::from_millis(rest));
        answer(&mut worker, &again, reason::QUOTA_EXCEEDED);
    }
}

#[test]
fn late_puback_is_ignored() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "600ms"}"#);
        let mut slow = scene.worker(version, "slow", "$queue/jobs");
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut slow, "x");
        let mut quick = scene.worker(Version::V5, "quick", "$queue/jobs");
        scene.control("jobs", "alter", r#"{"visibility": "60s"}"#);
        let again = next(&mut quick, "x");
        assert_eq!(attempt(&again), 2);
        slow.send(puback(delivery.packet_identifier));
        slow.expect_ping();
        assert_eq!(scene.info()["leased"], 1, "it is the other's now");
        answer(&mut quick, &again, reason::SUCCESS);
        scene.wait_until_done();
        slow.expect_ping();
        quick.expect_ping();
    }
}

#[test]
fn late_refusal_is_ignored() {
    let mut scene = Scene::with(r#"{"visibility": "600ms"}"#);
    let mut slow = scene.worker(Version::V5, "slow", "$queue/jobs");
    scene.push("$queue/jobs", "x");
    let delivery = next(&mut slow, "x");
    let mut quick = scene.worker(Version::V311, "quick", "$queue/jobs");
    scene.control("jobs", "alter", r#"{"visibility": "60s"}"#);
    let again = next(&mut quick, "x");
    answer(&mut slow, &delivery, reason::PAYLOAD_FORMAT_INVALID);
    slow.expect_ping();
    let info = scene.info();
    assert_eq!(
        (&info["leased"], &info["dead"]),
        (&json!(1), &json!(0)),
        "{info}"
    );
    answer(&mut quick, &again, reason::SUCCESS);
    scene.wait_until_done();
}

/// The identifier stays taken, so that a consumer that never answers is sent nothing more.
#[test]
fn lapsed_delivery_takes_credit_until_it_is_answered() {
    let mut scene = Scene::with(r#"{"visibility": "100ms"}"#);
    let connect = Connect::new(Version::V5, "worker").property(Property::receive_maximum(1));
    let mut worker = scene.broker.connect(connect);
    worker.subscribe("$queue/jobs", 1);
    scene.push("$queue/jobs", "x");
    let delivery = next(&mut worker, "x");
    scene.wait_for("ready", 1);
    scene.control("jobs", "alter", r#"{"visibility": "60s"}"#);
    worker.expect_ping();
    answer(&mut worker, &delivery, reason::SUCCESS);
    let again = next(&mut worker, "x");
    assert_eq!(attempt(&again), 2, "the late answer settled nothing");
    answer(&mut worker, &again, reason::SUCCESS);
    scene.wait_until_done();
}

/// Deliveries that lapse are attempts, and count.
#[test]
fn what_lapses_again_and_again_is_dead() {
    let mut scene = Scene::with(r#"{"visibility": "50ms", "max_attempts": 3}"#);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    scene.push("$queue/jobs", "x");
    for number in 1..=3 {
        assert_eq!(attempt(&next(&mut worker, "x")), number);
    }
    scene.wait_for("dead", 1);
    worker.expect_ping();
}

/// PUBACKs in another order than the deliveries.
#[test]
fn deliveries_are_settled_in_any_order() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        scene.push_numbers(5);
        let deliveries: Vec<_> = (0..5).map(|_| worker.expect_publish()).collect();
        for place in [3, 0, 4, 1] {
            answer(&mut worker, &deliveries[place], reason::SUCCESS);
        }
        scene.wait_for("leased", 1);
        let left = &scene.control("jobs", "peek", "").body;
        assert_eq!(left[0]["payload"], text(&deliveries[2]));
        assert_eq!(left[0]["state"], "leased");
    }
}

/// At QoS 2 the exchange is played to its end, though the message is somebody else's since.
#[test]
fn late_exchange_of_qos_2_is_played_to_its_end() {
    for version in Version::ALL {
        for connect in [
            Connect::new(version, "slow"),
            Connect::new(version, "slow").persistent(),
        ] {
            let mut scene = Scene::with(r#"{"visibility": "600ms"}"#);
            let mut slow = scene.broker.connect(connect);
            slow.subscribe("$queue/jobs", 2);
            for payload in ["x", "y"] {
                scene.push("$queue/jobs", payload);
            }
            let early = next(&mut slow, "x");
            slow.send(pubrec(early.packet_identifier));
            slow.expect_pubrel(early.packet_identifier);
            let late = next(&mut slow, "y");
            let mut quick = scene.worker(Version::V5, "quick", "$queue/jobs");
            scene.control("jobs", "alter", r#"{"visibility": "60s"}"#);
            let mut again = [quick.expect_publish(), quick.expect_publish()];
            again.sort_by(|one, other| one.payload.cmp(&other.payload));
            assert_eq!(again.each_ref().map(text), ["x", "y"]);
            slow.send(pubcomp(early.packet_identifier));
            slow.send(pubrec(late.packet_identifier));
            slow.expect_pubrel(late.packet_identifier);
            slow.send(pubcomp(late.packet_identifier));
            slow.expect_ping();
            assert_eq!(scene.info()["leased"], 2, "they are the other's");
            for delivery in &again {
                answer(&mut quick, delivery, reason::SUCCESS);
            }
            scene.wait_until_done();
            // And it consumes as before.
            drop(quick);
            scene.wait_for("consumers", 1);
            scene.push("$queue/jobs", "z");
            next(&mut slow, "z");
        }
    }
}
