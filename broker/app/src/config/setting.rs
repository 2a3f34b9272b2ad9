//! One value that somebody set: what was written, and where.

use std::fmt;
use std::sync::Arc;

use serde_json::Map;

/// Where a value came from: what an error message has to name so that its reader can act.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A line of the configuration file.
    File {
        /// The file as its reader named it.
        file: Arc<str>,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: Arc<str>,
    },
    /// An option of the command line, with its argument.
    CommandLine {
        /// As it was given, such as `--set log.level=debug`.
        option: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Environment { variable } => f.write_str(variable),
            Origin::CommandLine { option } => f.write_str(option),
        }
    }
}

/// A value that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    /// The value's own text, for messages.
    pub(crate) written: String,
    pub(crate) origin: Origin,
}

/// What was written, before anybody asks what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Setting>),
    /// A table with everything in it, for what has keys of its own.
    Table(Map<String, serde_json::Value>),
    /// Forms of TOML that no key takes alone: floats, dates, integers beyond 64 bits.
    Unused,
    /// From the environment or the command line. It has no type of its own: the key it is for
    /// decides how to read it.
    Text(String),
}

impl Setting {
    /// A value given as plain text, by the environment or the command line.
    pub(crate) fn from_text(text: String, origin: Origin) -> Setting {
        Setting {
            written: text.clone(),
            value: Value::Text(text),
            origin,
        }
    }

    /// A list of which each element was given by an option of its own; there is at least one.
    pub(crate) fn from_list(elements: Vec<Setting>) -> Setting {
        let first = elements.first().expect("an option was given");
        Setting {
            written: first.written.clone(),
            origin: first.origin.clone(),
            value: Value::Array(elements),
        }
    }

    /// How a message shows the value: what was written, cut to one short line.
    pub(crate) fn shown(&self) -> String {
        const LONGEST_CHARACTERS: usize = 60;
        let first_line = self.written.lines().next().unwrap_or("").trim();
        if first_line.is_empty() {
            return "empty".to_owned();
        }
        if first_line.len() == self.written.trim().len()
            && first_line.chars().count() <= LONGEST_CHARACTERS
        {
            return first_line.to_owned();
        }
        let start: String = first_line.chars().take(LONGEST_CHARACTERS).collect();
        format!("{start}…")
    }
}

/// What is wrong with the configuration, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConfigError {
    /// `None` where no single value is at fault.
    pub(crate) origin: Option<Origin>,
    pub(crate) message: String,
}

impl ConfigError {
    pub(crate) fn at(origin: &Origin, message: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: Some(origin.clone()),
            message: message.into(),
        }
    }

    pub(crate) fn nowhere(message: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
