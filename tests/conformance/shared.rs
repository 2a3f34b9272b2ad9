//! Shared Subscriptions (MQTT 5 section 4.8.2), which this broker offers to 3.1.1 as well.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nexum_harness::{
    Broker, Connect, Packet, Peer, Publish, Received, Subscribe, Unsubscribe, Version, puback,
    pubrec, reason,
};

use crate::scene::{each_version, expect_no_message, start, text};

const A_MOMENT: Duration = Duration::from_millis(200);

/// Members of `group` at QoS 2.
fn members(broker: &Broker, version: Version, group: &str, count: usize) -> Vec<Peer> {
    (0..count)
        .map(|number| {
            let mut peer = broker.client(version, &format!("{group} {number}"));
            peer.subscribe(&format!("$share/{group}/t/+"), 2);
            peer
        })
        .collect()
}

/// Waits until `count` messages have come to all of the peers together, and shows that there are
/// no more. The messages of a group have no order across its members, nor with those of a plain
/// subscription, so no marker can end them.
#[track_caller]
fn messages(peers: &mut [Peer], count: usize) -> Vec<Publish> {
    let mut messages = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while messages.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} came",
            messages.len()
        );
        for peer in peers.iter_mut() {
            match peer.recv_within(Duration::from_millis(5)) {
                Received::Packet(Packet::Publish(publish)) => messages.push(publish),
                Received::Nothing => {}
                other => panic!("expected PUBLISH, got {other:?}"),
            }
        }
    }
    for peer in peers.iter_mut() {
        peer.expect_nothing_within(A_MOMENT);
    }
    messages
}

/// [MQTT-4.8.2-1] [MQTT-3.3.2-3]
#[test]
fn each_message_goes_to_one_member() {
    each_version(|broker, version| {
        let mut group = members(broker, version, "group", 3);
        let mut other_group = members(broker, version, "other", 2);
        let mut plain = vec![broker.client(version, "plain")];
        plain[0].subscribe("t/+", 0);
        let mut publisher = broker.client(version, "publisher");
        for number in 0..30_u16 {
            let publish = Publish::new("t/x", &number.to_string());
            publisher.publish(publish.qos(number.to_le_bytes()[0] % 3, 1));
        }
        for peers in [&mut group, &mut other_group, &mut plain] {
            let came: HashSet<String> = messages(peers, 30)
                .iter()
                .inspect(|message| assert_eq!(message.topic, "t/x"))
                .map(|message| text(message).to_owned())
                .collect();
            assert_eq!(came.len(), 30, "{came:?}");
        }
    });
}

/// A group is its ShareName and its filter together.
/// [MQTT-4.8.2-1]
#[test]
fn same_share_name_with_another_filter_is_another_subscription() {
    each_version(|broker, version| {
        let mut first = broker.client(version, "first");
        first.subscribe("$share/group/a/+", 1);
        let mut second = broker.client(version, "second");
        second.subscribe("$share/group/a/#", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("a/b", "x").qos1(1));
        assert_eq!(text(&first.expect_message()), "x");
        assert_eq!(text(&second.expect_message()), "x");
    });
}

/// [MQTT-4.8.2-3] [MQTT-3.8.4-8]
#[test]
fn granted_qos_is_respected() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for granted in 0..=2 {
            let mut peer = broker.client(version, "member");
            peer.subscribe("$share/group/t", granted);
            for published in 0..=2 {
                println!("granted QoS {granted}, published QoS {published}");
                publisher.publish(Publish::new("t", "x").qos(published, 1));
                assert_eq!(peer.expect_message().qos, published.min(granted));
            }
            peer.disconnect();
        }
    });
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-4.7.1-1] [MQTT-4.7.1-2]
#[test]
fn malformed_shared_subscription_is_refused() {
    each_version(|broker, version| {
        for filter in [
            "$share",
            "$share/",
            "$share//t",
            "$share//",
            "$share/group",
            "$share/group/",
            "$share/+/t",
            "$share/#/t",
            "$share/gr+up/t",
            "$share/group#/t",
            "$share/group/t#",
            "$share/group/#/t",
            "$share/group/+t",
        ] {
            println!("{filter}");
            let mut peer = broker.client(version, "client");
            peer.send(Subscribe::new(1).filter(filter, 1));
            match peer.recv_within(Duration::from_secs(5)) {
                Received::Packet(Packet::Suback(suback)) => {
                    let [code] = suback.reasons[..] else {
                        panic!("one filter, one code: {suback:?}");
                    };
                    assert!(code >= 0x80, "{filter} was granted");
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
                other => panic!("neither SUBACK nor the end: {other:?}"),
            }
        }
    });
}

/// [MQTT-4.8.2-2]
#[test]
fn share_name_may_have_any_other_character() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for name in ["g", "$", " ", "日本", "a.b-c_d", "$share", "*"] {
            let mut peer = broker.client(version, "client");
            peer.subscribe(&format!("$share/{name}//t"), 1);
            publisher.publish(Publish::new("/t", name).qos1(1));
            let message = peer.expect_message();
            assert_eq!((message.topic.as_str(), text(&message)), ("/t", name));
            peer.disconnect();
        }
    });
}

