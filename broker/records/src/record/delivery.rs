//! A delivery; a message of its own comes last, so that all the rest is read without its payload.

use nexum_core::{Content, DeliveryRecord, MessageId, SubscriptionIdentifierList};
use nexum_types::{MessageParts, PacketIdentifier, QoS};

use super::message;
use crate::fields::{Fields, QOS, Unreadable, VERSION, flag, length, qos, text};
use crate::key::packet_identifier;

const RETAIN: u8 = 1 << 2;
const SHARED: u8 = 1 << 3;
const PACKET_IDENTIFIER: u8 = 1 << 4;
const SUBSCRIPTION_IDENTIFIERS: u8 = 1 << 5;
const GROUP: u8 = 1 << 6;
const FLAGS: u8 = QOS | RETAIN | SHARED | PACKET_IDENTIFIER | SUBSCRIPTION_IDENTIFIERS | GROUP;

/// A [`DeliveryRecord`], borrowed.
pub(crate) struct Delivery<'a> {
    pub(crate) content: DeliveryContent<'a>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: SubscriptionIdentifierList,
    pub(crate) group: Option<&'a str>,
    pub(crate) packet_identifier: Option<PacketIdentifier>,
}

pub(crate) enum DeliveryContent<'a> {
    Inline(MessageParts<'a>),
    Shared { id: MessageId, size_bytes: u32 },
}

pub(crate) fn write(record: &DeliveryRecord, out: &mut Vec<u8>) {
    let identifiers = &record.subscription_identifiers;
    out.push(VERSION);
    out.push(
        record.qos.bits()
            | flag(RETAIN, record.retain)
            | flag(SHARED, matches!(record.content, Content::Shared { .. }))
            | flag(PACKET_IDENTIFIER, record.packet_identifier.is_some())
            | flag(SUBSCRIPTION_IDENTIFIERS, !identifiers.is_empty())
            | flag(GROUP, record.group.is_some()),
    );
    if let Some(identifier) = record.packet_identifier {
        out.extend_from_slice(&identifier.value().to_le_bytes());
    }
    if !identifiers.is_empty() {
        let count = u32::try_from(identifiers.len()).expect("a packet names fewer than 2^28");
        out.extend_from_slice(&count.to_le_bytes());
        for identifier in identifiers {
            out.extend_from_slice(&identifier.to_le_bytes());
        }
    }
    if let Some(group) = &record.group {
        out.extend_from_slice(&length(group.as_bytes()));
        out.extend_from_slice(group.as_bytes());
    }
    match &record.content {
        Content::Inline(message) => message::write_embedded(message, out),
        Content::Shared { id, size_bytes } => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&size_bytes.to_le_bytes());
        }
    }
}

pub(crate) fn read(value: &[u8]) -> Result<Delivery<'_>, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let flags = fields.flags(FLAGS)?;
    let packet_identifier = match flags & PACKET_IDENTIFIER {
        0 => None,
        _ => Some(packet_identifier(fields.u16()?)?),
    };
    let subscription_identifiers = match flags & SUBSCRIPTION_IDENTIFIERS {
        0 => SubscriptionIdentifierList::new(),
        _ => read_identifiers(&mut fields)?,
    };
    let group = match flags & GROUP {
        0 => None,
        _ => {
            let group_bytes = fields.u32()? as usize;
            Some(text(fields.bytes(group_bytes)?)?)
        }
    };
    let content = match flags & SHARED {
        0 => DeliveryContent::Inline(message::read_embedded(fields)?),
        _ => {
            let (id, size_bytes) = (MessageId(fields.u64()?), fields.u32()?);
            fields.end()?;
            DeliveryContent::Shared { id, size_bytes }
        }
    };
    Ok(Delivery {
        content,
        qos: qos(flags)?,
        retain: flags & RETAIN != 0,
        subscription_identifiers,
        group,
        packet_identifier,
    })
}

fn read_identifiers(fields: &mut Fields<'_>) -> Result<SubscriptionIdentifierList, Unreadable> {
    let too_many = Unreadable::Damaged("it has more Subscription Identifiers than bytes");
    let count = fields.u32()? as usize;
    let bytes = fields.bytes(count.checked_mul(4).ok_or(too_many)?)?;
    let (identifiers, _) = bytes.as_chunks::<4>();
    Ok(identifiers
        .iter()
        .map(|identifier| u32::from_le_bytes(*identifier))
        .collect())
}
