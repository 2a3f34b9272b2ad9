//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9).

use std::fmt;

use nexum_types::{ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions};

use crate::acknowledgement;
use crate::error::{DecodeError, EncodeError, Field};
use crate::frame::PacketType;
use crate::packet::{SubAck, Subscribe, SubscriptionRequest};
use crate::property::{Property, PropertyIdentifier, PropertySection, PropertySet, UserProperties};
use crate::reader::Reader;
use crate::reason_codes::ReasonCodes;
use crate::writer::write_packet;

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::SubscriptionIdentifier,
    PropertyIdentifier::UserProperty,
]);

/// The bits of the Subscription Options (figure 3-20); on 3.1.1 all but the first two are
/// reserved.
mod option {
    pub(super) const MAXIMUM_QOS: u8 = 0x03;
    pub(super) const NO_LOCAL: u8 = 0x04;
    pub(super) const RETAIN_AS_PUBLISHED: u8 = 0x08;
    pub(super) const RETAIN_HANDLING: u8 = 0x30;
    pub(super) const RETAIN_HANDLING_SHIFT: u32 = 4;
}

/// The filters of a SUBSCRIBE with their options, in order: at least one ([MQTT-3.8.3-2],
/// [MQTT3-3.8.3-3]).
#[derive(Clone, Copy)]
pub struct SubscriptionRequests<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A payload that was checked when its packet was decoded.
    Payload {
        bytes: &'a [u8],
        count: u32,
    },
    Slice(&'a [SubscriptionRequest<'a>]),
}

impl<'a> SubscriptionRequests<'a> {
    /// For a packet to be encoded.
    #[must_use]
    pub const fn from_slice(requests: &'a [SubscriptionRequest<'a>]) -> SubscriptionRequests<'a> {
        SubscriptionRequests(Source::Slice(requests))
    }

    /// Checks the whole payload of a SUBSCRIBE.
    fn decode(bytes: &'a [u8], version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.is_empty() {
            read_request(&mut reader, version)?;
            count += 1;
        }
        // [MQTT-3.8.3-2] [MQTT3-3.8.3-3]
        if count == 0 {
            return Err(DecodeError::EmptyPayload(PacketType::Subscribe));
        }
        Ok(SubscriptionRequests(Source::Payload { bytes, count }))
    }

    /// The requests in order.
    pub fn iter(self) -> impl Iterator<Item = SubscriptionRequest<'a>> {
        let (bytes, slice): (&[u8], &[SubscriptionRequest<'_>]) = match self.0 {
            Source::Payload { bytes, .. } => (bytes, &[]),
            Source::Slice(slice) => (&[], slice),
        };
        let mut reader = Reader::new(bytes);
        let from_payload = std::iter::from_fn(move || {
            // A payload that 3.1.1 allows means the same in MQTT 5.
            (!reader.is_empty()).then(|| {
                read_request(&mut reader, ProtocolVersion::V5)
                    .expect("the payload was checked when it was decoded")
            })
        });
        from_payload.chain(slice.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self.0 {
            Source::Payload { count, .. } => count as usize,
            Source::Slice(slice) => slice.len(),
        }
    }

    /// Whether there is none, which only a list for a packet to be encoded can be.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for SubscriptionRequests<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for SubscriptionRequests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn read_request<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<SubscriptionRequest<'a>, DecodeError> {
    let filter = read_filter(reader)?;
    let options = reader.u8(Field::SubscriptionOptions)?;
    let options = match version {
        ProtocolVersion::V3_1_1 => read_requested_qos(options)?,
        ProtocolVersion::V5 => read_options(options)?,
    };
    Ok(SubscriptionRequest { filter, options })
}

/// [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-1] [MQTT3-3.8.3-1] [MQTT3-3.10.3-1] [MQTT3-4.7.3-1]
pub(crate) fn read_filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let field = Field::TopicFilter;
    let filter = reader.name(field)?;
    if filter.is_empty() {
        return Err(DecodeError::EmptyTopic { field });
    }
    Ok(filter)
}

/// The Requested QoS of 3.1.1 (figure 3.22).
fn read_requested_qos(byte: u8) -> Result<SubscriptionOptions, DecodeError> {
    // [MQTT3-3.8.3-4]
    if byte & !option::MAXIMUM_QOS != 0 {
        return Err(DecodeError::SubscriptionOptionsReserved(byte));
    }
    let maximum_qos = QoS::from_bits(byte).ok_or(DecodeError::SubscriptionQoS3)?;
    Ok(SubscriptionOptions {
        maximum_qos,
        ..SubscriptionOptions::default()
    })
}

