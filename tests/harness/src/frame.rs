//! The lowest level of the mock peer's language: one packet written field by field, right or wrong.

use crate::property::Property;

/// A control packet under construction: the first byte of the fixed header, then the fields of the
/// body. The Remaining Length is computed, unless [`Frame::remaining_length`] lies about it.
///
/// ```
/// use nexum_harness::Frame;
///
/// // A 3.1.1 SUBSCRIBE that asks for QoS 3.
/// let bytes = Frame::new(0x82).u16(1).string("a/b").u8(3).bytes();
/// assert_eq!(bytes, [0x82, 0x08, 0x00, 0x01, 0x00, 0x03, b'a', b'/', b'b', 0x03]);
/// ```
#[derive(Clone, Debug)]
pub struct Frame {
    first_byte: u8,
    remaining_length: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Frame {
    /// A packet whose fixed header begins with `first_byte`: type in the upper four bits, flags in
    /// the lower.
    pub fn new(first_byte: u8) -> Frame {
        Frame {
            first_byte,
            remaining_length: None,
            body: Vec::new(),
        }
    }

    /// Replaces the Remaining Length by these bytes.
    pub fn remaining_length(mut self, bytes: &[u8]) -> Frame {
        self.remaining_length = Some(bytes.to_vec());
        self
    }

    /// Appends one byte.
    pub fn u8(mut self, value: u8) -> Frame {
        self.body.push(value);
        self
    }

    /// Appends a Two Byte Integer.
    pub fn u16(mut self, value: u16) -> Frame {
        self.body.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a Four Byte Integer.
    pub fn u32(mut self, value: u32) -> Frame {
        self.body.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a Variable Byte Integer in its shortest form.
    pub fn variable(mut self, value: u32) -> Frame {
        put_variable(&mut self.body, value);
        self
    }

    /// Appends a UTF-8 Encoded String.
    pub fn string(self, value: &str) -> Frame {
        self.binary(value.as_bytes())
    }

    /// Appends Binary Data, or a "string" whose bytes need not be UTF-8: its length in two bytes,
    /// then itself.
    pub fn binary(mut self, value: &[u8]) -> Frame {
        put_binary(&mut self.body, value);
        self
    }

    /// Appends bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Frame {
        self.body.extend_from_slice(bytes);
        self
    }

    /// Appends a Property Length and the properties.
    pub fn properties(mut self, properties: &[Property]) -> Frame {
        put_properties(&mut self.body, properties);
        self
    }

    /// Appends a Property Length and property bytes that need not make sense.
    pub fn raw_properties(self, bytes: &[u8]) -> Frame {
        let length = u32::try_from(bytes.len()).expect("a test's properties are short");
        self.variable(length).raw(bytes)
    }

    /// The whole packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![self.first_byte];
        match &self.remaining_length {
            Some(bytes) => packet.extend_from_slice(bytes),
            None => {
                let length = u32::try_from(self.body.len()).expect("a test's packet is short");
                put_variable(&mut packet, length);
            }
        }
        packet.extend_from_slice(&self.body);
        packet
    }
}

pub(crate) fn put_variable(into: &mut Vec<u8>, mut value: u32) {
    assert!(
        value <= 268_435_455,
        "{value} does not fit a Variable Byte Integer"
    );
    loop {
        let low = value.to_le_bytes()[0] & 0x7F;
        value >>= 7;
        if value == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

pub(crate) fn put_binary(into: &mut Vec<u8>, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("at most 65,535 bytes have a length prefix");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(value);
}

pub(crate) fn put_properties(into: &mut Vec<u8>, properties: &[Property]) {
    let mut bytes = Vec::new();
    for property in properties {
        property.write(&mut bytes);
    }
    let length = u32::try_from(bytes.len()).expect("a test's properties are short");
    put_variable(into, length);
    into.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers_are_those_of_table_1_1() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let mut written = Vec::new();
            put_variable(&mut written, value);
            assert_eq!(written, bytes, "{value}");
        }
    }
}
