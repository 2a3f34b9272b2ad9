//! One network connection: two pipes of bytes that arrive late, in pieces, and not all of them.
//!
//! It knows nothing of MQTT. What arrives is what was written, in order and without gaps, up to
//! the byte where the connection was cut.

use std::collections::VecDeque;

use nexum_core::{ConnectionKey, ShardId};
use nexum_types::Time;

use crate::random::{Random, Span};

/// Names a network connection of the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) usize);

pub(crate) struct Link {
    /// Whose it is; `None` for a vandal's.
    pub(crate) client: Option<usize>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) broker: BrokerEnd,
    /// The client has not closed it and does not know that it is lost.
    pub(crate) client_open: bool,
    /// Nothing written from here on arrives, in either direction.
    pub(crate) severed: bool,
    /// How many bytes of what the shard wants to send the judge has seen.
    pub(crate) shown_bytes: usize,
    /// Since when the shard does not read from it.
    pub(crate) held_since: Option<Time>,
    /// What a planted fault sends in the place of what the shard wanted to.
    pub(crate) instead: VecDeque<u8>,
}

/// What the broker's shell has of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerEnd {
    /// On its way to a shard for the first time, or from one shard to another.
    Moving,
    Open {
        shard: ShardId,
        key: ConnectionKey,
    },
    /// The shard wants it closed when everything is sent.
    Closing {
        shard: ShardId,
        key: ConnectionKey,
    },
    Gone,
}

impl BrokerEnd {
    pub(crate) fn place(self) -> Option<(ShardId, ConnectionKey)> {
        match self {
            BrokerEnd::Open { shard, key } | BrokerEnd::Closing { shard, key } => {
                Some((shard, key))
            }
            BrokerEnd::Moving | BrokerEnd::Gone => None,
        }
    }
}

impl Link {
    pub(crate) fn new(client: Option<usize>, up: Pipe, down: Pipe) -> Link {
        Link {
            client,
            up,
            down,
            broker: BrokerEnd::Moving,
            client_open: true,
            severed: false,
            shown_bytes: 0,
            held_since: None,
            instead: VecDeque::new(),
        }
    }

    /// From now on nothing gets through. Of what is under way a part has been lucky.
    pub(crate) fn sever(&mut self, random: &mut Random) {
        self.severed = true;
        self.up.sever(random);
        self.down.sever(random);
    }
}

/// One direction.
pub(crate) struct Pipe {
    latency: Span,
    fragment_bytes: usize,
    /// Bytes that fit between writer and reader.
    window_bytes: usize,
    flying: VecDeque<(Time, Segment)>,
    flying_bytes: usize,
    /// What the reader has not read yet.
    pub(crate) arrived: VecDeque<u8>,
    /// The writer has closed, and everything before that has arrived.
    pub(crate) ended: bool,
    last_arrival: Time,
}

enum Segment {
    Bytes(Vec<u8>),
    End,
}

impl Pipe {
    pub(crate) fn new(latency: Span, fragment_bytes: usize, window_bytes: usize) -> Pipe {
        Pipe {
            latency,
            fragment_bytes,
            window_bytes,
            flying: VecDeque::new(),
            flying_bytes: 0,
            arrived: VecDeque::new(),
            ended: false,
            last_arrival: Time::ZERO,
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.window_bytes
            .saturating_sub(self.flying_bytes + self.arrived.len())
    }

    /// Bytes that were written and not read.
    pub(crate) fn unread(&self) -> usize {
        self.flying_bytes + self.arrived.len()
    }

    /// Sends the bytes on their way; returns when pieces of them arrive.
    pub(crate) fn write(&mut self, bytes: &[u8], now: Time, random: &mut Random) -> Vec<Time> {
        let mut arrivals = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            // Bytewise pieces of a large packet would be a large number of events.
            let least = rest.len().div_ceil(16);
            let most = self.fragment_bytes.max(least);
            let size = random.between(least as u64, most as u64) as usize;
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            self.flying_bytes += piece.len();
            arrivals.push(self.fly(Segment::Bytes(piece.to_vec()), now, random));
        }
        arrivals
    }

    /// Takes room and never arrives.
    pub(crate) fn write_in_vain(&mut self, bytes: usize) {
        self.flying_bytes += bytes;
    }

    /// Closes the pipe behind what was written.
    pub(crate) fn close(&mut self, now: Time, random: &mut Random) -> Time {
        self.fly(Segment::End, now, random)
    }

    fn fly(&mut self, segment: Segment, now: Time, random: &mut Random) -> Time {
        let at = (now + random.within(self.latency)).max(self.last_arrival);
        self.last_arrival = at;
        self.flying.push_back((at, segment));
        at
    }

    /// Lets arrive what is due.
    pub(crate) fn arrive(&mut self, now: Time) {
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            match self.flying.pop_front() {
                Some((_, Segment::Bytes(bytes))) => {
                    self.flying_bytes -= bytes.len();
                    self.arrived.extend(bytes);
                }
                Some((_, Segment::End)) => self.ended = true,
                None => {}
            }
        }
    }

    pub(crate) fn read(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.arrived.len());
        self.arrived.drain(..count).collect()
    }

    fn sever(&mut self, random: &mut Random) {
        let mut lucky = random.below(self.flying_bytes + 1);
        for (_, segment) in std::mem::take(&mut self.flying) {
            if let Segment::Bytes(bytes) = segment {
                let taken = lucky.min(bytes.len());
                self.arrived.extend(&bytes[..taken]);
                // What is lost still takes room: its writer keeps it to send it again.
                self.flying_bytes -= taken;
                lucky -= taken;
            }
        }
    }
}
