//! What came of a command: the acknowledgement of who published it, and the reply where one is wanted.

use std::borrow::Cow;
use std::sync::Arc;

use nexum_codec::{Property, encode_properties};
use nexum_extension_api::{CommandId, ErrorCode, Refusal, Reply};
use nexum_types::{
    MessageParts, PacketIdentifier, ProtocolVersion, QoS, Time, TopicFilter, TopicName,
};

use super::Shard;
use super::command::{Answer, Asker, BEHIND_BYTES, Inquiry, ThenReply};
use super::deliver::Terms;
use super::publish::Publication;
use crate::address::ExtensionId;
use crate::connection::Holds;
use crate::key::SessionKey;
use crate::output::Event;
use crate::peer::{NotKept, Receipt};
use crate::record::Key;

impl Shard {
    /// An extension has dealt with so much.
    pub(super) fn note_answered(&mut self, extension: ExtensionId, weight_bytes: usize) {
        let outbox = &mut self.extensions[usize::from(extension.0)];
        outbox.unanswered_bytes -= weight_bytes;
        if outbox.unanswered_bytes <= BEHIND_BYTES / 2 {
            for key in std::mem::take(&mut outbox.held) {
                self.lift_hold(key, Holds::EXTENSION);
            }
        }
    }

    /// An extension replies.
    pub(super) fn on_reply(
        &mut self,
        command: CommandId,
        result: Result<Reply, Refusal>,
        now: Time,
    ) {
        let Some(pending) = self.commands.remove(command.key) else {
            return;
        };
        self.note_answered(pending.extension, pending.weight_bytes);
        match pending.then {
            ThenReply::Tell(asker) => self.tell_asker(asker, result, now),
            ThenReply::OneOf(inquiry) => {
                let Some(state) = self.inquiries.get_mut(inquiry) else {
                    return;
                };
                state.remaining -= 1;
                state.found |= result.is_ok();
                if state.remaining == 0
                    && let Some(Inquiry { found, asker, .. }) = self.inquiries.remove(inquiry)
                {
                    let missing = "nothing that is to be published later has this id";
                    let missing = Refusal::new(ErrorCode::NotFound, missing);
                    let result = found.then(Reply::default).ok_or(missing);
                    self.tell_asker(asker, result, now);
                }
            }
        }
    }

    /// A publication out of its wrappers is safe, or refused.
    pub(super) fn on_published_for(&mut self, asker: Asker, refused: Option<NotKept>, now: Time) {
        let result = refused.map_or_else(|| Ok(Reply::default()), |why| Err(why.refusal()));
        self.tell_asker(asker, result, now);
    }

    /// Acknowledges a publication, and replies where a reply is wanted.
    pub(super) fn tell_asker(&mut self, asker: Asker, result: Result<Reply, Refusal>, now: Time) {
        let Asker {
            receipt,
            session,
            answer,
            noted,
            received,
        } = asker;
        if let (Some(session), Some((id, packet))) = (session, received) {
            match &result {
                Ok(_) if self.session_by_key(session).is_some() => {
                    self.on_received_kept(session, packet, now);
                }
                // It came to be stored when the session had ended.
                Ok(_) => self.journal.delete(Key::Received(id, packet)),
                Err(refusal) => self.on_received_refused(session, packet, refusal, now),
            }
        }
        if let (Some(noted), Err(_)) = (noted, &result) {
            self.recent_ids.forget(noted);
        }
        if let Some(receipt) = receipt {
            if let (
                Ok(reply),
                Receipt::Owed {
                    connection,
                    sequence,
                },
            ) = (&result, receipt)
                && !reply.properties.is_empty()
                && let Some(connection) = self.connection_mut(connection)
                && let Some(place) = connection.owed_place(sequence)
                && let Some(owed) = connection.owed.get_mut(place)
            {
                owed.properties.clone_from(&reply.properties);
            }
            // An old client is told by the reply, and needs no notice beside it.
            let is_told = answer.is_some() && self.is_old(receipt);
            let refused = result.as_ref().err().filter(|_| !is_told);
            let refused = refused.cloned().map(Arc::new);
            self.settle(receipt, refused.map(NotKept::Refused), now);
        } else if let (Err(refusal), None) = (&result, &answer) {
            // It was published at QoS 0, so that nothing else tells.
            let session = session.and_then(|key| self.session_by_key(key).map(|_| key.index));
            self.give_notice(session, refusal, now);
        }
        match answer {
            None => {}
            Some(Answer::Tag(tag)) => {
                let Some(session) = session else { return };
                let (end, payload) = match &result {
                    Ok(reply) => ("ok", Cow::Borrowed(&reply.payload)),
                    Err(refusal) => ("err", Cow::Owned(refusal.to_json())),
                };
                self.reply_privately(session, &format!("$reply/{tag}/{end}"), &payload, now);
            }
            Some(Answer::Topic(topic, correlation)) => {
                self.respond(&topic, correlation.as_deref(), &result, now);
            }
            Some(Answer::Will { client_id, topic }) => {
                if let Err(refusal) = &result {
                    self.event(Event::WillRefused {
                        client_id,
                        topic,
                        reason: refusal.to_string(),
                    });
                }
            }
        }
    }

