//! What goes into a shard and what comes out of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use nexum_codec::DecodeError;
use nexum_extension_api::ErrorCode;
use nexum_types::{Message, QoS, ReasonCode};

use crate::address::ExtensionId;
use crate::key::{ConnectionKey, ShardId};
use crate::origin::{
    AuthenticationOutcome, ConnectionOrigin, Credentials, ExchangeOutcome, ExchangeStep,
};
use crate::peer::PeerBatch;
use crate::record::{Key, LoadId, Stored};

/// Something that happened outside and is neither bytes nor the end of a connection.
#[derive(Debug)]
pub enum Input {
    /// The answer to [`Output::Authenticate`].
    Authenticated {
        /// The connection that waits for it.
        connection: ConnectionKey,
        /// Whether it may go on.
        outcome: AuthenticationOutcome,
    },
    /// The answer to [`Output::Exchange`].
    Exchange {
        /// The connection that waits for it.
        connection: ConnectionKey,
        /// What the method says.
        outcome: ExchangeOutcome,
    },
    /// What another shard had for this one.
    Peer {
        /// The shard it comes from.
        from: ShardId,
        /// What it had.
        batch: PeerBatch,
    },
    /// An administrator ends a connection.
    Disconnect {
        /// Which one.
        connection: ConnectionKey,
        /// What the client is told, if it speaks MQTT 5.
        reason: ReasonCode,
    },
    /// The broker itself publishes, for example to `$SYS`.
    Publish {
        /// A topic name; an invalid one is ignored.
        topic: String,
        /// The payload.
        payload: Vec<u8>,
        /// The QoS.
        qos: QoS,
        /// Whether it is retained.
        retain: bool,
    },
    /// What became of a [`Submission`](crate::Submission).
    Stored(Stored),
    /// The answer to [`Output::Load`].
    Loaded {
        /// Which one.
        load: LoadId,
        /// The messages in the order of the keys; `None` where there is none that can be read.
        messages: Vec<Option<Arc<Message>>>,
    },
    /// What an extension wants.
    Extension {
        /// Which one.
        extension: ExtensionId,
        /// What.
        outputs: Vec<nexum_extension_api::Output>,
    },
    /// The broker is going down: every connection is told so and closed.
    ShutDown,
}

/// Something the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Send what is pending, close the socket, then call [`Shard::closed`](crate::Shard::closed).
    Close {
        /// Which connection.
        connection: ConnectionKey,
    },
    /// Check credentials and answer with [`Input::Authenticated`].
    Authenticate {
        /// The connection that waits.
        connection: ConnectionKey,
        /// What to check.
        credentials: Credentials,
    },
    /// A step of an enhanced authentication (MQTT 5 section 4.12) by one of the methods in
    /// [`ShardConfig`](crate::ShardConfig): answer with [`Input::Exchange`].
    Exchange {
        /// The connection that waits.
        connection: ConnectionKey,
        /// The Authentication Method.
        method: String,
        /// Where it stands.
        step: ExchangeStep,
        /// The Authentication Data, empty if there is none.
        data: Vec<u8>,
    },
    /// The session lives on another shard: move the socket there, open it with the same origin
    /// and feed it these bytes first. The key is free at once.
    Rehome {
        /// Which connection.
        connection: ConnectionKey,
        /// The session's shard.
        to: ShardId,
        /// What [`Shard::open`](crate::Shard::open) was told.
        origin: ConnectionOrigin,
        /// Everything received so far, CONNECT first.
        received: Vec<u8>,
    },
    /// [`Shard::wants_read`](crate::Shard::wants_read) turned true again.
    ResumeReading {
        /// Which connection.
        connection: ConnectionKey,
    },
    /// Bring messages back from the store and answer with [`Input::Loaded`]; if the store cannot be
    /// read for now, when it can.
    Load {
        /// Names it in the answer.
        load: LoadId,
        /// Records with a message in them: [`Key::Delivery`] or [`Key::Message`].
        keys: Vec<Key>,
    },
    /// For the log.
    Event(Event),
}

