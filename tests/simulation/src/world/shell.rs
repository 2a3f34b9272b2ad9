//! What the real shell does for a shard: turns, sockets, mailboxes, timers – and between any two
//! calls of the core the judge looks at what came out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use nexum_core::{
    AuthenticationOutcome, ConnectionKey, ConnectionLoss, ConnectionOrigin, Event, Input, Output,
    PeerBatch, Shard, ShardId,
};
use nexum_types::Time;

use super::{Happening, World};
use crate::link::{BrokerEnd, LinkId};
use crate::random::Span;
use crate::rule::Rule;
use crate::scenario::Family;

pub(super) struct Shell {
    pub(super) shard: Shard,
    places: BTreeMap<ConnectionKey, LinkId>,
    mailbox: VecDeque<(ShardId, PeerBatch)>,
    arrivals: VecDeque<(LinkId, ConnectionOrigin, Vec<u8>)>,
    inputs: VecDeque<Input>,
    answers: VecDeque<(LinkId, AuthenticationOutcome)>,
    losses: VecDeque<(LinkId, ConnectionLoss)>,
    readable: BTreeSet<LinkId>,
    writable: BTreeSet<LinkId>,
    /// The turn that is entered in the agenda.
    turn_at: Option<Time>,
}

/// How long after its time a shard is woken for its timers.
const WAKE_DELAY: Span = Span::micros(0, 5_000);
/// Every acknowledgement in its longest form without properties.
const ACKNOWLEDGEMENT_BYTES: usize = 6;
/// SUBACK, UNSUBACK and DISCONNECT in these scenarios.
const OTHER_PACKET_BYTES: usize = 500;
/// The largest PUBLISH in these scenarios.
const PUBLISH_BYTES: usize = 10_000;

impl Shell {
    pub(super) fn new(shard: Shard) -> Shell {
        Shell {
            shard,
            places: BTreeMap::new(),
            mailbox: VecDeque::new(),
            arrivals: VecDeque::new(),
            inputs: VecDeque::new(),
            answers: VecDeque::new(),
            losses: VecDeque::new(),
            readable: BTreeSet::new(),
            writable: BTreeSet::new(),
            turn_at: None,
        }
    }
}

impl World {
    pub(super) fn shell(&mut self, shard: ShardId) -> &mut Shell {
        &mut self.shells[usize::from(shard.0)]
    }

    /// The shard has its turn at that time at the latest.
    fn wake(&mut self, shard: ShardId, at: Time) {
        let shell = self.shell(shard);
        if shell.turn_at.is_none_or(|turn| at < turn) {
            shell.turn_at = Some(at);
            self.agenda.enter(at, Happening::Turn { shard });
        }
    }

    fn wake_soon(&mut self, shard: ShardId) {
        let at = self.now + self.random.within(self.scenario.turn_delay);
        self.wake(shard, at);
    }

    pub(super) fn input(&mut self, shard: ShardId, input: Input) {
        self.shell(shard).inputs.push_back(input);
        self.wake_soon(shard);
    }

    pub(super) fn readable(&mut self, link: LinkId) {
        if let BrokerEnd::Open { shard, .. } = self.links[link.0].broker {
            self.shell(shard).readable.insert(link);
            self.wake_soon(shard);
        }
    }

    pub(super) fn writable(&mut self, link: LinkId) {
        if let Some((shard, _)) = self.links[link.0].broker.place() {
            self.shell(shard).writable.insert(link);
            self.wake_soon(shard);
        }
    }

    pub(super) fn batch_arrives(&mut self, from: ShardId, to: ShardId) {
        let channel = self.channels.entry((from, to)).or_default();
        if let Some(batch) = channel.batches.pop_front() {
            self.shell(to).mailbox.push_back((from, batch));
            self.wake_soon(to);
        }
    }

    pub(super) fn handed(
        &mut self,
        link: LinkId,
        to: ShardId,
        origin: ConnectionOrigin,
        received: Vec<u8>,
    ) {
        self.shell(to).arrivals.push_back((link, origin, received));
        self.wake_soon(to);
    }

    pub(super) fn authenticated(&mut self, link: LinkId, outcome: AuthenticationOutcome) {
        if let BrokerEnd::Open { shard, .. } = self.links[link.0].broker {
            self.shell(shard).answers.push_back((link, outcome));
            self.wake_soon(shard);
        }
    }

