//! Puts the parts together, lets them run, and takes them apart.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nexum_admin::{Admin, Source};
use nexum_core::Limits;
use nexum_delay::Delay;
use nexum_kv::Buckets;
use nexum_queue::Queues;
use nexum_server::{
    Authenticator, Composed, Handle, ListenerConfig, ListenerTransport, MetricsSnapshot,
    PasswordFile, PasswordFileError, RunError, Server, ServerConfig, ServerError, TlsError,
    WebSocketConfig,
};
use nexum_storage::{DirectoryError, Durability, OpenError, Options, Progress, RealDisk, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Anonymous, Config, ListenAddress, Transport};
use crate::log;
use crate::steward::Steward;
use crate::{NONSENSE, VERSION};

/// Why the broker does not run.
#[derive(Debug)]
enum StartError {
    /// A file that the configuration names cannot be used.
    File(FileError),
    /// The data directory cannot be used.
    Directory(DirectoryError),
    /// What is in it cannot be used.
    Store(OpenError),
    /// A listener cannot be had, or what was kept cannot be used.
    Server(ServerError),
    /// The administration's address cannot be had.
    Admin {
        address: SocketAddr,
        error: std::io::Error,
    },
    /// No threads or signals to be had.
    System(std::io::Error),
    /// The server did not start, or ended by itself.
    Run(RunError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::File(error) => write!(f, "{error}"),
            StartError::Directory(error) => write!(f, "'data_dir' in [server]: {error}"),
            StartError::Store(error) => write!(f, "the data directory: {error}"),
            StartError::Server(error) => write!(f, "{error}"),
            StartError::Admin { address, error } => {
                write!(
                    f,
                    "the administration cannot listen on {address}: {error}; "
                )?;
                f.write_str("'listen' in [admin] sets another address, \"\" turns it off")
            }
            StartError::System(error) => write!(f, "cannot start: {error}"),
            StartError::Run(error) => write!(f, "{error}"),
        }
    }
}

/// What is wrong with a file that the configuration names.
#[derive(Debug)]
pub(crate) enum FileError {
    /// The certificates of `[tls]`.
    Tls(TlsError),
    /// The users of `[auth]`.
    Password(PasswordFileError),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Tls(error) => write!(f, "[tls]: {error}"),
            FileError::Password(error) => write!(f, "'password_file' in [auth]: {error}"),
        }
    }
}

/// Reads the files that the configuration names: the users, if it names some.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn check_files(config: &Config) -> Result<Option<PasswordFile>, FileError> {
    if let Some(tls) = &config.tls {
        tls.check().map_err(FileError::Tls)?;
    }
    let users = config.password_file.as_ref().map(PasswordFile::open);
    users.transpose().map_err(FileError::Password)
}

/// Runs the broker until it is told to end.
pub(crate) fn run(config: &Config) -> ExitCode {
    let log = match log::start(config.log_level, config.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("nexum: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = serve(config);
    if let Err(error) = &outcome {
        tracing::error!("{error}");
    }
    log.flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::File(_)) => ExitCode::from(NONSENSE),
        Err(
            StartError::Directory(_)
            | StartError::Store(_)
            | StartError::Server(_)
            | StartError::Admin { .. }
            | StartError::System(_)
            | StartError::Run(_),
        ) => ExitCode::FAILURE,
    }
}

fn serve(config: &Config) -> Result<(), StartError> {
    allow_open_files(&config.limits);
    let users = check_files(config).map_err(StartError::File)?;
    let store = open_store(config)?;
    let server_config = ServerConfig {
        listeners: config
            .listeners
            .iter()
            .map(|address| listener(address, config))
            .collect(),
        shards: config.shards.map(|shards| usize::from(shards.get())),
        limits: Arc::new(config.limits.clone()),
        authenticator: users.map(|users| Arc::new(users) as Arc<dyn Authenticator>),
        seed: random_seed(),
    };
    let server =
        Server::bind(server_config, store, extensions(config)).map_err(StartError::Server)?;

    let handle = server.handle();
    let broker = Arc::new(Broker {
        handle: handle.clone(),
        is_ready: AtomicBool::new(false),
    });
    let admin = config
        .admin
        .map(|address| {
            Admin::start(address, VERSION, Arc::clone(&broker) as Arc<dyn Source>)
                .map_err(|error| StartError::Admin { address, error })
        })
        .transpose()?;
    // Before anybody can know that the broker runs, so that no signal is missed.
    let steward = Steward::new(config.sys_interval_seconds).map_err(StartError::System)?;

    let running = server.start().map_err(StartError::Run)?;
    steward
        .start(Arc::clone(&broker))
        .map_err(StartError::System)?;
    broker.is_ready.store(true, Ordering::Relaxed);
    let mut ready = String::from("ready");
    for address in handle.listeners() {
        ready.push_str(&format!(" {address}"));
    }
    if let Some(admin) = &admin {
        ready.push_str(&format!(" http://{}", admin.address()));
    }
    tracing::info!("{ready}");

    let outcome = running.join().map_err(StartError::Run);
    if let Some(admin) = admin {
        admin.stop();
    }
    tracing::info!("ended");
    outcome
}

