//! Puts the parts together, lets them run, and takes them apart.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nexum_admin::{Admin, Source};
use nexum_core::Limits;
use nexum_server::{
    Authenticator, BindError, Handle, ListenerConfig, ListenerTransport, MetricsSnapshot,
    PasswordFile, PasswordFileError, RunError, Server, ServerConfig, TlsError, WebSocketConfig,
};
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
    /// A listener cannot be had.
    Bind(BindError),
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
            StartError::Bind(error) => write!(f, "{error}"),
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
            StartError::Bind(_)
            | StartError::Admin { .. }
            | StartError::System(_)
            | StartError::Run(_),
        ) => ExitCode::FAILURE,
    }
}

fn serve(config: &Config) -> Result<(), StartError> {
    allow_open_files(&config.limits);
    let users = check_files(config).map_err(StartError::File)?;
    let server = Server::bind(ServerConfig {
        listeners: config
            .listeners
            .iter()
            .map(|address| listener(address, config))
            .collect(),
        shards: config.shards.map(|shards| usize::from(shards.get())),
        limits: Arc::new(config.limits.clone()),
        authenticator: users.map(|users| Arc::new(users) as Arc<dyn Authenticator>),
        seed: random_seed(),
    })
    .map_err(StartError::Bind)?;

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
