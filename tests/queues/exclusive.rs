//! `$exclusive/<filter>`: a subscription that one session at a time may have.

use std::time::{Duration, Instant};

use nexum_harness::{
    Connect, Packet, Peer, Property, Publish, Received, Suback, Subscribe, Version, reason,
};

use crate::commands::{self, Listener};
use crate::scene::{
    PATIENCE, Scene, builder, next, reason_of, refused_filter, take, text, unsubscribe,
};

const JOBS: &str = "$exclusive/$queue/jobs/#";

/// On any number of shards: the filter belongs to one of them, the sessions to others.
fn scenes() -> impl Iterator<Item = Scene> {
    [1, 2, 3].into_iter().map(|shards| {
        let mut scene = Scene::on(builder().set("server.shards", shards));
        scene.create("jobs", "");
        scene
    })
}

/// Subscribes at QoS 1 as soon as the filter is free: nothing says when the broker has noticed that
/// a connection was lost.
#[track_caller]
fn win(peer: &mut Peer, filter: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(suback) = try_to_win(peer, filter) {
        assert!(Instant::now() < deadline, "never granted: {suback:?}");
    }
}

#[track_caller]
fn try_to_win(peer: &mut Peer, filter: &str) -> Result<(), Suback> {
    let identifier = peer.next_identifier();
    peer.send(Subscribe::new(identifier).filter(filter, 1));
    match peer.recv() {
        Packet::Suback(suback) if suback.reasons == [1] => Ok(()),
        Packet::Suback(suback) => Err(suback),
        other => panic!("expected SUBACK, got {other:?}"),
    }
}

#[test]
fn exclusive_consumer_with_mosquitto() {
    let mut scene = Scene::start();
    let mut first = Listener::start(&scene, JOBS);
    Listener::is_refused(&scene, JOBS, &[]);
    commands::publish(&scene, "$queue/jobs/eu", "x");
    first.expect("$queue/jobs/eu", "x");
    scene.wait_until_done();
    drop(first);
    let mut second = scene.broker.client(Version::V311, "second");
    win(&mut second, JOBS);
    unsubscribe(&mut second, JOBS);
}

#[test]
fn exclusive_consumer_on_either_version() {
    for mut scene in scenes() {
        for version in Version::ALL {
            let refusal = match version {
                Version::V311 => reason::UNSPECIFIED_ERROR,
                Version::V5 => reason::QUOTA_EXCEEDED,
            };
            let mut first = scene.worker(version, "first", JOBS);
            let mut second = scene.broker.client(version, "second");
            let suback = refused_filter(&mut second, JOBS, 1, refusal);
            if version == Version::V5 {
                assert!(reason_of(&suback.properties).contains("exclusively"));
            }
            scene.push("$queue/jobs/eu", "x");
            let delivery = next(&mut first, "x");
            assert_eq!(delivery.topic, "$queue/jobs/eu", "the wrapper is stripped");
            first.send(nexum_harness::puback(delivery.packet_identifier));
            second.expect_ping();
            // Whoever has it may ask again.
            first.subscribe(JOBS, 1);
            unsubscribe(&mut first, JOBS);
            second.subscribe(JOBS, 1);
            refused_filter(&mut first, JOBS, 1, refusal);
            second.cut();
            win(&mut first, JOBS);
            scene.push("$queue/jobs", "y");
            assert_eq!(take(&mut first, 1), ["y"]);
            first.disconnect();
        }
    }
}

/// It keeps out those who want it exclusively, and competes with all others.
#[test]
fn exclusive_consumer_competes_with_plain_ones() {
    let mut scene = Scene::start();
    let mut exclusive = scene.worker(Version::V5, "exclusive", "$exclusive/$queue/jobs");
    let mut plain = scene.worker(Version::V5, "plain", "$queue/jobs");
    scene.push_numbers(10);
    let got = take(&mut exclusive, 5).len() + take(&mut plain, 5).len();
    assert_eq!(got, 10);
}

/// Whoever let it go, and knows it, may tell the next: it is not refused.
#[test]
fn let_go_is_free() {
    let mut scene = Scene::on(builder().set("server.shards", 3));
    scene.create("jobs", "");
    for version in Version::ALL {
        for filter in [JOBS, "$exclusive/plain/+"] {
            let names = (0..6).map(|number| format!("client {number}"));
            let mut peers: Vec<Peer> = names
                .map(|name| scene.broker.client(version, &name))
                .collect();
            for turn in 0..300 {
                let peer = &mut peers[turn % 6];
                peer.subscribe(filter, 1);
                unsubscribe(peer, filter);
            }
            // So it is when its session ends by DISCONNECT or Clean Start.
            for turn in 0..60 {
                let name = format!("client {}", turn % 6);
                let mut peer = scene.broker.client(version, &name);
                peer.subscribe(filter, 1);
                let mut peer = scene.broker.client(version, &name);
                peer.expect_ping();
            }
        }
    }
}

