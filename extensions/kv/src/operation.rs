//! What is asked of a key, and what comes of it: a function of what the key is.

use std::sync::Arc;
use std::time::Duration;

use nexum_extension_api::{
    Address, Command, CommandId, ErrorCode, Options, Refusal, Reply, parse_duration,
};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::bucket_options::BucketOptions;
use crate::entry::Entry;
use crate::properties::of_value;
use crate::refusals;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;

/// What is asked of a key.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) bucket: u64,
    pub(crate) key: Arc<str>,
    pub(crate) action: Action,
    pub(crate) condition: Condition,
    pub(crate) origin: Origin,
}

/// Who is told what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Command(CommandId),
    /// What runs out, in the store or in memory.
    Sweep(Shelf),
    Purge(u64),
}

/// Where the entries of a bucket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf {
    Store,
    Memory,
}

/// What has to be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The present revision is this, 0 being none.
    revision: Option<u64>,
    /// There is nothing yet.
    create_only: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Set {
        message: Arc<Message>,
        expiry: Expiry,
    },
    Delete,
    Count {
        step: i128,
        message: Arc<Message>,
        expiry: Expiry,
    },
    /// Without a duration it never runs out.
    Touch(Option<Duration>),
    Get,
    History,
    /// It ran out at this time, unless it was changed since.
    Expire(Time),
}

impl Action {
    /// It changes nothing, whatever there is.
    pub(crate) fn is_look(&self) -> bool {
        match self {
            Action::Get | Action::History => true,
            Action::Set { .. }
            | Action::Delete
            | Action::Count { .. }
            | Action::Touch(_)
            | Action::Expire(_) => false,
        }
    }

    /// It may be the first that happens to a key.
    pub(crate) fn is_begin(&self) -> bool {
        matches!(self, Action::Set { .. } | Action::Count { .. })
    }
}

/// How long something new lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// As the bucket says.
    Default,
    Never,
    After(Duration),
    At(Time),
}

/// How a key changes, as watchers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set,
    Count,
    Touch,
    Delete,
    Expire,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Change::Set => "set",
            Change::Count => "incr",
            Change::Touch => "touch",
            Change::Delete => "del",
            Change::Expire => "expire",
        }
    }
}

/// What comes of an operation.
#[derive(Debug)]
pub(crate) enum Verdict {
    Refused(Refusal),
    /// It is as it should be.
    Unchanged(Reply),
    /// Its former values are asked for.
    History,
    /// It becomes this, or nothing.
    Becomes {
        message: Option<Arc<Message>>,
        change: Change,
    },
    /// Its time to run out is another one.
    Stale,
}

/// What an operation is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) options: &'a BucketOptions,
    /// `$kv/<bucket>/<key>`.
    pub(crate) topic: TopicName<'a>,
    pub(crate) now: Time,
}

