//! CONNECT as a whole: it comes first, once, and in a version the broker speaks
//! (section 3.1 of both specifications).

use nexum_harness::{
    Connect, Disconnect, Frame, Packet, Property, Publish, Subscribe, Unsubscribe, Version, Will,
    puback, pubcomp, pubrec, pubrel, reason,
};

use crate::scene::{CLEAN, connect_head, each_version, expect_no_message, start};

/// [MQTT-3.1.0-1] [MQTT3-3.1.0-1] [MQTT-3.14.0-1]
#[test]
fn first_packet_must_be_connect() {
    each_version(|broker, version| {
        let others: Vec<Packet> = vec![
            Publish::new("t", "x").into(),
            Publish::new("t", "x").qos1(1).into(),
            puback(1),
            pubrec(1),
            pubrel(1),
            pubcomp(1),
            Subscribe::new(1).filter("t", 0).into(),
            Unsubscribe::new(1, "t").into(),
            Packet::Pingreq,
            Disconnect::normal().into(),
        ];
        for packet in others {
            println!("{packet:?}");
            let mut peer = broker.dial(version);
            peer.send(packet);
            peer.expect_malformed_connect_refused(&[
                reason::MALFORMED_PACKET,
                reason::PROTOCOL_ERROR,
            ]);
        }
    });
}

/// [MQTT-3.1.0-2] [MQTT3-3.1.0-2] [MQTT-3.2.0-2] [MQTT-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn second_connect_is_a_protocol_error() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "twice");
        peer.send(Connect::new(version, "twice"));
        peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
    });
}

/// The same, should the second CONNECT arrive before the first is answered.
/// [MQTT-3.1.0-2] [MQTT3-3.1.0-2] [MQTT-3.2.0-2]
#[test]
fn second_connect_in_the_same_segment_is_a_protocol_error() {
    each_version(|broker, version| {
        let mut peer = broker.dial(version);
        let connect = Packet::from(Connect::new(version, "twice")).bytes(version);
        peer.send_bytes(&[connect.clone(), connect].concat());
        peer.expect_accepted();
        peer.expect_disconnected(&[reason::PROTOCOL_ERROR]);
    });
}

/// [MQTT-3.1.2-1] [MQTT3-3.1.2-1]
#[test]
fn wrong_protocol_name_ends_the_connection() {
    each_version(|broker, version| {
        for name in ["", "MQT", "mqtt", "MQTTT", "MQIsdp", "HTTP"] {
            println!("{name:?}");
            let mut frame = Frame::new(0x10)
                .string(name)
                .u8(version.level())
                .u8(CLEAN)
                .u16(0);
            if version == Version::V5 {
                frame = frame.properties(&[]);
            }
            let mut peer = broker.dial(version);
            peer.send_frame(&frame.string("client"));
            assert_silence_or_version_refused(&peer.recv_bytes_until_closed());
        }
    });
}

/// [MQTT-3.1.2-2] [MQTT3-3.1.2-2] [MQTT-3.2.2-7] [MQTT3-3.2.2-5]
#[test]
fn unsupported_protocol_level_is_refused() {
    let broker = start();
    for level in [0, 1, 2, 3, 6, 7, 127, 128, 255] {
        println!("level {level}");
        let frame = Frame::new(0x10)
            .string("MQTT")
            .u8(level)
            .u8(CLEAN)
            .u16(0)
            .string("client");
        let mut peer = broker.dial(Version::V311);
        peer.send_frame(&frame);
        let answer = peer.recv_bytes_until_closed();
        assert!(!answer.is_empty(), "3.1.1 asks for a CONNACK");
        assert_silence_or_version_refused(&answer);
    }
}

/// 3.1.1 says it with return code 1, MQTT 5 with Reason Code 0x84; a client of neither may get
/// either.
#[track_caller]
fn assert_silence_or_version_refused(answer: &[u8]) {
    let refused_in_311 = answer == [0x20, 0x02, 0x00, reason::V311_UNACCEPTABLE_PROTOCOL_LEVEL];
    let refused_in_5 = answer.len() >= 5
        && answer[0] == 0x20
        && answer[2..4] == [0x00, reason::UNSUPPORTED_PROTOCOL_VERSION];
    assert!(
        answer.is_empty() || refused_in_311 || refused_in_5,
        "neither silence nor a CONNACK about the version: {answer:02x?}"
    );
}

/// [MQTT-3.1.4-5] [MQTT3-3.1.4-4] [MQTT-3.2.0-1] [MQTT3-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-8]
/// [MQTT-4.2-1] [MQTT3-7.1.1-1] [MQTT3-7.0.0-2] [MQTT-2.2.2-1]
#[test]
fn valid_connect_is_acknowledged() {
    each_version(|broker, version| {
        let mut peer = broker.dial(version);
        peer.send(Connect::new(version, "client"));
        let connack = peer.expect_connack();
        assert_eq!(connack.reason, reason::SUCCESS);
        assert!(!connack.session_present);
        peer.expect_ping();
    });
}

