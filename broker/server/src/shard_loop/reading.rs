//! From sockets to the core.

use std::task::{Context, Poll};
use std::time::Duration;

use nexum_core::{ConnectionKey, ConnectionLoss};
use nexum_types::Time;

use super::ShardLoop;
use crate::guard::guarded;
use crate::ready::{Place, Token};

/// What a turn reads before it writes: bounds how long the first message of a turn waits for the
/// last, and what gathers for one subscriber of many publishers.
const TURN_BYTES: usize = 1024 * 1024;

/// Sockets looked at in a turn, likewise.
const TURN_SOCKETS: usize = 1024;

/// After so long a turn looks at no more sockets that bring much, nor at more letters.
pub(super) const TURN_TIME: Duration = Duration::from_micros(500);

/// A socket that brings more at once waits for those that bring less: what a device sends now and
/// then is not to stand behind what others pour in.
const LIGHT_BYTES: usize = 4096;

impl ShardLoop {
    /// Looks at the sockets that were woken and at those left over from the turn before.
    pub(super) fn look_at_sockets(&mut self, now: Time) {
        self.ready.take(&mut self.pending);
        if !self.may_read() {
            self.report.load.held_back_turns += 1;
            self.only_write(now);
            return;
        }
        let mut bytes_read = 0;
        // Those that ask to be looked at again go to the end, behind this count.
        for _ in 0..self.pending.len().min(TURN_SOCKETS) {
            let Some(token) = self.pending.pop_front() else {
                break;
            };
            match token.place() {
                Place::Link(index) if self.is_heavy(index) => self.heavy.push_back(token),
                Place::Link(index) => bytes_read += self.look_at_link_guarded(index, now),
                Place::Limbo(index) => self.look_at_limbo(index, now),
            }
            if bytes_read >= TURN_BYTES {
                return;
            }
        }
        if self.heavy.is_empty() {
            return;
        }
        if bytes_read > 0 {
            self.settle(now);
        }
        for _ in 0..self.heavy.len() {
            if let Some(token) = self.heavy.pop_front()
                && let Place::Link(index) = token.place()
            {
                bytes_read += self.look_at_link_guarded(index, now);
            }
            if bytes_read >= TURN_BYTES || self.shared.clock.now().since(now) >= TURN_TIME {
                return;
            }
        }
    }

    fn is_heavy(&mut self, index: u32) -> bool {
        self.links.by_index(index).is_some_and(|link| link.is_heavy)
    }

    /// While another shard is behind, sockets are not read, but what can be written is.
    fn only_write(&mut self, now: Time) {
        for place in 0..self.pending.len() + self.heavy.len() {
            let token = match place.checked_sub(self.pending.len()) {
                None => self.pending[place],
                Some(place) => self.heavy[place],
            };
            if let Place::Link(index) = token.place()
                && let Some(link) = self.links.by_index(index)
                && link.write_blocked
            {
                let key = link.key;
                link.write_blocked = false;
                self.flush(key, now);
            }
        }
    }

    /// Returns how many bytes were read.
    fn look_at_link_guarded(&mut self, index: u32, now: Time) -> usize {
        match guarded(|| self.look_at_link(index, now)) {
            Ok(bytes) => bytes,
            Err(panic) => {
                self.report.load.panics += 1;
                tracing::error!("a connection is dropped because handling it panicked: {panic}");
                if let Some(link) = self.links.by_index(index) {
                    let key = link.key;
                    let lost = guarded(|| self.lose(key, ConnectionLoss::Error(panic), now));
                    if let Err(panic) = lost {
                        tracing::error!("ending that connection panicked as well: {panic}");
                    }
                }
                0
            }
        }
    }

    fn look_at_link(&mut self, index: u32, now: Time) -> usize {
        let Some(link) = self.links.by_index(index) else {
            return 0;
        };
        let key = link.key;
        if link.write_blocked || link.transport.has_unsent() {
            link.write_blocked = false;
            self.flush(key, now);
        }
        if !self.shard.wants_read(key) {
            return 0;
        }
        let Some(link) = self.links.by_key(key) else {
            return 0;
        };
        let mut cx = Context::from_waker(&link.waker);
        let Poll::Ready(received) = link.transport.poll_read(&mut cx, &mut self.scratch) else {
            return 0;
        };
        self.report.load.reads += 1;
        link.drained = !received.full;
        link.is_heavy = received.bytes > LIGHT_BYTES;
        if received.bytes > 0 {
            #[cfg(test)]
            super::tests::panic_if_asked(self.scratch.received(received.bytes));
            self.shard
                .receive(key, self.scratch.received(received.bytes), now);
            self.carry_out(now);
            self.flush_urgent(now);
        }
        match received.end {
            Some(loss) => {
                self.lose(key, loss, now);
                self.carry_out(now);
            }
            None => self.wait_for_more(key, received.full),
        }
        received.bytes
    }

    /// Has the socket looked at when there is more to read.
    fn wait_for_more(&mut self, key: ConnectionKey, there_may_be_more: bool) {
        if !self.shard.wants_read(key) {
            // The core will say when.
            return;
        }
        let Some(link) = self.links.by_key(key) else {
            return;
        };
        let mut cx = Context::from_waker(&link.waker);
        if there_may_be_more || link.transport.poll_read_ready(&mut cx).is_ready() {
            // At the back: one read for each before a second for any.
            let line = match link.is_heavy {
                true => &mut self.heavy,
                false => &mut self.pending,
            };
            line.push_back(Token::link(key.index));
        }
    }
}
