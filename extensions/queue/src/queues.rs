//! All queues: the state, and what is fed to whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use nexum_extension_api::{
    Change, Changes, Claim, Command, CommandId, ConsumerId, Extension, FeedId, Gauge, Input,
    Output, Refusal, Reply, Severity, Unreadable, WhenRefused, Write, WriteId,
};
use nexum_types::Time;

use crate::create::Forming;
use crate::lapses::Lapses;
use crate::member::{Consumer, Feed, Flight, Slot};
use crate::push::PendingPush;
use crate::queue::Queue;
use crate::read::PendingRead;
use crate::record::{Key, encode_mark};
use crate::settings::Settings;
use crate::waiter::Waiter;

/// Numbers are reserved in blocks of so many.
const BLOCK: u64 = 1 << 16;

/// So many leases that were settled are remembered, so that settling one again is no error.
const REMEMBERED_LEASES: usize = 4096;

/// Keyed by numbers that are given here or by a shard, never by a client.
pub(crate) type NumberMap<K, V> = HashMap<K, V, FixedState>;

/// Durable work queues: see the [crate].
pub struct Queues {
    pub(crate) settings: Settings,
    /// A slot is used again when its queue is gone; numbers of messages are not, and tell.
    pub(crate) slots: Vec<Option<Box<Queue>>>,
    pub(crate) free_slots: Vec<Slot>,
    pub(crate) names: BTreeMap<Arc<str>, Slot>,
    /// Queues that are not stored yet, by name.
    pub(crate) forming: BTreeMap<Arc<str>, Forming>,
    pub(crate) consumers: NumberMap<ConsumerId, Consumer>,
    pub(crate) feeds: NumberMap<FeedId, Feed>,
    pub(crate) flights: NumberMap<u64, Flight>,
    pub(crate) pending: NumberMap<u64, Pending>,
    pub(crate) reads: NumberMap<u64, PendingRead>,
    pub(crate) timers: BTreeSet<(Time, Timer)>,
    pub(crate) lapses: Lapses,
    pub(crate) captures: BTreeMap<u64, Slot>,
    /// Messages with an `id` whose delay is not over, for who cancels one.
    pub(crate) cancellable: BTreeSet<(Arc<str>, u64, Slot)>,
    /// Size of what is in memory of messages.
    pub(crate) held_bytes: usize,
    /// Of the queues by their id while they are restored.
    pub(crate) restoring: BTreeMap<u64, Slot>,
    /// Stored, and of no queue that there is.
    pub(crate) orphans: VecDeque<Key>,
    pub(crate) first_delivery: u64,
    pub(crate) next_delivery: u64,
    /// Deliveries of leases that were settled, each at its place modulo the length.
    pub(crate) settled_leases: Vec<u64>,
    pub(crate) random: u64,
    next_sequence: u64,
    mark: u64,
    next_name: u64,
    outputs: VecDeque<Output>,
}

/// What a write is for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A message.
    Push(PendingPush),
    /// A queue of this name.
    Create(Arc<str>),
    /// What a command asked for is done, and this is what it is told.
    Reply(CommandId, Reply),
    /// Some of those keys; these are left, and then the command is told.
    Chore(VecDeque<Key>, Option<(CommandId, Reply)>),
}

impl Pending {
    /// Who is told of it, if it is a command.
    fn command(&self) -> Option<CommandId> {
        match self {
            Pending::Push(push) => push.command(),
            Pending::Reply(command, _) | Pending::Chore(_, Some((command, _))) => Some(*command),
            Pending::Create(_) | Pending::Chore(_, None) => None,
        }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A delivery takes too long.
    Lapse(u64),
    /// The delay or the rest of a message is over.
    Due(Slot, u64),
    /// The time of a message runs out.
    Expire(Slot, u64),
    /// Identifiers are forgotten.
    Forget(Slot),
}

const CLAIMS: [Claim; 1] = [Claim {
    word: "$queue",
    aliases: &["$q"],
    delays: true,
}];

impl Queues {
    /// No queue yet: those of the settings come at the start.
    #[must_use]
    pub fn new(settings: Settings) -> Queues {
        Queues {
            settings,
            slots: Vec::new(),
            free_slots: Vec::new(),
            names: BTreeMap::new(),
            forming: BTreeMap::new(),
            consumers: NumberMap::default(),
            feeds: NumberMap::default(),
            flights: NumberMap::default(),
            pending: NumberMap::default(),
            reads: NumberMap::default(),
            timers: BTreeSet::new(),
            lapses: Lapses::default(),
            captures: BTreeMap::new(),
            cancellable: BTreeSet::new(),
            held_bytes: 0,
            restoring: BTreeMap::new(),
            orphans: VecDeque::new(),
            first_delivery: 0,
            next_delivery: 0,
            settled_leases: vec![0; REMEMBERED_LEASES],
            random: 0,
            next_sequence: 1,
            mark: 0,
            next_name: 0,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn queue(&self, slot: Slot) -> Option<&Queue> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(crate) fn queue_mut(&mut self, slot: Slot) -> Option<&mut Queue> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(crate) fn put_out(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, severity: Severity, text: impl Into<String>) {
        self.put_out(Output::event(severity, text));
    }

    pub(crate) fn answer(&mut self, waiter: Waiter, result: Result<Reply, Refusal>) {
        if let Some(output) = waiter.answer(result) {
            self.put_out(output);
        }
    }

    pub(crate) fn refuse(&mut self, command: CommandId, refusal: Refusal) {
        self.put_out(Output::refuse(command, refusal));
    }

    /// A number that was never given before, for a queue or a message.
    ///
    /// It is below the mark, or the record it is for goes away only after the mark was raised:
    /// both are written in this order, if need be [after a restart](Queues::mark_restored). So numbers
    /// go on behind all that were used.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        if sequence >= self.mark {
            self.raise_mark(sequence);
        }
        sequence
    }

