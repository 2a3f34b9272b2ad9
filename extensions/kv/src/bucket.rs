//! A bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexum_extension_api::FeedId;

use crate::bucket_options::BucketOptions;
use crate::filter::Filter;
use crate::operation::Shelf;

/// What limits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) keys: i64,
    pub(crate) bytes: i64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Counts) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }
}

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) options: BucketOptions,
    /// What is stored.
    pub(crate) stored: Counts,
    /// What will be stored if nothing is refused.
    pub(crate) decided: Counts,
    /// Writes that were not heard of.
    pub(crate) writing: usize,
    /// Who watches a key.
    pub(crate) exact: BTreeMap<Box<str>, Vec<FeedId>>,
    /// Who watches whatever matches.
    pub(crate) wild: BTreeMap<Box<str>, Vec<FeedId>>,
}

impl Bucket {
    pub(crate) fn new(id: u64, name: Arc<str>, options: BucketOptions) -> Bucket {
        Bucket {
            id,
            name,
            options,
            stored: Counts::default(),
            decided: Counts::default(),
            writing: 0,
            exact: BTreeMap::new(),
            wild: BTreeMap::new(),
        }
    }

    pub(crate) fn shelf(&self) -> Shelf {
        if self.options.persist {
            Shelf::Store
        } else {
            Shelf::Memory
        }
    }

    pub(crate) fn topic(&self, key: &str) -> String {
        format!("$kv/{}/{key}", self.name)
    }

    pub(crate) fn watch(&mut self, filter: &Filter, feed: FeedId) {
        let watchers = self.watchers_mut(filter);
        watchers
            .entry(filter.as_str().into())
            .or_default()
            .push(feed);
    }

    pub(crate) fn unwatch(&mut self, filter: &Filter, feed: FeedId) {
        let watchers = self.watchers_mut(filter);
        if let Some(feeds) = watchers.get_mut(filter.as_str()) {
            feeds.retain(|it| *it != feed);
            if feeds.is_empty() {
                watchers.remove(filter.as_str());
            }
        }
    }

    fn watchers_mut(&mut self, filter: &Filter) -> &mut BTreeMap<Box<str>, Vec<FeedId>> {
        if filter.is_exact() {
            &mut self.exact
        } else {
            &mut self.wild
        }
    }

    /// Who watches this key.
    pub(crate) fn watchers_of(&self, key: &str) -> Vec<FeedId> {
        let exact = self.exact.get(key).into_iter();
        let wild = self
            .wild
            .iter()
            .filter(|(filter, _)| crate::filter::matches(filter, key))
            .map(|(_, feeds)| feeds);
        exact.chain(wild).flatten().copied().collect()
    }

    pub(crate) fn feeds(&self) -> Vec<FeedId> {
        let all = self.exact.values().chain(self.wild.values());
        all.flatten().copied().collect()
    }
}
