//! The broker's process but for its store: shards, their turns, and their ends of connections.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use nexum_core::{
    ConnectionKey, ConnectionLoss, ConnectionOrigin, Event, Input, Output, PeerBatch, Shard,
    ShardConfig, ShardId,
};
use nexum_types::Time;

use super::verdict::Promise;
use super::world::{Happening, World};
use crate::link::LinkId;

/// A shard and what waits for it.
pub(super) struct Shell {
    pub(super) shard: Shard,
    places: BTreeMap<ConnectionKey, LinkId>,
    work: VecDeque<Work>,
    /// The turn that is entered in the agenda.
    turn_at: Option<Time>,
}

/// Something for the next turn of a shard.
pub(super) enum Work {
    /// The broker has started: a look at the timers.
    Begin,
    Open(LinkId, ConnectionOrigin, Vec<u8>),
    /// Bytes are there to be read.
    Readable(LinkId),
    Lost(LinkId),
    Input(Input),
}

/// A network connection. What is under way is in the agenda.
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) end: End,
    /// What the client wrote after this does not arrive…
    pub(super) up_until: Option<Time>,
    /// …nor does what the broker did.
    pub(super) down_until: Option<Time>,
    pub(super) last_up: Time,
    pub(super) last_down: Time,
    /// Arrived at the broker and not read.
    unread: Vec<u8>,
}

/// The broker's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Moving,
    Open(ShardId, ConnectionKey),
    Gone,
}

impl Link {
    pub(super) fn new(client: usize, now: Time) -> Link {
        Link {
            client,
            end: End::Moving,
            up_until: None,
            down_until: None,
            last_up: now,
            last_down: now,
            unread: Vec::new(),
        }
    }
}

impl Shell {
    pub(super) fn new(config: ShardConfig) -> Shell {
        Shell {
            shard: Shard::new(config),
            places: BTreeMap::new(),
            work: VecDeque::new(),
            turn_at: None,
        }
    }
}

pub(super) fn origin() -> ConnectionOrigin {
    ConnectionOrigin {
        address: None,
        listener: Arc::from("simulated"),
        anonymous: true,
        verify_credentials: false,
        certificate: None,
    }
}

impl World {
    fn shell(&mut self, shard: ShardId) -> &mut Shell {
        &mut self.shells[usize::from(shard.0)]
    }

    fn wake(&mut self, shard: ShardId, at: Time) {
        let shell = &mut self.shells[usize::from(shard.0)];
        if shell.turn_at.is_none_or(|turn| at < turn) {
            shell.turn_at = Some(at);
            let life = self.life;
            self.agenda.enter(at, Happening::Turn { life, shard });
        }
    }

    /// Something for a shard, in its order.
    pub(super) fn give(&mut self, shard: ShardId, work: Work) {
        self.shell(shard).work.push_back(work);
        let at = self.now + self.random.within(self.scenario.turn);
        self.wake(shard, at);
    }

    /// Bytes of a client have come.
    pub(super) fn bytes_arrived(&mut self, link: LinkId, bytes: &[u8]) {
        let record = &mut self.links[link.0];
        record.unread.extend_from_slice(bytes);
        if let End::Open(shard, _) = record.end {
            self.give(shard, Work::Readable(link));
        }
    }

    /// A client's end is gone.
    pub(super) fn end_arrived(&mut self, link: LinkId) {
        match self.links[link.0].end {
            End::Open(shard, _) => self.give(shard, Work::Lost(link)),
            End::Moving => self.links[link.0].end = End::Gone,
            End::Gone => {}
        }
    }

    pub(super) fn turn(&mut self, shard: ShardId) {
        let now = self.now;
        if self.shell(shard).turn_at != Some(now) {
            return;
        }
        self.shell(shard).turn_at = None;
        for work in std::mem::take(&mut self.shell(shard).work) {
            match work {
                Work::Begin => {}
                Work::Open(link, origin, received) => {
                    if self.links[link.0].end == End::Gone {
                        continue;
                    }
                    let key = self.shell(shard).shard.open(origin, now);
                    self.shell(shard).places.insert(key, link);
                    self.links[link.0].end = End::Open(shard, key);
                    if !received.is_empty() {
                        self.shell(shard).shard.receive(key, &received, now);
                    }
                    self.read(shard, link);
                }
                Work::Readable(link) => self.read(shard, link),
                Work::Lost(link) => {
                    if let End::Open(at, key) = self.links[link.0].end
                        && at == shard
                    {
                        self.shell(shard).places.remove(&key);
                        self.links[link.0].end = End::Gone;
                        let loss = ConnectionLoss::EndOfStream;
                        self.shell(shard).shard.lost(key, loss, now);
                    }
                }
                Work::Input(input) => self.shell(shard).shard.handle(input, now),
            }
            self.obey(shard);
        }
        let due = self.shell(shard).shard.poll_timeout();
        if due.is_some_and(|due| due <= now) {
            self.shell(shard).shard.handle_timeout(now);
            self.obey(shard);
        }
        self.finish_turn(shard);
        if let Some(at) = self.shell(shard).shard.poll_timeout() {
            let later = now + std::time::Duration::from_millis(1);
            self.wake(shard, at.max(later));
        }
    }

