//! Listening sockets: what they are configured to be and what they became.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::tls_config::{ReloadableTls, TlsConfig, TlsError};
use crate::transport::websocket::upgrade::UpgradePolicy;

/// Connections that the kernel completes before they are accepted. A reconnect storm after an
/// outage should wait there rather than be reset; the kernel's own bound (somaxconn) is 4096.
const BACKLOG: i32 = 4096;

/// An address to listen on and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What lies between TCP and MQTT.
    pub transport: ListenerTransport,
    /// Whether clients may connect without a user name. `None`: only if the address is a
    /// loopback one.
    pub anonymous: Option<bool>,
}

/// What lies between TCP and MQTT on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTransport {
    /// Nothing.
    Tcp,
    /// TLS.
    Tls(TlsConfig),
    /// WebSocket.
    WebSocket(WebSocketConfig),
    /// WebSocket over TLS.
    SecureWebSocket(WebSocketConfig, TlsConfig),
}

/// Which WebSocket handshakes are accepted. The subprotocol `mqtt` always has to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// The path of the request, with its slash.
    pub path: String,
    /// The origins of web pages that may connect, as `https://console.example`, or `*` for any.
    /// Clients that are no browser, and pages of the host that is connected to, always may; on a
    /// loopback address only pages of `localhost` and loopback addresses.
    pub allowed_origins: Vec<String>,
}

/// What a listener listens on, with its real port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerAddress {
    /// `tcp`, `tls`, `ws` or `wss`.
    pub scheme: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The path of WebSocket requests; empty where there is no WebSocket.
    pub path: String,
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.address, self.path)
    }
}

/// Why a server could not be bound.
#[derive(Debug)]
pub enum BindError {
    /// The system refused the address.
    Address {
        /// Which one.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The listener's certificates cannot be used.
    Tls {
        /// The listener's address.
        address: SocketAddr,
        /// Why.
        error: TlsError,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Address { address, error } => {
                write!(f, "cannot listen on {address}: {error}")
            }
            BindError::Tls { address, error } => write!(f, "listener {address}: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// What a listener does with the sockets it accepts.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: ListenerAddress,
    /// The address as text, for logs and [`nexum_core::ConnectionOrigin`].
    pub(crate) name: Arc<str>,
    pub(crate) anonymous: bool,
    pub(crate) tls: Option<ReloadableTls>,
    pub(crate) websocket: Option<Arc<UpgradePolicy>>,
}

/// Binds the address and loads what it needs.
pub(crate) fn bind(config: ListenerConfig) -> Result<(TcpListener, Arc<Listener>), BindError> {
    let ListenerConfig {
        address,
        transport,
        anonymous,
    } = config;
    let (scheme, websocket, tls) = match transport {
        ListenerTransport::Tcp => ("tcp", None, None),
        ListenerTransport::Tls(tls) => ("tls", None, Some(tls)),
        ListenerTransport::WebSocket(websocket) => ("ws", Some(websocket), None),
        ListenerTransport::SecureWebSocket(websocket, tls) => ("wss", Some(websocket), Some(tls)),
    };
    let tls = tls
        .map(ReloadableTls::load)
        .transpose()
        .map_err(|error| BindError::Tls { address, error })?;
    let refused = |error| BindError::Address { address, error };
    let socket = listen(address).map_err(refused)?;
    let bound = socket.local_addr().map_err(refused)?;
    let loopback = bound.ip().to_canonical().is_loopback();
    let path = websocket
        .as_ref()
        .map_or_else(String::new, |websocket| websocket.path.clone());
    let address = ListenerAddress {
        scheme,
        address: bound,
        path,
    };
    let listener = Listener {
        name: address.to_string().into(),
        address,
        anonymous: anonymous.unwrap_or(loopback),
        tls,
        websocket: websocket.map(
            |WebSocketConfig {
                 path,
                 allowed_origins,
             }| {
                Arc::new(UpgradePolicy {
                    path,
                    allowed_origins,
                    loopback,
                })
            },
        ),
    };
    Ok((socket, Arc::new(listener)))
}

/// TCP asks a peer that has been silent for so long whether it is still there…
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(120);
/// …and so often, until the system's number of questions (nine, where nobody changed it) is without
/// an answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for old connections to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Inherited by the sockets it accepts, which saves them the call.
    socket.set_tcp_nodelay(true)?;
    // Whoever is gone without a word and has no Keep Alive is noticed by it.
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_IDLE)
        .with_interval(KEEP_ALIVE_INTERVAL);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
