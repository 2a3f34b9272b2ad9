//! MQTT over WebSocket (chapter 6 of both specifications).

use nexum_harness::{Broker, Connect, Packet, Publish, Version, WebSocket, WebSocketFrame};

use crate::scene::{builder, text};

const BINARY: u8 = WebSocketFrame::BINARY;

fn start() -> Broker {
    builder()
        .listen("tcp://127.0.0.1:0")
        .listen("ws://127.0.0.1:0/mqtt")
        .start()
}

/// An open WebSocket, not yet logged in.
fn open(broker: &Broker) -> WebSocket {
    match broker.open_websocket(&["mqtt"]) {
        Ok((socket, _)) => socket,
        Err(status) => panic!("the upgrade was refused: {status}"),
    }
}

/// An open WebSocket that is logged in.
fn log_in(broker: &Broker, version: Version) -> WebSocket {
    let mut socket = open(broker);
    let connect = Packet::from(Connect::new(version, "client")).bytes(version);
    socket.send_frame(true, BINARY, &connect);
    let frame = expect_binary(&mut socket);
    assert_eq!(frame[0], 0x20, "CONNACK: {frame:02x?}");
    assert_eq!(frame[3], 0, "accepted: {frame:02x?}");
    socket
}

#[track_caller]
fn expect_binary(socket: &mut WebSocket) -> Vec<u8> {
    match socket.recv_frame() {
        Some(frame) if frame.opcode == BINARY && frame.last => frame.payload,
        other => panic!("expected a binary frame, got {other:?}"),
    }
}

/// Reads until the broker ends the connection: perhaps a DISCONNECT, perhaps a close frame, then
/// the end of TCP.
#[track_caller]
fn expect_closed(socket: &mut WebSocket) {
    while let Some(frame) = socket.recv_frame() {
        match frame.opcode {
            WebSocketFrame::CLOSE => {}
            BINARY => assert_eq!(frame.payload[0], 0xE0, "only DISCONNECT: {frame:?}"),
            _ => panic!("expected the end, got {frame:?}"),
        }
    }
}

const PINGREQ: &[u8] = &[0xC0, 0];
const PINGRESP: &[u8] = &[0xD0, 0];

/// [MQTT-6.0.0-4] [MQTT3-6.0.0-4]
#[test]
fn mqtt_is_the_sub_protocol_chosen() {
    let broker = start();
    for offered in [&["mqtt"][..], &["mqttv3.1", "mqtt"], &["mqtt", "chat"]] {
        let (_, chosen) = broker.open_websocket(offered).expect("it was offered");
        assert_eq!(chosen.as_deref(), Some("mqtt"));
    }
}

/// [MQTT-6.0.0-3] [MQTT3-6.0.0-3]
#[test]
fn without_mqtt_among_the_sub_protocols_there_is_none() {
    let broker = start();
    for offered in [&[][..], &["chat"], &["mqttv3.1"], &["MQTT"]] {
        // A refusal, or a socket without a sub-protocol; never "mqtt", which nobody offered.
        if let Ok((_, chosen)) = broker.open_websocket(offered) {
            assert_eq!(chosen, None, "{offered:?}");
        }
    }
}

/// [MQTT-6.0.0-1] [MQTT3-6.0.0-1] [MQTT-4.2-1] [MQTT3-7.1.1-1]
#[test]
fn packets_travel_in_binary_frames() {
    for version in Version::ALL {
        let broker = start();
        let mut subscriber = broker.dial_websocket(version);
        subscriber.log_in(Connect::new(version, "subscriber"));
        subscriber.subscribe("t", 2);
        let mut publisher = broker.dial_websocket(version);
        publisher.log_in(Connect::new(version, "publisher"));
        let mut over_tcp = broker.client(version, "over tcp");
        for qos in 0..=2 {
            publisher.publish(Publish::new("t", "web").qos(qos, 1));
            assert_eq!(text(&subscriber.expect_message()), "web");
            over_tcp.publish(Publish::new("t", "tcp").qos(qos, 1));
            assert_eq!(text(&subscriber.expect_message()), "tcp");
        }
        // A frame of each width of length.
        for length in [100, 1000, 100_000] {
            publisher.send(Publish::new("t", &"x".repeat(length)));
            assert_eq!(subscriber.expect_publish().payload.len(), length);
        }
        subscriber.disconnect();
        publisher.cut();
    }
}

