//! Topic names, topic filters and how they match (section 4.7 of both versions).

use std::fmt;

/// The longest UTF-8 string a packet can carry (section 1.5.4), and so the longest topic.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// The levels of a topic name or filter, first to last; `a//b/` has four, two of them empty.
pub type Levels<'a> = std::str::Split<'a, char>;

/// Why a string is not a topic name or not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// [MQTT-4.7.3-1], [MQTT3-4.7.3-1]: at least one character long.
    Empty,
    /// [MQTT-4.7.3-3], [MQTT3-4.7.3-3]: at most 65,535 bytes.
    TooLong,
    /// [MQTT-4.7.3-2], [MQTT3-4.7.3-2]: no U+0000.
    NullCharacter,
    /// [MQTT-3.3.2-2], [MQTT3-3.3.2-2]: a topic name holds no wildcard character.
    WildcardInName,
    /// [MQTT-4.7.1-1], [MQTT3-4.7.1-2]: `#` stands alone in the last level.
    MultiLevelWildcardMisplaced,
    /// [MQTT-4.7.1-2], [MQTT3-4.7.1-3]: `+` fills its level alone.
    SingleLevelWildcardNotAlone,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "a topic needs at least one character",
            TopicError::TooLong => "a topic is at most 65535 bytes long",
            TopicError::NullCharacter => "a topic holds no null character",
            TopicError::WildcardInName => "a topic name holds no '+' and no '#'",
            TopicError::MultiLevelWildcardMisplaced => {
                "'#' must fill the last level of a topic filter alone"
            }
            TopicError::SingleLevelWildcardNotAlone => "'+' must fill its level alone",
        })
    }
}

impl std::error::Error for TopicError {}

/// A topic name: what a message is published to. Not empty, no wildcard, no null character.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks the rules of section 4.7 and 3.3.2.1.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn new(name: &'a str) -> Result<TopicName<'a>, TopicError> {
        if let Some(name) = TopicName::from_printable_ascii(name) {
            return Ok(name);
        }
        check_length(name)?;
        for &byte in name.as_bytes() {
            match byte {
                0 => return Err(TopicError::NullCharacter),
                b'+' | b'#' => return Err(TopicError::WildcardInName),
                _ => {}
            }
        }
        Ok(TopicName(name))
    }

    /// The name if it holds only printable ASCII characters, none of them a wildcard, which is what
    /// nearly every topic is and quickly seen. `None` says nothing: ask [`new`](Self::new).
    #[inline]
    #[must_use]
    pub fn from_printable_ascii(name: &'a str) -> Option<TopicName<'a>> {
        let plain = (1..=MAX_TOPIC_BYTES).contains(&name.len()) && is_plain(name.as_bytes());
        plain.then_some(TopicName(name))
    }

    /// For text that was a topic name already and has not changed since.
    pub(crate) const fn from_checked(name: &'a str) -> TopicName<'a> {
        TopicName(name)
    }

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes.
    #[must_use]
    pub fn levels(self) -> Levels<'a> {
        self.0.split('/')
    }

    /// Whether the name is in the broker's own space, which no leading wildcard matches.
    #[must_use]
    pub fn starts_with_dollar(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// A topic filter without `$share`: what a subscription asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks the rules of section 4.7.
    ///
    /// # Errors
    /// The first rule that `filter` breaks.
    pub fn new(filter: &'a str) -> Result<TopicFilter<'a>, TopicError> {
        check_length(filter)?;
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            for &byte in level.as_bytes() {
                match byte {
                    0 => return Err(TopicError::NullCharacter),
                    b'#' if level.len() > 1 || levels.peek().is_some() => {
                        return Err(TopicError::MultiLevelWildcardMisplaced);
                    }
                    b'+' if level.len() > 1 => {
                        return Err(TopicError::SingleLevelWildcardNotAlone);
                    }
                    _ => {}
                }
            }
        }
        Ok(TopicFilter(filter))
    }

    /// The filter as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes; `+` and `#` are levels of their own.
    #[must_use]
    pub fn levels(self) -> Levels<'a> {
        self.0.split('/')
    }

    /// Whether any level is a wildcard.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.0.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// The topic name that is this filter letter for letter, if it has no wildcard.
    #[must_use]
    pub fn as_topic_name(self) -> Option<TopicName<'a>> {
        (!self.has_wildcard()).then_some(TopicName(self.0))
    }

    /// The definition of matching, level by level (section 4.7). The index answers the same
    /// question for all filters at once; this is what it is tested against.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        // [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
        if name.starts_with_dollar() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = name.levels();
        for level in self.levels() {
            match (level, names.next()) {
                // `a/#` matches `a` too: "#" includes the parent level (section 4.7.1.2).
                ("#", _) => return true,
                (_, None) => return false,
                ("+", Some(_)) => {}
                (level, Some(name_level)) if level == name_level => {}
                (_, Some(_)) => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// Whether every byte is printable ASCII and none is `+` or `#`; eight bytes at a time.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~') && byte != b'+' && byte != b'#');
    };
    let (words, _) = bytes.as_chunks::<8>();
    // The last word overlaps the one before unless the length is a multiple of eight.
    words
        .iter()
        .fold(not_plain(*last), |found, word| found | not_plain(*word))
        == 0
}

