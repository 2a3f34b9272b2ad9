//! A store without room: `storage.disk_budget_bytes`.

use nexum_harness::{Peer, Publish, Version, reason};

use crate::scene::{Scene, answer, builder, publish_to, reason_of, take, text};

const BUDGET_BYTES: usize = 1024 * 1024;
const MESSAGE_BYTES: usize = 4096;

/// Some KiB that begin with a number.
fn bulky(number: usize) -> Publish {
    let payload = format!("{number:0>MESSAGE_BYTES$}");
    Publish::new("$queue/jobs", &payload)
}

/// Pushes until there is no room. Returns how many were acknowledged.
#[track_caller]
fn fill(producer: &mut Peer) -> usize {
    for number in 0..BUDGET_BYTES / MESSAGE_BYTES {
        let ack = publish_to(producer, bulky(number));
        if ack.reason == reason::QUOTA_EXCEEDED {
            assert!(reason_of(&ack.properties).contains("the store"), "{ack:?}");
            return number;
        }
        assert_eq!(ack.reason, 0, "{ack:?}");
    }
    panic!("messages of {MESSAGE_BYTES} bytes fill more than {BUDGET_BYTES} bytes");
}

#[test]
fn push_to_a_full_store_is_refused() {
    let mut scene = Scene::on(builder().set("storage.disk_budget_bytes", BUDGET_BYTES));
    scene.create("jobs", "");
    let mut producer = scene.broker.client(Version::V5, "producer");
    let count = fill(&mut producer);
    assert!(count > 100, "most of the budget is for messages: {count}");
    for qos in [1, 2] {
        producer.send(bulky(1000).qos(qos, 9));
        let ack = match qos {
            1 => producer.expect_puback(9),
            _ => producer.expect_pubrec(9),
        };
        assert_eq!(ack.reason, reason::QUOTA_EXCEEDED, "at QoS {qos}");
        // It has no words to refuse, and must not acknowledge.
        let mut old = scene.broker.client(Version::V311, "old");
        old.send(bulky(1000).qos(qos, 9));
        old.expect_closed();
    }
    assert_eq!(
        scene.info()["ready"],
        count,
        "none of those is in the queue"
    );
    // Nothing acknowledged is lost, and what is done makes room.
    scene.restart();
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    for number in 0..count {
        let delivery = worker.expect_message();
        assert_eq!(text(&delivery).parse(), Ok(number));
    }
    scene.wait_until_done();
    let mut producer = scene.broker.client(Version::V5, "producer");
    let deadline = std::time::Instant::now() + crate::scene::PATIENCE;
    while publish_to(&mut producer, Publish::new("$queue/jobs", "x")).reason != 0 {
        assert!(std::time::Instant::now() < deadline, "there is never room");
    }
    assert_eq!(take(&mut worker, 1), ["x"]);
    scene.wait_until_done();
}

#[test]
fn what_is_given_back_does_not_keep_what_is_done_from_making_room() {
    let mut scene = Scene::on(builder().set("storage.disk_budget_bytes", BUDGET_BYTES));
    scene.create(
        "jobs",
        r#"{"max_attempts": 100, "backoff": {"first": "1h"}}"#,
    );
    let mut producer = scene.broker.client(Version::V5, "producer");
    let count = fill(&mut producer);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    // That it failed has to be stored, and there is no room for it.
    let failed = worker.expect_message();
    answer(&mut worker, &failed, reason::UNSPECIFIED_ERROR);
    for _ in 1..count {
        let delivery = worker.expect_message();
        answer(&mut worker, &delivery, 0);
    }
    let deadline = std::time::Instant::now() + crate::scene::PATIENCE;
    while publish_to(&mut producer, Publish::new("$queue/jobs", "x")).reason != 0 {
        assert!(std::time::Instant::now() < deadline, "there is never room");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
