use nexum_core::Key;
use nexum_storage::View;
use nexum_types::Message;

use crate::error::RecordsError;
use crate::fields::Unreadable;
use crate::key;
use crate::record::delivery::DeliveryContent;
use crate::record::{delivery, message};

/// Brings a message back: that of a delivery, a shared one, or a retained one. For a delivery that
/// names a shared message it is that one. `None` if there is no such record, or a record of such a
/// key has no message.
///
/// # Errors
/// The store cannot be read, or the record is not one that this program knows.
pub fn read_message(view: &View<'_>, key: &Key) -> Result<Option<Message>, RecordsError> {
    if !matches!(key, Key::Delivery(..) | Key::Message(_) | Key::Retained(_)) {
        return Ok(None);
    }
    let mut key_bytes = Vec::new();
    let table = key::write(key, &mut key_bytes);
    let Some(value) = view.get(table, &key_bytes)? else {
        return Ok(None);
    };
    let unreadable =
        |why: Unreadable| RecordsError::unreadable(key::describe(table, &key_bytes), why);
    let parts = match key {
        Key::Delivery(..) => match delivery::read(&value).map_err(unreadable)?.content {
            DeliveryContent::Inline(parts) => parts,
            DeliveryContent::Shared { id, .. } => return read_message(view, &Key::Message(id)),
        },
        Key::Retained(_) => message::read_retained(&key_bytes, &value).map_err(unreadable)?,
        _ => message::read(&value).map_err(unreadable)?,
    };
    Ok(Some(Message::new(parts)))
}
