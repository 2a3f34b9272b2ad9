//! QoS 1 and 2 in each state of an exchange, in both directions: after the death of the broker it
//! goes on where it was, with the same Packet Identifiers ([MQTT-4.4.0-1], [MQTT3-4.4.0-1]).

use std::time::Duration;

use nexum_harness::{
    Broker, Connect, Packet, Peer, Property, Publish, Received, Version, puback, pubcomp, pubrec,
    pubrel,
};

use crate::scene::{absent, builder, come_back, publish_all, resume, settle, take_all, text};

/// A subscriber with a session to keep, who is there.
#[track_caller]
fn subscriber(broker: &Broker, version: Version) -> Peer {
    let mut peer = broker.connect(Connect::new(version, "subscriber").persistent());
    peer.subscribe("queue", 2);
    peer
}

/// The broker dies, and the client comes back to its session.
#[track_caller]
fn through_kill(broker: &mut Broker, peer: Peer, client_id: &str) -> Peer {
    let version = peer.version();
    broker.kill_and_restart();
    drop(peer);
    come_back(broker, resume(version, client_id))
}

/// Nothing more is under way to a client: PINGREQ is answered, and nothing follows.
#[track_caller]
fn expect_quiet(peer: &mut Peer) {
    peer.expect_ping();
    peer.expect_nothing_within(Duration::from_millis(300));
}

fn message(qos: u8) -> Publish {
    Publish::new("queue", "message").qos(qos, 1)
}

// ---- from the broker to a client -------------------------------------------------------------

#[test]
fn unacknowledged_qos_1_comes_again_with_dup_and_its_identifier() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = subscriber(&broker, version);
        publish_all(&broker, [message(1)]);
        let first = peer.expect_publish();
        assert!(!first.duplicate);
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        let again = peer.expect_publish();
        assert!(again.duplicate, "{version:?}");
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert_eq!((again.qos, text(&again)), (1, text(&first)));
        peer.send(puback(again.packet_identifier));
        publish_all(&broker, [message(1)]);
        let second = peer.expect_message();
        assert!(!second.duplicate, "another message");
        peer.expect_ping();
        settle(&broker);
        publish_all(&broker, [Publish::new("queue", "third").qos1(1)]);
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        let third = peer.expect_message();
        assert_eq!(text(&third), "third");
        expect_quiet(&mut peer);
    }
}

/// [MQTT-4.6.0-1]: in the order in which they were sent; what waited behind them follows.
#[test]
fn several_unacknowledged_come_again_in_their_order() {
    for version in Version::ALL {
        let mut broker = builder().set("limits.maximum_inflight", 4).start();
        let mut peer = subscriber(&broker, version);
        publish_all(
            &broker,
            (0..8).map(|number| {
                let qos = if number % 2 == 0 { 1 } else { 2 };
                Publish::new("queue", &number.to_string()).qos(qos, number + 1)
            }),
        );
        let sent: Vec<Publish> = (0..4).map(|_| peer.expect_publish()).collect();
        expect_quiet(&mut peer);
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        for first in &sent {
            let again = peer.expect_publish();
            assert!(again.duplicate, "{again:?}");
            assert_eq!(
                (again.packet_identifier, again.qos, text(&again)),
                (first.packet_identifier, first.qos, text(first))
            );
        }
        expect_quiet(&mut peer);
        for first in sent {
            let identifier = first.packet_identifier;
            if first.qos == 1 {
                peer.send(puback(identifier));
            } else {
                peer.send(pubrec(identifier));
                peer.expect_pubrel(identifier);
                peer.send(pubcomp(identifier));
            }
        }
        for number in 4..8 {
            let publish = peer.expect_message();
            assert!(!publish.duplicate, "it was never sent: {publish:?}");
            assert_eq!(text(&publish), number.to_string());
        }
        expect_quiet(&mut peer);
    }
}

#[test]
fn unreceived_qos_2_comes_again_with_dup_and_its_identifier() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = subscriber(&broker, version);
        publish_all(&broker, [message(2)]);
        let first = peer.expect_publish();
        let identifier = first.packet_identifier;
        for _ in 0..2 {
            peer = through_kill(&mut broker, peer, "subscriber");
            let again = peer.expect_publish();
            assert!(again.duplicate, "{version:?}");
            assert_eq!(
                (again.packet_identifier, again.qos, text(&again)),
                (identifier, 2, text(&first))
            );
        }
        peer.send(pubrec(identifier));
        peer.expect_pubrel(identifier);
        peer.send(pubcomp(identifier));
        expect_quiet(&mut peer);
    }
}

