//! Consume: what a delivery is, who gets it, and how much at once.

use nexum_harness::{
    Connect, Peer, Property, Publish, Subscribe, Version, puback, pubcomp, pubrec, reason,
};

use crate::commands::{self, Listener};
use crate::scene::{
    Scene, attempt, builder, label, next, reason_of, receive_released, refused_filter, take, text,
    unsubscribe,
};

#[test]
fn consume_with_mosquitto() {
    let mut scene = Scene::start();
    commands::publish(&scene, "$queue/jobs", "waited");
    let mut listener = Listener::start(&scene, "$queue/jobs");
    listener.expect("$queue/jobs", "waited");
    commands::publish(&scene, "$queue/jobs/eu/new", "came");
    listener.expect("$queue/jobs", "came");
    // mosquitto_sub acknowledges what it prints, and that was all.
    scene.wait_until_done();
    drop(listener);
    let mut listener = Listener::start(&scene, "$queue/jobs/#");
    commands::publish(&scene, "$queue/jobs/eu/new", "next");
    listener.expect("$queue/jobs/eu/new", "next");
    scene.wait_until_done();
}

#[test]
fn consume_on_5() {
    let mut scene = Scene::start();
    let mut worker = scene.broker.client(Version::V5, "worker");
    worker.send(
        Subscribe::new(1)
            .filter("$queue/jobs/#", 1)
            .property(Property::subscription_identifier(17)),
    );
    worker.expect_suback(1, &[1]);
    scene.push("$queue/jobs/eu/new", "a");
    scene.push("$queue/jobs", "b");
    let first = next(&mut worker, "a");
    let second = next(&mut worker, "b");
    assert_eq!(first.properties.subscription_identifiers(), [17]);
    let number = |delivery: &Publish, name| -> u64 {
        let value = label(delivery, name).unwrap_or_else(|| panic!("no {name}: {delivery:?}"));
        value.parse().expect("it is a number")
    };
    assert!(number(&first, "q-id") < number(&second, "q-id"));
    assert_eq!(number(&first, "q-attempt"), 1);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("it is later than 1970");
    let age = now.as_millis() as u64 - number(&first, "q-ts");
    assert!(age < 60_000, "q-ts is in milliseconds of Unix time: {age}");
    assert_eq!(label(&first, "q-key"), Some("eu/new"));
    assert_eq!(label(&second, "q-key"), None);
}

#[test]
fn puback_is_done() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut worker, "x");
        assert_eq!(scene.info()["leased"], 1);
        worker.send(puback(delivery.packet_identifier));
        scene.wait_until_stored();
        scene.restart();
        assert_eq!(scene.info()["bytes"], 0, "and stays so");
    }
}

#[test]
fn pubcomp_is_done() {
    for version in Version::ALL {
        for connect in [
            Connect::new(version, "worker"),
            Connect::new(version, "worker").persistent(),
        ] {
            let mut scene = Scene::start();
            let mut worker = scene.broker.connect(connect);
            worker.subscribe("$queue/jobs", 2);
            scene.push("$queue/jobs", "x");
            let delivery = next(&mut worker, "x");
            assert_eq!(delivery.qos, 2);
            receive_released(&mut worker, delivery.packet_identifier);
            assert_eq!(scene.info()["leased"], 1, "PUBREC is not the end");
            worker.send(pubcomp(delivery.packet_identifier));
            scene.wait_until_done();
        }
    }
}

/// What was received and not completed is another message to whoever comes back: the identifier is
/// released, the message comes again.
#[test]
fn half_an_exchange_of_qos_2_settles_nothing() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "300ms"}"#);
        let connect = Connect::new(version, "worker").persistent();
        let mut worker = scene.broker.connect(connect.clone());
        worker.subscribe("$queue/jobs", 2);
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut worker, "x");
        worker.send(pubrec(delivery.packet_identifier));
        worker.expect_pubrel(delivery.packet_identifier);
        worker.cut();
        let mut worker = scene.broker.connect(connect.resume());
        // [MQTT-4.4.0-1]
        worker.expect_pubrel(delivery.packet_identifier);
        worker.send(pubcomp(delivery.packet_identifier));
        let again = worker.expect_message();
        assert_eq!(text(&again), "x");
        scene.wait_until_done();
    }
}

