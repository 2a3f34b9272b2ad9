//! CONNECT (section 3.1).

use std::num::NonZeroU16;

use nexum_types::{ProtocolVersion, QoS};

use crate::error::{DecodeError, EncodeError, Field};
use crate::frame::{Frame, PacketType};
use crate::packet::{Connect, ConnectProperties, Will};
use crate::property::{
    ForwardedRun, Property, PropertyIdentifier, PropertySection, PropertySet, UserProperties,
    is_forwarded,
};
use crate::reader::Reader;
use crate::writer::{Writer, write_packet};

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::SessionExpiryInterval,
    PropertyIdentifier::ReceiveMaximum,
    PropertyIdentifier::MaximumPacketSize,
    PropertyIdentifier::TopicAliasMaximum,
    PropertyIdentifier::RequestResponseInformation,
    PropertyIdentifier::RequestProblemInformation,
    PropertyIdentifier::UserProperty,
    PropertyIdentifier::AuthenticationMethod,
    PropertyIdentifier::AuthenticationData,
]);

const ALLOWED_IN_WILL: PropertySet = PropertySet::of(&[
    PropertyIdentifier::WillDelayInterval,
    PropertyIdentifier::PayloadFormatIndicator,
    PropertyIdentifier::MessageExpiryInterval,
    PropertyIdentifier::ContentType,
    PropertyIdentifier::ResponseTopic,
    PropertyIdentifier::CorrelationData,
    PropertyIdentifier::UserProperty,
]);

/// The bits of the Connect Flags (figure 3-4).
mod flag {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN_START: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USER_NAME: u8 = 0x80;
    pub(super) const WILL_QOS_SHIFT: u32 = 3;
}

impl Default for ConnectProperties<'_> {
    /// What holds when CONNECT carries no property.
    fn default() -> Self {
        ConnectProperties {
            session_expiry_interval_seconds: None,
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::EMPTY,
        }
    }
}

/// The version in whose form a CONNECT is refused, even one that does not decode: the client's own
/// or the one nearest to it. `None` if what came is no MQTT and no answer would be understood.
#[must_use]
pub fn refusal_version(frame: Frame<'_>) -> Option<ProtocolVersion> {
    if frame.packet_type() != Some(PacketType::Connect) {
        return None;
    }
    match read_version(&mut Reader::new(frame.body)) {
        Ok(version) => Some(version),
        // The CONNACK of MQTT 3.1 is that of 3.1.1.
        Err(DecodeError::UnsupportedProtocolVersion { version: 3 | 4 }) => {
            Some(ProtocolVersion::V3_1_1)
        }
        Err(DecodeError::UnsupportedProtocolVersion { .. }) => Some(ProtocolVersion::V5),
        Err(_) => None,
    }
}