#[test]
fn exclusive_lease_and_plain_topic() {
    for mut scene in scenes() {
        let lease = "$exclusive/$queue/jobs/$lease/#";
        let mut first = scene.worker(Version::V311, "first", lease);
        first.subscribe("$exclusive/plain/+", 1);
        for filter in [lease, "$exclusive/plain/+"] {
            Listener::is_refused(&scene, filter, &[]);
        }
        scene.push("$queue/jobs", "x");
        let delivery = first.expect_message();
        assert!(delivery.topic.starts_with("$queue/jobs/$lease/"));
        scene.push("plain/a", "y");
        let message = first.expect_message();
        assert_eq!(
            (message.topic.as_str(), text(&message)),
            ("plain/a", "y"),
            "the wrapper is stripped"
        );
    }
}

/// It is the session's while its client is away, and after a restart.
#[test]
fn kept_session_keeps_it() {
    for version in Version::ALL {
        for mut scene in scenes() {
            let connect = Connect::new(version, "holder").persistent();
            let mut holder = scene.broker.connect(connect.clone());
            holder.subscribe(JOBS, 1);
            holder.cut();
            Listener::is_refused(&scene, JOBS, &[]);
            scene.restart();
            Listener::is_refused(&scene, JOBS, &[]);
            scene.push("$queue/jobs", "x");
            let mut holder = scene.broker.connect(connect.resume());
            assert_eq!(take(&mut holder, 1), ["x"]);
            holder.disconnect();
            // A clean start ends the session.
            drop(scene.broker.client(version, "holder"));
            scene.worker(version, "other", JOBS);
        }
    }
}

/// What was refused for another reason is not held.
#[test]
fn refused_subscription_holds_nothing() {
    for mut scene in scenes() {
        let mut first = scene.broker.client(Version::V5, "first");
        let mut second = scene.broker.client(Version::V5, "second");
        refused_filter(&mut first, JOBS, 0, reason::TOPIC_FILTER_INVALID);
        second.subscribe(JOBS, 1);
        unsubscribe(&mut second, JOBS);
        first.send(
            Subscribe::new(9)
                .filter(JOBS, 1)
                .property(Property::user("from", "earliest"))
                .property(Property::user("from", "latest")),
        );
        first.expect_suback(9, &[reason::TOPIC_FILTER_INVALID]);
        second.subscribe(JOBS, 1);
        unsubscribe(&mut second, JOBS);
        let missing = "$exclusive/$queue/missing";
        refused_filter(&mut first, missing, 1, reason::TOPIC_FILTER_INVALID);
        scene.create("missing", "");
        second.subscribe(missing, 1);
        let ack = scene.publish(Publish::new("$queue/missing", "x"));
        assert_eq!(ack.reason, 0);
        assert_eq!(take(&mut second, 1), ["x"]);
    }
}

/// With its queue the subscription of an absent client is gone, and with it the exclusiveness.
#[test]
fn subscription_that_is_lost_holds_nothing() {
    for mut scene in scenes() {
        let connect = Connect::new(Version::V5, "holder").persistent();
        let mut holder = scene.broker.connect(connect.clone());
        holder.subscribe(JOBS, 1);
        holder.disconnect();
        assert_eq!(scene.control("jobs", "delete", "").code, "ok");
        let mut holder = scene.broker.connect(connect.resume());
        scene.create("jobs", "");
        holder.expect_ping();
        let mut other = scene.broker.client(Version::V5, "other");
        win(&mut other, JOBS);
        scene.push("$queue/jobs", "x");
        assert_eq!(take(&mut other, 1), ["x"]);
    }
}

/// Taken over while its SUBSCRIBE is under way, a session has the subscription or holds nothing.
#[test]
fn taken_over_before_suback() {
    let mut scene = Scene::on(builder().set("server.shards", 3));
    for version in Version::ALL {
        for number in 0..30 {
            let topic = format!("plain/{number}");
            let filter = format!("$exclusive/{topic}");
            let connect = Connect::new(version, &format!("hasty {number}")).persistent();
            let mut first = scene.broker.connect(connect.clone());
            first.send(Subscribe::new(1).filter(&filter, 1));
            let mut second = scene.broker.connect(connect.resume());
            let mut other = scene.broker.client(version, "other");
            let deadline = Instant::now() + PATIENCE;
            let is_received = |second: &mut Peer| {
                let received = second.recv_within(Duration::from_millis(20));
                matches!(received, Received::Packet(Packet::Publish(_)))
            };
            loop {
                assert!(Instant::now() < deadline, "held by nobody: {filter}");
                scene.publish(Publish::new(&topic, "x"));
                if is_received(&mut second) || try_to_win(&mut other, &filter).is_ok() {
                    break;
                }
            }
            other.disconnect();
        }
    }
}