    fn raise_mark(&mut self, above: u64) {
        self.mark = above.saturating_add(BLOCK);
        let mark = Change::Put(Key::Mark.encode(), encode_mark(self.mark));
        self.note([mark].into());
    }

    /// The mark that is stored.
    pub(crate) fn restore_mark(&mut self, mark: u64) {
        self.mark = mark;
        self.raise_sequence(mark);
    }

    /// What was stored before the mark that its number needed may go away in this life: the mark comes
    /// first.
    pub(crate) fn mark_restored(&mut self) {
        if self.next_sequence > self.mark.max(1) {
            self.raise_mark(self.next_sequence);
        }
    }

    /// Numbers from here on were not used.
    pub(crate) fn raise_sequence(&mut self, unused: u64) {
        self.next_sequence = self.next_sequence.max(unused);
    }

    /// For writes, reads and captures.
    pub(crate) fn next_name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    /// Asks for what may be refused: keys that were never there.
    pub(crate) fn ask(&mut self, changes: Changes, pending: Pending) {
        self.write(changes, WhenRefused::Tell, Some(pending));
    }

    /// Has stored what has happened already.
    pub(crate) fn note(&mut self, changes: Changes) {
        self.write(changes, WhenRefused::Retry, None);
    }

    /// The same, and what comes of it matters.
    pub(crate) fn note_for(&mut self, changes: Changes, pending: Pending) {
        self.write(changes, WhenRefused::Retry, Some(pending));
    }

    fn write(&mut self, changes: Changes, when_refused: WhenRefused, pending: Option<Pending>) {
        let name = self.next_name();
        let fulfilled = pending.as_ref().and_then(Pending::command);
        if let Some(pending) = pending {
            self.pending.insert(name, pending);
        }
        self.put_out(Output::Write(Write {
            write: WriteId(name),
            changes,
            when_refused,
            fulfils: fulfilled,
        }));
    }

    /// A number that looks random, the same for the same seed and inputs.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn written(&mut self, write: WriteId, refused: Option<String>, now: Time) {
        match self.pending.remove(&write.0) {
            Some(Pending::Push(push)) => self.pushed(push, refused, now),
            Some(Pending::Create(name)) => self.created(&name, refused, now),
            Some(Pending::Reply(command, reply)) => {
                let result = Ok(reply);
                self.put_out(Output::Reply { command, result });
            }
            Some(Pending::Chore(keys, reply)) => self.remove_keys(keys, reply),
            // Nobody waits for it.
            None => {}
        }
    }

    /// Removes keys that nothing will be written to any more, a part at a time.
    pub(crate) fn remove_keys(
        &mut self,
        mut keys: VecDeque<Key>,
        reply: Option<(CommandId, Reply)>,
    ) {
        const PART: usize = 1000;
        if keys.is_empty() {
            if let Some((command, reply)) = reply {
                let result = Ok(reply);
                self.put_out(Output::Reply { command, result });
            }
            return;
        }
        let part = keys.drain(..keys.len().min(PART));
        let changes = part.map(|key| Change::Delete(key.encode())).collect();
        self.note_for(changes, Pending::Chore(keys, reply));
    }

    fn handle_timer(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Lapse(delivery) => self.lapse(delivery, now),
            Timer::Due(slot, sequence) => self.due(slot, sequence, now),
            Timer::Expire(slot, sequence) => self.expire(slot, sequence, now),
            Timer::Forget(slot) => self.forget_identifiers(slot, now),
        }
    }
}

impl Extension for Queues {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn claims(&self) -> &'static [Claim] {
        &CLAIMS
    }

    fn restore(&mut self, key: &[u8], value: &[u8], _now: Time) -> Result<(), Unreadable> {
        self.restore_record(key, value)
    }

    fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Start { seed } => self.start(seed, now),
            Input::Command(command) => self.command(command, now),
            Input::Captured(captured) => self.captured(captured, now),
            Input::Attach {
                consumer,
                credit,
                takes_properties,
                ..
            } => self.attach(consumer, credit, takes_properties, now),
            Input::Subscribe(subscribe) => self.subscribe(subscribe, now),
            Input::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe.feed),
            Input::Detach {
                consumer,
                unanswered,
                has_ended,
            } => self.detach(consumer, unanswered, has_ended, now),
            Input::Settled {
                consumer,
                delivery,
                outcome,
            } => self.settled(consumer, delivery.0, outcome, now),
            Input::Written { write, refused } => {
                let refused = refused.map(|refused| refused.reason.into_owned());
                self.written(write, refused, now);
            }
            Input::Read { read, values } => self.was_read(read.0, values, now),
            // It scans and publishes nothing.
            Input::Scanned { .. } | Input::Published { .. } => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.lapses.first()).min()
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            self.handle_timer(timer, now);
        }
        while let Some((at, delivery)) = self.lapses.pop_due(now) {
            let flight = self.flights.get(&delivery);
            if flight.is_some_and(|it| !it.is_over && !it.has_timer && it.lapses == at) {
                self.lapse(delivery, now);
            }
        }
    }

    fn gauges(&self) -> Vec<Gauge> {
        self.all_gauges()
    }
}

impl Queues {
    fn command(&mut self, command: Command, now: Time) {
        match command.address.verb() {
            None => self.push_command(command, now),
            Some("$ctl") => self.control(command, now),
            Some("$ack" | "$nack" | "$reject" | "$extend") => self.lease_command(&command, now),
            Some("$cancel") => self.cancel(&command),
            Some(_) => self.refuse_verb(&command),
        }
    }
}
