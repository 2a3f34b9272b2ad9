//! SUBSCRIBE (sections 3.8 and 3.9).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_codec::{
    Packet, ReasonCodes, Split, SubAck, Subscribe, SubscriptionRequest, UserProperties, decode,
    split_frame,
};
use nexum_extension_api::Refusal as ExtensionRefusal;
use nexum_types::{QoS, ReasonCode, SharedSubscription, Time};

use super::Shard;
use super::exclusive::{Reservation, exclusive};
use super::feeds::{Asked, FeedRequest};
use super::peers::{Answers, Awaited, PendingSubscribe};
use super::requests::{Refusal, Request, options_of, refusal};
use crate::connection::{Connection, Holds};
use crate::key::ConnectionKey;
use crate::output::ProtocolError;
use crate::peer::{MemberTerms, PeerMessage};
use crate::record::{Key, Value};
use crate::replay::ReplayRequest;
use crate::subscription::{Subscriber, Subscription, wants_retained};

fn member_terms(request: &SubscriptionRequest<'_>, identifier: Option<u32>) -> MemberTerms {
    MemberTerms {
        maximum_qos: request.options.maximum_qos,
        retain_as_published: request.options.retain_as_published,
        subscription_identifier: identifier,
    }
}

/// One filter of a SUBSCRIBE that is being answered.
struct Wish<'a> {
    request: SubscriptionRequest<'a>,
    identifier: Option<u32>,
    has_options: bool,
    /// Of the extension that serves it.
    answer: Option<&'a Result<QoS, ExtensionRefusal>>,
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
        if let Some(answers) = self.announce_subscribe(key, session, subscribe, packet, now) {
            self.complete_subscribe(key, subscribe, &answers, self.overtaken.now(), now);
        }
    }

    /// Whether the client takes a SUBACK or UNSUBACK of so many Reason Codes. Asked before anything
    /// is done, since a client that gets no answer would wait for one.
    pub(super) fn answer_fits(&self, key: ConnectionKey, reason_codes: usize) -> bool {
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

    /// Tells the other shards and extensions; returns what is known of the filters if no answers
    /// are awaited.
    fn announce_subscribe(
        &mut self,
        key: ConnectionKey,
        session: u32,
        subscribe: &Subscribe<'_>,
        packet: &[u8],
        now: Time,
    ) -> Option<Answers> {
        let token = self.pending_subscribes.vacant_key() as u32;
        let mut remaining = 0;
        let mut placeholders = Vec::new();
        let mut postponed: BTreeMap<Box<str>, VecDeque<FeedRequest>> = BTreeMap::new();
        let mut answers = Answers::default();
        // A packet may name a filter twice.
        let mut named = BTreeSet::new();
        for (number, request) in subscribe.requests.iter().enumerate() {
            let filter = request.filter;
            let (Ok(checked), Ok(options)) = (
                self.check_request(session, filter),
                options_of(subscribe.user_properties, number),
            ) else {
                continue;
            };
            let is_named_first = !filter.starts_with('$') || named.insert(filter);
            let mut reservation = Reservation::Granted;
            if exclusive(filter).is_some() && is_named_first {
                reservation = self.ask_to_reserve(session, filter, token);
            }
            match reservation {
                Reservation::Granted => {}
                Reservation::Awaited => remaining += 1,
                Reservation::Refused => {
                    answers.refused.insert(Box::from(filter));
                    continue;
                }
            }
            match checked {
                Request::Plain(_) | Request::Shared(_) if self.shards == 1 => {}
                Request::Replies => {}
                Request::Feed(mut wish) => {
                    let feeds = &self.sessions[session as usize].feeds;
                    let existed = feeds.get(filter).is_some_and(|it| it.confirmed);
                    wish.wants_present = wants_retained(request.options.retain_handling, existed);
                    let wish = FeedRequest {
                        wish,
                        maximum_qos: request.options.maximum_qos,
                        options,
                        asked: Some(Asked { token, number }),
                    };
                    // What a session does not have is not delivered to it, and each answer is that
                    // to one request.
                    if reservation == Reservation::Awaited || !is_named_first {
                        let same = postponed.entry(Box::from(filter)).or_default();
                        same.push_back(wish);
                    } else {
                        self.open_feed(session, filter, wish);
                        remaining += 1;
                    }
                }
                Request::Plain(filter) => {
                    let pending = Subscriber::Pending(token);
                    let (id, previous) =
                        self.index.insert(filter, pending, Subscription::default());
                    if previous.is_none() {
                        self.count_subscriber(id, true);
                        placeholders.push(id);
                    }
                    let durable = self.sessions[session as usize].keeps().is_some();
                    remaining += self.announce(filter.as_str(), token, durable);
                }
                Request::Shared(name) => {
                    let terms = member_terms(&request, subscribe.subscription_identifier);
                    remaining += self.announce_member(session, &name, terms, token, now);
                }
            }
        }
        if remaining == 0 {
            return Some(answers);
        }
        self.connections[key.index as usize]
            .holds
            .add(Holds::SUBSCRIBE);
        let what = Awaited::Subscribe {
            connection: key,
            session,
            packet: Box::from(packet),
            placeholders,
            postponed,
            since: self.overtaken.now(),
        };
        let mut pending = PendingSubscribe::new(remaining, what);
        pending.answers = answers;
        self.pending_subscribes.insert(pending);
        None
    }

    /// An extension is asked for the next of the filters of a SUBSCRIBE that are this one and were
    /// postponed.
    pub(super) fn open_postponed(&mut self, token: u32, filter: &str) {
        let Some(PendingSubscribe {
            remaining,
            what:
                Awaited::Subscribe {
                    connection,
                    session,
                    postponed,
                    ..
                },
            ..
        }) = self.pending_subscribes.get_mut(token as usize)
        else {
            return;
        };
        let (key, session) = (*connection, *session);
        let Some(wish) = postponed.get_mut(filter).and_then(VecDeque::pop_front) else {
            return;
        };
        let connection = self.connections.get(key.index as usize);
        let connection = connection.filter(|connection| connection.generation == key.generation);
        if connection.and_then(Connection::session) != Some(session) {
            return;
        }
        *remaining += 1;
        self.open_feed(session, filter, wish);
    }

    /// A SUBSCRIBE that waited, if its connection is still there.
    fn subscribe_of<'a>(
        &self,
        key: ConnectionKey,
        session: u32,
        packet: &'a [u8],
    ) -> Option<Subscribe<'a>> {
        let connection = self.connection(key)?;
        if connection.session() != Some(session) {
            return None;
        }
        let Ok(Split::Frame(frame)) = split_frame(packet, u32::MAX) else {
            return None;
        };
        match decode(frame, connection.version) {
            Ok(Packet::Subscribe(subscribe)) => Some(subscribe),
            _ => None,
        }
    }

    /// An extension has answered to one of the filters.
    pub(super) fn on_feed_answered(
        &mut self,
        asked: Asked,
        filter: &str,
        answer: Result<QoS, ExtensionRefusal>,
        now: Time,
    ) {
        let Asked { token, number } = asked;
        if let Some(pending) = self.pending_subscribes.get_mut(token as usize) {
            pending.answers.feeds.insert(number, answer);
        }
        self.open_postponed(token, filter);
        self.on_interest_noted(token, now);
    }

    /// Every shard has noted the interest that `token` stands for.
    pub(super) fn on_subscribe_noted(
        &mut self,
        token: u32,
        awaited: Awaited,
        answers: &Answers,
        now: Time,
    ) {
        let (key, session, packet, placeholders, since) = match awaited {
            Awaited::Subscribe {
                connection,
                session,
                packet,
                placeholders,
                since,
                ..
            } => (connection, session, packet, placeholders, since),
            Awaited::Member { shard, token } => {
                return self.tell(shard, PeerMessage::InterestNoted { token });
            }
        };
        if let Some(subscribe) = self.subscribe_of(key, session, &packet) {
            self.complete_subscribe(key, &subscribe, answers, since, now);
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
        answers: &Answers,
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
        let mut lets_go = false;
        // [MQTT-3.8.4-5] [MQTT3-3.8.4-4]: as if each filter had come in a packet of its own.
        for (number, request) in subscribe.requests.iter().enumerate() {
            let options = options_of(subscribe.user_properties, number);
            let granted = options.map_err(Refusal::from).and_then(|options| {
                if exclusive(request.filter).is_some() {
                    self.check_request(session, request.filter)?;
                    self.check_reserved(session, request.filter, answers)?;
                }
                let wish = Wish {
                    request,
                    identifier,
                    has_options: options.is_some(),
                    answer: answers.feeds.get(&number),
                };
                self.subscribe_one(session, wish, now)
            });
            let has_failed = granted.is_err() && exclusive(request.filter).is_some();
            lets_go |= has_failed;
            match granted {
                // [MQTT-3.8.4-8]
                Ok((granted, wants)) => {
                    reason_codes.push(match granted {
                        QoS::AtMostOnce => ReasonCode::Success,
                        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
                        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
                    });
                    if wants == Wants::Retained {
                        let filter = exclusive(request.filter).unwrap_or(request.filter);
                        retained.push(ReplayRequest {
                            filter: Arc::from(filter),
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
        if lets_go {
            self.unreserve_unanswered(session);
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
    pub(super) fn cork_if_changed(&mut self, key: ConnectionKey, changes: u64) {
        if self.journal.changes() > changes && !self.journal.is_refusing() {
            self.cork(key);
        }
    }

    /// Adds or replaces one subscription ([MQTT-3.8.4-3], [MQTT3-3.8.4-3]).
    fn subscribe_one(
        &mut self,
        session: u32,
        wish: Wish<'_>,
        now: Time,
    ) -> Result<(QoS, Wants), Refusal> {
        let Wish {
            request,
            identifier,
            has_options,
            answer,
        } = wish;
        let checked = self.check_request(session, request.filter)?;
        let most = request.options.maximum_qos;
        if has_options && !matches!(checked, Request::Feed(_)) {
            let text = "options mean nothing to a plain topic filter";
            return Err(refusal(ReasonCode::TopicFilterInvalid, text));
        }
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
                if previous.is_some() {
                    self.rename_subscription(session, request.filter);
                } else {
                    let state = &mut self.sessions[session as usize];
                    state.subscriptions.insert(id);
                    state.subscription_bytes += filter.as_str().len() as u64;
                    self.count_subscriber(id, true);
                }
                if wants_retained(request.options.retain_handling, previous.is_some()) {
                    return Ok((most, Wants::Retained));
                }
            }
            Request::Replies => {
                let subscription = Subscription::new(request.options, identifier, keeps.is_some());
                if self.hear_replies(session, request.filter, subscription)
                    && let Some(id) = keeps
                {
                    let key = Key::Subscription(id, Arc::from(request.filter));
                    self.journal
                        .put(key, Value::Subscription(subscription.record()));
                }
            }
            Request::Feed(_) => {
                let record = Subscription::new(request.options, identifier, false).record();
                let granted = self.confirm_feed(session, request.filter, record, answer)?;
                return Ok((granted, Wants::Nothing));
            }
        }
        Ok((most, Wants::Nothing))
    }

    /// Replies to the session are sent to it. Returns whether anything has changed.
    pub(super) fn hear_replies(
        &mut self,
        session: u32,
        filter: &str,
        subscription: Subscription,
    ) -> bool {
        let state = &mut self.sessions[session as usize];
        match state
            .replies
            .iter_mut()
            .find(|(known, _)| **known == *filter)
        {
            Some((_, known)) => std::mem::replace(known, subscription) != subscription,
            None => {
                state.subscription_bytes += filter.len() as u64;
                state.replies.push((Box::from(filter), subscription));
                true
            }
        }
    }
}
