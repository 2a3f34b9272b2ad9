//! Messages that come, go, and change where they stand, with all that is kept of that elsewhere:
//! timers, memory, and what may be cancelled.

use nexum_extension_api::{Change, Changes};
use nexum_types::Time;

use crate::entry::{Entry, Marks, Reason, State};
use crate::member::Slot;
use crate::queue_options::Expired;
use crate::queues::{Queues, Timer};
use crate::record::{Key, Progress};

impl Queues {
    /// A message comes in.
    pub(crate) fn insert(&mut self, slot: Slot, sequence: u64, entry: Entry) {
        let message = entry.message.as_ref();
        let expires_at = message.and_then(|message| message.expires_at());
        self.insert_expiring(slot, sequence, entry, expires_at);
    }

    /// The same with a message that is not in memory.
    pub(crate) fn insert_expiring(
        &mut self,
        slot: Slot,
        sequence: u64,
        entry: Entry,
        expires_at: Option<Time>,
    ) {
        if entry.message.is_some() {
            self.held_bytes += held_bytes(&entry);
        }
        self.set_due(slot, sequence, entry.state);
        if let (State::Delayed { .. }, Some(route)) = (entry.state, &entry.route)
            && let Some(id) = route.id.clone()
        {
            self.cancellable.insert((id, sequence, slot));
        }
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        queue.insert(sequence, entry);
        if let Some(expires_at) = expires_at {
            queue.expiries.insert(sequence, expires_at);
            self.timers
                .insert((expires_at, Timer::Expire(slot, sequence)));
        }
    }

