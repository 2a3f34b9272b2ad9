//! Packets that break the rules of form, sent by a client that is connected.
//!
//! MQTT 5 names the Reason Code: 0x81 for what cannot be parsed, 0x82 for what parses and is not
//! allowed (section 4.13); where it leaves the choice, a case takes both. 3.1.1 only closes
//! ([MQTT3-4.8.0-1]).

use std::time::Instant;

use nexum_harness::{
    Broker, Frame, Packet, Property, Publish, Received, Subscribe, Version, reason,
};

use crate::properties::{
    self, AUTH, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE,
    SUBSCRIPTION_IDENTIFIER, UNSUBSCRIBE, USER_PROPERTY,
};
use crate::scene::{PROMPTLY, Scene};

const MALFORMED: &[u8] = &[reason::MALFORMED_PACKET];
const PROTOCOL: &[u8] = &[reason::PROTOCOL_ERROR];
const EITHER: &[u8] = &[reason::MALFORMED_PACKET, reason::PROTOCOL_ERROR];
const ALIAS: &[u8] = &[
    reason::TOPIC_ALIAS_INVALID,
    reason::PROTOCOL_ERROR,
    reason::MALFORMED_PACKET,
];
const TOPIC: &[u8] = &[
    reason::MALFORMED_PACKET,
    reason::PROTOCOL_ERROR,
    reason::TOPIC_NAME_INVALID,
];

/// Text that is no UTF-8 Encoded String (section 1.5.4).
pub(crate) const BAD_TEXT: [(&str, &[u8]); 10] = [
    ("a null character", b"a\0b"),
    ("an overlong null", &[0xC0, 0x80]),
    ("an overlong slash", &[0xE0, 0x80, 0xAF]),
    ("a high surrogate", &[0xED, 0xA0, 0x80]),
    (
        "a pair of surrogates",
        &[0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80],
    ),
    ("beyond U+10FFFF", &[0xF4, 0x90, 0x80, 0x80]),
    ("five bytes", &[0xF8, 0x88, 0x80, 0x80, 0x80]),
    ("a lone continuation", &[b'a', 0x80, b'b']),
    ("a character cut short", &[b'a', 0xE2, 0x82]),
    ("0xFF", &[0xFF]),
];

struct Case {
    what: String,
    bytes: Vec<u8>,
    /// What DISCONNECT may say in MQTT 5.
    reasons: &'static [u8],
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>, reasons: &'static [u8]) {
        self.0.push(Case {
            what: what.into(),
            bytes: bytes.into(),
            reasons,
        });
    }
}

/// A valid packet of each type that a client sends, with a body as full as it gets; how long a
/// shorter body may be and still be valid; and whether it says something the broker expects.
fn valid(version: Version) -> Vec<(&'static str, u8, Vec<u8>, &'static [usize])> {
    let v5 = version == Version::V5;
    let properties =
        |frame: Frame, list: &[Property]| if v5 { frame.properties(list) } else { frame };
    let user = [Property::user("k", "v")];
    let body = |frame: Frame| {
        let bytes = frame.bytes();
        bytes[2..].to_vec()
    };
    let ack = |first_byte| {
        let frame = Frame::new(first_byte).u16(1);
        body(if v5 {
            frame.u8(0).properties(&user)
        } else {
            frame
        })
    };
    let short_ack: &[usize] = if v5 { &[2, 3] } else { &[] };
    let disconnect = Frame::new(DISCONNECT);
    let mut packets = vec![
        (
            "PUBLISH 0",
            PUBLISH,
            body(properties(Frame::new(PUBLISH).string("t"), &user)),
            &[][..],
        ),
        (
            "PUBLISH 1",
            0x32,
            body(properties(Frame::new(0x32).string("t").u16(1), &user)),
            &[],
        ),
        (
            "PUBLISH 2",
            0x34,
            body(properties(Frame::new(0x34).string("t").u16(1), &user)),
            &[],
        ),
        ("PUBACK", PUBACK, ack(PUBACK), short_ack),
        ("PUBREC", PUBREC, ack(PUBREC), short_ack),
        ("PUBREL", PUBREL, ack(PUBREL), short_ack),
        ("PUBCOMP", PUBCOMP, ack(PUBCOMP), short_ack),
        (
            "SUBSCRIBE",
            SUBSCRIBE,
            body(
                properties(Frame::new(SUBSCRIBE).u16(1), &user)
                    .string("a/+/b")
                    .u8(1),
            ),
            &[],
        ),
        (
            "UNSUBSCRIBE",
            UNSUBSCRIBE,
            body(properties(Frame::new(UNSUBSCRIBE).u16(1), &user).string("a/+/b")),
            &[],
        ),
        ("PINGREQ", 0xC0, Vec::new(), &[]),
    ];
    packets.push(if v5 {
        (
            "DISCONNECT",
            DISCONNECT,
            body(disconnect.u8(0).properties(&user)),
            &[0, 1],
        )
    } else {
        ("DISCONNECT", DISCONNECT, Vec::new(), &[])
    });
    packets
}

fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    Frame::new(first_byte).raw(body).bytes()
}

/// Every value of the flags but the right one ([MQTT-2.1.3-1], [MQTT3-2.2.2-2]).
fn flags(version: Version, cases: &mut Cases) {
    for (what, first_byte, body, _) in valid(version) {
        if what.starts_with("PUBLISH") {
            continue;
        }
        for flags in (0..16).filter(|flags| *flags != first_byte & 0x0F) {
            let what = format!("{what} with the flags {flags:#x}");
            cases.add(what, packet((first_byte & 0xF0) | flags, &body), MALFORMED);
        }
    }
    for (_, first_byte, body, _) in valid(version).into_iter().take(3) {
        for flags in [0b0110, 0b0111, 0b1110, 0b1111] {
            // [MQTT-3.3.1-4]
            let what = format!("PUBLISH with the flags {flags:#x}");
            cases.add(what, packet((first_byte & 0xF0) | flags, &body), MALFORMED);
        }
    }
    for flags in [0b1000, 0b1001] {
        // [MQTT-3.3.1-2]
        let body = &valid(version)[0].2;
        cases.add("DUP at QoS 0", packet(0x30 | flags, body), EITHER);
    }
}

/// Each packet cut after each byte, with a Remaining Length to match, and each with bytes to spare.
fn lengths(version: Version, cases: &mut Cases) {
    for (what, first_byte, body, shorter) in valid(version) {
        for cut in (0..body.len()).filter(|cut| !shorter.contains(cut)) {
            let what = format!("{what} cut after {cut} bytes");
            cases.add(what, packet(first_byte, &body[..cut]), EITHER);
        }
        // The payload of PUBLISH takes whatever follows.
        if !what.starts_with("PUBLISH") {
            for spare in [&[0][..], &[0, 1], &[0xFF; 100]] {
                let what = format!("{what} with {} bytes to spare", spare.len());
                cases.add(what, packet(first_byte, &[&body, spare].concat()), EITHER);
            }
        }
    }
    for first_byte in [0x30, 0x82, 0xC0] {
        for length in [
            &[0x80, 0x80, 0x80, 0x80][..],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        ] {
            let frame = Frame::new(first_byte).remaining_length(length);
            cases.add("a Remaining Length of five bytes", frame.bytes(), MALFORMED);
        }
    }
    if version == Version::V5 {
        // [MQTT-1.5.5-1]
        let frame = Frame::new(0xC0).remaining_length(&[0x80, 0x00]);
        cases.add(
            "a Remaining Length longer than it needs to be",
            frame.bytes(),
            MALFORMED,
        );
        for (what, bytes) in [
            (
                "a Property Length of five bytes",
                &[0x80, 0x80, 0x80, 0x80, 0][..],
            ),
            (
                "a Property Length longer than it needs to be",
                &[0x80, 0x00],
            ),
            ("a Property Length beyond the packet", &[0x7F]),
            ("a Property Length of 256 MiB", &[0xFF, 0xFF, 0xFF, 0x7F]),
            ("half a Property Length", &[0x80]),
        ] {
            cases.add(
                what,
                Frame::new(PUBLISH).string("t").raw(bytes).bytes(),
                MALFORMED,
            );
            cases.add(
                what,
                Frame::new(PUBACK).u16(1).u8(0).raw(bytes).bytes(),
                MALFORMED,
            );
            cases.add(
                what,
                Frame::new(SUBSCRIBE).u16(1).raw(bytes).bytes(),
                MALFORMED,
            );
            cases.add(
                what,
                Frame::new(UNSUBSCRIBE).u16(1).raw(bytes).bytes(),
                MALFORMED,
            );
            cases.add(
                what,
                Frame::new(DISCONNECT).u8(0).raw(bytes).bytes(),
                MALFORMED,
            );
        }
    }
}

