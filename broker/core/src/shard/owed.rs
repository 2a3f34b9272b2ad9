//! The acknowledgements that a connection owes its client, in their order, and what they say.

use std::borrow::Cow;

use nexum_codec::{Acknowledgement, AcknowledgementKind, Packet, PublishDelivery, UserProperties};
use nexum_extension_api::{ErrorCode, Label, Refusal};
use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode, Time};

use super::Shard;
use super::publish::Published;
use crate::connection::{Connection, Holds, OwedAcknowledgement};
use crate::counters::DropReason;
use crate::key::ConnectionKey;
use crate::output::DisconnectCause;
use crate::peer::{NotKept, Receipt};
use crate::session::Received;

/// Acknowledgements that a connection may be owed before it is not read any more: enough for what the
/// store takes in a while.
const OWED_AT_MOST: usize = 16 * 1024;

impl Shard {
    /// Names the acknowledgement that the connection will owe next.
    pub(super) fn next_receipt(&self, key: ConnectionKey) -> Receipt {
        Receipt::Owed {
            connection: key,
            sequence: self.connections[key.index as usize].owed_sequence,
        }
    }

    /// Acknowledges as soon as all receipts have come and nothing is owed before it.
    pub(super) fn owe(
        &mut self,
        key: ConnectionKey,
        kind: AcknowledgementKind,
        packet_identifier: PacketIdentifier,
        published: Published,
        now: Time,
    ) {
        let reason_code = if published.matched {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        let connection = &mut self.connections[key.index as usize];
        if published
            == (Published {
                matched: published.matched,
                ..Published::default()
            })
            && connection.owed.is_empty()
        {
            return self.send_acknowledgement(key.index, kind, packet_identifier, reason_code);
        }
        connection.owed.push_back(OwedAcknowledgement {
            kind,
            packet_identifier,
            reason_code,
            receipts: published.receipts,
            refused: published.refused,
            properties: Vec::new(),
        });
        connection.owed_sequence = connection.owed_sequence.wrapping_add(1);
        connection.owed_pubacks += u32::from(kind == AcknowledgementKind::PubAck);
        if connection.owed.len() >= OWED_AT_MOST {
            connection.holds.add(Holds::OWED);
        }
        self.acknowledge_owed(key, now);
    }

    /// Somebody who promised to keep a message has it, or has not.
    pub(super) fn on_owed_receipt(
        &mut self,
        key: ConnectionKey,
        sequence: u32,
        refused: Option<NotKept>,
        now: Time,
    ) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        let Some(place) = connection.owed_place(sequence) else {
            return;
        };
        let Some(owed) = connection.owed.get_mut(place) else {
            return;
        };
        owed.receipts = owed.receipts.saturating_sub(1);
        if owed.refused.is_none() {
            owed.refused = refused;
        }
        if place == 0 {
            self.acknowledge_owed(key, now);
        }
    }

    /// Sends the acknowledgements at the front that wait for nothing any more.
    fn acknowledge_owed(&mut self, key: ConnectionKey, now: Time) {
        while let Some(connection) = self.connection_mut(key)
            && connection
                .owed
                .front()
                .is_some_and(|owed| owed.receipts == 0)
            && let Some(owed) = connection.owed.pop_front()
        {
            connection.owed_pubacks -= u32::from(owed.kind == AcknowledgementKind::PubAck);
            if connection.holds.has(Holds::OWED) && connection.owed.len() * 2 < OWED_AT_MOST {
                self.lift_hold(key, Holds::OWED);
            }
            let (kind, id) = (owed.kind, owed.packet_identifier);
            match owed.refused {
                Some(why) => self.refuse_owed(key, kind, id, &why, now),
                None if owed.properties.is_empty() => {
                    self.send_acknowledgement(key.index, kind, id, owed.reason_code);
                }
                None => {
                    let told: Vec<_> = owed.properties.iter().map(shown).collect();
                    self.explain(key, kind, id, owed.reason_code, None, &told);
                }
            }
        }
    }

    /// Tells a publisher that its message is not kept.
    fn refuse_owed(
        &mut self,
        key: ConnectionKey,
        kind: AcknowledgementKind,
        id: PacketIdentifier,
        why: &NotKept,
        now: Time,
    ) {
        let delivery = match kind {
            AcknowledgementKind::PubRec => {
                // The identifier is free again ([MQTT-4.3.3-6]).
                if let Some(session) = self.connection(key).and_then(Connection::session) {
                    self.forget_received(session, id);
                }
                PublishDelivery::ExactlyOnce(id)
            }
            AcknowledgementKind::PubAck
            | AcknowledgementKind::PubRel
            | AcknowledgementKind::PubComp => PublishDelivery::AtLeastOnce(id),
        };
        self.refuse_publish(key, delivery, &why.refusal(), now);
    }

