//! Retained messages (section 3.3.1.3 of both specifications).

use nexum_harness::{Broker, Peer, Property, Publish, Subscribe, Version, reason};

use crate::scene::{each_version, expect_no_message, start, text};

fn retained(broker: &Broker, version: Version, topic: &str, payload: &str, qos: u8) -> Peer {
    let mut publisher = broker.client(version, "publisher");
    publisher.publish(Publish::new(topic, payload).qos(qos, 1).retain());
    // At QoS 0 only the answer to what follows says that it has arrived.
    publisher.expect_ping();
    publisher
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-8]
#[test]
fn retained_message_is_sent_to_later_subscribers() {
    each_version(|broker, version| {
        for qos in 0..=2 {
            let topic = format!("t{qos}");
            retained(broker, version, &topic, "kept", qos);
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe(&topic, 2);
            let message = subscriber.expect_message();
            assert_eq!(
                (text(&message), message.topic.as_str()),
                ("kept", topic.as_str())
            );
            assert_eq!(message.qos, qos, "the QoS is kept with the message");
            assert!(message.retain);
        }
    });
}

/// [MQTT-3.3.1-5] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-7]
#[test]
fn newer_retained_message_replaces_the_older() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for (payload, qos) in [("1", 1), ("2", 0), ("3", 2), ("4", 0)] {
            publisher.publish(Publish::new("t", payload).qos(qos, 1).retain());
            publisher.expect_ping();
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe("t", 2);
            let message = subscriber.expect_message();
            assert_eq!((text(&message), message.qos), (payload, qos));
            expect_no_message(&mut publisher, &mut subscriber);
        }
    });
}

/// [MQTT-3.3.1-8] [MQTT3-3.3.1-12]
#[test]
fn message_without_retain_neither_stores_nor_removes() {
    each_version(|broker, version| {
        let mut publisher = retained(broker, version, "t", "kept", 1);
        for payload in ["passing", ""] {
            publisher.publish(Publish::new("t", payload).qos1(1));
            publisher.publish(Publish::new("other", payload).qos1(2));
        }
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("other", 1);
        subscriber.subscribe("t", 1);
        assert_eq!(text(&subscriber.expect_message()), "kept");
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11]
#[test]
fn empty_retained_message_removes_and_is_not_stored() {
    each_version(|broker, version| {
        for qos in 0..=2 {
            let mut publisher = retained(broker, version, "t", "kept", 1);
            let mut present = broker.client(version, "present");
            present.subscribe("t", 2);
            assert_eq!(text(&present.expect_message()), "kept");
            publisher.publish(Publish::new("t", "").qos(qos, 1).retain());
            // Those who subscribe already get it as a message like any other.
            let message = present.expect_message();
            assert_eq!(
                (text(&message), message.qos, message.retain),
                ("", qos, false)
            );
            let mut late = broker.client(version, "late");
            late.subscribe("t", 2);
            expect_no_message(&mut publisher, &mut late);
        }
    });
}

/// Where nothing was retained there is nothing to remove, nor to store.
/// [MQTT-3.3.1-7] [MQTT3-3.3.1-11]
#[test]
fn empty_retained_message_alone_stores_nothing() {
    each_version(|broker, version| {
        let mut publisher = retained(broker, version, "t", "", 1);
        let mut late = broker.client(version, "late");
        late.subscribe("t", 1);
        expect_no_message(&mut publisher, &mut late);
    });
}

/// [MQTT-3.3.1-12] [MQTT3-3.3.1-9]
#[test]
fn established_subscription_gets_retain_0() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        for qos in 0..=2 {
            publisher.publish(Publish::new("t", "x").qos(qos, 1).retain());
            assert!(!subscriber.expect_message().retain);
        }
    });
}

/// [MQTT-3.3.1-13]
#[test]
fn v5_retain_as_published_keeps_the_flag() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.send(Subscribe::new(1).filter("t", 2 | Subscribe::RETAIN_AS_PUBLISHED));
    subscriber.expect_suback(1, &[2]);
    let mut publisher = broker.client(Version::V5, "publisher");
    for qos in 0..=2 {
        publisher.publish(Publish::new("t", "x").qos(qos, 1).retain());
        assert!(subscriber.expect_message().retain);
        publisher.publish(Publish::new("t", "x").qos(qos, 1));
        assert!(!subscriber.expect_message().retain);
    }
}

/// A retained message that answers a subscription has RETAIN 1 with either option.
/// [MQTT-3.3.1-9] [MQTT3-3.3.1-8]
#[test]
fn v5_retained_message_has_retain_1_with_either_option() {
    let broker = start();
    retained(&broker, Version::V5, "t", "kept", 1);
    for option in [0, Subscribe::RETAIN_AS_PUBLISHED] {
        let mut subscriber = broker.client(Version::V5, "subscriber");
        subscriber.subscribe("t", 1 | option);
        assert!(subscriber.expect_message().retain);
    }
}

