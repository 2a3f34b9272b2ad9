//! What the filters of a SUBSCRIBE ask for, and whether a session may have it.

use std::sync::Arc;

use nexum_codec::UserProperties;
use nexum_extension_api::{Address, ErrorCode, Options, Refusal as ExtensionRefusal};
use nexum_types::{ReasonCode, SharedSubscription, TopicFilter};

use super::Shard;
use super::exclusive::exclusive;
use super::feeds::FeedWish;
use crate::address::{Root, SubscribeAddress, canonical, of_option};
use crate::subscription::Subscriber;

/// Why one filter is refused.
pub(super) struct Refusal {
    pub(super) reason_code: ReasonCode,
    pub(super) reason_string: String,
}

/// One filter of a SUBSCRIBE that may be subscribed to.
pub(super) enum Request<'a> {
    Plain(TopicFilter<'a>),
    /// The group's name: `<ShareName>/<filter>`.
    Shared(Arc<str>),
    /// Replies to this session.
    Replies,
    /// What an extension serves.
    Feed(FeedWish),
}

pub(super) fn refusal(reason_code: ReasonCode, reason_string: impl Into<String>) -> Refusal {
    Refusal {
        reason_code,
        reason_string: reason_string.into(),
    }
}

impl From<ExtensionRefusal> for Refusal {
    fn from(refused: ExtensionRefusal) -> Refusal {
        refusal(refused.code.of_subscribe(), refused.reason)
    }
}

impl Shard {
    pub(super) fn check_request<'a>(
        &self,
        session: u32,
        filter: &'a str,
    ) -> Result<Request<'a>, Refusal> {
        let state = &self.sessions[session as usize];
        let (request, bytes, is_new) = if let Some(wish) = self.feed_wish(filter)? {
            let is_new = !state.feeds.contains_key(filter);
            (Request::Feed(wish), filter.len(), is_new)
        } else if self.words.root(filter) == Root::Reply {
            self.check_levels(filter)?;
            let is_new = !state.replies.iter().any(|(known, _)| **known == *filter);
            (Request::Replies, filter.len(), is_new)
        } else {
            let filter = exclusive(filter).unwrap_or(filter);
            self.check_plain_request(session, filter)?
        };
        let count = state.subscriptions.len()
            + state.shared_subscriptions.len()
            + state.replies.len()
            + state.feeds.len();
        if is_new && count >= self.limits.maximum_subscriptions_per_session as usize {
            let text = format!("a session has at most {count} subscriptions here");
            return Err(refusal(ReasonCode::QuotaExceeded, text));
        }
        let most = self.limits.maximum_subscription_bytes_per_session;
        if is_new && state.subscription_bytes + bytes as u64 > most {
            let text = format!("the filters of a session have at most {most} bytes here");
            return Err(refusal(ReasonCode::QuotaExceeded, text));
        }
        Ok(request)
    }

    /// With its bytes, and whether the session has not subscribed to it yet.
    fn check_plain_request<'a>(
        &self,
        session: u32,
        filter: &'a str,
    ) -> Result<(Request<'a>, usize, bool), Refusal> {
        match SharedSubscription::parse(filter) {
            None => {
                let filter = self.check_filter(filter)?;
                let subscriber = Subscriber::Session(session);
                let id = self.index.find(filter);
                let existing = id.and_then(|id| self.index.value(id, subscriber));
                let bytes = filter.as_str().len();
                Ok((Request::Plain(filter), bytes, existing.is_none()))
            }
            Some(Err(error)) => Err(refusal(ReasonCode::TopicFilterInvalid, error.to_string())),
            Some(Ok(shared)) => {
                let filter = self.check_filter(shared.filter().as_str())?;
                let name = format!("{}/{}", shared.share_name(), filter.as_str());
                let joined = &self.sessions[session as usize].shared_subscriptions;
                let is_new = self
                    .groups
                    .find(&name)
                    .is_none_or(|group| !joined.contains(&group));
                let bytes = name.len();
                Ok((Request::Shared(Arc::from(name)), bytes, is_new))
            }
        }
    }

    /// What a filter asks of an extension, if it does.
    pub(super) fn feed_wish(&self, filter: &str) -> Result<Option<FeedWish>, ExtensionRefusal> {
        if !filter.starts_with('$') {
            return Ok(None);
        }
        let is_shared = SharedSubscription::parse(filter).is_some();
        let address = match SubscribeAddress::parse(filter) {
            Ok(address) => address,
            // What is wrong with a shared subscription is said by who knows it better.
            Err(_) if is_shared => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let Root::Served { served, spelling } = self.words.root(address.target) else {
            return Ok(None);
        };
        if let Some(Err(error)) = SharedSubscription::parse(filter) {
            return Err(ExtensionRefusal::new(
                ErrorCode::BadAddress,
                error.to_string(),
            ));
        }
        if address.filter.is_some() {
            return Err(super::unwrap::nobody_serves("$filter"));
        }
        let target = canonical(address.target, spelling, served.claim.word);
        TopicFilter::new(&target)
            .map_err(|error| ExtensionRefusal::new(ErrorCode::BadAddress, error.to_string()))?;
        let parsed = Address::parse(&target).map_err(|error| super::unwrap::of_address(&error))?;
        Ok(Some(FeedWish {
            served,
            spelling,
            address: parsed,
            share_name: address.share_name.map(Box::from),
            wants_present: true,
        }))
    }

    fn check_filter<'a>(&self, filter: &'a str) -> Result<TopicFilter<'a>, Refusal> {
        match self.words.root(filter) {
            Root::Plain | Root::Sys => {}
            Root::Reply => {
                let text = "replies are private to each session: subscribe to $reply/… as it is";
                return Err(refusal(ReasonCode::TopicFilterInvalid, text));
            }
            Root::Served { .. } => {
                let text = format!("{filter} is served as a whole, not as a topic");
                return Err(refusal(ReasonCode::TopicFilterInvalid, text));
            }
            Root::Reserved(word) => {
                return Err(super::unwrap::nobody_serves(word).into());
            }
        }
        self.check_levels(filter)
    }

    fn check_levels<'a>(&self, filter: &'a str) -> Result<TopicFilter<'a>, Refusal> {
        let filter = TopicFilter::new(filter)
            .map_err(|error| refusal(ReasonCode::TopicFilterInvalid, error.to_string()))?;
        let most = usize::from(self.limits.maximum_topic_levels);
        if filter.as_str().len() >= most && filter.levels().count() > most {
            let text = format!("a topic filter has at most {most} levels here");
            return Err(refusal(ReasonCode::TopicFilterInvalid, text));
        }
        Ok(filter)
    }
}

/// The options for one of the filters: User Properties are of the whole packet, and apply to all of
/// its filters, or with a number behind the key to that one.
pub(super) fn options_of(
    properties: UserProperties<'_>,
    number: usize,
) -> Result<Option<Box<Options>>, ExtensionRefusal> {
    let mut options = Options::default();
    for (name, value) in properties.iter() {
        let key = match name.rsplit_once('.') {
            Some((key, of)) if of.parse() == Ok(number) => key,
            Some(_) => continue,
            None => name,
        };
        if matches!(key, "from" | "filter") {
            options.set(key, value).map_err(|error| of_option(&error))?;
        }
    }
    Ok((options != Options::default()).then(|| Box::new(options)))
}