/// The Subscription Options of MQTT 5 (section 3.8.3.1).
fn read_options(byte: u8) -> Result<SubscriptionOptions, DecodeError> {
    let known = option::MAXIMUM_QOS
        | option::NO_LOCAL
        | option::RETAIN_AS_PUBLISHED
        | option::RETAIN_HANDLING;
    // [MQTT-3.8.3-5]
    if byte & !known != 0 {
        return Err(DecodeError::SubscriptionOptionsReserved(byte));
    }
    Ok(SubscriptionOptions {
        // "It is a Protocol Error if the Maximum QoS field has the value 3."
        maximum_qos: QoS::from_bits(byte & option::MAXIMUM_QOS)
            .ok_or(DecodeError::SubscriptionQoS3)?,
        no_local: byte & option::NO_LOCAL != 0,
        retain_as_published: byte & option::RETAIN_AS_PUBLISHED != 0,
        retain_handling: match byte & option::RETAIN_HANDLING {
            0x00 => RetainHandling::SendAtSubscribe,
            0x10 => RetainHandling::SendIfNew,
            0x20 => RetainHandling::DoNotSend,
            // "It is a Protocol Error to send a Retain Handling value of 3."
            _ => return Err(DecodeError::RetainHandling3),
        },
    })
}

fn options_byte(options: SubscriptionOptions, version: ProtocolVersion) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let retain_handling = match options.retain_handling {
        RetainHandling::SendAtSubscribe => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    let qos = options.maximum_qos.bits();
    match version {
        ProtocolVersion::V3_1_1 => qos,
        ProtocolVersion::V5 => {
            qos | bit(options.no_local, option::NO_LOCAL)
                | bit(options.retain_as_published, option::RETAIN_AS_PUBLISHED)
                | retain_handling << option::RETAIN_HANDLING_SHIFT
        }
    }
}

pub(crate) fn decode(body: &[u8], version: ProtocolVersion) -> Result<Subscribe<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_identifier = reader.packet_identifier()?;
    let mut subscription_identifier = None;
    let mut user_properties = UserProperties::EMPTY;
    if version == ProtocolVersion::V5 {
        let mut properties = PropertySection::take(&mut reader, ALLOWED)?;
        while let Some(property) = properties.next()? {
            if let Property::SubscriptionIdentifier(identifier) = property {
                subscription_identifier = Some(identifier);
            }
        }
        user_properties = properties.user_properties();
    }
    let requests = SubscriptionRequests::decode(reader.rest(), version)?;
    Ok(Subscribe {
        packet_identifier,
        subscription_identifier,
        user_properties,
        requests,
    })
}

pub(crate) fn encode(
    subscribe: &Subscribe<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_packet(PacketType::Subscribe.first_byte(), out, |writer| {
        writer.u16(subscribe.packet_identifier.value());
        if version == ProtocolVersion::V5 {
            writer.properties(|writer| {
                writer.optional(
                    subscribe.subscription_identifier,
                    Property::SubscriptionIdentifier,
                );
                writer.user_properties(subscribe.user_properties);
            });
        }
        for request in subscribe.requests.iter() {
            writer.string(request.filter);
            writer.u8(options_byte(request.options, version));
        }
    })
}

pub(crate) fn decode_sub_ack(
    body: &[u8],
    version: ProtocolVersion,
) -> Result<SubAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_identifier = reader.packet_identifier()?;
    let (reason_string, user_properties) =
        acknowledgement::decode_properties(&mut reader, version)?;
    // [MQTT-3.9.3-2] [MQTT3-3.9.3-2]
    let reason_codes = ReasonCodes::decode(reader.rest(), PacketType::SubAck, version)?;
    Ok(SubAck {
        packet_identifier,
        reason_string,
        user_properties,
        reason_codes,
    })
}

pub(crate) fn encode_sub_ack(
    sub_ack: &SubAck<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_packet(PacketType::SubAck.first_byte(), out, |writer| {
        writer.u16(sub_ack.packet_identifier.value());
        if version == ProtocolVersion::V5 {
            writer.properties(|writer| {
                writer.optional(sub_ack.reason_string, Property::ReasonString);
                writer.user_properties(sub_ack.user_properties);
            });
        }
        for reason_code in sub_ack.reason_codes.iter() {
            writer.reason_code(match version {
                // 3.1.1 knows one failure, 0x80 ([MQTT3-3.9.3-2]).
                ProtocolVersion::V3_1_1 if reason_code.is_error() => ReasonCode::UnspecifiedError,
                ProtocolVersion::V3_1_1 | ProtocolVersion::V5 => reason_code,
            });
        }
    })
}
