//! The bytes, written out by hand as FORMAT.md draws them. Whoever has to change them here changes
//! the format: what was written before has to be read all the same.

use std::sync::Arc;

use nexum_core::{
    Change, Content, DeliveryRecord, ExchangeRecord, Key, MessageId, Restored, SessionId,
    SessionRecord, SubscriptionIdentifierList, SubscriptionRecord, Value, Will,
};
use nexum_records::{Encoder, Meta, read_message, tables};
use nexum_storage::{Changes, TableId};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::sample::packet_identifier;
use crate::world::{Entry, World, words};

const SESSION: SessionId = SessionId(258);
const MESSAGE: MessageId = MessageId(258);

struct Golden {
    change: Change,
    table: TableId,
    key: &'static str,
    value: &'static str,
    restored: Restored,
}

impl Golden {
    fn entry(&self) -> Entry {
        (self.table, bytes(self.key), bytes(self.value))
    }
}

/// Bytes of hexadecimal digits; blanks are for the reader.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

fn message(parts: MessageParts<'static>) -> Arc<Message> {
    Arc::new(Message::new(parts))
}

fn topic() -> TopicName<'static> {
    TopicName::new("a/b").expect("it is one")
}

fn inline_parts() -> MessageParts<'static> {
    MessageParts {
        topic: topic(),
        properties: &[1, 1],
        payload: b"hi",
        qos: QoS::ExactlyOnce,
        retain: true,
        published_at: Time::from_micros(16),
        expires_at: Some(Time::from_micros(32)),
    }
}

fn shared_parts() -> MessageParts<'static> {
    MessageParts {
        topic: topic(),
        properties: &[],
        payload: b"abc",
        qos: QoS::AtLeastOnce,
        retain: false,
        published_at: Time::from_micros(16),
        expires_at: None,
    }
}

fn retained_parts() -> MessageParts<'static> {
    MessageParts {
        payload: b"on",
        retain: true,
        published_at: Time::from_micros(17),
        ..shared_parts()
    }
}

fn session() -> Golden {
    let record = SessionRecord {
        client_id: Arc::from("c1"),
        expiry_interval_seconds: 3600,
        disconnected_at: Some(Time::from_micros(1_000_000)),
    };
    Golden {
        change: Change::Put(Key::Session(SESSION), Value::Session(record.clone())),
        table: TableId(2),
        key: "0000000000000102",
        value: "01 01 100e0000 40420f0000000000 6331",
        restored: Restored::Session(SESSION, record),
    }
}

fn connected_session() -> Golden {
    let record = SessionRecord {
        client_id: Arc::from("c2"),
        expiry_interval_seconds: u32::MAX,
        disconnected_at: None,
    };
    let id = SessionId(259);
    Golden {
        change: Change::Put(Key::Session(id), Value::Session(record.clone())),
        table: TableId(2),
        key: "0000000000000103",
        value: "01 00 ffffffff 6332",
        restored: Restored::Session(id, record),
    }
}

fn subscription() -> Golden {
    let record = SubscriptionRecord {
        maximum_qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        identifier: Some(300),
    };
    let filter = Arc::from("a/+");
    Golden {
        change: Change::Put(
            Key::Subscription(SESSION, Arc::clone(&filter)),
            Value::Subscription(record),
        ),
        table: TableId(3),
        key: "0000000000000102 612f2b",
        value: "01 1d 2c010000",
        restored: Restored::Subscription(SESSION, filter, record),
    }
}

fn will() -> Golden {
    let will = Will {
        topic: Box::from("w"),
        properties: Box::from([1, 1]),
        payload: Box::from(*b"bye"),
        qos: QoS::ExactlyOnce,
        retain: true,
        delay_interval_seconds: 5,
        message_expiry_interval_seconds: Some(60),
    };
    Golden {
        change: Change::Put(Key::Will(SESSION), Value::Will(Arc::new(will.clone()))),
        table: TableId(4),
        key: "0000000000000102",
        value: "01 0e 05000000 3c000000 01000000 02000000 77 0101 627965",
        restored: Restored::Will(SESSION, will),
    }
}

fn inline_delivery() -> Golden {
    let identifiers: SubscriptionIdentifierList = [3, 4].into_iter().collect();
    let group = Some(Arc::from("g/a"));
    let record = DeliveryRecord {
        content: Content::Inline(message(inline_parts())),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_identifiers: identifiers.clone(),
        group: group.clone(),
        packet_identifier: Some(packet_identifier(9)),
    };
    Golden {
        change: Change::Put(Key::Delivery(SESSION, 7), Value::Delivery(record)),
        table: TableId(5),
        key: "0000000000000102 0000000000000007",
        value: "01 71 0900 02000000 03000000 04000000 03000000 672f61 \
                0e 1000000000000000 2000000000000000 0300 02000000 612f62 0101 6869",
        restored: Restored::Delivery {
            session: SESSION,
            position: 7,
            shared: None,
            size_bytes: 7,
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_identifiers: identifiers,
            group,
            packet_identifier: Some(packet_identifier(9)),
        },
    }
}

fn shared_delivery() -> Golden {
    let record = DeliveryRecord {
        content: Content::Shared {
            id: MESSAGE,
            size_bytes: 6,
        },
        qos: QoS::AtMostOnce,
        retain: true,
        subscription_identifiers: SubscriptionIdentifierList::new(),
        group: None,
        packet_identifier: None,
    };
    Golden {
        change: Change::Put(Key::Delivery(SESSION, 8), Value::Delivery(record)),
        table: TableId(5),
        key: "0000000000000102 0000000000000008",
        value: "01 0c 0201000000000000 06000000",
        restored: Restored::Delivery {
            session: SESSION,
            position: 8,
            shared: Some(MESSAGE),
            size_bytes: 6,
            qos: QoS::AtMostOnce,
            retain: true,
            subscription_identifiers: SubscriptionIdentifierList::new(),
            group: None,
            packet_identifier: None,
        },
    }
}

