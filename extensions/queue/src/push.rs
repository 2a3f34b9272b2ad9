//! What is pushed: from the producer to the store, and from there to whoever may have it.

use std::sync::Arc;

use nexum_extension_api::{
    Captured, Change, Changes, Command, CommandId, ErrorCode, Input, Options, Refusal, Reply,
};
use nexum_types::{MAX_TOPIC_BYTES, Message, MessageParts, Time};

use crate::entry::{Entry, Marks, Reason, Route, State};
use crate::member::Slot;
use crate::queue::{Counts, Known, Queue};
use crate::queue_options::{Overflow, QueueOptions};
use crate::queues::{Pending, Queues, Timer};
use crate::record::{IdentifierRecord, Key, MessageRecord};
use crate::refusals;
use crate::waiter::Waiter;

/// A push that is being stored.
#[derive(Debug)]
pub(crate) struct PendingPush {
    slot: Slot,
    queue: u64,
    sequence: u64,
    record: MessageRecord,
    waiter: Waiter,
    /// When it is stored, an older message goes.
    drops: bool,
}

impl PendingPush {
    /// Who pushed it, if nobody captured it.
    pub(crate) fn command(&self) -> Option<CommandId> {
        match &self.waiter {
            Waiter::Command(command) => Some(*command),
            Waiter::Receipt(_) | Waiter::Nobody => None,
        }
    }
}

/// What is to be pushed.
struct Push<'a> {
    message: Arc<Message>,
    levels: Option<&'a str>,
    options: &'a Options,
    waiter: Waiter,
}

/// Room for `$queue/<name>/` before the levels.
const LONGEST_LEVELS: usize = MAX_TOPIC_BYTES - 80;

/// Their length is stored in two bytes.
const LONGEST_TEXT: usize = u16::MAX as usize;

