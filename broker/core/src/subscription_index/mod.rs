//! Who subscribed to what matches a topic, answered for all topic filters at once (section 4.7).
//!
//! It knows keys and values, not sessions: a key is whoever a subscription belongs to and has one
//! subscription a filter, a value is the terms of that subscription.
//!
//! Filters without wildcards, most of them in practice, are found by the hash of the whole topic
//! ([`exact`]). The others stand in a [`LevelTrie`] that a topic is walked down ([`matching`]).
//! A filter with one subscriber has it in place; more are in a list of their own
//! ([`subscribers`]). The text of a filter is stored once, here.
//!
//! Invariant: a filter exists exactly as long as it has subscribers.
//!
//! What a look-up costs at most: it visits the nodes of the trie whose path matches the beginning
//! of the topic. With n literal levels and `+` in all combinations these are 2^(n+1), and take
//! 2^n subscriptions to make; so however topic and filters are chosen, a look-up visits no more
//! than two nodes a wildcard subscription in existence.

mod exact;
mod matching;
mod subscribers;

use nexum_types::{TopicFilter, TopicName};

use crate::level_trie::{LevelTrie, NodeId};
use exact::ExactFilters;
use matching::{Tracks, Walk};
use subscribers::{Lists, Subscribers};

pub(crate) struct SubscriptionIndex<K, V> {
    exact: ExactFilters<K, V>,
    wildcard: LevelTrie<Subscribers<K, V>>,
    lists: Lists<K, V>,
    tracks: Tracks,
    entries: usize,
    generation: u64,
}

/// Names a filter as long as it has subscribers. Small numbers, used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FilterId(u32);

/// Where a filter stands.
#[derive(Clone, Copy)]
enum Place {
    Exact(u32),
    Wildcard(NodeId),
}

impl<K: Copy + Ord, V: Copy> SubscriptionIndex<K, V> {
    /// An empty index. Clients must not learn the seed.
    pub(crate) fn new(seed: u64) -> SubscriptionIndex<K, V> {
        SubscriptionIndex {
            exact: ExactFilters::new(seed),
            wildcard: LevelTrie::new(seed),
            lists: Lists::new(),
            tracks: Tracks::default(),
            entries: 0,
            generation: 0,
        }
    }

    /// Subscribes `key`, or gives its subscription to this filter a new value; then the former
    /// value is returned.
    pub(crate) fn insert(
        &mut self,
        filter: TopicFilter<'_>,
        key: K,
        value: V,
    ) -> (FilterId, Option<V>) {
        let place = match filter.as_topic_name() {
            Some(topic) => Place::Exact(self.exact.insert(topic)),
            None => Place::Wildcard(self.wildcard.insert(filter.as_str()).0),
        };
        let place_in = match place {
            Place::Exact(number) => self.exact.subscribers_mut(number),
            Place::Wildcard(node) => self.wildcard.value_mut(node),
        };
        let subscribers = place_in.expect("it was just found or made");
        let former = self.lists.insert(subscribers, key, value);
        self.entries += usize::from(former.is_none());
        self.generation += 1;
        (FilterId::of(place), former)
    }

    /// Ends the subscription of `key` to this filter.
    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<(FilterId, V)> {
        let id = self.find(filter)?;
        Some((id, self.remove_id(id, key)?))
    }

    /// Ends the subscription of `key` to this filter.
    pub(crate) fn remove_id(&mut self, id: FilterId, key: K) -> Option<V> {
        let subscribers = match id.place() {
            Place::Exact(number) => self.exact.subscribers_mut(number),
            Place::Wildcard(node) => self.wildcard.value_mut(node),
        }?;
        let value = self.lists.remove(subscribers, key)?;
        if subscribers.is_none() {
            match id.place() {
                Place::Exact(number) => self.exact.remove(number),
                Place::Wildcard(node) => {
                    self.wildcard.take(node);
                }
            }
        }
        self.entries -= 1;
        self.generation += 1;
        Some(value)
    }

    /// The filter, if it has subscribers.
    pub(crate) fn find(&self, filter: TopicFilter<'_>) -> Option<FilterId> {
        match filter.as_topic_name() {
            Some(topic) => self.exact.find(topic).map(Place::Exact),
            None => self
                .wildcard
                .find(filter.as_str())
                .filter(|node| self.wildcard.value(*node).is_some())
                .map(Place::Wildcard),
        }
        .map(FilterId::of)
    }

    /// The subscription of `key` to this filter.
    pub(crate) fn value(&self, id: FilterId, key: K) -> Option<V> {
        self.lists.find(self.subscribers(id)?, key)
    }

    #[cfg(test)]
    pub(crate) fn has_subscribers(&self, id: FilterId) -> bool {
        self.subscribers(id).is_some()
    }

    /// The text of a filter.
    ///
    /// # Panics
    /// If it has no subscribers and so does not exist.
    pub(crate) fn filter_text(&self, id: FilterId) -> String {
        match id.place() {
            Place::Exact(number) => self.exact.text(number),
            Place::Wildcard(node) => self.wildcard.path(node),
        }
    }

    /// Another one after every change of what [`matches`](Self::matches) finds.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many subscriptions there are, over all filters and keys.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Adds every subscription that matches `topic` to `found`: each (filter, key) once, by key
    /// within a filter, the filters in an order that depends on the history of the index alone.
    pub(crate) fn matches(&mut self, topic: TopicName<'_>, found: &mut Vec<(K, V)>) {
        // What is asked for early is there when it is needed.
        let exact = self.exact.search(topic);
        self.exact.warm_table(exact);
        let mut walk = Walk::new(&self.wildcard, topic, &mut self.tracks);
        self.exact.warm_filter(exact);
        while walk.step(|subscribers| self.lists.append_to(subscribers, found)) {}
        if let Some(number) = self.exact.found(exact, topic) {
            let subscribers = self.exact.subscribers(number).expect("it was just found");
            self.lists.append_to(subscribers, found);
        }
    }

    fn subscribers(&self, id: FilterId) -> Option<&Subscribers<K, V>> {
        match id.place() {
            Place::Exact(number) => self.exact.subscribers(number),
            Place::Wildcard(node) => self.wildcard.value(node),
        }
    }
}

impl FilterId {
    fn of(place: Place) -> FilterId {
        match place {
            Place::Exact(number) => FilterId(number << 1),
            Place::Wildcard(node) => FilterId(node.0 << 1 | 1),
        }
    }

    fn place(self) -> Place {
        let number = self.0 >> 1;
        if self.0 & 1 == 0 {
            Place::Exact(number)
        } else {
            Place::Wildcard(NodeId(number))
        }
    }
}

#[cfg(test)]
mod measurements;
#[cfg(test)]
mod tests;