/// A consumer that answers faster gets more; nobody gets everything.
#[test]
fn consumers_compete_fairly() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let mut workers = [
            scene.worker(version, "one", "$queue/jobs"),
            scene.worker(version, "two", "$queue/jobs/#"),
        ];
        scene.push_numbers(20);
        let mut all = Vec::new();
        for worker in &mut workers {
            let got = take(worker, 10);
            assert!(got.iter().map(|it| number(it)).is_sorted(), "{got:?}");
            all.extend(got);
            worker.expect_ping();
        }
        all.sort_by_key(|it| number(it));
        assert!(all.iter().map(|it| number(it)).eq(0..20), "{all:?}");
        for worker in workers {
            worker.disconnect();
        }
    }
}

/// Shared subscriptions and plain ones, of any group, are one competing set.
#[test]
fn share_is_the_same_competing_set() {
    let mut scene = Scene::start();
    let mut workers = [
        scene.worker(Version::V5, "plain", "$queue/jobs"),
        scene.worker(Version::V5, "one", "$share/g/$queue/jobs"),
        scene.worker(Version::V311, "other", "$share/h/$queue/jobs"),
    ];
    scene.push_numbers(30);
    let mut all: Vec<usize> = Vec::new();
    for worker in &mut workers {
        all.extend(take(worker, 10).iter().map(|it| number(it)));
        worker.expect_ping();
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..30));
}

#[test]
fn receive_maximum_is_the_prefetch() {
    let mut scene = Scene::start();
    let connect = Connect::new(Version::V5, "worker").property(Property::receive_maximum(3));
    let mut worker = scene.broker.connect(connect);
    worker.subscribe("$queue/jobs", 1);
    expect_prefetch(&mut scene, &mut worker, 3);
}

#[test]
fn limits_prefetch_holds_without_a_receive_maximum() {
    for version in Version::ALL {
        let mut scene = Scene::on(builder().set("limits.prefetch", 2));
        scene.create("jobs", "");
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        expect_prefetch(&mut scene, &mut worker, 2);
    }
}

#[test]
fn prefetch_of_the_queue_holds_for_each_consumer() {
    let mut scene = Scene::with(r#"{"prefetch": 1}"#);
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    expect_prefetch(&mut scene, &mut worker, 1);
}

/// So many unsettled deliveries, and one more for each that is settled.
#[track_caller]
fn expect_prefetch(scene: &mut Scene, worker: &mut Peer, prefetch: usize) {
    scene.push_numbers(prefetch + 3);
    let mut open: Vec<Publish> = Vec::new();
    for number in 0..prefetch {
        open.push(next(worker, &number.to_string()));
    }
    worker.expect_ping();
    scene.wait_for("leased", prefetch as u64);
    for number in prefetch..prefetch + 3 {
        let done = open.remove(0);
        worker.send(puback(done.packet_identifier));
        open.push(next(worker, &number.to_string()));
        worker.expect_ping();
    }
    // What another consumer does not take is not lost to this one.
    assert_eq!(scene.info()["ready"], 0);
}

/// A message goes past a consumer that has its hands full.
#[test]
fn a_full_consumer_does_not_hold_up_another() {
    let mut scene = Scene::start();
    let connect = Connect::new(Version::V5, "slow").property(Property::receive_maximum(1));
    let mut slow = scene.broker.connect(connect);
    slow.subscribe("$queue/jobs", 1);
    scene.push("$queue/jobs", "first");
    next(&mut slow, "first");
    let mut quick = scene.worker(Version::V311, "quick", "$queue/jobs");
    scene.push_numbers(5);
    assert_eq!(take(&mut quick, 5), ["0", "1", "2", "3", "4"]);
    slow.expect_ping();
}

#[test]
fn qos_0_consumer_is_refused() {
    let scene = Scene::start();
    let mut worker = scene.broker.client(Version::V5, "worker");
    let suback = refused_filter(&mut worker, "$queue/jobs", 0, reason::TOPIC_FILTER_INVALID);
    assert!(reason_of(&suback.properties).contains("allow_qos0"));
    Listener::is_refused(&scene, "$queue/jobs", &["-q", "0"]);
}

/// Neither does it slip in by subscribing once more.
#[test]
fn qos_0_consumer_is_refused_the_second_time() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        let refusal = match version {
            Version::V311 => reason::UNSPECIFIED_ERROR,
            Version::V5 => reason::TOPIC_FILTER_INVALID,
        };
        refused_filter(&mut worker, "$queue/jobs", 0, refusal);
        scene.push("$queue/jobs", "x");
        worker.expect_ping();
        worker.subscribe("$queue/jobs", 2);
        assert_eq!(next(&mut worker, "x").qos, 2);
    }
}

