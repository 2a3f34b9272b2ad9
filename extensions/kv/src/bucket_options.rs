//! What a bucket is told to be, and how that is written.

use std::time::Duration;

use nexum_extension_api::json::{OptionsError, boolean, number, object, span, unknown_key};
use serde_json::{Map, Value, json};

/// The options of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketOptions {
    /// `persist`: entries are stored; otherwise they are in memory and gone after a restart.
    pub persist: bool,
    /// `max_keys`.
    pub max_keys: u64,
    /// `max_bytes`: of all keys with payload and properties; not of values they had before.
    pub max_bytes: u64,
    /// `max_value_bytes`: of one payload.
    pub max_value_bytes: u64,
    /// `history`: values of a key that can be seen, the present one among them.
    pub history: u8,
    /// `ttl`: how long an entry lives that says nothing of it.
    pub ttl: Option<Duration>,
}

impl Default for BucketOptions {
    fn default() -> BucketOptions {
        BucketOptions {
            persist: true,
            max_keys: 1_000_000,
            max_bytes: 1 << 30,
            max_value_bytes: 1 << 20,
            history: 1,
            ttl: None,
        }
    }
}

const KEYS: [&str; 6] = [
    "persist",
    "max_keys",
    "max_bytes",
    "max_value_bytes",
    "history",
    "ttl",
];

/// A hundred years, in milliseconds.
const LONGEST: u64 = 100 * 366 * 86_400_000;

impl BucketOptions {
    /// Reads a JSON object, as the payload of `$ctl/create`: what it does not name stays as it is
    /// in `self`. Nothing at all is an empty object.
    ///
    /// # Errors
    /// The key that is wrong and what to write instead, or where it is no JSON.
    pub fn with_json(&self, json: &[u8]) -> Result<BucketOptions, OptionsError> {
        self.with(&object(json)?)
    }

    /// The same from an object that was read already, such as a table of a configuration.
    ///
    /// # Errors
    /// The key that is wrong and what to write instead.
    pub fn with(&self, object: &Map<String, Value>) -> Result<BucketOptions, OptionsError> {
        let mut options = self.clone();
        for (key, value) in object {
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), OptionsError> {
        match key {
            "persist" => self.persist = boolean("persist", value)?,
            "max_keys" => self.max_keys = number("max_keys", value, 1, 1_000_000_000)?,
            "max_bytes" => self.max_bytes = number("max_bytes", value, 1, 1 << 50)?,
            "max_value_bytes" => {
                self.max_value_bytes = number("max_value_bytes", value, 1, 1 << 28)?;
            }
            // The range fits.
            "history" => self.history = number("history", value, 1, 64)? as u8,
            "ttl" => {
                self.ttl = match value {
                    Value::Null => None,
                    value => Some(span("ttl", value, 1, LONGEST)?),
                };
            }
            unknown => return Err(unknown_key("", unknown, &KEYS)),
        }
        Ok(())
    }

    /// All of them as the object that [`with`](BucketOptions::with) reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "persist": self.persist,
            "max_keys": self.max_keys,
            "max_bytes": self.max_bytes,
            "max_value_bytes": self.max_value_bytes,
            "history": self.history,
            "ttl": self.ttl.map(|ttl| format!("{}ms", ttl.as_millis())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let options = BucketOptions {
            persist: false,
            max_keys: 1,
            max_bytes: 2,
            max_value_bytes: 3,
            history: 64,
            ttl: Some(Duration::from_millis(1500)),
        };
        let json = options.to_json().to_string();
        assert_eq!(
            BucketOptions::default().with_json(json.as_bytes()),
            Ok(options.clone())
        );
        let without = options.with_json(br#"{"ttl": null}"#).expect("options");
        assert_eq!(without.ttl, None);
        assert_eq!(without.history, 64);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = |json: &str| {
            let read = BucketOptions::default().with_json(json.as_bytes());
            read.expect_err(json).to_string()
        };
        assert_eq!(
            error(r#"{"max_key": 1}"#),
            "there is no 'max_key'; did you mean 'max_keys'?"
        );
        assert_eq!(
            error(r#"{"history": 65}"#),
            "'history' takes a whole number from 1 to 64"
        );
        assert_eq!(error(r#"{"persist": 1}"#), "'persist' takes true or false");
        assert!(error(r#"{"ttl": 0}"#).starts_with("'ttl' takes a time from 1 ms"));
        assert_eq!(
            error("{\n  x"),
            "the payload is no JSON at line 2, column 3"
        );
    }
}
