use nexum_core::ExchangeRecord;

use crate::fields::{Fields, Unreadable, VERSION, flag};

const RELEASED: u8 = 1;

pub(crate) fn write(record: ExchangeRecord, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.push(flag(RELEASED, record.released));
    out.extend_from_slice(&record.position.to_le_bytes());
}

pub(crate) fn read(value: &[u8]) -> Result<ExchangeRecord, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let flags = fields.flags(RELEASED)?;
    let position = fields.u64()?;
    fields.end()?;
    Ok(ExchangeRecord {
        position,
        released: flags & RELEASED != 0,
    })
}