/// Once PUBREL was sent, PUBLISH must not be again ([MQTT-4.3.3-5] and section 4.4).
#[test]
fn received_qos_2_goes_on_with_pubrel() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = subscriber(&broker, version);
        publish_all(&broker, [message(2)]);
        let identifier = peer.expect_publish().packet_identifier;
        peer.send(pubrec(identifier));
        peer.expect_pubrel(identifier);
        for _ in 0..2 {
            peer = through_kill(&mut broker, peer, "subscriber");
            peer.expect_pubrel(identifier);
            expect_quiet(&mut peer);
        }
        peer.send(pubcomp(identifier));
        peer.expect_ping();
        settle(&broker);
        publish_all(&broker, [Publish::new("queue", "last").qos1(1)]);
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        assert_eq!(text(&peer.expect_message()), "last");
        expect_quiet(&mut peer);
    }
}

/// [MQTT-2.2.1-2 and the like]: what is new gets an identifier that is not under way.
#[test]
fn identifiers_under_way_are_not_used_again_after_the_restart() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = subscriber(&broker, version);
        publish_all(&broker, [message(1), message(2), message(2)]);
        let mut used: Vec<u16> = (0..3)
            .map(|_| peer.expect_publish().packet_identifier)
            .collect();
        peer.send(pubrec(used[2]));
        peer.expect_pubrel(used[2]);
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        let again: Vec<u16> = (0..2)
            .map(|_| peer.expect_publish().packet_identifier)
            .collect();
        assert_eq!(again, used[..2]);
        peer.expect_pubrel(used[2]);
        publish_all(&broker, (0..5).map(|_| message(2)));
        for _ in 0..5 {
            let identifier = peer.expect_publish().packet_identifier;
            assert!(!used.contains(&identifier), "{identifier} is in {used:?}");
            used.push(identifier);
        }
    }
}

/// A message that waited, and was never sent, comes without DUP ([MQTT-3.3.1-2]).
#[test]
fn message_that_was_never_sent_comes_without_dup() {
    for version in Version::ALL {
        let mut broker = builder().start();
        absent(&broker, version, "subscriber", "queue", 2);
        publish_all(&broker, [message(1), message(2)]);
        broker.kill_and_restart();
        let mut peer = come_back(&broker, resume(version, "subscriber"));
        for qos in [1, 2] {
            let publish = peer.expect_message();
            assert_eq!((publish.qos, publish.duplicate), (qos, false));
        }
    }
}

/// Its Receive Maximum holds for what comes again, too; a smaller one than before does as well.
#[test]
fn receive_maximum_holds_for_what_comes_again() {
    let mut broker = builder().start();
    let mut peer = subscriber(&broker, Version::V5);
    publish_all(
        &broker,
        (0..4).map(|number| Publish::new("queue", &number.to_string()).qos1(1)),
    );
    let sent: Vec<u16> = (0..4)
        .map(|_| peer.expect_publish().packet_identifier)
        .collect();
    broker.kill_and_restart();
    let connect = resume(Version::V5, "subscriber").property(Property::receive_maximum(2));
    let mut peer = come_back(&broker, connect);
    // The peer itself sees to the maximum.
    let mut again = vec![peer.expect_publish(), peer.expect_publish()];
    expect_quiet(&mut peer);
    peer.send(puback(again[0].packet_identifier));
    again.push(peer.expect_publish());
    peer.send(puback(again[1].packet_identifier));
    again.push(peer.expect_publish());
    let identifiers: Vec<u16> = again.iter().map(|it| it.packet_identifier).collect();
    assert_eq!(identifiers, sent);
    assert!(again.iter().all(|publish| publish.duplicate), "{again:?}");
}

// ---- from a client to the broker -------------------------------------------------------------

/// Connects a publisher with a session to keep, and makes one for an absent subscriber.
#[track_caller]
fn publisher(broker: &Broker, version: Version) -> Peer {
    absent(broker, version, "subscriber", "queue", 2);
    broker.connect(Connect::new(version, "publisher").persistent())
}

#[track_caller]
fn delivered(broker: &Broker, version: Version) -> Vec<String> {
    take_all(&mut come_back(broker, resume(version, "subscriber")))
}

/// The publisher does not know whether its PUBLISH came: it sends it again, and it counts once.
#[test]
fn publish_at_qos_2_that_was_just_sent_is_taken_once() {
    for version in Version::ALL {
        for waits in [false, true] {
            let mut broker = builder().start();
            let mut peer = publisher(&broker, version);
            peer.send(message(2));
            if waits {
                // Perhaps it has been stored, perhaps not; with some time, more likely.
                let _answer = peer.recv_within(Duration::from_millis(2));
            }
            let mut peer = through_kill(&mut broker, peer.survive_crash(), "publisher");
            peer.send(message(2).duplicate());
            peer.expect_pubrec(1);
            peer.send(pubrel(1));
            peer.expect_pubcomp(1);
            assert_eq!(delivered(&broker, version), ["message"], "{version:?}");
        }
    }
}

