//! Shared subscriptions (MQTT 5 section 4.8.2).

use super::*;
use crate::Limits;

#[test]
fn what_waits_in_a_group_goes_to_a_member_as_soon_as_it_has_room() {
    for shards in [1, 3] {
        let mut broker = Broker::new(shards, Limits::default());
        let mut packet = connect_to_stay("member");
        packet.properties.receive_maximum = receive_maximum(1);
        let member = broker.admit(packet);
        let requests = [
            request("$share/g/t", QoS::AtLeastOnce),
            request("plain", QoS::AtLeastOnce),
        ];
        broker.send(member, subscribe(&requests));
        let publisher = broker.admit(connect("publisher"));
        broker.send(
            publisher,
            Packet::Publish(publish("plain", b"plain", Some(id(1)))),
        );
        broker.lose(member);
        for (n, payload) in [(2, b"one"), (3, b"two")] {
            broker.send(
                publisher,
                Packet::Publish(publish("t", payload, Some(id(n)))),
            );
        }
        let member = broker.connect(packet);
        assert_eq!(
            broker.acknowledge_all(member),
            [&b"plain"[..], b"one", b"two"]
        );
    }
}
