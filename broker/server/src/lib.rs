//! The shell around the core: listeners, threads, TLS, WebSocket, authentication, numbers.
//!
//! A [`Server`] binds its addresses, then runs: for each shard a thread that owns its connections
//! and a [`Shard`](nexum_core::Shard) of the core; the first of them accepts for all. The shell
//! reads bytes and the clock and writes bytes; every decision about MQTT is the core's. Costs are
//! per wake-up, never per message. A [`Handle`] steers it from outside.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nexum_core::Limits;
//! use nexum_storage::{Options, Store};
//! use nexum_server::{ListenerConfig, ListenerTransport, Server, ServerConfig};
//!
//! let listener = ListenerConfig {
//!     address: ([127, 0, 0, 1], 0).into(),
//!     transport: ListenerTransport::Tcp,
//!     anonymous: None,
//! };
//! let config = ServerConfig {
//!     listeners: vec![listener],
//!     shards: Some(1),
//!     limits: Arc::new(Limits::default()),
//!     authenticator: None,
//!     seed: 7,
//! };
//! let server = Server::bind(config, Store::in_memory(Options::default()), Vec::new())?;
//! let handle = server.handle();
//! assert_eq!(handle.listeners()[0].scheme, "tcp");
//! let running = server.start()?;
//! handle.shut_down();
//! running.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod acceptor;
mod admission;
mod authenticate;
mod certificate;
mod clock;
mod extension_host;
mod fair_line;
mod guard;
mod handle;
mod keeper;
mod listener;
mod mailbox;
mod metrics;
mod password_file;
mod post;
mod ready;
mod recovery;
mod server;
mod shard_loop;
mod socket;
mod tls_config;
mod transport;

pub use authenticate::Authenticator;
pub use handle::{Handle, ReloadError};
pub use listener::{
    BindError, ListenerAddress, ListenerConfig, ListenerTransport, WebSocketConfig,
};
pub use metrics::{
    AcceptSnapshot, LATENCY_BOUNDS_MICROSECONDS, LatencyHistogram, Load, MetricsSnapshot,
    ShardSnapshot, StoreSnapshot,
};
pub use nexum_extension_host::{Composed, RestoreError};
pub use password_file::{PasswordFile, PasswordFileError};
pub use recovery::RecoveryError;
pub use server::{RunError, Running, Server, ServerConfig, ServerError};
pub use tls_config::{TlsConfig, TlsError};