pub(crate) fn decode(body: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let version = read_version(&mut reader)?;
    let flags = reader.u8(Field::ConnectFlags)?;
    check_flags(flags, version)?;
    let keep_alive_seconds = reader.u16(Field::KeepAlive)?;
    let properties = match version {
        ProtocolVersion::V3_1_1 => ConnectProperties::default(),
        ProtocolVersion::V5 => decode_properties(&mut reader)?,
    };
    // [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT3-3.1.3-1] [MQTT3-3.1.3-3] [MQTT3-3.1.3-4]
    let client_id = reader.name(Field::ClientIdentifier)?;
    // [MQTT-3.1.2-9] [MQTT3-3.1.2-9]
    let will = if flags & flag::WILL != 0 {
        Some(decode_will(&mut reader, flags, version)?)
    } else {
        None
    };
    // [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.3-12] [MQTT3-3.1.2-18] [MQTT3-3.1.2-19] [MQTT3-3.1.3-11]
    let user_name = if flags & flag::USER_NAME != 0 {
        Some(reader.name(Field::UserName)?)
    } else {
        None
    };
    // [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT3-3.1.2-20] [MQTT3-3.1.2-21]
    let password = if flags & flag::PASSWORD != 0 {
        Some(reader.binary(Field::Password)?)
    } else {
        None
    };
    reader.finish()?;
    Ok(Connect {
        version,
        clean_start: flags & flag::CLEAN_START != 0,
        keep_alive_seconds,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name = reader.binary(Field::ProtocolName)?;
    match name {
        b"MQTT" => {}
        // MQTT 3.1, which calls itself so, is a version of this protocol that is not spoken here.
        b"MQIsdp" => {
            let version = reader.u8(Field::ProtocolVersion)?;
            return Err(DecodeError::UnsupportedProtocolVersion { version });
        }
        // [MQTT-3.1.2-1] [MQTT3-3.1.2-1]
        _ => return Err(DecodeError::ProtocolName),
    }
    match reader.u8(Field::ProtocolVersion)? {
        4 => Ok(ProtocolVersion::V3_1_1),
        5 => Ok(ProtocolVersion::V5),
        // [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
        version => Err(DecodeError::UnsupportedProtocolVersion { version }),
    }
}

fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    // [MQTT-3.1.2-3] [MQTT3-3.1.2-3]
    if flags & flag::RESERVED != 0 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    // [MQTT-3.1.2-12] [MQTT3-3.1.2-14]
    if flags & flag::WILL_QOS == flag::WILL_QOS {
        return Err(DecodeError::WillQoS3);
    }
    // [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-15]
    if flags & flag::WILL == 0 && flags & (flag::WILL_QOS | flag::WILL_RETAIN) != 0 {
        return Err(DecodeError::WillFlagsWithoutWill);
    }
    // [MQTT3-3.1.2-22]; "This version of the protocol allows the sending of a Password with no
    // User Name, where MQTT v3.1.1 did not" (MQTT 5 section 3.1.2.9).
    if version == ProtocolVersion::V3_1_1
        && flags & (flag::USER_NAME | flag::PASSWORD) == flag::PASSWORD
    {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(())
}

fn decode_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnectProperties<'a>, DecodeError> {
    let mut section = PropertySection::take(reader, ALLOWED)?;
    let mut properties = ConnectProperties::default();
    while let Some(property) = section.next()? {
        match property {
            Property::SessionExpiryInterval(seconds) => {
                properties.session_expiry_interval_seconds = Some(seconds);
            }
            Property::ReceiveMaximum(maximum) => properties.receive_maximum = maximum,
            Property::MaximumPacketSize(bytes) => properties.maximum_packet_size = Some(bytes),
            Property::TopicAliasMaximum(maximum) => properties.topic_alias_maximum = maximum,
            Property::RequestResponseInformation(request) => {
                properties.request_response_information = request;
            }
            Property::RequestProblemInformation(request) => {
                properties.request_problem_information = request;
            }
            Property::AuthenticationMethod(method) => {
                properties.authentication_method = Some(method);
            }
            Property::AuthenticationData(data) => properties.authentication_data = Some(data),
            // They stay encoded.
            other => debug_assert!(matches!(other, Property::UserProperty(_, _)), "{other:?}"),
        }
    }
    // "It is a Protocol Error to include Authentication Data if there is no Authentication Method"
    // (section 3.1.2.11.10).
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(DecodeError::AuthenticationDataWithoutMethod);
    }
    properties.user_properties = section.user_properties();
    Ok(properties)
}

