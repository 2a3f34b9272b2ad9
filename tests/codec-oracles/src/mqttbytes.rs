use bytes::BytesMut;
use mqttbytes::Error;
use mqttbytes::v4::{Disconnect, Packet, PingReq, PingResp, read};

use crate::Opinion;

pub(crate) fn opinion(packet: &[u8]) -> Opinion {
    let mut bytes = BytesMut::from(packet);
    crate::opinion(read(&mut bytes, usize::MAX), write)
}

fn write(packet: Packet) -> Result<Vec<u8>, Error> {
    let mut out = BytesMut::new();
    match packet {
        Packet::Connect(packet) => packet.write(&mut out),
        Packet::ConnAck(packet) => packet.write(&mut out),
        Packet::Publish(packet) => packet.write(&mut out),
        Packet::PubAck(packet) => packet.write(&mut out),
        Packet::PubRec(packet) => packet.write(&mut out),
        Packet::PubRel(packet) => packet.write(&mut out),
        Packet::PubComp(packet) => packet.write(&mut out),
        Packet::Subscribe(packet) => packet.write(&mut out),
        Packet::SubAck(packet) => packet.write(&mut out),
        Packet::Unsubscribe(packet) => packet.write(&mut out),
        Packet::UnsubAck(packet) => packet.write(&mut out),
        Packet::PingReq => PingReq.write(&mut out),
        Packet::PingResp => PingResp.write(&mut out),
        Packet::Disconnect => Disconnect.write(&mut out),
    }?;
    Ok(out.to_vec())
}
