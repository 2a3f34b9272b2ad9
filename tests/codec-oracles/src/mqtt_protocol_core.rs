use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use nexum_types::ProtocolVersion;

use crate::Opinion;

pub(crate) fn opinion(packet: &[u8], version: ProtocolVersion) -> Opinion {
    let written = frame(packet).and_then(|raw| match version {
        ProtocolVersion::V3_1_1 => read_3_1_1(&raw),
        ProtocolVersion::V5 => read_5(&raw),
    });
    crate::opinion(written, Ok::<_, MqttError>)
}

fn frame(packet: &[u8]) -> Result<RawPacket, MqttError> {
    match PacketBuilder::new().feed(&mut Cursor::new(packet)) {
        PacketBuildResult::Complete(raw) => Ok(raw),
        PacketBuildResult::Incomplete => Err(MqttError::PartialErrorDetected),
        PacketBuildResult::Error(error) => Err(error),
    }
}

/// Dispatches as the crate's own connection does, and writes at once.
macro_rules! read {
    ($raw:expr, $version:ident, { $($type:literal => $packet:ident,)* }) => {
        match $raw.packet_type() {
            3 => match &$raw.data {
                PacketData::Publish(body) => $version::Publish::parse($raw.flags(), body.clone())
                    .map(|(packet, _)| packet.to_continuous_buffer()),
                PacketData::Normal(_) => unreachable!("the crate frames PUBLISH as such"),
            },
            $($type => $raw
                .parse_exact($version::$packet::parse)
                .map(|packet| packet.to_continuous_buffer()),)*
            _ => Err(MqttError::MalformedPacket),
        }
    };
}

fn read_3_1_1(raw: &RawPacket) -> Result<Vec<u8>, MqttError> {
    read!(raw, v3_1_1, {
        1 => Connect,
        2 => Connack,
        4 => Puback,
        5 => Pubrec,
        6 => Pubrel,
        7 => Pubcomp,
        8 => Subscribe,
        9 => Suback,
        10 => Unsubscribe,
        11 => Unsuback,
        12 => Pingreq,
        13 => Pingresp,
        14 => Disconnect,
    })
}

fn read_5(raw: &RawPacket) -> Result<Vec<u8>, MqttError> {
    read!(raw, v5_0, {
        1 => Connect,
        2 => Connack,
        4 => Puback,
        5 => Pubrec,
        6 => Pubrel,
        7 => Pubcomp,
        8 => Subscribe,
        9 => Suback,
        10 => Unsubscribe,
        11 => Unsuback,
        12 => Pingreq,
        13 => Pingresp,
        14 => Disconnect,
        15 => Auth,
    })
}
