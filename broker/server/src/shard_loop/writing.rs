//! From the core to sockets.

use std::io::IoSlice;
use std::task::{Context, Poll};

use nexum_core::{ConnectionKey, ConnectionLoss};
use nexum_types::Time;

use super::ShardLoop;
use super::links::Phase;

/// Pieces handed to one `writev`: 32 large payloads with their headers.
const SLICES: usize = 64;

/// Pieces asked for first: small messages are one, and clearing room for many takes longer than
/// asking again.
const FEW_SLICES: usize = 4;

impl ShardLoop {
    /// Writes to connections for which so much has gathered that it should not wait for the end
    /// of the turn.
    pub(super) fn flush_urgent(&mut self, now: Time) {
        while let Some(connection) = self.shard.poll_urgent_transmit() {
            self.flush(connection, now);
        }
    }

    /// Sends what waits for a connection, as far as its socket takes it.
    pub(super) fn flush(&mut self, key: ConnectionKey, now: Time) {
        loop {
            let Some(link) = self.links.by_key(key) else {
                return;
            };
            if link.write_blocked {
                // The waker is registered; until it wakes, the socket takes nothing.
                return;
            }
            let mut cx = Context::from_waker(&link.waker);
            let mut few = [IoSlice::new(&[]); FEW_SLICES];
            let written = match self.shard.transmit(key, &mut few) {
                // What a layer holds back: TLS records, an answer to a Ping.
                0 => link.transport.poll_flush(&mut cx).map_ok(|()| 0),
                FEW_SLICES => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = self.shard.transmit(key, &mut slices);
                    link.transport.poll_write(&mut cx, &slices[..count])
                }
                count => link.transport.poll_write(&mut cx, &few[..count]),
            };
            match written {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(bytes)) => {
                    self.shard.transmitted(key, bytes, now);
                    let done = self.shard.pending_transmit(key) == 0;
                    if done && !link.transport.has_unsent() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.lose(key, ConnectionLoss::Error(error.to_string()), now);
                    return;
                }
                Poll::Pending => {
                    link.write_blocked = true;
                    return;
                }
            }
        }
        match self.links.by_key(key).map(|link| link.phase) {
            Some(Phase::Closing { .. }) => self.finish_closing(key, now),
            Some(Phase::Open { .. }) | None => {}
        }
    }
}
