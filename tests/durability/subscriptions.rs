//! Subscriptions, shared ones too, and their end.

use std::time::Duration;

use nexum_harness::{Connect, Publish, Subscribe, Unsubscribe, Version};

use crate::scene::{absent, builder, come_back, numbered, publish_all, resume, take_all, text};

fn numbers(topic: &str, range: std::ops::Range<u16>) -> Vec<Publish> {
    range
        .map(|number| Publish::new(topic, &number.to_string()).qos1(number + 1))
        .collect()
}

/// Filters of every kind, with their QoS and options.
#[test]
fn subscriptions_survive() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut client = broker.connect(Connect::new(version, "client").persistent());
        client.subscribe("a/+/c", 0);
        client.subscribe("b/#", 1);
        client.subscribe("c", 2);
        if version == Version::V5 {
            client.subscribe("own", 1 | Subscribe::NO_LOCAL);
        }
        client.disconnect();
        broker.kill_and_restart();
        let mut client = come_back(&broker, resume(version, "client"));
        for (topic, qos) in [("a/b/c", 0), ("b", 1), ("b/x/y", 1), ("c", 2)] {
            publish_all(&broker, [Publish::new(topic, topic).qos2(1)]);
            let publish = client.expect_message();
            assert_eq!((&*publish.topic, publish.qos), (topic, qos), "{version:?}");
        }
        publish_all(&broker, [Publish::new("d", "for nobody").qos1(1)]);
        if version == Version::V5 {
            // [MQTT-3.8.3-3]
            client.publish(Publish::new("own", "mine").qos1(9));
            publish_all(&broker, [Publish::new("own", "another's").qos1(1)]);
            assert_eq!(text(&client.expect_message()), "another's");
        }
        client.expect_ping();
    }
}

/// A SUBSCRIBE that replaces a subscription (section 3.8.4) stays replaced.
#[test]
fn replaced_subscription_survives_as_it_is_now() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut client = broker.connect(Connect::new(version, "client").persistent());
        client.subscribe("topic", 2);
        client.subscribe("topic", 0);
        client.disconnect();
        broker.kill_and_restart();
        let mut client = come_back(&broker, resume(version, "client"));
        publish_all(&broker, [Publish::new("topic", "text").qos2(1)]);
        assert_eq!(client.expect_message().qos, 0);
        client.expect_ping();
    }
}

/// [MQTT-3.10.4-1] [MQTT3-3.10.4-1]: UNSUBACK is as good as any other promise.
#[test]
fn unsubscribe_is_not_undone_by_a_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut client = broker.connect(Connect::new(version, "client").persistent());
        client.subscribe("left", 1);
        client.subscribe("kept", 1);
        client.send(Unsubscribe::new(9, "left"));
        client.expect_unsuback(9, &[0]);
        broker.kill_and_restart();
        drop(client);
        publish_all(&broker, [Publish::new("left", "for nobody").qos1(1)]);
        publish_all(&broker, [Publish::new("kept", "kept").qos1(1)]);
        let mut client = come_back(&broker, resume(version, "client"));
        assert_eq!(take_all(&mut client), ["kept"], "{version:?}");
        // Section 3.11.3: there is no such subscription any more.
        client.send(Unsubscribe::new(10, "left").filter("kept"));
        client.expect_unsuback(10, &[0x11, 0]);
    }
}

/// [MQTT-3.10.4-3] [MQTT3-3.10.4-3]: what was under way may still come, under its old identifier.
#[test]
fn message_under_way_survives_the_end_of_its_subscription() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut client = broker.connect(Connect::new(version, "client").persistent());
        client.subscribe("left", 2);
        publish_all(&broker, [Publish::new("left", "under way").qos2(1)]);
        let first = client.expect_publish();
        client.send(Unsubscribe::new(9, "left"));
        client.expect_unsuback(9, &[0]);
        broker.kill_and_restart();
        drop(client);
        let mut client = come_back(&broker, resume(version, "client"));
        let again = client.expect_message();
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert!(again.duplicate);
        client.expect_ping();
    }
}

#[test]
fn shared_subscriptions_survive() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let members = ["one", "two"];
        for member in members {
            absent(&broker, version, member, "$share/group/work/+", 1);
        }
        // A second group with one member gets everything, too.
        absent(&broker, version, "alone", "$share/other/work/#", 1);
        publish_all(&broker, numbers("work/a", 0..20));
        broker.kill_and_restart();
        publish_all(&broker, numbers("work/b", 20..40));
        let mut all = Vec::new();
        for member in members {
            all.extend(take_all(&mut come_back(&broker, resume(version, member))));
        }
        let mut all: Vec<u16> = all
            .iter()
            .map(|text| text.parse().expect("it is a number"))
            .collect();
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..40), "each once: {all:?}");
        let mut alone = come_back(&broker, resume(version, "alone"));
        assert_eq!(take_all(&mut alone), numbered(0..40), "{version:?}");
    }
}

/// What a member was sent and has not acknowledged stays its own (section 4.8.2), with its
/// identifier; nobody else gets it.
#[test]
fn message_under_way_to_a_member_stays_with_it() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut member = broker.connect(Connect::new(version, "one").persistent());
        member.subscribe("$share/group/work", 2);
        publish_all(&broker, [Publish::new("work", "under way").qos2(1)]);
        let first = member.expect_publish();
        broker.kill_and_restart();
        drop(member);
        let mut other = broker.connect(Connect::new(version, "two").persistent());
        other.subscribe("$share/group/work", 2);
        other.expect_ping();
        let mut member = come_back(&broker, resume(version, "one"));
        let again = member.expect_message();
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert!(again.duplicate);
        other.expect_ping();
        other.expect_nothing_within(Duration::from_millis(300));
    }
}

/// Who left a group is in none after the restart.
#[test]
fn end_of_a_membership_is_not_undone_by_a_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut member = broker.connect(Connect::new(version, "one").persistent());
        member.subscribe("$share/group/work", 1);
        member.send(Unsubscribe::new(9, "$share/group/work"));
        member.expect_unsuback(9, &[0]);
        absent(&broker, version, "two", "$share/group/work", 1);
        broker.kill_and_restart();
        drop(member);
        publish_all(&broker, numbers("work", 0..10));
        let mut one = come_back(&broker, resume(version, "one"));
        assert!(take_all(&mut one).is_empty());
        let mut two = come_back(&broker, resume(version, "two"));
        assert_eq!(take_all(&mut two), numbered(0..10), "{version:?}");
    }
}
