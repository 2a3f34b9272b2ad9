//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use std::sync::Arc;

use nexum_codec::{
    Packet, ReasonCodes, Split, SubAck, Subscribe, SubscriptionRequest, UnsubAck, Unsubscribe,
    UserProperties, decode, split_frame,
};
use nexum_types::{ProtocolVersion, QoS, ReasonCode, SharedSubscription, Time, TopicFilter};

use super::Shard;
use super::peers::{Awaited, PendingSubscribe};
use crate::address::Word;
use crate::connection::{Connection, Holds};
use crate::key::ConnectionKey;
use crate::output::{DisconnectCause, ProtocolError};
use crate::peer::{MemberTerms, PeerMessage};
use crate::record::{Key, Value};
use crate::replay::ReplayRequest;
use crate::subscription::{Subscriber, Subscription, wants_retained};

/// Why one filter is refused.
struct Refusal {
    reason_code: ReasonCode,
    reason_string: String,
}

fn member_terms(request: &SubscriptionRequest<'_>, identifier: Option<u32>) -> MemberTerms {
    MemberTerms {
        maximum_qos: request.options.maximum_qos,
        retain_as_published: request.options.retain_as_published,
        subscription_identifier: identifier,
    }
}

fn refusal(reason_code: ReasonCode, reason_string: impl Into<String>) -> Refusal {
    Refusal {
        reason_code,
        reason_string: reason_string.into(),
    }
}

/// One filter of a SUBSCRIBE that may be subscribed to.
enum Request<'a> {
    Plain(TopicFilter<'a>),
    /// The group's name: `<ShareName>/<filter>`.
    Shared(Arc<str>),
}

/// What a new subscription is to be sent at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    Retained,
}

impl Shard {
    /// With one shard it is done at once. With several, the others note the interest first, so
    /// that nothing published after SUBACK is missed; the client waits, and gets nothing for the
    /// new subscriptions before SUBACK.
    pub(super) fn on_subscribe(
        &mut self,
        key: ConnectionKey,
        session: u32,
        subscribe: &Subscribe<'_>,
        packet: &[u8],
        now: Time,
    ) {
        if !self.answer_fits(key, subscribe.requests.len()) {
            return self.on_protocol_error(key, ProtocolError::AnswerTooLarge, now);
        }
        let breaches_no_local = subscribe.requests.iter().any(|request| {
            request.options.no_local && SharedSubscription::parse(request.filter).is_some()
        });
        if breaches_no_local {
            // [MQTT-3.8.3-4]
            let error = ProtocolError::NoLocalOnSharedSubscription;
            return self.on_protocol_error(key, error, now);
        }
        if self.shards > 1 && self.announce_subscribe(key, session, subscribe, packet, now) {
            return;
        }
        self.complete_subscribe(key, subscribe, self.overtaken.now(), now);
    }

    /// Whether the client takes a SUBACK or UNSUBACK of so many Reason Codes. Asked before anything
    /// is done, since a client that gets no answer would wait for one.
    fn answer_fits(&self, key: ConnectionKey, reason_codes: usize) -> bool {
        // Packet Identifier and the length of no properties.
        let remaining = 2 + 1 + reason_codes;
        let length_bytes = match remaining {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            _ => 4,
        };
        let maximum = self.connections[key.index as usize].maximum_packet_size_bytes as usize;
        1 + length_bytes + remaining <= maximum
    }

    /// Tells the other shards; true if their answers are awaited.
    fn announce_subscribe(
        &mut self,
        key: ConnectionKey,
        session: u32,
        subscribe: &Subscribe<'_>,
        packet: &[u8],
        now: Time,
    ) -> bool {
        let token = self.pending_subscribes.vacant_key() as u32;
        let mut remaining = 0;
        let mut placeholders = Vec::new();
        for request in subscribe.requests.iter() {
            match self.check_request(session, request.filter) {
                Ok(Request::Plain(filter)) => {
                    let pending = Subscriber::Pending(token);
                    let (id, previous) =
                        self.index.insert(filter, pending, Subscription::default());
                    // A packet may name a filter twice.
                    if previous.is_none() {
                        self.count_subscriber(id, true);
                        placeholders.push(id);
                    }
                    let durable = self.sessions[session as usize].keeps().is_some();
                    remaining += self.announce(filter.as_str(), token, durable);
                }
                Ok(Request::Shared(name)) => {
                    let terms = member_terms(&request, subscribe.subscription_identifier);
                    remaining += self.announce_member(session, &name, terms, token, now);
                }
                Err(_) => {}
            }
        }
        if remaining == 0 {
            return false;
        }
        self.connections[key.index as usize]
            .holds
            .add(Holds::SUBSCRIBE);
        let what = Awaited::Subscribe {
            connection: key,
            session,
            packet: Box::from(packet),
            placeholders,
            since: self.overtaken.now(),
        };
        self.pending_subscribes
            .insert(PendingSubscribe { remaining, what });
        true
    }

