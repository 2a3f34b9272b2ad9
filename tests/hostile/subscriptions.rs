//! More subscriptions than anybody needs, from one client.

use std::time::{Duration, Instant};

use nexum_harness::{
    Frame, Packet, Peer, Property, Publish, Subscribe, Unsubscribe, Version, reason,
};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::{Scene, builder, many};

const COUNT: usize = 50_000;

/// Filters in one packet: a packet is handled in one go, and clients wait for it.
const AT_ONCE: usize = many(10_000);

/// Those that are sent one by one, each of which waits for the other shard.
const ONE_BY_ONE: usize = many(50_000);

/// Those of which each has a group of its own.
const SHARED: usize = many(50_000);

/// A subscription in two shards – its owner's and the other, which must know of it – as nodes of
/// the index, and on its way as text in a packet, in the message between the shards, in the
/// request for retained messages and in the answer.
const SUBSCRIPTION_BYTES: u64 = 1024;

/// Ten times what it takes on two idle processors, in a debug build.
const TOO_SLOW: Duration = Duration::from_secs(30);

fn filter(number: usize) -> String {
    format!("tenant/{}/device/{number}/+", number % 97)
}

/// All of them in packets of `at_once`, answered one after the other.
fn subscribe_all(peer: &mut Peer, count: usize, at_once: usize, filter: impl Fn(usize) -> String) {
    for first in (0..count).step_by(at_once) {
        let identifier = peer.next_identifier();
        let mut subscribe = Subscribe::new(identifier);
        for number in first..(first + at_once).min(count) {
            subscribe = subscribe.filter(&filter(number), 1);
        }
        let count = subscribe.filters.len();
        peer.send(subscribe);
        peer.expect_suback(identifier, &vec![1; count]);
    }
}

/// They work: a message for some of them comes, once.
fn expect_they_work(scene: &Scene, peer: &mut Peer, count: usize) {
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    for number in (0..count).step_by(count / 20) {
        let topic = filter(number).replace('+', "state");
        publisher.publish(Publish::new(&topic, "on").qos1(1));
        assert_eq!(peer.expect_message().topic, topic);
    }
}

/// Twice: what the first client left behind is used for the second.
#[test]
fn fifty_thousand_in_big_packets() {
    let scene = Scene::start();
    let mut after = Vec::new();
    for version in [Version::V311, Version::V5, Version::V5] {
        let mut peer = scene.broker.client(version, "greedy");
        let begun = Instant::now();
        subscribe_all(&mut peer, COUNT, AT_ONCE, filter);
        let took = begun.elapsed();
        scene
            .metrics
            .wait_until("nexum_subscriptions", |count| count >= COUNT as f64);
        expect_they_work(&scene, &mut peer, COUNT);
        after.push(scene.growth_bytes());
        println!(
            "{COUNT} in {took:?}, the broker has grown by {}",
            mebibytes(after[after.len() - 1])
        );
        assert!(took < TOO_SLOW, "{took:?}");
        peer.disconnect();
        // Two of the healthy pairs are left.
        scene.metrics.wait_for("nexum_subscriptions", 2.0);
    }
    assert!(
        after[2] <= after[0] + after[0] / 4 + 4 * MIB,
        "the memory of the first is used again: {after:?}"
    );
    scene.finish(COUNT as u64 * SUBSCRIPTION_BYTES);
}

#[test]
fn tens_of_thousands_one_by_one_then_unsubscribed() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "greedy");
    let begun = Instant::now();
    pipelined(&mut peer, ONE_BY_ONE, 0x90, |number| {
        let identifier = (number % 60_000 + 1) as u16;
        Packet::from(Subscribe::new(identifier).filter(&filter(number), 1)).bytes(Version::V5)
    });
    println!("{ONE_BY_ONE} one by one: {:?}", begun.elapsed());
    assert!(begun.elapsed() < TOO_SLOW, "{:?}", begun.elapsed());
    expect_they_work(&scene, &mut peer, ONE_BY_ONE);
    let begun = Instant::now();
    for first in (0..ONE_BY_ONE).step_by(AT_ONCE) {
        let identifier = peer.next_identifier();
        let mut unsubscribe = Unsubscribe::new(identifier, &filter(first));
        for number in first + 1..first + AT_ONCE {
            unsubscribe = unsubscribe.filter(&filter(number));
        }
        let count = unsubscribe.filters.len();
        peer.send(unsubscribe);
        peer.expect_unsuback(identifier, &vec![reason::SUCCESS; count]);
    }
    println!("unsubscribed again: {:?}", begun.elapsed());
    assert!(begun.elapsed() < TOO_SLOW, "{:?}", begun.elapsed());
    scene.metrics.wait_for("nexum_subscriptions", 2.0);
    drop(peer);
    scene.finish(ONE_BY_ONE as u64 * SUBSCRIPTION_BYTES);
}

