//! Topic Names and Topic Filters (section 4.7 of both specifications).

use std::collections::BTreeSet;
use std::time::Duration;

use nexum_harness::{Broker, Packet, Publish, Received, Subscribe, Unsubscribe, Version, reason};

use crate::scene::{each_version, expect_no_message};

const END: &str = "the/end/of/this/row/of/topics";

/// Every topic against every filter: a subscriber gets the topics its filter matches, no other.
#[track_caller]
fn expect_matches(broker: &Broker, version: Version, topics: &[&str], cases: &[(&str, &[&str])]) {
    let mut publisher = broker.client(version, "publisher");
    for (filter, expected) in cases {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(filter, 0);
        for topic in topics {
            publisher.send(Publish::new(topic, ""));
        }
        // The end of the row, which none of the filters matches.
        subscriber.subscribe(END, 0);
        publisher.send(Publish::new(END, "end"));
        let mut came = BTreeSet::new();
        loop {
            let message = subscriber.expect_publish();
            if message.payload == b"end" {
                break;
            }
            assert!(
                came.insert(message.topic.clone()),
                "{} came twice",
                message.topic
            );
        }
        let expected: BTreeSet<String> = expected.iter().map(|topic| (*topic).to_owned()).collect();
        assert_eq!(came, expected, "with the filter {filter:?}");
        subscriber.disconnect();
    }
}

/// The examples of section 4.7.1.2.
/// [MQTT-4.7.1-1] [MQTT3-4.7.1-2] [MQTT-3.3.2-3] [MQTT3-3.3.2-3]
#[test]
fn multi_level_wildcard_matches_its_parent_and_everything_below() {
    each_version(|broker, version| {
        expect_matches(
            broker,
            version,
            &[
                "sport/tennis/player1",
                "sport/tennis/player1/ranking",
                "sport/tennis/player1/score/wimbledon",
                "sport/tennis/player10",
                "sport/tennis",
                "sport",
                "sport/",
                "sports",
                "/sport",
            ],
            &[
                (
                    "sport/tennis/player1/#",
                    &[
                        "sport/tennis/player1",
                        "sport/tennis/player1/ranking",
                        "sport/tennis/player1/score/wimbledon",
                    ],
                ),
                (
                    "sport/#",
                    &[
                        "sport",
                        "sport/",
                        "sport/tennis",
                        "sport/tennis/player1",
                        "sport/tennis/player10",
                        "sport/tennis/player1/ranking",
                        "sport/tennis/player1/score/wimbledon",
                    ],
                ),
                ("/#", &["/sport"]),
            ],
        );
    });
}

/// The examples of section 4.7.1.3.
/// [MQTT-4.7.1-2] [MQTT3-4.7.1-3] [MQTT-3.3.2-3] [MQTT3-3.3.2-3]
#[test]
fn single_level_wildcard_matches_exactly_one_level() {
    each_version(|broker, version| {
        expect_matches(
            broker,
            version,
            &[
                "sport/tennis/player1",
                "sport/tennis/player2",
                "sport/tennis/player1/ranking",
                "sport",
                "sport/",
                "/finance",
                "finance",
                "//",
                "/",
                "a/tennis/b",
            ],
            &[
                (
                    "sport/tennis/+",
                    &["sport/tennis/player1", "sport/tennis/player2"],
                ),
                ("sport/+", &["sport/"]),
                ("+", &["sport", "finance"]),
                ("+/+", &["sport/", "/finance", "/"]),
                ("/+", &["/finance", "/"]),
                (
                    "+/tennis/+",
                    &["sport/tennis/player1", "sport/tennis/player2", "a/tennis/b"],
                ),
                (
                    "+/tennis/#",
                    &[
                        "sport/tennis/player1",
                        "sport/tennis/player2",
                        "sport/tennis/player1/ranking",
                        "a/tennis/b",
                    ],
                ),
                ("sport/+/player1", &["sport/tennis/player1"]),
                (
                    "+/+/+",
                    &[
                        "sport/tennis/player1",
                        "sport/tennis/player2",
                        "//",
                        "a/tennis/b",
                    ],
                ),
                ("//", &["//"]),
                ("/", &["/"]),
                ("+/", &["sport/", "/"]),
            ],
        );
    });
}

/// [MQTT-4.7.3-4] [MQTT3-4.7.3-4] [MQTT-3.3.2-3] [MQTT3-3.3.2-3]
#[test]
fn topics_match_without_any_normalisation() {
    // Composed and decomposed, case, blanks, slashes, a look-alike, a noncharacter.
    const TOPICS: &[&str] = &[
        "caf\u{e9}",
        "cafe\u{301}",
        "CAF\u{c9}",
        "accounts",
        "ACCOUNTS",
        "Accounts",
        " accounts",
        "accounts ",
        "account s",
        "/accounts",
        "accounts/",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "%61",
        "a%2Fb",
        "a\\b",
        "\u{410}",
        "A",
        "\u{FEFF}A",
        "*",
        "?",
    ];
    each_version(|broker, version| {
        let cases: Vec<(&str, &[&str])> = TOPICS
            .iter()
            .map(|topic| (*topic, std::slice::from_ref(topic)))
            .collect();
        expect_matches(broker, version, TOPICS, &cases);
    });
}

