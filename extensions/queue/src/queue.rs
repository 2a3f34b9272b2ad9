//! One queue: its messages, where each stands, and who is there for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nexum_extension_api::ConsumerId;
use nexum_types::Time;

use crate::entry::{Entry, Marks, Reason, State};
use crate::line::{Line, Standing};
use crate::member::Member;
use crate::queue_options::{Dispatch, QueueOptions};
use crate::queues::NumberMap;
use crate::waiter::Waiter;

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What it is called in the store; never given twice.
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    /// `$queue/<name>`.
    pub(crate) topic: Arc<str>,
    pub(crate) options: QueueOptions,
    pub(crate) is_paused: bool,
    /// All of its messages by number, dead letters too. Where one stands is changed by
    /// [`change`](Queue::change) alone.
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// When a message is no longer worth delivering.
    pub(crate) expiries: BTreeMap<u64, Time>,
    /// The dead letters and why they are dead.
    pub(crate) dead: BTreeMap<u64, Reason>,
    pub(crate) line: Line,
    pub(crate) counts: Counts,
    pub(crate) identifiers: Identifiers,
    pub(crate) members: NumberMap<ConsumerId, Member>,
    pub(crate) captures: Vec<u64>,
    /// Counts deliveries.
    pub(crate) turn: u64,
}

/// How many messages stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    /// By their producer, or after a refusal.
    pub(crate) delayed: u64,
    pub(crate) leased: u64,
    pub(crate) dead: u64,
    /// Of those that are not dead.
    pub(crate) bytes: u64,
    /// Pushed, and not stored yet.
    pub(crate) writing: u64,
    pub(crate) writing_bytes: u64,
    /// Of those, how many will drop another one.
    pub(crate) drops: u64,
}

impl Counts {
    /// What limits count.
    pub(crate) fn messages(&self) -> u64 {
        self.ready + self.delayed + self.leased + self.writing
    }

    fn class(&mut self, state: State) -> &mut u64 {
        match state {
            State::Ready { .. } => &mut self.ready,
            State::Delayed { .. } | State::Resting { .. } => &mut self.delayed,
            State::Leased { .. } => &mut self.leased,
            State::Dead { .. } | State::DeadLeased { .. } | State::DeadResting { .. } => {
                &mut self.dead
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        *self.class(entry.state) += 1;
        if !entry.state.is_dead() {
            self.bytes += u64::from(entry.size);
        }
    }

    fn subtract(&mut self, entry: &Entry) {
        *self.class(entry.state) -= 1;
        if !entry.state.is_dead() {
            self.bytes -= u64::from(entry.size);
        }
    }
}

/// The identifiers of pushes that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Identifiers {
    pub(crate) known: BTreeMap<Arc<str>, Known>,
    /// When each is forgotten; they come in the order of their time, but for a window that was
    /// altered.
    pub(crate) order: VecDeque<(Time, u64, Arc<str>)>,
    pub(crate) is_timed: bool,
}

/// An identifier.
#[derive(Debug)]
pub(crate) struct Known {
    /// Of the push it came with.
    pub(crate) sequence: u64,
    pub(crate) until: Time,
    /// While that push is not stored, who else waits for it.
    pub(crate) waiting: Option<Vec<Waiter>>,
}

impl Queue {
    pub(crate) fn new(id: u64, name: Arc<str>, options: QueueOptions) -> Queue {
        Queue {
            id,
            topic: Arc::from(format!("$queue/{name}")),
            name,
            is_paused: false,
            entries: BTreeMap::new(),
            expiries: BTreeMap::new(),
            dead: BTreeMap::new(),
            line: Line::new(options.order),
            counts: Counts::default(),
            identifiers: Identifiers::default(),
            members: NumberMap::default(),
            captures: Vec::new(),
            turn: 0,
            options,
        }
    }

    /// A message comes in.
    pub(crate) fn insert(&mut self, sequence: u64, entry: Entry) {
        self.counts.add(&entry);
        self.line.enter(sequence, &entry);
        self.entries.insert(sequence, entry);
    }

    /// A message goes from one state to another. Returns the one it was in, if it is there.
    pub(crate) fn change(&mut self, sequence: u64, state: State) -> Option<State> {
        let entry = self.entries.get_mut(&sequence)?;
        self.line.leave(sequence, entry);
        self.counts.subtract(entry);
        let before = std::mem::replace(&mut entry.state, state);
        self.counts.add(entry);
        self.line.enter(sequence, entry);
        Some(before)
    }

    /// A message that is ready goes to a consumer.
    pub(crate) fn hand_out(&mut self, sequence: u64, state: State) {
        self.change(sequence, state);
        if let Some(entry) = self.entries.get_mut(&sequence) {
            entry.marks.set(Marks::GIVEN, true);
        }
    }

    /// A message is gone.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.line.leave(sequence, &entry);
        self.counts.subtract(&entry);
        self.expiries.remove(&sequence);
        self.dead.remove(&sequence);
        Some(entry)
    }

    /// A consumer that may have more is to be found by whoever looks for one.
    pub(crate) fn stand(&mut self, consumer: ConsumerId) {
        let Some(member) = self.members.get_mut(&consumer) else {
            return;
        };
        let is_full = self
            .options
            .prefetch
            .is_some_and(|most| member.unsettled >= most);
        let load = match self.options.dispatch {
            Dispatch::LeastLoaded => member.unsettled,
            Dispatch::RoundRobin => 0,
        };
        let standing = Standing {
            load,
            turn: member.turn,
            consumer,
        };
        let standing = Some(standing).filter(|_| !member.is_asleep && !is_full);
        let before = std::mem::replace(&mut member.standing, standing);
        if let Some(before) = before {
            self.line.take_from_crews(before);
        }
        let Some(standing) = standing else {
            return;
        };
        for feed in &member.feeds {
            if let Some(selector) = self.line.selector_mut(feed.selector) {
                selector.crew.insert(standing);
            }
        }
    }

    /// A consumer is not to be found any more.
    pub(crate) fn sit(&mut self, consumer: ConsumerId) {
        let Some(member) = self.members.get_mut(&consumer) else {
            return;
        };
        if let Some(standing) = member.standing.take() {
            self.line.take_from_crews(standing);
        }
    }

    /// How many sessions have feeds of it.
    pub(crate) fn consumers(&self) -> usize {
        let members = self.members.values();
        members.filter(|member| !member.feeds.is_empty()).count()
    }

    /// The oldest message that is ready, but for one.
    pub(crate) fn oldest_ready(&self, except: u64) -> Option<u64> {
        if let Ok(oldest) = self.line.oldest(except) {
            return oldest;
        }
        if self.counts.ready == 0 {
            return None;
        }
        let is_ready = |entry: &Entry| matches!(entry.state, State::Ready { .. });
        let mut entries = self.entries.iter();
        let found = entries.find(|(sequence, entry)| **sequence != except && is_ready(entry));
        found.map(|(sequence, _)| *sequence)
    }
}
