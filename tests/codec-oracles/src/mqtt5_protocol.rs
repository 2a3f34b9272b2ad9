use mqtt5_protocol::MqttError;
use mqtt5_protocol::packet::{FixedHeader, MqttPacket, Packet};
use nexum_types::ProtocolVersion;

use crate::Opinion;

pub(crate) fn opinion(packet: &[u8], version: ProtocolVersion) -> Opinion {
    crate::opinion(read(packet, version), |packet| write(&packet))
}

fn read(packet: &[u8], version: ProtocolVersion) -> Result<Packet, MqttError> {
    let mut bytes = packet;
    let fixed_header = FixedHeader::decode(&mut bytes)?;
    let version = match version {
        ProtocolVersion::V3_1_1 => 4,
        ProtocolVersion::V5 => 5,
    };
    let packet_type = fixed_header.packet_type;
    Packet::decode_from_body_with_version(packet_type, &fixed_header, &mut bytes, version)
}

fn write(packet: &Packet) -> Result<Vec<u8>, MqttError> {
    let mut out = Vec::new();
    match packet {
        Packet::Connect(packet) => packet.encode(&mut out)?,
        Packet::ConnAck(packet) => packet.encode(&mut out)?,
        Packet::Publish(packet) => packet.encode(&mut out)?,
        Packet::PubAck(packet) => packet.encode(&mut out)?,
        Packet::PubRec(packet) => packet.encode(&mut out)?,
        Packet::PubRel(packet) => packet.encode(&mut out)?,
        Packet::PubComp(packet) => packet.encode(&mut out)?,
        Packet::Subscribe(packet) => packet.encode(&mut out)?,
        Packet::SubAck(packet) => packet.encode(&mut out)?,
        Packet::Unsubscribe(packet) => packet.encode(&mut out)?,
        Packet::UnsubAck(packet) => packet.encode(&mut out)?,
        Packet::PingReq => out.extend([0xC0, 0]),
        Packet::PingResp => out.extend([0xD0, 0]),
        Packet::Disconnect(packet) => packet.encode(&mut out)?,
        Packet::Auth(packet) => packet.encode(&mut out)?,
    }
    Ok(out)
}
