//! DISCONNECT (section 3.14).

use nexum_types::{ProtocolVersion, ReasonCode};

use crate::error::{DecodeError, EncodeError};
use crate::frame::PacketType;
use crate::packet::Disconnect;
use crate::property::{Property, PropertyIdentifier, PropertySection, PropertySet, UserProperties};
use crate::reader::Reader;
use crate::reason;
use crate::writer::write_packet;

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::SessionExpiryInterval,
    PropertyIdentifier::ReasonString,
    PropertyIdentifier::UserProperty,
    PropertyIdentifier::ServerReference,
]);

impl Disconnect<'_> {
    /// A DISCONNECT with a reason code and no property.
    #[must_use]
    pub const fn new(reason_code: ReasonCode) -> Disconnect<'static> {
        Disconnect {
            reason_code,
            session_expiry_interval_seconds: None,
            reason_string: None,
            server_reference: None,
            user_properties: UserProperties::EMPTY,
        }
    }
}

pub(crate) fn decode(body: &[u8], version: ProtocolVersion) -> Result<Disconnect<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    if version == ProtocolVersion::V3_1_1 {
        reader.finish()?;
        return Ok(disconnect);
    }
    // "If the Remaining Length is less than 1 the value of 0x00 (Normal disconnection) is used"
    // (section 3.14.2.1).
    if reader.is_empty() {
        return Ok(disconnect);
    }
    // [MQTT-3.14.2-1]
    disconnect.reason_code = reason::read(&mut reader, PacketType::Disconnect)?;
    // "If the Remaining Length is less than 2, a value of 0 is used" (section 3.14.2.2.1).
    if reader.is_empty() {
        return Ok(disconnect);
    }
    let mut properties = PropertySection::take(&mut reader, ALLOWED)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiryInterval(seconds) => {
                disconnect.session_expiry_interval_seconds = Some(seconds);
            }
            Property::ReasonString(text) => disconnect.reason_string = Some(text),
            Property::ServerReference(text) => disconnect.server_reference = Some(text),
            // They stay encoded.
            other => debug_assert!(matches!(other, Property::UserProperty(_, _)), "{other:?}"),
        }
    }
    disconnect.user_properties = properties.user_properties();
    reader.finish()?;
    Ok(disconnect)
}

/// Writes the shortest form that says everything.
pub(crate) fn encode(
    disconnect: &Disconnect<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let without_properties = *disconnect == Disconnect::new(disconnect.reason_code);
    write_packet(PacketType::Disconnect.first_byte(), out, |writer| {
        if version == ProtocolVersion::V3_1_1
            || (without_properties && disconnect.reason_code == ReasonCode::Success)
        {
            return;
        }
        debug_assert!(
            reason::is_allowed(PacketType::Disconnect, disconnect.reason_code),
            "DISCONNECT {}",
            disconnect.reason_code
        );
        writer.reason_code(disconnect.reason_code);
        if without_properties {
            return;
        }
        writer.properties(|writer| {
            writer.optional(
                disconnect.session_expiry_interval_seconds,
                Property::SessionExpiryInterval,
            );
            writer.optional(disconnect.reason_string, Property::ReasonString);
            writer.user_properties(disconnect.user_properties);
            writer.optional(disconnect.server_reference, Property::ServerReference);
        });
    })
}