/// [MQTT-4.3.3-10]: after PUBREC, PUBLISH with the identifier is the same message.
#[test]
fn publish_that_comes_again_after_pubrec_is_not_delivered_again() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        peer.send(message(2));
        assert_eq!(peer.expect_pubrec(1).reason, 0);
        for _ in 0..2 {
            peer = through_kill(&mut broker, peer, "publisher");
            peer.send(message(2).duplicate());
            assert_eq!(peer.expect_pubrec(1).reason, 0);
        }
        peer.send(pubrel(1));
        assert_eq!(peer.expect_pubcomp(1).reason, 0);
        assert_eq!(delivered(&broker, version), ["message"], "{version:?}");
    }
}

#[test]
fn pubrel_after_the_restart_is_answered_with_pubcomp() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        peer.send(message(2));
        assert_eq!(peer.expect_pubrec(1).reason, 0);
        let mut peer = through_kill(&mut broker, peer, "publisher");
        peer.send(pubrel(1));
        assert_eq!(peer.expect_pubcomp(1).reason, 0, "it is known");
        assert_eq!(delivered(&broker, version), ["message"], "{version:?}");
    }
}

/// After PUBCOMP the identifier is free for another message, though the broker died.
#[test]
fn identifier_is_free_after_pubcomp() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        peer.publish(Publish::new("queue", "first").qos2(1));
        let mut peer = through_kill(&mut broker, peer, "publisher");
        // Its PUBCOMP may have been lost: PUBREL again is answered, too.
        peer.send(pubrel(1));
        let reason = peer.expect_pubcomp(1).reason;
        assert_eq!(reason, if version == Version::V5 { 0x92 } else { 0 });
        peer.publish(Publish::new("queue", "second").qos2(1));
        assert_eq!(delivered(&broker, version), ["first", "second"]);
    }
}

/// PUBREL was sent, its answer did not come: the client sends it again.
#[test]
fn pubrel_that_was_just_sent_may_be_sent_again() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        peer.send(message(2));
        peer.expect_pubrec(1);
        peer.send(pubrel(1));
        let mut peer = through_kill(&mut broker, peer.survive_crash(), "publisher");
        peer.send(pubrel(1));
        peer.expect_pubcomp(1);
        peer.publish(Publish::new("queue", "next").qos2(1));
        assert_eq!(delivered(&broker, version), ["message", "next"]);
    }
}

/// Several exchanges in different states at once, each with its own identifier.
#[test]
fn exchanges_in_different_states_go_on_side_by_side() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        for identifier in [10, 20, 30] {
            let text = identifier.to_string();
            peer.send(Publish::new("queue", &text).qos2(identifier));
            peer.expect_pubrec(identifier);
        }
        peer.send(pubrel(10));
        peer.expect_pubcomp(10);
        let mut peer = through_kill(&mut broker, peer, "publisher");
        peer.send(pubrel(30));
        assert_eq!(peer.expect_pubcomp(30).reason, 0);
        peer.send(Publish::new("queue", "20").qos2(20).duplicate());
        assert_eq!(peer.expect_pubrec(20).reason, 0);
        peer.send(pubrel(20));
        assert_eq!(peer.expect_pubcomp(20).reason, 0);
        peer.publish(Publish::new("queue", "another").qos2(10));
        assert_eq!(
            delivered(&broker, version),
            ["10", "20", "30", "another"],
            "{version:?}"
        );
    }
}

/// [MQTT-3.3.4-9 and section 4.9]: what is unreleased from before is not held against the quota
/// for ever, and PUBACK comes for what was sent before the kill when it is sent again.
#[test]
fn publish_at_qos_1_that_comes_again_is_acknowledged() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = publisher(&broker, version);
        peer.send(message(1));
        let mut peer = through_kill(&mut broker, peer.survive_crash(), "publisher");
        peer.send(message(1).duplicate());
        peer.expect_puback(1);
        let mut got = delivered(&broker, version);
        // At least once.
        assert!((1..=2).contains(&got.len()), "{got:?}");
        got.dedup();
        assert_eq!(got, ["message"]);
    }
}

/// A PUBCOMP that the broker's death swallowed: PUBREL comes again or nothing does, never PUBLISH.
#[test]
fn pubcomp_that_was_just_sent_brings_no_message_back() {
    for version in Version::ALL {
        let mut broker = builder().start();
        let mut peer = subscriber(&broker, version);
        publish_all(&broker, [message(2)]);
        let identifier = peer.expect_message().packet_identifier;
        let mut peer = through_kill(&mut broker, peer, "subscriber");
        match peer.recv_within(Duration::from_millis(300)) {
            Received::Nothing => {}
            Received::Packet(Packet::Pubrel(ack)) => {
                assert_eq!(ack.packet_identifier, identifier);
                peer.send(pubcomp(identifier));
            }
            other => panic!("expected PUBREL or nothing, got {other:?}"),
        }
        expect_quiet(&mut peer);
    }
}
