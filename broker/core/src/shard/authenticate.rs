//! Enhanced authentication (MQTT 5 section 4.12): an exchange of AUTH packets whose contents only
//! the method understands, and so only the shell.
//!
//! ```text
//!                 CONNECT with a method that is served
//!                                │
//!                                ▼   Continue: AUTH 0x18 to the client
//!                 ┌────────► Asked ────────────────► Awaiting ─┐
//!                 │            │ ▲                             │ AUTH 0x18 from the client
//!                 │            │ └─────────────────────────────┘
//!   AUTH 0x19     │            ├─ Accepted: CONNACK, or AUTH 0x00 where it is renewed ─► Settled
//!   from Settled ─┘            └─ Refused: CONNACK with an error, or DISCONNECT
//! ```
//!
//! While a connected client renews its authentication, everything else goes on as it was.

use nexum_codec::{Auth, Packet, UserProperties};
use nexum_types::{ReasonCode, Time};

use super::Shard;
use crate::connection::{Connection, ConnectionState, Holds};
use crate::key::ConnectionKey;
use crate::origin::{ExchangeOutcome, ExchangeStep};
use crate::output::{DisconnectCause, Output, ProtocolError};

/// The method that CONNECT named, and where its exchange stands.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) method: Box<str>,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The shell is looking at what the client sent.
    Asked,
    /// The client's AUTH is due.
    Awaiting,
    /// It is who it says.
    Settled,
}

impl Shard {
    /// Hands what the client sent to whoever serves the method.
    pub(super) fn ask_method(&mut self, key: ConnectionKey, step: ExchangeStep, data: &[u8]) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        let Some(exchange) = &mut connection.exchange else {
            return;
        };
        exchange.stage = Stage::Asked;
        let method = exchange.method.to_string();
        if connection.session().is_none() {
            connection.holds.add(Holds::AUTHENTICATION);
        }
        let data = data.to_vec();
        self.outputs.push_back(Output::Exchange {
            connection: key,
            method,
            step,
            data,
        });
    }

    /// AUTH from a client, connected or not (section 3.15).
    pub(super) fn on_auth(&mut self, key: ConnectionKey, auth: &Auth<'_>, now: Time) {
        let connection = &self.connections[key.index as usize];
        let connected = connection.session().is_some();
        let Some(exchange) = &connection.exchange else {
            // [MQTT-4.12.0-6]: not without a method in CONNECT.
            return self.on_protocol_error(key, ProtocolError::AuthNotExpected, now);
        };
        // [MQTT-4.12.0-5] [MQTT-4.12.1-1]: the method stays what CONNECT said.
        let same_method = auth.authentication_method == Some(&*exchange.method);
        let step = match (auth.reason_code, exchange.stage) {
            // [MQTT-4.12.0-3]
            (ReasonCode::ContinueAuthentication, Stage::Awaiting) => ExchangeStep::Continue,
            (ReasonCode::ReAuthenticate, Stage::Settled) if connected => ExchangeStep::Renew,
            _ => return self.on_protocol_error(key, ProtocolError::AuthNotExpected, now),
        };
        if !same_method {
            return self.on_protocol_error(key, ProtocolError::AuthNotExpected, now);
        }
        self.ask_method(key, step, auth.authentication_data.unwrap_or_default());
    }

    /// What the method says to the client's last step.
    pub(super) fn on_exchange(&mut self, key: ConnectionKey, outcome: ExchangeOutcome, now: Time) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        let is_closing = connection.is_closing();
        let Some(exchange) = &mut connection.exchange else {
            return;
        };
        if is_closing || exchange.stage != Stage::Asked {
            return;
        }
        match outcome {
            ExchangeOutcome::Continue { data } => {
                if let Some(exchange) = &mut connection.exchange {
                    exchange.stage = Stage::Awaiting;
                }
                // [MQTT-4.12.0-2]
                self.send_auth(key, ReasonCode::ContinueAuthentication, Some(&data));
            }
            ExchangeOutcome::Accepted { data } => {
                exchange.stage = Stage::Settled;
                if connection.session().is_some() {
                    self.send_auth(key, ReasonCode::Success, data.as_deref());
                } else if let Some(mut admission) = take_admission(connection) {
                    admission.authentication_data = data;
                    self.admit(key, *admission, now);
                }
            }
            ExchangeOutcome::Refused => {
                self.on_exchange_refused(key, ReasonCode::NotAuthorized, now)
            }
            ExchangeOutcome::Unavailable => {
                self.on_exchange_refused(key, ReasonCode::ServerUnavailable, now);
            }
        }
        self.lift_hold(key, Holds::AUTHENTICATION);
    }

    /// [MQTT-4.12.0-4] [MQTT-4.12.1-2]
    fn on_exchange_refused(&mut self, key: ConnectionKey, reason: ReasonCode, now: Time) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        if connection.session().is_some() {
            self.end_connection(key, DisconnectCause::Refused(reason), now);
        } else if let Some(admission) = take_admission(connection) {
            self.refuse(key, admission.client_id.as_str(), reason, now);
        }
    }

    fn send_auth(&mut self, key: ConnectionKey, reason_code: ReasonCode, data: Option<&[u8]>) {
        let Some(exchange) = &self.connections[key.index as usize].exchange else {
            return;
        };
        let method = exchange.method.clone();
        let packet = Packet::Auth(Auth {
            reason_code,
            authentication_method: Some(&method),
            authentication_data: data,
            reason_string: None,
            user_properties: UserProperties::default(),
        });
        self.send_packet(key.index, &packet);
    }
}

/// Takes out what waits for its authentication.
pub(super) fn take_admission(
    connection: &mut Connection,
) -> Option<Box<crate::admission::Admission>> {
    match std::mem::replace(&mut connection.state, ConnectionState::AwaitConnect) {
        ConnectionState::Authenticating(admission) => Some(admission),
        state @ (ConnectionState::AwaitConnect
        | ConnectionState::Connected { .. }
        | ConnectionState::Closing) => {
            connection.state = state;
            None
        }
    }
}
