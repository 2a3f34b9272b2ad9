//! What a shard measures of itself.

use std::time::Duration;

use nexum_core::{Counters, Shard};
use nexum_types::Time;
use rustix::time::{ClockId, clock_gettime};

use crate::clock::Clock;
use crate::metrics::{LatencyHistogram, Load, ShardMetrics, ShardSnapshot};

/// How often the numbers are left where others can read them.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct Report {
    pub(super) load: Load,
    latency: LatencyHistogram,
    /// Deliveries before this turn.
    delivered: u64,
    /// When the numbers are to be stored next, if they changed since they were.
    due: Option<Time>,
}

impl Report {
    pub(super) fn begin_turn(&mut self, counters: &Counters) {
        self.load.turns += 1;
        self.delivered = delivered(counters);
    }

    /// Everything that came of the turn was written, to the sockets that took it.
    pub(super) fn end_turn(&mut self, shard: &Shard, since: Time, clock: Clock) {
        let messages = delivered(shard.counters()) - self.delivered;
        if messages > 0 {
            self.latency.observe(clock.now().since(since), messages);
        }
    }

    /// Stores the numbers if that is due.
    pub(super) fn store_if_due(&mut self, shard: &Shard, metrics: &ShardMetrics, now: Time) {
        match self.due {
            None => self.due = Some(now + INTERVAL),
            Some(due) if due <= now => {
                self.store(shard, metrics);
                self.due = None;
            }
            Some(_) => {}
        }
    }

    pub(super) fn store(&mut self, shard: &Shard, metrics: &ShardMetrics) {
        self.load.busy_microseconds = thread_time_microseconds();
        metrics.store(ShardSnapshot {
            counters: *shard.counters(),
            gauges: shard.gauges(),
            latency: self.latency,
            load: self.load,
            mailbox_bytes: 0,
        });
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }
}

fn delivered(counters: &Counters) -> u64 {
    counters.messages_sent.iter().sum()
}

/// The processor time this thread has had.
fn thread_time_microseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1000
}
