//! What a queue is told to be, and how that is written.

use std::time::Duration;

use nexum_extension_api::RESERVED_WORDS;
use nexum_extension_api::json::{OptionsError, boolean, choice, number, object, span, unknown_key};
use nexum_types::TopicFilter;
use serde_json::{Map, Value, json};

/// In which order messages are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the order in which they were pushed.
    Fifo,
    /// The same, and of each key one at a time: strictly in order, whatever is refused.
    Key,
    /// By the option `prio`, higher first; among equals by the order in which they were pushed.
    Priority,
}

/// What is done about a push to a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused.
    Reject,
    /// The oldest ready message is dropped for it.
    DropOldest,
    /// The oldest ready message becomes a dead letter for it.
    DeadLetter,
}

/// What is done with a message whose time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It is dropped.
    Drop,
    /// It becomes a dead letter.
    DeadLetter,
}

/// Who of several consumers gets the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Whoever has the fewest unsettled deliveries of this queue; among equals in turn.
    LeastLoaded,
    /// In turn.
    RoundRobin,
}

/// How long a message rests after it was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first attempt.
    pub first: Duration,
    /// Each rest is so many times the one before it.
    pub factor: f64,
    /// No rest is longer, but for the jitter.
    pub max: Duration,
    /// Each rest is up to this share longer or shorter.
    pub jitter: f64,
}

/// The options of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueOptions {
    /// `max_attempts`: deliveries that may end without success before a message is dead; 0 is
    /// without limit.
    pub max_attempts: u16,
    /// `visibility`: how long a consumer has for a delivery before somebody else gets it.
    pub visibility: Duration,
    /// `order`.
    pub order: Order,
    /// `max_len`: messages that are ready, delayed or with a consumer.
    pub max_len: u64,
    /// `max_bytes`: the same in bytes of payload, properties and topic.
    pub max_bytes: u64,
    /// `overflow`.
    pub overflow: Overflow,
    /// `source`: topic filters; what is published to a topic that matches is pushed.
    pub source: Vec<Box<str>>,
    /// `allow_qos0`: a consumer may subscribe at QoS 0, and what was sent to it is done.
    pub allow_qos0: bool,
    /// `dedup_window`: how long the option `id` of a push is remembered; 0 is not at all.
    pub dedup_window: Duration,
    /// `backoff`.
    pub backoff: Backoff,
    /// `prefetch`: unsettled deliveries of one consumer; without it, as many as it has room for.
    pub prefetch: Option<u32>,
    /// `dlq_max_len`: dead letters; beyond, the oldest is dropped.
    pub dlq_max_len: u64,
    /// `expired`.
    pub expired: Expired,
    /// `dispatch`.
    pub dispatch: Dispatch,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            max_attempts: 5,
            visibility: Duration::from_secs(30),
            order: Order::Fifo,
            max_len: 1_000_000,
            max_bytes: 1 << 30,
            overflow: Overflow::Reject,
            source: Vec::new(),
            allow_qos0: false,
            dedup_window: Duration::from_secs(300),
            backoff: Backoff {
                first: Duration::from_secs(1),
                factor: 2.0,
                max: Duration::from_secs(300),
                jitter: 0.2,
            },
            prefetch: None,
            dlq_max_len: 100_000,
            expired: Expired::Drop,
            dispatch: Dispatch::LeastLoaded,
        }
    }
}

const KEYS: [&str; 14] = [
    "max_attempts",
    "visibility",
    "order",
    "max_len",
    "max_bytes",
    "overflow",
    "source",
    "allow_qos0",
    "dedup_window",
    "backoff",
    "prefetch",
    "dlq_max_len",
    "expired",
    "dispatch",
];

const BACKOFF_KEYS: [&str; 4] = ["first", "factor", "max", "jitter"];

/// The most filters that one queue captures.
const MOST_SOURCES: usize = 64;

impl QueueOptions {
    /// Reads a JSON object, as the payload of `$ctl/create`: what it does not name stays as it is
    /// in `self`. Nothing at all is an empty object.
    ///
    /// # Errors
    /// The key that is wrong and what to write instead, or where it is no JSON.
    pub fn with_json(&self, json: &[u8]) -> Result<QueueOptions, OptionsError> {
        self.with(&object(json)?)
    }

    /// The same from an object that was read already, such as a table of a configuration.
    ///
    /// # Errors
    /// The key that is wrong and what to write instead.
    pub fn with(&self, object: &Map<String, Value>) -> Result<QueueOptions, OptionsError> {
        let options = self.with_any_source(object)?;
        if object.contains_key("source") {
            check_sources(&options.source)?;
        }
        Ok(options)
    }

    /// What was stored, whatever would be refused now.
    pub(crate) fn of_record(json: &[u8]) -> Result<QueueOptions, OptionsError> {
        QueueOptions::default().with_any_source(&object(json)?)
    }

