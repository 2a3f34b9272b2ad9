//! What the fuzzer's bytes say.

use std::fmt;

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::packet::{ClientPacket, Connect};

#[derive(Arbitrary, Debug)]
pub struct Scenario {
    pub setup: Setup,
    pub operations: Vec<Operation>,
}

/// How the broker is configured. Every bound is small, so that it is reached.
#[derive(Arbitrary, Debug)]
pub struct Setup {
    pub two_shards: bool,
    pub outbound_buffer: Choice,
    pub queue: Choice,
    pub inflight: Choice,
    pub strategy: Choice,
    pub each_overlapping: bool,
    pub backpressure: bool,
    pub anonymous: bool,
    pub verify_credentials: bool,
    /// Nothing waits in the shell longer than it has to; otherwise batches between shards, sockets
    /// and timers have their turn when an operation says so.
    pub eager: bool,
}

#[derive(Arbitrary, Debug)]
pub enum Operation {
    /// A connection that has not sent anything.
    Open {
        at: Choice,
        version_5: bool,
    },
    /// A connection and its CONNECT.
    Connect {
        at: Choice,
        version_5: bool,
        connect: Connect,
    },
    Send {
        link: Choice,
        packet: ClientPacket,
        how: Sending,
    },
    SendRaw {
        link: Choice,
        bytes: Raw,
        how: Sending,
    },
    /// The acknowledgement that a delivery waits for.
    Acknowledge {
        link: Choice,
        which: Choice,
        how: Sending,
    },
    /// The network connection is lost.
    Break {
        link: Choice,
    },
    /// The client stops reading, but for so many bytes.
    Block {
        link: Choice,
        room: Choice,
    },
    Unblock {
        link: Choice,
    },
    /// One shard has its turn.
    Turn {
        shard: Choice,
    },
    /// Turns until nothing moves.
    Settle,
    Wait {
        time: Choice,
    },
    /// The shell answers a question about credentials or a step of an authentication.
    Answer {
        which: Choice,
        outcome: Choice,
    },
    /// An administrator ends a connection.
    Disconnect {
        link: Choice,
    },
    /// The broker itself publishes.
    Publish {
        shard: Choice,
        topic: Choice,
        qos: Choice,
        retain: bool,
        payload: Choice,
    },
    ShutDown {
        shard: Choice,
    },
}

/// How bytes get to the broker.
#[derive(Arbitrary, Debug)]
pub enum Sending {
    Whole,
    /// They wait for those of a later operation.
    WithTheNext,
    InTwo(Choice),
    ByteByByte,
}

/// One of some things, whose number is known where it is used.
#[derive(Arbitrary, Clone, Copy)]
pub struct Choice(u8);

impl Choice {
    pub const FIRST: Choice = Choice(0);

    pub fn of<T: Copy>(self, things: &[T]) -> T {
        things[self.below(things.len())]
    }

    pub fn below(self, count: usize) -> usize {
        usize::from(self.0) % count
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A few bytes as they stand in the input, where a fuzzer finds them again.
pub struct Raw(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Raw {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Raw> {
        let length = usize::from(u8::arbitrary(input)? % 64);
        Ok(Raw(input.bytes(length.min(input.len()))?.to_vec()))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}
