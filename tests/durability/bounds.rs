//! `limits.persistent_queue_messages`, and what `limits.persistent_queue_overflow` does beyond it,
//! through the death of the broker, too.

use nexum_harness::{Broker, Publish, Version, pubrel, reason};

use crate::metrics::Metrics;
use crate::scene::{absent, builder, come_back, numbered, resume, take_all, wait_for_log};

const QUEUE_FULL: &str = "nexum_messages_dropped_total{reason=\"queue_full\"}";

/// What ends each test: a policy, and which of the messages 0 to 17 it keeps of ten.
struct Policy {
    name: &'static str,
    refuses: bool,
    /// After the messages 0 to 14, and after 15 to 17.
    kept: [std::ops::Range<u16>; 2],
}

const REFUSE: Policy = Policy {
    name: "refuse",
    refuses: true,
    kept: [0..10, 0..10],
};
const DROP_OLDEST: Policy = Policy {
    name: "drop_oldest",
    refuses: false,
    kept: [5..15, 8..18],
};
const DROP_NEWEST: Policy = Policy {
    name: "drop_newest",
    refuses: false,
    kept: [0..10, 0..10],
};

/// Publishes numbers, and holds the broker to its answers: those from `full_from` on find the
/// subscriber's session full.
#[track_caller]
fn publish(
    broker: &Broker,
    version: Version,
    qos: u8,
    numbers: std::ops::Range<u16>,
    full_from: u16,
    policy: &Policy,
) {
    let mut publisher = broker.client(version, "publisher");
    for number in numbers {
        let identifier = number + 1;
        publisher.send(Publish::new("queue", &number.to_string()).qos(qos, identifier));
        let ack = match qos {
            1 => publisher.expect_puback(identifier),
            _ => publisher.expect_pubrec(identifier),
        };
        if policy.refuses && number >= full_from && version == Version::V5 {
            assert_eq!(ack.reason, reason::QUOTA_EXCEEDED, "{number}");
            let why = ack.properties.reason_string().unwrap_or_default();
            assert!(!why.is_empty(), "a refusal says why: {ack:?}");
            continue;
        }
        // 3.1.1 has no word for it: it is acknowledged, and its client stays.
        assert_eq!(ack.reason, reason::SUCCESS, "{number}");
        if qos == 2 {
            publisher.send(pubrel(identifier));
            publisher.expect_pubcomp(identifier);
        }
    }
    publisher.expect_ping();
    publisher.disconnect();
}

/// Fifteen messages for a session that keeps ten; then the broker dies, and three more come.
#[track_caller]
fn check(policy: &Policy) {
    for (version, qos) in [
        (Version::V311, 1),
        (Version::V311, 2),
        (Version::V5, 1),
        (Version::V5, 2),
    ] {
        for with_restart in [false, true] {
            let mut broker = builder()
                .set("limits.persistent_queue_messages", 10)
                .set("limits.persistent_queue_overflow", policy.name)
                .start();
            // The subscriber's version makes no difference to its session's bound.
            absent(&broker, version, "absent", "queue", qos);
            publish(&broker, version, qos, 0..15, 10, policy);
            Metrics::of(&broker).wait_for(QUEUE_FULL, 5.0);
            wait_for_log(&broker, &["WARN", "\"absent\"", "queue_full"]);
            let [mut kept, after_restart] = policy.kept.clone();
            if with_restart {
                broker.kill_and_restart();
                Metrics::of(&broker).wait_for("nexum_queued_messages", 10.0);
                publish(&broker, version, qos, 15..18, 15, policy);
                Metrics::of(&broker).wait_for(QUEUE_FULL, 3.0);
                wait_for_log(&broker, &["WARN", "\"absent\"", "queue_full"]);
                kept = after_restart;
            }
            let mut subscriber = come_back(&broker, resume(version, "absent"));
            assert_eq!(
                take_all(&mut subscriber),
                numbered(kept),
                "{version:?}, QoS {qos}, {}, restart: {with_restart}",
                policy.name
            );
            // There is room again.
            publish(&broker, version, qos, 18..19, 19, policy);
            assert_eq!(take_all(&mut subscriber), ["18"]);
            subscriber.disconnect();
        }
    }
}

#[test]
fn full_session_refuses() {
    check(&REFUSE);
}

#[test]
fn full_session_drops_the_oldest() {
    check(&DROP_OLDEST);
}

#[test]
fn full_session_drops_the_newest() {
    check(&DROP_NEWEST);
}

/// One of two sessions is full: its publisher is told, and the other gets the message.
#[test]
fn full_session_does_not_keep_messages_from_others() {
    let broker = builder()
        .set("limits.persistent_queue_messages", 10)
        .set("limits.persistent_queue_overflow", "refuse")
        .start();
    absent(&broker, Version::V5, "absent", "queue", 1);
    publish(&broker, Version::V5, 1, 0..10, 10, &REFUSE);
    absent(&broker, Version::V311, "late", "queue", 1);
    publish(&broker, Version::V5, 1, 10..12, 10, &REFUSE);
    let mut late = come_back(&broker, resume(Version::V311, "late"));
    assert_eq!(take_all(&mut late), numbered(10..12));
    let mut full = come_back(&broker, resume(Version::V5, "absent"));
    assert_eq!(take_all(&mut full), numbered(0..10));
}
