//! `$history`: the values that a key had.

use nexum_extension_api::json::show_payload;
use nexum_extension_api::{CommandId, Reply};
use serde_json::{Map, Value};

use crate::buckets::{Buckets, Reading};
use crate::entry::Entry;
use crate::operation::{Operation, Origin};
use crate::record::Key;

/// What is shown at once has about so many bytes of payload.
const MOST_SHOWN: usize = 1 << 20;

/// What is to be shown, the newest first.
#[derive(Debug)]
pub(crate) struct Shown {
    values: Vec<Value>,
    bytes: usize,
}

impl Shown {
    /// Returns whether there was room.
    fn push(&mut self, entry: &Entry) -> bool {
        let payload = entry.message.payload();
        self.bytes += payload.len();
        if self.bytes > MOST_SHOWN && !self.values.is_empty() {
            return false;
        }
        let mut shown = Map::new();
        shown.insert("rev".to_owned(), entry.revision.into());
        let at = entry.message.published_at().as_micros() / 1000;
        shown.insert("ts".to_owned(), at.into());
        show_payload(payload, &mut shown);
        self.values.push(Value::Object(shown));
        true
    }
}

impl Buckets {
    pub(crate) fn show_history(&mut self, operation: &Operation, entry: &Entry) {
        let Origin::Command(command) = operation.origin else {
            return;
        };
        let mut shown = Shown {
            values: Vec::new(),
            bytes: 0,
        };
        shown.push(entry);
        let shelf = self.buckets.get(&operation.bucket).map(|it| it.shelf());
        let Some(shelf) = shelf.filter(|_| !entry.former.is_empty()) else {
            return self.history_read(command, shown, &[]);
        };
        let row = |revision| Key::Former(operation.bucket, &operation.key, revision).encode();
        let revisions = entry.former.iter().rev();
        let keys = revisions.map(|revision| row(*revision)).collect();
        let reading = Reading::History(command, Box::new(shown));
        self.read(shelf, keys, reading);
    }

    /// Former values were read.
    pub(crate) fn history_read(
        &mut self,
        command: CommandId,
        mut shown: Shown,
        values: &[Option<Box<[u8]>>],
    ) {
        for value in values {
            // One that is damaged is left out. Any topic does.
            let entry = value.as_deref().map(|value| Entry::decode(value, "$kv"));
            if let Some(Ok(entry)) = entry
                && !shown.push(&entry)
            {
                break;
            }
        }
        let reply = Reply {
            payload: Value::Array(shown.values).to_string().into_bytes(),
            properties: Vec::new(),
        };
        self.reply(command, reply);
    }
}
