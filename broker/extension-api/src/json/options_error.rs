//! Why what is written as JSON is not taken.

use std::borrow::Cow;
use std::fmt;

use crate::span::SpanError;

/// What is wrong with options that are written as JSON, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// It is no JSON.
    Malformed {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// It is JSON, and no object.
    NoObject,
    /// There is no such key.
    Unknown {
        /// As it is written.
        key: Box<str>,
        /// What was meant, perhaps.
        nearest: Option<&'static str>,
        /// All there are.
        known: Box<str>,
    },
    /// The value is of another kind.
    Expected {
        /// Which key.
        key: &'static str,
        /// What it takes.
        expected: Cow<'static, str>,
    },
    /// No number, or one out of range.
    Range {
        /// Which key.
        key: &'static str,
        /// The least it takes.
        least: u64,
        /// The most it takes.
        most: u64,
    },
    /// No time.
    Span {
        /// Which key.
        key: &'static str,
        /// Why.
        error: SpanError,
    },
    /// A time out of range.
    SpanRange {
        /// Which key.
        key: &'static str,
        /// In milliseconds.
        least: u64,
        /// In milliseconds.
        most: u64,
    },
}

impl OptionsError {
    /// The value is of another kind.
    pub fn expected(key: &'static str, expected: impl Into<Cow<'static, str>>) -> OptionsError {
        let expected = expected.into();
        OptionsError::Expected { key, expected }
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionsError::Malformed { line, column } => {
                write!(f, "the payload is no JSON at line {line}, column {column}")
            }
            OptionsError::NoObject => {
                f.write_str("the payload is no JSON object: {\"key\": value}")
            }
            OptionsError::Unknown {
                key,
                nearest: Some(nearest),
                ..
            } => write!(f, "there is no '{key}'; did you mean '{nearest}'?"),
            OptionsError::Unknown { key, known, .. } => {
                write!(f, "there is no '{key}'; there are {known}")
            }
            OptionsError::Expected { key, expected } => write!(f, "'{key}' takes {expected}"),
            OptionsError::Range { key, least, most } => {
                write!(f, "'{key}' takes a whole number from {least} to {most}")
            }
            OptionsError::Span { key, error } => write!(f, "'{key}': {error}"),
            OptionsError::SpanRange { key, least, most } => write!(
                f,
                "'{key}' takes a time from {least} ms to {} s",
                most / 1000
            ),
        }
    }
}

impl std::error::Error for OptionsError {}
