//! Why something is refused: one vocabulary for PUBACK, SUBACK, `$reply` and HTTP.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use nexum_types::ReasonCode;

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// There is no queue, stream, model… of this name.
    NotFound,
    /// The client may not do this.
    NotAuthorized,
    /// The name or the verb is none.
    BadAddress,
    /// An option or a filter expression is wrong.
    BadOption,
    /// The payload is not what the operation needs.
    BadPayload,
    /// The state is not what the client believed.
    Conflict,
    /// A limit on length, bytes, keys or rate is reached.
    QuotaExceeded,
    /// A wildcard stands where a name has to.
    WildcardInName,
    /// The broker cannot do it now; later it may.
    Unavailable,
}

impl ErrorCode {
    /// How it is written, for example `quota_exceeded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::NotFound => "not_found",
            ErrorCode::NotAuthorized => "not_authorized",
            ErrorCode::BadAddress => "bad_address",
            ErrorCode::BadOption => "bad_option",
            ErrorCode::BadPayload => "bad_payload",
            ErrorCode::Conflict => "conflict",
            ErrorCode::QuotaExceeded => "quota_exceeded",
            ErrorCode::WildcardInName => "wildcard_in_name",
            ErrorCode::Unavailable => "unavailable",
        }
    }

    /// The Reason Code of a PUBACK or PUBREC.
    #[must_use]
    pub const fn of_publish(self) -> ReasonCode {
        match self {
            ErrorCode::NotAuthorized => ReasonCode::NotAuthorized,
            ErrorCode::NotFound | ErrorCode::BadAddress | ErrorCode::WildcardInName => {
                ReasonCode::TopicNameInvalid
            }
            ErrorCode::BadOption | ErrorCode::Conflict => ReasonCode::ImplementationSpecificError,
            ErrorCode::BadPayload => ReasonCode::PayloadFormatInvalid,
            ErrorCode::QuotaExceeded | ErrorCode::Unavailable => ReasonCode::QuotaExceeded,
        }
    }

    /// The Reason Code of a SUBACK; 3.1.1 has 0x80 for all of them.
    #[must_use]
    pub const fn of_subscribe(self) -> ReasonCode {
        match self {
            ErrorCode::NotAuthorized => ReasonCode::NotAuthorized,
            ErrorCode::NotFound
            | ErrorCode::BadAddress
            | ErrorCode::BadOption
            | ErrorCode::BadPayload => ReasonCode::TopicFilterInvalid,
            ErrorCode::Conflict => ReasonCode::ImplementationSpecificError,
            ErrorCode::QuotaExceeded | ErrorCode::Unavailable => ReasonCode::QuotaExceeded,
            ErrorCode::WildcardInName => ReasonCode::WildcardSubscriptionsNotSupported,
        }
    }
}

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 1024;

/// Why something was not done, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong and what to do.
    pub reason: Cow<'static, str>,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
    /// The present revision, where another one was asked for; 0 is that there is nothing.
    pub revision: Option<u64>,
}

impl Refusal {
    /// When to try again what was refused for want of room.
    pub const LATER: Duration = Duration::from_secs(1);

    /// A refusal that says nothing of when to try again. A reason may quote whatever the client
    /// wrote: what no string of MQTT may hold is replaced, and of a long one the middle is left out.
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            code,
            reason: presentable(reason.into()),
            retry_after: None,
            revision: None,
        }
    }

    /// The same, with when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Refusal {
        self.retry_after = Some(after);
        self
    }

    /// The same, with the present revision.
    #[must_use]
    pub fn revision(mut self, revision: u64) -> Refusal {
        self.revision = Some(revision);
        self
    }

    /// An option that means nothing where it was given; those mean something.
    #[must_use]
    pub fn option(key: &str, allowed: &[&str]) -> Refusal {
        let remedy = match allowed {
            [] => "it takes none".to_owned(),
            allowed => format!("it takes {}", allowed.join(", ")),
        };
        Refusal::new(
            ErrorCode::BadOption,
            format!("the option '{key}' means nothing here; {remedy}"),
        )
    }

    /// The store refused what would have been promised.
    #[must_use]
    pub fn not_stored(reason: &str) -> Refusal {
        let reason = format!("the store took nothing: {reason}");
        Refusal::new(ErrorCode::Unavailable, reason).retry_after(Refusal::LATER)
    }

    /// The body of an error: `{"code":"quota_exceeded","reason":"…","retry_after_ms":500}`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        body.insert("code".to_owned(), self.code.as_str().into());
        body.insert("reason".to_owned(), self.reason.as_ref().into());
        if let Some(after) = self.retry_after {
            let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            body.insert("retry_after_ms".to_owned(), milliseconds.into());
        }
        if let Some(revision) = self.revision {
            body.insert("rev".to_owned(), revision.into());
        }
        serde_json::Value::Object(body).to_string().into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.reason)
    }
}

/// [MQTT-1.5.4-2]: a client that is sent U+0000 closes the connection; other control characters are
/// no better for people.
fn presentable(reason: Cow<'static, str>) -> Cow<'static, str> {
    if reason.len() <= LONGEST_REASON && !reason.contains(char::is_control) {
        return reason;
    }
    let text = reason.replace(char::is_control, "\u{fffd}");
    if text.len() <= LONGEST_REASON {
        return text.into();
    }
    let half = LONGEST_REASON / 2 - "…".len();
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head}…{tail}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_string_of_mqtt_whatever_it_quotes() {
        let reason = |text: String| Refusal::new(ErrorCode::BadOption, text).reason;
        assert_eq!(reason("no 'jöbs'".to_owned()), "no 'jöbs'");
        assert_eq!(reason("no 'a\0b\n'".to_owned()), "no 'a\u{fffd}b\u{fffd}'");
        for filler in ["x", "ö", "\0", "😀"] {
            let long = reason(format!("no '{}'; there are a, b", filler.repeat(70_000)));
            assert!(long.len() <= LONGEST_REASON && long.len() > LONGEST_REASON - 10);
            assert!(long.starts_with("no '") && long.ends_with("'; there are a, b"));
            assert!(long.contains('…') && !long.contains('\0'));
        }
    }

    #[test]
    fn an_error_is_json() {
        let refusal = Refusal::new(ErrorCode::QuotaExceeded, "the \"queue\" is full");
        assert_eq!(
            refusal.clone().to_json(),
            br#"{"code":"quota_exceeded","reason":"the \"queue\" is full"}"#
        );
        assert_eq!(
            refusal.retry_after(Duration::from_millis(500)).to_json(),
            br#"{"code":"quota_exceeded","reason":"the \"queue\" is full","retry_after_ms":500}"#
        );
        let refusal = Refusal::new(ErrorCode::Conflict, "it is another").revision(7);
        let body: serde_json::Value = serde_json::from_slice(&refusal.to_json()).expect("JSON");
        assert_eq!(body["rev"], 7);
    }
}
