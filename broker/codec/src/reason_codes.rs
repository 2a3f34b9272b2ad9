use std::fmt;

use nexum_types::{ProtocolVersion, ReasonCode};

use crate::error::DecodeError;
use crate::frame::PacketType;
use crate::reason;

/// The reason codes of a SUBACK or UNSUBACK: one for each filter, in the order of the packet that
/// is answered ([MQTT-3.8.4-6], [MQTT-3.9.3-1], [MQTT-3.11.3-1]).
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A payload that was checked when its packet was decoded.
    Payload(&'a [u8]),
    Slice(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    /// None: the UNSUBACK of 3.1.1.
    pub const EMPTY: ReasonCodes<'static> = ReasonCodes(Source::Slice(&[]));

    /// For a packet to be encoded.
    #[must_use]
    pub const fn from_slice(reason_codes: &'a [ReasonCode]) -> ReasonCodes<'a> {
        ReasonCodes(Source::Slice(reason_codes))
    }

    /// Checks the whole payload of a SUBACK or UNSUBACK.
    pub(crate) fn decode(
        payload: &'a [u8],
        packet_type: PacketType,
        version: ProtocolVersion,
    ) -> Result<ReasonCodes<'a>, DecodeError> {
        // Each filter has its code, and the packet that is answered has a filter.
        if payload.is_empty() {
            return Err(DecodeError::EmptyPayload(packet_type));
        }
        for &value in payload {
            let reason_code = reason::check(value, packet_type)?;
            // "SUBACK return codes other than 0x00, 0x01, 0x02 and 0x80 are reserved"
            // ([MQTT3-3.9.3-2]).
            if version == ProtocolVersion::V3_1_1 && reason_code.value() > 0x80 {
                return Err(DecodeError::ReasonCodeNotAllowed { packet_type, value });
            }
        }
        Ok(ReasonCodes(Source::Payload(payload)))
    }

    /// The codes in order.
    pub fn iter(self) -> impl Iterator<Item = ReasonCode> {
        let (payload, slice): (&[u8], &[ReasonCode]) = match self.0 {
            Source::Payload(payload) => (payload, &[]),
            Source::Slice(slice) => (&[], slice),
        };
        let from_payload = payload.iter().map(|&value| {
            ReasonCode::from_value(value).expect("the payload was checked when it was decoded")
        });
        from_payload.chain(slice.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self.0 {
            Source::Payload(payload) => payload.len(),
            Source::Slice(slice) => slice.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Default for ReasonCodes<'_> {
    fn default() -> Self {
        ReasonCodes::EMPTY
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
