//! CONNACK (section 3.2 of both specifications).

use std::time::Duration;

use nexum_harness::{Connect, Frame, Packet, Property, Received, Version, reason};

use crate::scene::{CLEAN, each_version, start};

/// [MQTT-3.2.2-2] [MQTT3-3.2.2-1]
#[test]
fn clean_start_answers_session_present_0() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "client").persistent();
        broker.connect(persistent.clone()).disconnect();
        let mut clean = persistent;
        clean.clean_start = true;
        let peer = broker.connect(clean);
        assert!(!peer.connack().session_present);
    });
}

/// [MQTT-3.2.2-3] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3]
#[test]
fn session_present_tells_whether_there_is_a_session() {
    each_version(|broker, version| {
        let resume = Connect::new(version, "client").persistent().resume();
        let peer = broker.connect(resume.clone());
        assert!(!peer.connack().session_present, "there was none yet");
        peer.disconnect();
        let peer = broker.connect(resume.clone());
        assert!(peer.connack().session_present, "now there is one");
        peer.cut();
        let peer = broker.connect(resume);
        assert!(
            peer.connack().session_present,
            "a lost connection does not end it"
        );
    });
}

/// [MQTT-3.2.2-6] [MQTT-3.2.2-7]
#[test]
fn v5_refusal_says_session_present_0_and_closes() {
    let broker = start();
    let persistent = Connect::new(Version::V5, "client").persistent();
    broker.connect(persistent.clone()).disconnect();
    let refused = persistent
        .resume()
        .property(Property::authentication_method("no such method"));
    let mut peer = broker.dial(Version::V5);
    peer.send(refused);
    let connack = peer.expect_refused(&[reason::BAD_AUTHENTICATION_METHOD, reason::NOT_AUTHORIZED]);
    assert!(!connack.session_present);
}

/// The session is there, the level is wrong.
/// [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn v311_refusal_says_session_present_0_and_closes() {
    let broker = start();
    broker
        .connect(Connect::new(Version::V311, "client").persistent())
        .disconnect();
    let mut peer = broker.dial(Version::V311);
    peer.send_frame(
        &Frame::new(0x10)
            .string("MQTT")
            .u8(3)
            .u8(0)
            .u16(0)
            .string("client"),
    );
    let connack = peer.expect_refused(&[reason::V311_UNACCEPTABLE_PROTOCOL_LEVEL]);
    assert!(!connack.session_present);
}

/// No return code of 3.1.1 says "malformed".
/// [MQTT3-3.2.2-6]
#[test]
fn v311_connect_without_a_fitting_return_code_is_closed_silently() {
    let broker = start();
    for flags in [
        CLEAN | 0x01,
        CLEAN | 0x08,
        CLEAN | 0x20,
        CLEAN | 0x1C,
        CLEAN | 0x40,
    ] {
        println!("{flags:#04x}");
        let mut peer = broker.dial(Version::V311);
        peer.send_frame(&crate::scene::connect_head(Version::V311, flags).string("client"));
        peer.expect_closed();
    }
}

/// A client that announces a tiny Maximum Packet Size gets an answer that fits, or none. The peer
/// itself refuses packets that are too large.
/// [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.1.2-24]
#[test]
fn v5_connack_keeps_to_the_clients_maximum_packet_size() {
    let broker = start();
    for size in (1..=40).chain([50, 60, 80, 100]) {
        println!("at most {size} bytes");
        let connect = Connect::new(Version::V5, "").property(Property::maximum_packet_size(size));
        let mut accepted = broker.dial(Version::V5);
        accepted.send(connect.clone());
        match accepted.recv_within(Duration::from_secs(5)) {
            Received::Packet(Packet::Connack(_)) | Received::Closed => {}
            other => panic!("expected CONNACK or the end, got {other:?}"),
        }
        let mut refused = broker.dial(Version::V5);
        refused.send(connect.property(Property::authentication_method("no such method")));
        match refused.recv_within(Duration::from_secs(5)) {
            Received::Packet(Packet::Connack(connack)) => {
                assert!(connack.reason >= 0x80, "{connack:?}");
                refused.expect_closed();
            }
            Received::Closed => {}
            other => panic!("expected CONNACK or the end, got {other:?}"),
        }
    }
}

/// [MQTT-3.1.2-28]
#[test]
fn v5_response_information_is_given_only_on_request() {
    let broker = start();
    for connect in [
        Connect::new(Version::V5, "absent"),
        Connect::new(Version::V5, "zero").property(Property::request_response_information(0)),
    ] {
        let peer = broker.connect(connect);
        assert_eq!(peer.connack().properties.response_information(), None);
    }
    // On request the server may give it.
    let asks = Connect::new(Version::V5, "one").property(Property::request_response_information(1));
    broker.connect(asks).expect_ping();
}

/// What this broker offers by default is everything; an absent property says so as well.
/// [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT3-3.8.3-2]
#[test]
fn v5_connack_offers_the_whole_protocol() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    let offered = &peer.connack().properties;
    assert_eq!(offered.maximum_qos(), None, "absent means 2");
    for available in [
        offered.retain_available(),
        offered.wildcard_subscription_available(),
        offered.subscription_identifiers_available(),
        offered.shared_subscription_available(),
    ] {
        assert_ne!(available, Some(0), "{offered:?}");
    }
    for (qos, filter) in [(0, "a/+"), (1, "#"), (2, "$share/group/t")] {
        peer.subscribe(filter, qos);
    }
}
