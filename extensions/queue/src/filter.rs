//! Which messages of a queue a feed is for.

use nexum_extension_api::{Address, ErrorCode, Refusal};

use crate::entry::Route;

/// Which messages a feed is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// All of them.
    All,
    /// Those whose levels match.
    Levels(Box<str>),
    /// Those that the lease mode shows under a key that matches.
    LeaseKey(Box<str>),
    /// Those that the lease mode shows without a key.
    NoLeaseKey,
    /// The dead letters.
    Dead,
}

/// How what is delivered on a feed is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `$queue/<name>`.
    Plain,
    /// `$queue/<name>/<levels>`.
    Levels,
    /// `$queue/<name>/$lease/<receipt>/<attempt>[/<key>]`.
    Lease,
    /// `$queue/<name>/$dlq`.
    Dead,
}

impl Filter {
    /// What a subscription asks for.
    pub(crate) fn parse(address: &Address) -> Result<(Filter, Form), Refusal> {
        let refuse = |reason: &'static str| Err(Refusal::new(ErrorCode::BadAddress, reason));
        match address.verb() {
            None if !address.has_levels() => Ok((Filter::All, Form::Plain)),
            None if address.levels() == "#" => Ok((Filter::All, Form::Levels)),
            None => Ok((Filter::Levels(address.levels().into()), Form::Levels)),
            Some(_) if address.has_levels() => refuse(
                "a verb follows the name of the queue: $queue/<name>/$lease/# or $queue/<name>/$dlq",
            ),
            Some("$dlq") if address.arguments().is_empty() => Ok((Filter::Dead, Form::Dead)),
            Some("$dlq") => refuse("dead letters are at $queue/<name>/$dlq, and nothing behind it"),
            Some("$lease") => {
                let filter = match address.arguments() {
                    "#" | "+/#" | "+/+/#" => Filter::All,
                    "+/+" => Filter::NoLeaseKey,
                    arguments => match arguments.strip_prefix("+/+/") {
                        Some(key) => Filter::LeaseKey(key.into()),
                        None => {
                            return refuse(
                                "the receipt and the attempt behind $lease are wildcards: \
                                 $queue/<name>/$lease/# or $queue/<name>/$lease/+/+/<key>",
                            );
                        }
                    },
                };
                Ok((filter, Form::Lease))
            }
            Some(_) => refuse(
                "a queue is subscribed to as $queue/<name>, $queue/<name>/<levels>, \
                 $queue/<name>/$lease/# or $queue/<name>/$dlq",
            ),
        }
    }

    /// Whether a living message is one of those.
    pub(crate) fn matches(&self, route: Option<&Route>) -> bool {
        match self {
            Filter::All => true,
            Filter::Levels(filter) => {
                let levels = route.and_then(|route| route.levels.as_deref());
                matches_levels(filter, levels)
            }
            Filter::LeaseKey(filter) => {
                let key = route.and_then(Route::lease_key).map(|key| &**key);
                matches_levels(filter, key)
            }
            Filter::NoLeaseKey => route.and_then(Route::lease_key).is_none(),
            Filter::Dead => false,
        }
    }
}

/// Whether levels match a filter over them. Without levels there is only what `#` has above it.
fn matches_levels(filter: &str, levels: Option<&str>) -> bool {
    let mut filter = filter.split('/');
    let mut levels = levels.map(|levels| levels.split('/'));
    let mut next_level = || levels.as_mut().and_then(Iterator::next);
    loop {
        match (filter.next(), next_level()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_match_as_topics_do() {
        for (filter, levels, expected) in [
            ("#", None, true),
            ("#", Some("a/b"), true),
            ("a", Some("a"), true),
            ("a", None, false),
            ("a/#", Some("a"), true),
            ("a/#", Some("a/b/c"), true),
            ("a/#", Some("b"), false),
            ("+", Some(""), true),
            ("+", None, false),
            ("+/b", Some("a/b"), true),
            ("+/b", Some("a/b/c"), false),
            ("+/+", Some("a"), false),
            ("+", Some("$SYS"), true),
        ] {
            assert_eq!(
                matches_levels(filter, levels),
                expected,
                "{filter} {levels:?}"
            );
        }
    }

    #[test]
    fn addresses_of_feeds() {
        let parse = |text: &str| {
            let address = Address::parse(text).expect("an address");
            Filter::parse(&address).map_err(|refusal| refusal.code)
        };
        assert_eq!(parse("$queue/q"), Ok((Filter::All, Form::Plain)));
        assert_eq!(parse("$queue/q/#"), Ok((Filter::All, Form::Levels)));
        assert_eq!(
            parse("$queue/q/eu/+"),
            Ok((Filter::Levels("eu/+".into()), Form::Levels))
        );
        assert_eq!(parse("$queue/q/$dlq"), Ok((Filter::Dead, Form::Dead)));
        assert_eq!(parse("$queue/q/$lease/#"), Ok((Filter::All, Form::Lease)));
        assert_eq!(
            parse("$queue/q/$lease/+/+/eu/#"),
            Ok((Filter::LeaseKey("eu/#".into()), Form::Lease))
        );
        assert_eq!(
            parse("$queue/q/$lease/+/+"),
            Ok((Filter::NoLeaseKey, Form::Lease))
        );
        for wrong in [
            "$queue/q/$lease",
            "$queue/q/$lease/17-1/+",
            "$queue/q/$lease/+",
            "$queue/q/$dlq/#",
            "$queue/q/eu/$lease/#",
            "$queue/q/$ctl/info",
        ] {
            assert_eq!(parse(wrong), Err(ErrorCode::BadAddress), "{wrong}");
        }
    }
}
