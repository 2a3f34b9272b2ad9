//! One PUBLISH for one client: its bytes, into its outbound buffer.
//!
//! A message for many is encoded once for each form that its subscribers need and copied from
//! there; only what differs for each client alone is encoded for it.

use nexum_codec::{Outbound, PublishDelivery, encode_publish_header, publish_size};
use nexum_types::{MessageParts, PacketIdentifier, ProtocolVersion, QoS, Time};

use super::Shard;
use super::publish::Publication;
use crate::counters::DropReason;
use crate::outbound_buffer::SHARED_PAYLOAD_BYTES;
use crate::topic_alias::OutboundTopic;

/// The packets of the publication being delivered, encoded once for each form that its
/// subscribers need, to be copied for each.
#[derive(Default)]
pub(super) struct Templates {
    bytes: Vec<u8>,
    forms: [Option<Template>; 12],
}

#[derive(Clone, Copy)]
struct Template {
    from: usize,
    to: usize,
    /// Where the Packet Identifier stands, from `from`.
    identifier_at: usize,
}

impl Templates {
    pub(super) fn clear(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.forms = [None; 12];
        }
    }

    /// The packet of this form, encoded now if it is the first; without the payload if that is
    /// shared.
    fn of(
        &mut self,
        form: &Form<'_>,
        parts: &MessageParts<'_>,
        version: ProtocolVersion,
        shares: bool,
        now: Time,
    ) -> Template {
        let place = usize::from(version == ProtocolVersion::V5) * 6
            + delivery_qos(form.delivery) as usize * 2
            + usize::from(form.retain);
        if let Some(template) = self.forms[place] {
            return template;
        }
        let from = self.bytes.len();
        let outbound = outbound(form, parts, OutboundTopic::Name, version, now);
        encode_publish_header(&outbound, version, &mut self.bytes);
        if !shares {
            self.bytes.extend_from_slice(parts.payload);
        }
        let length = &self.bytes[from + 1..];
        let length_bytes = length.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let template = Template {
            from,
            to: self.bytes.len(),
            identifier_at: 1 + length_bytes + 2 + parts.topic.as_str().len(),
        };
        self.forms[place] = Some(template);
        template
    }
}

/// How one PUBLISH differs from another of the same message.
pub(super) struct Form<'a> {
    pub(super) delivery: PublishDelivery,
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) identifiers: &'a [u32],
}

impl Shard {
    /// Puts one PUBLISH into the outbound buffer of a connection. One too large for the client is
    /// dropped ([MQTT-3.1.2-24], [MQTT-3.1.2-25]).
    pub(super) fn put_out(
        &mut self,
        index: u32,
        form: &Form<'_>,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let parts = publication.parts;
        let connection = &self.connections[index as usize];
        let is_copied = publication.fan_out > 1
            && form.identifiers.is_empty()
            && connection.outbound_aliases.is_none()
            && !form.dup;
        let shares = parts.payload.len() >= SHARED_PAYLOAD_BYTES && publication.fan_out != 1;
        let fits = if is_copied {
            self.copy_publish(index, form, &parts, shares, now)
        } else {
            self.encode_publish(index, form, &parts, shares, now)
        };
        if !fits {
            return self.counters.drop_message(DropReason::TooLargeForClient);
        }
        if shares {
            let message = publication.message();
            self.connections[index as usize]
                .outbound
                .append_payload(&mut self.pool, message);
        }
        if form.dup {
            self.counters.messages_resent += 1;
        } else {
            self.counters.messages_sent[delivery_qos(form.delivery) as usize] += 1;
        }
        self.list_for_transmit(index);
    }

    /// Copies the packet from the template of its form, which the first subscriber with that form
    /// has made; without the payload if that is shared. False if it is too large for the client.
    fn copy_publish(
        &mut self,
        index: u32,
        form: &Form<'_>,
        parts: &MessageParts<'_>,
        shares: bool,
        now: Time,
    ) -> bool {
        let connection = &mut self.connections[index as usize];
        let template = self
            .templates
            .of(form, parts, connection.version, shares, now);
        let bytes = &self.templates.bytes[template.from..template.to];
        let whole = bytes.len() + if shares { parts.payload.len() } else { 0 };
        if whole > connection.maximum_packet_size_bytes as usize {
            return false;
        }
        connection.outbound.append(&mut self.pool, |out| {
            let at = out.len() + template.identifier_at;
            out.extend_from_slice(bytes);
            if let Some(id) = identifier_of(form.delivery) {
                out[at..at + 2].copy_from_slice(&id.value().to_be_bytes());
            }
        });
        true
    }

