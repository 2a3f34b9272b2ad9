//! CONNACK (section 3.2).

use nexum_types::{ProtocolVersion, QoS, ReasonCode};

use crate::error::{DecodeError, EncodeError, Field};
use crate::frame::PacketType;
use crate::packet::{ConnAck, ConnAckProperties};
use crate::property::{Property, PropertyIdentifier, PropertySection, PropertySet};
use crate::reader::Reader;
use crate::reason;
use crate::writer::{Writer, write_packet};

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::SessionExpiryInterval,
    PropertyIdentifier::ReceiveMaximum,
    PropertyIdentifier::MaximumQoS,
    PropertyIdentifier::RetainAvailable,
    PropertyIdentifier::MaximumPacketSize,
    PropertyIdentifier::AssignedClientIdentifier,
    PropertyIdentifier::TopicAliasMaximum,
    PropertyIdentifier::ReasonString,
    PropertyIdentifier::UserProperty,
    PropertyIdentifier::WildcardSubscriptionAvailable,
    PropertyIdentifier::SubscriptionIdentifierAvailable,
    PropertyIdentifier::SharedSubscriptionAvailable,
    PropertyIdentifier::ServerKeepAlive,
    PropertyIdentifier::ResponseInformation,
    PropertyIdentifier::ServerReference,
    PropertyIdentifier::AuthenticationMethod,
    PropertyIdentifier::AuthenticationData,
]);

pub(crate) fn decode(body: &[u8], version: ProtocolVersion) -> Result<ConnAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    // [MQTT-3.2.2-1]
    let session_present = match reader.u8(Field::ConnectAcknowledgeFlags)? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::ConnectAcknowledgeFlags),
    };
    let (reason_code, properties) = match version {
        ProtocolVersion::V3_1_1 => {
            let return_code = reader.u8(Field::ReasonCode)?;
            (
                reason::from_return_code(return_code)?,
                ConnAckProperties::default(),
            )
        }
        ProtocolVersion::V5 => (
            // [MQTT-3.2.2-8]
            reason::read(&mut reader, PacketType::ConnAck)?,
            decode_properties(&mut reader)?,
        ),
    };
    // [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
    if session_present && reason_code != ReasonCode::Success {
        return Err(DecodeError::SessionPresentOnRefusal);
    }
    reader.finish()?;
    Ok(ConnAck {
        session_present,
        reason_code,
        properties,
    })
}

fn decode_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnAckProperties<'a>, DecodeError> {
    let mut section = PropertySection::take(reader, ALLOWED)?;
    let mut properties = ConnAckProperties::default();
    while let Some(property) = section.next()? {
        let p = &mut properties;
        match property {
            Property::SessionExpiryInterval(seconds) => {
                p.session_expiry_interval_seconds = Some(seconds);
            }
            Property::ReceiveMaximum(maximum) => p.receive_maximum = Some(maximum),
            Property::MaximumQoS(qos) => p.maximum_qos = Some(qos),
            Property::RetainAvailable(available) => p.retain_available = Some(available),
            Property::MaximumPacketSize(bytes) => p.maximum_packet_size = Some(bytes),
            Property::AssignedClientIdentifier(id) => p.assigned_client_identifier = Some(id),
            Property::TopicAliasMaximum(maximum) => p.topic_alias_maximum = Some(maximum),
            Property::ReasonString(text) => p.reason_string = Some(text),
            Property::WildcardSubscriptionAvailable(available) => {
                p.wildcard_subscription_available = Some(available);
            }
            Property::SubscriptionIdentifierAvailable(available) => {
                p.subscription_identifiers_available = Some(available);
            }
            Property::SharedSubscriptionAvailable(available) => {
                p.shared_subscription_available = Some(available);
            }
            Property::ServerKeepAlive(seconds) => p.server_keep_alive_seconds = Some(seconds),
            Property::ResponseInformation(text) => p.response_information = Some(text),
            Property::ServerReference(text) => p.server_reference = Some(text),
            Property::AuthenticationMethod(method) => p.authentication_method = Some(method),
            Property::AuthenticationData(data) => p.authentication_data = Some(data),
            // They stay encoded.
            other => debug_assert!(matches!(other, Property::UserProperty(_, _)), "{other:?}"),
        }
    }
    properties.user_properties = section.user_properties();
    Ok(properties)
}

pub(crate) fn encode(
    conn_ack: &ConnAck<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let ConnAck {
        session_present,
        reason_code,
        properties,
    } = conn_ack;
    // [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
    let session_present = *session_present && *reason_code == ReasonCode::Success;
    write_packet(PacketType::ConnAck.first_byte(), out, |writer| {
        writer.u8(u8::from(session_present));
        match version {
            ProtocolVersion::V3_1_1 => writer.u8(reason::return_code(*reason_code)),
            ProtocolVersion::V5 => {
                debug_assert!(
                    reason::is_allowed(PacketType::ConnAck, *reason_code),
                    "CONNACK {reason_code}"
                );
                writer.reason_code(*reason_code);
                writer.properties(|writer| write_properties(properties, writer));
            }
        }
    })
}

fn write_properties(properties: &ConnAckProperties<'_>, writer: &mut Writer<'_>) {
    let p = properties;
    writer.optional(
        p.session_expiry_interval_seconds,
        Property::SessionExpiryInterval,
    );
    writer.optional(p.receive_maximum, Property::ReceiveMaximum);
    // "If the Maximum QoS is absent, the Client uses a Maximum QoS of 2"; 2 itself is no value.
    let maximum_qos = p.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
    writer.optional(maximum_qos, Property::MaximumQoS);
    writer.optional(p.retain_available, Property::RetainAvailable);
    writer.optional(p.maximum_packet_size, Property::MaximumPacketSize);
    writer.optional(
        p.assigned_client_identifier,
        Property::AssignedClientIdentifier,
    );
    writer.optional(p.topic_alias_maximum, Property::TopicAliasMaximum);
    writer.optional(p.reason_string, Property::ReasonString);
    writer.user_properties(p.user_properties);
    writer.optional(
        p.wildcard_subscription_available,
        Property::WildcardSubscriptionAvailable,
    );
    writer.optional(
        p.subscription_identifiers_available,
        Property::SubscriptionIdentifierAvailable,
    );
    writer.optional(
        p.shared_subscription_available,
        Property::SharedSubscriptionAvailable,
    );
    writer.optional(p.server_keep_alive_seconds, Property::ServerKeepAlive);
    writer.optional(p.response_information, Property::ResponseInformation);
    writer.optional(p.server_reference, Property::ServerReference);
    writer.optional(p.authentication_method, Property::AuthenticationMethod);
    writer.optional(p.authentication_data, Property::AuthenticationData);
}
