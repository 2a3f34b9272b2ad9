//! Puts the threads together and takes them apart again.

use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use nexum_core::{Limits, Shard, ShardConfig, ShardId};
use tokio::sync::oneshot;

use crate::acceptor::{Acceptor, BoundSockets, StopAccepting};
use crate::authenticate::{AuthenticationPool, Authenticator};
use crate::clock::Clock;
use crate::guard::guarded;
use crate::handle::{Handle, Shared};
use crate::listener::{BindError, ListenerConfig, bind};
use crate::metrics::{AcceptMetrics, ShardMetrics};
use crate::post::PostOffice;
use crate::ready::Doorbell;
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
    seed: u64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.shared.listeners)
            .finish_non_exhaustive()
    }
}

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
    /// before anything runs.
    ///
    /// # Errors
    /// The first address or certificate that cannot be used.
    pub fn bind(config: ServerConfig) -> Result<Server, BindError> {
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
            .collect::<Result<Vec<_>, _>>()?;
        let shards = shards
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, |number| number.get()))
            .clamp(1, usize::from(u16::MAX));
        let doorbells: Vec<_> = (0..shards).map(|_| Arc::new(Doorbell::default())).collect();
        let (stop_accepting, stopped) = StopAccepting::new();
        let shared = Arc::new(Shared {
            clock: Clock::start(),
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
        });
        Ok(Server {
            sockets,
            stopped,
            doorbells,
            shared,
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
            seed,
        } = self;
        let handle = Handle::new(Arc::clone(&shared));
        let (ended, ends) = mpsc::channel();
        let mut running = Running {
            handle,
            ends,
            threads: Vec::new(),
        };
        let authentication = shared
            .authenticator
            .as_ref()
            .map(|authenticator| AuthenticationPool::start(authenticator, &shared.post_office))
            .transpose()
            .map_err(RunError::Threads)?;
        let mut accepting = Some((sockets, stopped));
        for (id, doorbell) in shared.post_office.shards().zip(doorbells) {
            let shards = shared.post_office.shard_count();
            let config = ShardConfig {
                id,
                shards,
                limits: Arc::clone(&shared.limits),
                seed,
                authentication_methods: Arc::from([]),
            };
            let shared = Arc::clone(&shared);
            let authentication = authentication.clone();
            // The first of them accepts for all.
            let accepting = accepting.take();
            running.spawn(format!("shard-{}", id.0), &ended, move || {
                run_shard(config, doorbell, shared, authentication, accepting)
            })?;
        }
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

/// A server at work.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    ends: mpsc::Receiver<Result<(), String>>,
    threads: Vec<JoinHandle<()>>,
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
        outcome
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

fn run_shard(
    config: ShardConfig,
    doorbell: Arc<Doorbell>,
    shared: Arc<Shared>,
    authentication: Option<AuthenticationPool>,
    accepting: Option<(BoundSockets, oneshot::Receiver<()>)>,
) -> Result<(), String> {
    let ShardId(number) = config.id;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| format!("shard {number} has no runtime: {error}"))?;
    if let Some((sockets, stopped)) = accepting {
        let _entered = runtime.enter();
        let acceptor = Acceptor::new(sockets, stopped, Arc::clone(&shared))
            .map_err(|error| format!("the listening sockets cannot be watched: {error}"))?;
        runtime.spawn(tokio::task::unconstrained(acceptor));
    }
    let id = config.id;
    let shard = Shard::new(config);
    // Without a budget: the loop bounds its turns itself.
    runtime.block_on(tokio::task::unconstrained(ShardLoop::new(
        id,
        shard,
        doorbell,
        shared,
        authentication,
    )))
}