impl Queues {
    pub(crate) fn push_command(&mut self, command: Command, now: Time) {
        let allowed = ["delay", "prio", "ttl", "id", "key"];
        let options = command.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&allowed)) {
            return self.refuse(command.id, Refusal::option(key, &allowed));
        }
        let name = command.address.name();
        if let Some(slot) = self.names.get(name).copied() {
            let none = Options::default();
            let push = Push {
                message: Arc::clone(&command.message),
                levels: command
                    .address
                    .has_levels()
                    .then(|| command.address.levels()),
                options: options.unwrap_or(&none),
                waiter: Waiter::Command(command.id),
            };
            return self.push(slot, push, now);
        }
        let id = command.id;
        let name = Arc::from(name);
        if let Err(refusal) = self.wait_for(&name, Input::Command(command)) {
            self.refuse(id, refusal);
        }
    }

    pub(crate) fn captured(&mut self, captured: Captured, now: Time) {
        let waiter = captured.receipt.map_or(Waiter::Nobody, Waiter::Receipt);
        // It may have been released meanwhile.
        let Some(slot) = self.captures.get(&captured.capture.0).copied() else {
            return self.answer(waiter, Err(refusals::released()));
        };
        let message = Arc::clone(&captured.message);
        let levels = captured.message.parts().topic.as_str();
        let push = Push {
            message,
            levels: Some(levels),
            options: &Options::default(),
            waiter,
        };
        self.push(slot, push, now);
    }

    fn push(&mut self, slot: Slot, push: Push<'_>, now: Time) {
        let Push {
            message,
            levels,
            options,
            waiter,
        } = push;
        if levels.is_some_and(|levels| levels.len() > LONGEST_LEVELS) {
            return self.answer(waiter, Err(refusals::topic_too_long()));
        }
        let texts = [options.id.as_deref(), options.key.as_deref()];
        if texts
            .into_iter()
            .flatten()
            .any(|it| it.len() > LONGEST_TEXT)
        {
            return self.answer(waiter, Err(refusals::text_too_long()));
        }
        let message = match options.time_to_live {
            Some(time_to_live) => with_expiry(&message, now + time_to_live),
            None => message,
        };
        if let Some(id) = &options.id
            && self.is_repeat(slot, id, waiter, now)
        {
            return;
        }
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let size = size_in(queue, &message);
        let drops = match admit(queue.counts, &queue.options, size) {
            Ok(drops) => drops,
            Err(refusal) => return self.answer(waiter, Err(refusal)),
        };
        queue.counts.writing += 1;
        queue.counts.writing_bytes += size;
        queue.counts.drops += u64::from(drops);
        let queue_id = queue.id;
        let window = queue.options.dedup_window;
        let sequence = self.next_sequence();
        let route = Route {
            levels: levels.map(Arc::from),
            key: options.key.as_deref().map(Arc::from),
            id: options.id.as_deref().map(Arc::from),
        };
        let due = options.delay.filter(|delay| !delay.is_zero());
        let record = MessageRecord {
            message,
            route: route.into_shared(),
            priority: options.priority.unwrap_or(0),
            due: due.map(|delay| now + delay),
        };
        let mut changes = Changes::from([Change::Insert(
            Key::Message(queue_id, sequence).encode(),
            record.encode(),
        )]);
        if let Some(id) = record.route.as_ref().and_then(|route| route.id.clone())
            && !window.is_zero()
        {
            let until = now + window;
            let known = Known {
                sequence,
                until,
                waiting: Some(Vec::new()),
            };
            if let Some(queue) = self.queue_mut(slot) {
                queue.identifiers.known.insert(Arc::clone(&id), known);
            }
            let key = Key::Identifier(queue_id, sequence).encode();
            let value = IdentifierRecord { until, id }.encode();
            changes.push(Change::Insert(key, value));
        }
        let pending = PendingPush {
            slot,
            queue: queue_id,
            sequence,
            record,
            waiter,
            drops,
        };
        self.ask(changes, Pending::Push(pending));
    }

    /// What was asked of the store is stored, or refused.
    pub(crate) fn pushed(&mut self, push: PendingPush, refused: Option<String>, now: Time) {
        let PendingPush {
            slot,
            queue: queue_id,
            sequence,
            record,
            waiter,
            drops,
        } = push;
        let queue = self.queue_mut(slot).filter(|queue| queue.id == queue_id);
        let Some(queue) = queue else {
            if refused.is_none() {
                let message = Key::Message(queue_id, sequence);
                let identifier = Key::Identifier(queue_id, sequence);
                self.remove_keys([message, identifier].into(), None);
            }
            return self.answer(waiter, Err(refusals::deleted()));
        };
        let size = size_in(queue, &record.message);
        queue.counts.writing -= 1;
        queue.counts.writing_bytes -= size;
        queue.counts.drops -= u64::from(drops);
        let id = record.route.as_ref().and_then(|route| route.id.clone());
        let repeats = id.map_or_else(Vec::new, |id| {
            self.identifier_stored(slot, &id, sequence, refused.is_none())
        });
        if let Some(reason) = refused {
            for waiter in repeats.into_iter().chain([waiter]) {
                self.answer(waiter, Err(Refusal::not_stored(&reason)));
            }
            return;
        }
        self.answer(waiter, Ok(Reply::default()));
        for waiter in repeats {
            self.answer(waiter, Ok(duplicate()));
        }
        let is_due = record.due.is_none();
        self.arrive(slot, sequence, record, now);
        // The store may have taken longer than the message is worth.
        self.expire(slot, sequence, now);
        if drops {
            self.make_room(slot, sequence, now);
        }
        self.dispatch(slot, now);
        if !is_due || self.holds_too_much() {
            self.spill(slot, sequence);
        }
    }

    /// A message is stored, and in the queue from now on.
    fn arrive(&mut self, slot: Slot, sequence: u64, record: MessageRecord, now: Time) {
        let state = match record.due {
            Some(until) if until > now => State::Delayed { until },
            Some(_) | None => State::Ready { since: now },
        };
        let Some(queue) = self.queue(slot) else {
            return;
        };
        // A message is smaller than a packet, which has at most 268,435,455 bytes.
        let entry = Entry {
            size: size_in(queue, &record.message) as u32,
            message: Some(record.message),
            route: record.route,
            state,
            attempts: 0,
            priority: record.priority,
            marks: Marks::default(),
        };
        self.insert(slot, sequence, entry);
    }

    /// The oldest ready messages go until what is there is within the limits.
    fn make_room(&mut self, slot: Slot, newest: u64, now: Time) {
        let mut changes = Changes::new();
        while let Some(queue) = self.queue(slot)
            && (queue.counts.messages() > queue.options.max_len
                || queue.counts.bytes > queue.options.max_bytes)
            && let Some(oldest) = queue.oldest_ready(newest)
        {
            match queue.options.overflow {
                Overflow::DeadLetter => {
                    self.bury(slot, oldest, Reason::Overflow, now, &mut changes);
                }
                Overflow::DropOldest | Overflow::Reject => {
                    self.discard(slot, oldest, &mut changes);
                }
            }
        }
        if !changes.is_empty() {
            self.note(changes);
        }
    }

    /// Whether a push is one that was there before; then it is answered, now or later.
    fn is_repeat(&mut self, slot: Slot, id: &str, waiter: Waiter, now: Time) -> bool {
        let Some(queue) = self.queue_mut(slot) else {
            return false;
        };
        let Some(known) = queue.identifiers.known.get_mut(id) else {
            return false;
        };
        match &mut known.waiting {
            Some(waiting) => waiting.push(waiter),
            None if known.until <= now => return false,
            None => self.answer(waiter, Ok(duplicate())),
        }
        true
    }

    /// The push of an identifier is stored or refused. Returns who else waited for it.
    fn identifier_stored(
        &mut self,
        slot: Slot,
        id: &Arc<str>,
        sequence: u64,
        is_stored: bool,
    ) -> Vec<Waiter> {
        let Some(queue) = self.queue_mut(slot) else {
            return Vec::new();
        };
        let identifiers = &mut queue.identifiers;
        let known = identifiers.known.get_mut(id);
        let Some(known) = known.filter(|known| known.sequence == sequence) else {
            return Vec::new();
        };
        let waiting = known.waiting.take().unwrap_or_default();
        if !is_stored {
            identifiers.known.remove(id);
            return waiting;
        }
        let until = known.until;
        identifiers
            .order
            .push_back((until, sequence, Arc::clone(id)));
        self.time_identifiers(slot);
        waiting
    }

    /// Sets the time when the first identifiers of a queue are forgotten.
    pub(crate) fn time_identifiers(&mut self, slot: Slot) {
        if let Some(queue) = self.queue_mut(slot)
            && !queue.identifiers.is_timed
            && let Some((until, ..)) = queue.identifiers.order.front()
        {
            let until = *until;
            queue.identifiers.is_timed = true;
            self.timers.insert((until, Timer::Forget(slot)));
        }
    }

    pub(crate) fn forget_identifiers(&mut self, slot: Slot, now: Time) {
        const PART: usize = 1000;
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let queue_id = queue.id;
        let identifiers = &mut queue.identifiers;
        identifiers.is_timed = false;
        let mut changes = Changes::new();
        while changes.len() < PART
            && let Some((_, sequence, id)) =
                identifiers.order.pop_front_if(|(until, ..)| *until <= now)
        {
            // It may have been used again since.
            let known = identifiers.known.get(&id);
            if known.is_some_and(|known| known.sequence == sequence) {
                identifiers.known.remove(&id);
            }
            changes.push(Change::Delete(Key::Identifier(queue_id, sequence).encode()));
        }
        if !changes.is_empty() {
            self.note(changes);
        }
        self.time_identifiers(slot);
    }
}

