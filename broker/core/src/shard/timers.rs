//! What the wheel's timers mean when they fire.

use std::time::Duration;

use nexum_types::Time;

use super::Shard;
use crate::key::{ConnectionKey, SessionKey};

/// No timer is armed further ahead: what is due later is looked at in between. So what a dead
/// connection or session leaves in the wheel is gone in a minute.
pub(super) const FARTHEST_TIMER: Duration = Duration::from_secs(60);

/// Retained messages dropped at most in one turn because they expired.
const EXPIRED_AT_ONCE: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// CONNECT is due.
    Authentication(ConnectionKey),
    /// Something should have been received.
    KeepAlive(ConnectionKey),
    /// The will or the end of a session without a connection may be due; the time tells this timer
    /// from earlier ones.
    Absence(SessionKey, Time),
    /// Publishers were held back long enough.
    Backpressure(SessionKey),
    /// The store was left alone long enough.
    Store,
    /// After a restart every shard has told of its members.
    Memberless,
}

impl Shard {
    pub(super) fn on_timeout(&mut self, now: Time) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(now, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Authentication(key) => self.on_authentication_timeout(key, now),
                Timer::KeepAlive(key) => self.on_keep_alive_timer(key, now),
                Timer::Absence(key, at) => self.on_absence_timer(key, at, now),
                Timer::Backpressure(key) => self.on_backpressure_timer(key, now),
                Timer::Store => self.on_store_timer(now),
                Timer::Memberless => self.forget_memberless_groups(),
            }
        }
        self.due = due;
        for expired in self.retained.expire(now, EXPIRED_AT_ONCE) {
            self.forget_retained(&expired);
        }
        for session in std::mem::take(&mut self.unfinished) {
            if let Some(session) = self.session_by_key(session).map(|_| session.index) {
                self.pump(session, now);
            }
        }
    }
}