    /// A message goes from one state to another.
    pub(crate) fn shift(&mut self, slot: Slot, sequence: u64, state: State) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let Some(before) = queue.change(sequence, state) else {
            return;
        };
        self.unset_due(slot, sequence, before);
        self.set_due(slot, sequence, state);
    }

    /// A message is gone.
    pub(crate) fn take_out(&mut self, slot: Slot, sequence: u64) -> Option<Entry> {
        let queue = self.queue_mut(slot)?;
        let expires_at = queue.expiries.get(&sequence).copied();
        let entry = queue.remove(sequence)?;
        if let Some(expires_at) = expires_at {
            self.timers
                .remove(&(expires_at, Timer::Expire(slot, sequence)));
        }
        if entry.message.is_some() {
            self.held_bytes -= held_bytes(&entry);
        }
        if let (State::Delayed { .. }, Some(route)) = (entry.state, &entry.route)
            && let Some(id) = route.id.clone()
        {
            self.cancellable.remove(&(id, sequence, slot));
        }
        self.unset_due(slot, sequence, entry.state);
        Some(entry)
    }

    /// A message is gone from the store, too.
    pub(crate) fn discard(&mut self, slot: Slot, sequence: u64, changes: &mut Changes) {
        let Some(queue) = self.queue(slot).map(|queue| queue.id) else {
            return;
        };
        if let Some(entry) = self.take_out(slot, sequence) {
            changes.push(Change::Delete(Key::Message(queue, sequence).encode()));
            if entry.marks.has(Marks::PROGRESS) {
                changes.push(Change::Delete(Key::Progress(queue, sequence).encode()));
            }
        }
    }

    /// A message becomes a dead letter; beyond the limit the oldest one goes.
    pub(crate) fn bury(
        &mut self,
        slot: Slot,
        sequence: u64,
        reason: Reason,
        now: Time,
        changes: &mut Changes,
    ) {
        self.shift(slot, sequence, State::Dead { since: now });
        self.let_go(slot, sequence);
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let Some(entry) = queue.entries.get_mut(&sequence) else {
            return;
        };
        entry.marks.set(Marks::PROGRESS, true);
        let progress = Progress::Dead {
            attempts: entry.attempts,
            since: now,
            reason,
        };
        queue.dead.insert(sequence, reason);
        changes.push(Change::Put(
            Key::Progress(queue.id, sequence).encode(),
            progress.encode(),
        ));
        if queue.dead.len() as u64 > queue.options.dlq_max_len {
            let is_free = |sequence: &u64| {
                let entry = queue.entries.get(sequence);
                entry.is_some_and(|entry| entry.state.delivery().is_none())
            };
            let oldest = queue.dead.keys().copied().find(is_free);
            if let Some(oldest) = oldest {
                self.discard(slot, oldest, changes);
            }
        }
    }

    /// A message that nobody has is to be handed out again, unless its time ran out.
    pub(crate) fn give_back(
        &mut self,
        slot: Slot,
        sequence: u64,
        now: Time,
        changes: &mut Changes,
    ) {
        self.shift(slot, sequence, State::Ready { since: now });
        self.expire_if_due(slot, sequence, now, changes);
    }

    /// Whether the time of a message ran out; then it is dropped or dead.
    pub(crate) fn expire_if_due(
        &mut self,
        slot: Slot,
        sequence: u64,
        now: Time,
        changes: &mut Changes,
    ) -> bool {
        let Some(queue) = self.queue(slot) else {
            return false;
        };
        let expires_at = queue.expiries.get(&sequence);
        if expires_at.is_none_or(|expires_at| *expires_at > now) {
            return false;
        }
        let state = queue.entries.get(&sequence).map(|entry| entry.state);
        match state {
            Some(State::Ready { .. } | State::Delayed { .. } | State::Resting { .. }) => {}
            // Whoever has it may yet be done with it, and what is dead stays.
            Some(
                State::Leased { .. }
                | State::Dead { .. }
                | State::DeadLeased { .. }
                | State::DeadResting { .. },
            )
            | None => return false,
        }
        match queue.options.expired {
            Expired::Drop => self.discard(slot, sequence, changes),
            Expired::DeadLetter => self.bury(slot, sequence, Reason::Expired, now, changes),
        }
        true
    }

    pub(crate) fn expire(&mut self, slot: Slot, sequence: u64, now: Time) {
        let mut changes = Changes::new();
        if self.expire_if_due(slot, sequence, now, &mut changes) {
            self.note(changes);
            self.dispatch(slot, now);
        }
    }

    /// A delay or a rest is over.
    pub(crate) fn due(&mut self, slot: Slot, sequence: u64, now: Time) {
        let Some(queue) = self.queue(slot) else {
            return;
        };
        let Some(entry) = queue.entries.get(&sequence) else {
            return;
        };
        let mut changes = Changes::new();
        match entry.state {
            State::Delayed { until } | State::Resting { until } if until <= now => {
                self.give_back(slot, sequence, now, &mut changes);
            }
            State::DeadResting { until } if until <= now => {
                self.shift(slot, sequence, State::Dead { since: now });
            }
            // Something else happened to it since.
            State::Delayed { .. }
            | State::Resting { .. }
            | State::DeadResting { .. }
            | State::Ready { .. }
            | State::Leased { .. }
            | State::Dead { .. }
            | State::DeadLeased { .. } => return,
        }
        if !changes.is_empty() {
            self.note(changes);
        }
        self.dispatch(slot, now);
    }

    /// The message itself need not be in memory.
    pub(crate) fn let_go(&mut self, slot: Slot, sequence: u64) {
        if let Some(queue) = self.queue_mut(slot)
            && let Some(entry) = queue.entries.get_mut(&sequence)
            && entry.message.take().is_some()
        {
            let held = held_bytes(entry);
            self.held_bytes -= held;
        }
    }

    /// A message that was just pushed and that nobody has leaves memory if it is not its turn for
    /// long, or there is too much.
    pub(crate) fn spill(&mut self, slot: Slot, sequence: u64) {
        let is_over = self.holds_too_much();
        let entry = self
            .queue(slot)
            .and_then(|queue| queue.entries.get(&sequence));
        let is_spilled = match entry.map(|entry| entry.state) {
            Some(State::Ready { .. } | State::Resting { .. }) => is_over,
            Some(State::Delayed { .. }) => true,
            Some(State::Dead { .. } | State::DeadResting { .. }) => true,
            Some(State::Leased { .. } | State::DeadLeased { .. }) | None => false,
        };
        if is_spilled {
            self.let_go(slot, sequence);
        }
    }

    /// Whether there is more of messages in memory than there should be.
    pub(crate) fn holds_too_much(&self) -> bool {
        self.held_bytes > self.settings.memory_bytes
    }

    fn set_due(&mut self, slot: Slot, sequence: u64, state: State) {
        if let Some(until) = due_of(state) {
            self.timers.insert((until, Timer::Due(slot, sequence)));
        }
    }

    fn unset_due(&mut self, slot: Slot, sequence: u64, before: State) {
        if let Some(until) = due_of(before) {
            self.timers.remove(&(until, Timer::Due(slot, sequence)));
        }
        if let State::Delayed { .. } = before
            && let Some(queue) = self.queue(slot)
            && let Some(entry) = queue.entries.get(&sequence)
            && let Some(id) = entry.route.as_ref().and_then(|route| route.id.clone())
        {
            self.cancellable.remove(&(id, sequence, slot));
        }
    }
}

/// When a state ends by itself.
fn due_of(state: State) -> Option<Time> {
    match state {
        State::Delayed { until } | State::Resting { until } | State::DeadResting { until } => {
            Some(until)
        }
        State::Ready { .. }
        | State::Leased { .. }
        | State::Dead { .. }
        | State::DeadLeased { .. } => None,
    }
}

/// What a message takes in memory beside its place in the queue.
pub(crate) fn held_bytes(entry: &Entry) -> usize {
    const ALLOCATION: usize = 96;
    entry.size as usize + ALLOCATION
}