#[test]
fn qos_0_consumer_of_a_queue_that_allows_it() {
    let mut scene = Scene::with(r#"{"allow_qos0": true}"#);
    for version in Version::ALL {
        let mut worker = scene.broker.client(version, "worker");
        worker.subscribe("$queue/jobs", 0);
        scene.push("$queue/jobs", "x");
        assert_eq!(next(&mut worker, "x").qos, 0);
        scene.wait_until_done();
        worker.disconnect();
    }
}

/// The subscription is replaced, as any.
#[test]
fn subscribing_again_changes_the_qos() {
    let mut scene = Scene::with(r#"{"allow_qos0": true}"#);
    let mut worker = scene.broker.client(Version::V5, "worker");
    for qos in [0, 2, 1, 0] {
        worker.subscribe("$queue/jobs", qos);
        scene.push("$queue/jobs", "x");
        let delivery = worker.expect_message();
        assert_eq!(delivery.qos, qos);
        scene.wait_until_done();
    }
}

/// What was delivered may still be settled; nothing more comes.
#[test]
fn unsubscribe_keeps_what_was_delivered() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let mut worker = scene.worker(version, "worker", "$queue/jobs/#");
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut worker, "x");
        unsubscribe(&mut worker, "$queue/jobs/#");
        scene.push("$queue/jobs", "y");
        worker.expect_ping();
        worker.send(puback(delivery.packet_identifier));
        scene.wait_for("leased", 0);
        assert_eq!(scene.info()["ready"], 1);
        let mut other = scene.worker(version, "other", "$queue/jobs");
        let delivery = next(&mut other, "y");
        if version == Version::V5 {
            assert_eq!(attempt(&delivery), 1, "it was nowhere yet");
        }
        other.send(puback(delivery.packet_identifier));
        scene.wait_until_done();
        worker.disconnect();
        other.disconnect();
    }
}

/// A queue is a backlog of its own: nothing of it is queued for a session that is away.
#[test]
fn nothing_waits_in_the_session_of_an_absent_consumer() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let connect = Connect::new(version, "absent").persistent();
        let mut absent = scene.broker.connect(connect.clone());
        absent.subscribe("$queue/jobs", 1);
        absent.disconnect();
        scene.push("$queue/jobs", "x");
        let mut other = scene.worker(version, "other", "$queue/jobs");
        assert_eq!(take(&mut other, 1), ["x"]);
        let mut absent = scene.broker.connect(connect.resume());
        assert!(absent.connack().session_present);
        absent.expect_ping();
        other.disconnect();
        // It has subscribed already.
        scene.push("$queue/jobs", "y");
        assert_eq!(take(&mut absent, 1), ["y"]);
        absent.disconnect();
        drop(scene.broker.client(version, "absent"));
    }
}

/// A message that is larger than a consumer takes goes to others.
#[test]
fn too_large_for_one_consumer() {
    let mut scene = Scene::with(crate::scene::SOON);
    let connect = Connect::new(Version::V5, "small").property(Property::maximum_packet_size(100));
    let mut small = scene.broker.connect(connect);
    small.subscribe("$queue/jobs", 1);
    let large = "x".repeat(200);
    scene.push("$queue/jobs", &large);
    small.expect_ping();
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    small.disconnect();
    assert_eq!(take(&mut worker, 1), [large]);
}

