//! PUBLISH to a subscriber: whether it may have it, in this form, now, and again.

use nexum_codec::{ForwardedProperties, Publish};
use nexum_core::OverlappingSubscriptions;
use nexum_types::{ProtocolVersion, QoS, Time};

use super::messages::{MessageId, Origin, read_payload};
use super::sessions::{Certainty, Exchange, SessionId};
use super::subscriptions::{ReplayRight, RetainedForm, SubscriptionRecord, Taken};
use super::topics::matches;
use super::{Judge, SLACK};
use crate::link::LinkId;
use crate::rule::Rule;

/// Why a message was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It was published.
    Live,
    /// It was retained when the client subscribed.
    Replay,
    /// One or the other; both would look alike.
    LiveOrReplay,
    /// The client is a member of a shared subscription.
    Shared,
    /// An empty payload, which cannot say which message it is.
    Clearing,
}

/// A PUBLISH on its way to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PutOut {
    pub(crate) message: Option<MessageId>,
    pub(crate) class: Class,
    pub(crate) qos: QoS,
    pub(crate) serial: Option<u64>,
    pub(crate) session: SessionId,
}

/// What a client does with a message it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Its application has it.
    Given,
    /// Its application had it before.
    Known,
    /// The client does not want it and says so.
    Refused,
}

/// A PUBLISH with its topic, and whose it is.
struct Arrival<'a> {
    link: LinkId,
    session: SessionId,
    message: MessageId,
    topic: &'a str,
    publish: &'a Publish<'a>,
}

impl Judge {
    pub(super) fn publish_put_out(&mut self, link: LinkId, publish: &Publish<'_>) {
        let Some(session) = self.link(link).session else {
            return self.breach(
                Rule::Expected,
                format!("{link:?}: PUBLISH without a session"),
            );
        };
        let Some(topic) = self.resolve_alias(link, publish) else {
            return;
        };
        let message = read_payload(publish.payload);
        if message.is_none() && !publish.payload.is_empty() {
            let text = format!("{link:?}: payload of nobody on {topic}");
            return self.breach(Rule::Unaltered, text);
        }
        let qos = publish.delivery.qos();
        if publish.dup && self.was_put_out(link, session, publish) {
            return self.put_out_again(link, session, publish, message);
        }
        let class = match message {
            Some(message) if message.0 as usize >= self.messages.len() => {
                return self.breach(Rule::Unaltered, format!("{link:?}: {message:?}?"));
            }
            Some(message) => {
                self.check_unaltered(link, message, &topic, publish);
                match self.message(message).content.origin {
                    Origin::Will(client) => self.check_will_is_due(message, client),
                    Origin::Client(_) | Origin::Broker => {}
                }
                if self.message(message).publications.is_empty() {
                    let text = format!("{link:?}: {message:?} was not published");
                    return self.breach(Rule::Expected, text);
                }
                self.check_expiry(link, message, publish);
                let arrival = Arrival {
                    link,
                    session,
                    message,
                    topic: &topic,
                    publish,
                };
                self.check_first_time(&arrival)
            }
            None => {
                self.check_clearing(link, session, &topic);
                Class::Clearing
            }
        };
        let serial = self.begin_exchange(link, session, publish, message, class);
        self.tally.delivered += 1;
        let put_out = PutOut {
            message,
            class,
            qos,
            serial,
            session,
        };
        self.link_mut(link).deliveries.push_back(put_out);
    }