    fn read(&mut self, shard: ShardId, link: LinkId) {
        let now = self.now;
        if let End::Open(at, key) = self.links[link.0].end
            && at == shard
            && !self.links[link.0].unread.is_empty()
            && self.shell(shard).shard.wants_read(key)
        {
            let bytes = std::mem::take(&mut self.links[link.0].unread);
            self.shell(shard).shard.receive(key, &bytes, now);
        }
    }

    /// What the shard has for sockets, for the store, and for other shards: in this order.
    pub(super) fn finish_turn(&mut self, shard: ShardId) {
        while let Some(key) = self.shell(shard).shard.poll_transmit() {
            self.transmit(shard, key);
        }
        self.obey(shard);
        while let Some(submission) = self.shell(shard).shard.take_submission() {
            self.submit(shard, submission);
        }
        for to in (0..self.shells.len() as u16).map(ShardId) {
            if let Some(batch) = self.shell(shard).shard.take_peer_batch(to) {
                self.post(shard, to, batch);
            }
        }
        self.post_to_hosts(shard);
    }

    fn post(&mut self, from: ShardId, to: ShardId, batch: PeerBatch) {
        let at = self.now + self.random.within(self.scenario.peers);
        let last = self.channels.entry((from, to)).or_default();
        let at = at.max(*last);
        *last = at;
        let life = self.life;
        let happening = Happening::Batch {
            life,
            from,
            to,
            batch,
        };
        self.agenda.enter(at, happening);
    }

    fn transmit(&mut self, shard: ShardId, key: ConnectionKey) {
        let now = self.now;
        let mut bytes = Vec::new();
        loop {
            let core = &mut self.shells[usize::from(shard.0)].shard;
            let mut slices = [IoSlice::new(&[]); 16];
            let count = core.transmit(key, &mut slices);
            let before = bytes.len();
            for slice in &slices[..count] {
                bytes.extend_from_slice(slice);
            }
            if bytes.len() == before {
                break;
            }
            core.transmitted(key, bytes.len() - before, now);
        }
        if let Some(link) = self.shell(shard).places.get(&key).copied()
            && !bytes.is_empty()
        {
            self.down(link, bytes);
        }
    }

    fn obey(&mut self, shard: ShardId) {
        while let Some(output) = self.shell(shard).shard.poll_output() {
            match output {
                Output::Close { connection } => {
                    self.transmit(shard, connection);
                    self.shell(shard).shard.closed(connection);
                    if let Some(link) = self.shell(shard).places.remove(&connection) {
                        self.links[link.0].end = End::Gone;
                        self.end_down(link);
                    }
                }
                Output::Rehome {
                    connection,
                    to,
                    origin,
                    received,
                } => {
                    if let Some(link) = self.shell(shard).places.remove(&connection) {
                        self.links[link.0].end = End::Moving;
                        self.give(to, Work::Open(link, origin, received));
                    }
                }
                Output::ResumeReading { connection } => {
                    if let Some(link) = self.shell(shard).places.get(&connection).copied() {
                        self.give(shard, Work::Readable(link));
                    }
                }
                Output::Load { load, keys } => {
                    let at = self.now + self.random.within(self.scenario.loading);
                    let life = self.life;
                    let happening = Happening::Load {
                        life,
                        shard,
                        load,
                        keys,
                    };
                    self.agenda.enter(at, happening);
                }
                Output::Authenticate { .. } | Output::Exchange { .. } => {
                    let text = format!("{output:?}");
                    self.verdict.breach(Promise::Protocol, text);
                }
                Output::Event(event) => {
                    self.history
                        .note(self.now, || format!("shard {}: {event}", shard.0));
                    match event {
                        Event::StoreRefuses { .. } => {
                            self.tally.refusals += 1;
                            self.refusing.insert(shard);
                        }
                        Event::StoreRecovered => {
                            self.refusing.remove(&shard);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
