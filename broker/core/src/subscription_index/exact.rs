//! Filters without wildcards: one probe of a hash table, and one cache line for the filter found.

use std::hint::black_box;

use nexum_types::TopicName;

use super::subscribers::Subscribers;
use crate::level_trie::{ChunkedSlab, IdTable, Spot, Text, TopicHasher};

pub(super) struct ExactFilters<K, V> {
    filters: ChunkedSlab<ExactFilter<K, V>>,
    by_topic: IdTable,
    hasher: TopicHasher,
}

/// 64 bytes with keys and values of eight.
struct ExactFilter<K, V> {
    /// `None` only between [`ExactFilters::insert`] and its caller's next step, and before
    /// [`ExactFilters::remove`].
    subscribers: Option<Subscribers<K, V>>,
    text: Text<38>,
}

/// A search under way; the index does not change meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Search {
    hash: u32,
    spot: Spot,
}

impl<K, V> ExactFilters<K, V> {
    pub(super) fn new(seed: u64) -> ExactFilters<K, V> {
        ExactFilters {
            filters: ChunkedSlab::new(),
            by_topic: IdTable::new(),
            hasher: TopicHasher::new(seed),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.filters.len() == 0
    }

    pub(super) fn find(&self, topic: TopicName<'_>) -> Option<u32> {
        self.found(self.search(topic), topic)
    }

    /// Begins what [`found`](Self::found) ends.
    #[inline]
    pub(super) fn search(&self, topic: TopicName<'_>) -> Search {
        let hash = self.hasher.topic(topic.as_str().as_bytes());
        let spot = self.by_topic.spot(hash);
        Search { hash, spot }
    }

    /// Asks the processor for what a search reads first.
    #[inline]
    pub(super) fn warm_table(&self, search: Search) {
        self.by_topic.warm(search.spot);
    }

    /// Asks the processor for what a search reads then.
    #[inline]
    pub(super) fn warm_filter(&self, search: Search) {
        for number in self.by_topic.at(search.spot, search.hash) {
            black_box(self.filters[number].text.as_bytes().len());
        }
    }

    #[inline]
    pub(super) fn found(&self, search: Search, topic: TopicName<'_>) -> Option<u32> {
        let topic = topic.as_str().as_bytes();
        self.by_topic
            .at(search.spot, search.hash)
            .find(|number| self.filters[*number].text.as_bytes() == topic)
    }

    /// Finds or makes a filter. The caller gives a new one a subscriber.
    pub(super) fn insert(&mut self, topic: TopicName<'_>) -> u32 {
        let search = self.search(topic);
        self.found(search, topic).unwrap_or_else(|| {
            let number = self.filters.insert(ExactFilter {
                subscribers: None,
                text: Text::new(topic.as_str().as_bytes()),
            });
            assert!(
                number <= u32::MAX >> 1,
                "two billion filters do not fit into memory"
            );
            self.by_topic.insert(search.hash, number);
            number
        })
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(filter) = self.filters.remove(number) {
            self.by_topic
                .remove(self.hasher.topic(filter.text.as_bytes()), number);
        }
    }

    pub(super) fn subscribers(&self, number: u32) -> Option<&Subscribers<K, V>> {
        self.filters.get(number)?.subscribers.as_ref()
    }

    pub(super) fn subscribers_mut(
        &mut self,
        number: u32,
    ) -> Option<&mut Option<Subscribers<K, V>>> {
        Some(&mut self.filters.get_mut(number)?.subscribers)
    }

    pub(super) fn text(&self, number: u32) -> String {
        let bytes = self.filters[number].text.as_bytes();
        String::from_utf8(bytes.to_vec()).expect("it was made from a string")
    }
}

#[cfg(test)]
pub(super) const FILTER_BYTES: usize = size_of::<ExactFilter<[u32; 2], [u32; 2]>>();
