//! Consumers that do not read, and an end in good order.

use nexum_harness::{Connect, TemporaryDirectory, Version, puback};

use crate::scene::{Scene, attempt, builder, next, take};

/// More than the sockets between the two take.
const LARGE_BYTES: usize = 900_000;
const COUNT: usize = 20;

#[track_caller]
fn push_large(scene: &mut Scene) {
    for number in 0..COUNT {
        scene.push("$queue/jobs", &large(number));
    }
}

fn large(number: usize) -> String {
    let padding = "x".repeat(LARGE_BYTES);
    format!("{number} {padding}")
}

#[track_caller]
fn scene(options: &str) -> Scene {
    let mut scene = Scene::on(builder().set("limits.outbound_buffer_bytes", "64 KiB"));
    scene.create("jobs", options);
    scene
}

/// What does not fit into the socket waits, and comes when the consumer reads.
#[test]
fn slow_reader_gets_everything() {
    for version in Version::ALL {
        for qos in 0..3 {
            let mut scene = scene(r#"{"allow_qos0": true}"#);
            let mut worker = scene.broker.client(version, "worker");
            worker.subscribe("$queue/jobs", qos);
            push_large(&mut scene);
            for number in 0..COUNT {
                let delivery = worker.expect_message();
                assert_eq!(delivery.payload, large(number).into_bytes());
            }
            scene.wait_until_done();
        }
    }
}

/// What never left is no attempt, and goes to another at once.
#[test]
fn what_never_left_is_no_attempt() {
    for version in Version::ALL {
        for stays in [false, true] {
            let mut scene = scene(r#"{"max_attempts": 1, "dispatch": "round_robin"}"#);
            let connect = Connect::new(version, "deaf");
            let mut deaf = scene
                .broker
                .connect(if stays { connect.persistent() } else { connect });
            deaf.subscribe("$queue/jobs", 1);
            push_large(&mut scene);
            assert_eq!(scene.info()["leased"], COUNT);
            drop(deaf);
            // Some were on their way, and are dead, or are with the session until their time is over.
            let lost = if stays { "leased" } else { "dead" };
            scene.wait_for("consumers", 0);
            let info = scene.info();
            let ready = info["ready"].as_u64().expect("it is a number");
            assert_eq!(info[lost], COUNT as u64 - ready, "{info}");
            assert!(ready > 0, "not all of them fit into the sockets: {info}");
            let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
            for _ in 0..ready {
                let delivery = worker.expect_message();
                assert_eq!(attempt(&delivery), 1);
            }
        }
    }
}

/// SIGTERM is no kill: what was settled is settled.
#[test]
fn settled_before_the_end_in_good_order() {
    for version in Version::ALL {
        let directory = TemporaryDirectory::new();
        let start = || Scene::on(builder().data_directory(&directory.path().join("data")));
        let mut scene = start();
        scene.create("jobs", "");
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        scene.push_numbers(11);
        take(&mut worker, 10);
        let last = next(&mut worker, "10");
        worker.expect_ping();
        assert!(scene.broker.terminate().success());
        drop(scene);
        let mut scene = start();
        let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
        let again = next(&mut worker, "10");
        assert_eq!(again.topic, last.topic);
        worker.send(puback(again.packet_identifier));
        scene.wait_until_done();
    }
}