    pub(super) fn broker_learns(&mut self, link: LinkId, loss: ConnectionLoss) {
        match self.links[link.0].broker {
            BrokerEnd::Open { shard, .. } | BrokerEnd::Closing { shard, .. } => {
                self.shell(shard).losses.push_back((link, loss));
                self.wake_soon(shard);
            }
            // Whoever takes it over finds out.
            BrokerEnd::Moving => self.links[link.0].broker = BrokerEnd::Gone,
            BrokerEnd::Gone => {}
        }
    }

    pub(super) fn turn(&mut self, shard: ShardId) {
        // Entered earlier and later than needed: only the one that counts.
        let now = self.now;
        if self.shell(shard).turn_at != Some(now) {
            return;
        }
        self.shell(shard).turn_at = None;
        while let Some((from, batch)) = self.shell(shard).mailbox.pop_front() {
            let now = self.clock();
            self.shell(shard)
                .shard
                .handle(Input::Peer { from, batch }, now);
            self.look(shard, None);
        }
        while let Some((link, loss)) = self.shell(shard).losses.pop_front() {
            self.lose(shard, link, loss);
        }
        while let Some((link, origin, received)) = self.shell(shard).arrivals.pop_front() {
            self.open(shard, link, origin, &received);
        }
        while let Some((link, outcome)) = self.shell(shard).answers.pop_front() {
            if let BrokerEnd::Open { shard: at, key } = self.links[link.0].broker
                && at == shard
            {
                let now = self.clock();
                let input = Input::Authenticated {
                    connection: key,
                    outcome,
                };
                self.shell(shard).shard.handle(input, now);
                self.look(shard, Some(link));
            }
        }
        while let Some(input) = self.shell(shard).inputs.pop_front() {
            let now = self.clock();
            self.shell(shard).shard.handle(input, now);
            self.look(shard, None);
        }
        let mut readable: Vec<LinkId> = std::mem::take(&mut self.shell(shard).readable)
            .into_iter()
            .collect();
        self.random.shuffle(&mut readable);
        for link in readable {
            self.read(shard, link);
        }
        let now = self.clock();
        if self
            .shell(shard)
            .shard
            .poll_timeout()
            .is_some_and(|at| at <= now)
            && !self.planted.stops_timers()
        {
            self.shell(shard).shard.handle_timeout(now);
            self.look(shard, None);
        }
        self.send(shard);
        self.submit(shard);
        self.post(shard);
        self.check_nothing_forgotten(shard);
        if let Some(at) = self.shell(shard).shard.poll_timeout()
            && !self.planted.stops_timers()
        {
            let at = at.max(self.now) + self.random.within(WAKE_DELAY);
            self.wake(shard, at.max(self.now + Duration::from_micros(1)));
        }
    }

    /// The time as the core is told it.
    fn clock(&self) -> Time {
        self.now
    }

    fn lose(&mut self, shard: ShardId, link: LinkId, loss: ConnectionLoss) {
        let Some((at, key)) = self.links[link.0].broker.place() else {
            return;
        };
        if at != shard || self.planted.forgets_losses() {
            return;
        }
        let now = self.clock();
        self.forget(link);
        self.shell(shard).shard.lost(key, loss, now);
        self.look(shard, None);
    }

    /// The shell has no socket for it any more.
    fn forget(&mut self, link: LinkId) {
        if let Some((shard, key)) = self.links[link.0].broker.place() {
            let shell = self.shell(shard);
            shell.places.remove(&key);
            shell.readable.remove(&link);
            shell.writable.remove(&link);
        }
        let record = &mut self.links[link.0];
        record.broker = BrokerEnd::Gone;
        record.shown_bytes = 0;
        record.held_since = None;
    }

    fn open(&mut self, shard: ShardId, link: LinkId, origin: ConnectionOrigin, received: &[u8]) {
        if self.links[link.0].broker == BrokerEnd::Gone {
            return;
        }
        let now = self.clock();
        let shell = self.shell(shard);
        let key = shell.shard.open(origin, now);
        if shell.places.insert(key, link).is_some() {
            self.judge
                .breach(Rule::Expected, format!("{key:?} is taken"));
        }
        self.links[link.0].broker = BrokerEnd::Open { shard, key };
        self.links[link.0].shown_bytes = 0;
        if !received.is_empty() {
            self.shell(shard).shard.receive(key, received, now);
        }
        self.look(shard, Some(link));
        self.readable(link);
    }

