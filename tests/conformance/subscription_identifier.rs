//! Subscription Identifiers (MQTT 5 sections 3.3.2.3.8, 3.3.4 and 3.8.2.1.2).

use nexum_harness::{Broker, Connect, Peer, Property, Publish, Subscribe, Version, reason};

use crate::scene::start;

fn subscribe(peer: &mut Peer, filter: &str, qos: u8, identifier: Option<u32>) {
    let packet_identifier = peer.next_identifier();
    let mut subscribe = Subscribe::new(packet_identifier).filter(filter, qos);
    if let Some(identifier) = identifier {
        subscribe = subscribe.property(Property::subscription_identifier(identifier));
    }
    peer.send(subscribe);
    peer.expect_suback(packet_identifier, &[qos & 3]);
}

/// Publishes to `topic` and collects the identifiers of every copy that comes before a marker, to
/// which `peer` subscribes already.
fn copies(publisher: &mut Peer, peer: &mut Peer, topic: &str) -> Vec<Vec<u32>> {
    publisher.publish(Publish::new(topic, "x").qos2(1));
    publisher.publish(Publish::new("marker", ""));
    let mut copies = Vec::new();
    loop {
        let message = peer.expect_message();
        if message.topic == "marker" {
            copies.sort();
            return copies;
        }
        copies.push(message.properties.subscription_identifiers());
    }
}

fn scene(broker: &Broker) -> (Peer, Peer) {
    let mut peer = broker.client(Version::V5, "client");
    subscribe(&mut peer, "marker", 0, None);
    (peer, broker.client(Version::V5, "publisher"))
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn identifier_comes_with_each_message_of_its_subscription() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    for identifier in [1, 127, 128, 16_384, 2_097_152, 268_435_455] {
        subscribe(&mut peer, "t", 1, Some(identifier));
        assert_eq!(copies(&mut publisher, &mut peer, "t"), [[identifier]]);
    }
}

/// [MQTT-3.3.4-3]
#[test]
fn subscription_without_identifier_has_none() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    subscribe(&mut peer, "t", 1, None);
    assert_eq!(copies(&mut publisher, &mut peer, "t"), [[0_u32; 0]]);
    // Nor has one that lost it by a replacement.
    subscribe(&mut peer, "t", 1, Some(5));
    subscribe(&mut peer, "t", 1, None);
    assert_eq!(copies(&mut publisher, &mut peer, "t"), [[0_u32; 0]]);
}

/// One copy with all identifiers, or one for each subscription with its own.
/// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]
#[test]
fn overlapping_subscriptions_send_all_their_identifiers() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    subscribe(&mut peer, "a/b", 0, Some(3));
    subscribe(&mut peer, "a/+", 1, Some(1));
    subscribe(&mut peer, "a/#", 2, Some(2));
    subscribe(&mut peer, "+/b", 2, None);
    subscribe(&mut peer, "c/#", 2, Some(9));
    let copies = copies(&mut publisher, &mut peer, "a/b");
    let one = vec![vec![1, 2, 3]];
    let each = vec![vec![], vec![1], vec![2], vec![3]];
    assert!(copies == one || copies == each, "{copies:?}");
}

/// Two subscriptions may have the same identifier; one copy then has it twice or once.
/// [MQTT-3.3.4-4] [MQTT-3.3.4-5]
#[test]
fn overlapping_subscriptions_may_share_an_identifier() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    subscribe(&mut peer, "a/b", 1, Some(7));
    subscribe(&mut peer, "a/+", 1, Some(7));
    let copies = copies(&mut publisher, &mut peer, "a/b");
    let flat: Vec<u32> = copies.concat();
    assert!(
        (1..=2).contains(&flat.len()) && flat.iter().all(|identifier| *identifier == 7),
        "{copies:?}"
    );
}

/// One identifier for all filters of a SUBSCRIBE.
/// [MQTT-3.3.4-3]
#[test]
fn identifier_is_that_of_every_filter_of_its_packet() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    peer.send(
        Subscribe::new(50)
            .filter("a", 1)
            .filter("b", 1)
            .property(Property::subscription_identifier(4)),
    );
    peer.expect_suback(50, &[1, 1]);
    assert_eq!(copies(&mut publisher, &mut peer, "a"), [[4]]);
    assert_eq!(copies(&mut publisher, &mut peer, "b"), [[4]]);
}

/// [MQTT-3.3.4-3] [MQTT-3.3.1-9]
#[test]
fn retained_message_carries_the_identifier_of_its_subscription() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    publisher.publish(Publish::new("t", "kept").qos1(1).retain());
    subscribe(&mut peer, "#", 1, Some(1));
    let first = peer.expect_message();
    assert_eq!(
        (first.retain, first.properties.subscription_identifiers()),
        (true, vec![1])
    );
    // Only the new subscription's: the message answers that one.
    subscribe(&mut peer, "t", 1, Some(2));
    let second = peer.expect_message();
    assert!(second.retain);
    assert!(second.properties.subscription_identifiers().contains(&2));
}

/// [MQTT-3.3.4-3] [MQTT-3.1.2-5]
#[test]
fn identifier_is_part_of_the_session() {
    let broker = start();
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut peer = broker.connect(connect.clone());
    subscribe(&mut peer, "t", 1, Some(6));
    peer.disconnect();
    let mut publisher = broker.client(Version::V5, "publisher");
    publisher.publish(Publish::new("t", "queued").qos1(1));
    let mut peer = broker.connect(connect.resume());
    publisher.publish(Publish::new("t", "live").qos1(2));
    for _ in 0..2 {
        assert_eq!(
            peer.expect_message().properties.subscription_identifiers(),
            [6]
        );
    }
}

/// The publisher's side has none: not of its own, nor of what it received.
/// [MQTT-3.3.4-6] [MQTT-4.13.1-1]
#[test]
fn client_must_not_send_a_subscription_identifier() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.send(Publish::new("t", "x").property(Property::subscription_identifier(1)));
    peer.expect_disconnected(&[reason::PROTOCOL_ERROR, reason::MALFORMED_PACKET]);
}

/// [MQTT-3.3.4-3]
#[test]
fn shared_subscription_has_its_identifier() {
    let broker = start();
    let (mut peer, mut publisher) = scene(&broker);
    subscribe(&mut peer, "$share/group/t", 1, Some(8));
    assert_eq!(copies(&mut publisher, &mut peer, "t"), [[8]]);
}
