//! Where one packet ends and the next begins: the fixed header (section 2.1).
//!
//! Decides as early as the bytes allow: type and flags from the first byte, the size from the
//! Remaining Length, before the body has arrived.

use std::fmt;

use crate::error::{DecodeError, Field};
use crate::variable_byte_integer::{self, Decoded};

/// The type of a control packet: the high four bits of its first byte (section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of table 2-1")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    /// MQTT 5 only; reserved on 3.1.1.
    Auth = 15,
}

impl PacketType {
    /// The type in the first byte of a packet; `None` for the reserved type 0.
    #[inline]
    #[must_use]
    pub const fn from_first_byte(first_byte: u8) -> Option<PacketType> {
        Some(match first_byte >> 4 {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// The first byte of a packet of this type with the flags of table 2-2 (for PUBLISH: none).
    #[inline]
    #[must_use]
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags()
    }

    /// Table 2-2: 0b0010 for the four types that a reply answers, else 0.
    const fn fixed_flags(self) -> u8 {
        match self {
            // [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
            // [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1]
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            // [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT3-3.14.1-1]
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubComp
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingReq
            | PacketType::PingResp
            | PacketType::Disconnect
            | PacketType::Auth => 0,
        }
    }

    /// The name as the specification writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PacketType::Connect => "CONNECT",
            PacketType::ConnAck => "CONNACK",
            PacketType::Publish => "PUBLISH",
            PacketType::PubAck => "PUBACK",
            PacketType::PubRec => "PUBREC",
            PacketType::PubRel => "PUBREL",
            PacketType::PubComp => "PUBCOMP",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::SubAck => "SUBACK",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::UnsubAck => "UNSUBACK",
            PacketType::PingReq => "PINGREQ",
            PacketType::PingResp => "PINGRESP",
            PacketType::Disconnect => "DISCONNECT",
            PacketType::Auth => "AUTH",
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The bytes of one whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type and flags.
    pub first_byte: u8,
    /// What the Remaining Length counts.
    pub body: &'a [u8],
    /// The whole packet in bytes, fixed header included.
    pub size: usize,
}

impl Frame<'_> {
    /// The type; `None` for the reserved type 0.
    #[inline]
    #[must_use]
    pub const fn packet_type(self) -> Option<PacketType> {
        PacketType::from_first_byte(self.first_byte)
    }
}

/// What stands at the beginning of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole packet.
    Frame(Frame<'a>),
    /// The beginning of a packet.
    Incomplete {
        /// How long the packet will be, in bytes, once that is known.
        needed: Option<usize>,
    },
}

/// Finds the packet at the beginning of `bytes`.
///
/// # Errors
/// A first byte that no packet has, a Remaining Length that is none, or a packet longer than
/// `maximum_packet_size` bytes; each as soon as the bytes that show it are there.
#[inline]
pub fn split_frame(bytes: &[u8], maximum_packet_size: u32) -> Result<Split<'_>, DecodeError> {
    let Some((&first_byte, after_first)) = bytes.split_first() else {
        return Ok(Split::Incomplete { needed: None });
    };
    check_first_byte(first_byte)?;
    let field = Field::RemainingLength;
    let (remaining_length, length_bytes) = match variable_byte_integer::decode(after_first) {
        Decoded::Value { value, bytes } => (value, bytes),
        Decoded::Incomplete => return Ok(Split::Incomplete { needed: None }),
        Decoded::TooLong => return Err(DecodeError::VariableByteIntegerTooLong { field }),
        Decoded::NotMinimal => return Err(DecodeError::VariableByteIntegerNotMinimal { field }),
    };
    // At most 5 bytes more than the largest Remaining Length: no overflow.
    let size = 1 + length_bytes as u32 + remaining_length;
    if size > maximum_packet_size {
        return Err(DecodeError::PacketTooLarge {
            size,
            maximum: maximum_packet_size,
        });
    }
    let size = size as usize;
    Ok(match bytes.get(1 + length_bytes..size) {
        Some(body) => Split::Frame(Frame {
            first_byte,
            body,
            size,
        }),
        None => Split::Incomplete { needed: Some(size) },
    })
}

/// What the first byte alone shows to be wrong.
#[inline]
pub(crate) fn check_first_byte(first_byte: u8) -> Result<PacketType, DecodeError> {
    let packet_type = PacketType::from_first_byte(first_byte)
        .ok_or(DecodeError::ReservedPacketType(first_byte >> 4))?;
    if packet_type == PacketType::Publish {
        check_publish_flags(first_byte)?;
        return Ok(packet_type);
    }
    // [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]
    if first_byte != packet_type.first_byte() {
        return Err(DecodeError::FixedHeaderFlags {
            packet_type,
            flags: first_byte & 0x0F,
        });
    }
    Ok(packet_type)
}

/// DUP, QoS and RETAIN (section 3.3.1).
#[inline]
fn check_publish_flags(first_byte: u8) -> Result<(), DecodeError> {
    match first_byte & 0b0110 {
        // [MQTT-3.3.1-4] [MQTT3-3.3.1-4]
        0b0110 => Err(DecodeError::PublishQoS3),
        // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
        0 if first_byte & 0b1000 != 0 => Err(DecodeError::DupAtQoS0),
        _ => Ok(()),
    }
}
