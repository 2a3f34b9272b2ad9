//! Which reason codes which packet may carry, and the return codes of MQTT 3.1.1.

use nexum_types::ReasonCode;

use crate::error::{DecodeError, Field};
use crate::frame::PacketType;
use crate::reader::Reader;

/// Whether a packet of this type may carry the reason code in MQTT 5 (the table in the packet's
/// own section).
#[must_use]
pub const fn is_allowed(packet_type: PacketType, reason_code: ReasonCode) -> bool {
    use ReasonCode as R;
    match packet_type {
        // [MQTT-3.2.2-8], table 3-1.
        PacketType::ConnAck => matches!(
            reason_code,
            R::Success
                | R::UnspecifiedError
                | R::MalformedPacket
                | R::ProtocolError
                | R::ImplementationSpecificError
                | R::UnsupportedProtocolVersion
                | R::ClientIdentifierNotValid
                | R::BadUserNameOrPassword
                | R::NotAuthorized
                | R::ServerUnavailable
                | R::ServerBusy
                | R::Banned
                | R::BadAuthenticationMethod
                | R::TopicNameInvalid
                | R::PacketTooLarge
                | R::QuotaExceeded
                | R::PayloadFormatInvalid
                | R::RetainNotSupported
                | R::QoSNotSupported
                | R::UseAnotherServer
                | R::ServerMoved
                | R::ConnectionRateExceeded
        ),
        // [MQTT-3.4.2-1], table 3-4; [MQTT-3.5.2-1], table 3-5.
        PacketType::PubAck | PacketType::PubRec => matches!(
            reason_code,
            R::Success
                | R::NoMatchingSubscribers
                | R::UnspecifiedError
                | R::ImplementationSpecificError
                | R::NotAuthorized
                | R::TopicNameInvalid
                | R::PacketIdentifierInUse
                | R::QuotaExceeded
                | R::PayloadFormatInvalid
        ),
        // [MQTT-3.6.2-1], table 3-6; [MQTT-3.7.2-1], table 3-7.
        PacketType::PubRel | PacketType::PubComp => {
            matches!(reason_code, R::Success | R::PacketIdentifierNotFound)
        }
        // [MQTT-3.9.3-2], table 3-8.
        PacketType::SubAck => matches!(
            reason_code,
            R::Success
                | R::GrantedQoS1
                | R::GrantedQoS2
                | R::UnspecifiedError
                | R::ImplementationSpecificError
                | R::NotAuthorized
                | R::TopicFilterInvalid
                | R::PacketIdentifierInUse
                | R::QuotaExceeded
                | R::SharedSubscriptionsNotSupported
                | R::SubscriptionIdentifiersNotSupported
                | R::WildcardSubscriptionsNotSupported
        ),
        // [MQTT-3.11.3-2], table 3-9.
        PacketType::UnsubAck => matches!(
            reason_code,
            R::Success
                | R::NoSubscriptionExisted
                | R::UnspecifiedError
                | R::ImplementationSpecificError
                | R::NotAuthorized
                | R::TopicFilterInvalid
                | R::PacketIdentifierInUse
        ),
        // [MQTT-3.14.2-1], table 3-10.
        PacketType::Disconnect => matches!(
            reason_code,
            R::Success
                | R::DisconnectWithWill
                | R::UnspecifiedError
                | R::MalformedPacket
                | R::ProtocolError
                | R::ImplementationSpecificError
                | R::NotAuthorized
                | R::ServerBusy
                | R::ServerShuttingDown
                | R::KeepAliveTimeout
                | R::SessionTakenOver
                | R::TopicFilterInvalid
                | R::TopicNameInvalid
                | R::ReceiveMaximumExceeded
                | R::TopicAliasInvalid
                | R::PacketTooLarge
                | R::MessageRateTooHigh
                | R::QuotaExceeded
                | R::AdministrativeAction
                | R::PayloadFormatInvalid
                | R::RetainNotSupported
                | R::QoSNotSupported
                | R::UseAnotherServer
                | R::ServerMoved
                | R::SharedSubscriptionsNotSupported
                | R::ConnectionRateExceeded
                | R::MaximumConnectTime
                | R::SubscriptionIdentifiersNotSupported
                | R::WildcardSubscriptionsNotSupported
        ),
        // [MQTT-3.15.2-1], table 3-11.
        PacketType::Auth => {
            matches!(
                reason_code,
                R::Success | R::ContinueAuthentication | R::ReAuthenticate
            )
        }
        PacketType::Connect
        | PacketType::Publish
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq
        | PacketType::PingResp => false,
    }
}

