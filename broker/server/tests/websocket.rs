//! WebSocket against an independent client, and against what no honest client sends.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use nexum_server::{ListenerTransport, WebSocketConfig};
use support::{Authority, CONNACK, Client, Directory, Options, SUBACK, TestServer, tls};
use support::{PINGREQ, PINGRESP, connect, publish, subscribe};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Bytes, Message, WebSocket};

fn config() -> WebSocketConfig {
    WebSocketConfig {
        path: "/mqtt".to_owned(),
        allowed_origins: Vec::new(),
    }
}

fn server(shards: usize) -> TestServer {
    TestServer::start(
        ListenerTransport::WebSocket(config()),
        Options {
            shards,
            ..Options::default()
        },
    )
}

/// tungstenite's client, its handshake made.
fn upgraded<S: Read + Write>(stream: S) -> WebSocket<S> {
    let mut request = "ws://localhost/mqtt"
        .into_client_request()
        .expect("a valid URL");
    let protocol = "mqtt".parse().expect("a header value");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    let (socket, response) = tungstenite::client(request, stream)
        .map_err(|error| error.to_string())
        .expect("the handshake is accepted");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    socket
}

fn say<S: Read + Write>(socket: &mut WebSocket<S>, bytes: &[u8]) {
    socket
        .send(Message::Binary(Bytes::copy_from_slice(bytes)))
        .expect("the server takes it");
}

/// The payloads of binary frames, whatever their borders.
fn hear<S: Read + Write>(socket: &mut WebSocket<S>, expected: &[u8]) {
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        match socket.read().expect("the server answers") {
            Message::Binary(bytes) => heard.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        heard == expected,
        "expected {expected:02x?}, got {heard:02x?}"
    );
}

#[test]
fn a_client_is_served_whatever_its_frames_are() {
    let server = server(1);
    let mut client = upgraded(server.tcp());
    // [MQTT-6.0.0-2]: packets are not aligned with frames.
    for byte in connect("bytes", None) {
        say(&mut client, &[byte]);
    }
    hear(&mut client, &CONNACK);
    let mut bytes = subscribe("t");
    bytes.extend(publish("t", b"several packets in one frame"));
    bytes.extend(PINGREQ);
    say(&mut client, &bytes);
    let mut expected = SUBACK.to_vec();
    expected.extend(publish("t", b"several packets in one frame"));
    expected.extend(PINGRESP);
    hear(&mut client, &expected);

    // A message in fragments with a Ping between them.
    let fragment = |opcode, bytes: &[u8], last| {
        let frame = Frame::message(bytes.to_vec(), OpCode::Data(opcode), last);
        Message::Frame(frame)
    };
    client
        .send(fragment(Data::Binary, &PINGREQ[..1], false))
        .expect("the server takes it");
    client
        .send(Message::Ping("are you there".into()))
        .expect("the server takes it");
    client
        .send(fragment(Data::Continue, &PINGREQ[1..], true))
        .expect("the server takes it");
    assert_eq!(
        client.read().expect("a Pong"),
        Message::Pong("are you there".into())
    );
    hear(&mut client, &PINGRESP);
}

#[test]
fn large_messages_pass_in_both_directions() {
    let server = server(2);
    let mut subscriber = upgraded(server.tcp());
    say(&mut subscriber, &connect("subscriber", None));
    hear(&mut subscriber, &CONNACK);
    say(&mut subscriber, &subscribe("big"));
    hear(&mut subscriber, &SUBACK);
    let mut publisher = upgraded(server.tcp());
    say(&mut publisher, &connect("publisher", None));
    hear(&mut publisher, &CONNACK);
    let message = publish("big", &vec![9; 900_000]);
    for _ in 0..5 {
        say(&mut publisher, &message);
        hear(&mut subscriber, &message);
    }
}

#[test]
fn the_closing_handshake_is_answered() {
    let server = server(1);
    let mut client = upgraded(server.tcp());
    say(&mut client, &connect("closing", None));
    hear(&mut client, &CONNACK);
    client.close(None).expect("a Close frame can be sent");
    loop {
        match client.read() {
            Ok(Message::Close(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_text_frame_closes_with_1003() {
    let server = server(1);
    let mut client = upgraded(server.tcp());
    say(&mut client, &connect("text", None));
    hear(&mut client, &CONNACK);
    client
        .send(Message::Text("hello".into()))
        .expect("the server takes it");
    match client.read().expect("a Close frame") {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Unsupported),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_mqtt_disconnect_ends_the_web_socket_in_order() {
    let server = server(1);
    let mut client = upgraded(server.tcp());
    say(&mut client, &connect("orderly", None));
    hear(&mut client, &CONNACK);
    say(&mut client, &[0xE0, 0]);
    match client.read().expect("a Close frame") {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Normal),
        other => panic!("{other:?}"),
    }
}

fn raw_handshake(server: &TestServer, after: &[u8]) -> TcpStream {
    let mut client = server.tcp();
    let mut bytes = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        .to_vec();
    bytes.extend(after);
    client.say(&bytes);
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a response");
        response.push(byte[0]);
    }
    assert!(response.starts_with(b"HTTP/1.1 101 "));
    client
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    let server = server(4);
    for number in 0..8 {
        let packet = connect(&format!("eager-{number}"), None);
        let mut frame = vec![
            0x82,
            0x80 | u8::try_from(packet.len()).expect("short"),
            0,
            0,
            0,
            0,
        ];
        frame.extend(&packet);
        let mut client = raw_handshake(&server, &frame);
        client.hear(&[0x82, 4]);
        client.hear(&CONNACK);
    }
}

#[test]
fn an_unmasked_frame_closes_with_1002() {
    let server = server(1);
    let mut client = raw_handshake(&server, &[]);
    client.say(&[0x82, 0]);
    client.hear(&[0x88, 2, 0x03, 0xEA]);
    client.hear_the_end();
}

#[test]
fn a_refused_handshake_is_answered_and_closed() {
    let server = server(1);
    let mut client = server.tcp();
    client.say(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut response = String::new();
    client
        .read_to_string(&mut response)
        .expect("a response, then the end");
    assert!(
        response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{response}"
    );
    assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
}

#[test]
fn secure_web_sockets_move_between_shards() {
    let directory = Directory::new("wss");
    let authority = Authority::new("authority");
    let tls_config = authority.write_server(&directory);
    let server = TestServer::start(
        ListenerTransport::SecureWebSocket(config(), tls_config),
        Options {
            shards: 3,
            ..Options::default()
        },
    );
    let client_config = authority.client_config(None);
    let mut clients: Vec<_> = (0..12)
        .map(|_| upgraded(tls(&server, &client_config)))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        say(client, &connect(&format!("client-{number}"), None));
        hear(client, &CONNACK);
        say(client, &subscribe("all"));
        hear(client, &SUBACK);
    }
    let message = publish("all", &vec![3; 100_000]);
    say(&mut clients[0], &message);
    for client in &mut clients {
        hear(client, &message);
    }
    let handle = server.handle.clone();
    drop(server);
    assert!(
        handle
            .snapshot()
            .shards
            .iter()
            .map(|shard| shard.load.rehomed)
            .sum::<u64>()
            > 0
    );
}
