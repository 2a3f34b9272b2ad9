//! Puts the threads together and takes them apart again.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};

use nexum_core::{ExtensionId, Input, Limits, Shard, ShardId};
use nexum_extension_host::Composed;
use nexum_storage::{Store, StoreEvent, StoreThread, ThreadOptions};
use tokio::sync::oneshot;

use crate::acceptor::{Acceptor, BoundSockets, StopAccepting};
use crate::authenticate::{AuthenticationPool, Authenticator};
use crate::extension_host::{HostLetter, HostMailbox, HostThread, HostThreadParts};
use crate::guard::guarded;
use crate::handle::{Handle, Shared};
use crate::keeper::{Keeper, Keepers};
use crate::listener::{BindError, ListenerConfig, bind};
use crate::metrics::{AcceptMetrics, ShardMetrics};
use crate::post::PostOffice;
use crate::ready::Doorbell;
use crate::recovery::{self, RecoveryError};
use crate::shard_loop::ShardLoop;

/// What a server is made of.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where it listens.
    pub listeners: Vec<ListenerConfig>,
    /// How many shards, that is threads that handle connections; `None`: one for each processor.
    pub shards: Option<usize>,
    /// The bounds of everything.
    pub limits: Arc<Limits>,
    /// Who checks user names and passwords. `None`: nobody, they mean nothing.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// Different at each start and not to be guessed: hash tables are laid out by it.
    pub seed: u64,
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listeners", &self.listeners)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

/// A server whose addresses are bound: clients can connect and wait to be accepted.
pub struct Server {
    sockets: BoundSockets,
    stopped: oneshot::Receiver<()>,
    doorbells: Vec<Arc<Doorbell>>,
    shared: Arc<Shared>,
    shards: Vec<Shard>,
    store: Store,
    extensions: Vec<Composed>,
    seed: u64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.shared.listeners)
            .finish_non_exhaustive()
    }
}

