//! What one client may make the broker hold.

use nexum_codec::{Filters, Unsubscribe};

use super::*;
use crate::Limits;

fn suback(reason_codes: &[ReasonCode]) -> Received {
    Received::SubAck(reason_codes.to_vec())
}

#[test]
fn filters_have_so_many_bytes_together_in_a_session() {
    for shards in [1, 3] {
        let limits = Limits {
            maximum_subscription_bytes_per_session: 12,
            ..Limits::default()
        };
        let mut broker = Broker::new(shards, limits);
        let client = broker.admit(connect("c"));
        let (granted, refused) = (ReasonCode::Success, ReasonCode::QuotaExceeded);
        let filters = [
            ("123456", granted),
            ("$share/g/1234", granted),
            ("1", refused),
        ];
        for (filter, expected) in filters {
            broker.send(client, subscribe(&[request(filter, QoS::AtMostOnce)]));
            assert_eq!(broker.take(client), [suback(&[expected])], "{filter}");
        }
        // Again is not more.
        broker.send(client, subscribe(&[request("123456", QoS::AtMostOnce)]));
        assert_eq!(broker.take(client), [suback(&[granted])]);
        for filter in ["123456", "$share/g/1234"] {
            broker.send(
                client,
                Packet::Unsubscribe(Unsubscribe {
                    packet_identifier: id(2),
                    user_properties: UserProperties::EMPTY,
                    filters: Filters::from_slice(&[filter]),
                }),
            );
        }
        broker.take(client);
        broker.send(
            client,
            subscribe(&[request("123456789012", QoS::AtMostOnce)]),
        );
        assert_eq!(broker.take(client), [suback(&[granted])]);
    }
}

#[test]
fn many_who_do_not_read_have_little_each() {
    const MIB: usize = 1024 * 1024;
    let limits = Limits {
        total_outbound_bytes: 4 * MIB as u64,
        backpressure_milliseconds: 0,
        ..Limits::default()
    };
    let mut broker = Broker::new(1, limits);
    let reader = broker.admit(connect("reader"));
    broker.send(reader, subscribe(&[request("t", QoS::AtMostOnce)]));
    let names: Vec<String> = (0..100).map(|n| format!("stuck{n}")).collect();
    let stuck: Vec<usize> = names
        .iter()
        .map(|name| {
            let client = broker.admit(connect(name));
            broker.send(client, subscribe(&[request("t", QoS::AtMostOnce)]));
            broker.stop_reading(client);
            client
        })
        .collect();
    let publisher = broker.admit(connect("publisher"));
    broker.take(reader);
    for _ in 0..2000 {
        let message = publish("t", &[b'x'; 1000], None);
        broker.send(publisher, Packet::Publish(message));
    }
    let waiting: usize = stuck
        .iter()
        .map(|client| broker.waiting_bytes(*client))
        .sum();
    assert!(waiting <= 100 * 66 * 1024, "{waiting}");
    assert_eq!(broker.take_payloads(reader).len(), 2000);
    for client in stuck {
        broker.lose(client);
    }
    broker.lose(publisher);
    assert_eq!(broker.shards[0].pool.lent(), 0);
}
