//! The way to a running server from any thread.

use std::fmt;
use std::sync::{Arc, OnceLock};

use nexum_core::{Input, Limits, ShardId};
use nexum_storage::StoreWatcher;
use nexum_types::QoS;

use crate::acceptor::StopAccepting;
use crate::authenticate::Authenticator;
use crate::clock::Clock;
use crate::extension_host::HostMailbox;
use crate::listener::{Listener, ListenerAddress};
use crate::metrics::{AcceptMetrics, MetricsSnapshot, ShardMetrics, StoreSnapshot};
use crate::post::{Letter, PostOffice};

/// What all threads of a server share. None of it is touched for a message.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) limits: Arc<Limits>,
    pub(crate) post_office: Arc<PostOffice>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) shards: Vec<ShardMetrics>,
    pub(crate) accept: AcceptMetrics,
    pub(crate) stop_accepting: StopAccepting,
    /// Known when the server runs.
    pub(crate) store: OnceLock<StoreWatcher>,
    /// The mailboxes of the extensions.
    pub(crate) hosts: Vec<Arc<HostMailbox>>,
}

/// Steers a server and reads its numbers. Cheap to clone; it outlives the server harmlessly.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("listeners", &self.shared.listeners)
            .finish_non_exhaustive()
    }
}

/// What could not be reloaded. Everything else was.
#[derive(Debug)]
pub struct ReloadError {
    failures: Vec<String>,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failures.join("; "))
    }
}

impl std::error::Error for ReloadError {}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Handle {
        Handle { shared }
    }

    /// Where the server listens, with the real ports, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerAddress> {
        self.shared
            .listeners
            .iter()
            .map(|listener| listener.address.clone())
            .collect()
    }

    /// The numbers of a moment at most a quarter of a second ago.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let Shared {
            clock,
            post_office,
            shards,
            accept,
            ..
        } = &*self.shared;
        let of_shard = |id: ShardId| {
            let mut snapshot = shards[usize::from(id.0)].load();
            snapshot.mailbox_bytes = post_office.mailbox(id).weight_bytes() as u64;
            snapshot
        };
        MetricsSnapshot {
            uptime: clock.uptime(),
            store: self.shared.store.get().and_then(|store| {
                let (statistics, usage) = store.statistics()?;
                Some(StoreSnapshot { statistics, usage })
            }),
            shards: post_office.shards().map(of_shard).collect(),
            accept: accept.load(),
            extensions: self
                .shared
                .hosts
                .iter()
                .flat_map(|host| host.ask_for_gauges())
                .collect(),
        }
    }

    /// Reads certificates and the password file again, blocking. Connections that are there stay;
    /// new ones meet what was read. What cannot be read or used stays as it was.
    ///
    /// # Errors
    /// What could not be reloaded; it is logged as well.
    pub fn reload(&self) -> Result<(), ReloadError> {
        let mut failures = Vec::new();
        for listener in &self.shared.listeners {
            if let Some(Err(error)) = listener.tls.as_ref().map(|tls| tls.reload()) {
                failures.push(format!("listener {}: {error}", listener.name));
            }
        }
        if let Some(Err(error)) = self.shared.authenticator.as_ref().map(|it| it.reload()) {
            failures.push(error);
        }
        if failures.is_empty() {
            tracing::info!("certificates and users reloaded");
            return Ok(());
        }
        for failure in &failures {
            tracing::error!("not reloaded, what was there stays: {failure}");
        }
        Err(ReloadError { failures })
    }

    /// Publishes a message of the broker's own, for example to `$SYS`.
    pub fn publish(&self, topic: String, payload: Vec<u8>, qos: QoS, retain: bool) {
        // Which shard does it is of no account: it reaches the subscribers of all.
        let input = Input::Publish {
            topic,
            payload,
            qos,
            retain,
        };
        self.shared
            .post_office
            .mailbox(ShardId(0))
            .post(Letter::Input(input));
    }

    /// Ends the server: nothing is accepted any more, clients are told and get what waits for
    /// them, for a few seconds at most. Returns at once; [`Server::run`](crate::Server::run) and
    /// [`Running::join`](crate::Running::join) return when it is done. May be called twice.
    pub fn shut_down(&self) {
        self.shared.stop_accepting.stop();
        for shard in self.shared.post_office.shards() {
            self.shared
                .post_office
                .mailbox(shard)
                .post(Letter::ShutDown);
        }
    }
}