    /// Every shard has noted the interest that `token` stands for.
    pub(super) fn on_subscribe_noted(&mut self, token: u32, awaited: Awaited, now: Time) {
        let (key, session, packet, placeholders, since) = match awaited {
            Awaited::Subscribe {
                connection,
                session,
                packet,
                placeholders,
                since,
            } => (connection, session, packet, placeholders, since),
            Awaited::Member { shard, token } => {
                return self.tell(shard, PeerMessage::InterestNoted { token });
            }
        };
        if self.connection(key).and_then(Connection::session) == Some(session)
            && let Ok(Split::Frame(frame)) = split_frame(&packet, u32::MAX)
            && let Ok(Packet::Subscribe(subscribe)) =
                decode(frame, self.connections[key.index as usize].version)
        {
            self.complete_subscribe(key, &subscribe, since, now);
        }
        for id in placeholders {
            self.unsubscribe_id(id, Subscriber::Pending(token));
        }
        self.lift_hold(key, Holds::SUBSCRIBE);
    }

    /// `since` is when SUBSCRIBE came, for the retained messages that are overtaken.
    fn complete_subscribe(
        &mut self,
        key: ConnectionKey,
        subscribe: &Subscribe<'_>,
        since: u64,
        now: Time,
    ) {
        let Some(session) = self.connection(key).and_then(Connection::session) else {
            return;
        };
        let identifier = subscribe.subscription_identifier;
        let changes = self.journal.changes();
        let mut reason_codes = Vec::with_capacity(subscribe.requests.len());
        let mut reason_string = None;
        let mut retained = Vec::new();
        // [MQTT-3.8.4-5] [MQTT3-3.8.4-4]: as if each filter had come in a packet of its own.
        for request in subscribe.requests.iter() {
            match self.subscribe_one(session, request, identifier, now) {
                // [MQTT-3.8.4-8]
                Ok(wants) => {
                    reason_codes.push(match request.options.maximum_qos {
                        QoS::AtMostOnce => ReasonCode::Success,
                        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
                        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
                    });
                    if wants == Wants::Retained {
                        retained.push(ReplayRequest {
                            filter: Arc::from(request.filter),
                            maximum_qos: request.options.maximum_qos,
                            subscription_identifier: identifier,
                            since,
                        });
                    }
                }
                Err(refusal) => {
                    reason_codes.push(refusal.reason_code);
                    reason_string.get_or_insert(refusal.reason_string);
                }
            }
        }
        let explain = self.connections[key.index as usize].request_problem_information;
        // [MQTT-3.1.2-29]
        let reason_string = reason_string.as_deref().filter(|_| explain);
        self.send_explained(key.index, reason_string, |reason_string| {
            Packet::SubAck(SubAck {
                packet_identifier: subscribe.packet_identifier,
                reason_string,
                user_properties: UserProperties::default(),
                reason_codes: ReasonCodes::from_slice(&reason_codes),
            })
        });
        self.cork_if_changed(key, changes);
        if !retained.is_empty() {
            let requests = &mut self.sessions[session as usize].replay_requests;
            let requests = requests.get_or_insert_default();
            for request in retained {
                self.replay_requests += usize::from(requests.push(request));
            }
        }
        self.pump(session, now);
    }

    /// What is acknowledged to a session that outlives its connection has to be stored.
    fn cork_if_changed(&mut self, key: ConnectionKey, changes: u64) {
        if self.journal.changes() > changes && !self.journal.is_refusing() {
            self.cork(key);
        }
    }

