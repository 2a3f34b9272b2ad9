//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11).

use std::fmt;

use nexum_types::ProtocolVersion;

use crate::acknowledgement;
use crate::error::{DecodeError, EncodeError};
use crate::frame::PacketType;
use crate::packet::{UnsubAck, Unsubscribe};
use crate::property::Property;
use crate::property::{PropertyIdentifier, PropertySection, PropertySet, UserProperties};
use crate::reader::Reader;
use crate::reason_codes::ReasonCodes;
use crate::subscribe::read_filter;
use crate::writer::write_packet;

const ALLOWED: PropertySet = PropertySet::of(&[PropertyIdentifier::UserProperty]);

/// The filters of an UNSUBSCRIBE, in order: at least one ([MQTT-3.10.3-2], [MQTT3-3.10.3-2]). Each
/// is UTF-8, not empty and without null character.
#[derive(Clone, Copy)]
pub struct Filters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A payload that was checked when its packet was decoded.
    Payload {
        bytes: &'a [u8],
        count: u32,
    },
    Slice(&'a [&'a str]),
}

impl<'a> Filters<'a> {
    /// For a packet to be encoded.
    #[must_use]
    pub const fn from_slice(filters: &'a [&'a str]) -> Filters<'a> {
        Filters(Source::Slice(filters))
    }

    /// Checks the whole payload of an UNSUBSCRIBE.
    fn decode(bytes: &'a [u8]) -> Result<Filters<'a>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.is_empty() {
            read_filter(&mut reader)?;
            count += 1;
        }
        // [MQTT-3.10.3-2] [MQTT3-3.10.3-2]
        if count == 0 {
            return Err(DecodeError::EmptyPayload(PacketType::Unsubscribe));
        }
        Ok(Filters(Source::Payload { bytes, count }))
    }

    /// The filters in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (bytes, slice): (&[u8], &[&str]) = match self.0 {
            Source::Payload { bytes, .. } => (bytes, &[]),
            Source::Slice(slice) => (&[], slice),
        };
        let mut reader = Reader::new(bytes);
        let from_payload = std::iter::from_fn(move || {
            (!reader.is_empty()).then(|| {
                read_filter(&mut reader).expect("the payload was checked when it was decoded")
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

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub(crate) fn decode(
    body: &[u8],
    version: ProtocolVersion,
) -> Result<Unsubscribe<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_identifier = reader.packet_identifier()?;
    let mut user_properties = UserProperties::EMPTY;
    if version == ProtocolVersion::V5 {
        let mut properties = PropertySection::take(&mut reader, ALLOWED)?;
        while properties.next()?.is_some() {}
        user_properties = properties.user_properties();
    }
    let filters = Filters::decode(reader.rest())?;
    Ok(Unsubscribe {
        packet_identifier,
        user_properties,
        filters,
    })
}

pub(crate) fn encode(
    unsubscribe: &Unsubscribe<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_packet(PacketType::Unsubscribe.first_byte(), out, |writer| {
        writer.u16(unsubscribe.packet_identifier.value());
        if version == ProtocolVersion::V5 {
            writer.properties(|writer| writer.user_properties(unsubscribe.user_properties));
        }
        for filter in unsubscribe.filters.iter() {
            writer.string(filter);
        }
    })
}

pub(crate) fn decode_unsub_ack(
    body: &[u8],
    version: ProtocolVersion,
) -> Result<UnsubAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_identifier = reader.packet_identifier()?;
    let (reason_string, user_properties) =
        acknowledgement::decode_properties(&mut reader, version)?;
    let reason_codes = match version {
        // "The UNSUBACK Packet has no payload" (3.1.1 section 3.11.3).
        ProtocolVersion::V3_1_1 => {
            reader.finish()?;
            ReasonCodes::EMPTY
        }
        // [MQTT-3.11.3-2]
        ProtocolVersion::V5 => ReasonCodes::decode(reader.rest(), PacketType::UnsubAck, version)?,
    };
    Ok(UnsubAck {
        packet_identifier,
        reason_string,
        user_properties,
        reason_codes,
    })
}

pub(crate) fn encode_unsub_ack(
    unsub_ack: &UnsubAck<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_packet(PacketType::UnsubAck.first_byte(), out, |writer| {
        writer.u16(unsub_ack.packet_identifier.value());
        if version == ProtocolVersion::V5 {
            writer.properties(|writer| {
                writer.optional(unsub_ack.reason_string, Property::ReasonString);
                writer.user_properties(unsub_ack.user_properties);
            });
            for reason_code in unsub_ack.reason_codes.iter() {
                writer.reason_code(reason_code);
            }
        }
    })
}
