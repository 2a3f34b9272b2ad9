//! How connections and sessions end, and what becomes of their wills.

use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{Disconnect, Packet, UserProperties};
use nexum_types::{MessageParts, ProtocolVersion, ReasonCode, Time, TopicName};

use super::Shard;
use super::command::Answer;
use super::promise::Then;
use super::timers::{FARTHEST_TIMER, Timer};
use crate::connection::{ConnectionState, CorkedConnAck, Holds};
use crate::counters::DropReason;
use crate::key::{ConnectionKey, SessionKey};
use crate::output::{DisconnectCause, Event, Output, ProtocolError};
use crate::peer::NotKept;
use crate::record::{Key, SessionId, Will};
use crate::session::Received;
use crate::subscription::Subscriber;
use crate::unhandled::Unhandled;

impl Shard {
    /// DISCONNECT from the client (section 3.14).
    pub(super) fn on_disconnect(
        &mut self,
        key: ConnectionKey,
        session: u32,
        disconnect: &Disconnect<'_>,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        if let Some(interval) = disconnect.session_expiry_interval_seconds {
            // [MQTT-3.14.2-2]
            if state.expiry_interval_seconds == 0 && interval != 0 {
                let error = ProtocolError::SessionExpiryRaisedFromZero;
                return self.on_protocol_error(key, error, now);
            }
            state.expiry_interval_seconds =
                interval.min(self.limits.maximum_session_expiry_seconds);
        }
        // [MQTT-3.14.4-3] [MQTT3-3.14.4-3]: 0x00 discards the will, any other reason does not.
        if disconnect.reason_code == ReasonCode::Success
            && state.will.take().is_some()
            && let Some(id) = state.id
        {
            self.journal.delete(Key::Will(id));
        }
        self.end_connection(key, DisconnectCause::ByClient(disconnect.reason_code), now);
    }

    /// Ends a connection for any cause: tells an MQTT 5 client, parts it from its session, and has
    /// the shell close it, unless the shell has lost it already.
    pub(super) fn end_connection(&mut self, key: ConnectionKey, cause: DisconnectCause, now: Time) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        if connection.is_closing() {
            if cause == DisconnectCause::Unstored {
                self.drop_corked(key);
            }
            return;
        }
        let was_lost = matches!(cause, DisconnectCause::Lost(_));
        let session = connection.session();
        // [MQTT-3.14.0-1]: the server sends DISCONNECT only after CONNACK with a reason code below
        // 0x80; 3.1.1 knows none from a server.
        if !was_lost
            && session.is_some()
            && connection.version == ProtocolVersion::V5
            && let Some(reason_code) = cause.reason_code()
        {
            self.send_disconnect(key, reason_code, &cause);
        }
        let connection = &mut self.connections[key.index as usize];
        connection.state = ConnectionState::Closing;
        connection.holds = Holds::default();
        connection.unhandled = Unhandled::default();
        connection.owed.clear();
        connection.owed_pubacks = 0;
        let address = connection.origin.address;
        let is_begun = connection.connack == CorkedConnAck::Begun;
        let is_unstored = cause == DisconnectCause::Unstored;
        if is_unstored {
            self.drop_corked(key);
        } else if !was_lost && connection.corks == 0 {
            self.outputs.push_back(Output::Close { connection: key });
        }
        match session {
            Some(session) => {
                let client_id = self.sessions[session as usize].client_id.shared();
                self.event(Event::Disconnected { client_id, cause });
                let generation = self.sessions[session as usize].generation;
                self.on_session_offline(session, now);
                let lives = self
                    .sessions
                    .get(session as usize)
                    .is_some_and(|state| state.generation == generation);
                if is_unstored && is_begun && lives {
                    // It was never promised, so nobody is to find it.
                    self.end_session(session, now);
                }
            }
            None => self.event(Event::ConnectionEnded { address, cause }),
        }
    }

    /// What it was to be told when it is stored it is not told.
    fn drop_corked(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key.index as usize];
        if std::mem::take(&mut connection.corks) > 0 {
            connection.outbound.clear(&mut self.pool);
        }
        if std::mem::replace(&mut connection.connack, CorkedConnAck::None) != CorkedConnAck::None {
            self.send_connack_error(key, ReasonCode::QuotaExceeded, None);
        }
        self.outputs.push_back(Output::Close { connection: key });
    }

    fn send_disconnect(&mut self, key: ConnectionKey, reason: ReasonCode, cause: &DisconnectCause) {
        let text = match cause {
            DisconnectCause::Malformed(error) => error.to_string(),
            DisconnectCause::Protocol(error) => error.to_string(),
            DisconnectCause::ByClient(_)
            | DisconnectCause::Lost(_)
            | DisconnectCause::KeepAliveTimeout
            | DisconnectCause::AuthenticationTimeout
            | DisconnectCause::Refused(_)
            | DisconnectCause::TakenOver
            | DisconnectCause::Unstored
            | DisconnectCause::PublishRefused(_)
            | DisconnectCause::Administrative(_)
            | DisconnectCause::ShuttingDown => String::new(),
        };
        // [MQTT-3.1.2-29] allows a Reason String in DISCONNECT whatever was requested;
        // [MQTT-3.14.2-3]: not if it makes the packet too large, hence the second try.
        for reason_string in [Some(text.as_str()).filter(|text| !text.is_empty()), None] {
            let packet = Packet::Disconnect(Disconnect {
                reason_code: reason,
                session_expiry_interval_seconds: None,
                reason_string,
                server_reference: None,
                user_properties: UserProperties::default(),
            });
            let before = self.connections[key.index as usize].outbound.pending();
            self.send_packet(key.index, &packet);
            if self.connections[key.index as usize].outbound.pending() > before {
                return;
            }
        }
    }

    /// The connection of a session is gone.
    fn on_session_offline(&mut self, session: u32, now: Time) {
        let state = &mut self.sessions[session as usize];
        state.connection = None;
        state.disconnected_at = now;
        state.resend_from = None;
        state.load = None;
        for delivery in &mut state.queue {
            delivery.unload();
        }
        for delivery in state.inflight.deliveries_mut() {
            delivery.unload();
        }
        let key = SessionKey {
            index: session,
            generation: state.generation,
        };
        let held = std::mem::take(&mut state.held_publishers);
        let expiry = state.expiry_interval_seconds;
        for publisher in held {
            self.release(publisher);
        }
        self.on_members_offline(session, now);
        self.detach(session, expiry == 0, now);
        self.suspend_replays(session);
        if expiry == 0 {
            return self.end_session(session, now);
        }
        self.record_session(session);
        // [MQTT-3.1.3-9]: after the delay or at the end of the session, whichever is first.
        let will = self.sessions[session as usize].will.as_ref();
        if will.is_some_and(|will| will.delay_interval_seconds == 0) {
            self.publish_will(session, now);
        }
        self.watch_absence(key, now);
    }

    /// Has an absent session looked at when its will or its end is due. A session has one timer that
    /// counts, however often its client comes and goes, and none that reaches further than a minute.
    pub(super) fn watch_absence(&mut self, key: SessionKey, now: Time) {
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        let Some(due) = session.absence_due() else {
            return;
        };
        let at = due.min(now + FARTHEST_TIMER);
        if session.watched_at.is_none_or(|watched| at < watched) {
            session.watched_at = Some(at);
            self.wheel.arm(at, Timer::Absence(key, at));
        }
    }

    pub(super) fn on_absence_timer(&mut self, key: SessionKey, at: Time, now: Time) {
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        if session.watched_at != Some(at) {
            return;
        }
        session.watched_at = None;
        if session.connection.is_none() {
            self.on_absence_over(key.index, now);
            self.watch_absence(key, now);
        }
    }

    /// Does what the absence of a client has made due by now: its will, or the end of its session.
    pub(super) fn on_absence_over(&mut self, session: u32, now: Time) {
        let state = &self.sessions[session as usize];
        let will_is_due = state.will_due().is_some_and(|due| due <= now);
        // [MQTT-3.1.2-23]
        if state.end_due().is_some_and(|due| due <= now) {
            let client_id = state.client_id.shared();
            self.event(Event::SessionExpired { client_id });
            return self.end_session(session, now);
        }
        if will_is_due {
            self.publish_will(session, now);
        }
    }

    /// Removes everything the session had. Its will is due if it was not published yet
    /// ([MQTT-3.1.2-8]).
    pub(super) fn end_session(&mut self, session: u32, now: Time) {
        self.publish_will(session, now);
        self.end_memberships(session, now);
        self.detach(session, true, now);
        self.forget_session(session);
        self.unreserve_all(session);
        let ended = self.sessions.remove(session as usize);
        self.clients.remove(&ended.client_id);
        for filter in &ended.subscriptions {
            self.unsubscribe_id(*filter, Subscriber::Session(session));
        }
        for _ in &ended.queue {
            self.counters.drop_message(DropReason::SessionEnded);
        }
    }

    /// Deletes what the store has of a session, itself first: what a crash leaves of the rest
    /// belongs to nobody.
    fn forget_session(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        let Some(id) = state.id else {
            return;
        };
        self.session_ids.remove(&id);
        self.journal.delete(Key::Session(id));
        let client_id = state.client_id.clone();
        *self.ended.entry(client_id.clone()).or_default() += 1;
        self.journal.waiters().ended.push(client_id);
        let state = &mut self.sessions[session as usize];
        let queue = std::mem::take(&mut state.queue);
        let exchanges = state.inflight.extract(|_| true);
        for (packet, received) in state.received.iter() {
            if received != Received::Here {
                self.journal.delete(Key::Received(id, packet));
            }
        }
        for filter in &state.subscriptions {
            let filter = Arc::from(self.index.filter_text(*filter));
            self.journal.delete(Key::Subscription(id, filter));
        }
        for filter in &state.exclusives {
            let filter = Arc::from(&**filter);
            self.journal.delete(Key::Subscription(id, filter));
        }
        for (filter, _) in &state.replies {
            let filter = Arc::from(&**filter);
            self.journal.delete(Key::Subscription(id, filter));
        }
        for filter in state.feeds.keys() {
            self.journal
                .delete(Key::Subscription(id, Arc::clone(filter)));
        }
        for delivery in &queue {
            self.forget_delivery(session, delivery);
            self.journal.divide();
        }
        self.sessions[session as usize].queue = queue;
        for (packet, exchange) in &exchanges {
            self.forget_exchange(session, *packet, exchange);
        }
        self.journal.divide();
    }

    pub(super) fn publish_will(&mut self, session: u32, now: Time) {
        let Some(will) = self.sessions[session as usize].will.take() else {
            return;
        };
        self.counters.wills_published += 1;
        let id = self.sessions[session as usize].id;
        self.publish_that_will(&will, Some(session), id, now);
    }

    /// Its record is deleted when everybody who keeps the message has it: a crash may repeat a will,
    /// and does not lose it.
    pub(super) fn publish_that_will(
        &mut self,
        will: &Will,
        session: Option<u32>,
        id: Option<SessionId>,
        now: Time,
    ) {
        let Will {
            topic,
            properties,
            payload,
            qos,
            retain,
            ..
        } = will;
        let Ok(topic) = TopicName::new(topic) else {
            return;
        };
        let expires_at = will
            .message_expiry_interval_seconds
            .map(|seconds| now + Duration::from_secs(u64::from(seconds)));
        let parts = MessageParts {
            topic,
            properties,
            payload,
            qos: *qos,
            retain: *retain,
            published_at: now,
            expires_at,
        };
        let receipt = id.map(|id| self.promise(Then::ForgetWill(id)));
        let session_of_it = session.and_then(|session| self.sessions.get(session as usize));
        let client_id = session_of_it.map(|session| session.client_id.shared());
        let answer = Answer::Will {
            client_id: client_id.clone(),
            topic: Box::from(topic.as_str()),
        };
        let published = self.publish_anywhere(parts, session, receipt, Some(answer), now);
        if let Some(NotKept::Refused(refusal)) = &published.refused {
            self.event(Event::WillRefused {
                client_id,
                topic: Box::from(topic.as_str()),
                reason: refusal.to_string(),
            });
        }
        if let Some(receipt) = receipt {
            self.await_promise(receipt, published.receipts, None, now);
        }
    }
}