/// Section 4.8.2: retained messages are not for groups.
#[test]
fn shared_subscription_gets_no_retained_messages() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "kept").qos1(1).retain());
        let mut peer = broker.client(version, "client");
        peer.subscribe("$share/group/t", 1);
        expect_no_message(&mut publisher, &mut peer);
        publisher.publish(Publish::new("t", "live").qos1(2));
        assert_eq!(text(&peer.expect_message()), "live");
    });
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2]
#[test]
fn unsubscribing_leaves_the_group() {
    each_version(|broker, version| {
        let mut leaver = broker.client(version, "leaver");
        leaver.subscribe("$share/group/t", 1);
        let mut stayer = broker.client(version, "stayer");
        stayer.subscribe("$share/group/t", 1);
        // Not the plain filter, nor another group's.
        for other in ["t", "$share/other/t", "$share/group/t/"] {
            leaver.send(Unsubscribe::new(1, other));
            leaver.expect_unsuback(1, &[reason::NO_SUBSCRIPTION_EXISTED]);
        }
        leaver.send(Unsubscribe::new(2, "$share/group/t"));
        leaver.expect_unsuback(2, &[reason::SUCCESS]);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=10_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos1(1));
            assert_eq!(text(&stayer.expect_message()), number.to_string());
        }
        expect_no_message(&mut publisher, &mut leaver);
    });
}

/// A plain subscription and a shared one of the same client are two.
/// [MQTT-4.8.2-1]
#[test]
fn plain_and_shared_subscription_live_side_by_side() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        peer.subscribe("t", 0);
        peer.subscribe("$share/group/t", 1);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos1(1));
        // One for each, or one for both at the higher QoS.
        let mut qos = vec![peer.expect_message().qos];
        if qos == [0] {
            qos.push(peer.expect_message().qos);
        } else if let Received::Packet(Packet::Publish(second)) = peer.recv_within(A_MOMENT) {
            qos.push(second.qos);
        }
        qos.sort_unstable();
        assert!(qos == [0, 1] || qos == [1], "{qos:?}");
        peer.send(Unsubscribe::new(9, "$share/group/t"));
        peer.expect_unsuback(9, &[reason::SUCCESS]);
        publisher.publish(Publish::new("t", "plain").qos1(1));
        assert_eq!(text(&peer.expect_message()), "plain");
    });
}

/// [MQTT-4.8.2-4] [MQTT-4.4.0-1]
#[test]
fn qos_2_delivery_is_completed_when_the_member_returns() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "chosen").persistent();
        let mut chosen = broker.connect(persistent.clone());
        chosen.subscribe("$share/group/t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        let first = chosen.expect_publish();
        let mut other = broker.client(version, "other");
        other.subscribe("$share/group/t", 2);
        chosen.cut();
        expect_no_message(&mut publisher, &mut other);
        let mut chosen = broker.connect(persistent.resume());
        let again = chosen.expect_message();
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert!(again.duplicate);
        expect_no_message(&mut publisher, &mut other);
    });
}

/// [MQTT-4.8.2-5]
#[test]
fn qos_2_message_of_a_session_that_ended_goes_to_nobody_else() {
    each_version(|broker, version| {
        let mut chosen = broker.client(version, "chosen");
        chosen.subscribe("$share/group/t", 2);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish(Publish::new("t", "x").qos2(1));
        chosen.expect_publish();
        let mut other = broker.client(version, "other");
        other.subscribe("$share/group/t", 2);
        // A clean session ends with its connection.
        chosen.cut();
        expect_no_message(&mut publisher, &mut other);
        other.expect_nothing_within(A_MOMENT);
    });
}

/// At QoS 1 a server may send what its member did not acknowledge to another one, and this broker
/// does: a member that dies takes nothing with it.
#[test]
fn qos_1_message_of_a_session_that_ended_goes_to_another_member() {
    each_version(|broker, version| {
        let mut chosen = broker.client(version, "chosen");
        chosen.subscribe("$share/group/t", 1);
        let mut publisher = broker.client(version, "publisher");
        for payload in ["1", "2", "3"] {
            publisher.publish(Publish::new("t", payload).qos1(1));
            assert_eq!(text(&chosen.expect_publish()), payload);
        }
        let mut other = broker.client(version, "other");
        other.subscribe("$share/group/t", 1);
        chosen.cut();
        let mut came: Vec<String> = (0..3)
            .map(|_| text(&other.expect_message()).to_owned())
            .collect();
        came.sort();
        assert_eq!(came, ["1", "2", "3"]);
    });
}

/// [MQTT-4.8.2-6] [MQTT-4.4.0-2]
#[test]
fn v5_refused_message_goes_to_nobody_else() {
    let version = Version::V5;
    let broker = start();
    let mut chosen = broker.client(version, "chosen");
    chosen.subscribe("$share/group/t", 2);
    let mut publisher = broker.client(version, "publisher");
    publisher.publish(Publish::new("t", "1").qos1(1));
    publisher.publish(Publish::new("t", "2").qos2(2));
    let (first, second) = (chosen.expect_publish(), chosen.expect_publish());
    let mut other = broker.client(version, "other");
    other.subscribe("$share/group/t", 2);
    chosen.send(puback(first.packet_identifier).reason(reason::UNSPECIFIED_ERROR));
    chosen.send(pubrec(second.packet_identifier).reason(reason::IMPLEMENTATION_SPECIFIC_ERROR));
    chosen.expect_ping();
    expect_no_message(&mut publisher, &mut other);
    // Not even when the member is gone.
    chosen.cut();
    expect_no_message(&mut publisher, &mut other);
}

/// Members that are away with a session count: their messages wait, nothing is lost.
/// [MQTT-4.5.0-1] [MQTT3-4.5.0-1]
#[test]
fn group_whose_members_are_all_away_keeps_its_messages() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "member").persistent();
        let mut member = broker.connect(persistent.clone());
        member.subscribe("$share/group/t", 1);
        member.disconnect();
        let mut publisher = broker.client(version, "publisher");
        for payload in ["1", "2", "3"] {
            publisher.publish(Publish::new("t", payload).qos1(1));
        }
        let mut member = broker.connect(persistent.resume());
        for payload in ["1", "2", "3"] {
            assert_eq!(text(&member.expect_message()), payload);
        }
    });
}
