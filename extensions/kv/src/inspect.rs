//! What can be seen of buckets: `info` and the metrics.

use nexum_extension_api::Gauge;
use serde_json::{Value, json};

use crate::buckets::Buckets;

/// The metrics name so many buckets; all of them are in the totals.
const MOST_NAMED: usize = 100;

impl Buckets {
    pub(crate) fn info(&self, id: u64) -> Value {
        let Some(bucket) = self.buckets.get(&id) else {
            return Value::Null;
        };
        json!({
            "name": &*bucket.name,
            "options": bucket.options.to_json(),
            "keys": bucket.stored.keys,
            "bytes": bucket.stored.bytes,
            "watchers": bucket.feeds().len(),
        })
    }

    pub(crate) fn all_gauges(&self) -> Vec<Gauge> {
        let mut gauges = Vec::new();
        let (mut keys, mut bytes) = (0, 0);
        for (at, id) in self.names.values().enumerate() {
            let Some(bucket) = self.buckets.get(id) else {
                continue;
            };
            keys += bucket.stored.keys;
            bytes += bucket.stored.bytes;
            if at >= MOST_NAMED {
                continue;
            }
            for (name, help, value) in [
                (
                    "nexum_kv_bucket_keys",
                    "Keys of a bucket.",
                    bucket.stored.keys,
                ),
                (
                    "nexum_kv_bucket_bytes",
                    "Keys of a bucket with their values, in bytes.",
                    bucket.stored.bytes,
                ),
                (
                    "nexum_kv_bucket_watchers",
                    "Feeds of a bucket.",
                    bucket.feeds().len() as i64,
                ),
            ] {
                gauges.push(Gauge {
                    name,
                    help,
                    labels: vec![("bucket", bucket.name.to_string())],
                    value: value as f64,
                });
            }
        }
        for (name, help, value) in [
            (
                "nexum_kv_buckets",
                "Buckets there are.",
                self.names.len() as i64,
            ),
            ("nexum_kv_keys", "Keys of all buckets.", keys),
            (
                "nexum_kv_bytes",
                "Keys of all buckets with their values, in bytes.",
                bytes,
            ),
            (
                "nexum_kv_waiting",
                "Changes that wait for a watcher.",
                self.waiting() as i64,
            ),
        ] {
            gauges.push(Gauge {
                name,
                help,
                labels: Vec::new(),
                value: value as f64,
            });
        }
        gauges
    }

    fn waiting(&self) -> usize {
        let feeds = self.feeds.values();
        feeds
            .map(|feed| feed.page.len() + feed.backlog.updates.len())
            .sum()
    }
}
