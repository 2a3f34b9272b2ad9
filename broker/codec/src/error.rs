//! What can be wrong with a packet.
//!
//! A finding names the rule that was broken and the field where; [`DecodeError::reason_code`] maps
//! each to the one Reason Code that tells the peer (MQTT 5 section 4.13). The line between the two
//! large groups is section 1.2's: a packet that cannot be parsed is malformed, one that parses but
//! holds what the protocol does not allow is a protocol error – unless a sentence of the
//! specification names the other, or a reason code of its own.

use std::fmt;

use nexum_types::{ReasonCode, TopicError};

use crate::frame::PacketType;
use crate::property::PropertyIdentifier;

/// The part of a packet that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of sections 2 and 3 of the specification"
)]
pub enum Field {
    RemainingLength,
    ProtocolName,
    ProtocolVersion,
    ConnectFlags,
    KeepAlive,
    ClientIdentifier,
    WillTopic,
    WillPayload,
    UserName,
    Password,
    ConnectAcknowledgeFlags,
    ReasonCode,
    TopicName,
    PacketIdentifier,
    TopicFilter,
    SubscriptionOptions,
    PropertyLength,
    Properties,
    PropertyIdentifier,
    Property(PropertyIdentifier),
}

/// The rule that a received packet breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Type 0 of both versions and 15 of 3.1.1 (section 2.1.2).
    ReservedPacketType(u8),
    /// [MQTT-2.1.3-1], [MQTT3-2.2.2-2]: the flags are not those that table 2-2 lists for the type.
    FixedHeaderFlags {
        /// Whose flags they are.
        packet_type: PacketType,
        /// The low four bits of the first byte.
        flags: u8,
    },
    /// [MQTT-3.3.1-4], [MQTT3-3.3.1-4]: both QoS bits of PUBLISH are set.
    PublishQoS3,
    /// [MQTT-3.3.1-2], [MQTT3-3.3.1-2]: a PUBLISH of QoS 0 is marked as a duplicate.
    DupAtQoS0,
    /// A fifth byte of a Variable Byte Integer is announced (section 1.5.5).
    VariableByteIntegerTooLong {
        /// Which integer.
        field: Field,
    },
    /// [MQTT-1.5.5-1]: a Variable Byte Integer takes more bytes than it needs.
    VariableByteIntegerNotMinimal {
        /// Which integer.
        field: Field,
    },
    /// The packet is longer than the receiver said it accepts ([MQTT-3.1.2-24], [MQTT-3.2.2-15]).
    PacketTooLarge {
        /// Bytes of the whole packet.
        size: u32,
        /// The Maximum Packet Size of the receiver.
        maximum: u32,
    },
    /// The packet, or the property section, ends before the field does.
    Truncated {
        /// The field that is cut.
        field: Field,
    },
    /// The packet goes on after its last field.
    TrailingBytes {
        /// How many bytes follow.
        bytes: u32,
    },
    /// [MQTT-1.5.4-1], [MQTT3-1.5.3-1]: a string is not well-formed UTF-8.
    NotUtf8 {
        /// Which string.
        field: Field,
    },
    /// [MQTT-1.5.4-2], [MQTT3-1.5.3-2]: a string holds U+0000.
    NullCharacter {
        /// Which string.
        field: Field,
    },
    /// A name holds U+0001 to U+001F or U+007F to U+009F, which section 1.5.4 says it should not.
    ControlCharacter {
        /// Which name.
        field: Field,
    },
    /// A name holds a Unicode non-character, which section 1.5.4 says it should not.
    NonCharacter {
        /// Which name.
        field: Field,
    },
    /// [MQTT-3.1.2-1], [MQTT3-3.1.2-1]: the protocol name is not `MQTT`.
    ProtocolName,
    /// [MQTT-3.1.2-2], [MQTT3-3.1.2-2]: a version this codec does not speak.
    UnsupportedProtocolVersion {
        /// The Protocol Version byte.
        version: u8,
    },
    /// [MQTT-3.1.2-3], [MQTT3-3.1.2-3]: bit 0 of the Connect Flags is set.
    ReservedConnectFlag,
    /// [MQTT-3.1.2-12], [MQTT3-3.1.2-14]: both Will QoS bits are set.
    WillQoS3,
    /// [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT3-3.1.2-13], [MQTT3-3.1.2-15]: Will QoS or Will
    /// Retain is set, the Will Flag is not.
    WillFlagsWithoutWill,
    /// [MQTT3-3.1.2-22]: the Password Flag is set, the User Name Flag is not (3.1.1 only).
    PasswordWithoutUserName,
    /// [MQTT-3.2.2-1]: a reserved bit of the Connect Acknowledge Flags is set.
    ConnectAcknowledgeFlags,
    /// [MQTT-3.2.2-6], [MQTT3-3.2.2-4]: a refusal that claims a session.
    SessionPresentOnRefusal,
    /// [MQTT-2.2.1-3], [MQTT3-2.3.1-1]: a Packet Identifier of zero.
    PacketIdentifierZero,
    /// [MQTT-3.3.2-2], [MQTT3-3.3.2-2], [MQTT-3.3.2-14]: a name to publish to holds a wildcard.
    WildcardInTopicName {
        /// Which topic name.
        field: Field,
    },
    /// A PUBLISH with an empty Topic Name and no Topic Alias (section 3.3.2.1).
    TopicNameMissing,
    /// [MQTT-4.7.3-1], [MQTT3-4.7.3-1]: a topic name or topic filter without a character.
    EmptyTopic {
        /// Which topic.
        field: Field,
    },
    /// [MQTT-3.3.2-8]: a Topic Alias of zero.
    TopicAliasZero,
    /// A property that the specification does not know (section 2.2.2.2).
    UnknownProperty(u32),
    /// A property that the packet may not carry (table 2-4).
    PropertyNotAllowed(PropertyIdentifier),
    /// A property that the packet may carry once stands there twice.
    DuplicateProperty(PropertyIdentifier),
    /// A property with a value its section excludes.
    PropertyValue {
        /// Which property.
        property: PropertyIdentifier,
        /// The value.
        value: u32,
    },
    /// Authentication Data without Authentication Method (section 3.1.2.11.10).
    AuthenticationDataWithoutMethod,
    /// AUTH without Authentication Method (section 3.15.2.2.2).
    AuthenticationMethodMissing,
    /// [MQTT-3.8.3-2], [MQTT3-3.8.3-3], [MQTT-3.10.3-2], [MQTT3-3.10.3-2]: nothing to subscribe
    /// to, to unsubscribe from or to acknowledge.
    EmptyPayload(PacketType),
    /// [MQTT-3.8.3-5], [MQTT3-3.8.3-4]: a reserved bit of the Subscription Options is set.
    SubscriptionOptionsReserved(u8),
    /// A Maximum QoS of 3 (section 3.8.3.1, [MQTT3-3.8.3-4]).
    SubscriptionQoS3,
    /// A Retain Handling of 3 (section 3.8.3.1).
    RetainHandling3,
    /// A reason code, or on 3.1.1 a return code, that the packet may not carry.
    ReasonCodeNotAllowed {
        /// The packet that carries it.
        packet_type: PacketType,
        /// The code.
        value: u8,
    },
    /// A frame was handed to the decoder of another packet.
    UnexpectedPacketType {
        /// What the decoder reads.
        expected: PacketType,
    },
}

