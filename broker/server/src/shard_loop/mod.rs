//! The loop of one shard's thread.
//!
//! One task polls every socket of the shard. A turn is: take what other threads posted; read once
//! from each socket that has something, into a buffer they share, and hand it to the core; fire
//! what is due; carry out what the core asks for; write to each connection that has something,
//! with one call; hand other shards one batch each; sleep. So what a message costs here is its
//! share of a turn, and an idle connection costs a slot in a table.
//!
//! It decides nothing about MQTT, and it holds no lock while it works.
//!
//! Invariants: a link is in the table exactly as long as the core knows its key; the core's
//! outputs are carried out before it is asked for a new key, because one of them may have freed
//! the place that the new one gets; a socket that is not being read has either its waker
//! registered, or its token pending, or a hold in the core that ends with an output.
//!
//! The files beside this one are its parts: `arriving` (sockets on their way to MQTT), `reading`,
//! `writing`, `leaving` (connections on their way out) and `sleeping`.

mod alarm;
mod arriving;
mod leaving;
mod limbo;
mod links;
mod reading;
mod report;
mod sleeping;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nexum_core::{
    AuthenticationOutcome, ConnectionKey, Credentials, Event, ExchangeOutcome, ExtensionId, Input,
    Level,
};
use nexum_core::{Output, Shard, ShardId};
use nexum_types::Time;

use self::alarm::Alarm;
use self::limbo::LimboTable;
use self::links::{Link, LinkTable, Phase};
use self::reading::TURN_TIME;
use self::report::Report;
use crate::authenticate::AuthenticationPool;
use crate::extension_host::HostLetter;
use crate::guard::{PANICS_IN_A_ROW, guarded};
use crate::handle::Shared;
use crate::keeper::Keeper;
use crate::post::{Letter, Rehomed};
use crate::ready::{Doorbell, ReadyList, Token};
use crate::server::ShardParts;
use crate::transport::Scratch;

/// How long clients have to take what waits for them when the broker goes down.
const DRAIN: Duration = Duration::from_secs(5);

/// The task of a shard; see the [module](self).
pub(crate) struct ShardLoop {
    id: ShardId,
    shard: Shard,
    shared: Arc<Shared>,
    authentication: Option<AuthenticationPool>,
    keeper: Keeper,
    doorbell: Arc<Doorbell>,
    ready: Arc<ReadyList>,
    links: LinkTable,
    limbo: LimboTable,
    /// Sockets to look at, the longest waiting first.
    pending: VecDeque<Token>,
    /// Those of them that brought much the last time.
    heavy: VecDeque<Token>,
    scratch: Scratch,
    /// Letters of this turn and, in order, what an earlier one left.
    letters: VecDeque<Letter>,
    /// Shards whose mailboxes are over their bound: as long as there is one, nothing is read.
    congested: Vec<ShardId>,
    /// When sockets that are closing or not yet open are given up.
    deadlines: BTreeSet<(Time, Token)>,
    alarm: Alarm,
    /// When the core wanted its timers looked at, as of the end of the last turn.
    core_due: Option<Time>,
    report: Report,
    /// When what this turn delivers was received, at the earliest.
    since: Time,
    /// Until when clients are waited for, once the broker goes down.
    draining: Option<Time>,
    panics_in_a_row: u32,
}

impl Future for ShardLoop {
    type Output = Result<(), String>;