fn number(payload: &str) -> usize {
    payload.parse().expect("these are numbers")
}

/// Several filters of one client on one queue: each message comes once, on one of them.
#[test]
fn overlapping_filters_get_each_message_once() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs/#");
        for filter in ["$queue/jobs/eu", "$queue/jobs/+", "$share/g/$queue/jobs/#"] {
            worker.subscribe(filter, 1);
        }
        for number in 0..8 {
            scene.push("$queue/jobs/eu", &number.to_string());
        }
        let got = take(&mut worker, 8);
        assert!(got.iter().map(|it| number(it)).eq(0..8), "{got:?}");
        worker.expect_ping();
        scene.wait_until_done();
        // One that is left is enough.
        for filter in ["$queue/jobs/#", "$queue/jobs/+", "$share/g/$queue/jobs/#"] {
            unsubscribe(&mut worker, filter);
        }
        scene.push("$queue/jobs/eu", "x");
        scene.push("$queue/jobs/us", "y");
        assert_eq!(take(&mut worker, 1), ["x"]);
        worker.expect_ping();
        assert_eq!(scene.info()["ready"], 1);
    }
}

/// A consumer of several queues gets of each in turn.
#[test]
fn queues_of_one_consumer_take_turns() {
    for version in Version::ALL {
        let mut scene = Scene::on(builder().set("limits.prefetch", 1));
        scene.create("jobs", "");
        scene.create("mail", "");
        for number in 0..5 {
            for queue in ["jobs", "mail"] {
                scene.push(&format!("$queue/{queue}"), &number.to_string());
            }
        }
        let mut worker = scene.broker.client(version, "worker");
        worker.send(
            Subscribe::new(1)
                .filter("$queue/jobs", 1)
                .filter("$queue/mail", 1),
        );
        worker.expect_suback(1, &[1, 1]);
        let got: Vec<String> = (0..10).map(|_| worker.expect_message().topic).collect();
        let of_jobs = |part: &[String]| part.iter().filter(|it| *it == "$queue/jobs").count();
        assert_eq!(of_jobs(&got), 5);
        assert!((1..=3).contains(&of_jobs(&got[..4])), "{got:?}");
        worker.expect_ping();
    }
}

/// Queue messages and plain ones share a connection and its quota.
#[test]
fn deliveries_beside_plain_messages() {
    let mut scene = Scene::start();
    let connect = Connect::new(Version::V5, "worker").property(Property::receive_maximum(2));
    let mut worker = scene.broker.connect(connect);
    worker.subscribe("$queue/jobs", 1);
    worker.subscribe("plain", 1);
    scene.push_numbers(2);
    scene.push("plain", "a");
    scene.push("plain", "b");
    let mut got = Vec::new();
    for _ in 0..4 {
        let delivery = worker.expect_message();
        got.push(text(&delivery).to_owned());
    }
    got.sort();
    assert_eq!(got, ["0", "1", "a", "b"]);
    scene.wait_until_done();
}

/// Topic Aliases of the broker's stand for the topics of deliveries as well.
#[test]
fn topic_aliases_of_deliveries() {
    let mut scene = Scene::start();
    let connect = Connect::new(Version::V5, "worker").property(Property::topic_alias_maximum(2));
    let mut worker = scene.broker.connect(connect);
    worker.subscribe("$queue/jobs/#", 1);
    for topic in ["a", "b", "a", "c", "b", "a"] {
        scene.push(&format!("$queue/jobs/{topic}"), topic);
        let delivery = worker.expect_message();
        assert_eq!(delivery.topic, format!("$queue/jobs/{topic}"));
    }
    // And those of a producer for its own.
    let mut producer = scene.broker.client(Version::V5, "producer");
    for topic in ["$queue/jobs/a", ""] {
        let publish = Publish::new(topic, "x").property(Property::topic_alias(1));
        assert_eq!(crate::scene::publish_to(&mut producer, publish).reason, 0);
        assert_eq!(worker.expect_message().topic, "$queue/jobs/a");
    }
}
