//! Properties of MQTT 5 (section 2.2.2): identifier and value, and the tables that say of which
//! type each is, in which packets it may stand and whether more than once.

use std::ops::Deref;

use crate::frame::{put_binary, put_variable};

/// A property as it stands on the wire. Nothing checks that the identifier exists or that the
/// value has the type the specification gives it: a test may want neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The Property Identifier.
    pub identifier: u8,
    /// The value, in one of the seven types of section 1.5.
    pub value: PropertyValue,
}

/// A value, in one of the seven types of section 1.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// Byte.
    Byte(u8),
    /// Two Byte Integer.
    TwoByte(u16),
    /// Four Byte Integer.
    FourByte(u32),
    /// Variable Byte Integer.
    Variable(u32),
    /// UTF-8 Encoded String.
    String(String),
    /// Binary Data.
    Binary(Vec<u8>),
    /// UTF-8 String Pair.
    Pair(String, String),
}

/// The type of a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyType {
    Byte,
    TwoByte,
    FourByte,
    Variable,
    String,
    Binary,
    Pair,
}

pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(crate) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
pub(crate) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;

/// Table 2-4: the type of each property. `None`: there is no such property.
pub(crate) fn type_of(identifier: u8) -> Option<PropertyType> {
    Some(match identifier {
        PAYLOAD_FORMAT_INDICATOR
        | REQUEST_PROBLEM_INFORMATION
        | REQUEST_RESPONSE_INFORMATION
        | MAXIMUM_QOS
        | RETAIN_AVAILABLE
        | WILDCARD_SUBSCRIPTION_AVAILABLE
        | SUBSCRIPTION_IDENTIFIERS_AVAILABLE
        | SHARED_SUBSCRIPTION_AVAILABLE => PropertyType::Byte,
        SERVER_KEEP_ALIVE | RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => {
            PropertyType::TwoByte
        }
        MESSAGE_EXPIRY_INTERVAL
        | SESSION_EXPIRY_INTERVAL
        | WILL_DELAY_INTERVAL
        | MAXIMUM_PACKET_SIZE => PropertyType::FourByte,
        SUBSCRIPTION_IDENTIFIER => PropertyType::Variable,
        CONTENT_TYPE
        | RESPONSE_TOPIC
        | ASSIGNED_CLIENT_IDENTIFIER
        | AUTHENTICATION_METHOD
        | RESPONSE_INFORMATION
        | SERVER_REFERENCE
        | REASON_STRING => PropertyType::String,
        CORRELATION_DATA | AUTHENTICATION_DATA => PropertyType::Binary,
        USER_PROPERTY => PropertyType::Pair,
        _ => return None,
    })
}

impl Property {
    fn new(identifier: u8, value: PropertyValue) -> Property {
        Property { identifier, value }
    }

    /// 1 says that the payload is UTF-8 text.
    pub fn payload_format_indicator(value: u8) -> Property {
        Property::new(PAYLOAD_FORMAT_INDICATOR, PropertyValue::Byte(value))
    }

    /// Seconds a message lives.
    pub fn message_expiry_interval(seconds: u32) -> Property {
        Property::new(MESSAGE_EXPIRY_INTERVAL, PropertyValue::FourByte(seconds))
    }

    /// What the payload is, in words of the application.
    pub fn content_type(value: &str) -> Property {
        Property::new(CONTENT_TYPE, PropertyValue::String(value.to_owned()))
    }

    /// Where the answer to a request goes.
    pub fn response_topic(value: &str) -> Property {
        Property::new(RESPONSE_TOPIC, PropertyValue::String(value.to_owned()))
    }

    /// Which request an answer belongs to.
    pub fn correlation_data(value: &[u8]) -> Property {
        Property::new(CORRELATION_DATA, PropertyValue::Binary(value.to_vec()))
    }

    /// The number a client gives a subscription.
    pub fn subscription_identifier(value: u32) -> Property {
        Property::new(SUBSCRIPTION_IDENTIFIER, PropertyValue::Variable(value))
    }

    /// Seconds a session outlives its connection.
    pub fn session_expiry_interval(seconds: u32) -> Property {
        Property::new(SESSION_EXPIRY_INTERVAL, PropertyValue::FourByte(seconds))
    }

    /// The name of an exchange of credentials.
    pub fn authentication_method(value: &str) -> Property {
        Property::new(
            AUTHENTICATION_METHOD,
            PropertyValue::String(value.to_owned()),
        )
    }

