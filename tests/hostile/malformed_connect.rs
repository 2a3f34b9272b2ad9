//! CONNECT packets that break the rules, and first packets that are none.
//!
//! MQTT 5 lets a server send CONNACK with a Reason Code of 0x80 and more before it closes, or just
//! close (section 4.13, [MQTT-3.1.4-1]). 3.1.1 has a return code for the protocol level and the
//! identifier alone.

use nexum_harness::{Broker, Connect, Frame, Packet, Received, Version, Will, reason};

use crate::malformed::BAD_TEXT;
use crate::properties::{self, CONNECT, USER_PROPERTY, WILL};
use crate::raw::Raw;
use crate::scene::{PROMPTLY, Scene};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET];
const PROTOCOL: &[u8] = &[reason::PROTOCOL_ERROR];
const EITHER: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];
const TOPIC: &[u8] = &[
    reason::MALFORMED_PACKET,
    reason::PROTOCOL_ERROR,
    reason::TOPIC_NAME_INVALID,
];

/// What CONNACK may say in MQTT 5.
type Case = (String, Vec<u8>, &'static [u8]);

/// Protocol name to Keep Alive.
fn head(version: Version, flags: u8) -> Frame {
    Frame::new(CONNECT)
        .string("MQTT")
        .u8(version.level())
        .u8(flags)
        .u16(60)
}

fn with(version: Version, frame: Frame) -> Frame {
    match version {
        Version::V311 => frame,
        Version::V5 => frame.properties(&[]),
    }
}

const CLEAN: u8 = 0x02;
const WILL_FLAG: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

fn cases(version: Version) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add =
        |what: &str, bytes: Vec<u8>, reasons| cases.push((what.to_owned(), bytes, reasons));
    let full = Connect::new(version, "attacker")
        .will(Will::new("w", "x"))
        .user_name("u")
        .password(b"p");
    let full = Packet::from(full).bytes(version);
    for cut in 0..full.len() - 2 {
        add(
            &format!("cut after {cut}"),
            Frame::new(CONNECT).raw(&full[2..2 + cut]).bytes(),
            EITHER,
        );
    }
    add(
        "a byte to spare",
        Frame::new(CONNECT).raw(&full[2..]).u8(0).bytes(),
        EITHER,
    );
    for flags in 1..16_u8 {
        add(
            "fixed header flags",
            Frame::new(CONNECT | flags).raw(&full[2..]).bytes(),
            MALFORMED,
        );
    }
    // [MQTT-3.1.2-3] [MQTT3-3.1.2-3]
    add(
        "reserved flag",
        with(version, head(version, CLEAN | 1)).string("a").bytes(),
        MALFORMED,
    );
    for flags in [0x08, 0x10, 0x18, 0x20, 0x38] {
        // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
        let frame = with(version, head(version, CLEAN | flags)).string("a");
        add("flags of a will without one", frame.bytes(), EITHER);
    }
    // [MQTT-3.1.2-12]
    let frame = with(version, head(version, CLEAN | WILL_FLAG | 0x18)).string("a");
    let frame = with(version, frame).string("w").binary(b"x");
    add("Will QoS 3", frame.bytes(), MALFORMED);
    for topic in ["#", "+", "a/+/b", ""] {
        let frame = with(version, head(version, CLEAN | WILL_FLAG)).string("a");
        let frame = with(version, frame).string(topic).binary(b"x");
        add(&format!("a will to {topic:?}"), frame.bytes(), TOPIC);
    }
    for (what, text) in BAD_TEXT {
        let frame = with(version, head(version, CLEAN)).binary(text);
        add(
            &format!("{what} in the Client Identifier"),
            frame.bytes(),
            MALFORMED,
        );
        let frame = with(version, head(version, CLEAN | USER_NAME))
            .string("a")
            .binary(text);
        add(
            &format!("{what} in the User Name"),
            frame.bytes(),
            MALFORMED,
        );
        let frame = with(version, head(version, CLEAN | WILL_FLAG)).string("a");
        let frame = with(version, frame).binary(text).binary(b"x");
        add(
            &format!("{what} in the Will Topic"),
            frame.bytes(),
            MALFORMED,
        );
    }
    for name in ["", "M", "MQTTX", "mqtt", "MQIsdq", "HTTP"] {
        // [MQTT-3.1.2-1]: it may answer 0x84, or close.
        let frame = Frame::new(CONNECT)
            .string(name)
            .u8(version.level())
            .u8(CLEAN)
            .u16(0);
        let frame = with(version, frame).string("a");
        add(&format!("the protocol {name:?}"), frame.bytes(), &[]);
    }
    match version {
        // [MQTT3-3.1.2-22]
        Version::V311 => {
            add(
                "a Password alone",
                head(version, CLEAN | PASSWORD)
                    .string("a")
                    .binary(b"p")
                    .bytes(),
                &[],
            );
        }
        Version::V5 => v5_properties(&mut add),
    }
    cases
}