/// Packets that no client sends, or not then.
fn directions(version: Version, cases: &mut Cases) {
    let v5 = version == Version::V5;
    for body in [&[][..], &[0], &[0, 0], &[0, 1], &[0, 1, 0], &[0xFF; 20]] {
        cases.add("the reserved packet type 0", packet(0x00, body), EITHER);
        for first_byte in [0x20, 0x90, 0xB0, 0xD0, 0xF0] {
            let what = format!("{first_byte:#x}, which only servers send");
            cases.add(what, packet(first_byte, body), EITHER);
        }
    }
    // Well-formed, so it is the direction alone that is wrong.
    let acks: [(u8, &[u8]); 4] = if v5 {
        [
            (0x20, &[0, 0, 0]),
            (0x90, &[0, 1, 0, 0]),
            (0xB0, &[0, 1, 0, 0]),
            (0xD0, &[]),
        ]
    } else {
        [
            (0x20, &[0, 0]),
            (0x90, &[0, 1, 0]),
            (0xB0, &[0, 1]),
            (0xD0, &[]),
        ]
    };
    for (first_byte, body) in acks {
        cases.add(
            format!("a whole {first_byte:#x}"),
            packet(first_byte, body),
            PROTOCOL,
        );
    }
    for other in Version::ALL {
        // [MQTT-3.1.0-2] [MQTT3-3.1.0-2]
        let connect = Packet::from(nexum_harness::Connect::new(other, "again")).bytes(other);
        cases.add("a second CONNECT", connect, PROTOCOL);
    }
}

fn strings(version: Version, cases: &mut Cases) {
    let v5 = version == Version::V5;
    let head = |first_byte: u8, identifier: bool| {
        let frame = Frame::new(first_byte);
        let frame = if identifier { frame.u16(1) } else { frame };
        if v5 && identifier {
            frame.properties(&[])
        } else {
            frame
        }
    };
    for (what, text) in BAD_TEXT {
        let add = |cases: &mut Cases, field: &str, frame: Frame| {
            cases.add(format!("{what} in {field}"), frame.bytes(), MALFORMED);
        };
        let publish = Frame::new(PUBLISH).binary(text);
        add(
            cases,
            "a Topic Name",
            if v5 { publish.properties(&[]) } else { publish },
        );
        add(
            cases,
            "a Topic Filter",
            head(SUBSCRIBE, true).binary(text).u8(0),
        );
        let second = head(SUBSCRIBE, true).string("fine").u8(0);
        add(cases, "the second Topic Filter", second.binary(text).u8(0));
        add(cases, "UNSUBSCRIBE", head(UNSUBSCRIBE, true).binary(text));
        if !v5 {
            continue;
        }
        let length = (text.len() as u16).to_be_bytes();
        let value = [&length[..], text].concat();
        for (field, identifier) in [("a Content Type", 0x03), ("a Response Topic", 0x08)] {
            let bytes = [&[identifier][..], &value].concat();
            add(
                cases,
                field,
                Frame::new(PUBLISH).string("t").raw_properties(&bytes),
            );
        }
        let key = [&[USER_PROPERTY][..], &value, &[0, 1, b'v']].concat();
        add(
            cases,
            "the name of a User Property",
            Frame::new(PUBLISH).string("t").raw_properties(&key),
        );
        let value_of = [&[USER_PROPERTY][..], &[0, 1, b'k'], &value].concat();
        let frame = Frame::new(PUBLISH).string("t").raw_properties(&value_of);
        add(cases, "the value of a User Property", frame);
        let reason = [&[0x1F][..], &value].concat();
        add(
            cases,
            "a Reason String",
            Frame::new(PUBACK).u16(1).u8(0).raw_properties(&reason),
        );
        let frame = Frame::new(DISCONNECT).u8(0).raw_properties(&reason);
        add(cases, "the Reason String of DISCONNECT", frame);
    }
}

