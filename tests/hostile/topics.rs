//! Topics of 65,000 levels, and filters made of wildcards alone.

use std::time::{Duration, Instant};

use nexum_harness::{
    Connect, Packet, Publish, Received, Subscribe, Unsubscribe, Version, Will, reason,
};

use crate::memory::MIB;
use crate::scene::{DEBUG, PROMPTLY, Scene};

/// `a/a/a/…`, of as many levels as a topic can have.
fn deep(levels: usize) -> String {
    vec!["a"; levels].join("/")
}

/// 65,535 empty levels and 32,768 of one character: what 65,535 bytes can hold.
fn deepest() -> [String; 2] {
    ["/".repeat(65_535), deep(32_768)]
}

/// No packet with such a topic may take longer than this, on a busy machine in a debug build.
const SLOW: Duration = Duration::from_secs(if DEBUG { 5 } else { 1 });

/// Ends, or an answer with this reason: whichever, promptly.
#[test]
fn deepest_topics_are_refused_in_publish() {
    let scene = Scene::start();
    for topic in deepest() {
        for qos in 0..=2 {
            let mut peer = scene.broker.client(Version::V5, "attacker");
            let begun = Instant::now();
            peer.send(Publish::new(&topic, "x").qos(qos, 1));
            peer.send(Packet::Pingreq);
            match (qos, peer.recv_within(PROMPTLY)) {
                (1, Received::Packet(Packet::Puback(ack)))
                | (2, Received::Packet(Packet::Pubrec(ack))) => {
                    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
                    assert_eq!(peer.recv(), Packet::Pingresp);
                }
                // At QoS 0 nobody can be told; DISCONNECT 0x90 would say it too.
                (0, Received::Packet(Packet::Pingresp)) | (_, Received::Closed) => {}
                (_, Received::Packet(Packet::Disconnect(disconnect))) => {
                    assert_eq!(disconnect.reason, reason::TOPIC_NAME_INVALID);
                }
                (_, other) => panic!("QoS {qos}: {other:?}"),
            }
            assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
            // 3.1.1 cannot say no: an acknowledgement or the end.
            let mut peer = scene.broker.client(Version::V311, "attacker");
            peer.send(Publish::new(&topic, "x").qos(qos, 1));
            peer.send(Packet::Pingreq);
            match peer.recv_within(PROMPTLY) {
                Received::Packet(Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pingresp)
                | Received::Closed => {}
                other => panic!("QoS {qos}: {other:?}"),
            }
        }
    }
    scene.finish(MIB);
}

#[test]
fn deepest_filters_are_refused_in_subscribe() {
    let scene = Scene::start();
    let mut filters = deepest().to_vec();
    filters.push(vec!["+"; 32_768].join("/"));
    filters.push(format!("{}/#", vec!["+"; 32_700].join("/")));
    filters.push(format!("$share/g/{}", vec!["+"; 32_000].join("/")));
    for version in Version::ALL {
        let refused = match version {
            Version::V311 => [0x80].as_slice(),
            Version::V5 => &[reason::TOPIC_FILTER_INVALID],
        };
        for filter in &filters {
            let mut peer = scene.broker.client(version, "attacker");
            let begun = Instant::now();
            peer.send(Subscribe::new(1).filter(filter, 1));
            match peer.recv_within(PROMPTLY) {
                Received::Packet(Packet::Suback(suback)) => assert_eq!(suback.reasons, refused),
                Received::Closed => {}
                other => panic!("{other:?}"),
            }
            assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
        }
        // One bad filter does not spoil the others.
        let mut peer = scene.broker.client(version, "attacker");
        let subscribe = Subscribe::new(1)
            .filter("a", 1)
            .filter(&filters[0], 1)
            .filter("b", 0);
        peer.send(subscribe);
        peer.expect_suback(1, &[1, refused[0], 0]);
    }
    scene.finish(MIB);
}