fn v5_properties(add: &mut impl FnMut(&str, Vec<u8>, &'static [u8])) {
    let version = Version::V5;
    let connect = |bytes: &[u8]| {
        head(version, CLEAN)
            .raw_properties(bytes)
            .string("a")
            .bytes()
    };
    let will = |bytes: &[u8]| {
        let frame = head(version, CLEAN | WILL_FLAG).properties(&[]).string("a");
        frame.raw_properties(bytes).string("w").binary(b"x").bytes()
    };
    for sample in properties::all() {
        for (place, packet) in [
            (CONNECT, connect(&sample.bytes)),
            (WILL, will(&sample.bytes)),
        ] {
            if !sample.allowed.contains(&place) {
                add(
                    &format!("the property {:#04x}", sample.identifier),
                    packet,
                    MALFORMED,
                );
            }
        }
        let twice = sample.bytes.repeat(2);
        for (place, packet) in [(CONNECT, connect(&twice)), (WILL, will(&twice))] {
            if sample.allowed.contains(&place) && sample.identifier != USER_PROPERTY {
                add(
                    &format!("the property {:#04x} twice", sample.identifier),
                    packet,
                    PROTOCOL,
                );
            }
        }
        for cut in 1..sample.bytes.len() {
            for (place, packet) in [
                (CONNECT, connect(&sample.bytes[..cut])),
                (WILL, will(&sample.bytes[..cut])),
            ] {
                if sample.allowed.contains(&place) {
                    add(
                        &format!("the property {:#04x} cut", sample.identifier),
                        packet,
                        MALFORMED,
                    );
                }
            }
        }
    }
    for unknown in properties::UNKNOWN {
        add(
            &format!("the property {unknown:02x?}"),
            connect(unknown),
            MALFORMED,
        );
        add(
            &format!("the will's property {unknown:02x?}"),
            will(unknown),
            MALFORMED,
        );
    }
    for (what, bytes) in [
        ("Receive Maximum 0", &[0x21, 0, 0][..]),
        ("Maximum Packet Size 0", &[0x27, 0, 0, 0, 0]),
        ("Request Problem Information 2", &[0x17, 2]),
        ("Request Response Information 2", &[0x19, 2]),
        ("Authentication Data without a method", &[0x16, 0, 1, b'x']),
    ] {
        add(what, connect(bytes), PROTOCOL);
    }
    add("Payload Format Indicator 2", will(&[0x01, 2]), EITHER);
    add(
        "a Response Topic with a wildcard",
        will(&[0x08, 0, 1, b'#']),
        TOPIC,
    );
}

fn run(broker: &Broker, version: Version, bytes: &[u8], reasons: &[u8]) -> Result<(), String> {
    let mut peer = broker.dial(version);
    peer.send_bytes(bytes);
    match peer.recv_within(PROMPTLY) {
        Received::Closed => Ok(()),
        Received::Packet(Packet::Connack(connack))
            if version == Version::V5 && reasons.contains(&connack.reason) =>
        {
            match peer.recv_within(PROMPTLY) {
                Received::Closed => Ok(()),
                other => Err(format!("{other:?} instead of the end")),
            }
        }
        other => Err(format!(
            "{other:?} instead of CONNACK {reasons:02x?} and the end"
        )),
    }
}

#[test]
fn every_malformed_connect_is_refused() {
    let scene = Scene::start();
    for version in Version::ALL {
        let cases = cases(version);
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|(what, bytes, reasons)| {
                let why = run(&scene.broker, version, bytes, reasons).err()?;
                Some(format!("{what}: {bytes:02x?}: {why}"))
            })
            .collect();
        println!("{} malformed CONNECT packets in {version:?}", cases.len());
        assert!(
            wrong.is_empty(),
            "{version:?}, {}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    scene.finish(0);
}

/// [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
#[test]
fn every_other_protocol_level_is_refused_by_its_code() {
    let scene = Scene::start();
    for level in (0..=0xFF_u8).filter(|level| !matches!(level, 4 | 5)) {
        let mut raw = Raw::dial(&scene.broker);
        raw.send(
            &Frame::new(CONNECT)
                .string("MQTT")
                .u8(level)
                .u8(CLEAN)
                .u16(0)
                .u8(0)
                .string("a")
                .bytes(),
        );
        let answer = raw.read_until_closed(PROMPTLY);
        // A CONNACK of 3.1.1 with 0x01 or of MQTT 5 with 0x84.
        let v311 = [0x20, 2, 0, reason::V311_UNACCEPTABLE_PROTOCOL_LEVEL];
        let v5 = [0x20, 3, 0, reason::UNSUPPORTED_PROTOCOL_VERSION, 0];
        assert!(
            answer == v311 || answer == v5,
            "level {level}: {answer:02x?}"
        );
    }
    scene.finish(0);
}

/// [MQTT-3.1.0-1] [MQTT3-3.1.0-1]
#[test]
fn first_packet_that_is_no_connect_ends_the_connection() {
    let scene = Scene::start();
    let mut firsts: Vec<Vec<u8>> = (0..=0xFF_u8)
        .filter(|first_byte| first_byte >> 4 != 1)
        .flat_map(|first_byte| {
            [
                vec![first_byte, 0],
                vec![first_byte, 4, 0, 1, b't', 0],
                vec![first_byte, 2, 0, 1],
            ]
        })
        .collect();
    firsts.extend(
        [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"EHLO localhost\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            &[0xFF; 4096],
            &[0x00; 4096],
        ]
        .map(<[u8]>::to_vec),
    );
    for bytes in &firsts {
        let mut raw = Raw::dial(&scene.broker);
        raw.send(bytes);
        // A byte may be the beginning of a long packet; then the end of the stream ends it.
        raw.finish();
        let answer = raw.read_until_closed(PROMPTLY);
        assert!(
            answer.is_empty(),
            "{bytes:02x?} was answered by {answer:02x?}"
        );
    }
    println!("{} first packets", firsts.len());
    scene.finish(0);
}