/// What happened, for logs. `Display` gives the line.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client was let in.
    Connected {
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Its address.
        address: Option<SocketAddr>,
        /// Whether a session was resumed.
        session_present: bool,
    },
    /// A client was not let in.
    ConnectRefused {
        /// The Client Identifier it gave.
        client_id: String,
        /// Its address.
        address: Option<SocketAddr>,
        /// What it was told.
        reason: ReasonCode,
        /// And more about it, in some cases.
        why: Option<String>,
    },
    /// A connection with a session ended.
    Disconnected {
        /// The Client Identifier.
        client_id: Arc<str>,
        /// Why.
        cause: DisconnectCause,
    },
    /// A connection ended before it had a session.
    ConnectionEnded {
        /// Its address.
        address: Option<SocketAddr>,
        /// Why.
        cause: DisconnectCause,
    },
    /// A session reached a bound and began to lose messages. Logged once until it has room again.
    QueueOverflow {
        /// The Client Identifier.
        client_id: Arc<str>,
        /// What overflowed.
        reason: crate::counters::DropReason,
    },
    /// A session expired.
    SessionExpired {
        /// The Client Identifier.
        client_id: Arc<str>,
    },
    /// What a client had subscribed to is not there any more.
    SubscriptionLost {
        /// The Client Identifier.
        client_id: Arc<str>,
        /// The filter.
        filter: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The will of a client that is gone was not published.
    WillRefused {
        /// The Client Identifier, if the session is still there.
        client_id: Option<Arc<str>>,
        /// Where it was to go.
        topic: Box<str>,
        /// Why.
        reason: String,
    },
    /// The store did not take what is to be kept: until it does, publications that somebody should
    /// keep are refused.
    StoreRefuses {
        /// Why.
        reason: Arc<str>,
    },
    /// The store has taken all that waited for it.
    StoreRecovered,
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of interest when looking for something.
    Debug,
    /// Ordinary life.
    Info,
    /// Somebody should look.
    Warn,
}

impl Event {
    /// How serious it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Event::Connected { .. } | Event::SessionExpired { .. } => Level::Debug,
            Event::ConnectRefused { .. }
            | Event::SubscriptionLost { .. }
            | Event::StoreRecovered => Level::Info,
            Event::Disconnected { cause, .. } | Event::ConnectionEnded { cause, .. } => {
                cause.level()
            }
            Event::QueueOverflow { .. }
            | Event::WillRefused { .. }
            | Event::StoreRefuses { .. } => Level::Warn,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The client sent DISCONNECT.
    ByClient(ReasonCode),
    /// The network connection was lost without DISCONNECT.
    Lost(ConnectionLoss),
    /// Bytes that are no MQTT packet, or one whose fields break a rule.
    Malformed(DecodeError),
    /// A well-formed packet that was not allowed.
    Protocol(ProtocolError),
    /// Nothing was heard for one and a half times the Keep Alive.
    KeepAliveTimeout,
    /// No CONNECT was accepted in time.
    AuthenticationTimeout,
    /// CONNECT was refused.
    Refused(ReasonCode),
    /// The same Client Identifier connected again.
    TakenOver,
    /// An administrator ended it.
    Administrative(ReasonCode),
    /// What it asked for, or published, could not be stored.
    Unstored,
    /// What it published was refused, and 3.1.1 has no word for that.
    PublishRefused(ErrorCode),
    /// The broker is going down.
    ShuttingDown,
}

impl DisconnectCause {
    fn level(&self) -> Level {
        match self {
            DisconnectCause::ByClient(_)
            | DisconnectCause::Lost(_)
            | DisconnectCause::KeepAliveTimeout
            | DisconnectCause::AuthenticationTimeout
            | DisconnectCause::TakenOver
            | DisconnectCause::Unstored
            | DisconnectCause::ShuttingDown => Level::Debug,
            DisconnectCause::Malformed(_)
            | DisconnectCause::Protocol(_)
            | DisconnectCause::Refused(_)
            | DisconnectCause::PublishRefused(_)
            | DisconnectCause::Administrative(_) => Level::Info,
        }
    }
}

