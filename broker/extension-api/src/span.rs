//! Durations and points in time as they are written in topics, options and JSON.

use std::fmt;
use std::time::Duration;

use nexum_types::Time;

/// Numbers from here on are Unix times in seconds, not a number of seconds: 2001-09-09.
const FIRST_UNIX_TIME: u64 = 1_000_000_000;

/// Text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// Not a number with a unit.
    Malformed,
    /// More than a hundred years.
    TooLong,
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpanError::Malformed => {
                "expected seconds, or a number with ms, s, m, h or d, for example 30, 500ms or 2h"
            }
            SpanError::TooLong => "longer than a hundred years",
        })
    }
}

impl std::error::Error for SpanError {}

/// A hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// `30` (seconds), `500ms`, `30s`, `5m`, `2h`, `7d`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, SpanError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(SpanError::Malformed);
    }
    let milliseconds_of_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(SpanError::Malformed),
    };
    let number: u64 = number.parse().map_err(|_| SpanError::TooLong)?;
    let milliseconds = number
        .checked_mul(milliseconds_of_unit)
        .ok_or(SpanError::TooLong)?;
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST {
        return Err(SpanError::TooLong);
    }
    Ok(duration)
}

/// When something is due, of `$delayed/<when>`: a duration from now, or a Unix time in seconds. What
/// is past is due now.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_when(text: &str, now: Time) -> Result<Time, SpanError> {
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(seconds) = text.parse::<u64>()
        && seconds >= FIRST_UNIX_TIME
    {
        let at = seconds.checked_mul(1_000_000).ok_or(SpanError::TooLong)?;
        let at = Time::from_micros(at);
        if at > now + LONGEST {
            return Err(SpanError::TooLong);
        }
        return Ok(at.max(now));
    }
    Ok(now + parse_duration(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let milliseconds = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(milliseconds("30"), Ok(30_000));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("0s"), Ok(0));
        assert_eq!(milliseconds("5m"), Ok(300_000));
        assert_eq!(milliseconds("2h"), Ok(7_200_000));
        assert_eq!(milliseconds("7d"), Ok(604_800_000));
        for wrong in ["", "s", "-1", "+1", "1.5s", "1 s", "1w", "1S", "ms", "٣"] {
            assert_eq!(milliseconds(wrong), Err(SpanError::Malformed), "{wrong}");
        }
        for long in ["99999999999999999999", "18446744073709551615d", "40000d"] {
            assert_eq!(milliseconds(long), Err(SpanError::TooLong), "{long}");
        }
    }

    #[test]
    fn when() {
        let now = Time::from_micros(1_800_000_000_000_000);
        let after = |text| parse_when(text, now).map(|at| at.since(now).as_secs());
        assert_eq!(after("60"), Ok(60));
        assert_eq!(after("2m"), Ok(120));
        assert_eq!(after("1800000060"), Ok(60));
        assert_eq!(after("1000000000"), Ok(0), "past");
        assert_eq!(after("999999999"), Ok(999_999_999), "seconds still");
        assert_eq!(after("9999999999"), Err(SpanError::TooLong));
        assert_eq!(after("soon"), Err(SpanError::Malformed));
    }
}
