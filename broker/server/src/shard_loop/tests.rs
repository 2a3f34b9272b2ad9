//! That a panic costs one connection. The core never panics on purpose, so in the unit tests of
//! this crate certain bytes do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use nexum_core::Limits;

use crate::{ListenerConfig, ListenerTransport, Server, ServerConfig};

const PANIC: &[u8] = b"panic, please";

pub(super) fn panic_if_asked(bytes: &[u8]) {
    assert!(bytes != PANIC, "as the test wants");
}

#[test]
fn a_panic_ends_the_connection_and_nothing_else() {
    let server = Server::bind(
        ServerConfig {
            listeners: vec![ListenerConfig {
                address: ([127, 0, 0, 1], 0).into(),
                transport: ListenerTransport::Tcp,
                anonymous: None,
            }],
            shards: Some(1),
            limits: Arc::new(Limits::default()),
            authenticator: None,
            seed: 7,
        },
        nexum_storage::Store::in_memory(nexum_storage::Options::default()),
        Vec::new(),
    )
    .expect("a free port");
    let handle = server.handle();
    let running = server.start().expect("threads can be started");
    let client = |name: u8| {
        let mut client = TcpStream::connect(handle.listeners()[0].address).expect("it listens");
        client
            .write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01")
            .expect("it takes CONNECT");
        client.write_all(&[name]).expect("it takes CONNECT");
        let mut connack = [0; 4];
        client.read_exact(&mut connack).expect("CONNACK");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        client
    };
    let mut healthy = client(b'h');
    for _ in 0..20 {
        let mut unlucky = client(b'u');
        unlucky.write_all(PANIC).expect("it takes them");
        assert_eq!(unlucky.read(&mut [0; 1]).expect("closed"), 0);
        healthy.write_all(&[0xC0, 0]).expect("it takes PINGREQ");
        let mut pong = [0; 2];
        healthy.read_exact(&mut pong).expect("PINGRESP");
        assert_eq!(pong, [0xD0, 0]);
    }
    handle.shut_down();
    running.join().expect("no thread died");
    let shard = handle.snapshot().shards[0];
    assert_eq!(shard.load.panics, 20);
    assert_eq!(shard.gauges.connections, 0);
}
