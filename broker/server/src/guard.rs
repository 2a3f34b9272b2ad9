//! What a panic may cost.
//!
//! No input may make the broker panic; where one does, it is our bug, and it ends the connection
//! whose bytes were being handled, not the broker. The shard's state is plain data behind `&mut`,
//! so unwinding leaves it memory-safe, but perhaps in the middle of a transition: the connection
//! is dropped as lost, everything else goes on. Should the damage be wider, later panics end
//! further connections, each with its own log line and count, until somebody restarts the broker;
//! a shard that panics outside of any connection [`PANICS_IN_A_ROW`] times without a good turn in
//! between gives up, and the process ends with an error rather than spin.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often a shard may panic outside of a connection before it gives up.
pub(crate) const PANICS_IN_A_ROW: u32 = 8;

/// Runs `body` and turns a panic into its message.
pub(crate) fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| message(&*payload))
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(
            guarded(|| panic!("plain")),
            Err::<(), _>("plain".to_owned())
        );
        let packet = 5;
        assert_eq!(
            guarded(|| panic!("packet {packet}")),
            Err::<(), _>("packet 5".to_owned())
        );
    }
}
