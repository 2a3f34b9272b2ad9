use nexum_core::{Change, Key, Value};
use nexum_storage::Changes;

use crate::key;
use crate::record::{delivery, exchange, message, received, session, subscription, waiting, will};

/// Makes bytes of changes. It keeps the memory it does so in, so that one encoder used again and
/// again allocates nothing.
#[derive(Debug, Default)]
pub struct Encoder {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Encoder {
    /// With no memory yet.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Appends changes, in their order.
    ///
    /// # Panics
    /// A value is under a key of another kind, or a part of one has 4 GiB or more.
    pub fn encode(&mut self, changes: &[Change], out: &mut Changes) {
        for change in changes {
            self.key.clear();
            let table = key::write(change.key(), &mut self.key);
            match change {
                Change::Delete(_) => out.delete(table, &self.key),
                Change::Put(key, value) => {
                    self.value.clear();
                    match self.write_value(key, value) {
                        Write::Put => out.put(table, &self.key, &self.value),
                        Write::Insert => out.insert(table, &self.key, &self.value),
                    }
                }
            }
        }
    }

    fn write_value(&mut self, key: &Key, value: &Value) -> Write {
        let out = &mut self.value;
        match (key, value) {
            (Key::Session(_), Value::Session(record)) => session::write(record, out),
            (Key::Subscription(..), Value::Subscription(record)) => {
                subscription::write(record, out);
            }
            (Key::Will(_), Value::Will(will)) => will::write(will, out),
            (Key::Delivery(..), Value::Delivery(record)) => {
                delivery::write(record, out);
                return Write::Insert;
            }
            (Key::Exchange(..), Value::Exchange(record)) => exchange::write(*record, out),
            (Key::Received(..), Value::Received) => received::write(out),
            (Key::Message(_), Value::Message(message)) => {
                message::write(message, out);
                return Write::Insert;
            }
            (Key::Waiting(..), Value::Waiting(message)) => {
                waiting::write(*message, out);
                return Write::Insert;
            }
            (Key::Retained(topic), Value::Retained(message)) => {
                debug_assert_eq!(message.parts().topic.as_str(), &**topic);
                message::write_retained(message, out);
            }
            (Key::Extension(..), Value::Extension(value)) => out.extend_from_slice(value),
            (key, _) => panic!("the value under {key:?} is of another kind"),
        }
        Write::Put
    }
}

/// How a value gets under its key.
enum Write {
    /// In the place of the one before, if there was one.
    Put,
    /// As the only one the key ever has: nothing has to be looked for below it when it is deleted.
    Insert,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nexum_core::{Content, DeliveryRecord, MessageId, SessionId, SubscriptionIdentifierList};
    use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

    use super::*;

    fn delivery(position: u64) -> Change {
        let message = Message::new(MessageParts {
            topic: TopicName::new("some/topic").expect("it is one"),
            properties: &[],
            payload: &[7; 256],
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: Time::ZERO,
            expires_at: None,
        });
        Change::Put(
            Key::Delivery(SessionId(1), position),
            Value::Delivery(DeliveryRecord {
                content: Content::Inline(Arc::new(message)),
                qos: QoS::AtLeastOnce,
                retain: false,
                subscription_identifiers: SubscriptionIdentifierList::new(),
                group: None,
                packet_identifier: None,
            }),
        )
    }

    #[test]
    fn memory_is_used_again() {
        let mut encoder = Encoder::new();
        let mut out = Changes::new();
        encoder.encode(&[delivery(0)], &mut out);
        let memory = |encoder: &Encoder| (encoder.key.as_ptr(), encoder.value.as_ptr());
        let before = memory(&encoder);
        for position in 1..100 {
            out.clear();
            encoder.encode(&[delivery(position)], &mut out);
        }
        assert_eq!(memory(&encoder), before);
    }

    #[test]
    fn a_delivery_costs_33_bytes_beside_topic_and_payload() {
        let mut encoder = Encoder::new();
        encoder.encode(&[delivery(0)], &mut Changes::new());
        assert_eq!(encoder.key.len() + encoder.value.len(), 33 + 10 + 256);
    }

    #[test]
    #[should_panic(expected = "is of another kind")]
    fn a_value_under_a_key_of_another_kind_is_a_bug() {
        let change = Change::Put(Key::Message(MessageId(1)), Value::Received);
        Encoder::new().encode(&[change], &mut Changes::new());
    }
}