/// How the shell lost a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionLoss {
    /// The peer closed it.
    EndOfStream,
    /// The system reported an error.
    Error(String),
    /// The transport below MQTT was breached, for example a WebSocket text frame.
    NotMqtt(String),
}

/// A packet that is well formed and yet forbidden here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// [MQTT-3.1.0-1]: the first packet must be CONNECT.
    FirstPacketNotConnect,
    /// [MQTT-3.1.0-2]: a second CONNECT.
    SecondConnect,
    /// A packet that only a server sends.
    PacketFromServer,
    /// [MQTT-3.3.4-6]: a Subscription Identifier in a PUBLISH from a client.
    SubscriptionIdentifierFromClient,
    /// A Topic Alias above the Topic Alias Maximum.
    TopicAliasInvalid,
    /// A Topic Alias that was never set up (section 3.3.4).
    TopicAliasUnknown,
    /// [MQTT-3.3.2-8 and the like]: neither a topic name nor a Topic Alias.
    NoTopic,
    /// More publications unacknowledged than the Receive Maximum.
    ReceiveMaximumExceeded,
    /// An acknowledgement of the wrong kind for the exchange it names.
    AcknowledgementMismatch,
    /// [MQTT-3.8.3-4]: No Local on a shared subscription.
    NoLocalOnSharedSubscription,
    /// [MQTT-3.14.2-2]: Session Expiry Interval raised from zero by DISCONNECT.
    SessionExpiryRaisedFromZero,
    /// [MQTT-4.12.0-6 and 4.12.1-1]: AUTH where no authentication method was agreed or another was.
    AuthNotExpected,
    /// [MQTT-3.1.2-24]: what answers the packet is larger than the client's Maximum Packet Size.
    AnswerTooLarge,
}

impl ProtocolError {
    /// What an MQTT 5 client is told.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            ProtocolError::FirstPacketNotConnect
            | ProtocolError::SecondConnect
            | ProtocolError::PacketFromServer
            | ProtocolError::SubscriptionIdentifierFromClient
            | ProtocolError::TopicAliasUnknown
            | ProtocolError::NoTopic
            | ProtocolError::AcknowledgementMismatch
            | ProtocolError::NoLocalOnSharedSubscription
            | ProtocolError::SessionExpiryRaisedFromZero
            | ProtocolError::AuthNotExpected => ReasonCode::ProtocolError,
            ProtocolError::TopicAliasInvalid => ReasonCode::TopicAliasInvalid,
            ProtocolError::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            ProtocolError::AnswerTooLarge => ReasonCode::PacketTooLarge,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProtocolError::FirstPacketNotConnect => "the first packet must be CONNECT",
            ProtocolError::SecondConnect => "CONNECT may be sent only once on a connection",
            ProtocolError::PacketFromServer => "only a server sends this packet",
            ProtocolError::SubscriptionIdentifierFromClient => {
                "a client's PUBLISH carries no Subscription Identifier"
            }
            ProtocolError::TopicAliasInvalid => "the Topic Alias is above the Topic Alias Maximum",
            ProtocolError::TopicAliasUnknown => "the Topic Alias stands for no topic yet",
            ProtocolError::NoTopic => "PUBLISH needs a topic name or a Topic Alias",
            ProtocolError::ReceiveMaximumExceeded => {
                "more publications are unacknowledged than the Receive Maximum allows"
            }
            ProtocolError::AcknowledgementMismatch => {
                "the acknowledgement does not fit the QoS of the message it names"
            }
            ProtocolError::NoLocalOnSharedSubscription => {
                "No Local must not be set on a shared subscription"
            }
            ProtocolError::SessionExpiryRaisedFromZero => {
                "DISCONNECT cannot raise a Session Expiry Interval of zero"
            }
            ProtocolError::AuthNotExpected => "AUTH without the agreed authentication method",
            ProtocolError::AnswerTooLarge => {
                "the answer would exceed the client's Maximum Packet Size; send less in one packet"
            }
        })
    }
}

impl std::error::Error for ProtocolError {}