    fn with_any_source(&self, object: &Map<String, Value>) -> Result<QueueOptions, OptionsError> {
        let mut options = self.clone();
        for (key, value) in object {
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), OptionsError> {
        match key {
            "max_attempts" => {
                // The range fits.
                self.max_attempts = number("max_attempts", value, 0, 1000)? as u16;
            }
            "visibility" => {
                self.visibility = span("visibility", value, 1, 7 * 86_400_000)?;
            }
            "order" => {
                let choices = [
                    ("fifo", Order::Fifo),
                    ("key", Order::Key),
                    ("prio", Order::Priority),
                ];
                self.order = choice("order", value, &choices)?;
            }
            "max_len" => self.max_len = number("max_len", value, 1, 1_000_000_000)?,
            "max_bytes" => self.max_bytes = number("max_bytes", value, 1, 1 << 50)?,
            "overflow" => {
                let choices = [
                    ("reject", Overflow::Reject),
                    ("drop_oldest", Overflow::DropOldest),
                    ("dlq", Overflow::DeadLetter),
                ];
                self.overflow = choice("overflow", value, &choices)?;
            }
            "source" => self.source = filters("source", value)?,
            "allow_qos0" => self.allow_qos0 = boolean("allow_qos0", value)?,
            "dedup_window" => {
                self.dedup_window = span("dedup_window", value, 0, 30 * 86_400_000)?;
            }
            "backoff" => self.backoff = backoff(self.backoff, value)?,
            "prefetch" => {
                self.prefetch = match value {
                    Value::Null => None,
                    value => Some(number("prefetch", value, 1, 65_535)? as u32),
                };
            }
            "dlq_max_len" => {
                self.dlq_max_len = number("dlq_max_len", value, 0, 1_000_000_000)?;
            }
            "expired" => {
                let choices = [("drop", Expired::Drop), ("dlq", Expired::DeadLetter)];
                self.expired = choice("expired", value, &choices)?;
            }
            "dispatch" => {
                let choices = [
                    ("least_loaded", Dispatch::LeastLoaded),
                    ("round_robin", Dispatch::RoundRobin),
                ];
                self.dispatch = choice("dispatch", value, &choices)?;
            }
            unknown => return Err(unknown_key("", unknown, &KEYS)),
        }
        Ok(())
    }

    /// All of them as the object that [`with`](QueueOptions::with) reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let milliseconds = |span: Duration| format!("{}ms", span.as_millis());
        json!({
            "max_attempts": self.max_attempts,
            "visibility": milliseconds(self.visibility),
            "order": match self.order {
                Order::Fifo => "fifo",
                Order::Key => "key",
                Order::Priority => "prio",
            },
            "max_len": self.max_len,
            "max_bytes": self.max_bytes,
            "overflow": match self.overflow {
                Overflow::Reject => "reject",
                Overflow::DropOldest => "drop_oldest",
                Overflow::DeadLetter => "dlq",
            },
            "source": self.source,
            "allow_qos0": self.allow_qos0,
            "dedup_window": milliseconds(self.dedup_window),
            "backoff": {
                "first": milliseconds(self.backoff.first),
                "factor": self.backoff.factor,
                "max": milliseconds(self.backoff.max),
                "jitter": self.backoff.jitter,
            },
            "prefetch": self.prefetch,
            "dlq_max_len": self.dlq_max_len,
            "expired": match self.expired {
                Expired::Drop => "drop",
                Expired::DeadLetter => "dlq",
            },
            "dispatch": match self.dispatch {
                Dispatch::LeastLoaded => "least_loaded",
                Dispatch::RoundRobin => "round_robin",
            },
        })
    }
}

fn filters(key: &'static str, value: &Value) -> Result<Vec<Box<str>>, OptionsError> {
    let expected = || OptionsError::expected(key, "a list of at most 64 topic filters");
    let list = value.as_array().ok_or_else(expected)?;
    if list.len() > MOST_SOURCES {
        return Err(expected());
    }
    let mut filters: Vec<Box<str>> = Vec::with_capacity(list.len());
    for filter in list {
        let text = filter.as_str().ok_or_else(expected)?;
        if let Err(error) = TopicFilter::new(text) {
            return Err(OptionsError::expected(
                key,
                format!("topic filters, and '{text}' is none: {error}"),
            ));
        }
        if !filters.iter().any(|known| &**known == text) {
            filters.push(Box::from(text));
        }
    }
    Ok(filters)
}

/// That something could match them.
fn check_sources(sources: &[Box<str>]) -> Result<(), OptionsError> {
    for source in sources {
        let first = source.split('/').next().unwrap_or(source);
        if let Some(word) = RESERVED_WORDS.iter().find(|word| **word == first) {
            return Err(OptionsError::expected(
                "source",
                format!(
                    "filters of plain topics, and '{source}' would capture nothing, since no plain \
                     topic begins with {word}: name the topics alone"
                ),
            ));
        }
    }
    Ok(())
}

fn backoff(mut backoff: Backoff, value: &Value) -> Result<Backoff, OptionsError> {
    let expected = || OptionsError::expected("backoff", "an object of first, factor, max, jitter");
    for (key, value) in value.as_object().ok_or_else(expected)? {
        match key.as_str() {
            "first" => backoff.first = span("backoff.first", value, 0, 86_400_000)?,
            "max" => backoff.max = span("backoff.max", value, 0, 7 * 86_400_000)?,
            "factor" => backoff.factor = fraction("backoff.factor", value, 1.0, 100.0)?,
            "jitter" => backoff.jitter = fraction("backoff.jitter", value, 0.0, 1.0)?,
            unknown => return Err(unknown_key("backoff.", unknown, &BACKOFF_KEYS)),
        }
    }
    Ok(backoff)
}

fn fraction(key: &'static str, value: &Value, least: f64, most: f64) -> Result<f64, OptionsError> {
    let number = value
        .as_f64()
        .filter(|number| (least..=most).contains(number));
    number
        .ok_or_else(|| OptionsError::expected(key, format!("a number between {least} and {most}")))
}
