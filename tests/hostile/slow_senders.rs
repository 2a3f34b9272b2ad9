//! Packets that do not come, or not in one piece.

use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{Connect, Frame, Packet, Publish, Subscribe, Version, reason};

use crate::raw::Raw;
use crate::scene::{CONNECTION_BYTES, PROMPTLY, Scene, builder};

/// The default of `limits.maximum_packet_size_bytes`.
const MAXIMUM_PACKET_SIZE_BYTES: u32 = 1024 * 1024;

/// A closing connection is given a second to take its last bytes; timers tick every 64 ms; the
/// machine is busy.
const CLOSED_AFTER_AT_MOST: Duration = Duration::from_secs(4);

fn remaining_length(value: u32) -> Vec<u8> {
    Frame::new(0).variable(value).bytes().split_off(2)
}

/// The time to authenticate begins with the connection, whatever came of CONNECT so far.
#[test]
fn connect_that_never_completes_is_closed_in_time() {
    let scene = Scene::start_with(builder().set("limits.authentication_timeout_seconds", 1));
    let connect = Packet::from(Connect::new(Version::V5, "slow")).bytes(Version::V5);
    let begun = Instant::now();
    let mut waiting: Vec<Raw> = (0..500)
        .map(|number| {
            let mut raw = Raw::dial(&scene.broker);
            raw.send(&connect[..number % connect.len()]);
            raw
        })
        .collect();
    for raw in &mut waiting {
        let answer = raw.read_until_closed(CLOSED_AFTER_AT_MOST);
        assert!(answer.is_empty(), "{answer:02x?}");
    }
    let took = begun.elapsed();
    println!("{} connections were closed after {took:?}", waiting.len());
    assert!(
        took >= Duration::from_millis(900),
        "one second was allowed, not {took:?}"
    );
    scene.finish(500 * CONNECTION_BYTES);
}

/// Progress is no excuse: a byte now and then does not prolong the time.
#[test]
fn connect_that_trickles_in_is_closed_in_time() {
    let scene = Scene::start_with(builder().set("limits.authentication_timeout_seconds", 1));
    let header = Frame::new(0x10)
        .remaining_length(&remaining_length(60_000))
        .bytes();
    let mut trickling: Vec<Raw> = (0..50).map(|_| Raw::dial(&scene.broker)).collect();
    for raw in &mut trickling {
        raw.send(&header);
    }
    let begun = Instant::now();
    while scene.metrics.value("nexum_connections") > 10.0 {
        assert!(
            begun.elapsed() < CLOSED_AFTER_AT_MOST,
            "still open after {:?}",
            begun.elapsed()
        );
        for raw in &mut trickling {
            raw.send(&[0]);
        }
        // The pace is the attack.
        thread::sleep(Duration::from_millis(50));
    }
    for raw in &mut trickling {
        assert!(raw.read_until_closed(PROMPTLY).is_empty());
    }
    scene.finish(50 * CONNECTION_BYTES);
}

/// What is announced before authentication is bounded more tightly, and nothing is said in a
/// version that is not known yet.
#[test]
fn connect_that_announces_too_much_is_closed_at_once() {
    let scene = Scene::start();
    for length in [70_000, MAXIMUM_PACKET_SIZE_BYTES, 268_435_455] {
        let mut raw = Raw::dial(&scene.broker);
        raw.send(
            &Frame::new(0x10)
                .remaining_length(&remaining_length(length))
                .bytes(),
        );
        let begun = Instant::now();
        let answer = raw.read_until_closed(PROMPTLY);
        assert!(answer.is_empty() || answer[0] == 0x20, "{answer:02x?}");
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "not only by its timeout"
        );
    }
    scene.finish(0);
}