/// What a client may publish under `$` is the broker's to say; that wildcards do not see it is not.
/// [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
#[test]
fn leading_wildcard_does_not_match_a_dollar_topic() {
    each_version(|broker, version| {
        let mut subscribers: Vec<_> = ["#", "+/#", "+/x", "+/+", "+"]
            .iter()
            .map(|filter| {
                let mut peer = broker.client(version, &format!("subscriber {filter}"));
                peer.subscribe(filter, 0);
                peer
            })
            .collect();
        for topic in ["$test/x", "$SYS/x", "$x", "$/x", "$"] {
            let mut publisher = broker.client(version, "publisher");
            publisher.send(Publish::new(topic, "unseen").retain());
            // The broker may end the connection for it.
            publisher.send(Packet::Pingreq);
            publisher.recv_within(Duration::from_secs(5));
        }
        let mut publisher = broker.client(version, "publisher");
        // Each of the filters matches one of these.
        for topic in ["marker/x", "marker"] {
            publisher.send(Publish::new(topic, "seen"));
        }
        for subscriber in &mut subscribers {
            let message = subscriber.expect_publish();
            assert_eq!(message.payload, b"seen", "{message:?}");
        }
        // Nor are they among the retained messages.
        for filter in ["#", "+/x", "+"] {
            let mut late = broker.client(version, "late");
            late.subscribe(filter, 0);
            publisher.send(Publish::new("marker/x", "seen"));
            publisher.send(Publish::new("marker", "seen"));
            assert_eq!(late.expect_publish().payload, b"seen");
        }
    });
}

/// A filter that names the `$` level itself does see it: the broker's own topics.
/// [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
#[test]
fn filter_that_begins_with_dollar_is_granted_or_refused() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.send(Subscribe::new(1).filter("$SYS/#", 0));
        let Packet::Suback(suback) = peer.recv() else {
            panic!("a SUBACK is due");
        };
        if suback.reasons == [0] {
            // Whatever comes is below $SYS.
            if let Received::Packet(packet) = peer.recv_within(Duration::from_millis(200)) {
                let Packet::Publish(publish) = packet else {
                    panic!("expected PUBLISH, got {packet:?}");
                };
                assert!(publish.topic.starts_with("$SYS"), "{publish:?}");
            }
        }
    });
}

/// Refused in SUBACK, or by the end of the connection.
#[track_caller]
fn expect_filter_refused(broker: &Broker, version: Version, filter: &str) {
    let mut peer = broker.client(version, "client");
    peer.send(Subscribe::new(1).filter(filter, 1));
    match peer.recv_within(Duration::from_secs(5)) {
        Received::Packet(Packet::Suback(suback)) => {
            let failure = match version {
                Version::V311 => reason::UNSPECIFIED_ERROR,
                Version::V5 => reason::TOPIC_FILTER_INVALID,
            };
            assert_eq!(suback.reasons, [failure], "for {filter:?}");
        }
        Received::Packet(Packet::Disconnect(disconnect)) => {
            let allowed = [
                reason::MALFORMED_PACKET,
                reason::PROTOCOL_ERROR,
                reason::TOPIC_FILTER_INVALID,
            ];
            assert!(allowed.contains(&disconnect.reason), "{disconnect:?}");
        }
        Received::Closed if version == Version::V311 => {}
        other => panic!("{filter:?} is neither refused nor the end: {other:?}"),
    }
}

/// [MQTT-4.7.1-1] [MQTT3-4.7.1-2]
#[test]
fn multi_level_wildcard_stands_alone_and_last() {
    each_version(|broker, version| {
        for filter in [
            "sport/tennis#",
            "sport/tennis/#/ranking",
            "##",
            "#/",
            "#/a",
            "a#",
            "/#a",
            "a/##",
        ] {
            expect_filter_refused(broker, version, filter);
        }
    });
}

/// [MQTT-4.7.1-2] [MQTT3-4.7.1-3]
#[test]
fn single_level_wildcard_stands_alone_in_its_level() {
    each_version(|broker, version| {
        for filter in ["sport+", "+sport", "a/+b", "a+/b", "++", "a/++", "+#", "#+"] {
            expect_filter_refused(broker, version, filter);
        }
    });
}

/// [MQTT-4.7.3-1] [MQTT3-4.7.3-1]
#[test]
fn topic_filter_is_not_empty() {
    each_version(|broker, version| {
        expect_filter_refused(broker, version, "");
    });
}

/// The longest topic that its two-byte length allows; a server may refuse what it does not like,
/// but not for its form.
/// [MQTT-4.7.3-3] [MQTT3-4.7.3-3]
#[test]
fn topic_may_have_65535_bytes() {
    each_version(|broker, version| {
        let longest = "x".repeat(65_535);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&longest, 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new(&longest, "x").qos1(1));
        assert!(subscriber.expect_message().topic == longest);
        subscriber.send(Unsubscribe::new(9, &longest));
        subscriber.expect_unsuback(9, &[reason::SUCCESS]);
        publisher.publish(Publish::new(&longest, "x").qos1(2));
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// A topic of very many levels is a topic; a broker that does not take it says so, and lives.
/// [MQTT-4.7.3-3] [MQTT3-4.7.3-3]
#[test]
fn topic_of_65535_levels_is_delivered_or_refused() {
    each_version(|broker, version| {
        let deep = "/".repeat(65_535);
        let mut healthy = broker.client(version, "healthy");
        let mut peer = broker.client(version, "client");
        peer.send(Subscribe::new(1).filter(&deep, 0));
        peer.send(Publish::new(&deep, "x").qos1(2));
        for _ in 0..2 {
            match peer.recv_within(Duration::from_secs(5)) {
                Received::Packet(Packet::Suback(_) | Packet::Puback(_) | Packet::Publish(_)) => {}
                Received::Packet(Packet::Disconnect(_)) | Received::Closed => break,
                other => panic!("neither an answer nor the end: {other:?}"),
            }
        }
        healthy.expect_ping();
    });
}
