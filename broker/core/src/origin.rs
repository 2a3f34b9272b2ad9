//! Where a connection came from and who it claims to be.

use std::net::SocketAddr;
use std::sync::Arc;

/// What the shell knows of a connection before its first packet.
#[derive(Clone, Debug)]
pub struct ConnectionOrigin {
    /// The peer's address.
    pub address: Option<SocketAddr>,
    /// The listener's own name, for logs.
    pub listener: Arc<str>,
    /// Whether a client may connect without a user name.
    pub anonymous: bool,
    /// Whether user names are checked; where nobody can check them they mean nothing.
    pub verify_credentials: bool,
    /// The subject common name of a verified client certificate.
    pub certificate: Option<Arc<str>>,
}

/// What a client presents to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The User Name of CONNECT.
    pub user_name: Option<String>,
    /// The Password of CONNECT.
    pub password: Option<Vec<u8>>,
    /// The Client Identifier; empty if one is to be assigned.
    pub client_id: String,
    /// The subject common name of a verified client certificate.
    pub certificate: Option<Arc<str>>,
    /// The peer's address.
    pub address: Option<SocketAddr>,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the password out: credentials end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .field("client_id", &self.client_id)
            .field("certificate", &self.certificate)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Which step of an enhanced authentication a client took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// CONNECT, with whatever else it presented.
    Begin(Credentials),
    /// AUTH with 0x18 (Continue authentication).
    Continue,
    /// AUTH with 0x19 (Re-authenticate): a connected client begins anew.
    Renew,
}

/// What the method says to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// Another step is needed; the client gets this.
    Continue {
        /// The Authentication Data of AUTH.
        data: Vec<u8>,
    },
    /// The client is who it says.
    Accepted {
        /// The Authentication Data of CONNACK, or of the AUTH that ends a renewal.
        data: Option<Vec<u8>>,
    },
    /// It is not.
    Refused,
    /// It could not be checked now.
    Unavailable,
}

/// What became of an authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationOutcome {
    /// The client is who it says.
    Accepted,
    /// It is not.
    Refused,
    /// It could not be checked now.
    Unavailable,
}
