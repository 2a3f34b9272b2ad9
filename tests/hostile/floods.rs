//! Clients that send as fast as they can and read nothing.
//!
//! The broker answers into a buffer of bounded size and then stops reading them, so that they
//! wait for themselves. Nothing is lost by it: once they read, everything is answered.

use std::time::Instant;

use nexum_harness::{
    Connect, Frame, Packet, Property, Publish, Subscribe, Unsubscribe, Version, reason,
};

use crate::memory::{MIB, mebibytes};
use crate::raw::{FloodEnd, Raw};
use crate::scene::{DEBUG, PROMPTLY, Scene, many};

/// `limits.outbound_buffer_bytes` by default, a read that was under way when it was full, and the
/// same again for the growth of vectors.
const ANSWERS_BYTES: u64 = 2 * (MIB + MIB / 2);

/// No socket buffers take so much, so a broker that goes on reading is found out by its memory,
/// and one that stops is found out by the stall.
const MOST_BYTES: usize = 96 * 1024 * 1024;

/// `packet` 1,000 times in one write.
fn thousand(packet: &[u8]) -> Vec<u8> {
    packet.repeat(1000)
}

/// Floods without reading, sees the broker stop reading, then reads one answer for each packet.
///
/// It takes millions of packets to fill the socket buffers of both sides. The half million that
/// one read may bring keep a debug build busy for seconds, so there a flood is only answered.
#[track_caller]
fn flood_then_read(scene: &Scene, version: Version, packet: &[u8], answer: u8) {
    if DEBUG {
        return send_then_read(scene, version, packet, many(200_000), answer);
    }
    let mut raw = Raw::client(&scene.broker, version, "flood");
    let chunk = thousand(packet);
    let (taken, end) = raw.flood(&chunk, MOST_BYTES / chunk.len());
    println!(
        "{version:?}, {:#04x}: {} taken, {end:?}; the broker has grown by {}",
        packet[0],
        mebibytes(taken),
        mebibytes(scene.growth_bytes())
    );
    assert_eq!(end, FloodEnd::Stalled, "it must wait for itself");
    for _ in 0..taken / packet.len() as u64 {
        let frame = raw.next_frame().expect("it stays open");
        assert_eq!(frame[0], answer, "{frame:02x?}");
    }
}

#[test]
fn ping_flood_waits_for_itself() {
    let scene = Scene::start();
    for version in Version::ALL {
        flood_then_read(&scene, version, &[0xC0, 0], 0xD0);
    }
    scene.finish(ANSWERS_BYTES);
}

#[test]
fn qos_1_flood_waits_for_its_acknowledgements() {
    let scene = Scene::start();
    for version in Version::ALL {
        let publish = Packet::from(Publish::new("flood", "").qos1(1)).bytes(version);
        flood_then_read(&scene, version, &publish, 0x40);
    }
    scene.finish(ANSWERS_BYTES);
}

/// Sends `count` packets ahead of the answers, then reads one for each.
#[track_caller]
fn send_then_read(scene: &Scene, version: Version, packet: &[u8], count: usize, answer: u8) {
    let mut raw = Raw::client(&scene.broker, version, "flood");
    let begun = Instant::now();
    raw.send(&packet.repeat(count));
    for _ in 0..count {
        assert_eq!(raw.next_frame().expect("it stays open")[0], answer);
    }
    println!(
        "{version:?}, {:#04x}: {count} in {:?}",
        packet[0],
        begun.elapsed()
    );
}

/// Each waits for the other shard, so what follows waits in the socket.
#[test]
fn subscribe_flood_is_answered() {
    let scene = Scene::start();
    for version in Version::ALL {
        let subscribe = Packet::from(Subscribe::new(1).filter("f", 1)).bytes(version);
        send_then_read(&scene, version, &subscribe, many(50_000), 0x90);
    }
    scene.finish(ANSWERS_BYTES);
}

#[test]
fn unsubscribe_flood_is_answered() {
    let scene = Scene::start();
    for version in Version::ALL {
        let unsubscribe = Packet::from(Unsubscribe::new(1, "f")).bytes(version);
        send_then_read(&scene, version, &unsubscribe, many(200_000), 0xB0);
    }
    scene.finish(ANSWERS_BYTES);
}

/// Nobody subscribes, nobody waits, nothing is kept.
#[test]
fn qos_0_flood_is_taken() {
    let scene = Scene::start();
    for version in Version::ALL {
        let publish = Publish::new("flood/nobody", "").payload(&[b'x'; 200]);
        let chunk = thousand(&Packet::from(publish).bytes(version));
        let mut raw = Raw::client(&scene.broker, version, "flood");
        let begun = Instant::now();
        let (taken, end) = raw.flood(&chunk, 40 * 1024 * 1024 / chunk.len());
        println!("{version:?}: {} in {:?}", mebibytes(taken), begun.elapsed());
        assert_eq!(end, FloodEnd::Taken);
        raw.send(&[0xC0, 0]);
        assert_eq!(raw.next_frame().expect("it stays open"), [0xD0, 0]);
    }
    scene.finish(0);
}

