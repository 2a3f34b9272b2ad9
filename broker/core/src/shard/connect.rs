//! CONNECT to CONNACK: admission, takeover, resumption (sections 3.1 and 3.2).

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use nexum_codec::{ConnAck, ConnAckProperties, Connect, DecodeError, Packet};
use nexum_types::{ClientId, ProtocolVersion, ReasonCode, Time};

use super::Shard;
use super::authenticate::{Exchange, Stage, take_admission};
use super::timers::{FARTHEST_TIMER, Timer};
use crate::admission::Admission;
use crate::connection::{ConnectionState, CorkedConnAck, Holds};
use crate::key::ConnectionKey;
use crate::origin::{AuthenticationOutcome, ConnectionOrigin, Credentials, ExchangeStep};
use crate::output::{DisconnectCause, Event, Output};
use crate::record::{Key, Value};
use crate::session::Session;
use crate::session::inflight::MOST_OPEN;
use crate::topic_alias::OutboundAliases;

/// What the broker grants of what CONNECT asked for.
#[derive(Clone, Copy)]
struct Agreed {
    asked_expiry_interval_seconds: u32,
    session_expiry_interval_seconds: u32,
    keep_alive_seconds: u16,
}

impl Shard {
    pub(super) fn on_connect(
        &mut self,
        key: ConnectionKey,
        connect: &Connect<'_>,
        bytes: &[u8],
        now: Time,
    ) {
        let connection = &mut self.connections[key.index as usize];
        connection.version = connect.version;
        connection.request_problem_information = connect.properties.request_problem_information;
        connection.maximum_packet_size_bytes =
            connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
        if self.shutting_down {
            // Server shutting down is a reason of DISCONNECT alone (section 3.2.2.2).
            return self.refuse(key, connect.client_id, ReasonCode::ServerUnavailable, now);
        }
        // [MQTT-4.12.0-1]
        let method = connect.properties.authentication_method;
        if method.is_some_and(|method| {
            !self
                .authentication_methods
                .iter()
                .any(|served| **served == *method)
        }) {
            return self.refuse(
                key,
                connect.client_id,
                ReasonCode::BadAuthenticationMethod,
                now,
            );
        }
        if connect.client_id.len() > usize::from(self.limits.maximum_client_id_bytes) {
            return self.refuse(
                key,
                connect.client_id,
                ReasonCode::ClientIdentifierNotValid,
                now,
            );
        }
        // A will is published in its client's name, so it goes only where the client may publish.
        if let Some(will) = &connect.will
            && let Some(refusal) = self.refusal_of_will(will.topic.as_str(), now)
        {
            let reason_code = refusal.code.of_publish();
            let why = format!("its will cannot be published: {}", refusal.reason);
            return self.refuse_because(key, connect.client_id, reason_code, Some(why), now);
        }
        let (client_id, assigned) = match ClientId::new(connect.client_id) {
            Some(client_id) => (client_id, false),
            // [MQTT3-3.1.3-8]: a session nobody could come back to is not kept.
            None if connect.version == ProtocolVersion::V3_1_1 && !connect.clean_start => {
                return self.refuse(key, "", ReasonCode::ClientIdentifierNotValid, now);
            }
            // [MQTT-3.1.3-6] [MQTT3-3.1.3-6]
            None => (self.assign_client_id(), true),
        };
        let home = self.home_of(client_id.as_str());
        if home != self.id {
            return self.rehome(key, home, bytes);
        }
        let admission = Box::new(Admission::new(connect, client_id, assigned));
        let connection = &mut self.connections[key.index as usize];
        let origin = &connection.origin;
        if let Some(method) = method {
            let step = ExchangeStep::Begin(credentials(connect, origin));
            let exchange = Exchange {
                method: Box::from(method),
                stage: Stage::Asked,
            };
            connection.exchange = Some(Box::new(exchange));
            connection.state = ConnectionState::Authenticating(admission);
            let data = connect.properties.authentication_data.unwrap_or_default();
            return self.ask_method(key, step, data);
        }
        match connect.user_name {
            // A verified client certificate says who it is; nothing more is asked.
            None if !origin.anonymous && origin.certificate.is_none() => {
                self.refuse(key, connect.client_id, ReasonCode::NotAuthorized, now);
            }
            Some(_) if origin.verify_credentials => {
                let credentials = credentials(connect, origin);
                connection.state = ConnectionState::Authenticating(admission);
                connection.holds.add(Holds::AUTHENTICATION);
                self.outputs.push_back(Output::Authenticate {
                    connection: key,
                    credentials,
                });
            }
            // A user name that nobody can check means nothing; it lets nobody in either.
            Some(_) if !origin.anonymous && origin.certificate.is_none() => {
                self.refuse(key, connect.client_id, ReasonCode::NotAuthorized, now);
            }
            None | Some(_) => self.admit(key, *admission, now),
        }
    }