/// [MQTT-3.3.1-9] [MQTT-3.8.4-4] [MQTT3-3.8.4-3] [MQTT3-3.3.1-6]
#[test]
fn retain_handling_0_sends_at_every_subscribe() {
    each_version(|broker, version| {
        let mut publisher = retained(broker, version, "t", "kept", 1);
        let mut subscriber = broker.client(version, "subscriber");
        for _ in 0..3 {
            subscriber.subscribe("t", 1);
            let message = subscriber.expect_message();
            assert_eq!((text(&message), message.retain), ("kept", true));
        }
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-3.3.1-10]
#[test]
fn v5_retain_handling_1_sends_only_to_a_new_subscription() {
    let broker = start();
    let mut publisher = retained(&broker, Version::V5, "t", "kept", 1);
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_IF_NEW);
    assert_eq!(text(&subscriber.expect_message()), "kept");
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_IF_NEW);
    // With another QoS it is still the same subscription.
    subscriber.subscribe("t", Subscribe::RETAINED_IF_NEW);
    expect_no_message(&mut publisher, &mut subscriber);
    // After an UNSUBSCRIBE it is new again.
    subscriber.send(nexum_harness::Unsubscribe::new(9, "t"));
    subscriber.expect_unsuback(9, &[reason::SUCCESS]);
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_IF_NEW);
    assert_eq!(text(&subscriber.expect_message()), "kept");
}

/// A subscription that came with a resumed session did exist.
/// [MQTT-3.3.1-10]
#[test]
fn v5_retain_handling_1_knows_the_subscriptions_of_a_resumed_session() {
    let broker = start();
    let mut publisher = retained(&broker, Version::V5, "t", "kept", 1);
    let connect = nexum_harness::Connect::new(Version::V5, "subscriber").persistent();
    let mut subscriber = broker.connect(connect.clone());
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_IF_NEW);
    assert_eq!(text(&subscriber.expect_message()), "kept");
    subscriber.disconnect();
    let mut subscriber = broker.connect(connect.resume());
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_IF_NEW);
    expect_no_message(&mut publisher, &mut subscriber);
}

/// [MQTT-3.3.1-11]
#[test]
fn v5_retain_handling_2_sends_nothing() {
    let broker = start();
    let mut publisher = retained(&broker, Version::V5, "t", "kept", 1);
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 1 | Subscribe::RETAINED_NEVER);
    expect_no_message(&mut publisher, &mut subscriber);
    publisher.publish(Publish::new("t", "live").qos1(1));
    assert_eq!(text(&subscriber.expect_message()), "live");
}

/// [MQTT-3.3.1-9] [MQTT3-3.3.1-6]
#[test]
fn wildcard_subscription_gets_every_matching_retained_message() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        let topics = ["a", "a/b", "a/b/c", "a/d", "/a", "b", "a//c"];
        for topic in topics {
            publisher.publish(Publish::new(topic, topic).qos1(1).retain());
        }
        for (filter, expected) in [
            ("a/#", &["a", "a/b", "a/b/c", "a/d", "a//c"][..]),
            ("a/+", &["a/b", "a/d"]),
            ("+", &["a", "b"]),
            ("+/+", &["a/b", "a/d", "/a"]),
            ("a/+/c", &["a/b/c", "a//c"]),
            ("#", &topics),
            ("c/#", &[]),
            ("a/b", &["a/b"]),
        ] {
            println!("{filter}");
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe(filter, 1);
            let mut came: Vec<String> = expected
                .iter()
                .map(|_| {
                    let message = subscriber.expect_message();
                    assert!(message.retain);
                    assert_eq!(message.topic, text(&message));
                    message.topic
                })
                .collect();
            came.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(came, expected);
            subscriber.expect_ping();
        }
    });
}

/// [MQTT-3.8.4-8] [MQTT3-3.8.4-6]
#[test]
fn retained_message_has_the_lesser_qos() {
    each_version(|broker, version| {
        retained(broker, version, "t", "kept", 2);
        for granted in 0..=2 {
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe("t", granted);
            assert_eq!(subscriber.expect_message().qos, granted);
        }
    });
}

/// Each filter of one SUBSCRIBE is a subscription of its own, with the messages retained for it.
/// [MQTT-3.8.4-5] [MQTT3-3.8.4-4] [MQTT-3.3.1-9] [MQTT3-3.3.1-6]
#[test]
fn every_filter_of_a_subscribe_gets_its_retained_messages() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for topic in ["a/1", "b/1", "c/1"] {
            publisher.publish(Publish::new(topic, "kept").qos1(1).retain());
        }
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.send(
            Subscribe::new(1)
                .filter("a/+", 1)
                .filter("b/+", 0)
                .filter("d", 2),
        );
        subscriber.expect_suback(1, &[1, 0, 2]);
        let mut came: Vec<(String, u8)> = (0..2)
            .map(|_| subscriber.expect_message())
            .map(|message| (message.topic, message.qos))
            .collect();
        came.sort();
        assert_eq!(came, [("a/1".to_owned(), 1), ("b/1".to_owned(), 0)]);
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// Topic and alias name the same message.
/// [MQTT-3.3.1-5] [MQTT-3.3.2-12]
#[test]
fn v5_message_published_by_alias_is_retained_under_its_topic() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    let alias = Property::topic_alias(1);
    publisher.publish(Publish::new("t", "1").qos1(1).property(alias.clone()));
    publisher.publish(Publish::new("", "2").qos1(1).property(alias).retain());
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 1);
    let message = subscriber.expect_message();
    assert_eq!((message.topic.as_str(), text(&message)), ("t", "2"));
    assert_eq!(message.properties.topic_alias(), None);
}
