//! What the program is told to do, from the file, the environment and the command line.
//!
//! Two forms: [`RawConfig`] is what was written, wherever it was written; [`Config`] is what the
//! program means, valid as a whole. Between them stands [`read`], the one list of sections and
//! keys. `config.toml` at the root documents each key; a test keeps the two together.

mod extensions;
mod limits;
mod listen;
mod listeners;
mod nearest;
mod quantity;
mod raw;
mod reader;
mod setting;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexum_core::Limits;
use nexum_server::TlsConfig;
use nexum_storage::Durability;

pub(crate) use self::listen::{ListenAddress, Transport};
use self::raw::RawConfig;
use self::reader::{KnownKeys, Reader};
pub(crate) use self::setting::ConfigError;
use self::setting::{Origin, Setting};

/// What the program is told to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Where everything durable is kept.
    pub(crate) data_dir: PathBuf,
    pub(crate) storage: Storage,
    /// How many shards; `None` is one for each processor.
    pub(crate) shards: Option<NonZeroU16>,
    pub(crate) listeners: Vec<ListenAddress>,
    /// Web pages of other hosts that may connect by WebSocket.
    pub(crate) allowed_origins: Vec<String>,
    /// Present if there is a certificate for encrypted listeners to show.
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) anonymous: Anonymous,
    /// Between two reports under `$SYS/broker`; 0 is never.
    pub(crate) sys_interval_seconds: u32,
    pub(crate) limits: Limits,
    /// What is published later.
    pub(crate) delayed: nexum_delay::Settings,
    /// Work queues.
    pub(crate) queues: nexum_queue::Settings,
    /// Buckets of keys and values.
    pub(crate) buckets: nexum_kv::Settings,
    /// Where the administration listens; `None` is nowhere.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

/// How it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) durability: Durability,
    /// What the log and everything in the tables may have together; 0 is what the disk has.
    pub(crate) disk_budget_bytes: u64,
    /// Opens what is otherwise refused because something was lost.
    pub(crate) salvage: bool,
}

/// Who may connect without a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// Clients of listeners on loopback addresses.
    Loopback,
    Everybody,
    Nobody,
}

/// The least severe events that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: PathBuf::from("data"),
            storage: Storage {
                durability: Durability::Fsync,
                disk_budget_bytes: 0,
                salvage: false,
            },
            shards: None,
            listeners: ["tcp://127.0.0.1:1883", "ws://127.0.0.1:8083/mqtt"]
                .map(|address| ListenAddress::parse(address).expect("written well"))
                .to_vec(),
            allowed_origins: Vec::new(),
            tls: None,
            password_file: None,
            anonymous: Anonymous::Loopback,
            sys_interval_seconds: 10,
            limits: Limits::default(),
            delayed: nexum_delay::Settings::default(),
            queues: nexum_queue::Settings::default(),
            buckets: nexum_kv::Settings::default(),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

/// Everything that may say what the configuration is, the weakest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// `--config`; without one `config.toml` in the working directory is read if there is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// `--set`, in order.
    pub(crate) assignments: Vec<String>,
    /// `--listen`, in order: together they replace the configured listeners.
    pub(crate) listen: Vec<String>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<String>,
}

impl Config {
    /// Gathers the configuration from all its sources.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(sources: &Sources) -> Result<Config, Vec<ConfigError>> {
        let mut raw = RawConfig::default();
        let mut errors = Vec::new();
        let path = sources.file.clone().or_else(|| {
            let usual = PathBuf::from("config.toml");
            usual.exists().then_some(usual)
        });
        let mut directory = PathBuf::new();
        if let Some(path) = path {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let file: Arc<str> = path.to_string_lossy().into();
                    errors.extend(raw.merge_toml(&file, &text));
                    directory = path.parent().unwrap_or(Path::new("")).to_owned();
                }
                Err(error) => errors.push(ConfigError::nowhere(format!(
                    "cannot read the configuration file {}: {error}",
                    path.display()
                ))),
            }
        }
        errors.extend(merge_environment(&mut raw, &sources.environment));
        for assignment in &sources.assignments {
            errors.extend(raw.merge_assignment(assignment).err());
        }
        merge_options(&mut raw, sources);
        // Half of what was written is no ground to judge it on.
        if !errors.is_empty() {
            return Err(errors);
        }

        let (config, _, errors) = read(&raw, &directory);
        if errors.is_empty() {
            Ok(config)
        } else {
            Err(errors)
        }
    }
}

fn merge_environment(raw: &mut RawConfig, all: &[(OsString, OsString)]) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut variables = Vec::new();
    for (variable, value) in all {
        let Some(variable) = variable.to_str() else {
            continue;
        };
        match value.to_str() {
            Some(value) => variables.push((variable.to_owned(), value.to_owned())),
            None if variable.starts_with(raw::ENVIRONMENT_PREFIX) => {
                let origin = Origin::Environment {
                    variable: variable.into(),
                };
                errors.push(ConfigError::at(
                    &origin,
                    "is not UTF-8; use a value that is",
                ));
            }
            None => {}
        }
    }
    // The environment has no order of its own; messages should have one.
    variables.sort();
    errors.extend(raw.merge_environment(variables));
    errors
}

/// Takes in the options that set one key each.
fn merge_options(raw: &mut RawConfig, sources: &Sources) {
    if let Some(directory) = &sources.data_dir {
        let origin = Origin::CommandLine {
            option: format!("--data-dir {directory}").into(),
        };
        raw.set(
            "server",
            "data_dir",
            Setting::from_text(directory.clone(), origin),
        );
    }
    if !sources.listen.is_empty() {
        let addresses = sources.listen.iter().map(|address| {
            let origin = Origin::CommandLine {
                option: format!("--listen {address}").into(),
            };
            Setting::from_text(address.clone(), origin)
        });
        raw.set(
            "listeners",
            "listen",
            Setting::from_list(addresses.collect()),
        );
    }
}

/// Reads every key there is, and checks what no key can tell alone.
fn read(raw: &RawConfig, directory: &Path) -> (Config, KnownKeys, Vec<ConfigError>) {
    let mut config = Config::default();
    let mut reader = Reader::new(raw, directory);

    let mut server = reader.section("server");
    server.path("data_dir", &mut config.data_dir);
    server.count("shards", 0..=1024, &mut config.shards);

    let Storage {
        durability,
        disk_budget_bytes,
        salvage,
    } = &mut config.storage;
    let mut storage = reader.section("storage");
    storage.choice(
        "durability",
        &[
            ("fsync", Durability::Fsync),
            ("os", Durability::Os),
            ("memory", Durability::Memory),
        ],
        durability,
    );
    storage.bytes("disk_budget_bytes", 0..=1 << 60, disk_budget_bytes);
    storage.boolean("salvage", salvage);

    listeners::read(&mut reader, &mut config);

    limits::read(&mut reader, &mut config);
    extensions::read(&mut reader, &mut config);

    let mut admin = reader.section("admin");
    admin.parsed(
        "listen",
        "an IP address and a port, such as \"127.0.0.1:8080\", or \"\" for none",
        |text| match text {
            "" => Some(None),
            _ => text.parse().ok().map(Some),
        },
        &mut config.admin,
    );

    let mut log = reader.section("log");
    log.choice(
        "level",
        &[
            ("off", LogLevel::Off),
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ],
        &mut config.log_level,
    );
    log.choice(
        "format",
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        &mut config.log_format,
    );

    let (known, errors) = reader.finish();
    (config, known, errors)
}