/// Why there is no server.
#[derive(Debug)]
pub enum ServerError {
    /// An address or a certificate cannot be used.
    Bind(BindError),
    /// What was kept cannot be used.
    Recovery(RecoveryError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Bind(error) => write!(f, "{error}"),
            ServerError::Recovery(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ServerError {}

/// Why a server ended other than by being told to.
#[derive(Debug)]
pub enum RunError {
    /// A thread or its runtime could not be made.
    Threads(io::Error),
    /// A thread gave up; the message says which and why.
    Died(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Threads(error) => write!(f, "cannot start: {error}"),
            RunError::Died(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RunError {}

impl Server {
    /// Binds every address and loads every certificate, so that what is wrong with them is known
    /// before anything runs; then takes back what the store has kept.
    ///
    /// # Errors
    /// The first address or certificate that cannot be used, or what is wrong with the store.
    pub fn bind(
        config: ServerConfig,
        mut store: Store,
        mut extensions: Vec<Composed>,
    ) -> Result<Server, ServerError> {
        let ServerConfig {
            listeners,
            shards,
            limits,
            authenticator,
            seed,
        } = config;
        let sockets = listeners
            .into_iter()
            .map(bind)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ServerError::Bind)?;
        let shards = shards
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, |number| number.get()))
            .clamp(1, usize::from(u16::MAX));
        let (restored, clock) =
            recovery::restore(&mut store, shards as u16, &limits, seed, &mut extensions)
                .map_err(ServerError::Recovery)?;
        let doorbells: Vec<_> = (0..shards).map(|_| Arc::new(Doorbell::default())).collect();
        let (stop_accepting, stopped) = StopAccepting::new();
        let shared = Arc::new(Shared {
            clock,
            limits,
            post_office: PostOffice::new(doorbells.iter()),
            listeners: sockets
                .iter()
                .map(|(_, listener)| Arc::clone(listener))
                .collect(),
            authenticator,
            shards: (0..shards).map(|_| ShardMetrics::default()).collect(),
            accept: AcceptMetrics::default(),
            stop_accepting,
            store: OnceLock::new(),
            hosts: extensions
                .iter()
                .map(|_| Arc::new(HostMailbox::default()))
                .collect(),
        });
        Ok(Server {
            sockets,
            stopped,
            doorbells,
            shared,
            shards: restored,
            store,
            extensions,
            seed,
        })
    }

    /// The way to the server once it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses one of them.
    pub fn start(self) -> Result<Running, RunError> {
        let Server {
            sockets,
            stopped,
            doorbells,
            shared,
            mut shards,
            store,
            extensions,
            seed,
        } = self;
        let handle = Handle::new(Arc::clone(&shared));
        let (ended, ends) = mpsc::channel();
        let options = ThreadOptions::default();
        let store = StoreThread::start(store, options, Box::new(|event| tell(&event)))
            .map_err(RunError::Threads)?;
        let keepers = Keepers::start(&store, &shared.post_office).map_err(RunError::Threads)?;
        let mut hosts = Vec::with_capacity(extensions.len());
        for (place, composed) in extensions.into_iter().enumerate() {
            let id = ExtensionId(place as u8);
            let name = composed.extension.name();
            let parts = HostThreadParts {
                id,
                composed,
                mailbox: Arc::clone(&shared.hosts[place]),
                post_office: Arc::clone(&shared.post_office),
                clock: shared.clock,
                seed,
            };
            let mut host = HostThread::new(parts, &store);
            let captures = host
                .begin()
                .map_err(|panic| RunError::Died(panicked(name, &panic)))?;
            for shard in &mut shards {
                let outputs = captures.clone();
                let extension = id;
                shard.handle(Input::Extension { extension, outputs }, shared.clock.now());
            }
            hosts.push((name, Arc::clone(&shared.hosts[place]), host));
        }
        // Only here, and once.
        let _first = shared.store.set(store.watcher());
        let mut running = Running {
            handle,
            ends,
            threads: Vec::new(),
            hosts: Vec::new(),
            store: None,
        };
        let authentication = shared
            .authenticator
            .as_ref()
            .map(|authenticator| AuthenticationPool::start(authenticator, &shared.post_office))
            .transpose()
            .map_err(RunError::Threads)?;
        let mut accepting = Some((sockets, stopped));
        let ids = shared.post_office.shards();
        for ((id, doorbell), shard) in ids.zip(doorbells).zip(shards) {
            let own = ShardParts {
                id,
                shard,
                doorbell,
                shared: Arc::clone(&shared),
                authentication: authentication.clone(),
                keeper: keepers.keeper(&store, id),
            };
            // The first of them accepts for all.
            let accepting = accepting.take();
            running.spawn(format!("shard-{}", id.0), &ended, move || {
                run_shard(own, accepting)
            })?;
        }
        for (name, mailbox, host) in hosts {
            running.host(name, mailbox, host)?;
        }
        running.store = Some(store);
        Ok(running)
    }

    /// Starts the threads and waits until the server was shut down.
    ///
    /// # Errors
    /// If a thread cannot be started or gives up.
    pub fn run(self) -> Result<(), RunError> {
        self.start()?.join()
    }
}

fn panicked(name: &str, panic: &str) -> String {
    format!("the extension '{name}' panicked: {panic}")
}

/// The thread of an extension.
#[derive(Debug)]
struct RunningHost {
    mailbox: Arc<HostMailbox>,
    thread: JoinHandle<Result<(), String>>,
}

/// A server at work.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    ends: mpsc::Receiver<Result<(), String>>,
    threads: Vec<JoinHandle<()>>,
    /// Ended when the shards have.
    hosts: Vec<RunningHost>,
    /// Closed when nobody submits any more.
    store: Option<StoreThread>,
}

impl Running {
    /// Waits until the server was shut down.
    ///
    /// # Errors
    /// If a thread gave up: then the others were shut down, too.
    pub fn join(self) -> Result<(), RunError> {
        let mut outcome = Ok(());
        for _ in &self.threads {
            let end = self
                .ends
                .recv()
                .expect("a thread reports its end before it ends");
            if let Err(what) = end {
                tracing::error!("{what}");
                self.handle.shut_down();
                outcome = outcome.and(Err(RunError::Died(what)));
            }
        }
        for thread in self.threads {
            thread.join().expect("the thread's body is guarded");
        }
        for RunningHost { mailbox, thread } in self.hosts {
            mailbox.post(HostLetter::ShutDown);
            if let Err(what) = thread.join().expect("the thread's body is guarded") {
                tracing::error!("{what}");
                outcome = outcome.and(Err(RunError::Died(what)));
            }
        }
        if let Some(store) = self.store
            && let Err(error) = store.close()
        {
            tracing::error!("the last changes are not stored: {error}");
        }
        outcome
    }

    /// Starts the thread of an extension. If it gives up, so does the server: what it has promised is
    /// in the store.
    fn host(
        &mut self,
        name: &'static str,
        mailbox: Arc<HostMailbox>,
        host: HostThread,
    ) -> Result<(), RunError> {
        let handle = self.handle.clone();
        let spawned = thread::Builder::new().name(name.into()).spawn(move || {
            let outcome = guarded(|| host.run());
            if outcome.is_err() {
                handle.shut_down();
            }
            outcome.map_err(|panic| panicked(name, &panic))
        });
        match spawned {
            Ok(thread) => {
                self.hosts.push(RunningHost { mailbox, thread });
                Ok(())
            }
            Err(error) => {
                self.handle.shut_down();
                Err(RunError::Threads(error))
            }
        }
    }

    fn spawn(
        &mut self,
        name: String,
        ended: &mpsc::Sender<Result<(), String>>,
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), RunError> {
        let ended = ended.clone();
        let spawned = thread::Builder::new().name(name.clone()).spawn(move || {
            let outcome = guarded(body).unwrap_or_else(|panic| Err(format!("panicked: {panic}")));
            // Nobody listens if the server was dropped instead of joined.
            let _ = ended.send(outcome.map_err(|what| format!("{name} died: {what}")));
        });
        match spawned {
            Ok(thread) => {
                self.threads.push(thread);
                Ok(())
            }
            Err(error) => {
                self.handle.shut_down();
                Err(RunError::Threads(error))
            }
        }
    }
}

/// What the operator should know of the store.
fn tell(event: &StoreEvent) {
    match event {
        StoreEvent::Failed(why) => tracing::error!("the store failed: {why}"),
        StoreEvent::Reopened => tracing::info!("the store was reopened and verified"),
        StoreEvent::ReopenFailed(why) => {
            tracing::error!("the store cannot be reopened, it is tried again: {why}");
        }
        StoreEvent::Full => tracing::warn!("there is no room in the data directory"),
        StoreEvent::CheckpointFailed(why) => {
            tracing::error!("the tables are not brought up to date, it is tried again: {why}");
        }
    }
}

/// What the task of a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) id: ShardId,
    pub(crate) shard: Shard,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) authentication: Option<AuthenticationPool>,
    pub(crate) keeper: Keeper,
}

fn run_shard(
    parts: ShardParts,
    accepting: Option<(BoundSockets, oneshot::Receiver<()>)>,
) -> Result<(), String> {
    let ShardId(number) = parts.id;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| format!("shard {number} has no runtime: {error}"))?;
    if let Some((sockets, stopped)) = accepting {
        let _entered = runtime.enter();
        let acceptor = Acceptor::new(sockets, stopped, Arc::clone(&parts.shared))
            .map_err(|error| format!("the listening sockets cannot be watched: {error}"))?;
        runtime.spawn(tokio::task::unconstrained(acceptor));
    }
    // Without a budget: the loop bounds its turns itself.
    runtime.block_on(tokio::task::unconstrained(ShardLoop::new(parts)))
}
