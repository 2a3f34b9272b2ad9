//! `$keys`: the keys of a bucket in their order, a part at a time.

use nexum_extension_api::json::{OptionsError, number, object, unknown_key};
use nexum_extension_api::{Command, CommandId, ErrorCode, Input, RecordKey, Refusal, Reply};
use nexum_types::Time;
use serde_json::{Value, json};

use crate::buckets::{Buckets, Reading, Records, Span};
use crate::entry::Entry;
use crate::operation::Shelf;
use crate::record::{Key, behind};

/// A list ends where so many bytes of entries were read.
const MOST_READ: usize = 16 << 20;

/// So many records are read at once.
const PAGE: usize = 1000;

/// A list that is being made.
#[derive(Debug)]
pub(crate) struct Listing {
    command: CommandId,
    shelf: Shelf,
    to: RecordKey,
    limit: usize,
    keys: Vec<String>,
    bytes: usize,
}

struct Wish {
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl Buckets {
    pub(crate) fn list(&mut self, command: Command) -> Result<(), Refusal> {
        let options = command.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        let address = &command.address;
        if address.has_levels() || !address.arguments().is_empty() {
            return Err(Refusal::new(
                ErrorCode::BadAddress,
                "$keys follows the name of the bucket, and nothing follows it",
            ));
        }
        let wish = wish(command.message.payload());
        let wish = wish.map_err(|error| Refusal::new(ErrorCode::BadPayload, error.to_string()))?;
        let name = address.name();
        let bucket = self.names.get(name).and_then(|id| self.buckets.get(id));
        let Some(bucket) = bucket else {
            let name: Box<str> = Box::from(name);
            return self.wait_if_forming(&name, Input::Command(command));
        };
        let prefix = Key::Entry(bucket.id, &wish.prefix).encode();
        let after = wish.after.map(|after| {
            let mut after = Key::Entry(bucket.id, &after).encode().to_vec();
            after.push(0);
            RecordKey::from(&*after)
        });
        let to = behind(&prefix);
        let from = after.map_or(prefix.clone(), |after| after.max(prefix));
        let listing = Listing {
            command: command.id,
            shelf: bucket.shelf(),
            to,
            limit: wish.limit,
            keys: Vec::new(),
            bytes: 0,
        };
        self.list_on(listing, from);
        Ok(())
    }

    fn list_on(&mut self, listing: Listing, from: RecordKey) {
        let span = Span {
            from,
            to: listing.to.clone(),
            records: PAGE,
        };
        let shelf = listing.shelf;
        self.scan(shelf, span, Reading::List(Box::new(listing)));
    }

    /// A part of it was read.
    pub(crate) fn list_found(&mut self, mut listing: Listing, found: Records, now: Time) {
        let mut is_cut = false;
        for (record, value) in &found.records {
            listing.bytes += record.len() + value.len();
            let Ok(Key::Entry(_, key)) = Key::decode(record) else {
                continue;
            };
            // Any topic does.
            if Entry::decode(value, "$kv").is_ok_and(|entry| !entry.is_due(now)) {
                if listing.keys.len() == listing.limit {
                    is_cut = true;
                    break;
                }
                listing.keys.push(key.to_owned());
            }
        }
        match found.next {
            Some(next) if !is_cut && listing.bytes < MOST_READ => self.list_on(listing, next),
            next => {
                // Behind what was listed, or at least looked at.
                let next = match (is_cut, next) {
                    (true, _) => listing.keys.last().cloned(),
                    (false, Some(_)) => last_key(&found.records),
                    (false, None) => None,
                };
                let mut shown = json!({ "keys": listing.keys });
                if let (Some(next), Value::Object(shown)) = (next, &mut shown) {
                    shown.insert("next".to_owned(), next.into());
                }
                let reply = Reply {
                    payload: shown.to_string().into_bytes(),
                    properties: Vec::new(),
                };
                self.reply(listing.command, reply);
            }
        }
    }
}

fn last_key(records: &[(RecordKey, Box<[u8]>)]) -> Option<String> {
    let (record, _) = records.last()?;
    match Key::decode(record) {
        Ok(Key::Entry(_, key)) => Some(key.to_owned()),
        Ok(_) | Err(_) => None,
    }
}

fn wish(payload: &[u8]) -> Result<Wish, OptionsError> {
    let mut wish = Wish {
        prefix: String::new(),
        after: None,
        limit: 1000,
    };
    let text = |key, value: &Value| {
        let text = value.as_str().filter(|text| text.len() <= 1024);
        text.map(str::to_owned)
            .ok_or_else(|| OptionsError::expected(key, "text of at most 1024 bytes"))
    };
    for (key, value) in &object(payload)? {
        match key.as_str() {
            "prefix" => wish.prefix = text("prefix", value)?,
            "after" => wish.after = Some(text("after", value)?),
            "limit" => wish.limit = number("limit", value, 1, 10_000)? as usize,
            unknown => return Err(unknown_key("", unknown, &["prefix", "limit", "after"])),
        }
    }
    Ok(wish)
}
