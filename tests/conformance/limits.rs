//! Maximum Packet Size and Request Problem Information (MQTT 5 sections 3.1.2.11.4 and .7). The
//! peer itself refuses packets that are too large, and problem information it did not want.

use nexum_harness::{
    Broker, Connect, Frame, Packet, Peer, Property, Publish, Received, Subscribe, Unsubscribe,
    Version, puback, pubrec, pubrel, reason,
};
use std::time::Duration;

use crate::scene::{expect_no_message, start, text};

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn message_too_large_for_its_subscriber_is_dropped() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    // With one message at a time, a dropped one that held the quota would stop the rest.
    let connect = Connect::new(Version::V5, "subscriber")
        .property(Property::maximum_packet_size(100))
        .property(Property::receive_maximum(1));
    let mut subscriber = broker.connect(connect);
    subscriber.subscribe("t", 2);
    let mut other = broker.client(Version::V5, "other");
    other.subscribe("t", 0);
    for qos in 0..=2 {
        publisher.publish(Publish::new("t", "").payload(&[b'x'; 101]).qos(qos, 1));
        publisher.publish(Publish::new("t", "fits").qos(qos, 2));
        assert_eq!(text(&subscriber.expect_message()), "fits");
        assert_eq!(
            other.expect_publish().payload.len(),
            101,
            "others do get it"
        );
        assert_eq!(text(&other.expect_publish()), "fits");
    }
}

/// The size is that of the whole packet: a message that just fits comes, one byte more does not.
/// An alias the broker may use is no reason to drop what fits without one.
/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn largest_message_that_fits_is_delivered() {
    let broker = start();
    let mut publisher = broker.client(Version::V5, "publisher");
    for aliases in [0, 10] {
        for qos in 0..=2 {
            println!("QoS {qos}, Topic Alias Maximum {aliases}");
            let connect = Connect::new(Version::V5, "subscriber")
                .property(Property::maximum_packet_size(200))
                .property(Property::topic_alias_maximum(aliases));
            let mut subscriber = broker.connect(connect);
            subscriber.subscribe("t", qos);
            // Fixed header 3, topic 3, Property Length 1, and the identifier from QoS 1 on.
            let room = if qos == 0 { 193 } else { 191 };
            for length in [room + 1, room] {
                let publish = Publish::new("t", "").payload(&vec![b'x'; length]);
                publisher.publish(publish.qos(qos, 1));
            }
            assert_eq!(subscriber.expect_message().payload.len(), room);
            subscriber.disconnect();
        }
    }
}

/// What waits in the session may turn out to be too large for the next connection.
/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn queued_message_too_large_for_the_new_connection_is_dropped() {
    let broker = start();
    let connect = Connect::new(Version::V5, "subscriber").persistent();
    let mut subscriber = broker.connect(connect.clone());
    subscriber.subscribe("t", 2);
    let mut publisher = broker.client(Version::V5, "publisher");
    // One in flight, one queued.
    publisher.publish(Publish::new("t", "").payload(&[b'x'; 300]).qos1(1));
    subscriber.expect_publish();
    subscriber.cut();
    publisher.publish(Publish::new("t", "").payload(&[b'x'; 300]).qos2(2));
    publisher.publish(Publish::new("t", "fits").qos1(3));
    let small = connect
        .resume()
        .property(Property::maximum_packet_size(100));
    let mut subscriber = broker.connect(small);
    assert_eq!(text(&subscriber.expect_message()), "fits");
    expect_no_message(&mut publisher, &mut subscriber);
}

/// [MQTT-3.2.2-15] [MQTT-4.13.1-1]
#[test]
fn client_that_exceeds_the_maximum_packet_size_is_disconnected() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "client");
    let maximum = peer.connack().properties.maximum_packet_size();
    let maximum = maximum.expect("this broker has a limit");
    // The fixed header gives it away, before anything is buffered.
    let header = Frame::new(0x30)
        .remaining_length(&variable(maximum))
        .bytes();
    peer.send_bytes(&header);
    peer.expect_disconnected(&[reason::PACKET_TOO_LARGE]);
}

/// [MQTT-3.2.2-15]
#[test]
fn client_may_use_the_whole_maximum_packet_size() {
    let broker = start();
    let mut subscriber = broker.client(Version::V5, "subscriber");
    subscriber.subscribe("t", 0);
    let mut peer = broker.client(Version::V5, "client");
    let maximum = peer.connack().properties.maximum_packet_size();
    let maximum = maximum.expect("this broker has a limit") as usize;
    let payload = vec![b'x'; maximum - 1 - variable_length(maximum) - 3 - 1];
    let publish = Publish::new("t", "").payload(&payload);
    assert_eq!(
        Packet::from(publish.clone()).bytes(Version::V5).len(),
        maximum
    );
    peer.send(publish);
    assert_eq!(subscriber.expect_publish().payload.len(), payload.len());
}

