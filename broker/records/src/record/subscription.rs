use nexum_core::SubscriptionRecord;

use crate::fields::{Fields, QOS, Unreadable, VERSION, flag, qos};

const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const IDENTIFIER: u8 = 1 << 4;

pub(crate) fn write(record: &SubscriptionRecord, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.push(
        record.maximum_qos.bits()
            | flag(NO_LOCAL, record.no_local)
            | flag(RETAIN_AS_PUBLISHED, record.retain_as_published)
            | flag(IDENTIFIER, record.identifier.is_some()),
    );
    if let Some(identifier) = record.identifier {
        out.extend_from_slice(&identifier.to_le_bytes());
    }
}

pub(crate) fn read(value: &[u8]) -> Result<SubscriptionRecord, Unreadable> {
    let mut fields = Fields::of_value(value)?;
    let flags = fields.flags(QOS | NO_LOCAL | RETAIN_AS_PUBLISHED | IDENTIFIER)?;
    let identifier = match flags & IDENTIFIER {
        0 => None,
        _ => Some(fields.u32()?),
    };
    fields.end()?;
    Ok(SubscriptionRecord {
        maximum_qos: qos(flags)?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        identifier,
    })
}