    /// [MQTT-3.1.2-26], [MQTT-3.3.2-12].
    fn resolve_alias(&mut self, link: LinkId, publish: &Publish<'_>) -> Option<String> {
        let maximum = self
            .link(link)
            .terms
            .as_ref()
            .map_or(0, |terms| terms.topic_alias_maximum);
        if let Some(alias) = publish.topic_alias {
            if alias.get() > maximum {
                let text = format!("{link:?}: alias {alias} of {maximum}");
                self.breach(Rule::TopicAlias, text);
            }
            if let Some(topic) = publish.topic {
                let topic = topic.as_str().to_owned();
                self.link_mut(link).aliases_out.insert(alias, topic);
            } else {
                self.tally.aliases_used += 1;
            }
        }
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), _) => Some(topic.as_str().to_owned()),
            (None, Some(alias)) => self.link(link).aliases_out.get(&alias).cloned(),
            (None, None) => None,
        };
        if topic.is_none() {
            let text = format!("{link:?}: {:?} stands for nothing", publish.topic_alias);
            self.breach(Rule::TopicAlias, text);
        }
        topic
    }

    fn check_unaltered(
        &mut self,
        link: LinkId,
        message: MessageId,
        topic: &str,
        publish: &Publish<'_>,
    ) {
        let speaks_properties = self.version_of(link) == ProtocolVersion::V5;
        let content = &self.message(message).content;
        let mut properties = Vec::new();
        publish.properties.write_to(&mut properties);
        let expected: &[u8] = if speaks_properties {
            &content.properties
        } else {
            &[]
        };
        if content.topic != topic
            || content.payload_bytes != publish.payload.len()
            || properties != expected
        {
            let text = format!(
                "{link:?}: {message:?} on {topic} with {} bytes and {:?}, published as {content:?}",
                publish.payload.len(),
                ForwardedProperties::from_encoded(&properties)
            );
            self.breach(Rule::Unaltered, text);
        }
    }

    /// [MQTT-3.3.2-5], [MQTT-3.3.2-6].
    fn check_expiry(&mut self, link: LinkId, message: MessageId, publish: &Publish<'_>) {
        let now = self.now;
        let left = publish.message_expiry_interval_seconds;
        let expiry = self.message(message).expiry(now);
        match (expiry, left) {
            // What waits for the store was put together a little earlier.
            (Some((_, latest)), _) if now >= latest + SLACK => {
                let text = format!("{link:?}: {message:?} expired at {latest:?}");
                self.breach(Rule::MessageExpiry, text);
            }
            (Some((earliest, latest)), Some(left)) => {
                let least = earliest.since(now).as_secs();
                let most = (latest + SLACK).since(now).as_secs_f64().ceil() as u64;
                if !(least..=most).contains(&u64::from(left)) {
                    let text = format!("{link:?}: {message:?} has {left} s, not {least} to {most}");
                    self.breach(Rule::MessageExpiry, text);
                }
            }
            (Some(_), None) if self.version_of(link) == ProtocolVersion::V5 => {
                let text = format!("{link:?}: {message:?} lost its expiry interval");
                self.breach(Rule::MessageExpiry, text);
            }
            (None, Some(left)) => {
                let text = format!("{link:?}: {message:?} expires in {left} s");
                self.breach(Rule::MessageExpiry, text);
            }
            (Some(_) | None, None) => {}
        }
    }

    /// The message was not sent in this form before: is there a subscription for it?
    fn check_first_time(&mut self, arrival: &Arrival<'_>) -> Class {
        let now = self.now;
        let Arrival {
            session,
            message,
            topic,
            publish,
            ..
        } = *arrival;
        let from = self.message(message).first_published().unwrap_or(now);
        let record = self.session(session);
        let shared = record
            .subscriptions
            .shared_that_may_match(topic, from, now)
            .cloned();
        let plain: Vec<SubscriptionRecord> = record
            .subscriptions
            .plain_that_may_match(topic, from, now)
            .cloned()
            .collect();
        if let Some(shared) = shared.filter(|_| plain.is_empty()) {
            let qos = publish.delivery.qos();
            self.check_shared(arrival.link, session, message, qos, &shared);
            return Class::Shared;
        }
        let right = self.right_for(arrival);
        let content = &self.message(message).content;
        let copies = match self.limits.overlapping_subscriptions {
            OverlappingSubscriptions::Once => usize::from(!plain.is_empty()),
            OverlappingSubscriptions::Each => plain.len(),
        };
        let times = self
            .session(session)
            .put_out
            .get(&message)
            .copied()
            .unwrap_or(0);
        let may_be_live = times < copies * self.message(message).publications.len();
        let live_keeps_retain =
            content.retain && plain.iter().any(|one| one.options.retain_as_published);
        let could_be_replay = publish.retain && content.retain && right.is_some();
        let could_be_live = may_be_live
            && (!publish.retain || live_keeps_retain)
            && !(could_be_replay && self.breach_of_live_form(arrival, &plain, from).is_some());
        // Once one of its deliveries could be either, so could every other.
        let is_ambiguous = self.session(session).ambiguous.contains(&message);
        let class = match (could_be_live, could_be_replay) {
            (true, true) => Class::LiveOrReplay,
            (true, false) if is_ambiguous && publish.retain => Class::LiveOrReplay,
            (true, false) => Class::Live,
            (false, true) if is_ambiguous => {
                // Which of them was the live one cannot be told; the sum is right.
                self.use_right(arrival, right);
                return Class::LiveOrReplay;
            }
            (false, true) => Class::Replay,
            (false, false) if is_ambiguous => {
                // So may the one that used up what this one needs.
                let right = self
                    .session(session)
                    .subscriptions
                    .rights
                    .iter()
                    .position(|right| {
                        right.granted.is_some()
                            && self.may_be_replayed(right, topic)
                            && matches(&right.filter, topic)
                    });
                if self.use_right(arrival, right).is_none() {
                    self.explain_surplus(arrival, &plain, times);
                }
                return Class::LiveOrReplay;
            }
            (false, false) => {
                self.explain_surplus(arrival, &plain, times);
                return Class::Live;
            }
        };
        if could_be_replay {
            self.session_mut(session)
                .replayed
                .insert(topic.to_owned(), now);
        }
        // One that could be either uses up what it may be as a live one first.
        if class == Class::Replay
            && let Some(right) = self.use_right(arrival, right)
        {
            let qos = publish.delivery.qos();
            self.check_replayed(session, message, topic, qos, &right);
            self.tally.replayed += 1;
        }
        match class {
            Class::Live => {
                if let Some((rule, text)) = self.breach_of_live_form(arrival, &plain, from) {
                    self.breach(rule, text);
                }
            }
            Class::LiveOrReplay | Class::Replay | Class::Shared | Class::Clearing => {}
        }
        if class == Class::LiveOrReplay {
            self.session_mut(session).ambiguous.insert(message);
        }
        if could_be_live {
            let is_retained = self.message(message).content.retain;
            let record = self.session_mut(session);
            *record.put_out.entry(message).or_default() += 1;
            if is_retained && class == Class::Live {
                record
                    .live_retained
                    .entry(topic.to_owned())
                    .or_default()
                    .push((message, publish.delivery.qos()));
            }
        }
        class
    }

    /// Nothing allows this delivery: which promise is broken?
    fn explain_surplus(
        &mut self,
        arrival: &Arrival<'_>,
        plain: &[SubscriptionRecord],
        times: usize,
    ) {
        let Arrival {
            link,
            message,
            topic,
            publish,
            ..
        } = *arrival;
        let content = &self.message(message).content;
        let rule = if publish.retain && !content.retain {
            Rule::RetainFlag
        } else if plain.is_empty() && !publish.retain {
            Rule::Subscribed
        } else if publish.retain && times == 0 {
            Rule::RetainFlag
        } else {
            Rule::NotRepeated
        };
        let text = format!(
            "{link:?}: {message:?} on {topic}, retain {}, sent {times} times before, {} \
             subscriptions match, published {} times",
            publish.retain,
            plain.len(),
            self.message(message).publications.len()
        );
        self.breach(rule, text);
    }

    /// What is wrong with the form of a delivery, if it was made because the message was published.
    fn breach_of_live_form(
        &self,
        arrival: &Arrival<'_>,
        plain: &[SubscriptionRecord],
        from: Time,
    ) -> Option<(Rule, String)> {
        let Arrival {
            link,
            session,
            message,
            publish,
            ..
        } = *arrival;
        let content = &self.message(message).content;
        let record = self.session(session);
        let own = matches!(content.origin, Origin::Client(by) | Origin::Will(by) if by == record.client)
            // Of a will that was replaced since, no more is known.
            && self.publisher(message).is_none_or(|publisher| publisher == record.client_id);
        // [MQTT-3.8.3-3]
        let takers: Vec<&SubscriptionRecord> = plain
            .iter()
            .filter(|one| !(own && one.options.no_local))
            .collect();
        if takers.is_empty() {
            let text = format!("{link:?}: {message:?} is the client's own");
            return Some((Rule::NoLocal, text));
        }
        let certain: Vec<&SubscriptionRecord> = takers
            .iter()
            .copied()
            .filter(|one| one.holds_since(from))
            .collect();
        let qos = publish.delivery.qos();
        let highest = |of: &[&SubscriptionRecord]| {
            of.iter()
                .map(|one| one.options.maximum_qos.min(content.qos))
                .max()
        };
        let once = self.limits.overlapping_subscriptions == OverlappingSubscriptions::Once;
        let qos_fits = if once {
            Some(qos) <= highest(&takers) && Some(qos) >= highest(&certain)
        } else {
            takers
                .iter()
                .any(|one| one.options.maximum_qos.min(content.qos) == qos)
        };
        if !qos_fits {
            let text = format!("{link:?}: {message:?} at {qos:?} for {takers:?}");
            return Some((Rule::EffectiveQoS, text));
        }
        let keeps = |one: &&SubscriptionRecord| one.options.retain_as_published;
        if content.retain
            && !publish.retain
            && (if once {
                certain.iter().any(keeps)
            } else {
                takers.iter().all(keeps)
            })
        {
            let text = format!("{link:?}: {message:?} without RETAIN for {takers:?}");
            return Some((Rule::RetainFlag, text));
        }
        if self.version_of(link) == ProtocolVersion::V5
            && !identifiers_fit(publish, &takers, &certain, once)
        {
            let text = format!("{link:?}: {message:?}: {publish:?} for {takers:?}");
            return Some((Rule::SubscriptionIdentifiers, text));
        }
        None
    }

    /// What was due for that subscription on this topic is sent. One that goes on after a
    /// reconnection is not used up: much waits in the queue then that looks the same.
    fn use_right(&mut self, arrival: &Arrival<'_>, right: Option<usize>) -> Option<ReplayRight> {
        let now = self.now;
        let form = self.retained_form(arrival);
        let session = self.session_mut(arrival.session);
        session.replayed.insert(arrival.topic.to_owned(), now);
        let right = &mut session.subscriptions.rights[right?];
        if !right.is_renewed {
            let taken = Taken { at: now, form };
            right.taken.insert(arrival.topic.to_owned(), taken);
        }
        Some(right.clone())
    }

    /// The oldest subscription that this retained message may be sent for, in this form. If each has
    /// had its message, one of those may have been for another, which two forms alike do not tell:
    /// then that one is put down to it.
    fn right_for(&mut self, arrival: &Arrival<'_>) -> Option<usize> {
        let (session, topic) = (arrival.session, arrival.topic);
        let form = self.retained_form(arrival);
        let rights = &self.session(session).subscriptions.rights;
        let fitting: Vec<usize> = (0..rights.len())
            .filter(|at| rights[*at].is_for(topic, &form))
            .collect();
        let is_free = |at: &usize| self.may_be_replayed(&rights[*at], topic);
        if let Some(free) = fitting.iter().find(|at| is_free(at)) {
            return Some(*free);
        }
        let (from, to) = fitting.iter().find_map(|from| {
            let taken = rights[*from].taken.get(topic)?;
            (0..rights.len())
                .find(|to| rights[*to].is_for(topic, &taken.form) && is_free(to))
                .map(|to| (*from, to))
        })?;
        let rights = &mut self.session_mut(session).subscriptions.rights;
        let taken = rights[from].taken.remove(topic)?;
        rights[to].taken.insert(topic.to_owned(), taken);
        Some(from)
    }

    fn retained_form(&self, arrival: &Arrival<'_>) -> RetainedForm {
        let publish = arrival.publish;
        let shows_identifiers = self.version_of(arrival.link) == ProtocolVersion::V5;
        RetainedForm {
            published: self.message(arrival.message).content.qos,
            qos: publish.delivery.qos(),
            identifiers: shows_identifiers
                .then(|| publish.subscription_identifiers.iter().collect()),
        }
    }

    fn check_clearing(&mut self, link: LinkId, session: SessionId, topic: &str) {
        let subscriptions = &self.session(session).subscriptions;
        let wanted = subscriptions
            .plain_that_may_match(topic, Time::ZERO, self.now)
            .next()
            .is_some()
            || subscriptions
                .shared_that_may_match(topic, Time::ZERO, self.now)
                .is_some();
        if !wanted {
            self.breach(
                Rule::Subscribed,
                format!("{link:?}: an empty payload on {topic}"),
            );
        }
    }

    fn begin_exchange(
        &mut self,
        link: LinkId,
        session: SessionId,
        publish: &Publish<'_>,
        message: Option<MessageId>,
        class: Class,
    ) -> Option<u64> {
        let id = publish.delivery.packet_identifier()?.value();
        let qos = publish.delivery.qos();
        let taken = self.session(session).exchanges.get(&id).copied();
        if let Some(taken) = taken.filter(|taken| !taken.answered) {
            let text = format!("{link:?}: {id} for {message:?}, still taken by {taken:?}");
            self.breach(Rule::PacketIdentifierFree, text);
        }
        let record = self.session_mut(session);
        record.exchanges_begun += 1;
        let serial = record.exchanges_begun;
        let exchange = Exchange {
            serial,
            message,
            qos,
            link,
            answered: false,
            received: false,
            class,
        };
        record.exchanges.insert(id, exchange);
        self.use_quota(link, id);
        Some(serial)
    }

    /// [MQTT-3.3.4-7], [MQTT-4.9.0-1] and -2.
    fn use_quota(&mut self, link: LinkId, id: u16) {
        let most = self.limits.maximum_inflight.get();
        let record = self.link_mut(link);
        record.quota_used.insert(id);
        let used = record.quota_used.len();
        let quota = record
            .terms
            .as_ref()
            .map_or(0, |terms| terms.receive_maximum);
        if used > quota.min(usize::from(most)) {
            let text = format!("{link:?}: {used} unacknowledged, {quota} and {most} allowed");
            self.breach(Rule::SendQuota, text);
        }
    }

    /// Whether something with this identifier is in flight. What the core put out for a connection
    /// that waited for the store, and that was lost then, nobody has seen: it comes with DUP all the
    /// same, to the next connection.
    fn was_put_out(&self, link: LinkId, session: SessionId, publish: &Publish<'_>) -> bool {
        let is_resumed = self.link(link).session_present == Some(true);
        let id = publish.delivery.packet_identifier();
        let exchange = id.and_then(|id| self.session(session).exchanges.get(&id.value()));
        !is_resumed || exchange.is_some_and(|exchange| exchange.link != link)
    }

    /// With DUP: only what was in flight when the last connection was lost ([MQTT-4.4.0-1]).
    fn put_out_again(
        &mut self,
        link: LinkId,
        session: SessionId,
        publish: &Publish<'_>,
        message: Option<MessageId>,
    ) {
        let Some(id) = publish.delivery.packet_identifier() else {
            return;
        };
        let qos = publish.delivery.qos();
        let id = id.value();
        let exchange = self.session(session).exchanges.get(&id).copied();
        let Some(exchange) = exchange.filter(|exchange| {
            exchange.message == message && exchange.qos == qos && exchange.link != link
        }) else {
            let text = format!("{link:?}: {message:?} again under {id}, there is {exchange:?}");
            return self.breach(Rule::Resend, text);
        };
        self.note_resent(link, exchange.serial);
        self.session_mut(session)
            .exchanges
            .entry(id)
            .and_modify(|exchange| {
                exchange.link = link;
                exchange.answered = false;
            });
        self.use_quota(link, id);
        let serial = Some(exchange.serial);
        let put_out = PutOut {
            message,
            class: exchange.class,
            qos,
            serial,
            session,
        };
        self.link_mut(link).deliveries.push_back(put_out);
    }

    /// The client has read a PUBLISH.
    pub(crate) fn received(&mut self, link: LinkId, message: Option<MessageId>, use_of_it: Use) {
        let Some(put_out) = self.link_mut(link).deliveries.pop_front() else {
            return self.breach(
                Rule::Expected,
                format!("{link:?}: {message:?} out of nothing"),
            );
        };
        if put_out.message != message {
            let text = format!("{link:?}: {message:?} in place of {put_out:?}");
            return self.breach(Rule::Unaltered, text);
        }
        let Some(message) = message else { return };
        let session = put_out.session;
        match use_of_it {
            Use::Given => {}
            Use::Known => return,
            Use::Refused => {
                self.session_mut(session).received.insert(message);
                return;
            }
        }
        if put_out.qos == QoS::ExactlyOnce
            && let Some(serial) = put_out.serial
            && !self.session_mut(session).received_once.insert(serial)
        {
            let client = self.session(session).client_id.clone();
            let text = format!("{client}'s application got {message:?} twice by QoS 2");
            self.breach(Rule::NotRepeated, text);
        }
        let is_first = self.session_mut(session).received.insert(message);
        if is_first && put_out.class == Class::Live {
            self.check_order(session, message, put_out.qos);
        }
    }

    /// The Client Identifier under which a message was published. It is more than the client: one that
    /// leaves its identifier to the broker gets another with each connection, and what it sent on the
    /// last may still be on its way.
    fn publisher(&self, message: MessageId) -> Option<&str> {
        let record = self.message(message);
        let session = match record.content.origin {
            Origin::Client(_) => {
                let link = record.publications.first()?.link?;
                self.session(self.link(link).session?)
            }
            Origin::Will(_) => self.sessions.iter().find(|session| {
                let will = session.will.as_ref();
                will.is_some_and(|will| will.message == message)
            })?,
            Origin::Broker => return None,
        };
        Some(&session.client_id)
    }

    /// [MQTT-4.6.0-6]
    fn check_order(&mut self, session: SessionId, message: MessageId, qos: QoS) {
        let record = self.message(message);
        let content = &record.content;
        // Sent again by its publisher, it may come after what followed it the first time.
        let was_repeated = record.publications.len() > 1;
        match content.origin {
            Origin::Client(_) => {}
            Origin::Will(_) | Origin::Broker => return,
        }
        let Some(publisher) = self.publisher(message).map(str::to_owned) else {
            return;
        };
        let key = (publisher, content.topic.clone(), content.qos, qos);
        let newest = self.session(session).newest.get(&key).copied();
        match newest {
            Some(newest) if newest > message => {
                if !was_repeated {
                    let client = self.session(session).client_id.clone();
                    let text = format!("{client} got {message:?} after {newest:?}: {key:?}");
                    self.breach(Rule::Order, text);
                }
            }
            Some(_) | None => {
                self.session_mut(session).newest.insert(key, message);
            }
        }
    }

    /// At rest: has everyone got what they are due?
    pub(crate) fn check_nothing_is_lost(&mut self) -> usize {
        let now = self.now;
        let mut missing = Vec::new();
        for session in (0..self.sessions.len()).map(SessionId) {
            let record = self.session(session);
            if record.link.is_none() || record.is_alive(now) != Certainty::Yes {
                continue;
            }
            for message in (0..self.messages.len() as u32).map(MessageId) {
                if !record.received.contains(&message) && self.is_due(session, message) {
                    missing.push((record.client_id.clone(), message));
                }
            }
        }
        if self.loses_nothing
            && let Some((client, message)) = missing.first()
        {
            let text = format!(
                "{client} never got {message:?}, {:?} of {:?}; {} are missing",
                self.message(*message).content,
                self.message(*message).publications,
                missing.len()
            );
            self.breach(Rule::NotLost, text);
        }
        missing.len()
    }

    /// Whether a session that is connected and at rest must have got this message.
    fn is_due(&self, session: SessionId, message: MessageId) -> bool {
        let record = self.session(session);
        let published = self.message(message);
        let content = &published.content;
        let Some(from) = published.first_published() else {
            return false;
        };
        let own =
            matches!(content.origin, Origin::Client(by) | Origin::Will(by) if by == record.client);
        let granted = record
            .subscriptions
            .records
            .iter()
            .filter(|one| !one.is_shared() && one.holds_since(from) && one.matches(&content.topic))
            .filter(|one| !(own && one.options.no_local))
            .map(|one| one.options.maximum_qos.min(content.qos))
            .max();
        let fits = published.packet_bytes() <= record.smallest_maximum;
        let expired = published
            .expiry(self.now)
            .is_some_and(|(earliest, _)| earliest <= self.now);
        if !fits || expired {
            return false;
        }
        match granted {
            None => false,
            // QoS 0 only reaches who is connected, and only while there is room.
            Some(QoS::AtMostOnce) => false,
            Some(QoS::AtLeastOnce | QoS::ExactlyOnce) => published.acknowledged_at.is_some(),
        }
    }
}

/// [MQTT-3.3.4-3], [MQTT-3.3.4-4].
fn identifiers_fit(
    publish: &Publish<'_>,
    takers: &[&SubscriptionRecord],
    certain: &[&SubscriptionRecord],
    once: bool,
) -> bool {
    let identifiers: Vec<u32> = publish.subscription_identifiers.iter().collect();
    let possible = |identifier: &u32| {
        takers
            .iter()
            .any(|one| one.identifier.as_ref() == Some(identifier))
    };
    if once {
        identifiers.iter().all(possible)
            && identifiers.len() <= takers.len()
            && certain
                .iter()
                .filter_map(|one| one.identifier)
                .all(|identifier| identifiers.contains(&identifier))
    } else {
        match identifiers.as_slice() {
            [] => takers.iter().any(|one| one.identifier.is_none()),
            [one] => possible(one),
            [_, ..] => false,
        }
    }
}
