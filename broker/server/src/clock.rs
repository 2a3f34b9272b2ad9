//! The shell's clock. The machines below it are told the time; this is where it is read.

use std::time::Instant;

use nexum_types::Time;

/// Monotonic time since the server was bound. All threads share the origin, so that a time taken
/// on one shard means the same on another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Time {
        let micros = self.origin.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
