//! A cursor over the bytes of one packet or of one property section.
//!
//! Every read names the field it reads, so that a finding says where the packet is wrong. The
//! cursor never goes past its end and what it returns borrows the packet.

use nexum_types::{PacketIdentifier, TopicName};

use crate::error::{DecodeError, Field};
use crate::variable_byte_integer::{self, Decoded};

/// The bytes not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes everything that is left.
    #[inline]
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The packet must end here: the Remaining Length counts nothing that section 3 does not
    /// describe.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes {
                bytes: self.rest.len() as u32,
            })
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, bytes: usize, field: Field) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    /// Two Byte Integer (section 1.5.2).
    #[inline]
    pub(crate) fn u16(&mut self, field: Field) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four Byte Integer (section 1.5.3).
    #[inline]
    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Variable Byte Integer (section 1.5.5).
    #[inline]
    pub(crate) fn variable_byte_integer(&mut self, field: Field) -> Result<u32, DecodeError> {
        match variable_byte_integer::decode(self.rest) {
            Decoded::Value { value, bytes } => {
                self.rest = &self.rest[bytes..];
                Ok(value)
            }
            Decoded::Incomplete => Err(DecodeError::Truncated { field }),
            Decoded::TooLong => Err(DecodeError::VariableByteIntegerTooLong { field }),
            Decoded::NotMinimal => Err(DecodeError::VariableByteIntegerNotMinimal { field }),
        }
    }

    /// Binary Data (section 1.5.6).
    #[inline]
    pub(crate) fn binary(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        let bytes = self.u16(field)?;
        self.take(usize::from(bytes), field)
    }

    /// UTF-8 Encoded String (section 1.5.4) that is text for people: control characters, a line
    /// break for instance, are let through, which section 1.5.4 leaves to the receiver.
    pub(crate) fn text(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        let text = self.utf8(field)?;
        // [MQTT-1.5.4-2] [MQTT3-1.5.3-2]
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NullCharacter { field });
        }
        Ok(text)
    }

    /// UTF-8 Encoded String that names something – a client, a user, a topic, a topic filter – and
    /// so is compared, logged and shown: neither control character nor non-character, which
    /// section 1.5.4 says it SHOULD NOT hold and a receiver MAY treat as malformed.
    pub(crate) fn name(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        let name = self.utf8(field)?;
        check_characters(name, field)?;
        Ok(name)
    }

    /// A [`name`](Self::name) that names a topic: at least one character, no wildcard. `None` for
    /// the empty string.
    #[inline]
    pub(crate) fn topic_name(
        &mut self,
        field: Field,
    ) -> Result<Option<TopicName<'a>>, DecodeError> {
        let name = self.utf8(field)?;
        match TopicName::from_printable_ascii(name) {
            Some(topic) => Ok(Some(topic)),
            None => any_topic_name(name, field),
        }
    }

    #[inline]
    pub(crate) fn packet_identifier(&mut self) -> Result<PacketIdentifier, DecodeError> {
        let value = self.u16(Field::PacketIdentifier)?;
        // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
        PacketIdentifier::new(value).ok_or(DecodeError::PacketIdentifierZero)
    }

    /// The bytes of a string: well-formed UTF-8, which excludes the surrogates D800 to DFFF.
    #[inline]
    fn utf8(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        // [MQTT-1.5.4-1] [MQTT3-1.5.3-1]
        std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8 { field })
    }
}

fn any_topic_name(name: &str, field: Field) -> Result<Option<TopicName<'_>>, DecodeError> {
    if name.is_empty() {
        return Ok(None);
    }
    check_characters(name, field)?;
    match TopicName::new(name) {
        Ok(topic) => Ok(Some(topic)),
        Err(error) => Err(DecodeError::topic_name(field, error)),
    }
}

/// Finds the code points that section 1.5.4 lists.
fn check_characters(name: &str, field: Field) -> Result<(), DecodeError> {
    // The first byte of each of them; most alphabets need none of these, so one look is enough.
    let suspicious = name.bytes().fold(false, |found, byte| {
        found | matches!(byte, ..0x20 | 0x7F | 0xC2 | 0xEF..)
    });
    if suspicious {
        check_each_character(name, field)
    } else {
        Ok(())
    }
}

fn check_each_character(name: &str, field: Field) -> Result<(), DecodeError> {
    for character in name.chars() {
        match character {
            // [MQTT-1.5.4-2] [MQTT3-1.5.3-2]
            '\0' => return Err(DecodeError::NullCharacter { field }),
            // U+0001 to U+001F and U+007F to U+009F.
            _ if character.is_control() => return Err(DecodeError::ControlCharacter { field }),
            '\u{FDD0}'..='\u{FDEF}' => return Err(DecodeError::NonCharacter { field }),
            // The last two of each plane: U+FFFE, U+FFFF, U+1FFFE, ...
            _ if u32::from(character) & 0xFFFE == 0xFFFE => {
                return Err(DecodeError::NonCharacter { field });
            }
            _ => {}
        }
    }
    Ok(())
}
