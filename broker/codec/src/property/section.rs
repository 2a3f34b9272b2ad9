use crate::error::{DecodeError, Field};
use crate::property::{Property, PropertyIdentifier, PropertySet, UserProperties};
use crate::reader::Reader;

/// The properties of one packet while it is decoded: yields each with its value checked, and
/// checks that the packet may carry it and does not carry it twice.
#[derive(Clone, Debug)]
pub(crate) struct PropertySection<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    allowed: PropertySet,
    repeatable: PropertySet,
    seen: PropertySet,
}

/// "The User Property is allowed to appear multiple times" (in every packet that has it).
const USER_PROPERTY: PropertySet = PropertySet::of(&[PropertyIdentifier::UserProperty]);

impl<'a> PropertySection<'a> {
    /// Takes the Property Length and the section from `reader`.
    #[inline]
    pub(crate) fn take(
        reader: &mut Reader<'a>,
        allowed: PropertySet,
    ) -> Result<PropertySection<'a>, DecodeError> {
        let length = reader.variable_byte_integer(Field::PropertyLength)?;
        let bytes = reader.take(length as usize, Field::Properties)?;
        Ok(PropertySection::new(bytes, allowed))
    }

    #[inline]
    pub(crate) const fn new(bytes: &'a [u8], allowed: PropertySet) -> PropertySection<'a> {
        PropertySection {
            bytes,
            reader: Reader::new(bytes),
            allowed,
            repeatable: USER_PROPERTY,
            seen: PropertySet::EMPTY,
        }
    }

    /// Lets one more property appear several times.
    pub(crate) const fn repeating(mut self, property: PropertyIdentifier) -> PropertySection<'a> {
        self.repeatable = self.repeatable.with(property);
        self
    }

    /// The next property; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let value = self
            .reader
            .variable_byte_integer(Field::PropertyIdentifier)?;
        let identifier =
            PropertyIdentifier::from_value(value).ok_or(DecodeError::UnknownProperty(value))?;
        // "A Control Packet which contains an Identifier which is not valid for its packet type
        // ... is a Malformed Packet" (section 2.2.2.2).
        if !self.allowed.contains(identifier) {
            return Err(DecodeError::PropertyNotAllowed(identifier));
        }
        if self.seen.contains(identifier) && !self.repeatable.contains(identifier) {
            return Err(DecodeError::DuplicateProperty(identifier));
        }
        self.seen = self.seen.with(identifier);
        Property::read_value(identifier, &mut self.reader).map(Some)
    }

    /// How many bytes of the section were read.
    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.bytes.len() - self.reader.remaining()
    }

    /// The whole section.
    #[inline]
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The user properties among those read: all, once the section was read to its end.
    #[inline]
    pub(crate) const fn user_properties(&self) -> UserProperties<'a> {
        if self.seen.contains(PropertyIdentifier::UserProperty) {
            UserProperties::from_checked(self.bytes)
        } else {
            UserProperties::EMPTY
        }
    }
}
