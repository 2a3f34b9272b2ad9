//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use std::sync::Arc;

use nexum_codec::{
    Packet, ReasonCodes, Split, SubAck, Subscribe, SubscriptionRequest, UnsubAck, Unsubscribe,
    UserProperties, decode, split_frame,
};
use nexum_extension_api::{Address, ErrorCode, Options, Refusal as ExtensionRefusal};
use nexum_types::{ProtocolVersion, QoS, ReasonCode, SharedSubscription, Time, TopicFilter};

use super::Shard;
use super::exclusive::exclusive;
use super::feeds::FeedWish;
use super::peers::{Awaited, PendingSubscribe};
use crate::address::{Root, SubscribeAddress, canonical, of_option};
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
    /// Replies to this session.
    Replies,
    /// What an extension serves.
    Feed(FeedWish),
}

impl From<ExtensionRefusal> for Refusal {
    fn from(refused: ExtensionRefusal) -> Refusal {
        refusal(refused.code.of_subscribe(), refused.reason)
    }
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
        if self.announce_subscribe(key, session, subscribe, packet, now) {
            return;
        }
        self.complete_subscribe(key, subscribe, &[], self.overtaken.now(), now);
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
        for (number, request) in subscribe.requests.iter().enumerate() {
            let checked = self.check_request(session, request.filter);
            let options = options_of(subscribe.user_properties, number);
            if checked.is_ok() && options.is_ok() {
                remaining += self.ask_to_reserve(session, request.filter, token);
            }
            match checked {
                Ok(Request::Plain(_) | Request::Shared(_)) if self.shards == 1 => {}
                Ok(Request::Replies) | Err(_) => {}
                Ok(Request::Feed(wish)) => {
                    let Ok(options) = options else {
                        continue;
                    };
                    let most = request.options.maximum_qos;
                    let is_asked =
                        self.open_feed(session, request.filter, wish, most, options, Some(token));
                    remaining += u32::from(is_asked);
                }
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
            .insert(PendingSubscribe::new(remaining, what));
        true
    }

    /// Every shard has noted the interest that `token` stands for.
    pub(super) fn on_subscribe_noted(
        &mut self,
        token: u32,
        awaited: Awaited,
        refused: &[Box<str>],
        now: Time,
    ) {
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
            self.complete_subscribe(key, &subscribe, refused, since, now);
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
        refused: &[Box<str>],
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
        for (number, request) in subscribe.requests.iter().enumerate() {
            let options = options_of(subscribe.user_properties, number);
            let granted = options.map_err(Refusal::from).and_then(|options| {
                if exclusive(request.filter).is_some() {
                    self.check_request(session, request.filter)?;
                    self.reserve(session, request.filter, refused)?;
                }
                let has_options = options.is_some();
                let granted = self.subscribe_one(session, request, identifier, has_options, now);
                if granted.is_err() {
                    self.unreserve(session, request.filter);
                }
                granted
            });
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
        has_options: bool,
        now: Time,
    ) -> Result<(QoS, Wants), Refusal> {
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
                if previous.is_none() {
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
                let granted = self.confirm_feed(session, request.filter, record)?;
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

    fn check_request<'a>(&self, session: u32, filter: &'a str) -> Result<Request<'a>, Refusal> {
        let state = &self.sessions[session as usize];
        let (request, bytes, is_new) = if let Some(wish) = self.feed_wish(filter)? {
            let is_new = !state.feeds.contains_key(filter);
            (Request::Feed(wish), filter.len(), is_new)
        } else if self.words.root(filter) == Root::Reply {
            self.check_filter(filter)?;
            let is_new = !state.replies.iter().any(|(known, _)| **known == *filter);
            (Request::Replies, filter.len(), is_new)
        } else {
            let filter = exclusive(filter).unwrap_or(filter);
            self.check_plain_request(session, filter)?
        };
        let count = state.subscriptions.len()
            + state.shared_subscriptions.len()
            + state.replies.len()
            + state.feeds.len();
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

    /// With its bytes, and whether the session has not subscribed to it yet.
    fn check_plain_request<'a>(
        &self,
        session: u32,
        filter: &'a str,
    ) -> Result<(Request<'a>, usize, bool), Refusal> {
        match SharedSubscription::parse(filter) {
            None => {
                let filter = self.check_filter(filter)?;
                let subscriber = Subscriber::Session(session);
                let id = self.index.find(filter);
                let existing = id.and_then(|id| self.index.value(id, subscriber));
                let bytes = filter.as_str().len();
                Ok((Request::Plain(filter), bytes, existing.is_none()))
            }
            Some(Err(error)) => Err(refusal(ReasonCode::TopicFilterInvalid, error.to_string())),
            Some(Ok(shared)) => {
                let filter = self.check_filter(shared.filter().as_str())?;
                let name = format!("{}/{}", shared.share_name(), filter.as_str());
                let joined = &self.sessions[session as usize].shared_subscriptions;
                let is_new = self
                    .groups
                    .find(&name)
                    .is_none_or(|group| !joined.contains(&group));
                let bytes = name.len();
                Ok((Request::Shared(Arc::from(name)), bytes, is_new))
            }
        }
    }

    /// What a filter asks of an extension, if it does.
    pub(super) fn feed_wish(&self, filter: &str) -> Result<Option<FeedWish>, ExtensionRefusal> {
        if !filter.starts_with('$') {
            return Ok(None);
        }
        let is_shared = SharedSubscription::parse(filter).is_some();
        let address = match SubscribeAddress::parse(filter) {
            Ok(address) => address,
            // What is wrong with a shared subscription is said by who knows it better.
            Err(_) if is_shared => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let Root::Served { served, spelling } = self.words.root(address.target) else {
            return Ok(None);
        };
        if let Some(Err(error)) = SharedSubscription::parse(filter) {
            return Err(ExtensionRefusal::new(
                ErrorCode::BadAddress,
                error.to_string(),
            ));
        }
        if address.filter.is_some() {
            return Err(super::command::nobody_serves("$filter"));
        }
        let target = canonical(address.target, spelling, served.claim.word);
        TopicFilter::new(&target)
            .map_err(|error| ExtensionRefusal::new(ErrorCode::BadAddress, error.to_string()))?;
        let parsed = Address::parse(&target).map_err(|error| super::command::of_address(&error))?;
        Ok(Some(FeedWish {
            served,
            spelling,
            address: parsed,
            share_name: address.share_name.map(Box::from),
        }))
    }

    fn check_filter<'a>(&self, filter: &'a str) -> Result<TopicFilter<'a>, Refusal> {
        match self.words.root(filter) {
            Root::Plain | Root::Sys | Root::Reply => {}
            Root::Served { .. } => {
                let text = format!("{filter} is served as a whole, not as a topic");
                return Err(refusal(ReasonCode::TopicFilterInvalid, text));
            }
            Root::Reserved(word) => {
                return Err(super::command::nobody_serves(word).into());
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
        self.unreserve(session, filter);
        if self.close_feed(session, filter) || self.ignore_replies(session, filter) {
            return self.forget_subscription(session, filter);
        }
        let target = exclusive(filter).unwrap_or(filter);
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

    fn forget_subscription(&mut self, session: u32, filter: &str) -> ReasonCode {
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

/// The options for one of the filters: User Properties are of the whole packet, and apply to all of
/// its filters, or with a number behind the key to that one.
fn options_of(
    properties: UserProperties<'_>,
    number: usize,
) -> Result<Option<Box<Options>>, ExtensionRefusal> {
    let mut options = Options::default();
    for (name, value) in properties.iter() {
        let key = match name.rsplit_once('.') {
            Some((key, of)) if of.parse() == Ok(number) => key,
            Some(_) => continue,
            None => name,
        };
        if matches!(key, "from" | "filter") {
            options.set(key, value).map_err(|error| of_option(&error))?;
        }
    }
    Ok((options != Options::default()).then(|| Box::new(options)))
}
