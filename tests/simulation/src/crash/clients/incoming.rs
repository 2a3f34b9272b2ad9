//! What a client does with what it gets.

use nexum_codec::{
    AcknowledgementKind, ConnAck, Packet, Property, Publish, PublishDelivery, Split, decode,
    encode_acknowledgement, split_frame,
};
use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode, Time};

use super::super::verdict::{ContentType, Form, Promise, is_of_queue};
use super::brief::brief;
use super::{Answer, Client, Job, Phase, Request, Tools};
use crate::link::LinkId;

impl Client {
    pub(in crate::crash) fn read(&mut self, link: LinkId, bytes: &[u8], tools: &mut Tools<'_>) {
        self.inbox.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while self.link() == Some(link)
            && let Ok(Split::Frame(frame)) = split_frame(&bytes[at..], u32::MAX)
        {
            at += frame.size;
            match decode(frame, self.traits.version) {
                Ok(packet) => self.take(link, &packet, tools),
                Err(error) => {
                    let text = format!("client {}: {error}", self.number);
                    tools.verdict.breach(Promise::Protocol, text);
                }
            }
        }
        if self.link() == Some(link) {
            self.inbox = bytes[at..].to_vec();
        }
    }

    fn take(&mut self, link: LinkId, packet: &Packet<'_>, tools: &mut Tools<'_>) {
        let number = self.number;
        tools.history.note(tools.now, || {
            format!("client {number} ◄── {}", brief(packet))
        });
        match packet {
            Packet::ConnAck(connack) => self.take_connack(link, connack, tools),
            Packet::Publish(publish) => self.take_publish(publish, tools),
            Packet::PubAck(ack) => {
                self.settle(ack.packet_identifier, ack.reason_code, tools);
                self.forget(ack.packet_identifier, tools);
            }
            Packet::PubRec(ack) => {
                let id = ack.packet_identifier;
                self.settle(id, ack.reason_code, tools);
                if ack.reason_code.is_error() {
                    return self.forget(id, tools);
                }
                for one in self.outgoing.iter_mut().filter(|one| one.id == id) {
                    one.released = true;
                }
                self.acknowledge(AcknowledgementKind::PubRel, id, tools);
            }
            Packet::PubRel(ack) => {
                let id = ack.packet_identifier;
                self.received.remove(&id.value());
                let settles = self.in_flight.remove(&id.value());
                let reason = ReasonCode::Success;
                self.answer_with(AcknowledgementKind::PubComp, id, reason, settles, tools);
            }
            Packet::PubComp(ack) => self.forget(ack.packet_identifier, tools),
            Packet::SubAck(suback) => {
                let id = suback.packet_identifier.value();
                let Some(Request::Subscribe(filters)) = self.requests.remove(&id) else {
                    let text = format!("client {number}: SUBACK {id}");
                    return tools.verdict.breach(Promise::Protocol, text);
                };
                for (filter, reason) in filters.iter().zip(suback.reason_codes.iter()) {
                    if !reason.is_error() {
                        tools.verdict.subscribed(number, filter, tools.now);
                        self.confirmed.insert(filter.clone());
                    }
                }
                if self.is_calm {
                    self.subscribe_unconfirmed(tools);
                }
            }
            Packet::UnsubAck(unsuback) => {
                let id = unsuback.packet_identifier.value();
                let Some(Request::Unsubscribe(filter)) = self.requests.remove(&id) else {
                    let text = format!("client {number}: UNSUBACK {id}");
                    return tools.verdict.breach(Promise::Protocol, text);
                };
                // What is answered while nothing can be stored is not certain to last.
                if tools.stores {
                    tools.verdict.unsubscribed(number, &filter, tools.now);
                }
            }
            // Its connection is about to end.
            Packet::Disconnect(_) | Packet::PingResp => {}
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Auth(_) => {
                let text = format!("client {number} got {packet:?}");
                tools.verdict.breach(Promise::Protocol, text);
            }
        }
    }

    fn take_connack(&mut self, link: LinkId, connack: &ConnAck<'_>, tools: &mut Tools<'_>) {
        let no_store = [ReasonCode::ServerUnavailable, ReasonCode::QuotaExceeded];
        if no_store.contains(&connack.reason_code) {
            // Nothing can be kept now. The end of the connection follows.
            return;
        }
        if connack.reason_code != ReasonCode::Success {
            let text = format!("client {}: {}", self.number, connack.reason_code);
            return tools.verdict.breach(Promise::Protocol, text);
        }
        self.phase = Phase::Connected(link);
        self.must_start_clean = false;
        let present = connack.session_present;
        let persists = self.persists();
        tools
            .verdict
            .connected(self.number, self.clean_sent, present, persists);
        if self.traits.treatment.is_some() {
            tools.verdict.jobs.consumer_connected(link);
        }
        if !present {
            self.outgoing.clear();
            self.received.clear();
            self.confirmed.clear();
        }
        if self.is_leaving {
            return self.disconnect(tools);
        }
        for outgoing in &mut self.outgoing {
            outgoing.sent_here = false;
        }
        self.pump(tools);
        if !present {
            self.subscribe(tools);
        } else {
            self.subscribe_unconfirmed(tools);
        }
    }

