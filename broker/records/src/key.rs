//! Keys as bytes. Integers are big-endian, so that the order of the bytes is that of the numbers:
//! what a session has lies together, and its deliveries in the order of their positions.

use std::fmt::Write;

use nexum_core::{Key, MessageId, SessionId};
use nexum_storage::TableId;
use nexum_types::PacketIdentifier;

use crate::fields::{Fields, Unreadable, text};
use crate::tables;

/// Ends the name of a group; U+0000 is in no string of MQTT [MQTT-1.5.4-2].
const SEPARATOR: u8 = 0;

/// Appends the bytes of a key, and tells its table.
pub(crate) fn write(key: &Key, out: &mut Vec<u8>) -> TableId {
    match key {
        Key::Session(session) => {
            push(out, session.0);
            tables::SESSIONS
        }
        Key::Subscription(session, filter) => {
            push(out, session.0);
            out.extend_from_slice(filter.as_bytes());
            tables::SUBSCRIPTIONS
        }
        Key::Will(session) => {
            push(out, session.0);
            tables::WILLS
        }
        Key::Delivery(session, position) => {
            push(out, session.0);
            push(out, *position);
            tables::DELIVERIES
        }
        Key::Exchange(session, identifier) => {
            push(out, session.0);
            out.extend_from_slice(&identifier.value().to_be_bytes());
            tables::EXCHANGES
        }
        Key::Received(session, identifier) => {
            push(out, session.0);
            out.extend_from_slice(&identifier.value().to_be_bytes());
            tables::RECEIVED
        }
        Key::Message(message) => {
            push(out, message.0);
            tables::MESSAGES
        }
        Key::Waiting(group, position) => {
            out.extend_from_slice(group.as_bytes());
            out.push(SEPARATOR);
            push(out, *position);
            tables::WAITING
        }
        Key::Retained(topic) => {
            out.extend_from_slice(topic.as_bytes());
            tables::RETAINED
        }
        Key::Extension(table, key) => {
            out.extend_from_slice(key);
            TableId(*table)
        }
    }
}

fn push(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Of a session, or of its will.
pub(crate) fn session(key: &[u8]) -> Result<SessionId, Unreadable> {
    let mut fields = Fields::of_key(key);
    let session = fields.big_u64()?;
    fields.end()?;
    Ok(SessionId(session))
}

pub(crate) fn subscription(key: &[u8]) -> Result<(SessionId, &str), Unreadable> {
    let mut fields = Fields::of_key(key);
    let session = fields.big_u64()?;
    Ok((SessionId(session), text(fields.rest())?))
}

pub(crate) fn delivery(key: &[u8]) -> Result<(SessionId, u64), Unreadable> {
    let mut fields = Fields::of_key(key);
    let (session, position) = (fields.big_u64()?, fields.big_u64()?);
    fields.end()?;
    Ok((SessionId(session), position))
}

/// Of an exchange, or of a publication received.
pub(crate) fn exchange(key: &[u8]) -> Result<(SessionId, PacketIdentifier), Unreadable> {
    let mut fields = Fields::of_key(key);
    let (session, identifier) = (fields.big_u64()?, fields.big_u16()?);
    fields.end()?;
    Ok((SessionId(session), packet_identifier(identifier)?))
}

pub(crate) fn message(key: &[u8]) -> Result<MessageId, Unreadable> {
    let mut fields = Fields::of_key(key);
    let message = fields.big_u64()?;
    fields.end()?;
    Ok(MessageId(message))
}

pub(crate) fn waiting(key: &[u8]) -> Result<(&str, u64), Unreadable> {
    let damaged = Unreadable::Damaged("its key has no position");
    let (group, position) = key.split_last_chunk::<8>().ok_or(damaged)?;
    match group.split_last() {
        Some((&SEPARATOR, group)) => Ok((text(group)?, u64::from_be_bytes(*position))),
        _ => Err(damaged),
    }
}

pub(crate) fn packet_identifier(value: u16) -> Result<PacketIdentifier, Unreadable> {
    PacketIdentifier::new(value).ok_or(Unreadable::Damaged("no Packet Identifier is 0"))
}

/// A record in words, by its key.
pub(crate) fn describe(table: TableId, key: &[u8]) -> String {
    readable(table, key).unwrap_or_else(|_| {
        let mut words = format!("{table}, key ");
        for byte in key.iter().take(SHOWN) {
            let _infallible = write!(words, "{byte:02x}");
        }
        words
    })
}

/// How many bytes of a key, or characters of a text in one, are shown.
const SHOWN: usize = 64;

fn readable(table: TableId, key: &[u8]) -> Result<String, Unreadable> {
    Ok(match table {
        tables::SESSIONS => format!("session {}", session(key)?.0),
        tables::SUBSCRIPTIONS => {
            let (session, filter) = subscription(key)?;
            format!("subscription {} of session {}", shown(filter), session.0)
        }
        tables::WILLS => format!("will of session {}", session(key)?.0),
        tables::DELIVERIES => {
            let (session, position) = delivery(key)?;
            format!("delivery {position} of session {}", session.0)
        }
        tables::EXCHANGES => {
            let (session, identifier) = exchange(key)?;
            format!("exchange {} of session {}", identifier.value(), session.0)
        }
        tables::RECEIVED => {
            let (session, identifier) = exchange(key)?;
            let identifier = identifier.value();
            format!("received publication {identifier} of session {}", session.0)
        }
        tables::WAITING => {
            let (group, position) = waiting(key)?;
            let group = shown(group);
            format!("message {position} waiting in shared subscription {group}")
        }
        tables::MESSAGES => format!("shared message {}", message(key)?.0),
        tables::RETAINED => format!("retained message of {}", shown(text(key)?)),
        _ => return Err(Unreadable::Damaged("it is in no table of records")),
    })
}

/// As much of a text as helps to find it.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