/// [MQTT-3.3.4-9]: as many QoS 2 messages without PUBREL as the Receive Maximum says, and one.
#[test]
fn qos_2_beyond_the_receive_maximum_ends_the_connection_in_5() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "attacker");
    let maximum = peer
        .connack()
        .properties
        .receive_maximum()
        .unwrap_or(u16::MAX);
    for identifier in 1..=maximum {
        peer.send(Publish::new("t", "x").qos2(identifier));
        peer.expect_pubrec(identifier);
    }
    peer.expect_ping();
    peer.send(Publish::new("t", "x").qos2(maximum + 1));
    peer.expect_disconnected(&[reason::RECEIVE_MAXIMUM_EXCEEDED]);
    // All at once, without a look at the answers.
    let mut raw = Raw::client(&scene.broker, Version::V5, "attacker");
    let flood: Vec<u8> = (1..=10_000)
        .flat_map(|identifier| {
            Packet::from(Publish::new("t", "x").qos2(identifier)).bytes(Version::V5)
        })
        .collect();
    raw.send(&flood);
    let mut pubrecs = 0;
    let last = loop {
        match raw
            .next_packet(Version::V5)
            .expect("DISCONNECT comes before the end")
        {
            Packet::Pubrec(_) => pubrecs += 1,
            other => break other,
        }
    };
    println!("Receive Maximum {maximum}: {pubrecs} PUBREC, then {last:?}");
    assert_eq!(pubrecs, u32::from(maximum));
    assert!(
        matches!(&last, Packet::Disconnect(d) if d.reason == reason::RECEIVE_MAXIMUM_EXCEEDED),
        "{last:?}"
    );
    scene.finish(0);
}

/// In 3.1.1 the 65,535 identifiers are the bound. Each is kept once, whatever is repeated, and a
/// PUBREL later sets it free.
#[test]
fn qos_2_without_pubrel_is_bounded_in_3_1_1() {
    let scene = Scene::start();
    let version = Version::V311;
    let connect = Connect::new(version, "attacker").persistent();
    let mut raw = Raw::log_in(&scene.broker, connect);
    let all: Vec<u8> = (1..=u16::MAX)
        .flat_map(|identifier| Packet::from(Publish::new("t", "x").qos2(identifier)).bytes(version))
        .collect();
    for _ in 0..3 {
        raw.send(&all);
        for identifier in 1..=u16::MAX {
            let expected = Frame::new(0x50).u16(identifier).bytes();
            assert_eq!(raw.next_frame().expect("it stays open"), expected);
        }
    }
    let release: Vec<u8> = (1..=u16::MAX)
        .flat_map(|identifier| Frame::new(0x62).u16(identifier).bytes())
        .collect();
    raw.send(&release);
    for identifier in 1..=u16::MAX {
        let expected = Frame::new(0x70).u16(identifier).bytes();
        assert_eq!(raw.next_frame().expect("it stays open"), expected);
    }
    drop(raw);
    // The session is kept. 64 bytes for an identifier of its are generous.
    scene.finish(ANSWERS_BYTES + 65_535 * 64);
}

/// QoS 2 without reading: 3.1.1 waits for itself, 5 exceeds the Receive Maximum.
#[test]
fn qos_2_flood_waits_or_ends() {
    let scene = Scene::start();
    let publish = Packet::from(Publish::new("flood", "").qos2(1)).bytes(Version::V311);
    flood_then_read(&scene, Version::V311, &publish, 0x50);
    let different: Vec<u8> = (1..=u16::MAX)
        .flat_map(|identifier| {
            Packet::from(Publish::new("flood", "").qos2(identifier)).bytes(Version::V5)
        })
        .collect();
    let mut raw = Raw::client(&scene.broker, Version::V5, "flood");
    let (_, end) = raw.flood(&different, 40);
    println!("MQTT 5: {end:?}");
    raw.finish();
    raw.read_until_closed(PROMPTLY);
    scene.finish(ANSWERS_BYTES);
}

/// The longest topics as aliases: as many as the broker allows, replaced again and again.
#[test]
fn topic_aliases_are_bounded() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "attacker");
    let maximum = peer
        .connack()
        .properties
        .topic_alias_maximum()
        .expect("aliases are allowed");
    for round in 0..10 {
        for alias in 1..=maximum {
            let topic = format!("{round}/{alias}/{}", "x".repeat(65_000));
            peer.send(Publish::new(&topic, "").property(Property::topic_alias(alias)));
        }
    }
    for alias in 1..=maximum {
        peer.publish(
            Publish::new("", "")
                .qos1(1)
                .property(Property::topic_alias(alias)),
        );
    }
    println!(
        "{maximum} aliases of 65,000 bytes: {} more",
        mebibytes(scene.growth_bytes())
    );
    drop(peer);
    scene.finish(2 * u64::from(maximum) * 65_536);
}
