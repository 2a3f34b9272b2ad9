//! AUTH (MQTT 5 section 3.15).

use nexum_types::ReasonCode;

use crate::error::{DecodeError, EncodeError};
use crate::frame::PacketType;
use crate::packet::Auth;
use crate::property::{Property, PropertyIdentifier, PropertySection, PropertySet, UserProperties};
use crate::reader::Reader;
use crate::reason;
use crate::writer::write_packet;

const ALLOWED: PropertySet = PropertySet::of(&[
    PropertyIdentifier::AuthenticationMethod,
    PropertyIdentifier::AuthenticationData,
    PropertyIdentifier::ReasonString,
    PropertyIdentifier::UserProperty,
]);

const SHORTEST: Auth<'static> = Auth {
    reason_code: ReasonCode::Success,
    authentication_method: None,
    authentication_data: None,
    reason_string: None,
    user_properties: UserProperties::EMPTY,
};

pub(crate) fn decode(body: &[u8]) -> Result<Auth<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut auth = SHORTEST;
    // "The Reason Code and Property Length can be omitted if the Reason Code is 0x00 (Success) and
    // there are no Properties. In this case the AUTH has a Remaining Length of 0" (section
    // 3.15.2.1). No sentence lets the Property Length alone be left out.
    if reader.is_empty() {
        return Ok(auth);
    }
    // [MQTT-3.15.2-1]
    auth.reason_code = reason::read(&mut reader, PacketType::Auth)?;
    let mut properties = PropertySection::take(&mut reader, ALLOWED)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::AuthenticationMethod(method) => auth.authentication_method = Some(method),
            Property::AuthenticationData(data) => auth.authentication_data = Some(data),
            Property::ReasonString(text) => auth.reason_string = Some(text),
            // They stay encoded.
            other => debug_assert!(matches!(other, Property::UserProperty(_, _)), "{other:?}"),
        }
    }
    auth.user_properties = properties.user_properties();
    // "It is a Protocol Error to omit the Authentication Method" (section 3.15.2.2.2).
    if auth.authentication_method.is_none() {
        return Err(DecodeError::AuthenticationMethodMissing);
    }
    reader.finish()?;
    Ok(auth)
}

/// Writes the shortest form that says everything.
pub(crate) fn encode(auth: &Auth<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write_packet(PacketType::Auth.first_byte(), out, |writer| {
        if *auth == SHORTEST {
            return;
        }
        writer.reason_code(auth.reason_code);
        writer.properties(|writer| {
            writer.optional(auth.authentication_method, Property::AuthenticationMethod);
            writer.optional(auth.authentication_data, Property::AuthenticationData);
            writer.optional(auth.reason_string, Property::ReasonString);
            writer.user_properties(auth.user_properties);
        });
    })
}
