//! What is written as JSON: options of what is declared, in payloads and in the configuration, and
//! payloads that are shown.

mod base64;
mod nearest;
mod options_error;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::span::parse_duration;
use nearest::nearest;
pub use options_error::OptionsError;

/// A payload as a JSON object; nothing is an empty one.
///
/// # Errors
/// Where it is no JSON, or that it is no object.
pub fn object(json: &[u8]) -> Result<Map<String, Value>, OptionsError> {
    if json.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(OptionsError::NoObject),
        Err(error) => Err(OptionsError::Malformed {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// There is no such key; `within` is what stands before it, such as `backoff.`.
#[must_use]
pub fn unknown_key(within: &str, key: &str, known: &[&'static str]) -> OptionsError {
    OptionsError::Unknown {
        key: format!("{within}{key}").into(),
        nearest: nearest(key, known),
        known: known.join(", ").into(),
    }
}

/// A whole number in a range.
///
/// # Errors
/// It is none.
pub fn number(
    key: &'static str,
    value: &Value,
    least: u64,
    most: u64,
) -> Result<u64, OptionsError> {
    let number = value
        .as_u64()
        .filter(|number| (least..=most).contains(number));
    number.ok_or(OptionsError::Range { key, least, most })
}

/// Between so many milliseconds; written as text with a unit or as a number of seconds.
///
/// # Errors
/// It is none.
pub fn span(
    key: &'static str,
    value: &Value,
    least: u64,
    most: u64,
) -> Result<Duration, OptionsError> {
    let duration = match value {
        Value::String(text) => {
            parse_duration(text).map_err(|error| OptionsError::Span { key, error })?
        }
        Value::Number(number) if number.as_u64().is_some() => {
            Duration::from_secs(number.as_u64().unwrap_or(0))
        }
        _ => {
            return Err(OptionsError::expected(
                key,
                "a time such as \"30s\", or seconds",
            ));
        }
    };
    if !(u128::from(least)..=u128::from(most)).contains(&duration.as_millis()) {
        return Err(OptionsError::SpanRange { key, least, most });
    }
    Ok(duration)
}

/// One of some words.
///
/// # Errors
/// It is none of them.
pub fn choice<T: Copy>(
    key: &'static str,
    value: &Value,
    choices: &[(&'static str, T)],
) -> Result<T, OptionsError> {
    let text = value.as_str().unwrap_or("");
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*choice);
    }
    let names: Vec<String> = choices
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    Err(OptionsError::expected(key, names.join(" or ")))
}

/// True or false.
///
/// # Errors
/// It is neither.
pub fn boolean(key: &'static str, value: &Value) -> Result<bool, OptionsError> {
    let expected = || OptionsError::expected(key, "true or false");
    value.as_bool().ok_or_else(expected)
}

/// Shows a payload: as `payload` if it is text, and as `payload_base64` if not.
pub fn show_payload(payload: &[u8], shown: &mut Map<String, Value>) {
    match std::str::from_utf8(payload) {
        Ok(text) => shown.insert("payload".to_owned(), text.into()),
        Err(_) => shown.insert("payload_base64".to_owned(), base64::encode(payload).into()),
    };
}