    /// One message of that exchange.
    pub fn authentication_data(value: &[u8]) -> Property {
        Property::new(AUTHENTICATION_DATA, PropertyValue::Binary(value.to_vec()))
    }

    /// 0 says: no Reason Strings, please.
    pub fn request_problem_information(value: u8) -> Property {
        Property::new(REQUEST_PROBLEM_INFORMATION, PropertyValue::Byte(value))
    }

    /// 1 asks for Response Information.
    pub fn request_response_information(value: u8) -> Property {
        Property::new(REQUEST_RESPONSE_INFORMATION, PropertyValue::Byte(value))
    }

    /// Seconds between the end of a connection and the Will Message.
    pub fn will_delay_interval(seconds: u32) -> Property {
        Property::new(WILL_DELAY_INTERVAL, PropertyValue::FourByte(seconds))
    }

    /// Text for a log.
    pub fn reason_string(value: &str) -> Property {
        Property::new(REASON_STRING, PropertyValue::String(value.to_owned()))
    }

    /// Unacknowledged QoS 1 and 2 publications the sender of this is ready to hold.
    pub fn receive_maximum(value: u16) -> Property {
        Property::new(RECEIVE_MAXIMUM, PropertyValue::TwoByte(value))
    }

    /// The highest Topic Alias the sender of this takes.
    pub fn topic_alias_maximum(value: u16) -> Property {
        Property::new(TOPIC_ALIAS_MAXIMUM, PropertyValue::TwoByte(value))
    }

    /// A number that stands for the Topic Name.
    pub fn topic_alias(value: u16) -> Property {
        Property::new(TOPIC_ALIAS, PropertyValue::TwoByte(value))
    }

    /// A name and a value of the application.
    pub fn user(name: &str, value: &str) -> Property {
        Property::new(
            USER_PROPERTY,
            PropertyValue::Pair(name.to_owned(), value.to_owned()),
        )
    }

    /// The largest packet the sender of this takes.
    pub fn maximum_packet_size(value: u32) -> Property {
        Property::new(MAXIMUM_PACKET_SIZE, PropertyValue::FourByte(value))
    }

    /// The property's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        put_variable(into, u32::from(self.identifier));
        match &self.value {
            PropertyValue::Byte(value) => into.push(*value),
            PropertyValue::TwoByte(value) => into.extend_from_slice(&value.to_be_bytes()),
            PropertyValue::FourByte(value) => into.extend_from_slice(&value.to_be_bytes()),
            PropertyValue::Variable(value) => put_variable(into, *value),
            PropertyValue::String(value) => put_binary(into, value.as_bytes()),
            PropertyValue::Binary(value) => put_binary(into, value),
            PropertyValue::Pair(name, value) => {
                put_binary(into, name.as_bytes());
                put_binary(into, value.as_bytes());
            }
        }
    }
}

