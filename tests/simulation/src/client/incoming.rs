//! What a client does with the packets it gets.

use nexum_codec::{
    Acknowledgement, AcknowledgementKind, ConnAck, Packet, Publish, PublishDelivery, Split, decode,
    encode_acknowledgement, split_frame,
};
use nexum_types::{PacketIdentifier, ProtocolVersion, QoS, ReasonCode};

use super::{Client, Context, Phase, SentHere, Terms};
use crate::judge::deliveries::Use;
use crate::judge::messages::{MessageId, read_payload};
use crate::link::LinkId;
use crate::rule::Rule;
use crate::scenario::Answering;

impl Client {
    /// Bytes came from the broker.
    pub(crate) fn read(&mut self, link: LinkId, bytes: &[u8], context: &mut Context<'_>) {
        self.inbox.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while self.phase.link() == Some(link)
            && let Ok(Split::Frame(frame)) = split_frame(&bytes[at..], u32::MAX)
        {
            at += frame.size;
            match decode(frame, self.version) {
                Ok(packet) => self.take(link, &packet, context),
                Err(error) => {
                    let text = format!("{link:?}: the client cannot read {error}");
                    context.judge.breach(Rule::WellFormed, text);
                }
            }
        }
        if self.phase.link() == Some(link) {
            self.inbox = bytes[at..].to_vec();
        }
    }

    fn take(&mut self, link: LinkId, packet: &Packet<'_>, context: &mut Context<'_>) {
        match packet {
            Packet::ConnAck(connack) => self.take_connack(link, connack, context),
            Packet::Publish(publish) => self.take_publish(link, publish, context),
            Packet::PubAck(ack) => {
                self.forget(ack.packet_identifier);
                self.pump(context);
            }
            Packet::PubRec(ack) => self.take_pubrec(ack, context),
            Packet::PubRel(ack) => {
                self.received.remove(&ack.packet_identifier.value());
                let id = ack.packet_identifier;
                self.answer(
                    AcknowledgementKind::PubComp,
                    id,
                    ReasonCode::Success,
                    context,
                );
            }
            Packet::PubComp(ack) => {
                self.forget(ack.packet_identifier);
                self.pump(context);
            }
            Packet::SubAck(suback) => {
                self.has_begun = true;
                self.requests.remove(&suback.packet_identifier.value());
            }
            Packet::UnsubAck(unsuback) => {
                self.requests.remove(&unsuback.packet_identifier.value());
            }
            Packet::PingResp => self.pings_unanswered = self.pings_unanswered.saturating_sub(1),
            // The connection is about to end; the end is what counts.
            Packet::Disconnect(_) => {}
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Auth(_) => {
                context
                    .judge
                    .breach(Rule::Expected, format!("{link:?}: {packet:?}"));
            }
        }
    }

    fn take_connack(&mut self, link: LinkId, connack: &ConnAck<'_>, context: &mut Context<'_>) {
        if connack.reason_code != ReasonCode::Success {
            // Nothing happened to the session.
            return;
        }
        self.phase = Phase::Connected(link);
        self.must_start_clean = false;
        let v5 = self.version == ProtocolVersion::V5;
        let properties = &connack.properties;
        if let Some(assigned) = properties.assigned_client_identifier {
            self.client_id = assigned.to_owned();
        }
        self.terms = Terms {
            receive_maximum: if v5 {
                properties
                    .receive_maximum
                    .map_or(65_535, |most| usize::from(most.get()))
            } else {
                20
            },
            maximum_packet_size: match properties.maximum_packet_size {
                Some(most) => most as usize,
                // 3.1.1 cannot be told; the scenarios keep below the smallest.
                None => 30_000,
            },
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            keep_alive_seconds: properties
                .server_keep_alive_seconds
                .unwrap_or(self.traits.keep_alive_seconds),
        };
        // The broker may be stricter than 3.1.1 can say.
        if !v5 && let Some(most) = context.judge.limits.server_keep_alive_seconds {
            let own = self.terms.keep_alive_seconds;
            self.terms.keep_alive_seconds = if own == 0 {
                most.get()
            } else {
                own.min(most.get())
            };
        }
        if !connack.session_present {
            self.outgoing.clear();
            self.received.clear();
        }
        for outgoing in &mut self.outgoing {
            outgoing.sent_here = SentHere::Nothing;
        }
        self.pump(context);
        if connack.session_present {
            self.has_begun = true;
        } else {
            self.subscribe(context);
        }
    }

