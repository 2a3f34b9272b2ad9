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
