//! Messages for those who are not there, or never say that they have them.

use nexum_harness::{
    BrokerBuilder, Connect, Packet, Property, Publish, Subscribe, Version, puback,
};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::{Scene, builder};

const QUEUE_FULL: &str = "nexum_messages_dropped_total{reason=\"queue_full\"}";

/// Queues of 1000 messages and so many bytes, for clients that are there or not.
fn bounded(bytes: u64) -> BrokerBuilder {
    builder()
        .set("limits.persistent_queue_messages", 1000)
        .set("limits.persistent_queue_bytes", bytes)
}

/// Publishes at QoS 1, hundreds ahead of the acknowledgements.
fn publish_all(publisher: &mut Raw, topic: &str, payloads: std::ops::Range<u32>, bytes: usize) {
    let numbers: Vec<u32> = payloads.collect();
    for some in numbers.chunks(500) {
        let packets: Vec<u8> = some
            .iter()
            .flat_map(|number| {
                let mut payload = number.to_be_bytes().to_vec();
                payload.resize(bytes, b'x');
                Packet::from(Publish::new(topic, "").payload(&payload).qos1(1)).bytes(Version::V311)
            })
            .collect();
        publisher.send(&packets);
        for _ in some {
            assert_eq!(publisher.next_frame().expect("it stays open")[0], 0x40);
        }
    }
}

fn number(publish: &Publish) -> u32 {
    let (number, _) = publish.payload.split_at(4);
    u32::from_be_bytes(number.try_into().expect("four bytes"))
}

/// Ten times as many messages as the queue takes: it keeps its number, and each that it does not
/// keep is counted.
#[test]
fn queue_of_an_absent_client_is_bounded_in_messages() {
    let scene = Scene::start_with(bounded(16 * MIB));
    for (round, version) in Version::ALL.into_iter().enumerate() {
        let connect = Connect::new(version, "absent").persistent();
        let mut subscriber = scene.broker.connect(connect.clone());
        subscriber.subscribe("queue", 1);
        subscriber.disconnect();
        let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
        publish_all(&mut publisher, "queue", 0..10_000, 100);
        scene.metrics.wait_for("nexum_queued_messages", 1000.0);
        scene
            .metrics
            .wait_for(QUEUE_FULL, 9_000.0 * (round + 1) as f64);
        let mut subscriber = scene.broker.connect(connect.resume());
        let mut kept = Vec::new();
        for _ in 0..1000 {
            kept.push(number(&subscriber.expect_message()));
        }
        subscriber.expect_ping();
        // Which ones it keeps is its choice; that they stay in order is not.
        assert!(kept.is_sorted(), "{kept:?}");
        println!("{version:?}: {} to {} were kept", kept[0], kept[999]);
        drop(subscriber);
        // Ends the session.
        scene.broker.client(version, "absent").disconnect();
    }
    scene.finish(4 * MIB);
}

/// `limits.persistent_queue_bytes`: 16 MiB, however large the messages are.
#[test]
fn queue_of_an_absent_client_is_bounded_in_bytes() {
    let scene = Scene::start_with(bounded(16 * MIB));
    let connect = Connect::new(Version::V5, "absent").persistent();
    let mut subscriber = scene.broker.connect(connect);
    subscriber.subscribe("queue", 1);
    subscriber.disconnect();
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    publish_all(&mut publisher, "queue", 0..2000, 64 * 1024);
    scene
        .metrics
        .wait_until(QUEUE_FULL, |dropped| dropped >= 2000.0 - 256.0);
    let queued = scene.metrics.value("nexum_queued_messages");
    println!(
        "{queued} of 2,000 messages of 64 KiB are queued: {}",
        mebibytes(scene.growth_bytes())
    );
    drop(publisher);
    assert!((200.0..=256.0).contains(&queued), "16 MiB hold up to 256");
    // Where the disk is slow, what the queue holds is there as message, submission, batch and in what
    // the tables lack.
    scene.finish(16 * MIB * 4);
}