/// Sends a packet for each number, hundreds ahead of the answers, which it counts.
fn pipelined(peer: &mut Peer, count: usize, answer: u8, packet: impl Fn(usize) -> Vec<u8>) {
    for first in (0..count).step_by(500) {
        let bytes: Vec<u8> = (first..first + 500).flat_map(&packet).collect();
        peer.send_bytes(&bytes);
        for _ in 0..500 {
            let received = peer.recv();
            assert_eq!(received.bytes(Version::V5)[0], answer, "{received:?}");
        }
    }
}

/// Groups of their own, of one member each.
#[test]
fn tens_of_thousands_shared_in_big_packets() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "greedy");
    let begun = Instant::now();
    subscribe_all(&mut peer, SHARED, AT_ONCE, |number| {
        format!("$share/g{number}/{}", filter(number))
    });
    println!(
        "{SHARED} shared in {:?}: {} more",
        begun.elapsed(),
        mebibytes(scene.growth_bytes())
    );
    assert!(begun.elapsed() < TOO_SLOW, "{:?}", begun.elapsed());
    expect_they_work(&scene, &mut peer, SHARED);
    let begun = Instant::now();
    peer.disconnect();
    scene.metrics.wait_for("nexum_shared_groups", 0.0);
    println!("gone after {:?}", begun.elapsed());
    scene.finish(2 * SHARED as u64 * SUBSCRIPTION_BYTES);
}

#[test]
fn tens_of_thousands_shared_one_by_one() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "greedy");
    let begun = Instant::now();
    pipelined(&mut peer, SHARED, 0x90, |number| {
        let identifier = (number % 60_000 + 1) as u16;
        let filter = format!("$share/g{number}/{}", filter(number));
        Packet::from(Subscribe::new(identifier).filter(&filter, 1)).bytes(Version::V5)
    });
    println!("{SHARED} shared one by one: {:?}", begun.elapsed());
    assert!(begun.elapsed() < TOO_SLOW, "{:?}", begun.elapsed());
    expect_they_work(&scene, &mut peer, SHARED);
    drop(peer);
    scene.metrics.wait_for("nexum_shared_groups", 0.0);
    scene.finish(2 * SHARED as u64 * SUBSCRIPTION_BYTES);
}

/// A member of thousands of groups with thousands of messages unacknowledged goes away at once.
#[test]
fn member_of_thousands_of_groups_leaves_quickly() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "greedy");
    subscribe_all(&mut peer, SHARED, AT_ONCE, |number| {
        format!("$share/g{number}/{}", filter(number))
    });
    let mut publisher = Raw::client(&scene.broker, Version::V5, "publisher");
    let messages = 5_000;
    for first in (0..messages).step_by(500) {
        let bytes: Vec<u8> = (first..first + 500)
            .flat_map(|number| {
                let topic = filter(number).replace('+', "state");
                Packet::from(Publish::new(&topic, "on").qos1(1)).bytes(Version::V5)
            })
            .collect();
        publisher.send(&bytes);
        for _ in 0..500 {
            assert_eq!(publisher.next_frame().expect("it stays open")[0], 0x40);
        }
    }
    scene
        .metrics
        .wait_until("nexum_inflight_messages", |count| count >= messages as f64);
    let begun = Instant::now();
    drop(peer);
    scene.metrics.wait_for("nexum_shared_groups", 0.0);
    println!("gone after {:?}", begun.elapsed());
    drop(publisher);
    scene.finish(2 * SHARED as u64 * SUBSCRIPTION_BYTES + 5_000 * 1024);
}