    fn take_publish(&mut self, link: LinkId, publish: &Publish<'_>, context: &mut Context<'_>) {
        if let (Some(topic), Some(alias)) = (publish.topic, publish.topic_alias) {
            self.aliases_down.insert(alias, topic.as_str().to_owned());
        }
        let message = read_payload(publish.payload);
        match publish.delivery {
            PublishDelivery::AtMostOnce => context.judge.received(link, message, Use::Given),
            PublishDelivery::AtLeastOnce(id) => {
                context.judge.received(link, message, Use::Given);
                self.answer(
                    AcknowledgementKind::PubAck,
                    id,
                    ReasonCode::Success,
                    context,
                );
            }
            PublishDelivery::ExactlyOnce(id) => self.take_exactly_once(link, message, id, context),
        }
    }

    /// Section 4.3.3: the application gets it once, however often it comes.
    fn take_exactly_once(
        &mut self,
        link: LinkId,
        message: Option<MessageId>,
        id: PacketIdentifier,
        context: &mut Context<'_>,
    ) {
        let is_new = !self.received.contains(&id.value());
        // Now and then an MQTT 5 client does not want what it gets; that completes it, too.
        if is_new && self.version == ProtocolVersion::V5 && context.random.percent(3) {
            context.judge.received(link, message, Use::Refused);
            let reason = ReasonCode::QuotaExceeded;
            return self.answer(AcknowledgementKind::PubRec, id, reason, context);
        }
        self.received.insert(id.value());
        let use_of_it = if is_new { Use::Given } else { Use::Known };
        context.judge.received(link, message, use_of_it);
        self.answer(
            AcknowledgementKind::PubRec,
            id,
            ReasonCode::Success,
            context,
        );
    }

    fn take_pubrec(&mut self, ack: &Acknowledgement<'_>, context: &mut Context<'_>) {
        let id = ack.packet_identifier;
        if ack.reason_code.is_error() {
            self.forget(id);
            return self.pump(context);
        }
        if let Some(outgoing) = self
            .outgoing
            .iter_mut()
            .find(|one| one.id == id && one.qos == QoS::ExactlyOnce)
        {
            outgoing.released = true;
        }
        let kind = AcknowledgementKind::PubRel;
        encode_acknowledgement(
            kind,
            id,
            ReasonCode::Success,
            self.version,
            &mut context.out,
        );
    }

    fn forget(&mut self, id: PacketIdentifier) {
        self.outgoing.retain(|one| one.id != id);
    }

    /// Answers now or later, and never before an earlier answer.
    fn answer(
        &mut self,
        kind: AcknowledgementKind,
        id: PacketIdentifier,
        reason: ReasonCode,
        context: &mut Context<'_>,
    ) {
        let mut bytes = Vec::new();
        encode_acknowledgement(kind, id, reason, self.version, &mut bytes);
        let wait = match self.traits.answering {
            Answering::AtOnce => std::time::Duration::ZERO,
            Answering::Later(span) => context.random.within(span),
            Answering::Never => return,
        };
        if wait.is_zero() && self.answers.is_empty() {
            return context.out.extend_from_slice(&bytes);
        }
        let last = self.answers.back().map_or(context.now, |(at, _)| *at);
        self.answers
            .push_back(((context.now + wait).max(last), bytes));
    }
}
