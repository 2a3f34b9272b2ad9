use std::sync::Arc;

use nexum_core::SessionRecord;
use nexum_types::Time;

use crate::fields::{Fields, Unreadable, VERSION, flag, text};

const DISCONNECTED: u8 = 1;

pub(crate) fn write(record: &SessionRecord, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.push(flag(DISCONNECTED, record.disconnected_at.is_some()));
    out.extend_from_slice(&record.expiry_interval_seconds.to_le_bytes());
    if let Some(at) = record.disconnected_at {
        out.extend_from_slice(&at.as_micros().to_le_bytes());
    }
    out.extend_from_slice(record.client_id.as_bytes());
}

pub(crate) fn read(value: &[u8]) -> Result<SessionRecord, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let flags = fields.flags(DISCONNECTED)?;
    let expiry_interval_seconds = fields.u32()?;
    let disconnected_at = match flags & DISCONNECTED {
        0 => None,
        _ => Some(Time::from_micros(fields.u64()?)),
    };
    let client_id = text(fields.rest())?;
    if client_id.is_empty() {
        return Err(Unreadable::Damaged("it has no Client Identifier"));
    }
    Ok(SessionRecord {
        client_id: Arc::from(client_id),
        expiry_interval_seconds,
        disconnected_at,
    })
}
