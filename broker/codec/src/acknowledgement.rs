//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one form, four types.

use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode};

use crate::error::{DecodeError, EncodeError};
use crate::frame::PacketType;
use crate::packet::Acknowledgement;
use crate::property::{Property, PropertyIdentifier, PropertySection, PropertySet, UserProperties};
use crate::reader::Reader;
use crate::reason;
use crate::writer::write_packet;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the specification")]
pub enum AcknowledgementKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

impl AcknowledgementKind {
    /// The packet type with the same name.
    #[inline]
    #[must_use]
    pub const fn packet_type(self) -> PacketType {
        match self {
            AcknowledgementKind::PubAck => PacketType::PubAck,
            AcknowledgementKind::PubRec => PacketType::PubRec,
            AcknowledgementKind::PubRel => PacketType::PubRel,
            AcknowledgementKind::PubComp => PacketType::PubComp,
        }
    }
}

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::ReasonString,
    PropertyIdentifier::UserProperty,
]);

#[inline]
pub(crate) fn decode<'a>(
    kind: AcknowledgementKind,
    body: &'a [u8],
    version: ProtocolVersion,
) -> Result<Acknowledgement<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut acknowledgement = Acknowledgement {
        packet_identifier: reader.packet_identifier()?,
        reason_code: ReasonCode::Success,
        reason_string: None,
        user_properties: Default::default(),
    };
    match version {
        ProtocolVersion::V3_1_1 => reader.finish()?,
        ProtocolVersion::V5 => {
            // "The Reason Code and Property Length can be omitted if the Reason Code is 0x00
            // (Success) and there are no Properties" (sections 3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1).
            if !reader.is_empty() {
                decode_reason(kind.packet_type(), reader, &mut acknowledgement)?;
            }
        }
    }
    Ok(acknowledgement)
}

fn decode_reason<'a>(
    packet_type: PacketType,
    mut reader: Reader<'a>,
    acknowledgement: &mut Acknowledgement<'a>,
) -> Result<(), DecodeError> {
    // [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
    acknowledgement.reason_code = reason::read(&mut reader, packet_type)?;
    // "If the Remaining Length is less than 4 there is no Property Length and the value of 0 is
    // used" (section 3.4.2.2.1 and its like).
    if reader.is_empty() {
        return Ok(());
    }
    (
        acknowledgement.reason_string,
        acknowledgement.user_properties,
    ) = decode_properties(&mut reader, ProtocolVersion::V5)?;
    reader.finish()
}

/// The property section that all acknowledgements have, SUBACK and UNSUBACK too: Reason String and
/// User Properties. 3.1.1 has none.
pub(crate) fn decode_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<(Option<&'a str>, UserProperties<'a>), DecodeError> {
    if version == ProtocolVersion::V3_1_1 {
        return Ok((None, UserProperties::EMPTY));
    }
    let mut properties = PropertySection::take(reader, ALLOWED)?;
    let mut reason_string = None;
    while let Some(property) = properties.next()? {
        if let Property::ReasonString(text) = property {
            reason_string = Some(text);
        }
    }
    Ok((reason_string, properties.user_properties()))
}

pub(crate) fn encode(
    kind: AcknowledgementKind,
    acknowledgement: &Acknowledgement<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let Acknowledgement {
        packet_identifier,
        reason_code,
        reason_string,
        user_properties,
    } = *acknowledgement;
    if version == ProtocolVersion::V3_1_1 || (reason_string.is_none() && user_properties.is_empty())
    {
        encode_acknowledgement(kind, packet_identifier, reason_code, version, out);
        return Ok(());
    }
    debug_assert!(
        reason::is_allowed(kind.packet_type(), reason_code),
        "{kind:?} {reason_code}"
    );
    write_packet(kind.packet_type().first_byte(), out, |writer| {
        writer.u16(packet_identifier.value());
        writer.reason_code(reason_code);
        writer.properties(|writer| {
            writer.optional(reason_string, Property::ReasonString);
            writer.user_properties(user_properties);
        });
    })
}

/// Appends an acknowledgement without properties, in its shortest form.
#[inline]
pub fn encode_acknowledgement(
    kind: AcknowledgementKind,
    packet_identifier: PacketIdentifier,
    reason_code: ReasonCode,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) {
    debug_assert!(
        reason::is_allowed(kind.packet_type(), reason_code),
        "{kind:?} {reason_code}"
    );
    let first_byte = kind.packet_type().first_byte();
    let [high, low] = packet_identifier.value().to_be_bytes();
    if version == ProtocolVersion::V3_1_1 || reason_code == ReasonCode::Success {
        out.extend_from_slice(&[first_byte, 2, high, low]);
    } else {
        out.extend_from_slice(&[first_byte, 3, high, low, reason_code.value()]);
    }
}
