//! Numbers with a unit: sizes and durations.
//!
//! The one rule of the configuration: a quantity is an integer in the unit its key's name ends in,
//! or a string that names its unit (`"16 MiB"`, `"30 s"`).

use std::fmt;
use std::num::NonZeroU16;

/// What a number of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    One,
    Byte,
    Second,
    Millisecond,
}

/// The largest number of seconds MQTT can say, which it reads as "never" (MQTT 5 section
/// 3.1.2.11.2).
const NEVER_SECONDS: u64 = 0xFFFF_FFFF;

impl Unit {
    /// The names a string may use, each with its worth in the key's own unit, largest first.
    const fn names(self) -> &'static [(&'static str, u64)] {
        match self {
            Unit::One => &[],
            Unit::Byte => &[
                ("TiB", 1 << 40),
                ("GiB", 1 << 30),
                ("MiB", 1 << 20),
                ("KiB", 1 << 10),
                ("B", 1),
            ],
            Unit::Second => &[("d", 24 * 3600), ("h", 3600), ("min", 60), ("s", 1)],
            Unit::Millisecond => &[("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)],
        }
    }

    /// What a message calls for.
    pub(crate) const fn wanted(self) -> &'static str {
        match self {
            Unit::One => "a whole number",
            Unit::Byte => "a number of bytes or a size in B, KiB, MiB, GiB or TiB",
            Unit::Second => "a number of seconds or a duration in s, min, h or d",
            Unit::Millisecond => "a number of milliseconds or a duration in ms, s, min or h",
        }
    }

    /// Reads what a string says, in the key's own unit.
    pub(crate) fn parse(self, text: &str) -> Option<u64> {
        let text = text.trim();
        if self == Unit::Second && text == "never" {
            return Some(NEVER_SECONDS);
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (digits, name) = text.split_at(end);
        let number: u64 = digits.replace('_', "").parse().ok()?;
        let name = name.trim_start();
        if name.is_empty() {
            return Some(number);
        }
        let (_, worth) = self.names().iter().find(|(known, _)| *known == name)?;
        number.checked_mul(*worth)
    }

    /// The value as a person would write it: in the largest unit that needs no fraction.
    pub(crate) fn display(self, value: u64) -> impl fmt::Display {
        if self == Unit::Second && value == NEVER_SECONDS {
            return "\"never\"".to_owned();
        }
        let name = self
            .names()
            .iter()
            .find(|(_, worth)| value >= *worth && value.is_multiple_of(*worth));
        match name {
            Some((name, worth)) if *worth > 1 => format!("\"{} {name}\"", value / worth),
            Some(_) | None => value.to_string(),
        }
    }
}

/// A number that a key may be stored as.
pub(crate) trait Quantity: Sized {
    /// `None` if the type has no such value.
    fn from_u64(value: u64) -> Option<Self>;
    fn to_u64(&self) -> u64;
}

macro_rules! plain_quantity {
    ($($number:ty),*) => {$(
        impl Quantity for $number {
            fn from_u64(value: u64) -> Option<Self> {
                Self::try_from(value).ok()
            }
            fn to_u64(&self) -> u64 {
                u64::from(*self)
            }
        }
    )*};
}

plain_quantity!(u16, u32, u64);

impl Quantity for usize {
    fn from_u64(value: u64) -> Option<Self> {
        usize::try_from(value).ok()
    }
    fn to_u64(&self) -> u64 {
        *self as u64
    }
}

impl Quantity for NonZeroU16 {
    fn from_u64(value: u64) -> Option<Self> {
        u16::from_u64(value).and_then(NonZeroU16::new)
    }
    fn to_u64(&self) -> u64 {
        u64::from(self.get())
    }
}

/// 0 is `None`: the key is switched off.
impl Quantity for Option<NonZeroU16> {
    fn from_u64(value: u64) -> Option<Self> {
        u16::from_u64(value).map(NonZeroU16::new)
    }
    fn to_u64(&self) -> u64 {
        self.map_or(0, |value| u64::from(value.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn a_string_may_name_its_unit() {
        for (unit, text, value) in [
            (Unit::One, "1_000", Some(1000)),
            (Unit::One, "1 KiB", None),
            (Unit::Byte, "4096", Some(4096)),
            (Unit::Byte, "16 MiB", Some(16 << 20)),
            (Unit::Byte, " 1GiB ", Some(1 << 30)),
            (Unit::Byte, "1 MB", None),
            (Unit::Byte, "1.5 MiB", None),
            (Unit::Byte, "-1", None),
            (Unit::Byte, "MiB", None),
            (Unit::Byte, "99999999 TiB", None),
            (Unit::Second, "7d", Some(604_800)),
            (Unit::Second, "90 min", Some(5400)),
            (Unit::Second, "never", Some(u64::from(u32::MAX))),
            (Unit::Second, "100 ms", None),
            (Unit::Millisecond, "100 ms", Some(100)),
            (Unit::Millisecond, "2 s", Some(2000)),
            (Unit::Millisecond, "never", None),
            (Unit::Millisecond, "", None),
        ] {
            assert_eq!(unit.parse(text), value, "{unit:?} {text:?}");
        }
    }

    #[test]
    fn a_value_is_shown_as_it_would_be_written() {
        for (unit, value, shown) in [
            (Unit::One, 1024, "1024"),
            (Unit::Byte, 1024, "\"1 KiB\""),
            (Unit::Byte, 1500, "1500"),
            (Unit::Byte, 0, "0"),
            (Unit::Second, 604_800, "\"7 d\""),
            (Unit::Second, 90, "90"),
            (Unit::Second, u64::from(u32::MAX), "\"never\""),
            (Unit::Millisecond, 100, "100"),
        ] {
            assert_eq!(unit.display(value).to_string(), shown);
        }
    }
}