/// Beyond the limit SUBACK says 0x97, and what was granted stays.
#[test]
fn subscriptions_beyond_the_limit_are_refused() {
    let scene = Scene::start_with(builder().set("limits.maximum_subscriptions_per_session", 1000));
    for (version, refused) in [(Version::V311, 0x80), (Version::V5, reason::QUOTA_EXCEEDED)] {
        let mut peer = scene.broker.client(version, "greedy");
        let mut subscribe = Subscribe::new(1);
        for number in 0..2000 {
            subscribe = subscribe.filter(&filter(number), 1);
        }
        peer.send(subscribe);
        let expected = [[1; 1000], [refused; 1000]].concat();
        peer.expect_suback(1, &expected);
        let mut publisher = scene.broker.client(version, "publisher");
        publisher.publish(Publish::new(&filter(999).replace('+', "x"), "on").qos1(1));
        peer.expect_message();
    }
    scene.finish(2 * MIB);
}

/// Filters as long as a filter can be. Their bound is the packet and the number of subscriptions.
#[test]
fn longest_filters() {
    const LONG: usize = many(500);
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "greedy");
    let text = "x".repeat(65_000);
    for number in 0..LONG {
        let identifier = peer.next_identifier();
        peer.send(Subscribe::new(identifier).filter(&format!("{number}/{text}"), 0));
        peer.expect_suback(identifier, &[0]);
    }
    println!(
        "{LONG} filters of 65 kB: {} more",
        mebibytes(scene.growth_bytes())
    );
    drop(peer);
    // Each stands in the index of both shards, and is on its way once or twice.
    scene.finish(LONG as u64 * 65_536 * 3);
}

/// Each SUBSCRIBE asks for the retained messages anew, by a client that does not read them. What
/// waits for it are requests, not messages; and they must not make each later retained message
/// cost more.
#[test]
fn retained_messages_asked_for_again_and_again() {
    const RETAINED: usize = 2000;
    let scene = Scene::start();
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    for number in 0..RETAINED {
        let message = Publish::new(&format!("kept/{number}"), "").payload(&[b'x'; 1000]);
        publisher.publish(message.retain().qos1(1));
    }
    let mut greedy: Vec<Raw> = (0..4)
        .map(|number| Raw::client(&scene.broker, Version::V5, &format!("greedy {number}")))
        .collect();
    let before = scene.growth_bytes();
    let packet = Packet::from(Subscribe::new(1).filter("kept/#", 0)).bytes(Version::V5);
    for raw in &mut greedy {
        let (taken, end) = raw.flood(&packet.repeat(1000), 500);
        println!(
            "{} taken, {end:?}; {} more",
            mebibytes(taken),
            mebibytes(scene.growth_bytes() - before)
        );
    }
    let begun = Instant::now();
    for number in 0..100 {
        let message = Publish::new(&format!("kept/{number}"), "newer").retain();
        publisher.publish(message.qos1(1));
    }
    let took = begun.elapsed();
    println!("100 retained messages beside them: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop((greedy, publisher));
    // The store, and for each of the four the answers, the retained messages on their way and
    // its outstanding requests.
    scene.finish(RETAINED as u64 * 2048 + 4 * 8 * MIB);
}

/// A packet full of the shortest filters there are: 200,000, of which most repeat. A hundred bytes
/// for each pays for the packet, its copy, the answer, and what one of the 26 takes.
#[test]
fn one_packet_of_the_shortest_filters() {
    const FILTERS: usize = many(200_000);
    let scene = Scene::start();
    let mut raw = Raw::client(&scene.broker, Version::V5, "greedy");
    let mut frame = Frame::new(0x82)
        .u16(1)
        .properties(&[Property::user("a", "b")]);
    for number in 0..FILTERS {
        let letter = [b'a' + (number % 26) as u8];
        frame = frame.binary(&letter).u8(1);
    }
    let begun = Instant::now();
    raw.send(&frame.bytes());
    let suback = raw.next_frame().expect("it stays open");
    println!("answered after {:?}", begun.elapsed());
    // Type, Remaining Length, Packet Identifier and Property Length.
    let suback_head = 1 + if FILTERS > 16_380 { 3 } else { 2 } + 2 + 1;
    assert_eq!(suback.len() - FILTERS, suback_head);
    assert!(suback[suback_head..].iter().all(|code| *code == 1));
    raw.send(&[0xC0, 0]);
    assert_eq!(raw.next_frame().expect("it stays open"), [0xD0, 0]);
    drop(raw);
    scene.finish(FILTERS as u64 * 100);
}
