//! The properties of MQTT 5 (section 2.2.2): one of them ([`Property`]), a section of them as a
//! packet carries it ([`PropertySection`]), and the views of a checked section that a decoded
//! packet keeps.

mod forwarded;
mod identifier;
mod section;
mod views;

use std::num::NonZeroU16;

use nexum_types::{QoS, TopicName};

pub use self::forwarded::ForwardedProperties;
pub(crate) use self::forwarded::{ForwardedRun, is_forwarded};
pub use self::identifier::PropertyIdentifier;
pub(crate) use self::identifier::PropertySet;
pub(crate) use self::section::PropertySection;
pub use self::views::{SubscriptionIdentifiers, UserProperties};

use crate::error::{DecodeError, Field};
use crate::reader::Reader;
use crate::writer::Writer;

/// One property with its value, which is one the specification allows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of table 2-4")]
pub enum Property<'a> {
    /// True: the payload is UTF-8. False: unspecified bytes.
    PayloadFormatIndicator(bool),
    /// Seconds.
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(TopicName<'a>),
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// Seconds.
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    /// Seconds.
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(NonZeroU16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    /// 0 or 1.
    MaximumQoS(QoS),
    RetainAvailable(bool),
    /// Name and value.
    UserProperty(&'a str, &'a str),
    /// Bytes; not 0.
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

impl<'a> Property<'a> {
    /// Which property it is.
    #[must_use]
    pub const fn identifier(&self) -> PropertyIdentifier {
        match self {
            Property::PayloadFormatIndicator(_) => PropertyIdentifier::PayloadFormatIndicator,
            Property::MessageExpiryInterval(_) => PropertyIdentifier::MessageExpiryInterval,
            Property::ContentType(_) => PropertyIdentifier::ContentType,
            Property::ResponseTopic(_) => PropertyIdentifier::ResponseTopic,
            Property::CorrelationData(_) => PropertyIdentifier::CorrelationData,
            Property::SubscriptionIdentifier(_) => PropertyIdentifier::SubscriptionIdentifier,
            Property::SessionExpiryInterval(_) => PropertyIdentifier::SessionExpiryInterval,
            Property::AssignedClientIdentifier(_) => PropertyIdentifier::AssignedClientIdentifier,
            Property::ServerKeepAlive(_) => PropertyIdentifier::ServerKeepAlive,
            Property::AuthenticationMethod(_) => PropertyIdentifier::AuthenticationMethod,
            Property::AuthenticationData(_) => PropertyIdentifier::AuthenticationData,
            Property::RequestProblemInformation(_) => PropertyIdentifier::RequestProblemInformation,
            Property::WillDelayInterval(_) => PropertyIdentifier::WillDelayInterval,
            Property::RequestResponseInformation(_) => {
                PropertyIdentifier::RequestResponseInformation
            }
            Property::ResponseInformation(_) => PropertyIdentifier::ResponseInformation,
            Property::ServerReference(_) => PropertyIdentifier::ServerReference,
            Property::ReasonString(_) => PropertyIdentifier::ReasonString,
            Property::ReceiveMaximum(_) => PropertyIdentifier::ReceiveMaximum,
            Property::TopicAliasMaximum(_) => PropertyIdentifier::TopicAliasMaximum,
            Property::TopicAlias(_) => PropertyIdentifier::TopicAlias,
            Property::MaximumQoS(_) => PropertyIdentifier::MaximumQoS,
            Property::RetainAvailable(_) => PropertyIdentifier::RetainAvailable,
            Property::UserProperty(_, _) => PropertyIdentifier::UserProperty,
            Property::MaximumPacketSize(_) => PropertyIdentifier::MaximumPacketSize,
            Property::WildcardSubscriptionAvailable(_) => {
                PropertyIdentifier::WildcardSubscriptionAvailable
            }
            Property::SubscriptionIdentifierAvailable(_) => {
                PropertyIdentifier::SubscriptionIdentifierAvailable
            }
            Property::SharedSubscriptionAvailable(_) => {
                PropertyIdentifier::SharedSubscriptionAvailable
            }
        }
    }

    /// Reads identifier and value, and checks what the value's own section demands.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
        let identifier = reader.variable_byte_integer(Field::PropertyIdentifier)?;
        let identifier = PropertyIdentifier::from_value(identifier)
            .ok_or(DecodeError::UnknownProperty(identifier))?;
        Property::read_value(identifier, reader)
    }

    pub(crate) fn read_value(
        identifier: PropertyIdentifier,
        reader: &mut Reader<'a>,
    ) -> Result<Property<'a>, DecodeError> {
        let field = Field::Property(identifier);
        let zero = DecodeError::PropertyValue {
            property: identifier,
            value: 0,
        };
        Ok(match identifier {
            PropertyIdentifier::PayloadFormatIndicator => {
                Property::PayloadFormatIndicator(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::MessageExpiryInterval => {
                Property::MessageExpiryInterval(reader.u32(field)?)
            }
            PropertyIdentifier::ContentType => Property::ContentType(reader.text(field)?),
            PropertyIdentifier::ResponseTopic => {
                // [MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-4.7.3-1]
                let topic = reader.topic_name(field)?;
                Property::ResponseTopic(topic.ok_or(DecodeError::EmptyTopic { field })?)
            }
            PropertyIdentifier::CorrelationData => Property::CorrelationData(reader.binary(field)?),
            PropertyIdentifier::SubscriptionIdentifier => {
                match reader.variable_byte_integer(field)? {
                    // "It is a Protocol Error if the Subscription Identifier has a value of 0"
                    // (sections 3.3.2.3.8 and 3.8.2.1.2).
                    0 => return Err(zero),
                    value => Property::SubscriptionIdentifier(value),
                }
            }
            PropertyIdentifier::SessionExpiryInterval => {
                Property::SessionExpiryInterval(reader.u32(field)?)
            }
            PropertyIdentifier::AssignedClientIdentifier => {
                Property::AssignedClientIdentifier(reader.text(field)?)
            }
            PropertyIdentifier::ServerKeepAlive => Property::ServerKeepAlive(reader.u16(field)?),
            PropertyIdentifier::AuthenticationMethod => {
                Property::AuthenticationMethod(reader.text(field)?)
            }
            PropertyIdentifier::AuthenticationData => {
                Property::AuthenticationData(reader.binary(field)?)
            }
            PropertyIdentifier::RequestProblemInformation => {
                Property::RequestProblemInformation(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::WillDelayInterval => {
                Property::WillDelayInterval(reader.u32(field)?)
            }
            PropertyIdentifier::RequestResponseInformation => {
                Property::RequestResponseInformation(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::ResponseInformation => {
                Property::ResponseInformation(reader.text(field)?)
            }
            PropertyIdentifier::ServerReference => Property::ServerReference(reader.text(field)?),
            PropertyIdentifier::ReasonString => Property::ReasonString(reader.text(field)?),
            PropertyIdentifier::ReceiveMaximum => {
                // "It is a Protocol Error to include the Receive Maximum value ... for it to have
                // the value 0" (sections 3.1.2.11.3 and 3.2.2.3.3).
                Property::ReceiveMaximum(NonZeroU16::new(reader.u16(field)?).ok_or(zero)?)
            }
            PropertyIdentifier::TopicAliasMaximum => {
                Property::TopicAliasMaximum(reader.u16(field)?)
            }
            PropertyIdentifier::TopicAlias => {
                // [MQTT-3.3.2-8]
                let alias = NonZeroU16::new(reader.u16(field)?);
                Property::TopicAlias(alias.ok_or(DecodeError::TopicAliasZero)?)
            }
            PropertyIdentifier::MaximumQoS => Property::MaximumQoS(match reader.u8(field)? {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                value => return Err(value_not_allowed(identifier, value)),
            }),
            PropertyIdentifier::RetainAvailable => {
                Property::RetainAvailable(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::UserProperty => {
                // [MQTT-1.5.7-1]
                let name = reader.text(field)?;
                Property::UserProperty(name, reader.text(field)?)
            }
            PropertyIdentifier::MaximumPacketSize => match reader.u32(field)? {
                // "It is a Protocol Error ... for the value to be set to zero" (sections
                // 3.1.2.11.4 and 3.2.2.3.6).
                0 => return Err(zero),
                value => Property::MaximumPacketSize(value),
            },
            PropertyIdentifier::WildcardSubscriptionAvailable => {
                Property::WildcardSubscriptionAvailable(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::SubscriptionIdentifierAvailable => {
                Property::SubscriptionIdentifierAvailable(read_bool(identifier, reader)?)
            }
            PropertyIdentifier::SharedSubscriptionAvailable => {
                Property::SharedSubscriptionAvailable(read_bool(identifier, reader)?)
            }
        })
    }

    /// Writes identifier and value.
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u8(self.identifier().value());
        match *self {
            Property::PayloadFormatIndicator(value)
            | Property::RequestProblemInformation(value)
            | Property::RequestResponseInformation(value)
            | Property::RetainAvailable(value)
            | Property::WildcardSubscriptionAvailable(value)
            | Property::SubscriptionIdentifierAvailable(value)
            | Property::SharedSubscriptionAvailable(value) => out.u8(u8::from(value)),
            Property::MaximumQoS(qos) => out.u8(qos.bits()),
            Property::ServerKeepAlive(value) | Property::TopicAliasMaximum(value) => out.u16(value),
            Property::ReceiveMaximum(value) | Property::TopicAlias(value) => out.u16(value.get()),
            Property::MessageExpiryInterval(value)
            | Property::SessionExpiryInterval(value)
            | Property::WillDelayInterval(value)
            | Property::MaximumPacketSize(value) => out.u32(value),
            Property::SubscriptionIdentifier(value) => out.variable_byte_integer(value as usize),
            Property::ContentType(text)
            | Property::AssignedClientIdentifier(text)
            | Property::AuthenticationMethod(text)
            | Property::ResponseInformation(text)
            | Property::ServerReference(text)
            | Property::ReasonString(text) => out.string(text),
            Property::ResponseTopic(topic) => out.string(topic.as_str()),
            Property::CorrelationData(bytes) | Property::AuthenticationData(bytes) => {
                out.binary(bytes);
            }
            Property::UserProperty(name, value) => {
                out.string(name);
                out.string(value);
            }
        }
    }
}

/// A byte that is 0 or 1; their sections make every other value a protocol error.
fn read_bool(identifier: PropertyIdentifier, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8(Field::Property(identifier))? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(value_not_allowed(identifier, value)),
    }
}

fn value_not_allowed(property: PropertyIdentifier, value: u8) -> DecodeError {
    DecodeError::PropertyValue {
        property,
        value: u32::from(value),
    }
}
