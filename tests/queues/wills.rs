//! A will on a queue: what somebody has to see to when a client is lost.

use nexum_harness::{Connect, Publish, Version, Will};
use serde_json::json;

use crate::scene::{Scene, builder, publish_to, reason_of, text};

/// The will of a client is a push like any, with all that may stand around it.
#[test]
fn will_is_pushed() {
    let scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    for version in Version::ALL {
        for (topic, expected) in [
            ("$queue/jobs", "$queue/jobs"),
            ("$q/jobs/eu", "$queue/jobs/eu"),
            (
                "$opt/prio=3,key=k/$delayed/100ms/$queue/jobs/late",
                "$queue/jobs/late",
            ),
        ] {
            for qos in 0..3 {
                let will = Will::new(topic, "gone").qos(qos);
                let connect = Connect::new(version, "mortal").will(will);
                scene.broker.connect(connect).cut();
                let delivery = worker.expect_message();
                assert_eq!(text(&delivery), "gone");
                assert_eq!(delivery.topic, expected, "{version:?} at QoS {qos}");
                assert_eq!(delivery.qos, 1);
            }
        }
    }
    worker.expect_ping();
}

/// Where nothing can be published, no will can be, and who can be told is told why.
#[test]
fn impossible_will_is_refused() {
    let scene = Scene::start();
    for (topic, part) in [
        ("$opt/prio=x/$queue/jobs", "from 0 to 255"),
        ("$queue/../jobs", "A-Z a-z 0-9"),
        ("$q", "empty"),
        ("$reply/t/ok", "only the broker"),
        ("$stream/b/k", "serves $stream"),
    ] {
        for version in Version::ALL {
            let will = Will::new(topic, "gone");
            let mut peer = scene.broker.dial(version);
            peer.send(Connect::new(version, "mortal").will(will));
            let connack = peer.expect_connack();
            assert_ne!(connack.reason, 0, "{topic} on {version:?}");
            if version == Version::V5 {
                let said = reason_of(&connack.properties);
                assert!(said.contains("its will") && said.contains(part), "{said}");
            }
            peer.expect_closed();
        }
    }
}

/// A will to a queue that is not there is lost; its client has gone, and nobody else is harmed. The
/// log says so.
#[test]
fn will_to_a_missing_queue() {
    let mut scene = Scene::on(builder());
    for version in Version::ALL {
        let will = Will::new("$queue/jobs", "gone").qos(1);
        let connect = Connect::new(version, "mortal").will(will);
        scene.broker.connect(connect).cut();
        // Whether or not the broker has heard of the end: who takes over comes after it.
        scene.broker.client(version, "mortal").disconnect();
    }
    scene.create("jobs", "");
    scene.wait_for_log(r#"the will of "mortal" to "$queue/jobs" is refused: not_found"#);
    let mut producer = scene.broker.client(Version::V5, "producer");
    assert_eq!(
        publish_to(&mut producer, Publish::new("$queue/jobs", "x")).reason,
        0
    );
    let counts = scene.info();
    assert_eq!(json!([counts["ready"], counts["dead"]]), json!([1, 0]));
}
