//! More than memory holds, more than one shard, and producers that lose their connection.

use nexum_harness::{Connect, Peer, Publish, Version, pubrel, reason};

use crate::commands::{self, Listener};
use crate::scene::{Scene, answer, builder, next, publish_to, take, text};

/// A queue whose messages are on the disk alone until it is their turn.
#[track_caller]
fn small_memory(options: &str) -> Scene {
    let mut scene = Scene::on(builder().set("queue.memory_bytes", "1 KiB"));
    scene.create("jobs", options);
    scene
}

/// A payload that begins with its number.
fn padded(number: usize) -> String {
    format!("{number:04}{}", "x".repeat(200))
}

#[test]
fn backlog_beyond_memory_keeps_its_order() {
    const COUNT: usize = 600;
    for version in Version::ALL {
        let mut scene = small_memory("");
        for number in 0..COUNT {
            scene.push("$queue/jobs/eu", &padded(number));
        }
        let shown = scene.control("jobs", "peek", r#"{"offset": 590, "limit": 1}"#);
        assert_eq!(shown.body[0]["payload"], padded(590));
        let mut worker = scene.worker(version, "worker", "$queue/jobs/#");
        let half = take(&mut worker, COUNT / 2);
        assert!(half.into_iter().eq((0..COUNT / 2).map(padded)));
        // They are pushed while others are read.
        for number in COUNT..COUNT + 50 {
            scene.push("$queue/jobs/us", &padded(number));
        }
        let rest = take(&mut worker, COUNT / 2 + 50);
        assert!(rest.into_iter().eq((COUNT / 2..COUNT + 50).map(padded)));
        scene.wait_until_done();
    }
}

#[test]
fn backlog_beyond_memory_after_kill_9() {
    const COUNT: usize = 300;
    let mut scene = small_memory(r#"{"order": "prio"}"#);
    for number in 0..COUNT {
        let topic = format!("$opt/prio={}/$queue/jobs/{}", number % 3, number % 7);
        scene.push(&topic, &padded(number));
    }
    scene.restart();
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/#");
    let expected = [2, 1, 0].map(|priority| (priority..COUNT).step_by(3));
    let got = take(&mut worker, COUNT);
    assert!(
        got.into_iter()
            .eq(expected.into_iter().flatten().map(padded))
    );
    scene.wait_until_done();
}

/// What is on the disk alone is settled, refused and buried like anything else.
#[test]
fn what_is_not_in_memory_is_refused_and_buried() {
    let mut scene = small_memory(crate::scene::SOON);
    for number in 0..60 {
        scene.push("$queue/jobs", &padded(number));
    }
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    for number in 0..60 {
        let delivery = worker.expect_publish();
        let refusal = match number % 3 {
            0 => reason::SUCCESS,
            1 => reason::PAYLOAD_FORMAT_INVALID,
            _ => reason::UNSPECIFIED_ERROR,
        };
        answer(&mut worker, &delivery, refusal);
    }
    // A third comes again, and may have come among those.
    scene.wait_for("ready", 0);
    while scene.info()["ready"] != 0 || scene.info()["delayed"] != 0 || scene.info()["leased"] != 0
    {
        let delivery = worker.expect_publish();
        answer(&mut worker, &delivery, reason::SUCCESS);
    }
    let dead = scene.info()["dead"].as_u64().expect("it is a number");
    assert!(dead > 0);
    scene.control("jobs", "dlq.redrive", r#"{"all": true}"#);
    let again = take(&mut worker, dead as usize);
    assert!(again.is_sorted(), "{again:?}");
    scene.wait_until_done();
}

/// Producers and consumers of every shard meet at the queue.
#[test]
fn many_producers_and_consumers() {
    for shards in [1, 3] {
        let mut scene = Scene::on(builder().set("server.shards", shards));
        scene.create("jobs", "");
        let mut workers: Vec<_> = (0..6)
            .map(|number| {
                let version = Version::ALL[number % 2];
                scene.worker(version, &format!("worker {number}"), "$queue/jobs/#")
            })
            .collect();
        for number in 0..12 {
            let version = Version::ALL[number % 2];
            let mut producer = scene.broker.client(version, &format!("producer {number}"));
            for count in 0..10 {
                let payload = format!("{number} {count}");
                let publish = Publish::new("$queue/jobs/x", &payload);
                assert_eq!(publish_to(&mut producer, publish).reason, 0);
            }
        }
        let mut all = Vec::new();
        for worker in &mut workers {
            all.extend(take(worker, 20));
            worker.expect_ping();
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 120, "each once");
        scene.wait_until_done();
    }
}

/// A producer that did not hear PUBREC sends again, and it is one message all the same, whoever died
/// meanwhile.
#[test]
fn push_at_qos_2_is_one_message() {
    for version in Version::ALL {
        for (topic, broker_dies) in [
            ("$queue/jobs", false),
            ("$queue/jobs", true),
            ("$opt/id=1/$delayed/0/$q/jobs/eu", true),
            ("$req/t/$opt/id=1/$queue/jobs", false),
        ] {
            let mut scene = Scene::start();
            let connect = Connect::new(version, "producer").persistent();
            let mut producer = scene.broker.connect(connect.clone());
            let push = Publish::new(topic, "x").qos2(5);
            producer.send(push.clone());
            producer.expect_pubrec(5);
            if broker_dies {
                scene.restart();
            } else {
                producer.cut();
            }
            let mut producer = scene.broker.connect(connect.resume());
            assert!(producer.connack().session_present);
            producer.send(push.duplicate());
            assert_eq!(producer.expect_pubrec(5).reason, 0);
            producer.send(pubrel(5));
            producer.expect_pubcomp(5);
            assert_eq!(scene.info()["ready"], 1, "{topic} on {version:?}");
            // The identifier is free for another.
            producer.publish(Publish::new("$queue/jobs", "y").qos2(5));
            assert_eq!(scene.info()["ready"], 2);
        }
    }
}

/// The commands of mosquitto share a queue like anybody, and give back what they leave.
#[test]
fn shared_and_given_back_with_mosquitto() {
    let mut scene = Scene::start();
    let mut first = Listener::start(&scene, "$share/g/$queue/jobs/#");
    let mut second = Listener::start(&scene, "$share/g/$queue/jobs/#");
    for payload in ["a", "b"] {
        commands::publish(&scene, "$queue/jobs/eu", payload);
    }
    let mut got = [first.next().payload, second.next().payload];
    got.sort();
    assert_eq!(got, ["a", "b"]);
    scene.wait_until_done();
    drop((first, second));
    scene.wait_for("consumers", 0);
    let mut leases = Listener::start(&scene, "$queue/jobs/$lease/#");
    commands::publish(&scene, "$queue/jobs", "x");
    assert!(leases.next().topic.ends_with("/1"));
    drop(leases);
    let mut leases = Listener::start(&scene, "$queue/jobs/$lease/#");
    assert!(leases.next().topic.ends_with("/2"), "it was given back");
}

/// With one shard nothing goes from one to another, and everything else is the same.
#[test]
fn one_shard() {
    let mut scene = Scene::on(builder().set("server.shards", 1));
    scene.create("jobs", r#"{"visibility": "700ms"}"#);
    for version in Version::ALL {
        let mut slow = scene.worker(version, "slow", "$queue/jobs");
        scene.push("$queue/jobs/eu", "x");
        next(&mut slow, "x");
        let mut quick = scene.worker(version, "quick", "$queue/jobs/#");
        let again = quick.expect_message();
        assert_eq!(
            (again.topic.as_str(), text(&again)),
            ("$queue/jobs/eu", "x")
        );
        scene.wait_until_done();
        slow.disconnect();
        quick.disconnect();
    }
    scene.wait_until_stored();
    scene.restart();
    assert_eq!(scene.info()["bytes"], 0);
}

/// A producer that is far ahead of the disk is held back, and hears of each push, in order.
#[test]
fn pipelined_pushes_are_all_answered() {
    const COUNT: u16 = 300;
    for version in Version::ALL {
        let mut scene = Scene::on(builder().set("queue.memory_bytes", "1 MiB"));
        scene.create("jobs", "");
        let address = scene.broker.address("tcp");
        let producer = std::thread::spawn(move || {
            let mut producer = Peer::connect(address, version);
            producer.log_in(Connect::new(version, "producer"));
            let padding = "x".repeat(60_000);
            for number in 1..=COUNT {
                let payload = format!("{number} {padding}");
                producer.send(Publish::new("$queue/jobs", &payload).qos1(number));
            }
            for number in 1..=COUNT {
                assert_eq!(producer.expect_puback(number).reason, 0);
            }
        });
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        for number in 1..=COUNT {
            let delivery = worker.expect_message();
            let (first, _) = text(&delivery).split_once(' ').expect("it is padded");
            assert_eq!(first.parse(), Ok(number));
        }
        producer.join().expect("the producer is content");
        scene.wait_until_done();
    }
}
