//! Publishers wait for subscribers that are behind.

use std::time::Duration;

use nexum_types::Time;

use super::Shard;
use super::timers::Timer;
use crate::connection::Holds;
use crate::key::{ConnectionKey, SessionKey};
use crate::peer::Publisher;

/// A session that was too slow to be waited for is not waited for again for so long.
const BACKPRESSURE_RECOVERY: Duration = Duration::from_secs(10);

impl Shard {
    /// A subscriber is behind: its publishers wait for it, for a moment. One that catches up in
    /// that moment loses nothing; one that does not is not waited for again for a while, so a
    /// slow subscriber costs a publisher little and others nothing.
    pub(super) fn hold_publisher(&mut self, session: u32, source: Option<Publisher>, now: Time) {
        let patience = self.limits.backpressure_milliseconds;
        let state = &mut self.sessions[session as usize];
        let Some(source) = source else { return };
        if patience == 0
            || now < state.no_backpressure_until
            || state.connection.is_none()
            || state.connection == Some(source.connection) && source.shard == self.id
            || state.held_publishers.contains(&source)
        {
            return;
        }
        if state.held_publishers.is_empty() {
            let key = SessionKey {
                index: session,
                generation: state.generation,
            };
            state.held_since = now;
            let at = now + Duration::from_millis(u64::from(patience));
            self.wheel.arm(at, Timer::Backpressure(key));
        }
        state.held_publishers.insert(source);
        self.counters.backpressure_pauses += 1;
        self.hold(source);
    }

    pub(super) fn on_backpressure_timer(&mut self, key: SessionKey, now: Time) {
        let patience = Duration::from_millis(u64::from(self.limits.backpressure_milliseconds));
        let Some(state) = self.session_by_key(key) else {
            return;
        };
        if state.held_publishers.is_empty() {
            return;
        }
        let due = state.held_since + patience;
        if due <= now {
            state.no_backpressure_until = now + BACKPRESSURE_RECOVERY;
            self.release_publishers(key.index);
        } else {
            self.wheel.arm(due, Timer::Backpressure(key));
        }
    }

    pub(super) fn release_publishers(&mut self, session: u32) {
        for source in std::mem::take(&mut self.sessions[session as usize].held_publishers) {
            self.release(source);
        }
    }

    /// Lets a connection's bytes wait, on this shard or another.
    fn hold(&mut self, source: Publisher) {
        if source.shard != self.id {
            return self.hold_remote(source);
        }
        self.hold_here(source.connection);
    }

    /// A session falls behind what this connection publishes.
    pub(super) fn hold_here(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connection_mut(key) {
            connection.held_by += 1;
            connection.holds.add(Holds::BACKPRESSURE);
        }
    }

    /// One of the sessions that held it back does so no more: it goes on with the last of them.
    pub(super) fn release_here(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        connection.held_by = connection.held_by.saturating_sub(1);
        if connection.held_by == 0 {
            self.lift_hold(key, Holds::BACKPRESSURE);
        }
    }

    pub(super) fn release(&mut self, source: Publisher) {
        if source.shard == self.id {
            self.release_here(source.connection);
        } else {
            self.release_remote(source);
        }
    }
}
