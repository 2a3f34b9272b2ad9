use nexum_core::MessageId;

use crate::fields::{Fields, Unreadable, VERSION};

pub(crate) fn write(message: MessageId, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(&message.0.to_le_bytes());
}

pub(crate) fn read(value: &[u8]) -> Result<MessageId, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let message = fields.u64()?;
    fields.end()?;
    Ok(MessageId(message))
}
