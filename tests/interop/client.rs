//! What the scenarios written in Rust ask of a client, whichever it is.

use std::fmt;
use std::time::Duration;

/// How long a client may wait for an answer or a message. Far more than anything takes here, even on a
/// machine that is busy otherwise: only a failure waits it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    /// The server shows a certificate that the client checks.
    Tls,
    /// The server wants to see a certificate; the client has none.
    MutualTlsWithoutCertificate,
    /// Each shows a certificate to the other.
    MutualTls,
}

/// Why a cell of the table is not `ok`.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<T: fmt::Display> From<T> for Failure {
    fn from(reason: T) -> Failure {
        Failure(reason.to_string())
    }
}

/// A message, as it is published or as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// The rest is for MQTT 5.
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<String>,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: &str, qos: u8) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos,
            ..Message::default()
        }
    }

    pub(crate) fn retained(self) -> Message {
        Message {
            retain: true,
            ..self
        }
    }
}

/// How to open a session.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) client_id: String,
    pub(crate) transport: Transport,
    /// Starts anew and ends with the connection. Otherwise it outlives it by minutes.
    pub(crate) clean: bool,
    pub(crate) will: Option<Message>,
}

impl Open {
    pub(crate) fn new(client_id: &str) -> Open {
        Open {
            client_id: client_id.to_owned(),
            transport: Transport::Plain,
            clean: true,
            will: None,
        }
    }
}

pub(crate) trait Client {
    /// Goes into topics and client identifiers, so that clients do not meet.
    fn name(&self) -> &'static str;

    fn version(&self) -> Version;

    /// Opens a session. A client that connects lazily may report a refusal later, when it
    /// subscribes.
    fn open(&self, open: &Open) -> Result<Box<dyn Session>, Failure>;
}

pub(crate) trait Session {
    /// Returns when the broker has granted the subscriptions.
    fn subscribe(&mut self, filters: &[&str], qos: u8) -> Result<(), Failure>;

    /// Returns when the handshake of its QoS is complete.
    fn publish(&mut self, message: &Message) -> Result<(), Failure>;

    /// Publishes payloads to one topic, in order. Returns when the handshake of each is complete.
    fn publish_all(&mut self, topic: &str, payloads: &[&str], qos: u8) -> Result<(), Failure> {
        for payload in payloads {
            self.publish(&Message::new(topic, payload, qos))?;
        }
        Ok(())
    }

    /// The next message, or `None` if none came in time.
    fn next(&mut self, patience: Duration) -> Result<Option<Message>, Failure>;

    /// Leaves with a DISCONNECT.
    fn disconnect(self: Box<Self>) -> Result<(), Failure>;

    /// Leaves without one: the connection just ends.
    fn abort(self: Box<Self>) -> Result<(), Failure>;
}
