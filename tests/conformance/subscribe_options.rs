//! No Local and the rules of a SUBSCRIBE's properties (MQTT 5 sections 3.8.2.1 and 3.8.3.1). Retain
//! As Published and Retain Handling are in `retain`.

use nexum_harness::{Connect, Frame, Property, Publish, Subscribe, Version, Will, reason};

use crate::scene::{expect_no_message, start, text};

/// [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_own_messages_away() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.subscribe("t", 2 | Subscribe::NO_LOCAL);
    let mut other = broker.client(Version::V5, "other");
    for qos in 0..=2 {
        peer.publish(Publish::new("t", "own").qos(qos, 1));
        other.publish(Publish::new("t", "foreign").qos(qos, 1));
        assert_eq!(text(&peer.expect_message()), "foreign");
    }
    expect_no_message(&mut other, &mut peer);
}

/// It is the Client Identifier that counts, not the connection.
/// [MQTT-3.8.3-3]
#[test]
fn no_local_holds_after_a_reconnect() {
    let broker = start();
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut peer = broker.connect(connect.clone());
    peer.subscribe("t", 1 | Subscribe::NO_LOCAL);
    peer.cut();
    let mut peer = broker.connect(connect.resume());
    peer.publish(Publish::new("t", "own").qos1(1));
    let mut other = broker.client(Version::V5, "other");
    expect_no_message(&mut other, &mut peer);
}

/// A client without No Local hears itself; another subscription of the same client may lift it.
/// [MQTT-3.8.3-3]
#[test]
fn no_local_is_an_option_of_one_subscription() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.subscribe("a/b", 1 | Subscribe::NO_LOCAL);
    peer.subscribe("a/+", 0);
    peer.publish(Publish::new("a/b", "own").qos1(1));
    assert_eq!(
        peer.expect_message().qos,
        0,
        "that of the subscription without No Local"
    );
    // Replaced, the option is gone.
    peer.subscribe("a/b", 1);
    peer.publish(Publish::new("a/b", "own").qos1(2));
    assert_eq!(text(&peer.expect_message()), "own");
}

/// What a client's will says is said by the client.
/// [MQTT-3.8.3-3]
#[test]
fn no_local_covers_the_own_will() {
    let broker = start();
    let connect = Connect::new(Version::V5, "client").persistent();
    let mut peer = broker.connect(connect.clone().will(Will::new("t", "own will").qos(1)));
    peer.subscribe("t", 1 | Subscribe::NO_LOCAL);
    let mut other = broker.client(Version::V5, "other");
    other.subscribe("t", 1);
    peer.cut();
    assert_eq!(text(&other.expect_message()), "own will");
    let mut peer = broker.connect(connect.resume());
    expect_no_message(&mut other, &mut peer);
}

/// [MQTT-3.8.3-4] [MQTT-4.13.1-1]
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.send(Subscribe::new(1).filter("$share/group/t", Subscribe::NO_LOCAL));
    peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
}

/// [MQTT-4.13.1-1]
#[test]
fn properties_must_keep_their_rules() {
    let broker = start();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "Subscription Identifier 0",
            Property::subscription_identifier(0).bytes(),
        ),
        (
            "Subscription Identifier twice",
            Property::subscription_identifier(1).bytes().repeat(2),
        ),
        (
            "Subscription Identifier of five bytes",
            vec![0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ),
        ("a property of PUBLISH", Property::topic_alias(1).bytes()),
        ("Reason String", Property::reason_string("r").bytes()),
        ("no such property", vec![0x7F, 0]),
    ];
    for (what, properties) in cases {
        println!("{what}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send_frame(
            &Frame::new(0x82)
                .u16(1)
                .raw_properties(&properties)
                .string("t")
                .u8(0),
        );
        peer.expect_disconnected(&[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR]);
    }
}

/// User Properties of a SUBSCRIBE are nobody's but the broker's.
/// [MQTT-3.8.4-1]
#[test]
fn user_properties_are_allowed() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    peer.send(
        Subscribe::new(1)
            .filter("t", 0)
            .property(Property::user("a", "1"))
            .property(Property::user("a", "1")),
    );
    peer.expect_suback(1, &[0]);
}
