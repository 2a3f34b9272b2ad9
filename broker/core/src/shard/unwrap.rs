//! What is published to an address, out of its wrappers: where it goes, with which options, and when.

use nexum_extension_api::{
    Address, AddressError, ErrorCode, NameError, Options, Refusal, parse_when,
};
use nexum_types::{Time, TopicName};

use super::Shard;
use crate::address::{PublishAddress, Root, canonical, of_option};

/// The verb of `$delayed` in the place of a time.
pub(super) const CANCEL: &str = "$cancel";

/// A publication without its wrappers.
pub(super) struct Unwrapped<'a> {
    pub(super) tag: Option<&'a str>,
    pub(super) options: Options,
    pub(super) target: &'a str,
    pub(super) root: Root,
    /// When it is to be published, if not now.
    pub(super) due: Option<Time>,
}

impl Shard {
    /// Why a client may not have a will on this topic, if so.
    pub(super) fn refusal_of_will(&self, topic: &str, now: Time) -> Option<Refusal> {
        let unwrapped = match self.unwrap(topic, std::iter::empty(), now) {
            Ok(unwrapped) => unwrapped,
            Err(refusal) => return Some(refusal),
        };
        let Root::Served { served, spelling } = unwrapped.root else {
            return None;
        };
        let address = canonical(unwrapped.target, spelling, served.claim.word);
        Address::parse(&address)
            .err()
            .map(|error| of_address(&error))
    }

    pub(super) fn unwrap<'a, 'p>(
        &self,
        topic: &'a str,
        user_properties: impl Iterator<Item = (&'p str, &'p str)>,
        now: Time,
    ) -> Result<Unwrapped<'a>, Refusal> {
        let address = PublishAddress::parse(topic)?;
        let mut options = address.options;
        let root = self.words.root(address.target);
        // On a plain topic User Properties are the application's, but for the one that says when,
        // and then the one by which that can be cancelled.
        let user_properties: Vec<_> = user_properties.collect();
        let is_later = address.when.is_some()
            || options.delay.is_some()
            || user_properties.iter().any(|(key, _)| *key == "delay");
        for (key, value) in user_properties {
            let is_option = match root {
                Root::Plain => key == "delay" || key == "id" && is_later,
                Root::Sys | Root::Reply | Root::Served { .. } | Root::Reserved(_) => {
                    Options::is_key(key)
                }
            };
            if is_option {
                options.set(key, value).map_err(|error| of_option(&error))?;
            }
        }
        let is_cancelled = address.when == Some(CANCEL);
        let due = match (address.when.filter(|_| !is_cancelled), options.delay) {
            (Some(_), Some(_)) => {
                let reason = "$delayed and the option 'delay' say the same twice";
                return Err(Refusal::new(ErrorCode::BadOption, reason));
            }
            (Some(when), None) => Some(parse_when(when, now).map_err(|error| {
                Refusal::new(
                    ErrorCode::BadOption,
                    format!("'{when}' in $delayed: {error}"),
                )
            })?),
            (None, Some(delay)) => Some(now + delay),
            (None, None) => None,
        };
        options.delay = None;
        let unwrapped = Unwrapped {
            tag: address.tag,
            options,
            target: address.target,
            root: if is_cancelled {
                Root::Reserved(CANCEL)
            } else {
                root
            },
            due,
        };
        if !is_cancelled {
            self.check_target(&unwrapped)?;
        }
        Ok(unwrapped)
    }

    /// Whether something may be published there.
    fn check_target(&self, unwrapped: &Unwrapped<'_>) -> Result<(), Refusal> {
        match unwrapped.root {
            Root::Plain => {
                let topic = TopicName::new(unwrapped.target)
                    .map_err(|error| Refusal::new(ErrorCode::BadAddress, error.to_string()))?;
                if let Some(refusal) = self.refusal_of(topic) {
                    return Err(refusal);
                }
                match unwrapped.options.first_beyond(&["delay", "ttl", "id"]) {
                    None => Ok(()),
                    Some(key) => Err(Refusal::new(
                        ErrorCode::BadOption,
                        format!("the option '{key}' means nothing on a plain topic"),
                    )),
                }
            }
            Root::Sys | Root::Reply => Err(Refusal::new(
                ErrorCode::NotAuthorized,
                "only the broker publishes to $SYS and $reply",
            )),
            Root::Reserved(word) => Err(nobody_serves(word)),
            Root::Served { .. } => Ok(()),
        }
    }
}

/// On 5, a verb may be answered at the Response Topic. What is pushed without one keeps its Response
/// Topic for whoever gets it.
pub(super) fn is_verb(unwrapped: &Unwrapped<'_>) -> bool {
    match unwrapped.root {
        Root::Served { .. } => PublishAddress::asks(unwrapped.target),
        Root::Reserved(CANCEL) => true,
        Root::Plain | Root::Sys | Root::Reply | Root::Reserved(_) => false,
    }
}

pub(super) fn nobody_serves(word: &str) -> Refusal {
    Refusal::new(
        ErrorCode::BadAddress,
        format!("nothing on this broker serves {word}"),
    )
}

/// The refusal of a topic under a word that is served.
pub(super) fn of_address(error: &AddressError) -> Refusal {
    let code = match error {
        AddressError::Name(NameError::Wildcard) => ErrorCode::WildcardInName,
        AddressError::Name(NameError::Empty | NameError::TooLong | NameError::Characters)
        | AddressError::TooLong => ErrorCode::BadAddress,
    };
    Refusal::new(code, error.to_string())
}
