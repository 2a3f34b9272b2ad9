//! What waits to be sent on one connection.
//!
//! Small packets are copied into one run of bytes, because a copy of a hundred bytes costs less
//! than a slice of its own in `writev`. Large payloads are shared: the run has a mark where the
//! payload belongs, and the message is held until its bytes are sent.
//!
//! Invariant: `pending` is the number of bytes that [`OutboundBuffer::fill`] can still give.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use nexum_types::Message;

/// Payloads of this many bytes and more are shared between the connections they go to; below it a
/// copy is quicker than another slice.
pub(crate) const SHARED_PAYLOAD_BYTES: usize = 4 * 1024;

/// Runs above this capacity are not kept for the next connection.
const POOLED_BYTES: usize = 512 * 1024;
/// The pool keeps at most this many runs…
const POOL_RUNS: usize = 2048;
/// …and this much capacity in all.
const POOL_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct OutboundBuffer {
    /// Encoded bytes, the first `sent` of which are gone.
    run: Vec<u8>,
    sent: usize,
    pending: usize,
    #[expect(
        clippy::box_collection,
        reason = "rarely there, and every connection has the field"
    )]
    shared: Option<Box<VecDeque<SharedPayload>>>,
}

struct SharedPayload {
    /// Where in the run the payload belongs.
    at: usize,
    message: Arc<Message>,
    sent: usize,
    /// What it counts for in [`BufferPool::lent`].
    charge: usize,
}

impl OutboundBuffer {
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Appends what `write` adds to the run.
    pub(crate) fn append(&mut self, pool: &mut BufferPool, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room(pool);
        let (before, capacity) = (self.run.len(), self.run.capacity());
        write(&mut self.run);
        self.pending += self.run.len() - before;
        pool.lent += self.run.capacity() - capacity;
    }

    /// Appends bytes that are encoded already.
    pub(crate) fn append_bytes(&mut self, pool: &mut BufferPool, bytes: &[u8]) {
        self.append(pool, |run| run.extend_from_slice(bytes));
    }

    /// Appends the payload of `message` without copying it.
    pub(crate) fn append_payload(&mut self, pool: &mut BufferPool, message: Arc<Message>) {
        let bytes = message.payload().len();
        if bytes == 0 {
            return;
        }
        self.pending += bytes;
        let at = self.run.len();
        // Those who have it share its cost: together the first hundred count for five of it.
        let charge = bytes / Arc::strong_count(&message);
        pool.lent += charge;
        self.shared
            .get_or_insert_default()
            .push_back(SharedPayload {
                at,
                message,
                sent: 0,
                charge,
            });
    }

    /// What waits, oldest first, in at most `slices.len()` pieces; returns how many there are.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = self.sent;
        for shared in self.shared.iter().flat_map(|shared| shared.iter()) {
            if from < shared.at {
                let Some(slice) = slices.get_mut(filled) else {
                    return filled;
                };
                *slice = IoSlice::new(&self.run[from..shared.at]);
                filled += 1;
                from = shared.at;
            }
            let Some(slice) = slices.get_mut(filled) else {
                return filled;
            };
            *slice = IoSlice::new(&shared.message.payload()[shared.sent..]);
            filled += 1;
        }
        if from < self.run.len()
            && let Some(slice) = slices.get_mut(filled)
        {
            *slice = IoSlice::new(&self.run[from..]);
            filled += 1;
        }
        filled
    }

    /// `bytes` of what [`fill`](Self::fill) gave are sent.
    ///
    /// # Panics
    /// If that is more than was pending.
    pub(crate) fn advance(&mut self, mut bytes: usize, pool: &mut BufferPool) {
        assert!(bytes <= self.pending, "the shell sent more than there was");
        self.pending -= bytes;
        if let Some(shared) = &mut self.shared {
            while let Some(front) = shared.front_mut() {
                let before = (front.at - self.sent).min(bytes);
                self.sent += before;
                bytes -= before;
                let payload = (front.message.payload().len() - front.sent).min(bytes);
                front.sent += payload;
                bytes -= payload;
                if self.sent < front.at || front.sent < front.message.payload().len() {
                    return;
                }
                pool.lent -= front.charge;
                shared.pop_front();
            }
            self.shared = None;
        }
        self.sent += bytes;
        if self.pending == 0 {
            self.clear(pool);
        }
    }

    /// Forgets everything; the run goes back to the pool, so an idle connection holds none.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        pool.give_back(std::mem::take(&mut self.run));
        self.sent = 0;
        self.pending = 0;
        for shared in self.shared.take().into_iter().flat_map(|shared| *shared) {
            pool.lent -= shared.charge;
        }
    }

    fn make_room(&mut self, pool: &mut BufferPool) {
        if self.run.capacity() == 0 {
            self.run = pool.take();
        } else if self.sent > 64 * 1024 && self.sent * 2 > self.run.len() {
            // A slow reader: do not let what is sent already grow without end before it.
            self.run.drain(..self.sent);
            for shared in self.shared.iter_mut().flat_map(|shared| shared.iter_mut()) {
                shared.at -= self.sent;
            }
            self.sent = 0;
        }
    }
}