/// The properties of one packet, in their order on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    fn value(&self, identifier: u8) -> Option<&PropertyValue> {
        self.0
            .iter()
            .find(|property| property.identifier == identifier)
            .map(|property| &property.value)
    }

    fn number(&self, identifier: u8) -> Option<u32> {
        match self.value(identifier)? {
            PropertyValue::Byte(value) => Some(u32::from(*value)),
            PropertyValue::TwoByte(value) => Some(u32::from(*value)),
            PropertyValue::FourByte(value) | PropertyValue::Variable(value) => Some(*value),
            PropertyValue::String(_) | PropertyValue::Binary(_) | PropertyValue::Pair(..) => None,
        }
    }

    fn small_number(&self, identifier: u8) -> Option<u16> {
        self.number(identifier)
            .and_then(|value| u16::try_from(value).ok())
    }

    fn text(&self, identifier: u8) -> Option<&str> {
        match self.value(identifier)? {
            PropertyValue::String(value) => Some(value),
            PropertyValue::Byte(_)
            | PropertyValue::TwoByte(_)
            | PropertyValue::FourByte(_)
            | PropertyValue::Variable(_)
            | PropertyValue::Binary(_)
            | PropertyValue::Pair(..) => None,
        }
    }

    fn binary(&self, identifier: u8) -> Option<&[u8]> {
        match self.value(identifier)? {
            PropertyValue::Binary(value) => Some(value),
            PropertyValue::Byte(_)
            | PropertyValue::TwoByte(_)
            | PropertyValue::FourByte(_)
            | PropertyValue::Variable(_)
            | PropertyValue::String(_)
            | PropertyValue::Pair(..) => None,
        }
    }

    /// Payload Format Indicator.
    pub fn payload_format_indicator(&self) -> Option<u32> {
        self.number(PAYLOAD_FORMAT_INDICATOR)
    }

    /// Message Expiry Interval, in seconds.
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.number(MESSAGE_EXPIRY_INTERVAL)
    }

    /// Content Type.
    pub fn content_type(&self) -> Option<&str> {
        self.text(CONTENT_TYPE)
    }

    /// Response Topic.
    pub fn response_topic(&self) -> Option<&str> {
        self.text(RESPONSE_TOPIC)
    }

    /// Correlation Data.
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.binary(CORRELATION_DATA)
    }

    /// Every Subscription Identifier, in ascending order: their order on the wire means nothing.
    pub fn subscription_identifiers(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .0
            .iter()
            .filter(|property| property.identifier == SUBSCRIPTION_IDENTIFIER)
            .filter_map(|property| match property.value {
                PropertyValue::Variable(value) => Some(value),
                PropertyValue::Byte(_)
                | PropertyValue::TwoByte(_)
                | PropertyValue::FourByte(_)
                | PropertyValue::String(_)
                | PropertyValue::Binary(_)
                | PropertyValue::Pair(..) => None,
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Session Expiry Interval, in seconds.
    pub fn session_expiry_interval(&self) -> Option<u32> {
        self.number(SESSION_EXPIRY_INTERVAL)
    }

    /// Assigned Client Identifier.
    pub fn assigned_client_identifier(&self) -> Option<&str> {
        self.text(ASSIGNED_CLIENT_IDENTIFIER)
    }

    /// Server Keep Alive, in seconds.
    pub fn server_keep_alive(&self) -> Option<u16> {
        self.small_number(SERVER_KEEP_ALIVE)
    }

    /// Authentication Method.
    pub fn authentication_method(&self) -> Option<&str> {
        self.text(AUTHENTICATION_METHOD)
    }

    /// Request Problem Information.
    pub fn request_problem_information(&self) -> Option<u32> {
        self.number(REQUEST_PROBLEM_INFORMATION)
    }

    /// Request Response Information.
    pub fn request_response_information(&self) -> Option<u32> {
        self.number(REQUEST_RESPONSE_INFORMATION)
    }

    /// Response Information.
    pub fn response_information(&self) -> Option<&str> {
        self.text(RESPONSE_INFORMATION)
    }

    /// Reason String.
    pub fn reason_string(&self) -> Option<&str> {
        self.text(REASON_STRING)
    }

    /// Receive Maximum.
    pub fn receive_maximum(&self) -> Option<u16> {
        self.small_number(RECEIVE_MAXIMUM)
    }

    /// Topic Alias Maximum.
    pub fn topic_alias_maximum(&self) -> Option<u16> {
        self.small_number(TOPIC_ALIAS_MAXIMUM)
    }

    /// Topic Alias.
    pub fn topic_alias(&self) -> Option<u16> {
        self.small_number(TOPIC_ALIAS)
    }

    /// Maximum QoS.
    pub fn maximum_qos(&self) -> Option<u32> {
        self.number(MAXIMUM_QOS)
    }

    /// Retain Available.
    pub fn retain_available(&self) -> Option<u32> {
        self.number(RETAIN_AVAILABLE)
    }

    /// Every User Property, in order.
    pub fn user(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .filter_map(|property| match &property.value {
                PropertyValue::Pair(name, value) => Some((name.as_str(), value.as_str())),
                PropertyValue::Byte(_)
                | PropertyValue::TwoByte(_)
                | PropertyValue::FourByte(_)
                | PropertyValue::Variable(_)
                | PropertyValue::String(_)
                | PropertyValue::Binary(_) => None,
            })
            .collect()
    }

    /// Maximum Packet Size.
    pub fn maximum_packet_size(&self) -> Option<u32> {
        self.number(MAXIMUM_PACKET_SIZE)
    }

    /// Wildcard Subscription Available.
    pub fn wildcard_subscription_available(&self) -> Option<u32> {
        self.number(WILDCARD_SUBSCRIPTION_AVAILABLE)
    }

    /// Subscription Identifiers Available.
    pub fn subscription_identifiers_available(&self) -> Option<u32> {
        self.number(SUBSCRIPTION_IDENTIFIERS_AVAILABLE)
    }

    /// Shared Subscription Available.
    pub fn shared_subscription_available(&self) -> Option<u32> {
        self.number(SHARED_SUBSCRIPTION_AVAILABLE)
    }
}

impl Deref for Properties {
    type Target = [Property];

    fn deref(&self) -> &[Property] {
        &self.0
    }
}
