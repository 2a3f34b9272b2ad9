//! No room: `storage.disk_budget_bytes`.

use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{
    Broker, BrokerBuilder, Connect, Packet, Peer, Publish, Received, Version, reason,
};

use crate::scene::{PATIENCE, absent, builder, resume, take_all, wait_for_log};

const BUDGET_BYTES: u64 = 1024 * 1024;
const MESSAGE_BYTES: usize = 4096;

fn small() -> BrokerBuilder {
    builder().set("storage.disk_budget_bytes", BUDGET_BYTES)
}

/// Some KiB that begin with a number.
fn bulky(number: u16, identifier: u16) -> Publish {
    let mut payload = format!("{number} ");
    while payload.len() < MESSAGE_BYTES {
        payload.push('x');
    }
    Publish::new("bulk", &payload).qos1(identifier)
}

fn number(payload: &str) -> u16 {
    let number = payload.split(' ').next().unwrap_or_default();
    number.parse().expect("a bulky message begins with one")
}

/// Publishes until there is no room. Returns the numbers of the messages that were acknowledged.
#[track_caller]
fn fill(publisher: &mut Peer) -> Vec<u16> {
    let mut acknowledged = Vec::new();
    let most = BUDGET_BYTES / MESSAGE_BYTES as u64;
    for number in 0..=most as u16 {
        publisher.send(bulky(number, number + 1));
        let ack = publisher.expect_puback(number + 1);
        if ack.reason == reason::QUOTA_EXCEEDED {
            let why = ack.properties.reason_string().unwrap_or_default();
            assert!(!why.is_empty(), "a refusal says why: {ack:?}");
            return acknowledged;
        }
        assert_eq!(ack.reason, reason::SUCCESS);
        acknowledged.push(number);
    }
    panic!("{most} messages of {MESSAGE_BYTES} bytes fit into {BUDGET_BYTES} bytes");
}

/// A broker without room, the numbers it has acknowledged, and the publisher.
#[track_caller]
fn full_broker() -> (Broker, Vec<u16>, Peer) {
    full_broker_of(small())
}

#[track_caller]
fn full_broker_of(builder: BrokerBuilder) -> (Broker, Vec<u16>, Peer) {
    let broker = builder.start();
    absent(&broker, Version::V5, "absent", "bulk", 1);
    let mut publisher = broker.client(Version::V5, "publisher");
    let acknowledged = fill(&mut publisher);
    assert!(
        acknowledged.len() > 100,
        "most of the budget is for messages: {acknowledged:?}"
    );
    (broker, acknowledged, publisher)
}

/// The absent subscriber comes back. That it is there has to be stored, too: where that cannot be,
/// its connection ends, and it tries again.
#[track_caller]
fn let_in(broker: &Broker) -> Peer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut peer = broker.dial(Version::V5);
        peer.send(resume(Version::V5, "absent"));
        match peer.recv_within(PATIENCE) {
            Received::Packet(Packet::Connack(connack)) => {
                assert_eq!(connack.reason, reason::SUCCESS);
                assert!(connack.session_present, "its session is there");
                return peer;
            }
            Received::Closed => assert!(Instant::now() < deadline, "it is never let in"),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }
}

fn numbers(peer: &mut Peer) -> Vec<u16> {
    let payloads = take_all(peer);
    payloads.iter().map(|payload| number(payload)).collect()
}

#[test]
fn publisher_is_told_and_nothing_acknowledged_is_lost() {
    let (broker, acknowledged, mut publisher) = full_broker();
    wait_for_log(&broker, &["WARN", "nothing can be stored", "no room"]);
    // Time passes in which the store is tried again: it is no less full.
    for round in 0..4 {
        publisher.send(bulky(1000, 2000).qos1(2000));
        assert_eq!(
            publisher.expect_puback(2000).reason,
            reason::QUOTA_EXCEEDED,
            "in round {round}"
        );
        publisher.send(bulky(1000, 0).qos2(2001));
        assert_eq!(
            publisher.expect_pubrec(2001).reason,
            reason::QUOTA_EXCEEDED,
            "in round {round}"
        );
        // It has no words to refuse: it must not acknowledge, either.
        for qos in [1, 2] {
            let mut old = broker.client(Version::V311, "old publisher");
            old.send(bulky(1000, 0).qos(qos, 1));
            old.expect_closed();
        }
        thread::sleep(Duration::from_millis(300));
    }
    let mut subscriber = let_in(&broker);
    assert_eq!(numbers(&mut subscriber), acknowledged);
}

#[test]
fn what_was_acknowledged_before_the_disk_was_full_survives_kill_9() {
    let (mut broker, acknowledged, publisher) = full_broker();
    drop(publisher);
    broker.kill_and_restart();
    let mut subscriber = let_in(&broker);
    assert_eq!(numbers(&mut subscriber), acknowledged);
}

/// What nobody keeps needs no disk.
#[test]
fn clean_sessions_go_on_while_the_disk_is_full() {
    let (broker, _, mut publisher) = full_broker();
    for version in Version::ALL {
        let mut listener = broker.client(version, "listener");
        listener.subscribe("live", 2);
        let mut speaker = broker.client(version, "speaker");
        for round in 0..3 {
            for qos in 0..3 {
                let text = format!("{round} {qos}");
                speaker
                    .publish(Publish::new("live", &text).qos(qos, round * 3 + 1 + u16::from(qos)));
                assert_eq!(listener.expect_message().payload, text.as_bytes());
            }
            // Again while the store is known to refuse.
            publisher.send(bulky(1000, 2000).qos1(2000));
            assert_eq!(publisher.expect_puback(2000).reason, reason::QUOTA_EXCEEDED);
        }
        speaker.disconnect();
        listener.disconnect();
    }
}

/// A session that outlives its connection is a promise that cannot be given now.
#[test]
fn new_persistent_session_is_refused_while_the_disk_is_full() {
    // With one shard it is the one that has just met the full disk.
    let (broker, ..) = full_broker_of(small().set("server.shards", 1));
    for (version, refusal) in [
        (Version::V5, reason::QUOTA_EXCEEDED),
        (Version::V311, reason::V311_SERVER_UNAVAILABLE),
    ] {
        let mut newcomer = broker.dial(version);
        newcomer.send(Connect::new(version, "newcomer").persistent());
        newcomer.expect_refused(&[refusal]);
    }
}

/// A subscriber that is there, and has a session to keep, is as full as one that is not.
#[test]
fn present_subscriber_gets_nothing_that_was_refused() {
    let (broker, _, mut publisher) = full_broker();
    let mut subscriber = let_in(&broker);
    for _ in 0..5 {
        publisher.send(bulky(1000, 2000).qos1(2000));
        match publisher.recv_within(PATIENCE) {
            Received::Packet(Packet::Puback(ack)) => {
                assert_eq!(ack.reason, reason::QUOTA_EXCEEDED);
            }
            other => panic!("expected PUBACK, got {other:?}"),
        }
    }
    // Without acknowledging: nothing makes room.
    while let Received::Packet(packet) = subscriber.recv_within(Duration::from_millis(700)) {
        let Packet::Publish(publish) = packet else {
            panic!("expected messages, got {packet:?}");
        };
        assert_ne!(number(&crate::scene::text(&publish)), 1000);
    }
}