/// [MQTT-6.0.0-1] [MQTT3-6.0.0-1]
#[test]
fn text_frame_ends_the_connection() {
    for version in Version::ALL {
        let broker = start();
        let mut socket = log_in(&broker, version);
        socket.send_frame(true, WebSocketFrame::TEXT, b"\x01\x02");
        expect_closed(&mut socket);
        // Also if it is the first, and holds a CONNECT.
        let mut socket = open(&broker);
        let connect = Packet::from(Connect::new(version, "client")).bytes(version);
        socket.send_frame(true, WebSocketFrame::TEXT, &connect);
        expect_closed(&mut socket);
    }
}

/// [MQTT-6.0.0-2] [MQTT3-6.0.0-2]
#[test]
fn packets_are_not_aligned_to_frames() {
    for version in Version::ALL {
        let broker = start();
        let mut socket = open(&broker);
        // One byte a frame.
        for byte in Packet::from(Connect::new(version, "client")).bytes(version) {
            socket.send_frame(true, BINARY, &[byte]);
        }
        assert_eq!(expect_binary(&mut socket)[0], 0x20);
        // Three packets and a half, then the other half.
        socket.send_frame(true, BINARY, &[0xC0, 0, 0xC0, 0, 0xC0, 0, 0xC0]);
        socket.send_frame(true, BINARY, &[0]);
        let mut pongs = Vec::new();
        while pongs.len() < 8 {
            pongs.extend(expect_binary(&mut socket));
        }
        assert_eq!(pongs, PINGRESP.repeat(4));
        // An empty frame says nothing.
        socket.send_frame(true, BINARY, &[]);
        socket.send_frame(true, BINARY, PINGREQ);
        assert_eq!(expect_binary(&mut socket), PINGRESP);
    }
}

/// A message of RFC 6455 may come in fragments, with control frames among them.
/// [MQTT-6.0.0-2] [MQTT3-6.0.0-2]
#[test]
fn packets_may_be_spread_over_continuation_frames() {
    for version in Version::ALL {
        let broker = start();
        let mut socket = log_in(&broker, version);
        socket.send_frame(false, BINARY, &[0xC0]);
        socket.send_frame(true, WebSocketFrame::PING, b"hello");
        let pong = socket.recv_frame().expect("a ping is answered");
        assert_eq!(
            (pong.opcode, &pong.payload[..]),
            (WebSocketFrame::PONG, &b"hello"[..])
        );
        socket.send_frame(false, WebSocketFrame::CONTINUATION, &[]);
        socket.send_frame(true, WebSocketFrame::CONTINUATION, &[0]);
        assert_eq!(expect_binary(&mut socket), PINGRESP);
    }
}

/// Rules of RFC 6455 itself, which make a frame no frame of data.
/// [MQTT-6.0.0-1] [MQTT3-6.0.0-1]
#[test]
fn frames_that_break_rfc_6455_end_the_connection() {
    let broker = start();
    for (what, bytes) in [
        ("not masked", &[0x82, 0x02, 0xC0, 0x00][..]),
        ("a reserved bit", &[0xC2, 0x80, 0, 0, 0, 0]),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a reserved control opcode", &[0x8B, 0x80, 0, 0, 0, 0]),
        ("a continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a ping in fragments", &[0x09, 0x80, 0, 0, 0, 0]),
        ("a ping too long", &[0x89, 0xFE, 0x00, 0x7E]),
    ] {
        println!("{what}");
        let mut socket = log_in(&broker, Version::V5);
        socket.send_raw(bytes);
        expect_closed(&mut socket);
    }
}

/// The closing handshake ends the connection like the end of TCP: without a DISCONNECT.
/// [MQTT-3.1.2-8] [MQTT3-3.1.2-8]
#[test]
fn close_frame_ends_the_connection_and_publishes_the_will() {
    for version in Version::ALL {
        let broker = start();
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("will", 0);
        let mut socket = open(&broker);
        let will = nexum_harness::Will::new("will", "closed");
        let connect = Packet::from(Connect::new(version, "client").will(will)).bytes(version);
        socket.send_frame(true, BINARY, &connect);
        expect_binary(&mut socket);
        socket.send_frame(true, WebSocketFrame::CLOSE, &[0x03, 0xE8]);
        expect_closed(&mut socket);
        assert_eq!(text(&watcher.expect_publish()), "closed");
    }
}
