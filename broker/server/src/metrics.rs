//! What the shards count, where other threads can read it.
//!
//! A shard copies its numbers out a few times a second, and once more before it goes idle; that
//! is all that measuring costs it, apart from one reading of the clock in a turn that delivered
//! something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nexum_core::{Counters, Gauges};
use nexum_extension_api::Gauge;
use nexum_storage::{Statistics, Usage};

/// Upper bounds of the latency buckets, in microseconds; what is slower is in the last bucket.
pub const LATENCY_BOUNDS_MICROSECONDS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000,
];

/// How long messages took from the read that brought them to the write that delivered them.
/// Each turn of a shard is observed once, with the number of messages it delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Messages by bucket, not cumulative: at most as slow as the bound at the same place of
    /// [`LATENCY_BOUNDS_MICROSECONDS`] and slower than the one before.
    pub buckets: [u64; LATENCY_BOUNDS_MICROSECONDS.len() + 1],
    /// The sum over all messages, in microseconds.
    pub sum_microseconds: u64,
}

impl LatencyHistogram {
    pub(crate) fn observe(&mut self, latency: Duration, messages: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_MICROSECONDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += messages;
        self.sum_microseconds = self
            .sum_microseconds
            .saturating_add(micros.saturating_mul(messages));
    }

    /// How many messages were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// How busy a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Processor time of the shard's thread, in microseconds.
    pub busy_microseconds: u64,
    /// Turns taken: each looks at whatever is ready and flushes what came of it.
    pub turns: u64,
    /// Reads from sockets that brought something.
    pub reads: u64,
    /// Batches of messages received from other shards.
    pub peer_batches: u64,
    /// Turns in which publishers were held back for another shard's mailbox.
    pub held_back_turns: u64,
    /// Connections that moved to another shard because their session lives there.
    pub rehomed: u64,
    /// TLS or WebSocket handshakes that failed or took too long.
    pub failed_handshakes: u64,
    /// Panics that were caught. Each is a bug.
    pub panics: u64,
}

/// One shard's numbers at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSnapshot {
    /// Totals of the core.
    pub counters: Counters,
    /// What is there now.
    pub gauges: Gauges,
    /// From publish to deliver.
    pub latency: LatencyHistogram,
    /// How busy it is.
    pub load: Load,
    /// What waits in its mailbox, in bytes.
    pub mailbox_bytes: u64,
}

/// What became of the sockets that the listeners accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptSnapshot {
    /// Sockets handed to a shard.
    pub accepted: u64,
    /// Sockets closed because there were as many connections as allowed.
    pub refused_full: u64,
    /// Times that accepting failed, for lack of file descriptors or memory.
    pub failed: u64,
}

/// The numbers of the whole server.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// Since the server was bound.
    pub uptime: Duration,
    /// By shard.
    pub shards: Vec<ShardSnapshot>,
    /// Of the acceptor.
    pub accept: AcceptSnapshot,
    /// Of the store; `None` before it runs and after it ended.
    pub store: Option<StoreSnapshot>,
    /// Of the extensions.
    pub extensions: Vec<Gauge>,
}

/// The store's numbers at a time.
#[derive(Clone, Debug)]
pub struct StoreSnapshot {
    /// What it has done.
    pub statistics: Statistics,
    /// What it takes.
    pub usage: Usage,
}

/// Where one shard leaves its numbers.
#[derive(Debug, Default)]
pub(crate) struct ShardMetrics(Mutex<ShardSnapshot>);

impl ShardMetrics {
    pub(crate) fn store(&self, snapshot: ShardSnapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    pub(crate) fn load(&self) -> ShardSnapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the acceptor counts.
#[derive(Debug, Default)]
pub(crate) struct AcceptMetrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl AcceptMetrics {
    pub(crate) fn load(&self) -> AcceptSnapshot {
        AcceptSnapshot {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused_full: self.refused_full.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = LatencyHistogram::default();
        histogram.observe(Duration::from_micros(0), 1);
        histogram.observe(Duration::from_micros(10), 2);
        histogram.observe(Duration::from_micros(11), 4);
        histogram.observe(Duration::from_secs(5), 8);
        histogram.observe(Duration::from_secs(6), 16);
        assert_eq!(histogram.buckets[0], 3);
        assert_eq!(histogram.buckets[1], 4);
        assert_eq!(histogram.buckets[17], 8);
        assert_eq!(histogram.buckets[18], 16);
        assert_eq!(histogram.count(), 31);
        assert_eq!(
            histogram.sum_microseconds,
            20 + 44 + 8 * 5_000_000 + 16 * 6_000_000
        );
    }
}