    /// One read from one socket.
    fn read(&mut self, shard: ShardId, link: LinkId) {
        let BrokerEnd::Open { shard: at, key } = self.links[link.0].broker else {
            return;
        };
        if at != shard || !self.shell(shard).shard.wants_read(key) {
            return;
        }
        if self.links[link.0].up.arrived.is_empty() {
            if self.links[link.0].up.ended {
                self.lose(shard, link, ConnectionLoss::EndOfStream);
            }
            return;
        }
        let most = *self.random.pick(&[3, 50, 1_500, 65_536]);
        let bytes = self.links[link.0].up.read(most);
        let now = self.clock();
        self.judge.bytes_fed(link, &bytes);
        self.shell(shard).shard.receive(key, &bytes, now);
        self.look(shard, Some(link));
        self.readable(link);
    }

    /// After every call: what has the core to say? `fed` is the link whose bytes it was given.
    fn look(&mut self, shard: ShardId, fed: Option<LinkId>) {
        while let Some(output) = self.shell(shard).shard.poll_output() {
            self.obey(shard, fed, output);
        }
        let places: Vec<(ConnectionKey, LinkId)> = self
            .shell(shard)
            .places
            .iter()
            .map(|(key, link)| (*key, *link))
            .collect();
        for (key, link) in places {
            self.show(shard, key, link);
            self.check_bounds(shard, key, link);
            let pending = self.shell(shard).shard.pending_transmit(key);
            self.judge.socket_is_empty(link, pending == 0);
            let waits = !self.shell(shard).shard.wants_read(key);
            if !waits {
                self.judge.confirmed(link);
            }
            self.check_hold(link, waits);
        }
    }

    fn obey(&mut self, shard: ShardId, fed: Option<LinkId>, output: Output) {
        match output {
            Output::Close { connection } => {
                let Some(link) = self.shell(shard).places.get(&connection).copied() else {
                    return self
                        .judge
                        .breach(Rule::Expected, format!("Close {connection:?}"));
                };
                self.links[link.0].broker = BrokerEnd::Closing {
                    shard,
                    key: connection,
                };
                self.shell(shard).writable.insert(link);
                let by = self.now + Duration::from_secs(1);
                self.agenda.enter(by, Happening::CloseDeadline { link });
                self.wake_soon(shard);
            }
            Output::Authenticate {
                connection,
                credentials,
            } => {
                let Some(link) = self.shell(shard).places.get(&connection).copied() else {
                    return self
                        .judge
                        .breach(Rule::Expected, format!("Check {connection:?}"));
                };
                let outcome = if self.random.percent(3) {
                    AuthenticationOutcome::Unavailable
                } else if credentials.password.as_deref() == Some(b"right") {
                    AuthenticationOutcome::Accepted
                } else {
                    AuthenticationOutcome::Refused
                };
                let span = *self
                    .random
                    .pick(&[Span::micros(1, 100), Span::millis(5, 400)]);
                let late = self.random.percent(2);
                let at = self.now
                    + self.random.within(if late {
                        Span::millis(4_500, 5_500)
                    } else {
                        span
                    });
                self.agenda
                    .enter(at, Happening::Authenticated { link, outcome });
            }
            Output::Rehome {
                connection,
                to,
                origin,
                received,
            } => {
                let Some(link) = self.shell(shard).places.remove(&connection) else {
                    return self
                        .judge
                        .breach(Rule::Expected, format!("Move {connection:?}"));
                };
                self.judge.tally.rehomed += 1;
                self.forget(link);
                self.links[link.0].broker = BrokerEnd::Moving;
                let at = self.now + self.random.within(self.scenario.peer_delay);
                self.agenda.enter(
                    at,
                    Happening::Handed {
                        link,
                        to,
                        origin,
                        received,
                    },
                );
            }
            Output::ResumeReading { connection } => {
                if let Some(link) = self.shell(shard).places.get(&connection).copied() {
                    self.readable(link);
                }
            }
            Output::Load { load, keys } => self.load(shard, load, keys),
            Output::Exchange {
                connection, method, ..
            } => {
                let text = format!("{connection:?} is asked about {method}, which nobody serves");
                self.judge.breach(Rule::Expected, text);
            }
            Output::Event(event) => {
                self.judge
                    .history
                    .note(self.now, || format!("shard {}: {event}", shard.0));
                match &event {
                    Event::ConnectionEnded { .. } => self.judge.tally.never_connected += 1,
                    Event::ConnectRefused { .. } => self.judge.tally.refused += 1,
                    Event::Connected { .. }
                    | Event::Disconnected { .. }
                    | Event::QueueOverflow { .. }
                    | Event::SessionExpired { .. }
                    | Event::SubscriptionLost { .. }
                    | Event::WillRefused { .. }
                    | Event::StoreRefuses { .. }
                    | Event::StoreRecovered => {}
                }
                self.judge.event(fed, &event);
            }
        }
    }