/// What is wrong with the contents of one packet and fits nowhere above.
fn contents(version: Version, cases: &mut Cases) {
    let v5 = version == Version::V5;
    let with = |frame: Frame| if v5 { frame.properties(&[]) } else { frame };
    // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
    for first_byte in [0x32, 0x34] {
        let frame = with(Frame::new(first_byte).string("t").u16(0));
        cases.add(
            "PUBLISH with the Packet Identifier 0",
            frame.bytes(),
            EITHER,
        );
    }
    for first_byte in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        cases.add("Packet Identifier 0", packet(first_byte, &[0, 0]), EITHER);
    }
    let frame = with(Frame::new(SUBSCRIBE).u16(0)).string("t").u8(0);
    cases.add(
        "SUBSCRIBE with the Packet Identifier 0",
        frame.bytes(),
        EITHER,
    );
    let frame = with(Frame::new(UNSUBSCRIBE).u16(0)).string("t");
    cases.add(
        "UNSUBSCRIBE with the Packet Identifier 0",
        frame.bytes(),
        EITHER,
    );
    for topic in ["#", "+", "a/+/b", "a/#", "a+", "a#b"] {
        // [MQTT-3.3.2-2] [MQTT3-3.3.2-2]
        let frame = with(Frame::new(PUBLISH).string(topic));
        cases.add(format!("PUBLISH to {topic}"), frame.bytes(), TOPIC);
    }
    cases.add(
        "PUBLISH to nothing",
        with(Frame::new(PUBLISH).string("")).bytes(),
        TOPIC,
    );
    // [MQTT-3.8.3-2] [MQTT-3.10.3-2]
    cases.add(
        "SUBSCRIBE to nothing",
        with(Frame::new(SUBSCRIBE).u16(1)).bytes(),
        PROTOCOL,
    );
    cases.add(
        "UNSUBSCRIBE from nothing",
        with(Frame::new(UNSUBSCRIBE).u16(1)).bytes(),
        PROTOCOL,
    );
    for options in 0..=0xFF_u8 {
        // [MQTT-3.8.3-5] [MQTT3-3.8.3-4], and section 3.8.3.1 of MQTT 5.
        let (reserved, qos3, handling3) = (
            options & 0xC0 != 0,
            options & 0x03 == 3,
            options & 0x30 == 0x30,
        );
        let reasons = match (reserved, qos3 || handling3) {
            (false, false) if v5 => continue,
            (false, false) if options <= 2 => continue,
            (true, false) => MALFORMED,
            (true, true) | (false, false) => EITHER,
            (false, true) => PROTOCOL,
        };
        let frame = with(Frame::new(SUBSCRIBE).u16(1)).string("t").u8(options);
        cases.add(
            format!("Subscription Options {options:#04x}"),
            frame.bytes(),
            reasons,
        );
    }
    if !v5 {
        return;
    }
    let shared = Subscribe::new(1).filter("$share/g/t", 1 | Subscribe::NO_LOCAL);
    // [MQTT-3.8.3-4]
    cases.add(
        "No Local on a shared subscription",
        Packet::from(shared).bytes(version),
        PROTOCOL,
    );
    for (what, property, reasons) in [
        ("Topic Alias 0", Property::topic_alias(0), ALIAS),
        ("Topic Alias 65", Property::topic_alias(65), ALIAS),
        ("Topic Alias 65,535", Property::topic_alias(65_535), ALIAS),
        (
            "Payload Format Indicator 2",
            Property::payload_format_indicator(2),
            EITHER,
        ),
        (
            "a Response Topic with a wildcard",
            Property::response_topic("a/#"),
            TOPIC,
        ),
        (
            "a Subscription Identifier",
            Property::subscription_identifier(1),
            EITHER,
        ),
    ] {
        let publish = Publish::new("t", "x").property(property);
        cases.add(
            format!("PUBLISH with {what}"),
            Packet::from(publish).bytes(version),
            reasons,
        );
    }
    let publish = Publish::new("", "x").property(Property::topic_alias(7));
    cases.add(
        "a Topic Alias that was not set",
        Packet::from(publish).bytes(version),
        ALIAS,
    );
    let subscribe = Subscribe::new(1)
        .filter("t", 0)
        .property(Property::subscription_identifier(0));
    cases.add(
        "Subscription Identifier 0",
        Packet::from(subscribe).bytes(version),
        EITHER,
    );
    for code in (0x01..=0xFF_u8).step_by(7) {
        // Tables 3-4 to 3-7: none of these has such a code.
        if !matches!(
            code,
            0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x92 | 0x97 | 0x99
        ) {
            for first_byte in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
                let what = format!("{first_byte:#x} with Reason Code {code:#04x}");
                cases.add(what, packet(first_byte, &[0, 1, code]), EITHER);
            }
        }
    }
    for code in [0x01, 0x02, 0x03, 0x10, 0x18, 0x7F, 0x84, 0x92, 0xFF] {
        cases.add(
            format!("DISCONNECT {code:#04x}"),
            packet(DISCONNECT, &[code]),
            EITHER,
        );
    }
    // [MQTT-3.14.2-2]
    let expiry = Frame::new(DISCONNECT)
        .u8(0)
        .properties(&[Property::session_expiry_interval(1)]);
    cases.add(
        "a Session Expiry Interval raised from 0",
        expiry.bytes(),
        PROTOCOL,
    );
    for code in [0x00, 0x18, 0x19, 0x01, 0x80] {
        // [MQTT-4.12.0-6] and section 4.12: this CONNECT named no method.
        cases.add(
            format!("AUTH {code:#04x}"),
            packet(AUTH, &[code, 0]),
            EITHER,
        );
        let frame = Frame::new(AUTH)
            .u8(code)
            .properties(&[Property::authentication_method("m")]);
        cases.add(
            format!("AUTH {code:#04x} with a method"),
            frame.bytes(),
            EITHER,
        );
    }
}

