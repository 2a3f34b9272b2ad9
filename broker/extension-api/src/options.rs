//! The one vocabulary of options, however they were spelt: `$opt/<key>=<value>,…/` on 3.1.1, User
//! Properties on 5.

use std::fmt;
use std::time::Duration;

use crate::span::{SpanError, parse_duration};

/// The longest `id` or `key`, in bytes.
const LONGEST_TEXT: usize = 1024;

/// What a client asked for beside its topic and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `delay`: not before so long.
    pub delay: Option<Duration>,
    /// `prio`: 0 to 255, higher first.
    pub priority: Option<u8>,
    /// `ttl`: worth nothing after so long.
    pub time_to_live: Option<Duration>,
    /// `id`: a repeat within a window is acknowledged and dropped.
    pub id: Option<Box<str>>,
    /// `key`: for order and compaction.
    pub key: Option<Box<str>>,
    /// `rev`: only if the present revision is this.
    pub revision: Option<u64>,
    /// `nx`: only if there is nothing yet.
    pub create_only: Option<bool>,
    /// `from`: where to start reading.
    pub from: Option<Box<str>>,
    /// `filter`: a FilterQuery.
    pub filter: Option<Box<str>>,
}

/// Why an option is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// There is no such key.
    Unknown(Box<str>),
    /// The key was given before.
    Twice(&'static str),
    /// The value is not what the key takes.
    Value {
        /// Which key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// The value is no duration.
    Span {
        /// Which key.
        key: &'static str,
        /// Why.
        error: SpanError,
    },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Unknown(key) => write!(
                f,
                "there is no option '{key}'; there are delay, prio, ttl, id, key, rev, nx, from and \
                 filter"
            ),
            OptionError::Twice(key) => write!(f, "the option '{key}' is there twice"),
            OptionError::Value { key, expected } => {
                write!(f, "the option '{key}' takes {expected}")
            }
            OptionError::Span { key, error } => write!(f, "the option '{key}': {error}"),
        }
    }
}

impl std::error::Error for OptionError {}

impl Options {
    /// The keys there are.
    pub const KEYS: [&'static str; 9] = [
        "delay", "prio", "ttl", "id", "key", "rev", "nx", "from", "filter",
    ];

    /// Whether a key is one of them.
    #[must_use]
    pub fn is_key(key: &str) -> bool {
        Options::KEYS.contains(&key)
    }

    /// Takes one more.
    ///
    /// # Errors
    /// There is no such key, it was set before, or its value is wrong.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        match key {
            "delay" => once(&mut self.delay, "delay", span("delay", value)?),
            "prio" => {
                let priority = number(value).and_then(|number| u8::try_from(number).ok());
                let priority = priority.ok_or(OptionError::Value {
                    key: "prio",
                    expected: "a number from 0 to 255",
                })?;
                once(&mut self.priority, "prio", priority)
            }
            "ttl" => once(&mut self.time_to_live, "ttl", span("ttl", value)?),
            "id" => once(&mut self.id, "id", text("id", value)?),
            "key" => once(&mut self.key, "key", text("key", value)?),
            "rev" => {
                let revision = number(value).ok_or(OptionError::Value {
                    key: "rev",
                    expected: "a revision, which is a whole number",
                })?;
                once(&mut self.revision, "rev", revision)
            }
            "nx" => {
                let create_only = match value {
                    "" | "1" | "true" => true,
                    "0" | "false" => false,
                    _ => {
                        return Err(OptionError::Value {
                            key: "nx",
                            expected: "1 or 0",
                        });
                    }
                };
                once(&mut self.create_only, "nx", create_only)
            }
            "from" => once(&mut self.from, "from", Box::from(value)),
            "filter" => once(&mut self.filter, "filter", Box::from(value)),
            _ => Err(OptionError::Unknown(Box::from(key))),
        }
    }

    /// The first key that is set and is not among those.
    #[must_use]
    pub fn first_beyond(&self, keys: &[&str]) -> Option<&'static str> {
        let set = [
            ("delay", self.delay.is_some()),
            ("prio", self.priority.is_some()),
            ("ttl", self.time_to_live.is_some()),
            ("id", self.id.is_some()),
            ("key", self.key.is_some()),
            ("rev", self.revision.is_some()),
            ("nx", self.create_only.is_some()),
            ("from", self.from.is_some()),
            ("filter", self.filter.is_some()),
        ];
        set.into_iter()
            .find(|(key, is_set)| *is_set && !keys.contains(key))
            .map(|(key, _)| key)
    }
}

fn once<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), OptionError> {
    if slot.is_some() {
        return Err(OptionError::Twice(key));
    }
    *slot = Some(value);
    Ok(())
}

fn span(key: &'static str, value: &str) -> Result<Duration, OptionError> {
    parse_duration(value).map_err(|error| OptionError::Span { key, error })
}

/// Digits alone: no sign, no blank.
fn number(value: &str) -> Option<u64> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().ok()).flatten()
}

fn text(key: &'static str, value: &str) -> Result<Box<str>, OptionError> {
    if value.is_empty() || value.len() > LONGEST_TEXT {
        return Err(OptionError::Value {
            key,
            expected: "1 to 1024 bytes",
        });
    }
    Ok(Box::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_taken_once() {
        let mut options = Options::default();
        for (key, value) in [
            ("delay", "30s"),
            ("prio", "255"),
            ("ttl", "1h"),
            ("id", "a,b"),
            ("key", "eu"),
            ("rev", "17"),
            ("nx", "1"),
            ("from", "earliest"),
            ("filter", "{}"),
        ] {
            assert_eq!(options.set(key, value), Ok(()));
            assert!(matches!(
                options.set(key, value),
                Err(OptionError::Twice(twice)) if twice == key
            ));
        }
        assert_eq!(options.priority, Some(255));
        assert_eq!(options.delay, Some(Duration::from_secs(30)));
        assert_eq!(options.first_beyond(&Options::KEYS), None);
        assert_eq!(options.first_beyond(&["delay", "prio"]), Some("ttl"));
    }

    #[test]
    fn values_are_checked() {
        for (key, value) in [
            ("prio", "256"),
            ("prio", "-1"),
            ("prio", "+1"),
            ("prio", ""),
            ("prio", "high"),
            ("delay", "soon"),
            ("ttl", "1w"),
            ("rev", "1.0"),
            ("rev", "99999999999999999999"),
            ("nx", "yes"),
            ("id", ""),
            ("priority", "1"),
        ] {
            let error = Options::default().set(key, value);
            let text = error.expect_err(value).to_string();
            assert!(text.contains(key), "{text}");
        }
    }
}