/// Reads a reason code that the packet may carry.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    packet_type: PacketType,
) -> Result<ReasonCode, DecodeError> {
    check(reader.u8(Field::ReasonCode)?, packet_type)
}

/// The reason code with this value if the packet may carry it.
pub(crate) fn check(value: u8, packet_type: PacketType) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_value(value)
        .filter(|&reason_code| is_allowed(packet_type, reason_code))
        .ok_or(DecodeError::ReasonCodeNotAllowed { packet_type, value })
}

/// The Connect Return Code of MQTT 3.1.1 (section 3.2.2.3) that says of a reason code what 3.1.1
/// can say: 0 to 5.
#[must_use]
pub const fn return_code(reason_code: ReasonCode) -> u8 {
    use ReasonCode as R;
    match reason_code {
        R::Success
        | R::GrantedQoS1
        | R::GrantedQoS2
        | R::DisconnectWithWill
        | R::NoMatchingSubscribers
        | R::NoSubscriptionExisted
        | R::ContinueAuthentication
        | R::ReAuthenticate => 0,
        R::UnsupportedProtocolVersion => 1,
        R::ClientIdentifierNotValid => 2,
        R::BadUserNameOrPassword | R::BadAuthenticationMethod => 4,
        R::NotAuthorized | R::Banned => 5,
        R::UnspecifiedError
        | R::MalformedPacket
        | R::ProtocolError
        | R::ImplementationSpecificError
        | R::ServerUnavailable
        | R::ServerBusy
        | R::ServerShuttingDown
        | R::KeepAliveTimeout
        | R::SessionTakenOver
        | R::TopicFilterInvalid
        | R::TopicNameInvalid
        | R::PacketIdentifierInUse
        | R::PacketIdentifierNotFound
        | R::ReceiveMaximumExceeded
        | R::TopicAliasInvalid
        | R::PacketTooLarge
        | R::MessageRateTooHigh
        | R::QuotaExceeded
        | R::AdministrativeAction
        | R::PayloadFormatInvalid
        | R::RetainNotSupported
        | R::QoSNotSupported
        | R::UseAnotherServer
        | R::ServerMoved
        | R::SharedSubscriptionsNotSupported
        | R::ConnectionRateExceeded
        | R::MaximumConnectTime
        | R::SubscriptionIdentifiersNotSupported
        | R::WildcardSubscriptionsNotSupported => 3,
    }
}

/// The reason code that stands for a Connect Return Code of MQTT 3.1.1.
pub(crate) const fn from_return_code(return_code: u8) -> Result<ReasonCode, DecodeError> {
    Ok(match return_code {
        0 => ReasonCode::Success,
        1 => ReasonCode::UnsupportedProtocolVersion,
        2 => ReasonCode::ClientIdentifierNotValid,
        3 => ReasonCode::ServerUnavailable,
        4 => ReasonCode::BadUserNameOrPassword,
        5 => ReasonCode::NotAuthorized,
        // "6-255: Reserved for future use" (table 3.1).
        value => {
            return Err(DecodeError::ReasonCodeNotAllowed {
                packet_type: PacketType::ConnAck,
                value,
            });
        }
    })
}
