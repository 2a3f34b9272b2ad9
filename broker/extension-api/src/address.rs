//! What a topic under a claimed word means: `<word>/<name>[/<level>…][/<$verb>[/<argument>…]]`.

use std::fmt;

use nexum_types::MAX_TOPIC_BYTES;

/// Words of the grammar that nobody may use for anything else, whether or not somebody serves them.
/// No publication to a plain topic begins with one.
pub const RESERVED_WORDS: [&str; 12] = [
    "$queue",
    "$q",
    "$stream",
    "$kv",
    "$model",
    "$filter",
    "$delayed",
    "$req",
    "$reply",
    "$opt",
    "$exclusive",
    "$share",
];

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// Why something is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// Longer than 64.
    TooLong,
    /// A wildcard.
    Wildcard,
    /// A character outside of `A-Z a-z 0-9 _ . -`, or nothing but dots.
    Characters,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "the name is empty",
            NameError::TooLong => "a name has at most 64 characters",
            NameError::Wildcard => "a name holds no wildcard",
            NameError::Characters => "a name is made of A-Z a-z 0-9 _ . - and is more than dots",
        })
    }
}

impl std::error::Error for NameError {}

/// Whether something is a name: `[A-Za-z0-9_.-]{1,64}`, and more than dots.
///
/// # Errors
/// Why it is none.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains(['+', '#']) {
        return Err(NameError::Wildcard);
    }
    if name.len() > LONGEST_NAME {
        return Err(NameError::TooLong);
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.bytes().all(is_allowed) || name.bytes().all(|byte| byte == b'.') {
        return Err(NameError::Characters);
    }
    Ok(())
}

/// Why a topic is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// What should be a name is none.
    Name(NameError),
    /// It is longer than a topic may be.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Name(error) => error.fmt(f),
            AddressError::TooLong => f.write_str("it is longer than a topic may be"),
        }
    }
}

impl std::error::Error for AddressError {}

/// A topic name or filter under a claimed word, taken apart. Wrappers are gone, and an alias of the
/// word is the word.
///
/// ```
/// use nexum_extension_api::Address;
///
/// let address = Address::parse("$queue/jobs/eu/$ack/17/1").expect("a name");
/// assert_eq!(address.word(), "$queue");
/// assert_eq!(address.name(), "jobs");
/// assert_eq!(address.levels(), "eu");
/// assert_eq!(address.verb(), Some("$ack"));
/// assert_eq!(address.arguments(), "17/1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: Box<str>,
    /// Where the word ends.
    word: u16,
    name: Part,
    levels: Part,
    /// Empty if there is none: a verb has its `$`.
    verb: Part,
    arguments: Part,
}

/// From here to there; a topic has at most 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    from: u16,
    to: u16,
}

impl Part {
    fn new(from: usize, to: usize) -> Part {
        Part {
            from: from as u16,
            to: to as u16,
        }
    }

    fn of(self, text: &str) -> &str {
        &text[usize::from(self.from)..usize::from(self.to)]
    }
}