/// [MQTT-3.2.2-15] and section 4.13: 0x95, from the header alone.
#[test]
fn packet_over_the_maximum_is_refused_from_its_header() {
    let scene = Scene::start();
    for version in Version::ALL {
        for first_byte in [0x30, 0x32, 0x34, 0x82, 0xA2, 0x40, 0xE0] {
            for length in [MAXIMUM_PACKET_SIZE_BYTES, 10_000_000, 268_435_455] {
                let mut peer = scene.broker.client(version, "attacker");
                let header = Frame::new(first_byte).remaining_length(&remaining_length(length));
                peer.send_frame(&header);
                // An acknowledgement of a megabyte is malformed as well, and so is a 3.1.1
                // DISCONNECT with a body.
                peer.expect_disconnected(&[reason::PACKET_TOO_LARGE, reason::MALFORMED_PACKET]);
            }
        }
    }
    let mut peer = scene.broker.client(Version::V5, "attacker");
    peer.send_frame(
        &Frame::new(0x30).remaining_length(&remaining_length(MAXIMUM_PACKET_SIZE_BYTES)),
    );
    peer.expect_disconnected(&[reason::PACKET_TOO_LARGE]);
    scene.finish(0);
}

/// A length costs nothing; what came of the packet does.
#[test]
fn announced_lengths_allocate_nothing() {
    const CLIENTS: u64 = 500;
    const SENT_BYTES: usize = 20;
    let scene = Scene::start();
    let mut waiting: Vec<Raw> = (0..CLIENTS)
        .map(|number| {
            let client_id = format!("attacker {number}");
            let mut raw = Raw::client(&scene.broker, Version::V311, &client_id);
            let length = remaining_length(MAXIMUM_PACKET_SIZE_BYTES - 100);
            raw.send(
                &Frame::new(0x30)
                    .remaining_length(&length)
                    .raw(&[0; SENT_BYTES])
                    .bytes(),
            );
            raw
        })
        .collect();
    // That the broker has seen the halves: a later packet of another client was answered, and
    // each of them can still go on.
    let whole = (MAXIMUM_PACKET_SIZE_BYTES - 100) as usize;
    for raw in waiting.iter_mut().take(3) {
        let topic = [&[0, 1, b't'][..], &vec![0; whole - 3]].concat();
        let _ = topic;
        raw.send(&vec![0; whole - SENT_BYTES]);
        // An empty Topic Name ends it, once the packet is complete and not before.
        assert!(raw.read_until_closed(PROMPTLY).is_empty());
    }
    drop(waiting);
    // The three that completed their packets may have had them in memory together.
    scene.finish(CLIENTS * CONNECTION_BYTES + 3 * u64::from(MAXIMUM_PACKET_SIZE_BYTES));
}

/// Byte by byte, and in two halves at each place: the same as in one piece.
#[test]
fn packets_byte_by_byte_are_packets() {
    let scene = Scene::start();
    for version in Version::ALL {
        let mut subscriber = scene.broker.client(version, "subscriber");
        subscriber.subscribe("bytes/#", 2);
        let packets: [Packet; 4] = [
            Subscribe::new(1).filter("other/+", 1).into(),
            Publish::new("bytes/zero", "payload").into(),
            Publish::new("bytes/one", "payload").qos1(2).into(),
            Packet::Pingreq,
        ];
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|packet| packet.bytes(version))
            .collect();
        let connect = Packet::from(Connect::new(version, "slow")).bytes(version);
        let whole = [connect, bytes].concat();
        let ways: Vec<Vec<&[u8]>> = std::iter::once(whole.chunks(1).collect())
            .chain((1..whole.len()).map(|at| {
                let (first, second) = whole.split_at(at);
                vec![first, second]
            }))
            .collect();
        for pieces in &ways {
            let mut raw = Raw::dial(&scene.broker);
            for piece in pieces {
                raw.send(piece);
            }
            let types: Vec<u8> = (0..4)
                .map(|_| raw.next_frame().expect("it stays open")[0])
                .collect();
            assert_eq!(types, [0x20, 0x90, 0x40, 0xD0], "{pieces:02x?}");
            assert_eq!(subscriber.expect_message().topic, "bytes/zero");
            assert_eq!(subscriber.expect_message().topic, "bytes/one");
        }
        println!(
            "{} ways to send {} bytes in {version:?}",
            ways.len(),
            whole.len()
        );
    }
    scene.finish(0);
}
