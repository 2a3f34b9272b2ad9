//! One shard: the sessions whose Client Identifiers hash to it, and everything they share.
//!
//! A shard is a state machine. The shell feeds it bytes, inputs and the time, and takes out bytes,
//! outputs and batches for other shards. It never blocks, never reads a clock, and what it does is
//! a function of what it was fed.
//!
//! The files beside this one are its transitions, each by its subject: `receive` (bytes to
//! packets), `connect`, `authenticate`, `publish` (the one routing path), `deliver` (to one
//! session), `put_out` (its bytes), `backpressure`, `acknowledge`, `subscribe`, `requests` (what its
//! filters ask for), `unsubscribe`, `shared`, `replay` (retained messages for new subscriptions),
//! `keep`, `promise` and `load` (what the store has, or is to have), `restore` (from it), `ending`
//! (of connections and sessions, with wills), `peers` (other shards), `unwrap` (wrappers off a
//! topic), `command`, `reply`, `feeds`, `arrivals` and `extensions` (what extensions serve),
//! `exclusive`, `owed` (acknowledgements, in their order) and `timers`.

mod acknowledge;
mod arrivals;
mod authenticate;
mod backpressure;
mod command;
mod connect;
mod deliver;
mod ending;
mod exclusive;
mod extensions;
mod feeds;
mod keep;
mod load;
mod owed;
mod peers;
mod promise;
mod publish;
mod put_out;
mod receive;
mod replay;
mod reply;
mod requests;
mod residue;
mod restore;
mod shared;
mod subscribe;
#[cfg(test)]
mod tests;
mod timers;
mod unsubscribe;
mod unwrap;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::io::IoSlice;
use std::sync::Arc;

use hashbrown::HashMap;
use nexum_extension_api::Claim;
use nexum_types::{ClientId, ReasonCode, Time};
use slab::Slab;

use crate::address::{ExtensionId, Served, Words};
use crate::connection::{Connection, Holds};
use crate::counters::{Counters, Gauges};
use crate::journal::Journal;
use crate::key::{ConnectionKey, SessionKey, ShardId};
use crate::keyed::Keyed;
use crate::limits::Limits;
use crate::origin::ConnectionOrigin;
use crate::outbound_buffer::BufferPool;
use crate::output::{ConnectionLoss, DisconnectCause, Event, Input, Output};
use crate::peer::{MemberKey, NotKept, PeerBatch, PeerMessage, Receipt};
use crate::recent_ids::RecentIds;
use crate::record::{MessageId, SessionId};
use crate::replay::Overtaken;
use crate::retained::RetainedStore;
use crate::route_cache::RouteCache;
use crate::session::Session;
use crate::shared_subscription::SharedSubscriptions;
use crate::subscription::{Subscriber, Subscription};
use crate::subscription_index::{FilterId, SubscriptionIndex};
use crate::timer_wheel::TimerWheel;

pub(crate) use arrivals::Arrival;
pub(crate) use authenticate::Exchange;
use command::{Inquiry, PendingCommand};
use extensions::{Capture, Outbox, PendingCapture};
use feeds::Feed;
use load::LoadFor;
use peers::PendingSubscribe;
use promise::{HandedOver, Promise};
use put_out::Templates;
use replay::RemoteReplay;
use timers::Timer;

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which one it is.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The bounds, the same for all.
    pub limits: Arc<Limits>,
    /// The same for all shards of a process and different at each start: hash tables are laid
    /// out by it, so that nobody can choose names that collide.
    pub seed: u64,
    /// The methods of enhanced authentication that the shell serves.
    pub authentication_methods: Arc<[Box<str>]>,
    /// What extends the broker, in the order of [`ExtensionId`].
    pub extensions: Arc<[ExtensionConfig]>,
}

/// What a shard knows of an extension.
#[derive(Clone, Copy, Debug)]
pub struct ExtensionConfig {
    /// The table that has its records.
    pub table: u16,
    /// What it serves.
    pub claims: &'static [Claim],
}

