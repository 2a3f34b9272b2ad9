//! PUBLISH (section 3.3), the packet that a broker reads and writes most.

use nexum_types::{PacketIdentifier, ProtocolVersion};

use crate::error::{DecodeError, EncodeError, Field};
use crate::frame::{Frame, PacketType};
use crate::packet::{Publish, PublishDelivery};
use crate::property::{
    ForwardedProperties, ForwardedRun, Property, PropertyIdentifier, PropertySection, PropertySet,
    SubscriptionIdentifiers, is_forwarded,
};
use crate::reader::Reader;
use crate::variable_byte_integer;
use crate::writer::write_packet;

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::PayloadFormatIndicator,
    PropertyIdentifier::MessageExpiryInterval,
    PropertyIdentifier::TopicAlias,
    PropertyIdentifier::ResponseTopic,
    PropertyIdentifier::CorrelationData,
    PropertyIdentifier::UserProperty,
    PropertyIdentifier::SubscriptionIdentifier,
    PropertyIdentifier::ContentType,
]);

/// The flags of the fixed header (figure 3-8).
mod flag {
    pub(super) const DUP: u8 = 0b1000;
    pub(super) const QOS: u8 = 0b0110;
    pub(super) const RETAIN: u8 = 0b0001;
}

impl PublishDelivery {
    /// Its level.
    #[inline]
    #[must_use]
    pub const fn qos(self) -> nexum_types::QoS {
        match self {
            PublishDelivery::AtMostOnce => nexum_types::QoS::AtMostOnce,
            PublishDelivery::AtLeastOnce(_) => nexum_types::QoS::AtLeastOnce,
            PublishDelivery::ExactlyOnce(_) => nexum_types::QoS::ExactlyOnce,
        }
    }

    /// Its Packet Identifier, if it has one.
    #[inline]
    #[must_use]
    pub const fn packet_identifier(self) -> Option<PacketIdentifier> {
        match self {
            PublishDelivery::AtMostOnce => None,
            PublishDelivery::AtLeastOnce(id) | PublishDelivery::ExactlyOnce(id) => Some(id),
        }
    }
}

/// Decodes a PUBLISH.
///
/// # Errors
/// The first rule that the packet breaks.
#[inline]
pub fn decode_publish(
    frame: Frame<'_>,
    version: ProtocolVersion,
) -> Result<Publish<'_>, DecodeError> {
    if frame.packet_type() != Some(PacketType::Publish) {
        return Err(DecodeError::UnexpectedPacketType {
            expected: PacketType::Publish,
        });
    }
    let mut reader = Reader::new(frame.body);
    // [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT3-3.3.2-1] [MQTT3-3.3.2-2]
    let topic = reader.topic_name(Field::TopicName)?;
    let dup = frame.first_byte & flag::DUP != 0;
    let delivery = match frame.first_byte & flag::QOS {
        // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
        0b000 if dup => return Err(DecodeError::DupAtQoS0),
        // [MQTT-2.2.1-2] [MQTT3-2.3.1-5]
        0b000 => PublishDelivery::AtMostOnce,
        // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
        0b010 => PublishDelivery::AtLeastOnce(reader.packet_identifier()?),
        0b100 => PublishDelivery::ExactlyOnce(reader.packet_identifier()?),
        // [MQTT-3.3.1-4] [MQTT3-3.3.1-4]
        _ => return Err(DecodeError::PublishQoS3),
    };
    let mut publish = Publish {
        dup,
        retain: frame.first_byte & flag::RETAIN != 0,
        delivery,
        topic,
        topic_alias: None,
        message_expiry_interval_seconds: None,
        properties: ForwardedProperties::default(),
        subscription_identifiers: SubscriptionIdentifiers::EMPTY,
        payload: &[],
    };
    match version {
        ProtocolVersion::V3_1_1 => {}
        ProtocolVersion::V5 => {
            let section = PropertySection::take(&mut reader, ALLOWED)?;
            if !section.bytes().is_empty() {
                decode_properties(section, &mut publish)?;
            }
        }
    }
    // "It is a Protocol Error if the Topic Name is zero length and there is no Topic Alias"
    // (section 3.3.2.1); [MQTT-4.7.3-1] [MQTT3-4.7.3-1].
    if publish.topic.is_none() && publish.topic_alias.is_none() {
        return Err(DecodeError::TopicNameMissing);
    }
    publish.payload = reader.rest();
    Ok(publish)
}

