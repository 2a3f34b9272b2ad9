//! Packets ⇄ bytes for MQTT 3.1.1 and MQTT 5.
//!
//! One packet model for both versions; the version is a parameter of decoding and encoding, and
//! nothing above this crate asks for it again. Strict: what the specification forbids does not
//! decode, and each finding ([`DecodeError`]) says which rule was broken and which Reason Code
//! tells the peer. A decoded packet borrows the bytes it was read from; decoding allocates nothing.
//!
//! Not here: sockets, buffers, clocks, and every rule that needs more than the one packet – who
//! may send it and when, whether an alias is known, whether a filter is granted.
//!
//! ```
//! use nexum_codec::{Packet, Split, decode, encode, split_frame};
//! use nexum_types::ProtocolVersion;
//!
//! let received = [0x30, 9, 0, 4, b'h', b'o', b'm', b'e', b'2', b'1', b'C', 0xC0];
//! let Ok(Split::Frame(frame)) = split_frame(&received, 1024) else { panic!("a whole packet") };
//! let packet = decode(frame, ProtocolVersion::V3_1_1).expect("a valid packet");
//! let Packet::Publish(publish) = packet else { panic!("type 3 is PUBLISH") };
//! assert_eq!(publish.topic.map(|topic| topic.as_str()), Some("home"));
//! assert_eq!(publish.payload, b"21C");
//!
//! // One byte of the next packet has arrived as well.
//! let rest = &received[frame.size..];
//! assert_eq!(split_frame(rest, 1024), Ok(Split::Incomplete { needed: None }));
//!
//! let mut sent = Vec::new();
//! encode(&packet, ProtocolVersion::V5, &mut sent).expect("small enough");
//! assert_eq!(sent, [0x30, 10, 0, 4, b'h', b'o', b'm', b'e', 0, b'2', b'1', b'C']);
//! ```

#![forbid(unsafe_code)]

mod acknowledgement;
mod auth;
mod conn_ack;
mod connect;
mod disconnect;
mod error;
mod frame;
mod packet;
mod property;
mod publish;
mod reader;
mod reason;
mod reason_codes;
mod subscribe;
mod unsubscribe;
mod variable_byte_integer;
mod writer;

use nexum_types::ProtocolVersion;

pub use acknowledgement::{AcknowledgementKind, encode_acknowledgement};
pub use connect::refusal_version;
pub use error::{DecodeError, EncodeError, Field};
pub use frame::{Frame, PacketType, Split, split_frame};
pub use packet::{
    Acknowledgement, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect,
    Packet, Publish, PublishDelivery, SubAck, Subscribe, SubscriptionRequest, UnsubAck,
    Unsubscribe, Will,
};
pub use property::{
    ForwardedProperties, Property, PropertyIdentifier, SubscriptionIdentifiers, UserProperties,
};
pub use publish::{Outbound, decode_publish, encode_publish_header, publish_size};
pub use reason::{is_allowed, return_code};
pub use reason_codes::ReasonCodes;
pub use subscribe::SubscriptionRequests;
pub use unsubscribe::Filters;
pub use variable_byte_integer::MAXIMUM as MAXIMUM_REMAINING_LENGTH;
pub use writer::encode_properties;

/// Decodes the packet in a frame. CONNECT carries its own version and ignores `version`.
///
/// # Errors
/// The first rule that the packet breaks.
pub fn decode(frame: Frame<'_>, version: ProtocolVersion) -> Result<Packet<'_>, DecodeError> {
    let Frame {
        first_byte, body, ..
    } = frame;
    let packet_type = frame::check_first_byte(first_byte)?;
    let acknowledgement = |kind| acknowledgement::decode(kind, body, version);
    Ok(match packet_type {
        PacketType::Connect => Packet::Connect(connect::decode(body)?),
        PacketType::ConnAck => Packet::ConnAck(conn_ack::decode(body, version)?),
        PacketType::Publish => Packet::Publish(decode_publish(frame, version)?),
        PacketType::PubAck => Packet::PubAck(acknowledgement(AcknowledgementKind::PubAck)?),
        PacketType::PubRec => Packet::PubRec(acknowledgement(AcknowledgementKind::PubRec)?),
        PacketType::PubRel => Packet::PubRel(acknowledgement(AcknowledgementKind::PubRel)?),
        PacketType::PubComp => Packet::PubComp(acknowledgement(AcknowledgementKind::PubComp)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe::decode(body, version)?),
        PacketType::SubAck => Packet::SubAck(subscribe::decode_sub_ack(body, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe::decode(body, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(unsubscribe::decode_unsub_ack(body, version)?),
        // Neither has variable header or payload (sections 3.12 and 3.13).
        PacketType::PingReq => {
            reader::Reader::new(body).finish()?;
            Packet::PingReq
        }
        PacketType::PingResp => {
            reader::Reader::new(body).finish()?;
            Packet::PingResp
        }
        PacketType::Disconnect => Packet::Disconnect(disconnect::decode(body, version)?),
        PacketType::Auth => match version {
            // Table 2.1 of 3.1.1: type 15 is reserved.
            ProtocolVersion::V3_1_1 => return Err(DecodeError::ReservedPacketType(15)),
            ProtocolVersion::V5 => Packet::Auth(auth::decode(body)?),
        },
    })
}

/// Appends the packet to `out`. CONNECT carries its own version and ignores `version`; what 3.1.1
/// cannot say is left out.
///
/// # Errors
/// The packet is larger than the format can say; then nothing was appended.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut acknowledgement = |kind, packet| acknowledgement::encode(kind, packet, version, out);
    match packet {
        Packet::PubAck(packet) => acknowledgement(AcknowledgementKind::PubAck, packet),
        Packet::PubRec(packet) => acknowledgement(AcknowledgementKind::PubRec, packet),
        Packet::PubRel(packet) => acknowledgement(AcknowledgementKind::PubRel, packet),
        Packet::PubComp(packet) => acknowledgement(AcknowledgementKind::PubComp, packet),
        Packet::Connect(packet) => connect::encode(packet, out),
        Packet::ConnAck(packet) => conn_ack::encode(packet, version, out),
        Packet::Publish(packet) => publish::encode(packet, version, out),
        Packet::Subscribe(packet) => subscribe::encode(packet, version, out),
        Packet::SubAck(packet) => subscribe::encode_sub_ack(packet, version, out),
        Packet::Unsubscribe(packet) => unsubscribe::encode(packet, version, out),
        Packet::UnsubAck(packet) => unsubscribe::encode_unsub_ack(packet, version, out),
        Packet::PingReq => encode_ping(PacketType::PingReq, out),
        Packet::PingResp => encode_ping(PacketType::PingResp, out),
        Packet::Disconnect(packet) => disconnect::encode(packet, version, out),
        Packet::Auth(packet) => auth::encode(packet, out),
    }
}

fn encode_ping(packet_type: PacketType, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&[packet_type.first_byte(), 0]);
    Ok(())
}