/// A packet of this type with these property bytes, otherwise right.
fn with_properties(first_byte: u8, bytes: &[u8]) -> Frame {
    let frame = Frame::new(first_byte);
    match first_byte {
        PUBLISH => frame.string("t").raw_properties(bytes),
        SUBSCRIBE => frame.u16(1).raw_properties(bytes).string("t").u8(0),
        UNSUBSCRIBE => frame.u16(1).raw_properties(bytes).string("t"),
        DISCONNECT => frame.u8(0).raw_properties(bytes),
        _ => frame.u16(1).u8(0).raw_properties(bytes),
    }
}

/// Every property in every packet it may not stand in, twice where it may stand once, and cut.
fn misplaced_properties(cases: &mut Cases) {
    for first_byte in [
        PUBLISH,
        PUBACK,
        PUBREC,
        PUBREL,
        PUBCOMP,
        SUBSCRIBE,
        UNSUBSCRIBE,
        DISCONNECT,
    ] {
        for sample in properties::all() {
            let (identifier, allowed) = (sample.identifier, sample.allowed.contains(&first_byte));
            if !allowed {
                // Section 2.2.2.2.
                let what = format!("{first_byte:#x} with the property {identifier:#04x}");
                cases.add(
                    what,
                    with_properties(first_byte, &sample.bytes).bytes(),
                    MALFORMED,
                );
            } else if identifier != USER_PROPERTY {
                let from_client = first_byte == PUBLISH && identifier == SUBSCRIPTION_IDENTIFIER;
                let reasons = if from_client { EITHER } else { PROTOCOL };
                let what = format!("{first_byte:#x} with the property {identifier:#04x} twice");
                let twice = sample.bytes.repeat(2);
                cases.add(what, with_properties(first_byte, &twice).bytes(), reasons);
            }
            if allowed {
                for cut in 1..sample.bytes.len() {
                    let what = format!(
                        "{first_byte:#x}, property {identifier:#04x} cut after {cut} bytes"
                    );
                    let bytes = with_properties(first_byte, &sample.bytes[..cut]).bytes();
                    cases.add(what, bytes, MALFORMED);
                }
            }
        }
        for unknown in properties::UNKNOWN {
            let what = format!("{first_byte:#x} with the property {unknown:02x?}");
            cases.add(
                what,
                with_properties(first_byte, unknown).bytes(),
                MALFORMED,
            );
        }
    }
}

/// Sends a case on a connection of its own; says what was wrong with the end.
fn run(broker: &Broker, version: Version, case: &Case) -> Result<(), String> {
    let mut peer = broker.client(version, "attacker");
    peer.send_bytes(&case.bytes);
    let mut end = peer.recv_within(PROMPTLY);
    if version == Version::V5 {
        match end {
            Received::Packet(Packet::Disconnect(disconnect))
                if case.reasons.contains(&disconnect.reason) => {}
            other => {
                return Err(format!(
                    "{other:?} instead of DISCONNECT {:02x?}",
                    case.reasons
                ));
            }
        }
        end = peer.recv_within(PROMPTLY);
    }
    match end {
        Received::Closed => Ok(()),
        other => Err(format!("{other:?} instead of the end")),
    }
}

/// All of it in one version.
fn attack(version: Version) {
    let scene = Scene::start();
    let mut cases = Cases::default();
    flags(version, &mut cases);
    lengths(version, &mut cases);
    directions(version, &mut cases);
    strings(version, &mut cases);
    contents(version, &mut cases);
    if version == Version::V5 {
        misplaced_properties(&mut cases);
    }
    let begun = Instant::now();
    let wrong: Vec<String> = cases
        .0
        .iter()
        .filter_map(|case| {
            let why = run(&scene.broker, version, case).err()?;
            Some(format!("{}: {:02x?}: {why}", case.what, case.bytes))
        })
        .collect();
    let count = cases.0.len();
    println!("{count} malformed packets in {:?}", begun.elapsed());
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // One packet at a time, each far below 1 KiB.
    scene.finish(0);
}

#[test]
fn every_malformed_packet_of_3_1_1_ends_its_connection() {
    attack(Version::V311);
}

#[test]
fn every_malformed_packet_of_5_ends_its_connection_with_its_reason() {
    attack(Version::V5);
}
