//! Topics that begin with `$`: wrappers around a target, taken apart once.
//!
//! ```text
//! publish   = [ "$req/" tag "/" ] [ "$opt/" key=value *("," key=value) "/" ] [ "$delayed/" when "/" ] target
//! subscribe = [ "$share/" group "/" / "$exclusive/" ] [ "$filter/" expr "/" ] target
//! ```
//!
//! A target is a plain topic or begins with a word that is spoken for. Other topics that begin with
//! `$` are ordinary ones, which no leading wildcard matches.

use std::borrow::Cow;
use std::sync::Arc;

use nexum_extension_api::{Claim, ErrorCode, OptionError, Options, RESERVED_WORDS, Refusal};

/// The longest tag of `$req`, in bytes.
const LONGEST_TAG: usize = 32;

/// An extension, by its place in the order in which they were composed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionId(pub u8);

/// Who serves a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The extension.
    pub extension: ExtensionId,
    /// What it claims.
    pub claim: Claim,
}

/// What the first level of a target says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// An ordinary topic.
    Plain,
    /// `$SYS`: what the broker says about itself. Clients only read.
    Sys,
    /// `$reply`: answers to one session.
    Reply,
    /// A word that an extension serves…
    Served {
        served: Served,
        /// …and how it was written.
        spelling: &'static str,
    },
    /// A word that nobody serves here, or that is no target.
    Reserved(&'static str),
}

/// The words that are served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    served: Arc<[Served]>,
}

impl Words {
    pub(crate) fn new(served: Arc<[Served]>) -> Words {
        Words { served }
    }

    /// What a target, a name or a filter, begins with.
    pub(crate) fn root(&self, target: &str) -> Root {
        if !target.starts_with('$') {
            return Root::Plain;
        }
        let first = first_level(target);
        if first == "$SYS" {
            return Root::Sys;
        }
        if first == "$reply" {
            return Root::Reply;
        }
        for served in &*self.served {
            let claim = served.claim;
            let mut spellings = std::iter::once(&claim.word).chain(claim.aliases);
            if let Some(spelling) = spellings.find(|spelling| **spelling == first) {
                return Root::Served {
                    served: *served,
                    spelling,
                };
            }
        }
        match RESERVED_WORDS.iter().find(|word| **word == first) {
            Some(word) => Root::Reserved(word),
            None => Root::Plain,
        }
    }

    /// Everybody who keeps what is to be published later.
    pub(crate) fn delaying(&self) -> impl Iterator<Item = &Served> {
        self.served
            .iter()
            .filter(|served| served.claim.delays || served.claim.word == "$delayed")
    }

    /// Who keeps what others do not.
    pub(crate) fn delayed(&self) -> Option<Served> {
        let mut served = self.served.iter();
        served
            .find(|served| served.claim.word == "$delayed")
            .copied()
    }

    /// Whether a topic means more than itself: a wrapper, or a word that is spoken for.
    #[inline]
    pub(crate) fn is_addressed(&self, topic: &str) -> bool {
        topic.starts_with('$') && self.root(topic) != Root::Plain
    }
}

/// A target under its word instead of an alias of it.
pub(crate) fn canonical<'a>(target: &'a str, spelling: &str, word: &str) -> Cow<'a, str> {
    if spelling == word {
        Cow::Borrowed(target)
    } else {
        Cow::Owned(format!("{word}{}", &target[spelling.len()..]))
    }
}

/// Something published, without its wrappers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PublishAddress<'a> {
    /// `$req`: what its reply is to be called.
    pub(crate) tag: Option<&'a str>,
    /// `$opt`.
    pub(crate) options: Options,
    /// `$delayed`: when, not looked at yet.
    pub(crate) when: Option<&'a str>,
    pub(crate) target: &'a str,
}

/// Something subscribed to, without its wrappers. `$share` is known before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscribeAddress<'a> {
    pub(crate) share_name: Option<&'a str>,
    pub(crate) exclusive: bool,
    /// `$filter`: an expression, not looked at yet.
    pub(crate) filter: Option<&'a str>,
    pub(crate) target: &'a str,
}

