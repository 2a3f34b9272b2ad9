//! The words that a topic may begin with in the broker's own space (`$…`).
//!
//! Everything that begins with one of these words is spoken for: a topic under it means what the
//! word says, or nothing. Other topics that begin with `$` are ordinary ones, which no leading
//! wildcard matches.

/// A first level that is not an ordinary topic level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// `$SYS`: what the broker says about itself. Clients only read.
    Sys,
    /// A word of the grammar that an extension serves, or a wrapper around a target.
    Served(&'static str),
}

const SERVED: [&str; 12] = [
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

impl Word {
    /// The reserved word that `topic`, a name or a filter, begins with.
    pub(crate) fn of(topic: &str) -> Option<Word> {
        if !topic.starts_with('$') {
            return None;
        }
        let first = topic.split('/').next().unwrap_or(topic);
        if first == "$SYS" {
            return Some(Word::Sys);
        }
        SERVED
            .iter()
            .find(|word| **word == first)
            .map(|word| Word::Served(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_whole_levels() {
        assert_eq!(Word::of("$SYS/broker"), Some(Word::Sys));
        assert_eq!(Word::of("$queue/jobs"), Some(Word::Served("$queue")));
        assert_eq!(Word::of("$queue"), Some(Word::Served("$queue")));
        assert_eq!(Word::of("$queues/jobs"), None);
        assert_eq!(Word::of("$mine"), None);
        assert_eq!(Word::of("queue"), None);
    }
}