fn decode_will<'a>(
    reader: &mut Reader<'a>,
    flags: u8,
    version: ProtocolVersion,
) -> Result<Will<'a>, DecodeError> {
    let mut delay_interval_seconds = 0;
    let mut message_expiry_interval_seconds = None;
    let mut properties = Default::default();
    if version == ProtocolVersion::V5 {
        let mut section = PropertySection::take(reader, ALLOWED_IN_WILL)?;
        let mut forwarded = ForwardedRun::default();
        loop {
            let start = section.position();
            let Some(property) = section.next()? else {
                break;
            };
            forwarded.add(property.identifier(), start, section.position());
            match property {
                Property::WillDelayInterval(seconds) => delay_interval_seconds = seconds,
                Property::MessageExpiryInterval(seconds) => {
                    message_expiry_interval_seconds = Some(seconds);
                }
                other => debug_assert!(is_forwarded(other.identifier()), "{other:?}"),
            }
        }
        properties = forwarded.of(section.bytes());
    }
    // [MQTT-3.1.3-11] [MQTT3-3.1.3-10] [MQTT-4.7.3-1] [MQTT3-4.7.3-1]
    let field = Field::WillTopic;
    let topic = reader
        .topic_name(field)?
        .ok_or(DecodeError::EmptyTopic { field })?;
    let payload = reader.binary(Field::WillPayload)?;
    let qos = QoS::from_bits((flags & flag::WILL_QOS) >> flag::WILL_QOS_SHIFT)
        .ok_or(DecodeError::WillQoS3)?;
    Ok(Will {
        topic,
        payload,
        qos,
        retain: flags & flag::WILL_RETAIN != 0,
        delay_interval_seconds,
        message_expiry_interval_seconds,
        properties,
    })
}

pub(crate) fn encode(connect: &Connect<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_packet(PacketType::Connect.first_byte(), out, |writer| {
        writer.string("MQTT");
        writer.u8(match connect.version {
            ProtocolVersion::V3_1_1 => 4,
            ProtocolVersion::V5 => 5,
        });
        writer.u8(flags(connect));
        writer.u16(connect.keep_alive_seconds);
        if connect.version == ProtocolVersion::V5 {
            writer.properties(|writer| write_properties(&connect.properties, writer));
        }
        writer.string(connect.client_id);
        if let Some(will) = &connect.will {
            if connect.version == ProtocolVersion::V5 {
                writer.properties(|writer| write_will_properties(will, writer));
            }
            writer.string(will.topic.as_str());
            writer.binary(will.payload);
        }
        if let Some(user_name) = connect.user_name {
            writer.string(user_name);
        }
        if let Some(password) = connect.password {
            writer.binary(password);
        }
    })
}

fn flags(connect: &Connect<'_>) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let will = connect.will.map_or(0, |will| {
        flag::WILL | will.qos.bits() << flag::WILL_QOS_SHIFT | bit(will.retain, flag::WILL_RETAIN)
    });
    bit(connect.clean_start, flag::CLEAN_START)
        | will
        | bit(connect.password.is_some(), flag::PASSWORD)
        | bit(connect.user_name.is_some(), flag::USER_NAME)
}

/// Leaves out what says the same as its absence.
fn write_properties(properties: &ConnectProperties<'_>, writer: &mut Writer<'_>) {
    let unless = |default: u16, value: u16| (value != default).then_some(value);
    writer.optional(
        properties.session_expiry_interval_seconds,
        Property::SessionExpiryInterval,
    );
    if properties.receive_maximum != NonZeroU16::MAX {
        writer.property(Property::ReceiveMaximum(properties.receive_maximum));
    }
    writer.optional(properties.maximum_packet_size, Property::MaximumPacketSize);
    writer.optional(
        unless(0, properties.topic_alias_maximum),
        Property::TopicAliasMaximum,
    );
    if properties.request_response_information {
        writer.property(Property::RequestResponseInformation(true));
    }
    if !properties.request_problem_information {
        writer.property(Property::RequestProblemInformation(false));
    }
    writer.user_properties(properties.user_properties);
    writer.optional(
        properties.authentication_method,
        Property::AuthenticationMethod,
    );
    writer.optional(properties.authentication_data, Property::AuthenticationData);
}

fn write_will_properties(will: &Will<'_>, writer: &mut Writer<'_>) {
    if will.delay_interval_seconds != 0 {
        writer.property(Property::WillDelayInterval(will.delay_interval_seconds));
    }
    writer.optional(
        will.message_expiry_interval_seconds,
        Property::MessageExpiryInterval,
    );
    will.properties.for_each_run(|run| writer.bytes(run));
}