impl<'a> PublishAddress<'a> {
    /// The tag of `$req`, whatever may be wrong with the rest.
    pub(crate) fn tag_of(topic: &'a str) -> Option<&'a str> {
        let (tag, _) = wrapper(topic, "$req").ok()??;
        check_tag(tag).ok().map(|()| tag)
    }

    /// Whether a topic has a verb, whatever may be wrong with it otherwise.
    pub(crate) fn asks(topic: &str) -> bool {
        let mut levels = topic.split('/');
        while let Some(level) = levels.next() {
            match level {
                "$req" | "$opt" => drop(levels.next()),
                "$delayed" if levels.next() == Some("$cancel") => return true,
                "$delayed" => {}
                // The name follows, which begins with no `$`.
                _ => return level.starts_with('$') && levels.skip(1).any(|it| it.starts_with('$')),
            }
        }
        false
    }

    /// Takes the wrappers off a topic.
    pub(crate) fn parse(topic: &'a str) -> Result<PublishAddress<'a>, Refusal> {
        let mut address = PublishAddress {
            target: topic,
            ..PublishAddress::default()
        };
        if let Some((tag, rest)) = wrapper(address.target, "$req")? {
            check_tag(tag)?;
            address.tag = Some(tag);
            address.target = rest;
        }
        if let Some((options, rest)) = wrapper(address.target, "$opt")? {
            address.options = parse_options(options)?;
            address.target = rest;
        }
        if let Some((when, rest)) = wrapper(address.target, "$delayed")? {
            address.when = Some(when);
            address.target = rest;
        }
        match first_level(address.target) {
            word @ ("$req" | "$opt" | "$delayed") => Err(bad_address(format!(
                "{word} is out of place: wrappers stand in the order $req, $opt, $delayed, each at \
                 most once"
            ))),
            word @ ("$share" | "$exclusive" | "$filter") => Err(bad_address(format!(
                "{word} belongs around what is subscribed to, not around what is published to"
            ))),
            _ if address.target.is_empty() => {
                Err(bad_address("a topic is missing behind the wrappers"))
            }
            _ => Ok(address),
        }
    }
}

impl<'a> SubscribeAddress<'a> {
    /// Takes the wrappers off a topic filter.
    pub(crate) fn parse(filter: &'a str) -> Result<SubscribeAddress<'a>, Refusal> {
        let mut address = SubscribeAddress {
            target: filter,
            ..SubscribeAddress::default()
        };
        if let Some((share_name, rest)) = wrapper(address.target, "$share")? {
            address.share_name = Some(share_name);
            address.target = rest;
        } else if first_level(address.target) == "$exclusive" {
            address.exclusive = true;
            let rest = address.target.strip_prefix("$exclusive/");
            address.target = rest.unwrap_or_default();
        }
        if let Some((expression, rest)) = wrapper(address.target, "$filter")? {
            address.filter = Some(expression);
            address.target = rest;
        }
        match first_level(address.target) {
            word @ ("$share" | "$exclusive" | "$filter") => Err(bad_address(format!(
                "{word} is out of place: wrappers stand in the order $share or $exclusive, $filter, \
                 each at most once"
            ))),
            word @ ("$req" | "$opt" | "$delayed") => Err(bad_address(format!(
                "{word} belongs around what is published to, not around what is subscribed to"
            ))),
            _ if address.target.is_empty() => {
                Err(bad_address("a topic filter is missing behind the wrappers"))
            }
            _ => Ok(address),
        }
    }
}

fn first_level(topic: &str) -> &str {
    topic.split('/').next().unwrap_or(topic)
}

fn bad_address(reason: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadAddress, reason)
}

/// What a wrapper says, and what it is around.
fn wrapper<'a>(topic: &'a str, word: &'static str) -> Result<Option<(&'a str, &'a str)>, Refusal> {
    if first_level(topic) != word {
        return Ok(None);
    }
    let rest = topic[word.len()..].strip_prefix('/').unwrap_or_default();
    match rest.split_once('/') {
        Some((said, rest)) if !said.is_empty() => Ok(Some((said, rest))),
        Some(_) | None => Err(bad_address(format!(
            "{word} is followed by what it says, a slash and a topic"
        ))),
    }
}

fn check_tag(tag: &str) -> Result<(), Refusal> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // One that is only `-` names the notices.
    if tag.len() > LONGEST_TAG || !tag.bytes().all(is_allowed) || tag == "-" {
        return Err(bad_address(
            "the tag of $req is 1 to 32 letters, digits, - or _, and not a lone -",
        ));
    }
    Ok(())
}

/// `key=value,…`, percent-encoded.
fn parse_options(text: &str) -> Result<Options, Refusal> {
    let bad_option = |reason: Cow<'static, str>| Refusal::new(ErrorCode::BadOption, reason);
    let mut options = Options::default();
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(bad_option(
                format!("'{pair}' in $opt is no option: they are written key=value").into(),
            ));
        };
        let (Some(key), Some(value)) = (decode_percent(key), decode_percent(value)) else {
            return Err(bad_option(
                format!("'{pair}' in $opt is not percent-encoded UTF-8").into(),
            ));
        };
        options
            .set(&key, &value)
            .map_err(|error| of_option(&error))?;
    }
    Ok(options)
}

/// The refusal of an option.
pub(crate) fn of_option(error: &OptionError) -> Refusal {
    Refusal::new(ErrorCode::BadOption, error.to_string())
}