    /// Encodes the packet for this client alone, with a topic alias if it takes any; without the
    /// payload if that is shared. False if it is too large for the client.
    fn encode_publish(
        &mut self,
        index: u32,
        form: &Form<'_>,
        parts: &MessageParts<'_>,
        shares: bool,
        now: Time,
    ) -> bool {
        let qos = delivery_qos(form.delivery);
        if !self.fits_client(index, parts, qos, form.identifiers, now) {
            return false;
        }
        let connection = &mut self.connections[index as usize];
        let version = connection.version;
        let topic = match &mut connection.outbound_aliases {
            Some(aliases) => aliases.name(parts.topic.as_str(), |alias| {
                // Naming the alias takes three bytes more, this once.
                let naming = OutboundTopic::NameAndAlias(alias);
                let naming = outbound(form, parts, naming, version, now);
                publish_size(&naming, version) <= connection.maximum_packet_size_bytes as usize
            }),
            None => OutboundTopic::Name,
        };
        let outbound = outbound(form, parts, topic, version, now);
        connection.outbound.append(&mut self.pool, |out| {
            encode_publish_header(&outbound, version, out);
            if !shares {
                out.extend_from_slice(parts.payload);
            }
        });
        true
    }

    /// Whether the client takes a packet of this size, whatever the topic alias saves.
    pub(super) fn fits_client(
        &self,
        index: u32,
        parts: &MessageParts<'_>,
        qos: QoS,
        identifiers: &[u32],
        now: Time,
    ) -> bool {
        let connection = &self.connections[index as usize];
        if connection.maximum_packet_size_bytes == u32::MAX {
            return true;
        }
        let form = Form {
            delivery: publish_delivery(qos, PacketIdentifier::FIRST),
            dup: false,
            retain: false,
            identifiers,
        };
        let outbound = outbound(&form, parts, OutboundTopic::Name, connection.version, now);
        publish_size(&outbound, connection.version) <= connection.maximum_packet_size_bytes as usize
    }
}

fn outbound<'a>(
    form: &Form<'a>,
    parts: &MessageParts<'a>,
    topic: OutboundTopic,
    version: ProtocolVersion,
    now: Time,
) -> Outbound<'a> {
    let (name, topic_alias) = match topic {
        OutboundTopic::Name => (parts.topic.as_str(), None),
        OutboundTopic::NameAndAlias(alias) => (parts.topic.as_str(), Some(alias)),
        OutboundTopic::Alias(alias) => ("", Some(alias)),
    };
    let speaks_properties = version == ProtocolVersion::V5;
    Outbound {
        dup: form.dup,
        retain: form.retain,
        delivery: form.delivery,
        topic: name,
        topic_alias,
        // [MQTT-3.3.2-6]: less the time it waited, in whole seconds, and never down to zero.
        message_expiry_interval_seconds: parts
            .expires_at
            .filter(|_| speaks_properties)
            .map(|at| u32::try_from(at.since(now).as_secs_f64().ceil() as u64).unwrap_or(u32::MAX)),
        subscription_identifiers: form.identifiers,
        properties: if speaks_properties {
            parts.properties
        } else {
            &[]
        },
        payload_bytes: parts.payload.len(),
    }
}

pub(super) fn publish_delivery(qos: QoS, id: PacketIdentifier) -> PublishDelivery {
    match qos {
        QoS::AtMostOnce => PublishDelivery::AtMostOnce,
        QoS::AtLeastOnce => PublishDelivery::AtLeastOnce(id),
        QoS::ExactlyOnce => PublishDelivery::ExactlyOnce(id),
    }
}

fn delivery_qos(delivery: PublishDelivery) -> QoS {
    match delivery {
        PublishDelivery::AtMostOnce => QoS::AtMostOnce,
        PublishDelivery::AtLeastOnce(_) => QoS::AtLeastOnce,
        PublishDelivery::ExactlyOnce(_) => QoS::ExactlyOnce,
    }
}

fn identifier_of(delivery: PublishDelivery) -> Option<PacketIdentifier> {
    match delivery {
        PublishDelivery::AtMostOnce => None,
        PublishDelivery::AtLeastOnce(id) | PublishDelivery::ExactlyOnce(id) => Some(id),
    }
}