    /// Tells a client that what it published is not taken: by the acknowledgement, or where that
    /// has no word for it by a notice or by closing.
    pub(super) fn refuse_publish(
        &mut self,
        key: ConnectionKey,
        delivery: PublishDelivery,
        refusal: &Refusal,
        now: Time,
    ) {
        let connection = &self.connections[key.index as usize];
        let (version, session) = (connection.version, connection.session());
        self.counters.drop_message(DropReason::Refused);
        let (kind, id) = match delivery {
            PublishDelivery::AtMostOnce => return self.give_notice(session, refusal, now),
            PublishDelivery::AtLeastOnce(id) => (AcknowledgementKind::PubAck, id),
            PublishDelivery::ExactlyOnce(id) => (AcknowledgementKind::PubRec, id),
        };
        if version == ProtocolVersion::V5 {
            let retry_after = refusal
                .retry_after
                .map(|after| format!("{}ms", after.as_millis()));
            let mut told = vec![("code", Cow::Borrowed(refusal.code.as_str()))];
            told.extend(retry_after.map(|after| ("retry-after", Cow::Owned(after))));
            let revision = refusal.revision.map(|revision| revision.to_string());
            told.extend(revision.map(|revision| ("rev", Cow::Owned(revision))));
            let reason_code = refusal.code.of_publish();
            return self.explain(key, kind, id, reason_code, Some(&refusal.reason), &told);
        }
        // What cannot be stored now could be later: it must not be taken for done.
        if refusal.code == ErrorCode::Unavailable || self.limits.v311_refused_publish_closes {
            let cause = match refusal.code {
                ErrorCode::Unavailable => DisconnectCause::Unstored,
                _ => DisconnectCause::PublishRefused(refusal.code),
            };
            return self.end_connection(key, cause, now);
        }
        // [MQTT3-3.3.5-2]: acknowledged, since there is no way to say no. For QoS 2 the identifier
        // is remembered so that PUBREL finds it.
        if let (AcknowledgementKind::PubRec, Some(session)) = (kind, session) {
            self.sessions[session as usize]
                .received
                .insert(id, Received::Here);
        }
        self.send_acknowledgement(key.index, kind, id, ReasonCode::Success);
        self.give_notice(session, refusal, now);
    }

    /// Sends an acknowledgement with what explains it, as far as the client wants that and takes it
    /// ([MQTT-3.1.2-29]).
    fn explain(
        &mut self,
        key: ConnectionKey,
        kind: AcknowledgementKind,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        reason_string: Option<&str>,
        properties: &[(&str, Cow<'_, str>)],
    ) {
        let connection = &self.connections[key.index as usize];
        // It may keep properties from all but PUBLISH, CONNACK and DISCONNECT.
        let explain = connection.request_problem_information;
        let pairs: Vec<_> = properties
            .iter()
            .map(|(name, value)| (*name, value.as_ref()))
            .collect();
        for (reason_string, pairs) in [(reason_string, &pairs[..]), (None, &[])] {
            let acknowledgement = Acknowledgement {
                packet_identifier,
                reason_code,
                reason_string: reason_string.filter(|_| explain),
                user_properties: UserProperties::from_pairs(if explain { pairs } else { &[] }),
            };
            let packet = match kind {
                AcknowledgementKind::PubAck => Packet::PubAck(acknowledgement),
                AcknowledgementKind::PubRec => Packet::PubRec(acknowledgement),
                AcknowledgementKind::PubRel => Packet::PubRel(acknowledgement),
                AcknowledgementKind::PubComp => Packet::PubComp(acknowledgement),
            };
            if self.send_packet(key.index, &packet) {
                return;
            }
        }
    }
}

fn shown<'a>((name, label): &'a (&'static str, Label)) -> (&'a str, Cow<'a, str>) {
    let value = match label {
        Label::Number(number) => Cow::Owned(number.to_string()),
        Label::Text(text) => Cow::Borrowed(&**text),
        Label::Word(word) => Cow::Borrowed(*word),
    };
    (name, value)
}
