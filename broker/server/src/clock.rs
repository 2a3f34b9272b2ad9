//! The shell's clock. The machines below it are told the time; this is where it is read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nexum_types::Time;

/// The time since 1970, in steps that never go back: what was kept before a restart is dated by it.
/// All threads share it, so that a time taken on one shard means the same on another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// What it showed at the origin, in microseconds.
    base_micros: u64,
}

impl Clock {
    /// Shows what the system's clock shows now, or the time after `latest` if that is later: the
    /// system's clock may have been set back since.
    pub(crate) fn start(latest: Time) -> Clock {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let micros = u64::try_from(since_1970.as_micros()).unwrap_or(0);
        Clock {
            origin: Instant::now(),
            base_micros: micros.max(latest.as_micros() + 1),
        }
    }

    pub(crate) fn now(self) -> Time {
        Time::from_micros(self.base_micros) + self.origin.elapsed()
    }

    /// Since it was started.
    pub(crate) fn uptime(self) -> Duration {
        self.origin.elapsed()
    }
}