/// The sessions whose Client Identifiers hash to this shard, and everything they share.
pub struct Shard {
    id: ShardId,
    shards: u16,
    limits: Arc<Limits>,
    homes: foldhash::quality::FixedState,
    connections: Slab<Connection>,
    sessions: Slab<Session>,
    clients: HashMap<ClientId, u32, foldhash::quality::FixedState>,
    index: SubscriptionIndex<Subscriber, Subscription>,
    routes: RouteCache,
    groups: SharedSubscriptions,
    retained: RetainedStore,
    wheel: TimerWheel<Timer>,
    outputs: VecDeque<Output>,
    to_transmit: VecDeque<ConnectionKey>,
    urgent: VecDeque<ConnectionKey>,
    /// Connections whose hold was lifted and whose unhandled bytes are to be looked at.
    resumed: VecDeque<ConnectionKey>,
    outboxes: Vec<Vec<PeerMessage>>,
    /// Local subscribers by filter, while there are other shards to tell of them.
    announced: BTreeMap<FilterId, u32>,
    /// Filters for which other shards have subscribers that keep what they get.
    durable_interests: usize,
    pending_subscribes: Slab<PendingSubscribe>,
    remote_replays: BTreeMap<(ShardId, u32), RemoteReplay>,
    replay_tokens: u32,
    /// Which session waits for which replay from another shard.
    replaying: BTreeMap<u32, SessionKey>,
    /// How many replays wait to be opened in sessions that have a connection.
    replay_requests: usize,
    overtaken: Overtaken,
    /// Sessions whose pump stopped for the sake of others and goes on at the next timeout.
    unfinished: BTreeSet<SessionKey>,
    pool: BufferPool,
    templates: Templates,
    due: Vec<Timer>,
    found: Vec<(Subscriber, Subscription)>,
    encoded: Vec<u8>,
    counters: Counters,
    generations: u32,
    assigned_client_ids: u64,
    seed: u64,
    shutting_down: bool,
    authentication_methods: Arc<[Box<str>]>,
    words: Words,
    extensions: Vec<Outbox>,
    commands: Keyed<PendingCommand>,
    inquiries: Keyed<Inquiry>,
    recent_ids: RecentIds,
    feeds: Keyed<Feed>,
    /// Who has what exclusively, of what belongs to this shard.
    exclusives: BTreeMap<Box<str>, MemberKey>,
    captures: Slab<Capture>,
    pending_captures: Keyed<PendingCapture>,
    journal: Journal,
    promises: Slab<Promise>,
    /// A joint publication whose acknowledgement is not owed yet.
    pending_joint: Option<(Receipt, u16, Option<NotKept>)>,
    /// Those who wait for parts that other shards commit.
    tickets: Slab<HandedOver>,
    /// Messages asked back from the store.
    loads: Slab<LoadFor>,
    /// How many share each message that has a record of its own.
    references: HashMap<MessageId, u32, foldhash::fast::FixedState>,
    /// Sessions that the store knows.
    session_ids: HashMap<SessionId, u32, foldhash::fast::FixedState>,
    /// Clients whose earlier sessions the store may still have, with how many deletions have no
    /// answer.
    ended: HashMap<ClientId, u32, foldhash::quality::FixedState>,
    next_session_id: SessionId,
    next_message_id: MessageId,
    /// It was told that the store refuses, and not yet that it does no more.
    told_of_refusal: bool,
}