    /// Adds or replaces one subscription ([MQTT-3.8.4-3], [MQTT3-3.8.4-3]).
    fn subscribe_one(
        &mut self,
        session: u32,
        request: SubscriptionRequest<'_>,
        identifier: Option<u32>,
        now: Time,
    ) -> Result<Wants, Refusal> {
        let checked = self.check_request(session, request.filter)?;
        let keeps = self.sessions[session as usize].keeps();
        if keeps.is_some() && self.journal.is_refusing() {
            let text = "the broker cannot store subscriptions now; try again later";
            return Err(refusal(ReasonCode::QuotaExceeded, text));
        }
        match checked {
            // Retained messages are not sent to shared subscriptions (section 4.8.2).
            Request::Shared(name) => {
                let terms = member_terms(&request, identifier);
                self.join_group(session, &name, terms, now);
                if let Some(id) = keeps {
                    let key = Key::Subscription(id, Arc::from(request.filter));
                    self.journal.put(key, Value::Subscription(terms.record()));
                }
            }
            Request::Plain(filter) => {
                let subscription = Subscription::new(request.options, identifier, keeps.is_some());
                let subscriber = Subscriber::Session(session);
                let (id, previous) = self.index.insert(filter, subscriber, subscription);
                if let Some(session_id) = keeps {
                    let key = Key::Subscription(session_id, Arc::from(request.filter));
                    self.journal
                        .put(key, Value::Subscription(subscription.record()));
                }
                if previous.is_none() {
                    let state = &mut self.sessions[session as usize];
                    state.subscriptions.insert(id);
                    state.subscription_bytes += filter.as_str().len() as u64;
                    self.count_subscriber(id, true);
                }
                if wants_retained(request.options.retain_handling, previous.is_some()) {
                    return Ok(Wants::Retained);
                }
            }
        }
        Ok(Wants::Nothing)
    }

    fn check_request<'a>(&self, session: u32, filter: &'a str) -> Result<Request<'a>, Refusal> {
        let (request, bytes, is_new) = match SharedSubscription::parse(filter) {
            None => {
                let filter = self.check_filter(filter)?;
                let subscriber = Subscriber::Session(session);
                let id = self.index.find(filter);
                let existing = id.and_then(|id| self.index.value(id, subscriber));
                let bytes = filter.as_str().len();
                (Request::Plain(filter), bytes, existing.is_none())
            }
            Some(Err(error)) => {
                return Err(refusal(ReasonCode::TopicFilterInvalid, error.to_string()));
            }
            Some(Ok(shared)) => {
                let filter = self.check_filter(shared.filter().as_str())?;
                let name = format!("{}/{}", shared.share_name(), filter.as_str());
                let joined = &self.sessions[session as usize].shared_subscriptions;
                let is_new = self
                    .groups
                    .find(&name)
                    .is_none_or(|group| !joined.contains(&group));
                let bytes = name.len();
                (Request::Shared(Arc::from(name)), bytes, is_new)
            }
        };
        let state = &self.sessions[session as usize];
        let count = state.subscriptions.len() + state.shared_subscriptions.len();
        if is_new && count >= self.limits.maximum_subscriptions_per_session as usize {
            let text = format!("a session has at most {count} subscriptions here");
            return Err(refusal(ReasonCode::QuotaExceeded, text));
        }
        let most = self.limits.maximum_subscription_bytes_per_session;
        if is_new && state.subscription_bytes + bytes as u64 > most {
            let text = format!("the filters of a session have at most {most} bytes here");
            return Err(refusal(ReasonCode::QuotaExceeded, text));
        }
        Ok(request)
    }

    fn check_filter<'a>(&self, filter: &'a str) -> Result<TopicFilter<'a>, Refusal> {
        match Word::of(filter) {
            None | Some(Word::Sys) => {}
            Some(Word::Served(word)) => {
                let text = format!("nothing on this broker serves {word}");
                return Err(refusal(ReasonCode::TopicFilterInvalid, text));
            }
        }
        let filter = TopicFilter::new(filter)
            .map_err(|error| refusal(ReasonCode::TopicFilterInvalid, error.to_string()))?;
        let most = usize::from(self.limits.maximum_topic_levels);
        if filter.as_str().len() >= most && filter.levels().count() > most {
            let text = format!("a topic filter has at most {most} levels here");
            return Err(refusal(ReasonCode::TopicFilterInvalid, text));
        }
        Ok(filter)
    }

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
        let existed = match SharedSubscription::parse(filter) {
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
            None => match TopicFilter::new(filter) {
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
            if let Some(id) = self.sessions[session as usize].id {
                self.journal
                    .delete(Key::Subscription(id, Arc::from(filter)));
            }
            ReasonCode::Success
        } else {
            ReasonCode::NoSubscriptionExisted
        }
    }
}