fn variable(value: u32) -> Vec<u8> {
    let mut bytes = Frame::new(0).variable(value).bytes();
    bytes.drain(..2);
    bytes
}

/// Bytes of the Remaining Length of a packet of this size.
fn variable_length(size: usize) -> usize {
    variable(u32::try_from(size - 5).expect("a packet's size")).len()
}

/// Does everything a broker answers, right and wrong. The peer watches the answers.
fn provoke_every_answer(broker: &Broker, connect: &Connect) {
    let log_in = || -> Peer { broker.connect(connect.clone()) };
    let mut peer = log_in();
    peer.send(Subscribe::new(1).filter("t", 2));
    peer.expect_suback(1, &[2]);
    peer.publish(Publish::new("nobody", "x").qos1(1));
    peer.publish(Publish::new("nobody", "x").qos2(2));
    peer.publish(Publish::new("t", "x").qos2(3));
    peer.expect_message();
    peer.send(Unsubscribe::new(4, "never").filter("t"));
    peer.expect_unsuback(4, &[reason::NO_SUBSCRIPTION_EXISTED, reason::SUCCESS]);
    peer.send(pubrel(1234));
    peer.expect_pubcomp(1234);
    // The rest may be answered by a refusal or by the end.
    for packet in [
        Packet::from(Publish::new("$SYS/x", "x").qos1(5)),
        Publish::new("$SYS/x", "x").qos2(6).into(),
        Publish::new(&"x/".repeat(200), "x").qos1(7).into(),
        Subscribe::new(8).filter("a/#/b", 0).into(),
        Subscribe::new(9).filter("$share//t", 0).into(),
        Subscribe::new(10).filter(&"x/".repeat(200), 0).into(),
        Unsubscribe::new(11, "a/#/b").into(),
        puback(4321),
        pubrec(4321),
        Connect::new(Version::V5, "again").into(),
        Publish::new("t", "x").qos(3, 1).into(),
        Publish::new("#", "x").into(),
        Subscribe::new(12).into(),
    ] {
        let mut peer = log_in();
        peer.send(packet);
        peer.send(Packet::Pingreq);
        loop {
            match peer.recv_within(Duration::from_secs(5)) {
                Received::Closed | Received::Packet(Packet::Pingresp) => break,
                Received::Packet(_) => {}
                Received::Nothing => panic!("neither an answer nor the end"),
            }
        }
    }
}

/// The smallest Maximum Packet Size with which the broker's CONNACK still fits.
fn smallest_size(broker: &Broker) -> u32 {
    (5..200)
        .find(|&size| {
            let mut peer = broker.dial(Version::V5);
            peer.send(
                Connect::new(Version::V5, "probe").property(Property::maximum_packet_size(size)),
            );
            matches!(
                peer.recv_within(Duration::from_secs(5)),
                Received::Packet(Packet::Connack(connack)) if connack.reason == reason::SUCCESS
            )
        })
        .expect("some CONNACK fits 200 bytes")
}

/// [MQTT-3.1.2-24] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2]
/// [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1]
/// [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.2.2-19] [MQTT-3.2.2-20]
#[test]
fn no_answer_exceeds_the_clients_maximum_packet_size() {
    let broker = start();
    let smallest = smallest_size(&broker);
    for size in smallest..smallest + 30 {
        println!("at most {size} bytes");
        let connect =
            Connect::new(Version::V5, "client").property(Property::maximum_packet_size(size));
        provoke_every_answer(&broker, &connect);
    }
}

/// [MQTT-3.1.2-29]
#[test]
fn no_answer_has_problem_information_that_was_not_requested() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::request_problem_information(0));
    provoke_every_answer(&broker, &connect);
}

/// A message's User Properties are no problem information.
/// [MQTT-3.1.2-29] [MQTT-3.3.2-17]
#[test]
fn messages_keep_their_user_properties_without_problem_information() {
    let broker = start();
    let connect =
        Connect::new(Version::V5, "client").property(Property::request_problem_information(0));
    let mut peer = broker.connect(connect);
    peer.subscribe("t", 0);
    peer.send(Publish::new("t", "x").property(Property::user("a", "1")));
    assert_eq!(peer.expect_publish().properties.user(), [("a", "1")]);
}