    /// The judge sees bytes as soon as the core has put them out, whenever they are sent.
    fn show(&mut self, shard: ShardId, key: ConnectionKey, link: LinkId) {
        let core = &self.shells[usize::from(shard.0)].shard;
        let pending = core.pending_transmit(key);
        let shown = self.links[link.0].shown_bytes;
        if pending <= shown {
            return;
        }
        let bytes = pending_bytes(core, key, shown, usize::MAX);
        for byte in &bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if self.planted.tampers_output() {
            let now = self.clock();
            self.shell(shard).shard.transmitted(key, pending, now);
            let version = self.judge.version_of(link);
            let tampered = self.planted.tamper_output(link, &bytes, version);
            self.judge.bytes_put_out(link, &tampered);
            self.links[link.0].instead.extend(tampered);
            self.shell(shard).writable.insert(link);
            self.wake_soon(shard);
            // More may have come in place of what was taken.
            return self.show(shard, key, link);
        }
        self.links[link.0].shown_bytes = pending;
        self.judge.bytes_put_out(link, &bytes);
    }

    fn check_bounds(&mut self, shard: ShardId, key: ConnectionKey, link: LinkId) {
        let pending = self.shells[usize::from(shard.0)]
            .shard
            .pending_transmit(key);
        let limit = self.scenario.limits.outbound_buffer_bytes as usize;
        // What is looked at before a packet is put out may be one packet too late, and what was
        // promised before has to go out: an acknowledgement for each packet taken.
        let owed = self.judge.link(link).owed_count() * ACKNOWLEDGEMENT_BYTES;
        let margin = PUBLISH_BYTES + OTHER_PACKET_BYTES + owed;
        if pending > limit + margin {
            let text = format!("{link:?}: {pending} bytes wait, {limit} + {margin} may");
            self.judge.breach(Rule::Bounds, text);
        }
    }

    /// A client that reads and answers is held back for others only so long.
    fn check_hold(&mut self, link: LinkId, waits: bool) {
        let now = self.now;
        // Before CONNACK it waits for its credentials to be checked, which may take longer.
        let is_admitted = self.judge.link(link).session.is_some();
        let record = &mut self.links[link.0];
        let is_healthy = record.client.is_some_and(|client| {
            self.clients[client].is_healthy() && self.clients[client].phase.is_connected()
        });
        let waits_for_itself = match record.broker {
            // Its network is too slow for what it is sent.
            BrokerEnd::Open { shard, key } => {
                let core = &self.shells[usize::from(shard.0)].shard;
                core.pending_transmit(key) * 2
                    >= self.scenario.limits.outbound_buffer_bytes as usize
            }
            BrokerEnd::Closing { .. } | BrokerEnd::Moving | BrokerEnd::Gone => true,
        };
        if !waits || !is_admitted || !is_healthy || waits_for_itself {
            record.held_since = None;
            return;
        }
        let since = *record.held_since.get_or_insert(now);
        // Each session that is behind may hold a publisher once in a while, one after another.
        let sessions = self.clients.len() as u32;
        let patience =
            Duration::from_millis(u64::from(self.scenario.limits.backpressure_milliseconds));
        let most = (patience + crate::judge::SLACK) * sessions
            + self.scenario.peer_delay.most() * 4
            + Duration::from_secs(1);
        if self.scenario.family == Family::StuckSubscribers && now.since(since) > most {
            let text = format!("{link:?}: held back since {since:?}, {most:?} at most");
            self.judge.breach(Rule::HeldBack, text);
        }
    }

    /// The end of a turn: every socket that has something to send and room for it.
    fn send(&mut self, shard: ShardId) {
        while let Some(key) = self.shell(shard).shard.poll_transmit() {
            match self.shell(shard).places.get(&key).copied() {
                Some(link) => {
                    self.shell(shard).writable.insert(link);
                }
                None => self
                    .judge
                    .breach(Rule::Expected, format!("{key:?} has no socket")),
            }
        }
        for link in std::mem::take(&mut self.shell(shard).writable) {
            self.write(shard, link);
        }
        // What was sent may have made room for more.
        while let Some(key) = self.shell(shard).shard.poll_transmit() {
            if let Some(link) = self.shell(shard).places.get(&key).copied() {
                self.write(shard, link);
            }
        }
    }

