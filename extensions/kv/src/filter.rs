//! Which keys of a bucket a feed is for.

use nexum_extension_api::{Address, ErrorCode, RecordKey, Refusal};
use nexum_types::{TopicFilter, TopicName};

use crate::record::{Key, behind, entries_from};

/// A filter over keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    levels: Box<str>,
    is_exact: bool,
}

impl Filter {
    /// What a subscription asks for.
    ///
    /// # Errors
    /// It is for no keys.
    pub(crate) fn parse(address: &Address) -> Result<Filter, Refusal> {
        let refuse = |reason: &'static str| Err(Refusal::new(ErrorCode::BadAddress, reason));
        if address.verb().is_some() {
            return refuse(
                "what has a verb is published: a key is watched as $kv/<bucket>/<key>, and a \
                 value is asked for by $req/<tag>/$kv/<bucket>/<key>/$get",
            );
        }
        let levels = address.levels();
        let Ok(filter) = TopicFilter::new(levels) else {
            return refuse(
                "a key or a filter follows the name of the bucket: $kv/<bucket>/<key> or \
                 $kv/<bucket>/#",
            );
        };
        Ok(Filter {
            levels: Box::from(levels),
            is_exact: !filter.has_wildcard(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.levels
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact
    }

    pub(crate) fn matches(&self, key: &str) -> bool {
        matches(&self.levels, key)
    }

    /// Where the keys are that may match: from the first on, and before the last.
    pub(crate) fn bounds(&self, bucket: u64) -> (RecordKey, RecordKey) {
        if self.is_exact {
            let from = entries_from(bucket, &self.levels);
            let mut to = from.to_vec();
            to.push(0);
            return (from, RecordKey::from(&*to));
        }
        let wildcard = self.levels.find(['+', '#']).unwrap_or(self.levels.len());
        let prefix = &self.levels[..wildcard];
        let all = |prefix| behind(&Key::Entry(bucket, prefix).encode());
        // `a/#` is for `a`, too.
        let first = match self.levels.get(wildcard..) {
            Some("#") => prefix.strip_suffix('/').unwrap_or(prefix),
            Some(_) | None => prefix,
        };
        (entries_from(bucket, first), all(prefix))
    }
}

/// Whether a filter over keys matches one.
pub(crate) fn matches(filter: &str, key: &str) -> bool {
    let (Ok(filter), Ok(key)) = (TopicFilter::new(filter), TopicName::new(key)) else {
        return false;
    };
    filter.matches(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(levels: &str) -> Filter {
        let address = Address::parse(&format!("$kv/b/{levels}")).expect("an address");
        Filter::parse(&address).expect("a filter")
    }

    #[test]
    fn what_matches_is_within_the_bounds() {
        let keys = ["a", "a!", "a/b", "a/b/c", "a/c", "ab", "b", "/a", "a/"];
        for levels in ["#", "+", "a", "a/#", "a/+", "a/b/#", "+/b", "+/#", "a/+/c"] {
            let filter = filter(levels);
            let (from, to) = filter.bounds(1);
            for key in keys {
                let at = entries_from(1, key);
                let is_within = from <= at && at < to;
                assert!(is_within || !filter.matches(key), "{levels} {key}");
            }
            assert!(entries_from(0, "z") < from && to <= entries_from(2, ""));
        }
        let (from, to) = filter("a").bounds(1);
        assert!(entries_from(1, "a") >= from && entries_from(1, "a!") >= to);
    }

    #[test]
    fn addresses_of_feeds() {
        for wrong in ["$kv/b", "$kv/b/", "$kv/b/a/$get", "$kv/b/$ctl/info"] {
            let address = Address::parse(wrong).expect("an address");
            let refused = Filter::parse(&address).map_err(|refusal| refusal.code);
            assert_eq!(refused, Err(ErrorCode::BadAddress), "{wrong}");
        }
    }
}
