//! UNSUBSCRIBE (sections 3.10 and 3.11).

use std::sync::Arc;

use nexum_codec::{Packet, ReasonCodes, UnsubAck, Unsubscribe, UserProperties};
use nexum_types::{ProtocolVersion, ReasonCode, SharedSubscription, Time, TopicFilter};

use super::Shard;
use super::exclusive::exclusive;
use crate::key::ConnectionKey;
use crate::output::{DisconnectCause, ProtocolError};
use crate::record::Key;
use crate::subscription::Subscriber;

impl Shard {
    pub(super) fn on_unsubscribe(
        &mut self,
        key: ConnectionKey,
        session: u32,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
    ) {
        if !self.answer_fits(key, unsubscribe.filters.len()) {
            return self.on_protocol_error(key, ProtocolError::AnswerTooLarge, now);
        }
        let mut reason_codes = Vec::with_capacity(unsubscribe.filters.len());
        let changes = self.journal.changes();
        let version = self.connections[key.index as usize].version;
        let refuses =
            self.journal.is_refusing() && self.sessions[session as usize].keeps().is_some();
        if refuses && version == ProtocolVersion::V3_1_1 {
            // It has no word for it, and must not be told that it is done.
            return self.end_connection(key, DisconnectCause::Unstored, now);
        }
        for filter in unsubscribe.filters.iter() {
            reason_codes.push(if refuses {
                ReasonCode::ImplementationSpecificError
            } else {
                self.unsubscribe_one(session, filter, now)
            });
        }
        if version == ProtocolVersion::V3_1_1 {
            reason_codes.clear();
        }
        // [MQTT-3.10.4-4] [MQTT3-3.10.4-4]
        let packet = Packet::UnsubAck(UnsubAck {
            packet_identifier: unsubscribe.packet_identifier,
            reason_string: None,
            user_properties: UserProperties::default(),
            reason_codes: ReasonCodes::from_slice(&reason_codes),
        });
        self.send_packet(key.index, &packet);
        self.cork_if_changed(key, changes);
    }

    /// [MQTT-3.10.4-1]: the filter is compared character by character.
    fn unsubscribe_one(&mut self, session: u32, filter: &str, now: Time) -> ReasonCode {
        let was_reserved = self.unreserve(session, filter);
        if self.close_feed(session, filter) || self.ignore_replies(session, filter) {
            return self.forget_subscription(session, filter);
        }
        let target = exclusive(filter).unwrap_or(filter);
        // It has it under the other name.
        if exclusive(filter).is_some() != was_reserved || self.has_exclusively(session, filter) {
            return ReasonCode::NoSubscriptionExisted;
        }
        let existed = match SharedSubscription::parse(target) {
            Some(Ok(shared)) => {
                let name = format!("{}/{}", shared.share_name(), shared.filter().as_str());
                self.groups.find(&name).is_some_and(|group| {
                    let state = &mut self.sessions[session as usize];
                    let existed = state.shared_subscriptions.remove(&group);
                    if existed {
                        state.subscription_bytes -= name.len() as u64;
                        let member = self.session_key(session);
                        self.unsubscribe_from_group(group, member, now);
                    }
                    existed
                })
            }
            Some(Err(_)) => return ReasonCode::TopicFilterInvalid,
            None => match TopicFilter::new(target) {
                Ok(filter) => match self.index.remove(filter, Subscriber::Session(session)) {
                    Some((id, _)) => {
                        let state = &mut self.sessions[session as usize];
                        state.subscriptions.remove(&id);
                        state.subscription_bytes -= filter.as_str().len() as u64;
                        self.cancel_replays(session, filter.as_str());
                        self.withdraw(id, || filter.as_str().to_owned());
                        true
                    }
                    None => false,
                },
                Err(_) => return ReasonCode::TopicFilterInvalid,
            },
        };
        if existed {
            self.forget_subscription(session, filter)
        } else {
            ReasonCode::NoSubscriptionExisted
        }
    }

    pub(super) fn forget_subscription(&mut self, session: u32, filter: &str) -> ReasonCode {
        if let Some(id) = self.sessions[session as usize].id {
            self.journal
                .delete(Key::Subscription(id, Arc::from(filter)));
        }
        ReasonCode::Success
    }

    /// True if replies to the session were subscribed to under this filter.
    fn ignore_replies(&mut self, session: u32, filter: &str) -> bool {
        let state = &mut self.sessions[session as usize];
        let place = state.replies.iter().position(|(it, _)| **it == *filter);
        if let Some(place) = place {
            state.replies.remove(place);
            state.subscription_bytes -= filter.len() as u64;
        }
        place.is_some()
    }
}