/// What extends the broker. The tables are theirs for ever.
fn extensions(config: &Config) -> Vec<Composed> {
    vec![
        Composed {
            table: 16,
            extension: Box::new(Queues::new(config.queues.clone())),
        },
        Composed {
            table: 17,
            extension: Box::new(Delay::new(config.delayed)),
        },
        Composed {
            table: 18,
            extension: Box::new(Buckets::new(config.buckets.clone())),
        },
    ]
}

/// Opens what was kept, and logs what was found.
fn open_store(config: &Config) -> Result<Store, StartError> {
    let options = store_options(config);
    if options.durability == Durability::Memory {
        return Ok(Store::in_memory(options));
    }
    let disk = RealDisk::open(&config.data_dir).map_err(StartError::Directory)?;
    let mut told = Instant::now();
    let mut progress = |progress: Progress| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            tracing::info!("reading the log: {progress}");
        }
    };
    let (store, report) =
        Store::open_with(Arc::new(disk), options, &mut progress).map_err(StartError::Store)?;
    tracing::info!("{}: {report}", config.data_dir.display());
    for damage in &report.damage {
        tracing::error!("the log was damaged, and what was there is lost: {damage}");
    }
    Ok(store)
}

fn store_options(config: &Config) -> Options {
    let crate::config::Storage {
        durability,
        disk_budget_bytes,
        salvage,
    } = config.storage;
    let defaults = Options::default();
    // Whatever a packet makes the broker keep is kept at once.
    let packet = config.limits.maximum_packet_size_bytes as usize;
    Options {
        durability,
        disk_budget_bytes: (disk_budget_bytes > 0).then_some(disk_budget_bytes),
        salvage,
        maximum_batch_bytes: defaults.maximum_batch_bytes.max(2 * packet + (8 << 20)),
        ..defaults
    }
}

/// The running broker, as the administration sees it and the steward steers it.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) handle: Handle,
    is_ready: AtomicBool,
}

impl Broker {
    /// Ends it: clients are told and get what waits for them.
    pub(crate) fn shut_down(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
        self.handle.shut_down();
    }
}

impl Source for Broker {
    fn snapshot(&self) -> MetricsSnapshot {
        self.handle.snapshot()
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}

fn listener(address: &ListenAddress, config: &Config) -> ListenerConfig {
    let tls = || {
        config
            .tls
            .clone()
            .expect("an encrypted listener has certificates")
    };
    let websocket = || WebSocketConfig {
        path: address.path.clone(),
        allowed_origins: config.allowed_origins.clone(),
    };
    ListenerConfig {
        address: address.socket,
        transport: match address.transport {
            Transport::Tcp => ListenerTransport::Tcp,
            Transport::Tls => ListenerTransport::Tls(tls()),
            Transport::WebSocket => ListenerTransport::WebSocket(websocket()),
            Transport::SecureWebSocket => ListenerTransport::SecureWebSocket(websocket(), tls()),
        },
        anonymous: match config.anonymous {
            Anonymous::Loopback => None,
            Anonymous::Everybody => Some(true),
            Anonymous::Nobody => Some(false),
        },
    }
}

/// The standard library seeds its own hash maps from the system's randomness; this asks for one of
/// those seeds.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Every connection is an open file, and what a process may open is set lower than what it may ask
/// for, out of regard for programs that use select(2).
fn allow_open_files(limits: &Limits) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // The kernel knows no higher bound than the hard limit: being refused is not to be expected,
    // and what there is then has to do.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current;
    if let Some(files) = files.filter(|files| *files < u64::from(limits.maximum_connections)) {
        tracing::info!(
            "the limit of open files, {files}, is reached before 'maximum_connections' in \
             [limits], {}",
            limits.maximum_connections
        );
    }
}
