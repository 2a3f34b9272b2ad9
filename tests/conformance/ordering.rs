//! Message ordering (section 4.6 of both specifications).

use nexum_harness::{Connect, Publish, Version, puback, pubcomp, pubrec};

use crate::scene::{each_version, text};

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn messages_of_one_publisher_topic_and_qos_stay_in_order() {
    each_version(|broker, version| {
        let mut subscribers: Vec<_> = ["t", "+", "#"]
            .iter()
            .map(|filter| {
                let mut peer = broker.client(version, &format!("subscriber {filter}"));
                peer.subscribe(filter, 2);
                peer
            })
            .collect();
        let mut publisher = broker.client(version, "publisher");
        for qos in 0..=2 {
            for number in 1..=100_u16 {
                publisher.publish(Publish::new("t", &number.to_string()).qos(qos, number));
            }
            for subscriber in &mut subscribers {
                for number in 1..=100 {
                    let message = subscriber.expect_message();
                    assert_eq!(
                        (text(&message), message.qos),
                        (number.to_string().as_str(), qos)
                    );
                }
            }
        }
    });
}

/// The publisher does not wait for the acknowledgements, the subscriber does not send any.
/// [MQTT-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn order_does_not_depend_on_acknowledgements() {
    each_version(|broker, version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=50_u16 {
            publisher.send(Publish::new("t", &number.to_string()).qos1(number));
        }
        let came: Vec<_> = (1..=50).map(|_| subscriber.expect_publish()).collect();
        for (message, number) in came.iter().zip(1_u16..) {
            assert_eq!(text(message), number.to_string());
        }
        for message in came.iter().rev() {
            subscriber.send(puback(message.packet_identifier));
        }
        for number in 1..=50 {
            publisher.expect_puback(number);
        }
    });
}

/// What waited in the session comes before what is new.
/// [MQTT-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn queued_messages_come_before_new_ones() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "subscriber").persistent();
        let mut subscriber = broker.connect(persistent.clone());
        subscriber.subscribe("t", 2);
        subscriber.disconnect();
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=50_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos2(number));
        }
        let mut subscriber = broker.connect(persistent.resume());
        for number in 51..=100_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos2(number));
        }
        for number in 1..=100 {
            assert_eq!(text(&subscriber.expect_message()), number.to_string());
        }
    });
}

/// PUBREL packets follow the order of their PUBREC packets; what is resent, that of its first
/// sending.
/// [MQTT3-4.6.0-1] [MQTT3-4.6.0-4] [MQTT3-4.6.0-6] [MQTT-4.4.0-1]
#[test]
fn resent_qos_2_packets_keep_their_order() {
    each_version(|broker, version| {
        let persistent = Connect::new(version, "subscriber").persistent();
        let mut subscriber = broker.connect(persistent.clone());
        subscriber.subscribe("t", 2);
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=6_u16 {
            publisher.publish(Publish::new("t", &number.to_string()).qos2(number));
        }
        let came: Vec<_> = (0..6).map(|_| subscriber.expect_publish()).collect();
        for message in [&came[2], &came[0]] {
            subscriber.send(pubrec(message.packet_identifier));
        }
        for message in [&came[2], &came[0]] {
            subscriber.expect_pubrel(message.packet_identifier);
        }
        subscriber.cut();

        let mut subscriber = broker.connect(persistent.resume());
        let (mut released, mut published) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            match subscriber.recv() {
                nexum_harness::Packet::Pubrel(ack) => released.push(ack.packet_identifier),
                nexum_harness::Packet::Publish(publish) => {
                    assert!(publish.duplicate);
                    published.push(publish.packet_identifier);
                }
                other => panic!("neither PUBREL nor PUBLISH: {other:?}"),
            }
        }
        assert_eq!(
            published,
            [1, 3, 4, 5].map(|index| came[index].packet_identifier)
        );
        released.sort_unstable();
        let mut expected = [2, 0].map(|index| came[index].packet_identifier);
        expected.sort_unstable();
        assert_eq!(released, expected);
        for identifier in released {
            subscriber.send(pubcomp(identifier));
        }
        for identifier in published {
            subscriber.send(pubrec(identifier));
            subscriber.expect_pubrel(identifier);
            subscriber.send(pubcomp(identifier));
        }
        subscriber.expect_ping();
    });
}

/// The broker answers a publisher in the order of its packets.
/// [MQTT3-4.6.0-2] [MQTT3-4.6.0-3] [MQTT-4.6.0-2] [MQTT-4.6.0-3]
#[test]
fn acknowledgements_follow_the_order_of_the_messages() {
    each_version(|broker, version| {
        let mut publisher = broker.client(version, "publisher");
        for number in 1..=50 {
            publisher.send(Publish::new("t", "x").qos1(number));
        }
        for number in 1..=50 {
            publisher.expect_puback(number);
        }
        for number in 1..=50 {
            publisher.send(Publish::new("t", "x").qos2(number));
        }
        for number in 1..=50 {
            publisher.expect_pubrec(number);
        }
    });
}

/// Two publishers, one topic: each one's messages keep their order.
/// [MQTT-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn each_publisher_has_an_order_of_its_own() {
    each_version(|broker, version: Version| {
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe("t", 1);
        let mut publishers = [broker.client(version, "a"), broker.client(version, "b")];
        for number in 1..=50_u16 {
            for (publisher, name) in publishers.iter_mut().zip(["a", "b"]) {
                publisher.send(Publish::new("t", &format!("{name}{number}")).qos1(number));
            }
        }
        let mut next = [1, 1];
        for _ in 0..100 {
            let message = subscriber.expect_message();
            let (name, number) = text(&message).split_at(1);
            let expected = &mut next[usize::from(name == "b")];
            assert_eq!(number, expected.to_string(), "of {name}");
            *expected += 1;
        }
        assert_eq!(next, [51, 51]);
    });
}
