//! What the configuration says about all buckets.

use crate::bucket_options::BucketOptions;

/// The settings of all buckets together.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether a bucket is created by the first set, counter or subscription that names it.
    pub auto_create: bool,
    /// What a bucket is that says nothing about itself.
    pub defaults: BucketOptions,
    /// Buckets that are there from the start. One that is stored already gets these options, but
    /// keeps `persist`.
    pub declared: Vec<(String, BucketOptions)>,
    /// The most buckets there may be.
    pub maximum_buckets: usize,
    /// Changes that wait for one watcher that takes none.
    pub backlog: usize,
    /// The same in bytes of payload, properties and topic.
    pub backlog_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auto_create: false,
            defaults: BucketOptions::default(),
            declared: Vec::new(),
            maximum_buckets: 100_000,
            backlog: 1000,
            backlog_bytes: 1 << 20,
        }
    }
}