/// The bytes of a CONNECT may come one by one, or with the packets after it.
/// [MQTT-3.1.4-5] [MQTT3-3.1.4-4] [MQTT-4.2-1] [MQTT3-7.1.1-1]
#[test]
fn connect_may_arrive_in_any_segments() {
    each_version(|broker, version| {
        let connect = Packet::from(
            Connect::new(version, "client")
                .will(Will::new("will", "payload"))
                .user_name("user"),
        )
        .bytes(version);
        let mut slow = broker.dial(version);
        slow.send_in_fragments(&connect, 1);
        slow.expect_accepted();
        slow.expect_ping();

        let mut eager = broker.dial(version);
        let ping = Packet::Pingreq.bytes(version);
        eager.send_bytes(
            &[
                Packet::from(Connect::new(version, "eager")).bytes(version),
                ping,
            ]
            .concat(),
        );
        eager.expect_accepted();
        assert_eq!(eager.recv(), Packet::Pingresp);
    });
}

/// Every field at once, in its order.
/// [MQTT-3.1.3-1] [MQTT3-3.1.3-1] [MQTT-3.1.2-9] [MQTT3-3.1.2-9] [MQTT-3.1.2-17] [MQTT3-3.1.2-19]
#[test]
fn all_payload_fields_are_read_in_their_order() {
    each_version(|broker, version| {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("will/topic", 2);
        let will = Will::new("will/topic", "last words").qos(1);
        let connect = Connect::new(version, "client")
            .keep_alive(60)
            .will(will)
            .user_name("user");
        broker.connect(connect).cut();
        let published = watcher.expect_message();
        assert_eq!(published.payload, b"last words");
        assert_eq!(published.qos, 1);
    });
}

/// A CONNECT that is refused takes what follows it in the same segment down with it.
/// [MQTT-3.1.4-6] [MQTT3-3.1.4-5]
#[test]
fn data_after_a_refused_connect_is_not_processed() {
    each_version(|broker, version| {
        let refused = match version {
            Version::V311 => Connect::new(version, "").resume(),
            Version::V5 => Connect::new(version, "refused")
                .property(Property::authentication_method("no such method")),
        };
        let mut peer = broker.dial(version);
        let publish = Packet::from(Publish::new("left/behind", "x").retain());
        peer.send_bytes(&[Packet::from(refused).bytes(version), publish.bytes(version)].concat());
        // Not as a `Connect`, so the watch does not know the method; the outcome is another test's.
        assert!(!peer.recv_bytes_until_closed().is_empty());

        let mut subscriber = broker.client(version, "subscriber");
        let mut publisher = broker.client(version, "publisher");
        subscriber.subscribe("left/behind", 0);
        expect_no_message(&mut publisher, &mut subscriber);
    });
}

/// [MQTT-3.1.4-1] [MQTT3-3.1.4-1]
#[test]
fn connect_of_the_wrong_length_ends_the_connection() {
    each_version(|broker, version| {
        let whole = connect_head(version, CLEAN).string("client").bytes();
        // Cut short anywhere, with a Remaining Length that says so.
        for length in 0..whole.len() - 2 {
            println!("{length} bytes of {}", whole.len() - 2);
            let mut peer = broker.dial(version);
            peer.send_frame(&Frame::new(0x10).raw(&whole[2..2 + length]));
            let answer = peer.recv_bytes_until_closed();
            assert_silence_or_malformed(version, &answer);
        }
        // Longer than its fields.
        let mut peer = broker.dial(version);
        peer.send_frame(&connect_head(version, CLEAN).string("client").u8(0));
        peer.expect_malformed_connect_refused(&[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR]);
    });
}

/// A broker that has not yet read the version cannot know the form of its answer, so it must say
/// nothing; afterwards only MQTT 5 has words for it.
#[track_caller]
fn assert_silence_or_malformed(version: Version, answer: &[u8]) {
    let malformed = version == Version::V5
        && answer.len() >= 5
        && answer[0] == 0x20
        && answer[2] == 0
        && [reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR].contains(&answer[3]);
    assert!(answer.is_empty() || malformed, "{answer:02x?}");
}

/// Without credentials a broker must at least decide; ours lets anonymous clients in on loopback.
/// [MQTT-3.1.4-2]
#[test]
fn unknown_authentication_method_is_refused_and_closed() {
    let broker = start();
    let mut peer = broker.dial(Version::V5);
    peer.send(
        Connect::new(Version::V5, "client")
            .property(Property::authentication_method("no such method")),
    );
    peer.expect_refused(&[reason::BAD_AUTHENTICATION_METHOD, reason::NOT_AUTHORIZED]);
}