/// Undoes `%2F`; `None` if it is malformed, or no UTF-8 that a string of MQTT may hold.
fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after.get(..2)?;
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            bytes.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn words() -> Words {
        let claim = |word, aliases, delays| Claim {
            word,
            aliases,
            delays,
        };
        let claims = [
            claim("$queue", &["$q"] as &[_], true),
            claim("$delayed", &[] as &[_], false),
        ];
        let served = claims.into_iter().enumerate().map(|(place, claim)| Served {
            extension: ExtensionId(place as u8),
            claim,
        });
        Words::new(served.collect())
    }

    #[test]
    fn words_are_whole_levels() {
        let words = words();
        let served = |target| match words.root(target) {
            Root::Served { served, spelling } => Some((served.claim.word, spelling)),
            _ => None,
        };
        assert_eq!(served("$queue/jobs"), Some(("$queue", "$queue")));
        assert_eq!(served("$queue"), Some(("$queue", "$queue")));
        assert_eq!(served("$q/jobs"), Some(("$queue", "$q")));
        assert_eq!(words.root("$SYS/broker"), Root::Sys);
        assert_eq!(words.root("$reply/1/ok"), Root::Reply);
        assert_eq!(words.root("$kv/b/k"), Root::Reserved("$kv"));
        for plain in ["$queues/jobs", "$mine", "queue", "$"] {
            assert_eq!(words.root(plain), Root::Plain, "{plain}");
        }
        assert_eq!(canonical("$q/jobs/a", "$q", "$queue"), "$queue/jobs/a");
    }

    #[test]
    fn publications_are_unwrapped() {
        let parse = |topic| PublishAddress::parse(topic).expect("an address");
        assert_eq!(parse("$queue/jobs").target, "$queue/jobs");
        let all = parse("$req/t-1/$opt/prio=9,key=a%2Fb%2c/$delayed/60/$queue/jobs/eu");
        assert_eq!(all.tag, Some("t-1"));
        assert_eq!(all.options.priority, Some(9));
        assert_eq!(all.options.key.as_deref(), Some("a/b,"));
        assert_eq!(all.when, Some("60"));
        assert_eq!(all.target, "$queue/jobs/eu");
        assert_eq!(parse("$opt/ttl=5m/a/b").target, "a/b");
        let minutes = Some(Duration::from_secs(300));
        assert_eq!(parse("$opt/ttl=5m/a/b").options.time_to_live, minutes);
        assert_eq!(parse("$delayed/1/a").target, "a");
        assert_eq!(parse("$delayed/$cancel/x").target, "x");
    }

    #[test]
    fn what_is_published_has_its_wrappers_in_order() {
        let code = |topic| match PublishAddress::parse(topic) {
            Ok(address) => panic!("{address:?}"),
            Err(refusal) => refusal.code,
        };
        for topic in [
            "$req",
            "$req/",
            "$req/t",
            "$req//x",
            "$req/t/",
            "$req/-/x",
            "$req/a b/x",
            "$req/123456789012345678901234567890123/x",
            "$opt",
            "$opt/prio=1",
            "$delayed/60",
            "$delayed//x",
            "$delayed/60/",
            "$opt/prio=1/$req/t/x",
            "$delayed/60/$opt/prio=1/x",
            "$req/t/$req/u/x",
            "$delayed/1/$delayed/2/x",
            "$share/g/x",
            "$exclusive/x",
            "$req/t/$filter/a=1/x",
        ] {
            assert_eq!(code(topic), ErrorCode::BadAddress, "{topic}");
        }
        for topic in [
            "$opt/prio/x",
            "$opt/prio=256/x",
            "$opt/prio=1,prio=2/x",
            "$opt/nonsense=1/x",
            "$opt/key=%4/x",
            "$opt/key=%ff/x",
            "$opt/key=%00/x",
            "$opt/,/x",
        ] {
            assert_eq!(code(topic), ErrorCode::BadOption, "{topic}");
        }
    }

    #[test]
    fn verbs_are_seen_whatever_else_is_wrong() {
        for (topic, asks) in [
            ("$queue/jobs/$ctl/info", true),
            ("$queue/../$ctl/info", true),
            ("$opt/nonsense/$queue/jobs/eu/$ctl/info", true),
            ("$req/t/$delayed/soon/$q/jobs/$ack/1-1", true),
            ("$delayed/$cancel/id", true),
            ("$queue/jobs/eu", false),
            ("$queue/$ctl", false),
            ("$delayed/60/$queue/jobs", false),
            ("plain/$topic/$of/its/own", false),
            ("$opt", false),
            ("$delayed", false),
        ] {
            assert_eq!(PublishAddress::asks(topic), asks, "{topic}");
        }
    }

    #[test]
    fn subscriptions_are_unwrapped() {
        let parse = |filter| SubscribeAddress::parse(filter).expect("an address");
        assert_eq!(parse("$queue/jobs/#").target, "$queue/jobs/#");
        let shared = parse("$share/g/$queue/jobs");
        assert_eq!(shared.share_name, Some("g"));
        assert_eq!(shared.target, "$queue/jobs");
        let exclusive = parse("$exclusive/$filter/a=1/t/#");
        assert!(exclusive.exclusive);
        assert_eq!(exclusive.filter, Some("a=1"));
        assert_eq!(exclusive.target, "t/#");
        for filter in [
            "$share/g",
            "$exclusive",
            "$exclusive/",
            "$exclusive/$share/g/t",
            "$share/g/$exclusive/t",
            "$filter/a=1/$share/g/t",
            "$filter/a=1",
            "$req/1/t",
            "$opt/from=earliest/t",
            "$delayed/1/t",
        ] {
            let refusal = SubscribeAddress::parse(filter);
            assert!(
                matches!(&refusal, Err(refusal) if refusal.code == ErrorCode::BadAddress),
                "{filter}: {refusal:?}"
            );
        }
    }
}