impl Shard {
    /// A shard without connections, sessions or retained messages.
    #[must_use]
    pub fn new(config: ShardConfig) -> Shard {
        let ShardConfig {
            id,
            shards,
            limits,
            seed,
            authentication_methods,
            extensions,
        } = config;
        let served = extensions.iter().zip(0..).flat_map(|(extension, id)| {
            extension.claims.iter().map(move |claim| Served {
                extension: ExtensionId(id),
                claim: *claim,
            })
        });
        let words = Words::new(served.collect());
        Shard {
            id,
            shards: shards.max(1),
            homes: foldhash::quality::FixedState::with_seed(seed),
            connections: Slab::new(),
            sessions: Slab::new(),
            clients: HashMap::with_hasher(foldhash::quality::FixedState::with_seed(!seed)),
            index: SubscriptionIndex::new(seed),
            routes: RouteCache::new(seed),
            groups: SharedSubscriptions::default(),
            retained: RetainedStore::new(seed),
            wheel: TimerWheel::new(),
            outputs: VecDeque::new(),
            to_transmit: VecDeque::new(),
            urgent: VecDeque::new(),
            resumed: VecDeque::new(),
            outboxes: (0..shards.max(1)).map(|_| Vec::new()).collect(),
            announced: BTreeMap::new(),
            durable_interests: 0,
            pending_subscribes: Slab::new(),
            remote_replays: BTreeMap::new(),
            replay_tokens: 0,
            replaying: BTreeMap::new(),
            replay_requests: 0,
            overtaken: Overtaken::default(),
            unfinished: BTreeSet::new(),
            pool: BufferPool::default(),
            templates: Templates::default(),
            due: Vec::new(),
            found: Vec::new(),
            encoded: Vec::new(),
            counters: Counters::default(),
            generations: 0,
            assigned_client_ids: 0,
            seed,
            shutting_down: false,
            authentication_methods,
            words,
            extensions: extensions.iter().map(|it| Outbox::new(it.table)).collect(),
            commands: Keyed::default(),
            inquiries: Keyed::default(),
            recent_ids: RecentIds::new(seed),
            feeds: Keyed::default(),
            exclusives: BTreeMap::new(),
            captures: Slab::new(),
            pending_captures: Keyed::default(),
            journal: Journal::default(),
            promises: Slab::new(),
            pending_joint: None,
            tickets: Slab::new(),
            loads: Slab::new(),
            references: HashMap::default(),
            session_ids: HashMap::default(),
            ended: HashMap::with_hasher(foldhash::quality::FixedState::with_seed(!seed)),
            next_session_id: SessionId(u64::from(id.0)),
            next_message_id: MessageId(u64::from(id.0)),
            told_of_refusal: false,
            limits,
        }
    }

    /// A network connection was accepted.
    pub fn open(&mut self, origin: ConnectionOrigin, now: Time) -> ConnectionKey {
        self.counters.connections_opened += 1;
        let generation = self.next_generation();
        let index = self
            .connections
            .insert(Connection::new(origin, generation, now)) as u32;
        let key = ConnectionKey { index, generation };
        let limit = u64::from(self.limits.authentication_timeout_seconds);
        self.wheel.arm(
            now + std::time::Duration::from_secs(limit),
            Timer::Authentication(key),
        );
        key
    }

    /// Bytes came from the network, as many as there were. Takes them all; what cannot be handled
    /// yet is kept, at most these bytes and one packet.
    pub fn receive(&mut self, connection: ConnectionKey, bytes: &[u8], now: Time) {
        if self.connection(connection).is_none() {
            return;
        }
        self.counters.bytes_received += bytes.len() as u64;
        self.take_bytes(connection, bytes, now);
        self.run_resumed(now);
    }

    /// Whether the shell may read more from this socket. When it turns true again,
    /// [`Output::ResumeReading`] says so.
    #[must_use]
    pub fn wants_read(&self, connection: ConnectionKey) -> bool {
        self.connection(connection)
            .is_some_and(|connection| !connection.holds.any() && !connection.is_closing())
    }

    /// The network connection ended. The key is free after it.
    pub fn lost(&mut self, connection: ConnectionKey, loss: ConnectionLoss, now: Time) {
        if self.connection(connection).is_some() {
            self.end_connection(connection, DisconnectCause::Lost(loss), now);
            self.forget(connection);
            self.run_resumed(now);
        }
    }

    /// The shell has closed the socket as [`Output::Close`] told it. The key is free after it.
    pub fn closed(&mut self, connection: ConnectionKey) {
        if self.connection(connection).is_some() {
            self.forget(connection);
        }
    }

    /// The next connection that has bytes to send, if any; for the end of a turn.
    pub fn poll_transmit(&mut self) -> Option<ConnectionKey> {
        while let Some(key) = self.to_transmit.pop_front() {
            if let Some(connection) = self.connection_mut(key) {
                connection.listed = false;
                connection.urgent = false;
                if connection.outbound.pending() > 0 && connection.corks == 0 {
                    return Some(key);
                }
            }
        }
        self.urgent.clear();
        None
    }

