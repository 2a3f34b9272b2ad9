//! What is no WebSocket, and what breaks one (RFC 6455, chapter 6 of both specifications).

use std::time::{Duration, Instant};

use nexum_harness::{Broker, Connect, Packet, Publish, Version, WebSocket, WebSocketFrame};

use crate::memory::{MIB, mebibytes};
use crate::raw::Raw;
use crate::scene::{CONNECTION_BYTES, PROMPTLY, Scene, builder};

fn start() -> Scene {
    Scene::start_with(
        builder()
            .listen("tcp://127.0.0.1:0")
            .listen("ws://127.0.0.1:0/mqtt")
            .set("limits.authentication_timeout_seconds", 2),
    )
}

fn dial(broker: &Broker) -> Raw {
    Raw::dial_at(broker.address("ws"))
}

/// A handshake with one line of it changed.
fn handshake(change: impl Fn(&str) -> String) -> Vec<u8> {
    [
        "GET /mqtt HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        "",
    ]
    .map(|line| format!("{}\r\n", change(line)))
    .concat()
    .into_bytes()
}

/// `None` drops the line, by its beginning.
fn with_line(start: &str, line: &str) -> Vec<u8> {
    let text = handshake(|old| {
        if old.starts_with(start) {
            line.to_owned()
        } else {
            old.to_owned()
        }
    });
    // An empty line in the middle would end the head.
    let text = String::from_utf8(text).expect("it is text");
    match line.is_empty() {
        true => text.replacen("\r\n\r\n", "\r\n", 1).into_bytes(),
        false => text.into_bytes(),
    }
}

fn logged_in(broker: &Broker, version: Version) -> WebSocket {
    let (mut socket, _) = broker.open_websocket(&["mqtt"]).expect("a good handshake");
    let connect = Packet::from(Connect::new(version, "attacker")).bytes(version);
    socket.send_frame(true, WebSocketFrame::BINARY, &connect);
    let frame = socket.recv_frame().expect("it stays open");
    assert_eq!(frame.payload[0], 0x20, "{frame:?}");
    socket
}

/// Reads to the end; the code of the Close frame, if there was one.
fn close_code(socket: &mut WebSocket) -> Option<u16> {
    let mut code = None;
    while let Some(frame) = socket.recv_frame() {
        if let (WebSocketFrame::CLOSE, [high, low, ..]) = (frame.opcode, &frame.payload[..]) {
            code = Some(u16::from_be_bytes([*high, *low]));
        }
    }
    code
}

/// A refusal says 4xx and closes; it never upgrades.
#[test]
fn bad_handshakes_are_refused() {
    let scene = start();
    let long = format!("GET /{} HTTP/1.1", "x".repeat(100_000));
    let cookies = format!("Cookie: {}", "c".repeat(100_000));
    let requests: Vec<Vec<u8>> = vec![
        with_line("GET", "POST /mqtt HTTP/1.1"),
        with_line("GET", "GET /mqtt HTTP/1.0"),
        with_line("GET", "GET /elsewhere HTTP/1.1"),
        with_line("GET", "GET"),
        with_line("GET", "rubbish"),
        with_line("GET", &long),
        with_line("Host", &cookies),
        with_line("Upgrade", "Upgrade: h2c"),
        with_line("Upgrade", ""),
        with_line("Connection", "Connection: close"),
        with_line("Sec-WebSocket-Key", "Sec-WebSocket-Key: short"),
        with_line("Sec-WebSocket-Key", ""),
        with_line("Sec-WebSocket-Version", "Sec-WebSocket-Version: 7"),
        with_line("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: soap"),
        with_line("Sec-WebSocket-Protocol", ""),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\r\n\r\n\r\n\r\n".to_vec(),
        [
            Packet::from(Connect::new(Version::V5, "a")).bytes(Version::V5),
            b"\r\n\r\n".to_vec(),
        ]
        .concat(),
        vec![0xFF; 100_000],
        vec![b'\n'; 100_000],
    ];
    for request in &requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        let mut raw = dial(&scene.broker);
        raw.send(request);
        let begun = Instant::now();
        let answer = String::from_utf8_lossy(&raw.read_until_closed(PROMPTLY)).into_owned();
        println!(
            "{shown:?}: {:?} after {:?}",
            answer.lines().next(),
            begun.elapsed()
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown}: {answer}"
        );
    }
    scene.finish(MIB);
}