/// Takes apart what is published to a key.
///
/// # Errors
/// It is no key, there is no such verb, or an option or the payload means nothing to it.
pub(crate) fn parse(command: &Command, bucket: u64) -> Result<Operation, Refusal> {
    let address = &command.address;
    let key = check_key(address)?;
    let none = Options::default();
    let options = command.options.as_deref().unwrap_or(&none);
    let allow = |allowed: &[&str]| match options.first_beyond(allowed) {
        Some(key) => Err(Refusal::option(key, allowed)),
        None => Ok(()),
    };
    let message = &command.message;
    let payload = message.payload();
    let expiry = match (options.time_to_live, message.expires_at()) {
        (Some(Duration::ZERO), _) => Expiry::Never,
        (Some(after), _) => Expiry::After(after),
        (None, Some(at)) => Expiry::At(at),
        (None, None) => Expiry::Default,
    };
    let action = match address.verb() {
        None if payload.is_empty() => {
            allow(&["rev"])?;
            Action::Delete
        }
        None => {
            allow(&["ttl", "rev", "nx"])?;
            Action::Set {
                message: Arc::clone(message),
                expiry,
            }
        }
        Some(verb @ ("$incr" | "$decr")) => {
            allow(&["ttl", "rev"])?;
            let step = step(payload)?;
            Action::Count {
                step: if verb == "$incr" { step } else { -step },
                message: Arc::clone(message),
                expiry,
            }
        }
        Some("$expire") => {
            allow(&["rev"])?;
            Action::Touch(time_to_live(payload)?)
        }
        Some("$get") => {
            allow(&[])?;
            Action::Get
        }
        Some("$history") => {
            allow(&[])?;
            Action::History
        }
        Some(verb) => return Err(unknown_verb(verb)),
    };
    if !address.arguments().is_empty() {
        let verb = address.verb().unwrap_or_default();
        let reason = format!("nothing follows {verb}");
        return Err(Refusal::new(ErrorCode::BadAddress, reason));
    }
    Ok(Operation {
        bucket,
        key: Arc::from(key),
        action,
        condition: Condition {
            revision: options.revision,
            create_only: options.create_only == Some(true),
        },
        origin: Origin::Command(command.id),
    })
}

fn check_key(address: &Address) -> Result<&str, Refusal> {
    let key = address.levels();
    if key.is_empty() {
        return Err(Refusal::new(
            ErrorCode::BadAddress,
            "a key follows the name of the bucket: $kv/<bucket>/<key>",
        ));
    }
    if key.len() > LONGEST_KEY {
        let reason = format!("a key has at most {LONGEST_KEY} bytes");
        return Err(Refusal::new(ErrorCode::BadAddress, reason));
    }
    Ok(key)
}

fn unknown_verb(verb: &str) -> Refusal {
    let reason = format!(
        "nothing is published to {verb} of a key; there are $get, $expire, $incr, $decr and \
         $history, and a set or a deletion has no verb"
    );
    Refusal::new(ErrorCode::BadAddress, reason)
}

fn step(payload: &[u8]) -> Result<i128, Refusal> {
    if payload.is_empty() {
        return Ok(1);
    }
    let step = whole_number(payload).ok_or_else(|| {
        let reason = "the payload is the step: a whole number of 64 bits, or nothing for 1";
        Refusal::new(ErrorCode::BadPayload, reason)
    })?;
    Ok(i128::from(step))
}

/// Digits, with a minus before them or not.
fn whole_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

fn time_to_live(payload: &[u8]) -> Result<Option<Duration>, Refusal> {
    let bad = |reason: String| Refusal::new(ErrorCode::BadPayload, reason);
    let text = std::str::from_utf8(payload);
    let text = text.map_err(|_| bad("the payload is no text".to_owned()))?;
    if text.is_empty() {
        return Ok(None);
    }
    let span = parse_duration(text).map_err(|error| bad(format!("the payload: {error}")))?;
    Ok(Some(span).filter(|span| !span.is_zero()))
}

