//! A message as it is in a record of its own, in that of a delivery, and as a retained one.

use nexum_types::{Message, MessageParts, Time, TopicName};

use crate::fields::{Fields, QOS, Unreadable, VERSION, flag, length, qos, text};

const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;

/// Writes a message in a record of its own.
pub(crate) fn write(message: &Message, out: &mut Vec<u8>) {
    out.push(VERSION);
    let parts = message.parts();
    write_parts(&parts, parts.topic.as_str(), out);
}

pub(crate) fn read(value: &[u8]) -> Result<MessageParts<'_>, Unreadable> {
    read_embedded(Fields::of_value(value)?)
}

/// Writes a retained message: its topic is its key.
pub(crate) fn write_retained(message: &Message, out: &mut Vec<u8>) {
    out.push(VERSION);
    write_parts(&message.parts(), "", out);
}

/// Reads a retained message, its topic from the key.
pub(crate) fn read_retained<'a>(
    key: &'a [u8],
    value: &'a [u8],
) -> Result<MessageParts<'a>, Unreadable> {
    read_parts(Fields::of_value(value)?, |inside| match inside {
        [] => Ok(key),
        _ => Err(Unreadable::Damaged("its topic is in its key and beside it")),
    })
}

/// Writes a message at the end of another record.
pub(crate) fn write_embedded(message: &Message, out: &mut Vec<u8>) {
    let parts = message.parts();
    write_parts(&parts, parts.topic.as_str(), out);
}

pub(crate) fn read_embedded(fields: Fields<'_>) -> Result<MessageParts<'_>, Unreadable> {
    read_parts(fields, Ok)
}

/// Topic, properties and payload, in bytes: as [`Message::size_bytes`].
pub(crate) fn size_bytes(parts: &MessageParts<'_>) -> Result<u32, Unreadable> {
    let size = parts.topic.as_str().len() + parts.properties.len() + parts.payload.len();
    match u32::try_from(size) {
        Ok(size) if size < u32::MAX => Ok(size),
        _ => Err(Unreadable::Damaged("no message is so large")),
    }
}

fn write_parts(parts: &MessageParts<'_>, topic: &str, out: &mut Vec<u8>) {
    out.push(
        parts.qos.bits() | flag(RETAIN, parts.retain) | flag(EXPIRES, parts.expires_at.is_some()),
    );
    out.extend_from_slice(&parts.published_at.as_micros().to_le_bytes());
    if let Some(at) = parts.expires_at {
        out.extend_from_slice(&at.as_micros().to_le_bytes());
    }
    let topic_bytes = u16::try_from(topic.len()).expect("a TopicName has at most 65,535 bytes");
    out.extend_from_slice(&topic_bytes.to_le_bytes());
    out.extend_from_slice(&length(parts.properties));
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(parts.properties);
    out.extend_from_slice(parts.payload);
}

/// The payload is not looked at.
fn read_parts<'a>(
    mut fields: Fields<'a>,
    topic: impl FnOnce(&'a [u8]) -> Result<&'a [u8], Unreadable>,
) -> Result<MessageParts<'a>, Unreadable> {
    let flags = fields.flags(QOS | RETAIN | EXPIRES)?;
    let published_at = Time::from_micros(fields.u64()?);
    let expires_at = match flags & EXPIRES {
        0 => None,
        _ => Some(Time::from_micros(fields.u64()?)),
    };
    let topic_bytes = usize::from(fields.u16()?);
    let properties_bytes = fields.u32()? as usize;
    let topic = text(topic(fields.bytes(topic_bytes)?)?)?;
    let parts = MessageParts {
        topic: TopicName::new(topic).map_err(|_| Unreadable::Damaged("its topic is none"))?,
        properties: fields.bytes(properties_bytes)?,
        payload: fields.rest(),
        qos: qos(flags)?,
        retain: flags & RETAIN != 0,
        published_at,
        expires_at,
    };
    size_bytes(&parts)?;
    Ok(parts)
}
