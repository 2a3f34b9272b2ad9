//! Retained messages on their way to a new subscription.
//!
//! They are pulled as the session has room for them, one cursor a subscription, so a subscription
//! to a million retained messages costs a cursor and not a million queue entries. A session walks
//! with a few cursors at a time; what else it subscribed to waits as a request, at most one a
//! filter, so asking again and again without reading the answers costs nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use nexum_types::{Message, QoS};

use crate::key::ShardId;
use crate::retained::ReplayId;

/// How many topics published meanwhile are remembered for the replays from other shards.
const OVERTAKEN_MAXIMUM: usize = 65_536;

/// Retained messages that are due for one filter after its SUBACK.
#[derive(Debug)]
pub(crate) struct ReplayRequest {
    pub(crate) filter: Arc<str>,
    pub(crate) maximum_qos: QoS,
    pub(crate) subscription_identifier: Option<u32>,
    /// What [`Overtaken::now`] was when it was asked for first on this connection: from then on
    /// newer messages go to the session.
    pub(crate) since: u64,
}

/// Requests whose turn has not come, in their order.
#[derive(Debug, Default)]
pub(crate) struct ReplayRequests {
    in_order: BTreeMap<u64, ReplayRequest>,
    by_filter: BTreeMap<Arc<str>, u64>,
    next: u64,
}

impl ReplayRequests {
    /// A filter that waits already keeps its place: the messages will be sent after the latest
    /// SUBACK, once and on its terms. Returns whether there is one more now.
    pub(crate) fn push(&mut self, mut request: ReplayRequest) -> bool {
        let place = *self
            .by_filter
            .entry(Arc::clone(&request.filter))
            .or_insert(self.next);
        self.next += 1;
        if let Some(first) = self.in_order.get(&place) {
            request.since = first.since;
        }
        self.in_order.insert(place, request).is_none()
    }

    pub(crate) fn pop(&mut self) -> Option<ReplayRequest> {
        let (_, request) = self.in_order.pop_first()?;
        self.by_filter.remove(&request.filter);
        Some(request)
    }

    /// All of them are as if asked for at `now`.
    pub(crate) fn begin_at(&mut self, now: u64) {
        for request in self.in_order.values_mut() {
            request.since = now;
        }
    }

    /// The filter was unsubscribed from. Returns whether it waited.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let place = self.by_filter.remove(filter);
        place.is_some_and(|place| self.in_order.remove(&place).is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.in_order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }
}

/// What is left to send for one subscription.
pub(crate) struct Replay {
    pub(crate) filter: Arc<str>,
    pub(crate) source: ReplaySource,
    pub(crate) maximum_qos: QoS,
    pub(crate) subscription_identifier: Option<u32>,
}

pub(crate) enum ReplaySource {
    /// From this shard's store.
    Local(ReplayId),
    /// From another shard's, in batches.
    Remote {
        shard: ShardId,
        /// What this shard calls it.
        token: u32,
        batch: VecDeque<Arc<Message>>,
        /// No further batch will come.
        complete: bool,
        /// A batch is under way.
        asked: bool,
        /// As in its request.
        since: u64,
    },
}

/// Topics of which a newer message went to the sessions of this shard while older retained ones are
/// still under way from another; those must not come after it. One for all replays: a publication
/// is noted once however many are open.
#[derive(Default)]
pub(crate) struct Overtaken {
    /// When each was last published to, in publications noted.
    topics: HashMap<u64, u64, foldhash::fast::FixedState>,
    noted: u64,
}

impl Overtaken {
    pub(crate) fn note(&mut self, topic_hash: u64) {
        if self.topics.len() >= OVERTAKEN_MAXIMUM {
            // A replay that took so long forgets; those that begin now do not suffer for it.
            self.topics.clear();
        }
        self.noted += 1;
        self.topics.insert(topic_hash, self.noted);
    }

    pub(crate) fn now(&self) -> u64 {
        self.noted
    }

    pub(crate) fn since(&self, then: u64, topic_hash: u64) -> bool {
        self.topics.get(&topic_hash).is_some_and(|at| *at > then)
    }

    /// No replay is open or asked for.
    pub(crate) fn clear(&mut self) {
        if !self.topics.is_empty() {
            self.topics = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(filter: &str, maximum_qos: QoS) -> ReplayRequest {
        ReplayRequest {
            filter: Arc::from(filter),
            maximum_qos,
            subscription_identifier: None,
            since: 0,
        }
    }

    #[test]
    fn a_filter_waits_once_in_its_first_place_on_its_last_terms() {
        let mut requests = ReplayRequests::default();
        for _ in 0..1000 {
            requests.push(request("a", QoS::AtMostOnce));
            requests.push(request("b", QoS::AtMostOnce));
        }
        requests.push(request("c", QoS::AtMostOnce));
        requests.push(request("a", QoS::AtLeastOnce));
        requests.remove("b");
        let first = requests.pop().expect("two are left");
        assert_eq!((&*first.filter, first.maximum_qos), ("a", QoS::AtLeastOnce));
        assert_eq!(&*requests.pop().expect("one is left").filter, "c");
        assert!(requests.is_empty() && requests.by_filter.is_empty());
    }

    #[test]
    fn a_topic_is_overtaken_for_those_who_began_before() {
        let mut overtaken = Overtaken::default();
        let early = overtaken.now();
        overtaken.note(7);
        let late = overtaken.now();
        assert!(overtaken.since(early, 7));
        assert!(!overtaken.since(late, 7) && !overtaken.since(early, 8));
        for hash in 100..200_000 {
            overtaken.note(hash);
        }
        assert!(overtaken.topics.len() <= OVERTAKEN_MAXIMUM);
        assert!(overtaken.since(late, 199_999));
    }
}
