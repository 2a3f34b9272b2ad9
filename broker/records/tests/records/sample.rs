//! Records to test with.

use std::sync::Arc;

use nexum_core::{
    Change, Content, DeliveryRecord, ExchangeRecord, Key, MessageId, SessionId, SessionRecord,
    SubscriptionIdentifierList, SubscriptionRecord, Value, Will,
};
use nexum_types::{Message, MessageParts, PacketIdentifier, QoS, Time, TopicName};

pub(crate) fn packet_identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("the tests use no zero")
}

pub(crate) fn message(topic: &str, payload: &[u8], published_at: u64) -> Arc<Message> {
    Arc::new(Message::new(MessageParts {
        topic: TopicName::new(topic).expect("it is one"),
        properties: b"",
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        published_at: Time::from_micros(published_at),
        expires_at: None,
    }))
}

pub(crate) fn session(id: u64, client_id: &str) -> Change {
    session_that_expires(id, client_id, 3600)
}

pub(crate) fn session_that_expires(id: u64, client_id: &str, seconds: u32) -> Change {
    Change::Put(
        Key::Session(SessionId(id)),
        Value::Session(SessionRecord {
            client_id: Arc::from(client_id),
            expiry_interval_seconds: seconds,
            disconnected_at: None,
        }),
    )
}

pub(crate) fn subscription(session: u64, filter: &str) -> Change {
    Change::Put(
        Key::Subscription(SessionId(session), Arc::from(filter)),
        Value::Subscription(SubscriptionRecord {
            maximum_qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        }),
    )
}

pub(crate) fn will(session: u64) -> Change {
    Change::Put(
        Key::Will(SessionId(session)),
        Value::Will(Arc::new(Will {
            topic: Box::from("gone"),
            properties: Box::from(&b""[..]),
            payload: Box::from(&b"?"[..]),
            qos: QoS::AtMostOnce,
            retain: true,
            delay_interval_seconds: 5,
            message_expiry_interval_seconds: None,
        })),
    )
}

pub(crate) fn delivery(session: u64, position: u64, content: Content) -> Change {
    Change::Put(
        Key::Delivery(SessionId(session), position),
        Value::Delivery(DeliveryRecord {
            content,
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_identifiers: SubscriptionIdentifierList::new(),
            group: None,
            packet_identifier: None,
        }),
    )
}

pub(crate) fn inline(session: u64, position: u64, payload: &[u8]) -> Change {
    delivery(session, position, Content::Inline(message("t", payload, 1)))
}

pub(crate) fn shared(session: u64, position: u64, id: u64) -> Change {
    let content = Content::Shared {
        id: MessageId(id),
        size_bytes: 3,
    };
    delivery(session, position, content)
}

pub(crate) fn exchange(session: u64, identifier: u16, position: u64) -> Change {
    Change::Put(
        Key::Exchange(SessionId(session), packet_identifier(identifier)),
        Value::Exchange(ExchangeRecord {
            position,
            released: false,
        }),
    )
}

pub(crate) fn received(session: u64, identifier: u16) -> Change {
    Change::Put(
        Key::Received(SessionId(session), packet_identifier(identifier)),
        Value::Received,
    )
}

pub(crate) fn shared_message(id: u64) -> Change {
    let message = message("t", b"ab", 1);
    Change::Put(Key::Message(MessageId(id)), Value::Message(message))
}

pub(crate) fn waiting(group: &str, position: u64, id: u64) -> Change {
    Change::Put(
        Key::Waiting(Arc::from(group), position),
        Value::Waiting(MessageId(id)),
    )
}

pub(crate) fn retained(topic: &str, published_at: u64) -> Change {
    Change::Put(
        Key::Retained(Arc::from(topic)),
        Value::Retained(message(topic, b"r", published_at)),
    )
}