/// What comes of an operation on what is there now.
pub(crate) fn judge(operation: &Operation, physical: Option<&Entry>, terms: Terms<'_>) -> Verdict {
    let present = physical.filter(|entry| !entry.is_due(terms.now));
    if let Err(refusal) = check(operation.condition, present) {
        return Verdict::Refused(refusal);
    }
    match (&operation.action, present) {
        (Action::Set { message, expiry }, _) => {
            let properties = of_value(message.parts().properties);
            let parts = MessageParts {
                properties: &properties,
                expires_at: expiry.at(terms),
                ..message.parts()
            };
            becomes(parts, Change::Set, terms)
        }
        (Action::Delete, None) => Verdict::Unchanged(revision_reply(0)),
        (Action::Delete, Some(_)) => Verdict::Becomes {
            message: None,
            change: Change::Delete,
        },
        (
            Action::Count {
                step,
                message,
                expiry,
            },
            _,
        ) => {
            let parts = match present {
                // Its properties and its time stay.
                Some(entry) => MessageParts {
                    published_at: message.published_at(),
                    ..entry.message.parts()
                },
                // Those that came with a step belong to the step.
                None => MessageParts {
                    properties: &[],
                    payload: b"0",
                    expires_at: expiry.at(terms),
                    ..message.parts()
                },
            };
            count(parts, *step, terms)
        }
        (Action::Touch(span), Some(entry)) => becomes(
            MessageParts {
                expires_at: span.map(|span| terms.now + span),
                ..entry.message.parts()
            },
            Change::Touch,
            terms,
        ),
        (Action::Get, Some(entry)) => Verdict::Unchanged(Reply {
            payload: entry.message.payload().to_vec(),
            properties: vec![
                ("rev", entry.revision.into()),
                ("created", entry.created.into()),
            ],
        }),
        (Action::History, Some(_)) => Verdict::History,
        (Action::Touch(_) | Action::Get | Action::History, None) => {
            Verdict::Refused(refusals::no_key(&operation.key))
        }
        (Action::Expire(at), _) => {
            let is_that = |entry: &Entry| entry.expires_at() == Some(*at);
            match physical {
                Some(entry) if is_that(entry) && entry.is_due(terms.now) => Verdict::Becomes {
                    message: None,
                    change: Change::Expire,
                },
                Some(_) | None => Verdict::Stale,
            }
        }
    }
}

fn count(parts: MessageParts<'_>, step: i128, terms: Terms<'_>) -> Verdict {
    let refuse =
        |reason: &'static str| Verdict::Refused(Refusal::new(ErrorCode::BadPayload, reason));
    let Some(value) = whole_number(parts.payload) else {
        return refuse("the value of the key is no whole number of 64 bits");
    };
    let Ok(sum) = i64::try_from(i128::from(value) + step) else {
        return refuse("the sum would be no number of 64 bits");
    };
    let sum = sum.to_string();
    let parts = MessageParts {
        payload: sum.as_bytes(),
        ..parts
    };
    becomes(parts, Change::Count, terms)
}

fn check(condition: Condition, present: Option<&Entry>) -> Result<(), Refusal> {
    let revision = present.map_or(0, |entry| entry.revision);
    if let Some(wanted) = condition.revision
        && wanted != revision
    {
        return Err(refusals::other_revision(revision, wanted));
    }
    if condition.create_only && present.is_some() {
        return Err(refusals::exists(revision));
    }
    Ok(())
}

fn becomes(parts: MessageParts<'_>, change: Change, terms: Terms<'_>) -> Verdict {
    // A value that was taken may be touched, though the limit was lowered since.
    let is_too_large = parts.payload.len() as u64 > terms.options.max_value_bytes;
    if is_too_large && change != Change::Touch {
        return Verdict::Refused(refusals::too_large("max_value_bytes"));
    }
    let parts = MessageParts {
        topic: terms.topic,
        qos: QoS::AtLeastOnce,
        retain: false,
        ..parts
    };
    Verdict::Becomes {
        message: Some(Arc::new(Message::new(parts))),
        change,
    }
}

impl Expiry {
    fn at(self, terms: Terms<'_>) -> Option<Time> {
        match self {
            Expiry::Default => terms.options.ttl.map(|ttl| terms.now + ttl),
            Expiry::Never => None,
            Expiry::After(after) => Some(terms.now + after),
            Expiry::At(at) => Some(at),
        }
    }
}

/// The reply to a change.
pub(crate) fn revision_reply(revision: u64) -> Reply {
    Reply {
        payload: serde_json::json!({ "rev": revision })
            .to_string()
            .into_bytes(),
        properties: vec![("rev", revision.into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_digits() {
        assert_eq!(whole_number(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole_number(b"007"), Some(7));
        for wrong in ["", "-", "+1", "1 ", "1.0", "--1", "9223372036854775808"] {
            assert_eq!(whole_number(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
