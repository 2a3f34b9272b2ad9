//! The reason code of each finding, and what it says.

use nexum_codec::{DecodeError, Field, PacketType, PropertyIdentifier};
use nexum_types::ReasonCode;

/// Each finding, its reason code and its words. Codes that the specification names are quoted in
/// `error.rs`; the rest follow the definitions of section 1.2.
#[test]
fn reason_codes_and_words() {
    let field = Field::TopicName;
    let packet_type = PacketType::PubRel;
    let alias = PropertyIdentifier::TopicAlias;
    let malformed = ReasonCode::MalformedPacket;
    let protocol_error = ReasonCode::ProtocolError;
    let table = [
        (
            DecodeError::ReservedPacketType(0),
            malformed,
            "packet type 0 is reserved",
        ),
        (
            DecodeError::FixedHeaderFlags {
                packet_type,
                flags: 1,
            },
            malformed,
            "PUBREL with the fixed header flags 0b0001",
        ),
        (DecodeError::PublishQoS3, malformed, "PUBLISH with QoS 3"),
        (
            DecodeError::DupAtQoS0,
            malformed,
            "PUBLISH of QoS 0 with the DUP flag",
        ),
        (
            DecodeError::VariableByteIntegerTooLong {
                field: Field::RemainingLength,
            },
            malformed,
            "the Remaining Length takes more than four bytes",
        ),
        (
            DecodeError::VariableByteIntegerNotMinimal {
                field: Field::PropertyLength,
            },
            malformed,
            "the Property Length takes more bytes than it needs",
        ),
        (
            DecodeError::PacketTooLarge {
                size: 9,
                maximum: 8,
            },
            ReasonCode::PacketTooLarge,
            "a packet of 9 bytes where 8 are accepted",
        ),
        (
            DecodeError::Truncated { field },
            malformed,
            "the packet ends within the Topic Name",
        ),
        (
            DecodeError::TrailingBytes { bytes: 3 },
            malformed,
            "3 bytes follow the last field of the packet",
        ),
        (
            DecodeError::NotUtf8 { field },
            malformed,
            "the Topic Name is not well-formed UTF-8",
        ),
        (
            DecodeError::NullCharacter { field },
            malformed,
            "the Topic Name holds a null character",
        ),
        (
            DecodeError::ControlCharacter { field },
            malformed,
            "the Topic Name holds a control character",
        ),
        (
            DecodeError::NonCharacter { field },
            malformed,
            "the Topic Name holds a Unicode non-character",
        ),
        (
            DecodeError::ProtocolName,
            malformed,
            "the Protocol Name is not MQTT",
        ),
        (
            DecodeError::UnsupportedProtocolVersion { version: 3 },
            ReasonCode::UnsupportedProtocolVersion,
            "the Protocol Version 3 is not spoken here",
        ),
        (
            DecodeError::ReservedConnectFlag,
            malformed,
            "the reserved Connect Flag is set",
        ),
        (DecodeError::WillQoS3, malformed, "the Will QoS is 3"),
        (
            DecodeError::WillFlagsWithoutWill,
            malformed,
            "Will QoS or Will Retain is set without the Will Flag",
        ),
        (
            DecodeError::PasswordWithoutUserName,
            malformed,
            "a Password without a User Name",
        ),
        (
            DecodeError::ConnectAcknowledgeFlags,
            malformed,
            "a reserved Connect Acknowledge Flag is set",
        ),
        (
            DecodeError::SessionPresentOnRefusal,
            protocol_error,
            "a refused connection with Session Present",
        ),
        (
            DecodeError::PacketIdentifierZero,
            protocol_error,
            "the Packet Identifier is 0",
        ),
        (
            DecodeError::WildcardInTopicName {
                field: Field::WillTopic,
            },
            malformed,
            "the Will Topic holds a wildcard character",
        ),
        (
            DecodeError::TopicNameMissing,
            protocol_error,
            "PUBLISH with neither Topic Name nor Topic Alias",
        ),
        (
            DecodeError::EmptyTopic {
                field: Field::TopicFilter,
            },
            malformed,
            "a Topic Filter is empty",
        ),
        (
            DecodeError::TopicAliasZero,
            ReasonCode::TopicAliasInvalid,
            "the Topic Alias is 0",
        ),
        (
            DecodeError::UnknownProperty(5),
            malformed,
            "no property has identifier 5",
        ),
        (
            DecodeError::PropertyNotAllowed(alias),
            malformed,
            "the packet may not carry the property Topic Alias",
        ),
        (
            DecodeError::DuplicateProperty(alias),
            protocol_error,
            "the packet carries the property Topic Alias more than once",
        ),
        (
            DecodeError::PropertyValue {
                property: alias,
                value: 2,
            },
            protocol_error,
            "the property Topic Alias may not be 2",
        ),
        (
            DecodeError::AuthenticationDataWithoutMethod,
            protocol_error,
            "Authentication Data without Authentication Method",
        ),
        (
            DecodeError::AuthenticationMethodMissing,
            protocol_error,
            "AUTH without Authentication Method",
        ),
        (
            DecodeError::EmptyPayload(PacketType::Subscribe),
            protocol_error,
            "SUBSCRIBE without payload",
        ),
        (
            DecodeError::SubscriptionOptionsReserved(0xC0),
            malformed,
            "a reserved bit of the Subscription Options 0xC0 is set",
        ),
        (
            DecodeError::SubscriptionQoS3,
            protocol_error,
            "a subscription with QoS 3",
        ),
        (
            DecodeError::RetainHandling3,
            protocol_error,
            "a subscription with Retain Handling 3",
        ),
        (
            DecodeError::ReasonCodeNotAllowed {
                packet_type,
                value: 5,
            },
            protocol_error,
            "PUBREL may not carry the code 0x05",
        ),
        (
            DecodeError::UnexpectedPacketType {
                expected: PacketType::Publish,
            },
            protocol_error,
            "the packet is not a PUBLISH",
        ),
    ];
    for (error, reason_code, words) in table {
        assert_eq!(error.reason_code(), reason_code, "{error}");
        assert_eq!(error.to_string(), words);
    }
    let within = DecodeError::Truncated {
        field: Field::Property(alias),
    };
    assert_eq!(
        within.to_string(),
        "the packet ends within the property Topic Alias"
    );
}

/// A finding travels in every result of decoding a PUBLISH.
#[test]
fn findings_are_small() {
    assert!(
        size_of::<DecodeError>() <= 12,
        "{}",
        size_of::<DecodeError>()
    );
}
