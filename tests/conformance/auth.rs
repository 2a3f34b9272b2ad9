//! Enhanced authentication (MQTT 5 sections 3.15 and 4.12), as far as a broker shows it that offers
//! no method: it refuses each one named, and AUTH has no place anywhere.

use nexum_harness::{Auth, Connect, Packet, Property, Publish, Received, Version, Will, reason};
use std::time::Duration;

use crate::scene::{each_version, expect_no_message, start};

const REFUSED: &[u8] = &[reason::BAD_AUTHENTICATION_METHOD, reason::NOT_AUTHORIZED];

/// [MQTT-4.12.0-1] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.12.0-4]
#[test]
fn unknown_method_is_refused() {
    let broker = start();
    for method in ["", "SCRAM-SHA-1", "PLAIN", "no such method"] {
        let connect =
            Connect::new(Version::V5, "client").property(Property::authentication_method(method));
        let mut peer = broker.dial(Version::V5);
        peer.send(connect.clone());
        peer.expect_refused(REFUSED);
        let mut peer = broker.dial(Version::V5);
        peer.send(connect.property(Property::authentication_data(b"\0user\0password")));
        peer.expect_refused(REFUSED);
    }
}

/// A client that names a method may send nothing but AUTH and DISCONNECT before its CONNACK; what
/// else it sends has no effect.
/// [MQTT-3.1.2-30] [MQTT-3.1.4-6]
#[test]
fn packets_before_connack_of_a_refused_method_have_no_effect() {
    let broker = start();
    let mut watcher = broker.client(Version::V5, "watcher");
    watcher.subscribe("t", 0);
    let connect = Connect::new(Version::V5, "client")
        .property(Property::authentication_method("no such method"))
        .will(Will::new("t", "will"));
    let mut peer = broker.dial(Version::V5);
    peer.send(connect);
    peer.send(Publish::new("t", "too early"));
    let connack = peer.expect_connack();
    assert!(REFUSED.contains(&connack.reason), "{connack:?}");
    peer.expect_closed();
    let mut publisher = broker.client(Version::V5, "publisher");
    expect_no_message(&mut publisher, &mut watcher);
}

/// [MQTT-4.12.0-6]
#[test]
fn without_a_method_there_is_no_auth() {
    let broker = start();
    let mut peer = broker.dial(Version::V5);
    peer.send(Connect::new(Version::V5, "client").user_name("user"));
    match peer.recv_within(Duration::from_secs(5)) {
        Received::Packet(Packet::Connack(connack)) => {
            assert_eq!(connack.properties.authentication_method(), None);
        }
        other => panic!("expected CONNACK, got {other:?}"),
    }
}

/// [MQTT-4.12.0-7] [MQTT-4.12.1-1] [MQTT-4.12.1-2] [MQTT-4.12.0-3] [MQTT-4.13.1-1]
#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let broker = start();
    let method = Property::authentication_method("no such method");
    for auth in [
        Auth::new(reason::SUCCESS),
        Auth::new(reason::CONTINUE_AUTHENTICATION).property(method.clone()),
        Auth::new(reason::REAUTHENTICATE).property(method.clone()),
        Auth::new(reason::REAUTHENTICATE),
    ] {
        println!("{auth:?}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send(auth);
        peer.expect_disconnected(&[
            reason::PROTOCOL_ERROR,
            reason::MALFORMED_PACKET,
            reason::BAD_AUTHENTICATION_METHOD,
            reason::NOT_AUTHORIZED,
        ]);
    }
}

/// [MQTT-3.15.2-1] [MQTT-4.13.1-1]
#[test]
fn auth_must_keep_its_form() {
    let broker = start();
    let method = Property::authentication_method("m").bytes();
    for (what, body) in [
        ("a Reason Code of no AUTH", vec![0x01, 0]),
        ("a Reason Code of errors", vec![0x87, 0]),
        ("a Reason Code cut from its properties", vec![0x18, 9]),
        (
            "a method twice",
            [&[0x19, 8][..], &method, &method].concat(),
        ),
        ("a property of CONNECT", vec![0x19, 5, 0x11, 0, 0, 0, 1]),
        ("bytes after the properties", vec![0x18, 0, 0]),
    ] {
        println!("{what}");
        let mut peer = broker.client(Version::V5, "client");
        peer.send_frame(&nexum_harness::Frame::new(0xF0).raw(&body));
        peer.expect_disconnected(&[reason::PROTOCOL_ERROR, reason::MALFORMED_PACKET]);
    }
}

/// [MQTT-3.1.0-1] [MQTT3-3.1.0-1]
#[test]
fn auth_is_no_first_packet() {
    each_version(|broker, version| {
        let mut peer = broker.dial(version);
        peer.send_bytes(&[0xF0, 0]);
        peer.expect_malformed_connect_refused(&[reason::PROTOCOL_ERROR, reason::MALFORMED_PACKET]);
    });
}