    /// A turn.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.doorbell.attach(cx.waker());
        match guarded(|| self.turn(cx)) {
            Ok(poll) => {
                self.panics_in_a_row = 0;
                poll.map(Ok)
            }
            Err(panic) => {
                tracing::error!(
                    "shard {} panicked outside of a connection: {panic}",
                    self.id.0
                );
                self.report.load.panics += 1;
                self.panics_in_a_row += 1;
                if self.panics_in_a_row == PANICS_IN_A_ROW {
                    return Poll::Ready(Err(panic));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl ShardLoop {
    pub(crate) fn new(parts: ShardParts) -> ShardLoop {
        let ShardParts {
            id,
            shard,
            doorbell,
            shared,
            authentication,
            keeper,
        } = parts;
        let ready = ReadyList::new(Arc::clone(&doorbell));
        ShardLoop {
            id,
            shard,
            shared,
            authentication,
            keeper,
            doorbell,
            links: LinkTable::new(Arc::clone(&ready)),
            limbo: LimboTable::new(Arc::clone(&ready)),
            ready,
            pending: VecDeque::new(),
            heavy: VecDeque::new(),
            scratch: Scratch::new(),
            letters: VecDeque::new(),
            congested: Vec::new(),
            deadlines: BTreeSet::new(),
            alarm: Alarm::new(),
            core_due: None,
            report: Report::default(),
            since: Time::ZERO,
            draining: None,
            panics_in_a_row: 0,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.clock.now();
        self.since = now;
        let reads = self.report.load.reads;
        self.report.begin_turn(self.shard.counters());
        self.read_letters(now);
        self.look_at_sockets(now);
        if self.core_due.is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
        }
        self.give_up_overdue(now);
        self.settle(now);
        // In this order: what another shard does because of it is stored behind it.
        self.keeper.submit(&mut self.shard);
        self.post_batches();
        let handed_over = self.post_to_extensions();
        self.report
            .end_turn(&self.shard, self.since, self.shared.clock);
        let metrics = &self.shared.shards[usize::from(self.id.0)];
        if self.has_drained(now) {
            self.report.store(&self.shard, metrics);
            return Poll::Ready(());
        }
        self.report.store_if_due(&self.shard, metrics, now);
        let reads = self.report.load.reads - reads;
        self.sleep(now, is_pipelined(reads, handed_over), cx);
        Poll::Pending
    }

    /// Takes what other threads posted, for so long: the rest has its turn after sockets had theirs.
    fn read_letters(&mut self, now: Time) {
        if self.letters.is_empty() {
            let mut letters = Vec::from(std::mem::take(&mut self.letters));
            for waiting in self.shared.post_office.mailbox(self.id).take(&mut letters) {
                self.shared.post_office.mailbox(waiting).ring();
            }
            self.letters = VecDeque::from(letters);
        }
        while let Some(letter) = self.letters.pop_front() {
            // Each for itself: a panic must not take what others posted.
            if let Err(panic) = guarded(|| self.read_letter(letter, now)) {
                self.report.load.panics += 1;
                tracing::error!("shard {}: a letter was lost by a panic: {panic}", self.id.0);
            }
            if self.shared.clock.now().since(now) >= TURN_TIME {
                return;
            }
        }
    }

    fn read_letter(&mut self, letter: Letter, now: Time) {
        match letter {
            Letter::Accepted(accepted) => self.receive_socket(*accepted, now),
            Letter::Rehomed(rehomed) => self.receive_connection(*rehomed, now),
            Letter::Peer { from, batch, since } => {
                self.report.load.peer_batches += 1;
                self.since = self.since.min(since);
                self.feed(Input::Peer { from, batch }, now);
                self.flush_urgent(now);
            }
            Letter::Authenticated {
                connection,
                outcome,
            } => {
                self.feed(
                    Input::Authenticated {
                        connection,
                        outcome,
                    },
                    now,
                );
            }
            Letter::Stored(stored) => {
                for stored in stored {
                    self.keeper.note_answer();
                    self.feed(Input::Stored(stored), now);
                }
                self.flush_urgent(now);
            }
            Letter::Input(input) => self.feed(input, now),
            Letter::ShutDown => self.begin_draining(now),
        }
    }

    fn feed(&mut self, input: Input, now: Time) {
        self.shard.handle(input, now);
        self.carry_out(now);
    }

    /// Carries out what the core asks for.
    fn carry_out(&mut self, now: Time) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Close { connection } => self.close(connection, now),
                Output::Authenticate {
                    connection,
                    credentials,
                } => {
                    self.authenticate(connection, credentials, now);
                }
                Output::Rehome {
                    connection,
                    to,
                    origin,
                    received,
                } => {
                    self.rehome(connection, to, origin, received);
                }
                Output::Exchange { connection, .. } => {
                    // The shell serves no method, and the core asks for none it was not told of.
                    let outcome = ExchangeOutcome::Unavailable;
                    self.shard.handle(
                        Input::Exchange {
                            connection,
                            outcome,
                        },
                        now,
                    );
                }
                Output::ResumeReading { connection } => {
                    self.pending.push_back(Token::link(connection.index));
                }
                Output::Load { load, keys } => self.keeper.load(load, keys),
                Output::Event(event) => log(&event),
            }
        }
    }

    /// Carries out and writes until the core has nothing more to say.
    fn settle(&mut self, now: Time) {
        loop {
            self.carry_out(now);
            let Some(connection) = self.shard.poll_transmit() else {
                return;
            };
            self.flush(connection, now);
            while let Some(connection) = self.shard.poll_transmit() {
                self.flush(connection, now);
            }
        }
    }

    fn authenticate(&mut self, connection: ConnectionKey, credentials: Credentials, now: Time) {
        if let Some(pool) = &self.authentication {
            return pool.verify(self.id, connection, credentials);
        }
        // Nobody to ask; the core asks only where it was told that there is somebody.
        let outcome = AuthenticationOutcome::Unavailable;
        let answer = Input::Authenticated {
            connection,
            outcome,
        };
        self.shard.handle(answer, now);
    }

    /// Sends a connection to the shard where its session lives.
    fn rehome(
        &mut self,
        connection: ConnectionKey,
        to: ShardId,
        origin: nexum_core::ConnectionOrigin,
        received: Vec<u8>,
    ) {
        let Some(link) = self.links.remove(connection) else {
            return;
        };
        let Link {
            mut transport,
            permit,
            phase,
            ..
        } = link;
        // The core moves only what it does not close.
        let Phase::Open { accepted_at } = phase else {
            return;
        };
        if let Err(error) = transport.socket().detach() {
            tracing::warn!(
                "a connection was lost on its way to shard {}: {error}",
                to.0
            );
            return;
        }
        self.report.load.rehomed += 1;
        let rehomed = Rehomed {
            transport,
            origin,
            received,
            permit,
            accepted_at,
        };
        self.shared
            .post_office
            .mailbox(to)
            .post(Letter::Rehomed(Box::new(rehomed)));
    }

    /// Hands every other shard what gathered for it.
    fn post_batches(&mut self) {
        for to in self.shared.post_office.shards().filter(|to| *to != self.id) {
            let Some(batch) = self.shard.take_peer_batch(to) else {
                continue;
            };
            let weight_bytes = batch.weight_bytes();
            let letter = Letter::Peer {
                from: self.id,
                batch,
                since: self.since,
            };
            let mailbox = self.shared.post_office.mailbox(to);
            let over = mailbox.post_weighing(letter, weight_bytes, self.id);
            if over && !self.congested.contains(&to) {
                self.congested.push(to);
            }
        }
    }

    /// Hands every extension what gathered for it. How much that is the core bounds.
    fn post_to_extensions(&mut self) -> u64 {
        let mut handed_over = 0;
        for (place, mailbox) in self.shared.hosts.iter().enumerate() {
            let batch = self.shard.take_extension_batch(ExtensionId(place as u8));
            if let Some(batch) = batch {
                handed_over += batch.inputs.len() as u64;
                mailbox.post(HostLetter::Batch(batch));
            }
        }
        handed_over
    }

    /// Whether sockets may be read: no other shard is behind with what this one sent it.
    fn may_read(&mut self) -> bool {
        let Self {
            congested,
            shared,
            id,
            ..
        } = self;
        congested.retain(|to| shared.post_office.mailbox(*to).is_still_behind(*id));
        congested.is_empty() && !self.keeper.is_behind()
    }

    fn begin_draining(&mut self, now: Time) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(now + DRAIN);
        self.drop_handshakes();
        self.feed(Input::ShutDown, now);
    }

    fn has_drained(&self, now: Time) -> bool {
        let gone = self.links.is_empty() && self.limbo.is_empty();
        self.draining
            .is_some_and(|deadline| gone && self.keeper.is_idle() || deadline <= now)
    }
}

/// Whether each socket that was read brought several things for extensions: whoever sends so does
/// not wait for each answer.
fn is_pipelined(reads: u64, handed_over: u64) -> bool {
    reads > 0 && handed_over >= 2 * reads
}

fn log(event: &Event) {
    match event.level() {
        Level::Debug => tracing::debug!("{event}"),
        Level::Info => tracing::info!("{event}"),
        Level::Warn => tracing::warn!("{event}"),
    }
}
