use crate::fields::{Fields, Unreadable, VERSION};

/// The key says it all.
pub(crate) fn write(out: &mut Vec<u8>) {
    out.push(VERSION);
}

pub(crate) fn read(value: &[u8]) -> Result<(), Unreadable> {
    Fields::of_value(value)?.end()
}