    /// A QoS 2 publication is not stored, nor is its identifier.
    fn on_received_refused(
        &mut self,
        key: SessionKey,
        packet: PacketIdentifier,
        refusal: &Refusal,
        now: Time,
    ) {
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        let asked = session.received.asked_again(packet);
        self.forget_received(key.index, packet);
        if let Some(receipt) = asked {
            let refused = NotKept::Refused(Arc::new(refusal.clone()));
            self.settle(receipt, Some(refused), now);
        }
    }

    /// Whether the acknowledgement goes to a client that speaks 3.1.1.
    fn is_old(&self, receipt: Receipt) -> bool {
        match receipt {
            Receipt::Owed { connection, .. } => self
                .connection(connection)
                .is_some_and(|connection| connection.version == ProtocolVersion::V3_1_1),
            Receipt::Promise(_) => false,
        }
    }

    /// Publishes a response (MQTT 5 section 4.10).
    pub(super) fn respond(
        &mut self,
        topic: &str,
        correlation: Option<&[u8]>,
        result: &Result<Reply, Refusal>,
        now: Time,
    ) {
        let Ok(topic) = TopicName::new(topic) else {
            return;
        };
        if self.words.is_addressed(topic.as_str()) {
            return;
        }
        let mut labels = Vec::new();
        let payload = match result {
            Ok(reply) => {
                labels.push(("code", Cow::Borrowed("ok")));
                let own = reply.properties.iter();
                labels.extend(own.map(|(name, label)| (*name, Cow::Owned(label.to_string()))));
                Cow::Borrowed(&reply.payload)
            }
            Err(refusal) => {
                labels.push(("code", Cow::Borrowed(refusal.code.as_str())));
                let revision = refusal.revision.map(|revision| revision.to_string());
                labels.extend(revision.map(|revision| ("rev", Cow::Owned(revision))));
                Cow::Owned(refusal.to_json())
            }
        };
        let mut properties = Vec::new();
        let labels = labels
            .iter()
            .map(|(name, value)| Property::UserProperty(name, value));
        let correlation = correlation.map(Property::CorrelationData);
        if encode_properties(correlation.into_iter().chain(labels), &mut properties).is_err() {
            return;
        }
        let parts = MessageParts {
            topic,
            properties: &properties,
            payload: &payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: now,
            expires_at: None,
        };
        self.publish(&mut Publication::new(parts), now);
    }

    /// Tells a session of a refusal that no packet tells of, if it subscribed to that.
    pub(super) fn give_notice(&mut self, session: Option<u32>, refusal: &Refusal, now: Time) {
        if let Some(session) = session
            && !self.sessions[session as usize].replies.is_empty()
        {
            let session = self.session_key(session);
            self.reply_privately(session, "$reply/-/err", &refusal.to_json(), now);
        }
    }

    /// A message for one session alone, if it subscribed to such.
    pub(super) fn reply_privately(
        &mut self,
        session: SessionKey,
        topic: &str,
        payload: &[u8],
        now: Time,
    ) {
        let Ok(topic) = TopicName::new(topic) else {
            return;
        };
        let Some(state) = self.session_by_key(session) else {
            return;
        };
        let matching = state
            .replies
            .iter()
            .find(|(filter, _)| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic)));
        let Some(subscription) = matching.map(|(_, subscription)| *subscription) else {
            return;
        };
        let parts = MessageParts {
            topic,
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: now,
            expires_at: None,
        };
        let mut publication = Publication::new(parts);
        publication.fan_out = 1;
        self.templates.clear();
        let terms = Terms::of(&subscription);
        self.deliver(session.index, terms, &mut publication, now);
    }
}