/// A head that never ends is refused at its bound, or closed when the time is up; a hundred of
/// them at once cost what the bound says.
#[test]
fn headers_that_never_end_are_bounded() {
    const CLIENTS: u64 = 100;
    let scene = start();
    let mut all: Vec<Raw> = (0..CLIENTS).map(|_| dial(&scene.broker)).collect();
    let begun = Instant::now();
    for raw in &mut all {
        raw.send(b"GET /mqtt HTTP/1.1\r\n");
        raw.send(&b"X-Header: never enough of them\r\n".repeat(10_000));
    }
    for raw in &mut all {
        let answer = String::from_utf8_lossy(&raw.read_until_closed(PROMPTLY)).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    println!(
        "{CLIENTS} endless heads: {:?}, {} more",
        begun.elapsed(),
        mebibytes(scene.growth_bytes())
    );
    // And those that say one byte now and then, or nothing.
    let mut silent: Vec<Raw> = (0..CLIENTS).map(|_| dial(&scene.broker)).collect();
    for (number, raw) in silent.iter_mut().enumerate() {
        raw.send(&handshake(str::to_owned)[..number % 50]);
    }
    for raw in &mut silent {
        raw.read_until_closed(Duration::from_secs(8));
    }
    scene.finish(CLIENTS * (32 * 1024 + CONNECTION_BYTES));
}

/// Frames that break RFC 6455, each with the Close code that names the breach, or just the end.
#[test]
fn bad_frames_end_the_connection() {
    let scene = start();
    let mask = [0; 4];
    let huge = |first: u8, length: u64| [&[first, 0xFF][..], &length.to_be_bytes(), &mask].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("not masked", vec![0x82, 2, 0xC0, 0], 1002),
        ("a text frame", vec![0x81, 0x82, 0, 0, 0, 0, 0xC0, 0], 1003),
        ("an empty text frame", vec![0x81, 0x80, 0, 0, 0, 0], 1003),
        ("reserved bit 1", vec![0xC2, 0x80, 0, 0, 0, 0], 1002),
        ("reserved bit 2", vec![0xA2, 0x80, 0, 0, 0, 0], 1002),
        ("reserved bit 3", vec![0x92, 0x80, 0, 0, 0, 0], 1002),
        ("opcode 3", vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        ("opcode 7", vec![0x87, 0x80, 0, 0, 0, 0], 1002),
        ("opcode 11", vec![0x8B, 0x80, 0, 0, 0, 0], 1002),
        ("opcode 15", vec![0x8F, 0x80, 0, 0, 0, 0], 1002),
        (
            "a continuation of nothing",
            vec![0x80, 0x80, 0, 0, 0, 0],
            1002,
        ),
        (
            "a message inside a message",
            vec![0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0],
            1002,
        ),
        ("a ping in fragments", vec![0x09, 0x80, 0, 0, 0, 0], 1002),
        ("a close in fragments", vec![0x08, 0x80, 0, 0, 0, 0], 1002),
        (
            "a ping of 126 bytes",
            vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0],
            1002,
        ),
        (
            "a close of 126 bytes",
            vec![0x88, 0xFE, 0, 126, 0, 0, 0, 0],
            1002,
        ),
        ("a ping of 2^40 bytes", huge(0x89, 1 << 40), 1002),
        (
            "a length longer than it needs to be",
            vec![0x82, 0xFE, 0, 5, 0, 0, 0, 0],
            1002,
        ),
        ("a frame of 2^32 bytes", huge(0x82, 1 << 32), 1009),
        ("a frame of 2^62 bytes", huge(0x82, 1 << 62), 1009),
        ("a frame of 2^63 bytes", huge(0x82, 1 << 63), 1009),
        ("half a close code", vec![0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        (
            "the close code 1005",
            vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED],
            1002,
        ),
        ("the close code 0", vec![0x88, 0x82, 0, 0, 0, 0, 0, 0], 1002),
        (
            "a close reason that is no text",
            vec![0x88, 0x83, 0, 0, 0, 0, 0x03, 0xE8, 0xFF],
            1007,
        ),
    ];
    for version in Version::ALL {
        for (what, bytes, expected) in &cases {
            let mut socket = logged_in(&scene.broker, version);
            socket.send_raw(bytes);
            let begun = Instant::now();
            let code = close_code(&mut socket);
            assert!(
                code.is_none_or(|code| [*expected, 1002].contains(&code)),
                "{what}: {code:?}"
            );
            assert!(begun.elapsed() < PROMPTLY, "{what}");
        }
    }
    println!("{} bad frames in each version", cases.len());
    scene.finish(MIB);
}

/// Malformed MQTT inside good frames is what it is without them.
#[test]
fn malformed_packets_in_good_frames_end_the_connection() {
    let scene = start();
    for version in Version::ALL {
        for bytes in [
            &[0x00, 0x00][..],
            &[0x36, 0x05, 0, 1, b't', 0, 1],
            &[0x82, 0x02, 0, 1],
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            &[0xC0, 0x01, 0],
            &[0xFF; 200],
        ] {
            let mut socket = logged_in(&scene.broker, version);
            socket.send_frame(true, WebSocketFrame::BINARY, bytes);
            let mut packets = Vec::new();
            while let Some(frame) = socket.recv_frame() {
                if frame.opcode == WebSocketFrame::BINARY {
                    packets.extend(frame.payload);
                }
            }
            match version {
                Version::V311 => assert!(packets.is_empty(), "{packets:02x?}"),
                Version::V5 => assert_eq!(packets.first(), Some(&0xE0), "{bytes:02x?}"),
            }
        }
    }
    scene.finish(MIB);
}

/// A frame as long as the largest MQTT packet costs what has come of it, and empty fragments
/// cost nothing.
#[test]
fn huge_and_empty_frames_cost_nothing() {
    let scene = start();
    let mut socket = logged_in(&scene.broker, Version::V5);
    // Announces 200 MiB of frame, in which small packets come one after the other.
    let length = 200 * MIB;
    socket.send_raw(&[&[0x82, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat());
    for _ in 0..100 {
        let publish = Publish::new("nobody", &"x".repeat(100_000));
        socket.send_raw(&Packet::from(publish).bytes(Version::V5));
    }
    socket.send_raw(&[0xC0, 0]);
    let frame = socket.recv_frame().expect("it stays open");
    assert_eq!(
        frame.payload,
        [0xD0, 0],
        "the packets are taken as they come"
    );
    drop(socket);
    let mut socket = logged_in(&scene.broker, Version::V5);
    socket.send_frame(false, WebSocketFrame::BINARY, &[]);
    let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(100_000);
    socket.send_raw(&empty);
    socket.send_frame(true, WebSocketFrame::CONTINUATION, &[0xC0, 0]);
    assert_eq!(
        socket.recv_frame().expect("it stays open").payload,
        [0xD0, 0]
    );
    println!("{} more", mebibytes(scene.growth_bytes()));
    drop(socket);
    scene.finish(4 * MIB);
}

/// Pings of the WebSocket without reading the pongs: only the newest needs an answer (RFC 6455
/// section 5.5.3), so nothing piles up.
#[test]
fn ping_flood_does_not_pile_up() {
    let scene = start();
    let mut raw = dial(&scene.broker);
    raw.send(&handshake(str::to_owned));
    let connect = Packet::from(Connect::new(Version::V5, "flood")).bytes(Version::V5);
    let mut frame = vec![0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0];
    frame.extend(&connect);
    raw.send(&frame);
    let ping = [&[0x89, 0xFD, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let (taken, end) = raw.flood(&ping.repeat(1000), 300);
    println!(
        "{} of pings: {end:?}, {} more",
        mebibytes(taken),
        mebibytes(scene.growth_bytes())
    );
    drop(raw);
    scene.finish(4 * MIB);
}
