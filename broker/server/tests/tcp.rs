//! Plain TCP: bytes go where they should, in whatever pieces, on whatever shard.

mod support;

use std::io::Write;
use std::net::Shutdown;

use nexum_core::Limits;
use nexum_server::ListenerTransport;
use nexum_types::QoS;
use support::{CONNACK, Client, Options, PINGREQ, PINGRESP, SUBACK, TestServer};
use support::{connect, publish, subscribe};

#[test]
fn a_packet_may_come_in_pieces_and_many_in_one() {
    let server = TestServer::start(ListenerTransport::Tcp, Options::default());
    let mut client = server.tcp();
    for byte in connect("pieces", None) {
        client.say(&[byte]);
    }
    client.hear(&CONNACK);
    client.say(&PINGREQ.repeat(100_000));
    client.hear(&PINGRESP.repeat(100_000));
}

#[test]
fn clients_of_all_shards_hear_each_other() {
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            shards: 4,
            ..Options::default()
        },
    );
    let mut subscribers: Vec<_> = (0..16).map(|_| server.tcp()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.join(&format!("subscriber-{number}"));
        subscriber.say(&subscribe("t/#"));
        subscriber.hear(&SUBACK);
    }
    let mut publisher = server.tcp();
    publisher.join("publisher");
    let messages: Vec<u8> = (0..1000)
        .flat_map(|n| publish("t/x", format!("message {n}").as_bytes()))
        .collect();
    publisher.say(&messages);
    for subscriber in &mut subscribers {
        subscriber.hear(&messages);
    }
}

#[test]
fn large_messages_pass_through_a_slow_reader() {
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            shards: 2,
            ..Options::default()
        },
    );
    let mut subscriber = server.tcp();
    subscriber.join("slow");
    subscriber.say(&subscribe("big"));
    subscriber.hear(&SUBACK);
    let mut publisher = server.tcp();
    publisher.join("publisher");
    let message = publish("big", &vec![0x5A; 900_000]);
    for _ in 0..20 {
        publisher.say(&message);
        subscriber.hear(&message);
    }
}

#[test]
fn the_broker_itself_can_publish() {
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            shards: 3,
            ..Options::default()
        },
    );
    let mut clients: Vec<_> = (0..6).map(|_| server.tcp()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.join(&format!("client-{number}"));
        client.say(&subscribe("$SYS/#"));
        client.hear(&SUBACK);
    }
    server.handle.publish(
        "$SYS/broker".to_owned(),
        b"here".to_vec(),
        QoS::AtMostOnce,
        false,
    );
    for client in &mut clients {
        client.hear(&publish("$SYS/broker", b"here"));
    }
}

#[test]
fn last_words_arrive_although_the_client_still_sends() {
    let server = TestServer::start(ListenerTransport::Tcp, Options::default());
    // MQTT 5, so that there is a DISCONNECT to be heard.
    let mut client = server.tcp();
    client.say(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01v");
    let mut connack = [0; 2];
    std::io::Read::read_exact(&mut client, &mut connack).expect("CONNACK");
    assert_eq!(connack[0], 0x20);
    let mut rest = vec![0; usize::from(connack[1])];
    std::io::Read::read_exact(&mut client, &mut rest).expect("CONNACK");
    // A reserved packet type, and then more than any buffer holds.
    let rubbish = vec![0; 4 * 1024 * 1024];
    let mut writer = client.try_clone().expect("another handle of the socket");
    let flood = std::thread::spawn(move || {
        // Ends when the server has had enough.
        let _ = writer.write_all(&rubbish);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut disconnect = [0; 3];
    std::io::Read::read_exact(&mut client, &mut disconnect).expect("DISCONNECT");
    assert_eq!(disconnect[0], 0xE0);
    assert_eq!(disconnect[2], 0x81, "Malformed Packet");
    flood.join().expect("the flood ends");
}

#[test]
fn who_says_nothing_is_closed_in_time() {
    let limits = Limits {
        authentication_timeout_seconds: 1,
        ..Limits::default()
    };
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            limits,
            ..Options::default()
        },
    );
    let mut silent = server.tcp();
    let mut healthy = server.tcp();
    healthy.join("healthy");
    silent.hear_the_end();
    healthy.ping();
}

#[test]
fn connections_are_bounded_and_places_are_given_back() {
    let limits = Limits {
        maximum_connections: 2,
        ..Limits::default()
    };
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            limits,
            ..Options::default()
        },
    );
    let mut first = server.tcp();
    first.join("first");
    let mut second = server.tcp();
    second.join("second");
    let mut third = server.tcp();
    third.hear_the_end();
    assert_eq!(server.handle.snapshot().accept.refused_full, 1);
    // DISCONNECT; the end says that the place is free, or about to be.
    first.say(&[0xE0, 0]);
    first.hear_the_end();
    let fourth = (0..1000).find_map(|_| {
        let mut fourth = server.tcp();
        let _ = fourth.write_all(&connect("fourth", None));
        let mut connack = [0; 4];
        std::io::Read::read_exact(&mut fourth, &mut connack)
            .is_ok()
            .then_some(fourth)
    });
    fourth.expect("a place became free").ping();
}

#[test]
fn a_server_that_goes_down_says_so() {
    let server = TestServer::start(
        ListenerTransport::Tcp,
        Options {
            shards: 2,
            ..Options::default()
        },
    );
    let mut clients: Vec<_> = (0..4).map(|_| server.tcp()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.join(&format!("client-{number}"));
    }
    let address = server.address();
    drop(server);
    for client in &mut clients {
        client.hear_the_end();
    }
    std::net::TcpStream::connect(address).expect_err("nobody listens any more");
}