fn exchange() -> Golden {
    let record = ExchangeRecord {
        position: 7,
        released: true,
    };
    Golden {
        change: Change::Put(
            Key::Exchange(SESSION, packet_identifier(9)),
            Value::Exchange(record),
        ),
        table: TableId(6),
        key: "0000000000000102 0009",
        value: "01 01 0700000000000000",
        restored: Restored::Exchange(SESSION, packet_identifier(9), record),
    }
}

fn received() -> Golden {
    Golden {
        change: Change::Put(
            Key::Received(SESSION, packet_identifier(256)),
            Value::Received,
        ),
        table: TableId(7),
        key: "0000000000000102 0100",
        value: "01",
        restored: Restored::Received(SESSION, packet_identifier(256)),
    }
}

fn waiting() -> Golden {
    let group = Arc::from("g/a");
    Golden {
        change: Change::Put(Key::Waiting(Arc::clone(&group), 5), Value::Waiting(MESSAGE)),
        table: TableId(8),
        key: "672f61 00 0000000000000005",
        value: "01 0201000000000000",
        restored: Restored::Waiting {
            group,
            position: 5,
            message: MESSAGE,
            size_bytes: 6,
        },
    }
}

fn shared_message() -> Golden {
    Golden {
        change: Change::Put(
            Key::Message(MESSAGE),
            Value::Message(message(shared_parts())),
        ),
        table: TableId(9),
        key: "0000000000000102",
        value: "01 01 1000000000000000 0300 00000000 612f62 616263",
        restored: Restored::Message(MESSAGE, 2),
    }
}

fn retained() -> Golden {
    let message = message(retained_parts());
    Golden {
        change: Change::Put(
            Key::Retained(Arc::from("a/b")),
            Value::Retained(Arc::clone(&message)),
        ),
        table: TableId(10),
        key: "612f62",
        value: "01 05 1100000000000000 0000 00000000 6f6e",
        restored: Restored::Retained(message),
    }
}

/// In the order in which they come back.
fn all() -> [Golden; 11] {
    [
        session(),
        connected_session(),
        subscription(),
        will(),
        inline_delivery(),
        shared_delivery(),
        exchange(),
        received(),
        waiting(),
        shared_message(),
        retained(),
    ]
}

#[test]
fn every_kind_is_written_as_it_is_drawn() {
    for golden in all() {
        let world = World::with(std::slice::from_ref(&golden.change));
        assert_eq!(world.entries(), [golden.entry()], "{:?}", golden.change);
    }
}

/// Deliveries, waiting and shared messages never have a value before.
#[test]
fn what_is_new_is_inserted_and_what_may_be_there_is_put() {
    for golden in all() {
        let (table, key, value) = golden.entry();
        let mut expected = Changes::new();
        match table {
            tables::DELIVERIES | tables::WAITING | tables::MESSAGES => {
                expected.insert(table, &key, &value);
            }
            _ => expected.put(table, &key, &value),
        }
        expected.delete(table, &key);
        let delete = Change::Delete(golden.change.key().clone());
        let mut changes = Changes::new();
        Encoder::new().encode(&[golden.change, delete], &mut changes);
        assert_eq!(changes, expected);
    }
}

#[test]
fn every_kind_comes_back_from_the_bytes_drawn() {
    let entries = all().map(|golden| golden.entry());
    let world = World::with_entries(&entries).crash();
    let expected = all().map(|golden| words(&golden.restored));
    assert_eq!(world.restored(), expected);
    let (_, recovered) = world.recover();
    assert!(recovered.garbage.is_empty());
    assert_eq!(recovered.next_session_id, 260);
    assert_eq!(recovered.next_message_id, 259);
    assert_eq!(recovered.latest, Time::from_micros(1_000_000));
}

#[test]
fn messages_come_back_from_the_bytes_drawn() {
    let entries = all().map(|golden| golden.entry());
    let world = World::with_entries(&entries);
    let check = |key: Key, expected: MessageParts<'_>| {
        let message = read_message(&world.store.view(), &key).expect("it can be read");
        assert_eq!(message.as_ref().map(Message::parts), Some(expected));
    };
    check(Key::Delivery(SESSION, 7), inline_parts());
    check(Key::Delivery(SESSION, 8), shared_parts());
    check(Key::Message(MESSAGE), shared_parts());
    check(Key::Retained(Arc::from("a/b")), retained_parts());
}

#[test]
fn meta_is_written_as_it_is_drawn() {
    let (key, value) = (bytes("7265636f726473"), bytes("01000000 2a00000000000000"));
    let mut world = World::new();
    Meta::open(&mut world.store, 42).expect("it is new");
    {
        let view = world.store.view();
        let found = view.get(tables::META, &key).expect("it can be read");
        assert_eq!(found.as_deref(), Some(&*value));
    }
    assert_eq!(tables::META, TableId(1));
}

#[test]
fn keys_are_deleted_where_they_were_put() {
    for golden in all() {
        let mut world = World::with(std::slice::from_ref(&golden.change));
        world.checkpoint();
        world.change(&[Change::Delete(golden.change.key().clone())]);
        assert_eq!(world.entries(), []);
    }
}