    fn write(&mut self, shard: ShardId, link: LinkId) {
        let Some((at, key)) = self.links[link.0].broker.place() else {
            return;
        };
        if at != shard {
            return;
        }
        self.write_instead(link);
        loop {
            let pending = self.shell(shard).shard.pending_transmit(key);
            let room = self.links[link.0].down.room();
            if pending == 0 || room == 0 {
                break;
            }
            let most = pending.min(room);
            let taken = if self.random.percent(20) {
                self.random.between(1, most as u64) as usize
            } else {
                most
            };
            let bytes = pending_bytes(&self.shells[usize::from(shard.0)].shard, key, 0, taken);
            self.down(link, &bytes);
            let record = &mut self.links[link.0];
            record.shown_bytes = record.shown_bytes.saturating_sub(bytes.len());
            let now = self.clock();
            self.shell(shard).shard.transmitted(key, bytes.len(), now);
            self.look(shard, None);
        }
        if let BrokerEnd::Closing { .. } = self.links[link.0].broker
            && self.shell(shard).shard.pending_transmit(key) == 0
            && self.links[link.0].instead.is_empty()
        {
            self.close(link);
        }
    }

    /// Bytes that a planted fault put in the place of the core's.
    fn write_instead(&mut self, link: LinkId) {
        let room = self.links[link.0].down.room();
        let record = &mut self.links[link.0];
        let count = room.min(record.instead.len());
        let bytes: Vec<u8> = record.instead.drain(..count).collect();
        self.down(link, &bytes);
    }

    fn close(&mut self, link: LinkId) {
        if let BrokerEnd::Closing { shard, key } = self.links[link.0].broker {
            self.forget(link);
            self.shell(shard).shard.closed(key);
            self.end_down(link);
        }
    }

    pub(super) fn close_deadline(&mut self, link: LinkId) {
        self.close(link);
    }

    /// The end of a turn: what there is for other shards.
    fn post(&mut self, shard: ShardId) {
        for to in (0..self.scenario.shards)
            .map(ShardId)
            .filter(|to| *to != shard)
        {
            let Some(batch) = self.shell(shard).shard.take_peer_batch(to) else {
                continue;
            };
            if let Some(batch) = self.planted.tamper_batch(batch) {
                let delay = self.random.within(self.scenario.peer_delay);
                let channel = self.channels.entry((shard, to)).or_default();
                let at = (self.now + delay).max(channel.last_arrival);
                channel.last_arrival = at;
                channel.batches.push_back(batch);
                self.agenda.enter(at, Happening::Batch { from: shard, to });
            }
        }
        if self.shell(shard).shard.take_peer_batch(shard).is_some() {
            self.judge
                .breach(Rule::Expected, format!("{shard:?} writes to itself"));
        }
    }

    /// The core has named every connection that has something to send.
    fn check_nothing_forgotten(&mut self, shard: ShardId) {
        let shell = &self.shells[usize::from(shard.0)];
        let forgotten = shell.places.iter().find(|(key, link)| {
            shell.shard.pending_transmit(**key) > 0 && self.links[link.0].down.room() > 0
        });
        if let Some((key, link)) = forgotten {
            let pending = shell.shard.pending_transmit(*key);
            let text = format!("{link:?}: {pending} bytes that the core did not name");
            self.judge.breach(Rule::Progress, text);
        }
    }
}

/// A piece of what waits for a connection.
fn pending_bytes(core: &Shard, key: ConnectionKey, skip: usize, most: usize) -> Vec<u8> {
    let pending = core.pending_transmit(key);
    let mut count = 16;
    loop {
        let mut slices = vec![IoSlice::new(&[]); count];
        let filled = core.transmit(key, &mut slices);
        let there: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        if there < pending && there < skip.saturating_add(most) {
            count *= 4;
            continue;
        }
        let mut bytes = Vec::new();
        let mut to_skip = skip;
        for slice in &slices[..filled] {
            let from = to_skip.min(slice.len());
            to_skip -= from;
            let left = most.saturating_sub(bytes.len());
            bytes.extend_from_slice(&slice[from..][..left.min(slice.len() - from)]);
        }
        return bytes;
    }
}