fn decode_properties<'a>(
    section: PropertySection<'a>,
    publish: &mut Publish<'a>,
) -> Result<(), DecodeError> {
    // "Multiple Subscription Identifiers will be included if the publication is the result of a
    // match to more than one subscription" (section 3.3.2.3.8).
    let mut section = section.repeating(PropertyIdentifier::SubscriptionIdentifier);
    let mut forwarded = ForwardedRun::default();
    loop {
        let start = section.position();
        let Some(property) = section.next()? else {
            break;
        };
        forwarded.add(property.identifier(), start, section.position());
        match property {
            Property::TopicAlias(alias) => publish.topic_alias = Some(alias),
            Property::MessageExpiryInterval(seconds) => {
                publish.message_expiry_interval_seconds = Some(seconds);
            }
            Property::SubscriptionIdentifier(_) => {
                publish.subscription_identifiers =
                    SubscriptionIdentifiers::from_checked(section.bytes());
            }
            other => debug_assert!(is_forwarded(other.identifier()), "{other:?}"),
        }
    }
    publish.properties = forwarded.of(section.bytes());
    Ok(())
}

/// A PUBLISH to be written without its payload, which the caller appends or shares.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The DUP flag.
    pub dup: bool,
    /// The RETAIN flag.
    pub retain: bool,
    /// The QoS with the Packet Identifier it needs.
    pub delivery: PublishDelivery,
    /// Empty when the alias alone stands for it.
    pub topic: &'a str,
    /// Not 0. Left out on 3.1.1, as all properties are.
    pub topic_alias: Option<u16>,
    /// What is left of the message's life.
    pub message_expiry_interval_seconds: Option<u32>,
    /// Each 1 to 268,435,455.
    pub subscription_identifiers: &'a [u32],
    /// Encoded, as [`ForwardedProperties::write_to`] gives them.
    pub properties: &'a [u8],
    /// The length of the payload that follows.
    pub payload_bytes: usize,
}

/// The lengths that a PUBLISH announces.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// Of the property section; nothing on 3.1.1.
    properties: u32,
    /// The Remaining Length.
    remaining: u32,
}

impl Lengths {
    #[inline]
    fn of(p: &Outbound<'_>, version: ProtocolVersion) -> Lengths {
        let packet_identifier = match p.delivery {
            PublishDelivery::AtMostOnce => 0,
            PublishDelivery::AtLeastOnce(_) | PublishDelivery::ExactlyOnce(_) => 2,
        };
        let mut remaining = 2 + p.topic.len() + packet_identifier + p.payload_bytes;
        let mut properties = 0;
        match version {
            ProtocolVersion::V3_1_1 => {}
            ProtocolVersion::V5 => {
                properties = p.properties.len();
                properties += if p.topic_alias.is_some() { 3 } else { 0 };
                properties += if p.message_expiry_interval_seconds.is_some() {
                    5
                } else {
                    0
                };
                for &identifier in p.subscription_identifiers {
                    properties += 1 + variable_byte_integer::size(identifier);
                }
                remaining += variable_byte_integer::size(properties as u32) + properties;
            }
        }
        debug_assert!(
            remaining <= variable_byte_integer::MAXIMUM as usize,
            "a message fits"
        );
        Lengths {
            properties: properties as u32,
            remaining: remaining as u32,
        }
    }

    /// Of the whole packet.
    #[inline]
    const fn packet(self) -> usize {
        1 + variable_byte_integer::size(self.remaining) + self.remaining as usize
    }
}

/// The size of the whole packet with its payload, in bytes: what Maximum Packet Size limits
/// ([MQTT-3.1.2-24]).
#[inline]
#[must_use]
pub fn publish_size(p: &Outbound<'_>, version: ProtocolVersion) -> usize {
    Lengths::of(p, version).packet()
}