impl Address {
    /// Takes a topic apart that begins with a word.
    ///
    /// # Errors
    /// It is longer than a topic may be, there is no name, or it is none.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > MAX_TOPIC_BYTES {
            return Err(AddressError::TooLong);
        }
        let whole = text.len();
        let word = text.find('/').unwrap_or(whole);
        let begin = (word + 1).min(whole);
        let end = level_end(text, begin);
        check_name(&text[begin..end]).map_err(AddressError::Name)?;
        let name = Part::new(begin, end);
        let nothing = Part::new(whole, whole);
        let (mut levels, mut verb, mut arguments) = (nothing, nothing, nothing);
        let mut at = end;
        // A level that starts with `$` after the name is a verb.
        while at < whole {
            let (from, to) = (at + 1, level_end(text, at + 1));
            if text[from..to].starts_with('$') {
                verb = Part::new(from, to);
                arguments = Part::new((to + 1).min(whole), whole);
                break;
            }
            at = to;
        }
        if at > end {
            levels = Part::new(end + 1, at);
        }
        Ok(Address {
            text: Box::from(text),
            word: word as u16,
            name,
            levels,
            verb,
            arguments,
        })
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The claimed word, with its `$`.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.text[..usize::from(self.word)]
    }

    /// The name behind it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.of(&self.text)
    }

    /// What is between name and verb, without slashes at its ends; empty if there is nothing.
    #[must_use]
    pub fn levels(&self) -> &str {
        self.levels.of(&self.text)
    }

    /// Whether there are levels: an empty one is one, too.
    #[must_use]
    pub fn has_levels(&self) -> bool {
        let whole = self.text.len();
        usize::from(self.levels.from) < whole
            || whole > usize::from(self.name.to) && self.verb().is_none()
    }

    /// The verb, with its `$`.
    #[must_use]
    pub fn verb(&self) -> Option<&str> {
        Some(self.verb.of(&self.text)).filter(|verb| !verb.is_empty())
    }

    /// What follows the verb.
    #[must_use]
    pub fn arguments(&self) -> &str {
        self.arguments.of(&self.text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn level_end(text: &str, from: usize) -> usize {
    text[from..]
        .find('/')
        .map_or(text.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Option<String>, String) {
        let address = Address::parse(text).expect("an address");
        (
            address.name().to_owned(),
            address.levels().to_owned(),
            address.verb().map(str::to_owned),
            address.arguments().to_owned(),
        )
    }

    #[test]
    fn addresses_are_taken_apart() {
        let expected = |name: &str, levels: &str, verb: Option<&str>, arguments: &str| {
            (
                name.to_owned(),
                levels.to_owned(),
                verb.map(str::to_owned),
                arguments.to_owned(),
            )
        };
        assert_eq!(parts("$queue/jobs"), expected("jobs", "", None, ""));
        assert_eq!(
            parts("$queue/jobs/eu/new"),
            expected("jobs", "eu/new", None, "")
        );
        assert_eq!(parts("$queue/jobs/#"), expected("jobs", "#", None, ""));
        assert_eq!(
            parts("$queue/jobs/$dlq"),
            expected("jobs", "", Some("$dlq"), "")
        );
        assert_eq!(
            parts("$queue/jobs/$ctl/create"),
            expected("jobs", "", Some("$ctl"), "create")
        );
        assert_eq!(
            parts("$queue/jobs/a/$lease/#"),
            expected("jobs", "a", Some("$lease"), "#")
        );
        assert_eq!(parts("$kv/b/k/"), expected("b", "k/", None, ""));
        assert_eq!(parts("$kv/b//k"), expected("b", "/k", None, ""));
    }

    #[test]
    fn levels_may_be_empty() {
        let has_levels = |text| Address::parse(text).expect("an address").has_levels();
        assert!(!has_levels("$queue/jobs"));
        assert!(!has_levels("$queue/jobs/$dlq"));
        assert!(has_levels("$queue/jobs/"));
        assert!(has_levels("$queue/jobs/a"));
    }

    #[test]
    fn names_have_rules() {
        let error = |text: &str| match Address::parse(text) {
            Ok(address) => panic!("{address:?}"),
            Err(AddressError::Name(error)) => error,
            Err(AddressError::TooLong) => panic!("{text} is too long"),
        };
        assert_eq!(error("$queue"), NameError::Empty);
        assert_eq!(error("$queue/"), NameError::Empty);
        assert_eq!(error("$queue//x"), NameError::Empty);
        assert_eq!(error("$queue/../x"), NameError::Characters);
        assert_eq!(error("$queue/$ctl"), NameError::Characters);
        assert_eq!(error("$queue/jöbs"), NameError::Characters);
        assert_eq!(error("$queue/a b"), NameError::Characters);
        assert_eq!(error("$queue/+"), NameError::Wildcard);
        assert_eq!(error("$queue/#"), NameError::Wildcard);
        assert_eq!(
            error(&format!("$queue/{}", "n".repeat(65))),
            NameError::TooLong
        );
        assert!(Address::parse(&format!("$queue/{}", "n".repeat(64))).is_ok());
        assert!(Address::parse("$queue/.hidden").is_ok());
    }
}
