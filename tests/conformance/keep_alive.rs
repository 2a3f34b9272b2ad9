//! Keep Alive (section 3.1.2.10).

use std::time::{Duration, Instant};

use nexum_harness::{Connect, Packet, Peer, Publish, Received, Subscribe, Version, Will, reason};

use crate::scene::{builder, each_version};

/// Waits for the end of a connection that has been silent since `since`, and checks when it comes.
#[track_caller]
fn expect_keep_alive_timeout(peer: &mut Peer, since: Instant) {
    // As if the network had failed; a DISCONNECT that says why is allowed in MQTT 5.
    match peer.recv_within(Duration::from_secs(10)) {
        Received::Closed => {}
        Received::Packet(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason, reason::KEEP_ALIVE_TIMEOUT);
            peer.expect_closed();
        }
        other => panic!("expected the end of the connection, got {other:?}"),
    }
    let silent = since.elapsed();
    assert!(
        silent >= Duration::from_millis(1400),
        "already after {silent:?}"
    );
    assert!(silent < Duration::from_secs(4), "only after {silent:?}");
}

/// [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT-3.1.2-20] [MQTT3-3.1.2-24] [MQTT3-3.1.2-23]
#[test]
fn silent_client_is_disconnected_after_one_and_a_half_intervals() {
    each_version(|broker, version| {
        let mut peer = broker.dial(version);
        let since = Instant::now();
        peer.log_in(Connect::new(version, "client").keep_alive(1));
        expect_keep_alive_timeout(&mut peer, since);
    });
}

/// As if the network had failed: the will is published.
/// [MQTT-3.1.2-22] [MQTT-3.1.2-8] [MQTT3-3.1.2-24] [MQTT3-3.1.2-8]
#[test]
fn silence_publishes_the_will() {
    each_version(|broker, version| {
        let mut watcher = broker.client(version, "watcher");
        watcher.subscribe("will", 0);
        let will = Will::new("will", "silence");
        let connect = Connect::new(version, "client").keep_alive(1).will(will);
        let _silent = broker.connect(connect);
        assert_eq!(watcher.expect_publish().payload, b"silence");
    });
}

/// [MQTT-3.1.2-22] [MQTT3-3.1.2-24]
#[test]
fn any_packet_keeps_the_connection_alive() {
    each_version(|broker, version| {
        let mut peer = broker.connect(Connect::new(version, "client").keep_alive(1));
        let pause = Duration::from_millis(900);
        for _ in 0..2 {
            peer.expect_nothing_within(pause);
            peer.expect_ping();
            peer.expect_nothing_within(pause);
            peer.send(Publish::new("t", "x"));
        }
        let since = Instant::now();
        expect_keep_alive_timeout(&mut peer, since);
    });
}

/// What the broker sends does not keep the client alive.
/// [MQTT-3.1.2-22] [MQTT3-3.1.2-24]
#[test]
fn packets_of_the_broker_do_not_count() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        let mut peer = broker.connect(Connect::new(version, "client").keep_alive(1));
        peer.send(Subscribe::new(1).filter("t", 0));
        peer.expect_suback(1, &[0]);
        let since = Instant::now();
        for _ in 0..2 {
            publisher.send(Publish::new("t", "x"));
            peer.expect_publish();
            peer.expect_nothing_within(Duration::from_millis(500));
        }
        expect_keep_alive_timeout(&mut peer, since);
    });
}

/// Half a packet is not a packet.
/// [MQTT-3.1.2-22] [MQTT3-3.1.2-24]
#[test]
fn bytes_that_complete_no_packet_do_not_count() {
    each_version(|broker, version| {
        let mut peer = broker.dial(version);
        peer.log_in(Connect::new(version, "client").keep_alive(1));
        let since = Instant::now();
        let packet = Packet::from(Publish::new("topic", "payload")).bytes(version);
        for byte in &packet[..4] {
            peer.send_bytes(&[*byte]);
            peer.expect_nothing_within(Duration::from_millis(330));
        }
        expect_keep_alive_timeout(&mut peer, since);
    });
}

/// [MQTT-3.1.2-22] [MQTT3-3.1.2-24] [MQTT-3.2.2-22]
#[test]
fn keep_alive_0_is_no_keep_alive() {
    each_version(|broker, version| {
        let mut peer = broker.client(version, "client");
        if peer.connack().properties.server_keep_alive().is_none() {
            peer.expect_nothing_within(Duration::from_millis(2500));
            peer.expect_ping();
        }
    });
}

/// The server's word counts, whatever the client asked for.
/// [MQTT-3.1.2-21] [MQTT-3.2.2-21] [MQTT-3.1.2-22]
#[test]
fn v5_server_keep_alive_replaces_the_clients() {
    let broker = builder().set("limits.server_keep_alive_seconds", 1).start();
    for keep_alive in [0, 60] {
        let mut peer = broker.dial(Version::V5);
        let since = Instant::now();
        peer.log_in(Connect::new(Version::V5, "client").keep_alive(keep_alive));
        assert_eq!(peer.connack().properties.server_keep_alive(), Some(1));
        expect_keep_alive_timeout(&mut peer, since);
    }
}
