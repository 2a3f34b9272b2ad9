//! Filters without wildcards: one probe of a hash table, and one cache line for the filter found.

use std::hint::black_box;

use nexum_types::TopicName;

use super::subscribers::Subscribers;
use crate::level_trie::{ChunkedSlab, IdTable, Text, TopicHasher};

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

    pub(super) fn hash(&self, topic: TopicName<'_>) -> u32 {
        self.hasher.topic(topic.as_str().as_bytes())
    }

    pub(super) fn find(&self, topic: TopicName<'_>) -> Option<u32> {
        self.find_hashed(topic, self.hash(topic))
    }

    pub(super) fn find_hashed(&self, topic: TopicName<'_>, hash: u32) -> Option<u32> {
        let topic = topic.as_str().as_bytes();
        self.by_topic
            .find(hash, |number| self.filters[number].text.as_bytes() == topic)
    }

    /// Asks the processor for what [`find_hashed`](Self::find_hashed) reads first.
    pub(super) fn warm_table(&self, hash: u32) {
        self.by_topic.warm(hash);
    }

    /// Asks the processor for what [`find_hashed`](Self::find_hashed) reads then.
    pub(super) fn warm_filter(&self, hash: u32) {
        for number in self.by_topic.candidates(hash) {
            black_box(self.filters[number].text.as_bytes().len());
        }
    }

    /// Finds or makes a filter. The caller gives a new one a subscriber.
    pub(super) fn insert(&mut self, topic: TopicName<'_>) -> u32 {
        let hash = self.hash(topic);
        self.find_hashed(topic, hash).unwrap_or_else(|| {
            let number = self.filters.insert(ExactFilter {
                subscribers: None,
                text: Text::new(topic.as_str().as_bytes()),
            });
            assert!(
                number <= u32::MAX >> 1,
                "two billion filters do not fit into memory"
            );
            self.by_topic.insert(hash, number);
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