impl DecodeError {
    /// The finding for a topic name that `nexum-types` refused.
    #[cold]
    pub(crate) fn topic_name(field: Field, error: TopicError) -> DecodeError {
        match error {
            TopicError::Empty => DecodeError::EmptyTopic { field },
            TopicError::NullCharacter => DecodeError::NullCharacter { field },
            TopicError::WildcardInName
            | TopicError::MultiLevelWildcardMisplaced
            | TopicError::SingleLevelWildcardNotAlone => DecodeError::WildcardInTopicName { field },
            // A length of two bytes announces no more than the longest topic.
            TopicError::TooLong => DecodeError::Truncated { field },
        }
    }

    /// The Reason Code that tells the peer what it did wrong.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            DecodeError::ReservedPacketType(_)
            | DecodeError::FixedHeaderFlags { .. }
            | DecodeError::PublishQoS3
            | DecodeError::DupAtQoS0
            | DecodeError::VariableByteIntegerTooLong { .. }
            | DecodeError::VariableByteIntegerNotMinimal { .. }
            | DecodeError::Truncated { .. }
            | DecodeError::TrailingBytes { .. }
            | DecodeError::NotUtf8 { .. }
            | DecodeError::NullCharacter { .. }
            // "it MAY treat the packet as a Malformed Packet" (section 1.5.4).
            | DecodeError::ControlCharacter { .. }
            | DecodeError::NonCharacter { .. }
            | DecodeError::ProtocolName
            | DecodeError::ReservedConnectFlag
            | DecodeError::WillQoS3
            | DecodeError::WillFlagsWithoutWill
            | DecodeError::PasswordWithoutUserName
            | DecodeError::ConnectAcknowledgeFlags
            // Not 0x90 or 0x8F: those are for a topic that "is correctly formed, but is not
            // accepted" (tables 2-6 and 3-10).
            | DecodeError::WildcardInTopicName { .. }
            | DecodeError::EmptyTopic { .. }
            | DecodeError::UnknownProperty(_)
            | DecodeError::PropertyNotAllowed(_)
            | DecodeError::SubscriptionOptionsReserved(_) => ReasonCode::MalformedPacket,
            DecodeError::SessionPresentOnRefusal
            | DecodeError::PacketIdentifierZero
            | DecodeError::TopicNameMissing
            | DecodeError::DuplicateProperty(_)
            | DecodeError::PropertyValue { .. }
            | DecodeError::AuthenticationDataWithoutMethod
            | DecodeError::AuthenticationMethodMissing
            | DecodeError::EmptyPayload(_)
            | DecodeError::SubscriptionQoS3
            | DecodeError::RetainHandling3
            | DecodeError::ReasonCodeNotAllowed { .. }
            | DecodeError::UnexpectedPacketType { .. } => ReasonCode::ProtocolError,
            DecodeError::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            DecodeError::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            DecodeError::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::RemainingLength => "the Remaining Length",
            Field::ProtocolName => "the Protocol Name",
            Field::ProtocolVersion => "the Protocol Version",
            Field::ConnectFlags => "the Connect Flags",
            Field::KeepAlive => "the Keep Alive",
            Field::ClientIdentifier => "the Client Identifier",
            Field::WillTopic => "the Will Topic",
            Field::WillPayload => "the Will Payload",
            Field::UserName => "the User Name",
            Field::Password => "the Password",
            Field::ConnectAcknowledgeFlags => "the Connect Acknowledge Flags",
            Field::ReasonCode => "the Reason Code",
            Field::TopicName => "the Topic Name",
            Field::PacketIdentifier => "the Packet Identifier",
            Field::TopicFilter => "a Topic Filter",
            Field::SubscriptionOptions => "the Subscription Options",
            Field::PropertyLength => "the Property Length",
            Field::Properties => "the Properties",
            Field::PropertyIdentifier => "a Property Identifier",
            Field::Property(property) => return write!(f, "the property {property}"),
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DecodeError::ReservedPacketType(value) => write!(f, "packet type {value} is reserved"),
            DecodeError::FixedHeaderFlags { packet_type, flags } => {
                write!(f, "{packet_type} with the fixed header flags 0b{flags:04b}")
            }
            DecodeError::PublishQoS3 => f.write_str("PUBLISH with QoS 3"),
            DecodeError::DupAtQoS0 => f.write_str("PUBLISH of QoS 0 with the DUP flag"),
            DecodeError::VariableByteIntegerTooLong { field } => {
                write!(f, "{field} takes more than four bytes")
            }
            DecodeError::VariableByteIntegerNotMinimal { field } => {
                write!(f, "{field} takes more bytes than it needs")
            }
            DecodeError::PacketTooLarge { size, maximum } => {
                write!(f, "a packet of {size} bytes where {maximum} are accepted")
            }
            DecodeError::Truncated { field } => write!(f, "the packet ends within {field}"),
            DecodeError::TrailingBytes { bytes } => {
                write!(f, "{bytes} bytes follow the last field of the packet")
            }
            DecodeError::NotUtf8 { field } => write!(f, "{field} is not well-formed UTF-8"),
            DecodeError::NullCharacter { field } => write!(f, "{field} holds a null character"),
            DecodeError::ControlCharacter { field } => {
                write!(f, "{field} holds a control character")
            }
            DecodeError::NonCharacter { field } => {
                write!(f, "{field} holds a Unicode non-character")
            }
            DecodeError::ProtocolName => f.write_str("the Protocol Name is not MQTT"),
            DecodeError::UnsupportedProtocolVersion { version } => {
                write!(f, "the Protocol Version {version} is not spoken here")
            }
            DecodeError::ReservedConnectFlag => f.write_str("the reserved Connect Flag is set"),
            DecodeError::WillQoS3 => f.write_str("the Will QoS is 3"),
            DecodeError::WillFlagsWithoutWill => {
                f.write_str("Will QoS or Will Retain is set without the Will Flag")
            }
            DecodeError::PasswordWithoutUserName => f.write_str("a Password without a User Name"),
            DecodeError::ConnectAcknowledgeFlags => {
                f.write_str("a reserved Connect Acknowledge Flag is set")
            }
            DecodeError::SessionPresentOnRefusal => {
                f.write_str("a refused connection with Session Present")
            }
            DecodeError::PacketIdentifierZero => f.write_str("the Packet Identifier is 0"),
            DecodeError::WildcardInTopicName { field } => {
                write!(f, "{field} holds a wildcard character")
            }
            DecodeError::TopicNameMissing => {
                f.write_str("PUBLISH with neither Topic Name nor Topic Alias")
            }
            DecodeError::EmptyTopic { field } => write!(f, "{field} is empty"),
            DecodeError::TopicAliasZero => f.write_str("the Topic Alias is 0"),
            DecodeError::UnknownProperty(value) => write!(f, "no property has identifier {value}"),
            DecodeError::PropertyNotAllowed(property) => {
                write!(f, "the packet may not carry the property {property}")
            }
            DecodeError::DuplicateProperty(property) => {
                write!(
                    f,
                    "the packet carries the property {property} more than once"
                )
            }
            DecodeError::PropertyValue { property, value } => {
                write!(f, "the property {property} may not be {value}")
            }
            DecodeError::AuthenticationDataWithoutMethod => {
                f.write_str("Authentication Data without Authentication Method")
            }
            DecodeError::AuthenticationMethodMissing => {
                f.write_str("AUTH without Authentication Method")
            }
            DecodeError::EmptyPayload(packet_type) => write!(f, "{packet_type} without payload"),
            DecodeError::SubscriptionOptionsReserved(options) => {
                write!(
                    f,
                    "a reserved bit of the Subscription Options 0x{options:02X} is set"
                )
            }
            DecodeError::SubscriptionQoS3 => f.write_str("a subscription with QoS 3"),
            DecodeError::RetainHandling3 => f.write_str("a subscription with Retain Handling 3"),
            DecodeError::ReasonCodeNotAllowed { packet_type, value } => {
                write!(f, "{packet_type} may not carry the code 0x{value:02X}")
            }
            DecodeError::UnexpectedPacketType { expected } => {
                write!(f, "the packet is not a {expected}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a packet cannot be written: what the model holds is beyond what the format can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The Remaining Length would exceed 268,435,455 (section 2.1.4).
    TooLarge,
    /// A string or binary field is longer than 65,535 bytes (sections 1.5.4 and 1.5.6).
    FieldTooLong {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EncodeError::TooLarge => f.write_str("the packet would exceed 268435455 bytes"),
            EncodeError::FieldTooLong { bytes } => {
                write!(f, "a field of {bytes} bytes where 65535 fit")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
