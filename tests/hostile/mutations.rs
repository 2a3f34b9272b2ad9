//! Valid conversations with bytes changed, by the thousand.
//!
//! What comes of one is open; that it ends, that the answers are well-formed, and that nothing
//! panics, is not. A seed names each conversation: a failure prints it.

use std::time::Instant;

use nexum_harness::{
    Auth, Connect, Disconnect, Packet, Property, Publish, Subscribe, Unsubscribe, Version, Will,
    puback, pubcomp, pubrec, pubrel,
};

use crate::raw::{Raw, packets};
use crate::scene::{PROMPTLY, Scene};

const CONVERSATIONS: u64 = 2_000;

/// SplitMix64: all a test needs, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// CONNECT, and everything a client may say after it.
fn conversation(version: Version, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let client_id = format!("mutant {}", seed % 7);
    let mut connect = Connect::new(version, &client_id).keep_alive(30);
    connect = connect.will(Will::new("mutants/will", "gone").qos(1).retain());
    let mut publish = Publish::new("mutants/a/b", "payload").qos1(1).retain();
    let mut subscribe = Subscribe::new(2)
        .filter("mutants/#", 2)
        .filter("$share/g/mutants/+/b", 1);
    if version == Version::V5 {
        connect = connect
            .property(Property::receive_maximum(20))
            .property(Property::topic_alias_maximum(5))
            .property(Property::maximum_packet_size(2000))
            .property(Property::user("a", "b"));
        publish = publish
            .property(Property::topic_alias(3))
            .property(Property::message_expiry_interval(3))
            .property(Property::response_topic("mutants/response"))
            .property(Property::correlation_data(b"1234"))
            .property(Property::user("key", "value"));
        subscribe = subscribe.property(Property::subscription_identifier(300));
    }
    let mut after: Vec<Packet> = vec![
        subscribe.into(),
        publish.into(),
        Publish::new("mutants/a/b", "payload").into(),
        Publish::new("mutants/c", "payload").qos2(3).into(),
        pubrel(3),
        puback(1),
        pubrec(2),
        pubcomp(2),
        Packet::Pingreq,
        Unsubscribe::new(4, "mutants/#")
            .filter("$share/g/mutants/+/b")
            .into(),
    ];
    if version == Version::V5 {
        after.push(
            Publish::new("", "by alias")
                .property(Property::topic_alias(3))
                .into(),
        );
        if seed.is_multiple_of(5) {
            after.push(
                Auth::new(0x19)
                    .property(Property::authentication_method("m"))
                    .into(),
            );
        }
    }
    if seed.is_multiple_of(3) {
        after.push(Disconnect::normal().into());
    }
    let after = after
        .iter()
        .flat_map(|packet| packet.bytes(version))
        .collect();
    (Packet::from(connect).bytes(version), after)
}

/// Changes some bytes from `from` on.
fn mutate(bytes: &mut Vec<u8>, from: usize, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.len() <= from {
            return;
        }
        let at = from + random.below(bytes.len() - from);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.insert(at, random.next() as u8),
            3 => {
                bytes.remove(at);
            }
            4 => bytes.truncate(at),
            5 => {
                let end = (at + 1 + random.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let length = 1 + random.below(30);
                let rubbish: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                bytes.splice(at..at, rubbish);
            }
        }
    }
}

#[test]
fn mutated_conversations_end_well() {
    let scene = Scene::start();
    let begun = Instant::now();
    let (mut accepted, mut answers) = (0, 0);
    for seed in 0..CONVERSATIONS {
        for version in Version::ALL {
            let mut random = Random(seed << 1 | u64::from(version == Version::V5));
            let (connect, after) = conversation(version, seed);
            // In half of them CONNECT stays as it is, so that the version of the answers is known.
            let spares_connect = seed % 2 == 0;
            let from = if spares_connect { connect.len() } else { 0 };
            let mut bytes = [connect, after].concat();
            mutate(&mut bytes, from, &mut random);
            let mut raw = Raw::dial(&scene.broker);
            // Reads may end anywhere.
            for chunk in bytes.chunks(1 + random.below(bytes.len().max(1))) {
                raw.send(chunk);
            }
            raw.finish();
            let answer = raw.read_until_closed(PROMPTLY);
            accepted += u32::from(answer.get(..2) == Some(&[0x20, 2]) || answer.len() > 10);
            if spares_connect {
                let packets = packets(version, &answer);
                assert!(
                    matches!(packets.first(), None | Some(Packet::Connack(_))),
                    "seed {seed} in {version:?}: {packets:?}"
                );
                answers += packets.len();
            }
        }
    }
    println!(
        "{} conversations in {:?}: {accepted} accepted, {answers} packets in answer",
        CONVERSATIONS * 2,
        begun.elapsed()
    );
    assert!(
        accepted > CONVERSATIONS as u32,
        "most of them reach a session"
    );
    // Mutants may keep sessions, queues and retained messages; all of them are of a few bytes:
    // 4 KiB for each conversation is more than ten times what it sends.
    scene.finish(CONVERSATIONS * 2 * 4096);
}