/// Whether a message of that size may come in, and whether another has to go for it.
fn admit(counts: Counts, options: &QueueOptions, size: u64) -> Result<bool, Refusal> {
    let bytes = counts.bytes + counts.writing_bytes + size;
    if counts.messages() < options.max_len && bytes <= options.max_bytes {
        return Ok(false);
    }
    if size > options.max_bytes {
        return Err(Refusal::new(
            ErrorCode::QuotaExceeded,
            "the message alone is larger than max_bytes of the queue",
        ));
    }
    match options.overflow {
        Overflow::DropOldest | Overflow::DeadLetter if counts.ready > counts.drops => Ok(true),
        Overflow::Reject | Overflow::DropOldest | Overflow::DeadLetter => {
            Err(refusals::full(counts.messages() >= options.max_len))
        }
    }
}

/// What counts of a message, whatever topic it was pushed by: its own is not kept over a restart.
fn size_in(queue: &Queue, message: &Message) -> u64 {
    (message.size_bytes() - message.topic_bytes() + queue.topic.len()) as u64
}

fn duplicate() -> Reply {
    Reply {
        payload: Vec::new(),
        properties: vec![("duplicate", 1.into())],
    }
}

fn with_expiry(message: &Message, expires_at: Time) -> Arc<Message> {
    let parts = MessageParts {
        expires_at: Some(expires_at),
        ..message.parts()
    };
    Arc::new(Message::new(parts))
}
