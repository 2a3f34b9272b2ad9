//! What the shell does for a shard – sockets, mailboxes, turns – and after every call of the core a
//! look at what came out.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use nexum_core::{
    ConnectionKey, ConnectionLoss, ConnectionOrigin, Input, Key, LoadId, Output, PeerBatch, Shard,
    ShardId, Stored, Submission,
};
use nexum_types::{ProtocolVersion, Time};

use super::limits::PACKET_BYTES;
use super::{MOST_TURNS, World};
use crate::witness::Witness;

/// SUBACK and DISCONNECT with a Reason String, and what a PUBLISH gains on its way out.
const EXTRA_BYTES: usize = 300;
const ACKNOWLEDGEMENT_BYTES: usize = 6;
/// How long a client may take to read what is left when the broker has closed its connection.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// What the shell of one shard has for it.
pub(super) struct Shell {
    pub(super) shard: Shard,
    pub(super) mailbox: VecDeque<(ShardId, PeerBatch)>,
    pub(super) arrivals: VecDeque<Arrival>,
    /// What it wants kept, and messages that it wants back: the store comes to them when the shard
    /// has its next turn.
    pub(super) submissions: VecDeque<Submission>,
    pub(super) loads: VecDeque<(LoadId, Vec<Key>)>,
}

pub(super) struct Arrival {
    pub(super) link: usize,
    pub(super) origin: ConnectionOrigin,
    pub(super) received: Vec<u8>,
}

/// A network connection, from the client's end to its place on a shard.
pub(super) struct Link {
    pub(super) place: Place,
    pub(super) version: ProtocolVersion,
    /// Sent by the client and not read by the broker.
    pub(super) upward: Vec<u8>,
    /// How many of the bytes that wait for the socket the witness has seen.
    pub(super) shown: usize,
    /// The core named it as one with something to send, and it could not all be sent.
    pub(super) wants_write: bool,
    /// How many bytes the socket takes before it blocks.
    pub(super) room: usize,
    pub(super) witness: Witness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Open(usize, ConnectionKey),
    /// Between two shards.
    Moving,
    Closing(usize, ConnectionKey, Time),
    Gone,
}

impl Link {
    fn key_at(&self, shard: usize) -> Option<ConnectionKey> {
        match self.place {
            Place::Open(at, key) | Place::Closing(at, key, _) if at == shard => Some(key),
            Place::Open(..) | Place::Closing(..) | Place::Moving | Place::Gone => None,
        }
    }
}

impl World {
    /// One read from the socket; false if there was nothing to read.
    pub(super) fn read(&mut self, link: usize) -> bool {
        let Place::Open(at, key) = self.links[link].place else {
            return false;
        };
        if self.links[link].upward.is_empty() || !self.shells[at].shard.wants_read(key) {
            return false;
        }
        let bytes = std::mem::take(&mut self.links[link].upward);
        self.links[link].witness.client_sends(&bytes);
        self.shells[at].shard.receive(key, &bytes, self.now);
        self.look(at);
        true
    }

    pub(super) fn lose(&mut self, link: usize) {
        if let Place::Open(at, key) | Place::Closing(at, key, _) = self.links[link].place {
            self.links[link].place = Place::Gone;
            self.shells[at]
                .shard
                .lost(key, ConnectionLoss::EndOfStream, self.now);
            self.look(at);
            self.finish(at);
        }
        // One that is between shards is found gone where it arrives.
        self.links[link].place = Place::Gone;
    }

