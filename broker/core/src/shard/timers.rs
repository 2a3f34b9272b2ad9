//! What the wheel's timers mean when they fire.

use nexum_types::Time;

use super::Shard;
use crate::key::{ConnectionKey, SessionKey};

/// Retained messages dropped at most in one turn because they expired.
const EXPIRED_AT_ONCE: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// CONNECT is due.
    Authentication(ConnectionKey),
    /// Something should have been received.
    KeepAlive(ConnectionKey),
    /// A will's delay is over.
    Will(SessionKey),
    /// A session without a connection is over.
    SessionExpiry(SessionKey),
    /// Publishers were held back long enough.
    Backpressure(SessionKey),
}

impl Shard {
    pub(super) fn on_timeout(&mut self, now: Time) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(now, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Authentication(key) => self.on_authentication_timeout(key, now),
                Timer::KeepAlive(key) => self.on_keep_alive_timer(key, now),
                Timer::Will(key) => self.on_will_timer(key, now),
                Timer::SessionExpiry(key) => self.on_session_expiry_timer(key, now),
                Timer::Backpressure(key) => self.on_backpressure_timer(key, now),
            }
        }
        self.due = due;
        self.retained.expire(now, EXPIRED_AT_ONCE);
        for session in std::mem::take(&mut self.unfinished) {
            if let Some(session) = self.session_by_key(session).map(|_| session.index) {
                self.pump(session, now);
            }
        }
    }
}
