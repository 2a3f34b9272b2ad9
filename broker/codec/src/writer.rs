//! Where a packet is written to.
//!
//! The same code writes a packet twice: first it only counts, which tells the lengths that stand
//! before their content and finds what does not fit; then it appends. So nothing is appended for a
//! packet that cannot be encoded.

use nexum_types::ReasonCode;

use crate::error::EncodeError;
use crate::property::{Property, UserProperties};
use crate::variable_byte_integer;

/// Takes the fields of a packet in order.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    /// `None`: only count.
    out: Option<&'a mut Vec<u8>>,
    bytes: usize,
    /// The length of a field that its two length bytes cannot say.
    field_too_long: Option<usize>,
}

/// Appends properties encoded, without a length: what a PUBLISH passes on is made of them.
///
/// # Errors
/// One holds a text or bytes longer than 65,535; nothing is appended then.
pub fn encode_properties<'a>(
    properties: impl IntoIterator<Item = Property<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let before = out.len();
    let mut writer = Writer {
        out: Some(out),
        bytes: 0,
        field_too_long: None,
    };
    for property in properties {
        writer.property(property);
    }
    if let Some(bytes) = writer.field_too_long {
        out.truncate(before);
        return Err(EncodeError::FieldTooLong { bytes });
    }
    Ok(())
}

/// Appends a packet whose body `write_body` writes.
pub(crate) fn write_packet(
    first_byte: u8,
    out: &mut Vec<u8>,
    write_body: impl Fn(&mut Writer<'_>),
) -> Result<(), EncodeError> {
    let mut counted = Writer {
        out: None,
        bytes: 0,
        field_too_long: None,
    };
    write_body(&mut counted);
    if let Some(bytes) = counted.field_too_long {
        return Err(EncodeError::FieldTooLong { bytes });
    }
    let remaining_length = u32::try_from(counted.bytes)
        .ok()
        .filter(|&bytes| bytes <= variable_byte_integer::MAXIMUM)
        .ok_or(EncodeError::TooLarge)?;
    out.reserve(5 + counted.bytes);
    let mut writer = Writer {
        out: Some(out),
        bytes: 0,
        field_too_long: None,
    };
    writer.u8(first_byte);
    writer.variable_byte_integer(remaining_length as usize);
    write_body(&mut writer);
    Ok(())
}

impl Writer<'_> {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Two Byte Integer (section 1.5.2).
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Four Byte Integer (section 1.5.3).
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Variable Byte Integer (section 1.5.5).
    pub(crate) fn variable_byte_integer(&mut self, value: usize) {
        // A value that four bytes do not hold is only ever counted, and then the packet is too
        // large as well.
        let value = u32::try_from(value)
            .unwrap_or(u32::MAX)
            .min(variable_byte_integer::MAXIMUM);
        self.bytes(&variable_byte_integer::encode(value)[..variable_byte_integer::size(value)]);
    }

    /// Binary Data (section 1.5.6).
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        if bytes.len() > usize::from(u16::MAX) {
            self.field_too_long = Some(bytes.len());
        }
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
    }

    /// UTF-8 Encoded String (section 1.5.4).
    pub(crate) fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    pub(crate) fn reason_code(&mut self, reason_code: ReasonCode) {
        self.u8(reason_code.value());
    }

    /// A property section with its length ([MQTT-2.2.2-1]: zero if it is empty).
    pub(crate) fn properties(&mut self, write: impl Fn(&mut Writer<'_>)) {
        let mut counted = Writer {
            out: None,
            bytes: 0,
            field_too_long: None,
        };
        write(&mut counted);
        self.variable_byte_integer(counted.bytes);
        write(self);
    }

    pub(crate) fn property(&mut self, property: Property<'_>) {
        property.write(self);
    }

    /// A property if there is a value for it.
    pub(crate) fn optional<'v, T>(&mut self, value: Option<T>, property: fn(T) -> Property<'v>) {
        if let Some(value) = value {
            self.property(property(value));
        }
    }

    pub(crate) fn user_properties(&mut self, properties: UserProperties<'_>) {
        for (name, value) in properties.iter() {
            self.property(Property::UserProperty(name, value));
        }
    }
}