#[test]
fn deepest_filters_are_answered_in_unsubscribe() {
    let scene = Scene::start();
    for version in Version::ALL {
        for filter in deepest() {
            let mut peer = scene.broker.client(version, "attacker");
            let begun = Instant::now();
            for identifier in 1..=20 {
                peer.send(Unsubscribe::new(identifier, &filter));
                match peer.recv_within(PROMPTLY) {
                    Received::Packet(Packet::Unsuback(unsuback)) => {
                        let reasons = [
                            reason::NO_SUBSCRIPTION_EXISTED,
                            reason::TOPIC_FILTER_INVALID,
                        ];
                        let known = unsuback.reasons.iter().all(|code| reasons.contains(code));
                        assert!(known, "{unsuback:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
        }
    }
    scene.finish(MIB);
}

/// Refused with CONNACK 0x90, or accepted and not published: nobody can subscribe to it.
#[test]
fn deepest_topics_do_no_harm_as_wills() {
    let scene = Scene::start();
    for version in Version::ALL {
        for topic in ["/".repeat(60_000), deep(30_000)] {
            for retain in [false, true] {
                let will = Will::new(&topic, "x").qos(1);
                let will = if retain { will.retain() } else { will };
                let mut peer = scene.broker.dial(version);
                let begun = Instant::now();
                peer.send(Connect::new(version, "attacker").will(will));
                match peer.recv_within(PROMPTLY) {
                    Received::Packet(Packet::Connack(connack)) => {
                        // 3.1.1 has no code for it.
                        let refused = match version {
                            Version::V311 => {
                                [reason::V311_SERVER_UNAVAILABLE, reason::V311_NOT_AUTHORIZED]
                            }
                            Version::V5 => [reason::TOPIC_NAME_INVALID, reason::QUOTA_EXCEEDED],
                        };
                        let accepted = connack.reason == reason::SUCCESS;
                        assert!(accepted || refused.contains(&connack.reason), "{connack:?}");
                    }
                    Received::Closed => {}
                    other => panic!("{other:?}"),
                }
                peer.cut();
                assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
            }
        }
    }
    println!(
        "retained: {}",
        scene.metrics.value("nexum_retained_messages")
    );
    // The limit of levels holds for wills as for any message.
    assert!(
        scene.metrics.value("nexum_retained_messages") < 1.0 + own_reports(&scene),
        "a topic of 60,000 levels is retained"
    );
    scene.finish(MIB);
}

/// What the broker retains under $SYS.
fn own_reports(scene: &Scene) -> f64 {
    let mut watcher = scene.broker.client(Version::V5, "watcher");
    watcher.subscribe("$SYS/#", 0);
    let mut count = 0.0;
    while let Received::Packet(Packet::Publish(publish)) =
        watcher.recv_within(Duration::from_millis(300))
    {
        count += f64::from(u8::from(publish.retain));
    }
    count
}

/// As deep as allowed and all of wildcards: each is one path through the index, and a client that
/// has them all gets a message once.
#[test]
fn filters_of_wildcards_alone_match_quickly() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "attacker");
    let mut subscribe = Subscribe::new(1);
    let mut granted = Vec::new();
    for levels in 1..128 {
        let wildcards = vec!["+"; levels].join("/");
        subscribe = subscribe.filter(&format!("deep/{wildcards}"), 0);
        granted.push(0);
        if levels < 127 {
            subscribe = subscribe.filter(&format!("deep/{wildcards}/#"), 0);
            granted.push(0);
        }
    }
    peer.send(subscribe);
    peer.expect_suback(1, &granted);
    let begun = Instant::now();
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    for number in 0..300_u16 {
        let topic = format!("deep/{number}/{}", deep(126));
        publisher.publish(Publish::new(&topic, "x").qos1(1));
        assert_eq!(peer.expect_publish().topic, topic);
    }
    println!(
        "300 messages to {} filters: {:?}",
        granted.len(),
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((peer, publisher));
    scene.finish(MIB);
}

/// Every combination of a level and `+` over twelve levels: 4,096 filters, all of which match one
/// topic, in one session. One copy comes.
#[test]
fn thousands_of_overlapping_filters_deliver_once() {
    const LEVELS: usize = 12;
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "attacker");
    let mut subscribe = Subscribe::new(1);
    for bits in 0..1_u32 << LEVELS {
        let levels: Vec<&str> = (0..LEVELS)
            .map(|level| if bits >> level & 1 == 1 { "+" } else { "a" })
            .collect();
        subscribe = subscribe.filter(&format!("{}/#", levels.join("/")), 1);
    }
    let count = subscribe.filters.len();
    peer.send(subscribe);
    peer.expect_suback(1, &vec![1; count]);
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    let begun = Instant::now();
    for number in 0..500_u16 {
        let topic = format!("{}/{number}", deep(LEVELS));
        // Twice: what is asked for again is what a cache would keep.
        for _ in 0..2 {
            publisher.publish(Publish::new(&topic, "x").qos1(1));
            assert_eq!(peer.expect_message().topic, topic);
        }
    }
    println!(
        "1,000 messages that match {count} filters each: {:?}, {} MiB more",
        begun.elapsed(),
        scene.growth_bytes() / MIB
    );
    drop((peer, publisher));
    // The filters themselves, at 1 KiB each, and 32 MiB for whatever is remembered of routes.
    scene.finish(count as u64 * 1024 + 32 * MIB);
}