/// Many such queues: each has its bound.
#[test]
fn queues_of_many_absent_clients_share_their_messages() {
    const ABSENT: usize = 200;
    let scene = Scene::start_with(bounded(MIB));
    for number in 0..ABSENT {
        let connect = Connect::new(Version::V5, &format!("absent {number}")).persistent();
        let mut subscriber = scene.broker.connect(connect);
        subscriber.subscribe("queue", 1);
        subscriber.disconnect();
    }
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    publish_all(&mut publisher, "queue", 0..1000, 10_000);
    // 104 messages of 10,000 bytes are one mebibyte: the same 104 for everybody on a shard, once.
    scene
        .metrics
        .wait_for("nexum_queued_messages", (ABSENT * 104) as f64);
    println!(
        "{ABSENT} queues of 1 MiB: {} more",
        mebibytes(scene.growth_bytes())
    );
    drop(publisher);
    // Each of two shards has the messages once; a queue has 256 bytes for each.
    scene.finish(2 * 2 * MIB + (ABSENT * 104 * 256) as u64);
}

/// A client that is there and never acknowledges: what its Receive Maximum allows is in flight,
/// then its queue fills, then messages are dropped. It costs what its queue may.
#[test]
fn client_that_never_acknowledges_is_bounded() {
    let scene = Scene::start_with(bounded(16 * MIB));
    let connect = Connect::new(Version::V5, "mute").persistent();
    let mut mute = scene
        .broker
        .connect(connect.property(Property::receive_maximum(10)));
    mute.subscribe("queue", 1);
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    publish_all(&mut publisher, "queue", 0..5000, 1000);
    for _ in 0..10 {
        mute.expect_publish();
    }
    mute.expect_ping();
    scene.metrics.wait_for("nexum_inflight_messages", 10.0);
    scene.metrics.wait_for("nexum_queued_messages", 1000.0);
    scene.metrics.wait_for(QUEUE_FULL, 3990.0);
    // Still alive: acknowledging one brings the next.
    mute.send(puback(1));
    mute.expect_publish();
    drop((mute, publisher));
    scene.finish(1010 * 2048 + 2 * MIB);
}

/// In 3.1.1 there is no Receive Maximum; `limits.maximum_inflight` takes its place.
#[test]
fn mute_client_of_3_1_1_is_bounded_by_the_brokers_own_limit() {
    let scene = Scene::start_with(bounded(16 * MIB).set("limits.maximum_inflight", 50));
    let mut mute = scene
        .broker
        .connect(Connect::new(Version::V311, "mute").persistent());
    mute.subscribe("queue", 2);
    let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
    publish_all(&mut publisher, "queue", 0..2000, 100);
    for _ in 0..50 {
        mute.expect_publish();
    }
    mute.expect_ping();
    scene.metrics.wait_for("nexum_inflight_messages", 50.0);
    scene.metrics.wait_for(QUEUE_FULL, 950.0);
    drop((mute, publisher));
    scene.finish(2 * MIB);
}

/// Members that take messages and never acknowledge: when they die, the others get every one.
#[test]
fn messages_of_members_that_never_acknowledge_go_to_the_others() {
    const MESSAGES: u32 = 900;
    let scene = Scene::start();
    for version in Version::ALL {
        let mut mute: Vec<Raw> = (0..4)
            .map(|number| {
                let mut raw = Raw::client(&scene.broker, version, &format!("mute {number}"));
                let subscribe = Subscribe::new(1).filter("$share/g/work", 1);
                raw.send(&Packet::from(subscribe).bytes(version));
                assert_eq!(raw.next_frame().expect("it stays open")[0], 0x90);
                raw
            })
            .collect();
        let mut publisher = Raw::client(&scene.broker, Version::V311, "publisher");
        publish_all(&mut publisher, "work", 0..MESSAGES, 50);
        // Each has its part.
        for raw in &mut mute {
            for _ in 0..MESSAGES / 4 {
                assert_eq!(raw.next_frame().expect("it stays open")[0], 0x32);
            }
        }
        let mut worker = scene.broker.client(version, "worker");
        worker.subscribe("$share/g/work", 1);
        drop(mute);
        let mut got: Vec<u32> = (0..MESSAGES)
            .map(|_| number(&worker.expect_message()))
            .collect();
        got.sort_unstable();
        assert!(
            got.iter().copied().eq(0..MESSAGES),
            "all of them, once each: {got:?}"
        );
        worker.expect_ping();
        worker.disconnect();
        scene.metrics.wait_for("nexum_shared_groups", 0.0);
    }
    scene.finish(4 * MIB);
}
