//! Packets in lines of the history.

use nexum_codec::Packet;

use crate::judge::messages::read_payload;

/// A packet in a line of the history.
pub(super) fn brief(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {:?}{}{} {} message {:?} ({} bytes)",
            publish.delivery,
            if publish.dup { " DUP" } else { "" },
            if publish.retain { " RETAIN" } else { "" },
            publish.topic.map_or("-", |topic| topic.as_str()),
            read_payload(publish.payload),
            publish.payload.len(),
        ),
        Packet::Connect(connect) => format!(
            "CONNECT {:?} {:?} clean {} expiry {:?} will {}",
            connect.client_id,
            connect.version,
            connect.clean_start,
            connect.properties.session_expiry_interval_seconds,
            connect.will.is_some(),
        ),
        Packet::ConnAck(connack) => format!(
            "CONNACK {} session present {}",
            connack.reason_code, connack.session_present
        ),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            let kind = match packet {
                Packet::PubAck(_) => "PUBACK",
                Packet::PubRec(_) => "PUBREC",
                Packet::PubRel(_) => "PUBREL",
                _ => "PUBCOMP",
            };
            format!(
                "{kind} {} {}",
                ack.packet_identifier.value(),
                ack.reason_code
            )
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .requests
                .iter()
                .map(|request| (request.filter, request.options.maximum_qos))
                .collect();
            let id = subscribe.packet_identifier.value();
            format!("SUBSCRIBE {id} {filters:?}")
        }
        Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => format!("{packet:?}"),
    }
}
