use crate::topic::{TopicError, TopicFilter};

/// A shared subscription: the ShareName and the filter that its members share (MQTT 5 section
/// 4.8.2; on 3.1.1 the same form is accepted as an extension).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedSubscription<'a> {
    share_name: &'a str,
    filter: TopicFilter<'a>,
}

/// Why a filter that begins with `$share/` is not a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareError {
    /// [MQTT-4.8.2-1]: the ShareName is at least one character long.
    EmptyShareName,
    /// [MQTT-4.8.2-2]: the ShareName holds no `/`, `+` or `#` and a `/` and a filter follow it.
    ShareNameMalformed,
    /// What follows the ShareName is no topic filter.
    Filter(TopicError),
}

impl<'a> SharedSubscription<'a> {
    /// Reads a filter as a shared subscription; `None` if it does not begin with `$share/`.
    ///
    /// # Errors
    /// What is wrong with a filter that begins with `$share/`.
    pub fn parse(filter: &'a str) -> Option<Result<SharedSubscription<'a>, ShareError>> {
        let rest = match filter.strip_prefix("$share") {
            Some("") => return Some(Err(ShareError::ShareNameMalformed)),
            Some(rest) => rest.strip_prefix('/')?,
            None => return None,
        };
        Some(SharedSubscription::parse_rest(rest))
    }

    fn parse_rest(rest: &'a str) -> Result<SharedSubscription<'a>, ShareError> {
        let (share_name, filter) = rest.split_once('/').ok_or(ShareError::ShareNameMalformed)?;
        if share_name.is_empty() {
            return Err(ShareError::EmptyShareName);
        }
        if share_name.contains(['+', '#']) {
            return Err(ShareError::ShareNameMalformed);
        }
        let filter = TopicFilter::new(filter).map_err(ShareError::Filter)?;
        Ok(SharedSubscription { share_name, filter })
    }

    /// The name that groups the members.
    #[must_use]
    pub const fn share_name(self) -> &'a str {
        self.share_name
    }

    /// The filter without `$share/<ShareName>/`.
    #[must_use]
    pub const fn filter(self) -> TopicFilter<'a> {
        self.filter
    }
}

impl std::fmt::Display for ShareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ShareError::EmptyShareName => f.write_str("the ShareName needs at least one character"),
            ShareError::ShareNameMalformed => {
                f.write_str("a shared subscription is $share/<ShareName>/<filter>, the name without '/', '+', '#'")
            }
            ShareError::Filter(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ShareError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_section_4_8_2_allows() {
        let shared = SharedSubscription::parse("$share/workers//jobs/+")
            .expect("begins with $share/")
            .expect("well formed");
        assert_eq!(shared.share_name(), "workers");
        assert_eq!(shared.filter().as_str(), "/jobs/+");
        assert_eq!(SharedSubscription::parse("$shared/x/y"), None);
        assert_eq!(SharedSubscription::parse("jobs"), None);
    }

    #[test]
    fn refuses_the_rest() {
        let check = |filter: &str, error: ShareError| {
            assert_eq!(
                SharedSubscription::parse(filter),
                Some(Err(error)),
                "{filter:?}"
            );
        };
        check("$share", ShareError::ShareNameMalformed);
        check("$share/", ShareError::ShareNameMalformed);
        check("$share/g", ShareError::ShareNameMalformed);
        check("$share//a", ShareError::EmptyShareName);
        check("$share/g/", ShareError::Filter(TopicError::Empty));
        check("$share/g+/a", ShareError::ShareNameMalformed);
        check("$share/#/a", ShareError::ShareNameMalformed);
    }
}