    /// The client cannot be told in its own version what its CONNECT lacks unless the version at
    /// least could be read.
    pub(super) fn on_malformed_connect(
        &mut self,
        key: ConnectionKey,
        body: &[u8],
        error: DecodeError,
        now: Time,
    ) {
        // Protocol Name and Protocol Version (section 3.1.2.1).
        const NAME: &[u8] = b"\0\x04MQTT";
        let level = body
            .strip_prefix(NAME)
            .and_then(|rest| rest.first())
            .copied();
        self.counters.protocol_errors += 1;
        let connection = &mut self.connections[key.index as usize];
        connection.version = match level {
            Some(level) if level >= 5 => ProtocolVersion::V5,
            Some(_) | None => ProtocolVersion::V3_1_1,
        };
        // [MQTT-3.1.2-2] [MQTT3-3.1.2-2] and section 4.13: CONNACK may tell the reason. 3.1.1 has a
        // code for the version alone.
        if connection.version == ProtocolVersion::V5
            || error.reason_code() == ReasonCode::UnsupportedProtocolVersion
        {
            self.send_connack_error(key, error.reason_code(), None);
        }
        self.end_connection(key, DisconnectCause::Malformed(error), now);
    }

    pub(super) fn on_authenticated(
        &mut self,
        key: ConnectionKey,
        outcome: AuthenticationOutcome,
        now: Time,
    ) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        if connection.exchange.is_some() {
            return;
        }
        let Some(admission) = take_admission(connection) else {
            return;
        };
        match outcome {
            AuthenticationOutcome::Accepted => self.admit(key, *admission, now),
            AuthenticationOutcome::Refused => {
                let client_id = admission.client_id.as_str();
                self.refuse(key, client_id, ReasonCode::BadUserNameOrPassword, now);
            }
            AuthenticationOutcome::Unavailable => {
                let client_id = admission.client_id.as_str();
                self.refuse(key, client_id, ReasonCode::ServerUnavailable, now);
            }
        }
        self.lift_hold(key, Holds::AUTHENTICATION);
    }

    /// The client may come in: binds the connection to its session.
    pub(super) fn admit(&mut self, key: ConnectionKey, admission: Admission, now: Time) {
        let agreed = self.agree(&admission);
        if !self.encode_connack(key, &admission, agreed, false) {
            // [MQTT-3.1.2-24]: a client that cannot be told is not let in.
            let cause = DisconnectCause::Refused(ReasonCode::PacketTooLarge);
            return self.end_connection(key, cause, now);
        }
        let changes = self.journal.changes();
        let existing = self.clients.get(admission.client_id.as_str()).copied();
        let is_stored = existing.is_some_and(|session| self.sessions[session as usize].stored);
        let begins = admission.clean_start || !is_stored;
        let stays = agreed.session_expiry_interval_seconds > 0;
        let has_ended = self.ended.contains_key(admission.client_id.as_str());
        let discards = admission.clean_start && is_stored || has_ended && !is_stored;
        if self.journal.is_refusing() && (begins && stays || discards) {
            // That a session outlives its connection is a promise, and so is that it is gone.
            let client_id = admission.client_id.as_str();
            return self.refuse(key, client_id, ReasonCode::QuotaExceeded, now);
        }
        if let Some(session) = existing
            && let Some(old) = self.sessions[session as usize].connection
        {
            // [MQTT-3.1.4-3] [MQTT3-3.1.4-2]
            self.counters.takeovers += 1;
            self.end_connection(old, DisconnectCause::TakenOver, now);
        }
        // Ending the old connection may have ended its session, too.
        let mut resumed = self.clients.get(admission.client_id.as_str()).copied();
        if let Some(session) = resumed {
            // What was due while the broker was down, or a moment ago, is done before.
            self.on_absence_over(session, now);
            resumed = self.clients.get(admission.client_id.as_str()).copied();
        }
        if let Some(session) = resumed
            && admission.clean_start
        {
            // [MQTT-3.1.2-4] [MQTT3-3.1.2-6]
            self.end_session(session, now);
            resumed = None;
        }
        let session = match resumed {
            Some(session) => session,
            None if self.sessions.len() * usize::from(self.shards)
                >= self.limits.maximum_sessions as usize =>
            {
                let client_id = admission.client_id.as_str();
                return self.refuse(key, client_id, ReasonCode::QuotaExceeded, now);
            }
            None => self.begin_session(&admission.client_id),
        };
        let session_present = resumed.is_some();
        let expiry = agreed.session_expiry_interval_seconds;
        if self.sessions[session as usize].id.is_none() && expiry > 0 {
            let id = self.take_session_id();
            self.sessions[session as usize].id = Some(id);
            self.session_ids.insert(id, session);
        }
        let state = &mut self.sessions[session as usize];
        state.connection = Some(key);
        state.expiry_interval_seconds = agreed.session_expiry_interval_seconds;
        state.quota = admission
            .receive_maximum
            .min(self.limits.maximum_inflight)
            .get()
            .min(MOST_OPEN);
        state.quota_used = 0;
        // 65,535 is what no Receive Maximum means.
        state.prefetch = if admission.receive_maximum.get() == u16::MAX {
            state.quota.min(self.limits.prefetch.get())
        } else {
            state.quota
        };
        state.received_before = state.received.len() as u16;
        // [MQTT-4.4.0-1] [MQTT3-4.4.0-1]
        state.resend_from = (!state.inflight.is_empty()).then_some(0);
        // [MQTT-3.1.3-9]: a will that waited for its delay is gone with this.
        let had_will = std::mem::replace(&mut state.will, admission.will.clone()).is_some();
        if let Some(id) = state.id {
            match &admission.will {
                Some(will) => self
                    .journal
                    .put(Key::Will(id), Value::Will(Arc::clone(will))),
                None if had_will => self.journal.delete(Key::Will(id)),
                None => {}
            }
        }
        self.record_session(session);
        if self.sessions[session as usize].keeps().is_some()
            && !self.sessions[session as usize].stored
        {
            let session = self.session_key(session);
            self.journal.waiters().sessions.push(session);
        }
        let connection = &mut self.connections[key.index as usize];
        connection.state = ConnectionState::Connected { session };
        connection.keep_alive_seconds = agreed.keep_alive_seconds;
        let aliases = admission
            .topic_alias_maximum
            .min(self.limits.outbound_topic_alias_maximum);
        connection.outbound_aliases = std::num::NonZeroU16::new(aliases)
            .map(|maximum| Box::new(OutboundAliases::new(maximum)));
        let address = connection.origin.address;
        if let Some(deadline) = connection.keep_alive_deadline() {
            let at = deadline.min(now + FARTHEST_TIMER);
            self.wheel.arm(at, Timer::KeepAlive(key));
        }
        self.counters.connects_accepted += 1;
        self.encode_connack(key, &admission, agreed, session_present);
        self.connections[key.index as usize]
            .outbound
            .append_bytes(&mut self.pool, &self.encoded);
        let is_told_more = self.journal.changes() > changes || has_ended;
        if is_told_more && !self.journal.is_refusing() {
            self.cork(key);
            let is_stored = session_present && self.sessions[session as usize].stored;
            self.connections[key.index as usize].connack = if is_stored {
                CorkedConnAck::Resumed
            } else {
                CorkedConnAck::Begun
            };
        }
        self.list_for_transmit(key.index);
        self.event(Event::Connected {
            client_id: admission.client_id.shared(),
            address,
            session_present,
        });
        self.resume_replays(session);
        self.resume_feeds(session);
        self.on_session_online(session, now);
        self.pump(session, now);
    }

    fn begin_session(&mut self, client_id: &ClientId) -> u32 {
        let generation = self.next_generation();
        let session = Session::new(client_id.clone(), generation);
        let index = self.sessions.insert(session) as u32;
        self.clients.insert(client_id.clone(), index);
        index
    }

    /// What becomes of the wishes that the limits may change.
    fn agree(&self, admission: &Admission) -> Agreed {
        let asked_expiry = match admission.version {
            ProtocolVersion::V5 => admission.session_expiry_interval_seconds.unwrap_or(0),
            ProtocolVersion::V3_1_1 if admission.clean_start => 0,
            ProtocolVersion::V3_1_1 => self.limits.v311_session_expiry_seconds,
        };
        let asked_keep_alive = admission.keep_alive_seconds;
        Agreed {
            asked_expiry_interval_seconds: asked_expiry,
            session_expiry_interval_seconds: asked_expiry
                .min(self.limits.maximum_session_expiry_seconds),
            keep_alive_seconds: match self.limits.server_keep_alive_seconds {
                Some(most) if asked_keep_alive == 0 || asked_keep_alive > most.get() => most.get(),
                Some(_) | None => asked_keep_alive,
            },
        }
    }

    /// Encodes CONNACK into `encoded`; false if the client takes none so large.
    fn encode_connack(
        &mut self,
        key: ConnectionKey,
        admission: &Admission,
        agreed: Agreed,
        session_present: bool,
    ) -> bool {
        let limits = &self.limits;
        let response_information = admission
            .request_response_information
            .then(|| response_information(admission.client_id.as_str()));
        let whole = 268_435_455;
        let connection = &self.connections[key.index as usize];
        let method = connection
            .exchange
            .as_ref()
            .map(|exchange| exchange.method.clone());
        let mut properties = ConnAckProperties {
            session_expiry_interval_seconds: Some(agreed.session_expiry_interval_seconds)
                .filter(|granted| *granted != agreed.asked_expiry_interval_seconds),
            receive_maximum: Some(limits.receive_maximum),
            maximum_packet_size: (limits.maximum_packet_size_bytes < whole)
                .then_some(limits.maximum_packet_size_bytes),
            // [MQTT-3.1.3-7]
            assigned_client_identifier: admission.assigned.then_some(admission.client_id.as_str()),
            topic_alias_maximum: Some(limits.topic_alias_maximum),
            // [MQTT-3.2.2-21]: the client must use it.
            server_keep_alive_seconds: Some(agreed.keep_alive_seconds)
                .filter(|granted| *granted != admission.keep_alive_seconds),
            response_information: response_information.as_deref(),
            // [MQTT-4.12.0-5]
            authentication_method: method.as_deref(),
            authentication_data: admission.authentication_data.as_deref(),
            ..ConnAckProperties::default()
        };
        loop {
            let packet = Packet::ConnAck(ConnAck {
                session_present,
                reason_code: ReasonCode::Success,
                properties,
            });
            self.encoded.clear();
            let encoded = nexum_codec::encode(&packet, connection.version, &mut self.encoded);
            if encoded.is_ok()
                && self.encoded.len() <= connection.maximum_packet_size_bytes as usize
            {
                return true;
            }
            // [MQTT-3.2.2-19]: what the client can do without is left out if it does not fit.
            if properties.response_information.take().is_none() {
                return false;
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        key: ConnectionKey,
        client_id: &str,
        reason: ReasonCode,
        now: Time,
    ) {
        self.refuse_because(key, client_id, reason, None, now);
    }

    fn refuse_because(
        &mut self,
        key: ConnectionKey,
        client_id: &str,
        reason: ReasonCode,
        why: Option<String>,
        now: Time,
    ) {
        self.counters.connects_refused += 1;
        self.send_connack_error(key, reason, why.as_deref());
        let address = self.connections[key.index as usize].origin.address;
        let client_id = client_id.to_owned();
        self.event(Event::ConnectRefused {
            client_id,
            address,
            reason,
            why,
        });
        self.end_connection(key, DisconnectCause::Refused(reason), now);
    }

    /// [MQTT-3.2.2-6] [MQTT3-3.2.2-4]: Session Present is 0 beside an error. [MQTT-3.2.2-19]: no
    /// Reason String that makes the packet too large.
    pub(super) fn send_connack_error(
        &mut self,
        key: ConnectionKey,
        reason: ReasonCode,
        why: Option<&str>,
    ) {
        self.send_explained(key.index, why, |reason_string| {
            Packet::ConnAck(ConnAck {
                session_present: false,
                reason_code: reason,
                properties: ConnAckProperties {
                    reason_string,
                    ..ConnAckProperties::default()
                },
            })
        });
    }

    fn rehome(&mut self, key: ConnectionKey, to: crate::key::ShardId, bytes: &[u8]) {
        let origin = self.connections[key.index as usize].origin.clone();
        self.forget(key);
        let received = bytes.to_vec();
        self.outputs.push_back(Output::Rehome {
            connection: key,
            to,
            origin,
            received,
        });
    }

    /// A Client Identifier of this shard that nobody has and nobody can guess.
    fn assign_client_id(&mut self) -> ClientId {
        let hasher = foldhash::quality::FixedState::with_seed(self.seed ^ u64::from(self.id.0));
        loop {
            self.assigned_client_ids += 1;
            let high = hasher.hash_one(self.assigned_client_ids);
            let low = hasher.hash_one((self.assigned_client_ids, self.seed));
            let id = format!("nexum-{high:016x}{low:016x}");
            if self.home_of(&id) == self.id && !self.clients.contains_key(id.as_str()) {
                return ClientId::new(&id).expect("not empty");
            }
        }
    }

    /// The time between the accepted socket and the accepted CONNECT is over.
    pub(super) fn on_authentication_timeout(&mut self, key: ConnectionKey, now: Time) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        match connection.state {
            ConnectionState::AwaitConnect | ConnectionState::Authenticating(_) => {
                self.end_connection(key, DisconnectCause::AuthenticationTimeout, now);
            }
            ConnectionState::Connected { .. } | ConnectionState::Closing => {}
        }
    }

    pub(super) fn on_keep_alive_timer(&mut self, key: ConnectionKey, now: Time) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.is_closing() {
            return;
        }
        match connection.keep_alive_deadline() {
            // A connection that is held back for others is not silent: nobody listens. One that
            // is held back because it does not read is as good as silent.
            Some(deadline) if deadline <= now && !connection.holds.for_others() => {
                self.counters.keep_alive_timeouts += 1;
                self.end_connection(key, DisconnectCause::KeepAliveTimeout, now);
            }
            Some(deadline) => {
                let at = deadline
                    .max(now + Duration::from_millis(500))
                    .min(now + FARTHEST_TIMER);
                self.wheel.arm(at, Timer::KeepAlive(key));
            }
            None => {}
        }
    }
}

/// Where a client may have its responses sent (section 3.1.2.11.7): a topic of its own, in which
/// what means something in topics is written as in a URL.
fn response_information(client_id: &str) -> String {
    let mut topic = String::from("response/");
    for character in client_id.chars() {
        match character {
            '/' => topic.push_str("%2F"),
            '+' => topic.push_str("%2B"),
            '#' => topic.push_str("%23"),
            '%' => topic.push_str("%25"),
            other => topic.push(other),
        }
    }
    topic
}

fn credentials(connect: &Connect<'_>, origin: &ConnectionOrigin) -> Credentials {
    Credentials {
        user_name: connect.user_name.map(str::to_owned),
        password: connect.password.map(<[u8]>::to_vec),
        client_id: connect.client_id.to_owned(),
        certificate: origin.certificate.clone(),
        address: origin.address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_information_is_a_topic_whatever_the_client_is_called() {
        assert_eq!(response_information("sensor 1"), "response/sensor 1");
        assert_eq!(response_information("a/+/#%"), "response/a%2F%2B%2F%23%25");
    }
}
