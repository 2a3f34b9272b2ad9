//! Retained messages on their way to a new subscription.
//!
//! They are pulled as the session has room for them, one cursor a subscription, so a subscription
//! to a million retained messages costs a cursor and not a million queue entries. A session walks
//! with a few cursors at a time; what else it subscribed to waits as a request, at most one a
//! filter, so asking again and again without reading the answers costs nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use nexum_types::{Message, QoS};

use crate::key::ShardId;
use crate::retained::ReplayId;

/// How many topics published meanwhile are remembered for the replays from other shards…
const OVERTAKEN_MAXIMUM: usize = 65_536;
/// …and how many bytes their messages have at most.
const OVERTAKEN_MAXIMUM_BYTES: usize = 16 * 1024 * 1024;

/// Retained messages that are due for one filter after its SUBACK.
#[derive(Debug)]
pub(crate) struct ReplayRequest {
    pub(crate) filter: Arc<str>,
    pub(crate) maximum_qos: QoS,
    pub(crate) subscription_identifier: Option<u32>,
    /// What [`Overtaken::now`] was when SUBSCRIBE came for it, or when its client came back: what was
    /// published from then on may not have come to the shard that keeps it when it looks.
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

/// The newest messages of topics that were published to while older retained ones are under way from
/// another shard, or asked for. They are sent in place of those: a client must not get the older one
/// after the newer, nor neither of them because the newer was shed. One for all replays: a
/// publication is noted once however many are open.
#[derive(Default)]
pub(crate) struct Overtaken {
    /// By the hash of the topic, with the number of the publication.
    topics: HashMap<u64, (u64, Arc<Message>), foldhash::fast::FixedState>,
    bytes: usize,
    noted: u64,
}

impl Overtaken {
    /// A message with this hash of its topic was published with RETAIN.
    pub(crate) fn note(&mut self, topic_hash: u64, message: Arc<Message>) {
        if self.topics.len() >= OVERTAKEN_MAXIMUM || self.bytes >= OVERTAKEN_MAXIMUM_BYTES {
            // A replay that took so long forgets; those that begin now do not suffer for it.
            self.clear();
        }
        self.noted += 1;
        match self.topics.entry(topic_hash) {
            // One of another shard that was longer on its way.
            Entry::Occupied(noted) if noted.get().1.published_at() > message.published_at() => {}
            Entry::Occupied(mut noted) => {
                self.bytes += message.size_bytes();
                let (_, older) = noted.insert((self.noted, message));
                self.bytes -= older.size_bytes();
            }
            Entry::Vacant(place) => {
                self.bytes += message.size_bytes();
                place.insert((self.noted, message));
            }
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.noted
    }

    /// What was published to the topic of a retained message after `then` and is newer, else the
    /// message itself.
    pub(crate) fn newest(&self, then: u64, topic_hash: u64, message: Arc<Message>) -> Arc<Message> {
        match self.topics.get(&topic_hash) {
            Some((at, newer))
                if *at > then
                    && newer.published_at() > message.published_at()
                    && newer.parts().topic == message.parts().topic =>
            {
                Arc::clone(newer)
            }
            Some(_) | None => message,
        }
    }

    /// No replay is open or asked for.
    pub(crate) fn clear(&mut self) {
        if !self.topics.is_empty() {
            self.topics = HashMap::default();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use nexum_types::{MessageParts, Time, TopicName};

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

    fn message(topic: &str, payload: &[u8], published_at: u64) -> Arc<Message> {
        Arc::new(Message::new(MessageParts {
            topic: TopicName::new(topic).expect("a topic name"),
            properties: &[],
            payload,
            qos: QoS::AtMostOnce,
            retain: true,
            published_at: Time::from_micros(published_at),
            expires_at: None,
        }))
    }

    #[test]
    fn a_topic_is_overtaken_for_those_who_began_before() {
        let mut overtaken = Overtaken::default();
        let (old, new) = (message("a", b"old", 1), message("a", b"new", 2));
        let early = overtaken.now();
        overtaken.note(7, Arc::clone(&new));
        let late = overtaken.now();
        let newest = |overtaken: &Overtaken, then, hash, old: &Arc<Message>| {
            overtaken.newest(then, hash, Arc::clone(old))
        };
        assert!(Arc::ptr_eq(&newest(&overtaken, early, 7, &old), &new));
        assert!(Arc::ptr_eq(&newest(&overtaken, late, 7, &old), &old));
        assert!(Arc::ptr_eq(&newest(&overtaken, early, 8, &old), &old));
        let newer_still = message("a", b"newest", 3);
        let found = newest(&overtaken, early, 7, &newer_still);
        assert!(Arc::ptr_eq(&found, &newer_still), "its owner had it before");
        let same_hash = message("b", b"old", 1);
        let found = newest(&overtaken, early, 7, &same_hash);
        assert!(Arc::ptr_eq(&found, &same_hash), "another topic");
    }

    #[test]
    fn what_is_remembered_of_overtaken_topics_is_bounded() {
        let mut overtaken = Overtaken::default();
        let small = message("a", b"x", 1);
        for hash in 0..200_000 {
            overtaken.note(hash, Arc::clone(&small));
        }
        assert!(overtaken.topics.len() <= OVERTAKEN_MAXIMUM);
        let large = message("a", &[0; 1 << 20], 2);
        for hash in 0..100 {
            overtaken.note(hash, Arc::clone(&large));
            overtaken.note(hash, Arc::clone(&large));
        }
        assert!(overtaken.bytes < 2 * OVERTAKEN_MAXIMUM_BYTES);
        let held = overtaken.topics.values();
        let sum: usize = held.map(|(_, message)| message.size_bytes()).sum();
        assert_eq!(overtaken.bytes, sum);
    }
}