/// Runs of bytes that connections with nothing to send gave back. Last in, first out, so the one
/// handed out is the one still in the processor's cache.
#[derive(Default)]
pub(crate) struct BufferPool {
    runs: Vec<Vec<u8>>,
    bytes: usize,
    /// The memory of all buffers that took runs from here.
    lent: usize,
}

impl BufferPool {
    /// About how much memory waits to be sent: the runs of all buffers and the payloads they hold.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    fn take(&mut self) -> Vec<u8> {
        let run = match self.runs.pop() {
            Some(run) => {
                self.bytes -= run.capacity();
                run
            }
            None => Vec::with_capacity(512),
        };
        self.lent += run.capacity();
        run
    }

    fn give_back(&mut self, mut run: Vec<u8>) {
        let capacity = run.capacity();
        self.lent -= capacity;
        if capacity == 0
            || capacity > POOLED_BYTES
            || self.runs.len() == POOL_RUNS
            || self.bytes + capacity > POOL_BYTES
        {
            return;
        }
        run.clear();
        self.bytes += capacity;
        self.runs.push(run);
    }
}

#[cfg(test)]
mod tests {
    use nexum_types::{MessageParts, QoS, Time, TopicName};

    use super::*;

    fn message(payload: &[u8]) -> Arc<Message> {
        Arc::new(Message::new(MessageParts {
            topic: TopicName::new("t").expect("valid"),
            properties: &[],
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            published_at: Time::ZERO,
            expires_at: None,
        }))
    }

    fn all(buffer: &OutboundBuffer) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = buffer.fill(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn copied_and_shared_bytes_leave_in_order_whatever_the_socket_takes() {
        for step in 1..=9 {
            let mut pool = BufferPool::default();
            let mut buffer = OutboundBuffer::default();
            buffer.append_bytes(&mut pool, b"ab");
            buffer.append_payload(&mut pool, message(b"CDE"));
            buffer.append_payload(&mut pool, message(b"F"));
            buffer.append(&mut pool, |run| run.extend_from_slice(b"gh"));
            buffer.append_payload(&mut pool, message(b"I"));
            assert!(pool.lent() >= buffer.pending());
            let mut sent = Vec::new();
            while buffer.pending() > 0 {
                let bytes = all(&buffer);
                assert_eq!(bytes.len(), buffer.pending());
                let taken = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..taken]);
                buffer.advance(taken, &mut pool);
            }
            assert_eq!(sent, b"abCDEFghI", "step {step}");
            assert_eq!(pool.runs.len(), 1, "the run went back");
            assert_eq!(pool.lent(), 0);
        }
    }

    #[test]
    fn a_slow_reader_does_not_grow_the_run_for_ever() {
        let mut pool = BufferPool::default();
        let mut buffer = OutboundBuffer::default();
        for _ in 0..1000 {
            buffer.append_bytes(&mut pool, &[7; 4096]);
            if buffer.pending() > 65_536 {
                buffer.advance(4096, &mut pool);
            }
        }
        assert!(buffer.run.len() < 4 * 65_536, "{}", buffer.run.len());
    }
}