/// Appends a PUBLISH without its payload.
///
/// What comes from a packet that was decoded fits into one again; see [`publish_size`] for a
/// receiver that takes less.
#[inline]
pub fn encode_publish_header(p: &Outbound<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    let lengths = Lengths::of(p, version);
    debug_assert!(
        p.topic.len() <= usize::from(u16::MAX),
        "a topic name is no longer"
    );
    out.reserve(lengths.packet() - p.payload_bytes);
    let first_byte = first_byte(p.dup, p.retain, p.delivery);
    let topic_length = p.topic.len() as u16;
    // Each extension of the vector has a price, so neighbours are written together.
    let [high, low] = topic_length.to_be_bytes();
    match lengths.remaining {
        length @ 0..0x80 => out.extend_from_slice(&[first_byte, length as u8, high, low]),
        length @ 0x80..0x4000 => {
            let length = [length as u8 | 0x80, (length >> 7) as u8];
            out.extend_from_slice(&[first_byte, length[0], length[1], high, low]);
        }
        length => {
            out.push(first_byte);
            extend_variable_byte_integer(length, out);
            out.extend_from_slice(&[high, low]);
        }
    }
    out.extend_from_slice(p.topic.as_bytes());
    match p.delivery {
        PublishDelivery::AtMostOnce => {}
        PublishDelivery::AtLeastOnce(id) | PublishDelivery::ExactlyOnce(id) => {
            out.extend_from_slice(&id.value().to_be_bytes());
        }
    }
    match version {
        ProtocolVersion::V3_1_1 => {}
        // [MQTT-2.2.2-1]
        ProtocolVersion::V5 if lengths.properties == 0 => out.push(0),
        ProtocolVersion::V5 => extend_properties(p, lengths.properties, out),
    }
}

#[inline]
fn extend_properties(p: &Outbound<'_>, length: u32, out: &mut Vec<u8>) {
    extend_variable_byte_integer(length, out);
    if let Some(alias) = p.topic_alias {
        debug_assert!(alias != 0, "[MQTT-3.3.2-8]");
        let [high, low] = alias.to_be_bytes();
        out.extend_from_slice(&[PropertyIdentifier::TopicAlias.value(), high, low]);
    }
    if let Some(seconds) = p.message_expiry_interval_seconds {
        let [a, b, c, d] = seconds.to_be_bytes();
        out.extend_from_slice(&[
            PropertyIdentifier::MessageExpiryInterval.value(),
            a,
            b,
            c,
            d,
        ]);
    }
    for &identifier in p.subscription_identifiers {
        out.push(PropertyIdentifier::SubscriptionIdentifier.value());
        extend_variable_byte_integer(identifier, out);
    }
    out.extend_from_slice(p.properties);
}

#[inline]
fn extend_variable_byte_integer(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(
        &variable_byte_integer::encode(value)[..variable_byte_integer::size(value)],
    );
}

#[inline]
fn first_byte(dup: bool, retain: bool, delivery: PublishDelivery) -> u8 {
    let qos = delivery.qos().bits() << 1;
    // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
    let dup = if dup && qos != 0 { flag::DUP } else { 0 };
    PacketType::Publish.first_byte() | dup | qos | u8::from(retain)
}

pub(crate) fn encode(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let first_byte = first_byte(publish.dup, publish.retain, publish.delivery);
    write_packet(first_byte, out, |writer| {
        writer.string(publish.topic.map_or("", |topic| topic.as_str()));
        if let Some(id) = publish.delivery.packet_identifier() {
            writer.u16(id.value());
        }
        if version == ProtocolVersion::V5 {
            writer.properties(|writer| {
                writer.optional(publish.topic_alias, Property::TopicAlias);
                writer.optional(
                    publish.message_expiry_interval_seconds,
                    Property::MessageExpiryInterval,
                );
                for identifier in publish.subscription_identifiers.iter() {
                    writer.property(Property::SubscriptionIdentifier(identifier));
                }
                publish.properties.for_each_run(|run| writer.bytes(run));
            });
        }
        writer.bytes(publish.payload);
    })
}