    /// The next connection that should be sent to before more is read from others, so that a turn
    /// does not pile up more than a socket takes.
    pub fn poll_urgent_transmit(&mut self) -> Option<ConnectionKey> {
        while let Some(key) = self.urgent.pop_front() {
            if let Some(connection) = self.connection_mut(key) {
                connection.urgent = false;
                if connection.outbound.pending() > 0 && connection.corks == 0 {
                    return Some(key);
                }
            }
        }
        None
    }

    /// What waits to be sent to a connection, oldest first, as at most `slices.len()` pieces.
    /// Returns how many there are.
    pub fn transmit<'a>(&'a self, connection: ConnectionKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.connection(connection)
            .filter(|connection| connection.corks == 0)
            .map_or(0, |connection| connection.outbound.fill(slices))
    }

    /// How many bytes wait to be sent to a connection.
    #[must_use]
    pub fn pending_transmit(&self, connection: ConnectionKey) -> usize {
        self.connection(connection)
            .filter(|connection| connection.corks == 0)
            .map_or(0, |connection| connection.outbound.pending())
    }

    /// The shell has sent this many of them. If some remain it waits until the socket takes more
    /// and asks [`transmit`](Self::transmit) again.
    ///
    /// # Panics
    /// If that is more than was pending.
    pub fn transmitted(&mut self, connection: ConnectionKey, bytes: usize, now: Time) {
        let most = self.outbound_limit();
        let Some(slot) = self.connections.get_mut(connection.index as usize) else {
            return;
        };
        if slot.generation != connection.generation {
            return;
        }
        slot.outbound.advance(bytes, &mut self.pool);
        self.counters.bytes_sent += bytes as u64;
        let pending = slot.outbound.pending();
        if slot.holds.has(Holds::OUTBOUND_FULL) && pending * 2 < most {
            self.lift_hold(connection, Holds::OUTBOUND_FULL);
        }
        if let Some(session) = self.connections[connection.index as usize].session() {
            self.on_drained(session, pending, now);
        }
        self.run_resumed(now);
    }

    /// Something happened that is neither bytes nor the end of a connection.
    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Authenticated {
                connection,
                outcome,
            } => {
                self.on_authenticated(connection, outcome, now);
            }
            Input::Exchange {
                connection,
                outcome,
            } => self.on_exchange(connection, outcome, now),
            Input::Peer { from, batch } => self.on_peer(from, batch, now),
            Input::Disconnect { connection, reason } => {
                if self.connection(connection).is_some() {
                    self.end_connection(connection, DisconnectCause::Administrative(reason), now);
                }
            }
            Input::Publish {
                topic,
                payload,
                qos,
                retain,
            } => {
                self.publish_own(&topic, &payload, qos, retain, now);
            }
            Input::Stored(stored) => self.on_stored(stored, now),
            Input::Loaded { load, messages } => self.on_loaded(load, messages, now),
            Input::Extension { extension, outputs } => self.on_extension(extension, outputs, now),
            Input::ShutDown => self.shut_down(now),
        }
        self.run_resumed(now);
    }

    /// The next thing the shell has to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What has gathered for another shard since the last call.
    pub fn take_peer_batch(&mut self, to: ShardId) -> Option<PeerBatch> {
        let outbox = self.outboxes.get_mut(usize::from(to.0))?;
        (!outbox.is_empty()).then(|| PeerBatch::new(std::mem::take(outbox)))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if !self.unfinished.is_empty() {
            return Some(Time::ZERO);
        }
        match (self.wheel.next_tick(), self.retained.next_expiry()) {
            (Some(tick), Some(expiry)) => Some(tick.min(expiry)),
            (tick, expiry) => tick.or(expiry),
        }
    }

    /// The time has come to be `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.on_timeout(now);
        self.run_resumed(now);
    }

    /// Totals since the shard began.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What there is now. Walks the sessions: for a few calls a second.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let (mut subscriptions, mut queued, mut inflight) = (0, 0, 0);
        for (_, session) in &self.sessions {
            subscriptions += session.subscriptions.len() + session.shared_subscriptions.len();
            queued += session.queue.len();
            inflight += session.inflight.len();
        }
        Gauges {
            connections: self.connections.len() as u64,
            sessions: self.sessions.len() as u64,
            subscriptions: subscriptions as u64,
            shared_groups: self.groups.len() as u64,
            retained: self.retained.len() as u64,
            retained_bytes: self.retained.bytes(),
            outbound_bytes: self.pool.lent() as u64,
            queued_messages: queued as u64,
            inflight_messages: inflight as u64,
        }
    }

    /// The shard that the session of this Client Identifier belongs to.
    fn home_of(&self, client_id: &str) -> ShardId {
        // The same as the public `home_of`, with the hasher made once.
        ShardId((self.homes.hash_one(client_id) % u64::from(self.shards)) as u16)
    }

    fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    fn connection(&self, key: ConnectionKey) -> Option<&Connection> {
        self.connections
            .get(key.index as usize)
            .filter(|connection| connection.generation == key.generation)
    }

    fn connection_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections
            .get_mut(key.index as usize)
            .filter(|connection| connection.generation == key.generation)
    }

    fn session_by_key(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions
            .get_mut(key.index as usize)
            .filter(|session| session.generation == key.generation)
    }

    fn session_key(&self, index: u32) -> SessionKey {
        SessionKey {
            index,
            generation: self.sessions[index as usize].generation,
        }
    }

    /// Names the connection to the shell at the end of the turn, or before it if much is waiting.
    fn list_for_transmit(&mut self, index: u32) {
        const URGENT_BYTES: usize = 256 * 1024;
        let connection = &mut self.connections[index as usize];
        if connection.corks > 0 {
            return;
        }
        let key = ConnectionKey {
            index,
            generation: connection.generation,
        };
        if !connection.listed {
            connection.listed = true;
            self.to_transmit.push_back(key);
        }
        if !connection.urgent && connection.outbound.pending() > URGENT_BYTES {
            connection.urgent = true;
            self.urgent.push_back(key);
        }
    }

    fn lift_hold(&mut self, key: ConnectionKey, hold: Holds) {
        if let Some(connection) = self.connection_mut(key) {
            let was_held = connection.holds.any();
            connection.holds.remove(hold);
            if was_held && !connection.holds.any() {
                self.resumed.push_back(key);
            }
        }
    }

    /// Looks at what connections sent while they were held back. A list and not a call where the
    /// hold is lifted, because handling those bytes may lift others.
    fn run_resumed(&mut self, now: Time) {
        while let Some(key) = self.resumed.pop_front() {
            if let Some(connection) = self.connection_mut(key) {
                // Nobody listened to it while it was held back: its keep alive begins anew.
                connection.last_received = now;
            }
            self.take_bytes(key, &[], now);
            if self.wants_read(key) {
                self.outputs
                    .push_back(Output::ResumeReading { connection: key });
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The connection is gone: nothing names it any more.
    fn forget(&mut self, key: ConnectionKey) {
        let mut connection = self.connections.remove(key.index as usize);
        connection.outbound.clear(&mut self.pool);
        if self.connections.is_empty() {
            self.connections = Slab::new();
        }
    }

    fn shut_down(&mut self, now: Time) {
        self.shutting_down = true;
        let keys: Vec<ConnectionKey> = self
            .connections
            .iter()
            .map(|(index, connection)| ConnectionKey {
                index: index as u32,
                generation: connection.generation,
            })
            .collect();
        for key in keys {
            self.end_connection(key, DisconnectCause::ShuttingDown, now);
        }
    }
}

impl DisconnectCause {
    /// What an MQTT 5 client is told, if it is told anything.
    pub(crate) fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            DisconnectCause::ByClient(_) | DisconnectCause::Lost(_) => None,
            DisconnectCause::Malformed(error) => Some(error.reason_code()),
            DisconnectCause::Protocol(error) => Some(error.reason_code()),
            DisconnectCause::KeepAliveTimeout => Some(ReasonCode::KeepAliveTimeout),
            DisconnectCause::AuthenticationTimeout => Some(ReasonCode::MaximumConnectTime),
            DisconnectCause::Refused(reason) | DisconnectCause::Administrative(reason) => {
                Some(*reason)
            }
            DisconnectCause::TakenOver => Some(ReasonCode::SessionTakenOver),
            DisconnectCause::Unstored => Some(ReasonCode::QuotaExceeded),
            DisconnectCause::PublishRefused(code) => Some(code.of_publish()),
            DisconnectCause::ShuttingDown => Some(ReasonCode::ServerShuttingDown),
        }
    }
}