    /// The broker's last word about a publication, for now.
    fn settle(&mut self, id: PacketIdentifier, reason: ReasonCode, tools: &mut Tools<'_>) {
        let Some(outgoing) = self.outgoing.iter().find(|one| one.id == id) else {
            return;
        };
        if reason.is_error() {
            if let Some(number) = outgoing.number {
                tools.verdict.refused(number);
            }
            return;
        }
        if let Some(number) = outgoing.number {
            tools.verdict.acknowledged(number);
        }
        if let Some(Job { job: Some(job), .. }) = outgoing.settles {
            tools.verdict.jobs.gone(job, tools.now);
        }
        if let Some(write) = outgoing.retains {
            tools.verdict.retained(&outgoing.topic, write);
        }
    }

    fn forget(&mut self, id: PacketIdentifier, tools: &mut Tools<'_>) {
        self.outgoing.retain(|one| one.id != id);
        if self.is_calm && self.traits.is_careful {
            self.pump(tools);
        }
        if self.is_calm && !self.leases.is_empty() {
            self.settle_leases(tools);
        }
    }

    fn take_publish(&mut self, publish: &Publish<'_>, tools: &mut Tools<'_>) {
        let topic = publish.topic.map_or("", |topic| topic.as_str());
        let form = Form {
            qos: publish.delivery.qos(),
            retain: publish.retain,
            content_type: self.content_type_of(publish),
            written: tools.written,
        };
        if is_of_queue(topic) {
            return self.take_job(topic, publish, tools);
        }
        match publish.delivery {
            PublishDelivery::AtMostOnce => {
                let verdict = &mut *tools.verdict;
                verdict.received(self.number, topic, publish.payload, form);
            }
            PublishDelivery::AtLeastOnce(id) => {
                let verdict = &mut *tools.verdict;
                verdict.received(self.number, topic, publish.payload, form);
                self.answer(AcknowledgementKind::PubAck, id, tools);
            }
            PublishDelivery::ExactlyOnce(id) => {
                // Section 4.3.3: the application gets it once, however often it comes.
                if self.received.insert(id.value()) {
                    let verdict = &mut *tools.verdict;
                    verdict.received(self.number, topic, publish.payload, form);
                }
                self.answer(AcknowledgementKind::PubRec, id, tools);
            }
        }
    }

    pub(super) fn content_type_of<'a>(&self, publish: &Publish<'a>) -> ContentType<'a> {
        if self.traits.version == ProtocolVersion::V3_1_1 {
            return ContentType::Unknown;
        }
        ContentType::Told(publish.properties.iter().find_map(|it| match it {
            Property::ContentType(text) => Some(text),
            _ => None,
        }))
    }

    fn answer(&mut self, kind: AcknowledgementKind, id: PacketIdentifier, tools: &mut Tools<'_>) {
        self.answer_with(kind, id, ReasonCode::Success, None, tools);
    }

    /// Answers now or later, and never before an earlier answer.
    pub(super) fn answer_with(
        &mut self,
        kind: AcknowledgementKind,
        id: PacketIdentifier,
        reason: ReasonCode,
        settles: Option<Job>,
        tools: &mut Tools<'_>,
    ) {
        let wait = tools.random.within(self.traits.answers);
        let mut bytes = Vec::new();
        let version = self.traits.version;
        encode_acknowledgement(kind, id, reason, version, &mut bytes);
        let last = self.answers.back().map_or(tools.now, |answer| answer.at);
        let is_first = self.answers.is_empty();
        self.answers.push_back(Answer {
            at: (tools.now + wait).max(last),
            bytes,
            settles,
        });
        if wait.is_zero() && is_first {
            self.send_answers(tools);
        }
    }

    pub(in crate::crash) fn next_answer(&self) -> Option<Time> {
        self.answers.front().map(|answer| answer.at)
    }

    /// Sends the answers that are due.
    pub(in crate::crash) fn send_answers(&mut self, tools: &mut Tools<'_>) {
        while self.next_answer().is_some_and(|at| at <= tools.now)
            && let Some(Answer { bytes, settles, .. }) = self.answers.pop_front()
        {
            let number = self.number;
            tools
                .history
                .note(tools.now, || format!("client {number} ──► {bytes:02x?}"));
            tools.out.extend_from_slice(&bytes);
            if let Some(Job { number, job }) = settles {
                tools.verdict.jobs.done(number);
                tools.settled.extend(job);
            }
        }
    }
}