/// The top bit of a byte is set if a byte of the word is not plain – not always its own: a byte
/// that is not plain can carry into the next.
#[inline]
const fn not_plain(word: [u8; 8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(word);
    let above_ascii = word;
    let delete_or_above = word.wrapping_add(EACH);
    let below_space = word.wrapping_sub(EACH * b' ' as u64);
    // '#' is '+' without bit 3, so that both become '+' and then zero.
    let wildcard = ((word | (EACH * 0x08)) ^ (EACH * b'+' as u64)).wrapping_sub(EACH);
    (above_ascii | delete_or_above | below_space | wildcard) & (EACH * 0x80)
}

fn check_length(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        Err(TopicError::Empty)
    } else if topic.len() > MAX_TOPIC_BYTES {
        Err(TopicError::TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let check = |name: &str, expected: Result<(), TopicError>| {
            assert_eq!(TopicName::new(name).map(|_| ()), expected, "{name:?}");
        };
        check("/", Ok(()));
        check("a//b/", Ok(()));
        check("$SYS/x y", Ok(()));
        check("", Err(TopicError::Empty));
        check("a/+", Err(TopicError::WildcardInName));
        check("a#", Err(TopicError::WildcardInName));
        check("a\0", Err(TopicError::NullCharacter));
        check(&"a".repeat(65_536), Err(TopicError::TooLong));
        check(&"a".repeat(65_535), Ok(()));
    }

    #[test]
    fn plain_is_what_the_definition_says_at_every_place() {
        for byte in 0..=u8::MAX {
            let expected = (0x20..0x7F).contains(&byte) && byte != b'+' && byte != b'#';
            for length in 1..=25 {
                for place in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    assert_eq!(
                        is_plain(&bytes),
                        expected,
                        "0x{byte:02X} at {place} of {length}"
                    );
                }
            }
        }
        assert!(TopicName::from_printable_ascii("").is_none());
        assert!(TopicName::from_printable_ascii(&"a".repeat(65_536)).is_none());
    }

    #[test]
    fn filters_are_checked() {
        let check = |filter: &str, expected: Result<(), TopicError>| {
            assert_eq!(TopicFilter::new(filter).map(|_| ()), expected, "{filter:?}");
        };
        check("#", Ok(()));
        check("+/+/#", Ok(()));
        check("a/+/b", Ok(()));
        check("", Err(TopicError::Empty));
        check("a/#/b", Err(TopicError::MultiLevelWildcardMisplaced));
        check("a#", Err(TopicError::MultiLevelWildcardMisplaced));
        check("##", Err(TopicError::MultiLevelWildcardMisplaced));
        check("a+", Err(TopicError::SingleLevelWildcardNotAlone));
        check("+a/b", Err(TopicError::SingleLevelWildcardNotAlone));
        check("a/\0", Err(TopicError::NullCharacter));
    }

    #[test]
    fn matching_follows_the_examples_of_section_4_7() {
        let check = |filter: &str, name: &str, expected: bool| {
            let filter = TopicFilter::new(filter).expect("a valid filter");
            let name = TopicName::new(name).expect("a valid name");
            assert_eq!(filter.matches(name), expected, "{filter:?} on {name:?}");
        };
        check("sport/tennis/player1/#", "sport/tennis/player1", true);
        check(
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/x",
            true,
        );
        check("sport/#", "sport", true);
        check("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check("sport/+", "sport", false);
        check("sport/+", "sport/", true);
        check("+/+", "/finance", true);
        check("/+", "/finance", true);
        check("+", "/finance", false);
        check("#", "$SYS/x", false);
        check("+/monitor", "$SYS/monitor", false);
        check("$SYS/#", "$SYS/x", true);
        check("$SYS/monitor/+", "$SYS/monitor/x", true);
        check("a", "A", false);
    }
}