    pub(super) fn arrive(&mut self, at: usize, arrival: Arrival) {
        let Arrival {
            link,
            origin,
            received,
        } = arrival;
        if self.links[link].place == Place::Gone {
            return;
        }
        let key = self.shells[at].shard.open(origin, self.now);
        self.links[link].place = Place::Open(at, key);
        if !received.is_empty() {
            self.shells[at].shard.receive(key, &received, self.now);
        }
        self.look(at);
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            let mut moved = false;
            for shard in 0..self.shells.len() {
                moved |= self.turn(shard);
            }
            if !moved {
                return;
            }
        }
        panic!("work without end");
    }

    /// Everything that waits for a shard; false if there was nothing.
    pub(super) fn turn(&mut self, at: usize) -> bool {
        let mut moved = self.answer_from_store(at);
        while let Some((from, batch)) = self.shells[at].mailbox.pop_front() {
            moved = true;
            self.shells[at]
                .shard
                .handle(Input::Peer { from, batch }, self.now);
            self.look(at);
        }
        while let Some(arrival) = self.shells[at].arrivals.pop_front() {
            moved = true;
            self.arrive(at, arrival);
        }
        for link in 0..self.links.len() {
            if self.links[link].key_at(at).is_some() {
                moved |= self.read(link);
            }
        }
        if self.shells[at]
            .shard
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            moved = true;
            self.shells[at].shard.handle_timeout(self.now);
            self.look(at);
        }
        for link in 0..self.links.len() {
            if let Place::Closing(shard, key, since) = self.links[link].place
                && shard == at
                && self.now.since(since) >= CLOSE_DEADLINE
            {
                self.links[link].place = Place::Gone;
                self.shells[at].shard.closed(key);
            }
        }
        self.finish(at);
        moved
    }

    /// The store keeps what it was given, and answers; false if it was given nothing.
    fn answer_from_store(&mut self, at: usize) -> bool {
        let mut moved = false;
        while let Some(submission) = self.shells[at].submissions.pop_front() {
            moved = true;
            self.records.apply(&submission.changes);
            let stored = Stored {
                sequence: submission.sequence,
                refused: None,
            };
            self.shells[at]
                .shard
                .handle(Input::Stored(stored), self.now);
            self.look(at);
        }
        while let Some((load, keys)) = self.shells[at].loads.pop_front() {
            moved = true;
            let messages = keys.iter().map(|key| self.records.message(key)).collect();
            self.shells[at]
                .shard
                .handle(Input::Loaded { load, messages }, self.now);
            self.look(at);
        }
        moved
    }

    /// What a shell does at the end of a turn: it sends what there is, and hands the batches over.
    pub(super) fn finish(&mut self, at: usize) {
        while let Some(key) = self.shells[at].shard.poll_transmit() {
            let link = self.link_of(at, key).expect("a key has its socket");
            self.links[link].wants_write = true;
            self.write(link);
        }
        for link in &self.links {
            if let Some(key) = link.key_at(at) {
                let pending = self.shells[at].shard.pending_transmit(key);
                assert!(
                    pending == 0 || link.wants_write,
                    "{pending} bytes that were not named"
                );
            }
        }
        while let Some(submission) = self.shells[at].shard.take_submission() {
            self.shells[at].submissions.push_back(submission);
        }
        for to in 0..self.shells.len() {
            if let Some(batch) = self.shells[at].shard.take_peer_batch(ShardId(to as u16)) {
                assert_ne!(to, at, "a shard writes to itself");
                self.shells[to]
                    .mailbox
                    .push_back((ShardId(at as u16), batch));
            }
        }
    }

    /// As much as the socket takes.
    pub(super) fn write(&mut self, link: usize) {
        let (Place::Open(at, key) | Place::Closing(at, key, _)) = self.links[link].place else {
            return;
        };
        loop {
            let pending = self.shells[at].shard.pending_transmit(key);
            let taken = pending.min(self.links[link].room);
            if taken == 0 {
                break;
            }
            let state = &mut self.links[link];
            state.shown -= taken;
            if state.room != usize::MAX {
                state.room -= taken;
            }
            self.shells[at].shard.transmitted(key, taken, self.now);
            self.look(at);
        }
        if self.shells[at].shard.pending_transmit(key) == 0 {
            self.links[link].wants_write = false;
            if let Place::Closing(..) = self.links[link].place {
                self.links[link].place = Place::Gone;
                self.shells[at].shard.closed(key);
            }
        }
    }

    /// After every call of a shard: what does it have to say?
    pub(super) fn look(&mut self, at: usize) {
        let mut closed = Vec::new();
        for _ in 0..MOST_TURNS {
            let Some(output) = self.shells[at].shard.poll_output() else {
                break;
            };
            match output {
                Output::Close { connection } => closed.push(connection),
                Output::Rehome {
                    connection,
                    to,
                    origin,
                    received,
                } => {
                    let link = self.link_of(at, connection).expect("a key has its socket");
                    let link_state = &mut self.links[link];
                    link_state.place = Place::Moving;
                    (link_state.shown, link_state.wants_write) = (0, false);
                    let arrival = Arrival {
                        link,
                        origin,
                        received,
                    };
                    self.shells[usize::from(to.0)].arrivals.push_back(arrival);
                }
                question @ (Output::Authenticate { .. } | Output::Exchange { .. }) => {
                    self.questions.push_back((at, question));
                }
                Output::Load { load, keys } => self.shells[at].loads.push_back((load, keys)),
                // A turn looks at every socket.
                Output::ResumeReading { .. } => {}
                Output::Event(event) => assert_ne!(event.to_string(), ""),
            }
        }
        for link in 0..self.links.len() {
            if let Some(key) = self.links[link].key_at(at) {
                self.show(link, at, key);
            }
        }
        for key in closed {
            let link = self.link_of(at, key).expect("a key has its socket");
            self.links[link].place = Place::Closing(at, key, self.now);
            self.links[link].wants_write = true;
        }
        let gauges = self.shells[at].shard.gauges();
        let sessions = gauges.sessions;
        let most_queued = sessions
            * u64::from(
                self.limits
                    .session_queue_messages
                    .max(self.limits.persistent_queue_messages),
            );
        assert!(gauges.queued_messages <= most_queued, "{gauges:?}");
        let most_inflight = sessions * u64::from(self.limits.maximum_inflight.get());
        assert!(gauges.inflight_messages <= most_inflight, "{gauges:?}");
        assert!(
            gauges.retained <= self.limits.maximum_retained_messages,
            "{gauges:?}"
        );
    }

    /// The witness sees bytes as soon as the core has put them out, whenever they are sent.
    fn show(&mut self, link: usize, at: usize, key: ConnectionKey) {
        let shard = &self.shells[at].shard;
        let state = &mut self.links[link];
        let pending = shard.pending_transmit(key);
        let most = self.limits.outbound_buffer_bytes as usize
            + PACKET_BYTES
            + EXTRA_BYTES
            + state.witness.owed() * ACKNOWLEDGEMENT_BYTES;
        assert!(pending <= most, "{pending} bytes wait, {most} may");
        if pending > state.shown {
            assert!(
                !matches!(state.place, Place::Closing(..)),
                "more after Close"
            );
            let bytes = pending_bytes(shard, key, state.shown);
            state.shown = pending;
            state.witness.broker_sends(&bytes);
        }
        if shard.wants_read(key) {
            state.witness.is_up_to_date();
        }
    }

    fn link_of(&self, at: usize, key: ConnectionKey) -> Option<usize> {
        self.links
            .iter()
            .position(|link| link.key_at(at) == Some(key))
    }
}

/// What waits for a connection, but for the first `skip` bytes.
fn pending_bytes(shard: &Shard, key: ConnectionKey, skip: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 256];
    let count = shard.transmit(key, &mut slices);
    let bytes: Vec<u8> = slices[..count]
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect();
    assert_eq!(bytes.len(), shard.pending_transmit(key));
    bytes[skip..].to_vec()
}