impl fmt::Display for DisconnectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DisconnectCause::ByClient(reason) => write!(f, "DISCONNECT from the client: {reason}"),
            DisconnectCause::Lost(ConnectionLoss::EndOfStream) => {
                f.write_str("the client closed the connection without DISCONNECT")
            }
            DisconnectCause::Lost(ConnectionLoss::Error(error)) => {
                write!(f, "the connection failed: {error}")
            }
            DisconnectCause::Lost(ConnectionLoss::NotMqtt(what)) => {
                write!(f, "the transport was breached: {what}")
            }
            DisconnectCause::Malformed(error) => write!(f, "malformed packet: {error}"),
            DisconnectCause::Protocol(error) => write!(f, "protocol error: {error}"),
            DisconnectCause::KeepAliveTimeout => f.write_str("keep alive timeout"),
            DisconnectCause::AuthenticationTimeout => {
                f.write_str("no CONNECT was accepted in time")
            }
            DisconnectCause::Refused(reason) => write!(f, "CONNECT refused: {reason}"),
            DisconnectCause::TakenOver => f.write_str("session taken over by another connection"),
            DisconnectCause::Administrative(reason) => {
                write!(f, "ended by an administrator: {reason}")
            }
            DisconnectCause::Unstored => f.write_str("the broker could not store what it sent"),
            DisconnectCause::PublishRefused(code) => {
                write!(f, "what it published was refused: {}", code.as_str())
            }
            DisconnectCause::ShuttingDown => f.write_str("the broker is shutting down"),
        }
    }
}

/// A Client Identifier in the log: in quotes, and of a length that the client does not choose.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        match self.0.char_indices().nth(SHOWN) {
            None => write!(f, "{:?}", self.0),
            Some((at, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..at], self.0.len()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected {
                client_id,
                address,
                session_present,
            } => write!(
                f,
                "client {} connected from {}{}",
                Quoted(client_id),
                Address(*address),
                if *session_present {
                    ", session resumed"
                } else {
                    ""
                }
            ),
            Event::ConnectRefused {
                client_id,
                address,
                reason,
                why,
            } => {
                let (client, address) = (Quoted(client_id), Address(*address));
                write!(f, "client {client} from {address} refused: {reason}")?;
                match why {
                    Some(why) => write!(f, ": {why}"),
                    None => Ok(()),
                }
            }
            Event::Disconnected { client_id, cause } => {
                write!(f, "client {} disconnected: {cause}", Quoted(client_id))
            }
            Event::ConnectionEnded { address, cause } => {
                write!(f, "connection from {} ended: {cause}", Address(*address))
            }
            Event::QueueOverflow { client_id, reason } => {
                let client = Quoted(client_id);
                write!(f, "client {client} loses messages: {}", reason.label())
            }
            Event::SubscriptionLost {
                client_id,
                filter,
                reason,
            } => {
                let client = Quoted(client_id);
                write!(
                    f,
                    "client {client} is not subscribed to {filter} any more: {reason}"
                )
            }
            Event::WillRefused {
                client_id,
                topic,
                reason,
            } => {
                let topic = Quoted(topic);
                match client_id {
                    Some(client_id) => {
                        let client = Quoted(client_id);
                        write!(f, "the will of {client} to {topic} is refused: {reason}")
                    }
                    None => write!(f, "a will to {topic} is refused: {reason}"),
                }
            }
            Event::SessionExpired { client_id } => {
                write!(f, "session of {} expired", Quoted(client_id))
            }
            Event::StoreRefuses { reason } => write!(
                f,
                "nothing can be stored, publications that are to be kept are refused: {reason}"
            ),
            Event::StoreRecovered => f.write_str("messages are stored again"),
        }
    }
}

struct Address(Option<SocketAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("an unknown address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_does_not_choose_how_much_is_logged() {
        let refused = |client_id: &str| {
            let event = Event::ConnectRefused {
                client_id: client_id.to_owned(),
                address: None,
                reason: ReasonCode::ClientIdentifierNotValid,
                why: None,
            };
            event.to_string()
        };
        assert!(refused("sensor 1").starts_with("client \"sensor 1\" from"));
        let long = refused(&"\u{301}".repeat(32_000));
        assert!(long.len() < 1000, "{long}");
        assert!(long.contains("(64000 bytes)"), "{long}");
    }
}
