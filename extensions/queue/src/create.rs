//! Queues that come and go.

use std::collections::VecDeque;
use std::sync::Arc;

use nexum_extension_api::{
    CaptureId, Change, Changes, CommandId, Input, Output, Refusal, Reply, Severity, check_name,
};
use nexum_types::Time;

use crate::entry::Marks;
use crate::member::Slot;
use crate::queue::Queue;
use crate::queue_options::QueueOptions;
use crate::queues::{Pending, Queues};
use crate::record::{Key, QueueRecord};
use crate::refusals;

/// A queue that is not stored yet.
#[derive(Debug)]
pub(crate) struct Forming {
    id: u64,
    options: QueueOptions,
    /// Who wants it.
    command: Option<CommandId>,
    /// What is for it comes to it when it is there.
    waiting: Vec<Input>,
}

impl Queues {
    /// Has a queue stored, and answers the command then.
    pub(crate) fn create(
        &mut self,
        name: &Arc<str>,
        options: QueueOptions,
        command: CommandId,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.form(name, options, Some(command), false);
        Ok(())
    }

    /// What is for a queue that is not there waits for it if it is about to be, and brings it about
    /// if that is how it is set.
    pub(crate) fn wait_for(&mut self, name: &Arc<str>, input: Input) -> Result<(), Refusal> {
        if let Some(forming) = self.forming.get_mut(name) {
            forming.waiting.push(input);
            return Ok(());
        }
        if !self.settings.auto_create {
            return Err(refusals::no_queue(name));
        }
        self.check_room()?;
        self.form(name, self.settings.defaults.clone(), None, false);
        if let Some(forming) = self.forming.get_mut(name) {
            forming.waiting.push(input);
        }
        Ok(())
    }

    /// Who waited for a queue does not any more.
    pub(crate) fn stop_waiting(&mut self, is_it: impl Fn(&Input) -> bool) {
        for forming in self.forming.values_mut() {
            forming.waiting.retain(|input| !is_it(input));
        }
    }

    fn check_room(&self) -> Result<(), Refusal> {
        let most = self.settings.maximum_queues;
        if self.names.len() + self.forming.len() >= most {
            return Err(refusals::too_many_queues(most));
        }
        Ok(())
    }

    fn form(
        &mut self,
        name: &Arc<str>,
        options: QueueOptions,
        command: Option<CommandId>,
        is_declared: bool,
    ) {
        let id = self.next_sequence();
        let record = record_of(name, &options, false);
        let changes = Changes::from([Change::Insert(Key::Queue(id).encode(), record)]);
        let forming = Forming {
            id,
            options,
            command,
            waiting: Vec::new(),
        };
        self.forming.insert(Arc::clone(name), forming);
        let pending = Pending::Create(Arc::clone(name));
        // Nobody can be told that a queue of the configuration is not there.
        if is_declared {
            self.note_for(changes, pending);
        } else {
            self.ask(changes, pending);
        }
    }

    /// A queue is stored, or refused.
    pub(crate) fn created(&mut self, name: &Arc<str>, refused: Option<String>, now: Time) {
        let Some(forming) = self.forming.remove(name) else {
            return;
        };
        let Forming {
            id,
            options,
            command,
            waiting,
        } = forming;
        if let Some(reason) = refused {
            let refusal = Refusal::not_stored(&reason);
            if let Some(command) = command {
                self.refuse(command, refusal.clone());
            }
            for input in waiting {
                let refusal = refusal.clone();
                match input {
                    Input::Command(command) => self.refuse(command.id, refusal),
                    Input::Subscribe(subscribe) => {
                        let feed = subscribe.feed;
                        self.put_out(Output::Refuse { feed, refusal });
                    }
                    // Nothing else waits for a queue.
                    Input::Start { .. }
                    | Input::Captured(_)
                    | Input::Attach { .. }
                    | Input::Unsubscribe(_)
                    | Input::Detach { .. }
                    | Input::Settled { .. }
                    | Input::Written { .. }
                    | Input::Read { .. }
                    | Input::Scanned { .. }
                    | Input::Published { .. } => {}
                }
            }
            return;
        }
        self.open(Queue::new(id, Arc::clone(name), options));
        if let Some(command) = command {
            let result = Ok(Reply::default());
            self.put_out(Output::Reply { command, result });
        }
        for input in waiting {
            nexum_extension_api::Extension::handle(self, input, now);
        }
    }

    /// A queue is there.
    fn open(&mut self, queue: Queue) {
        let slot = self.place(queue);
        self.capture(slot);
    }

    /// Gives a queue a place, and its name to it.
    pub(crate) fn place(&mut self, queue: Queue) -> Slot {
        let slot = match self.free_slots.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as Slot
            }
        };
        self.names.insert(Arc::clone(&queue.name), slot);
        self.slots[slot as usize] = Some(Box::new(queue));
        slot
    }

    /// Captures what a queue is to capture, and nothing else any more.
    pub(crate) fn capture(&mut self, slot: Slot) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let sources = queue.options.source.clone();
        let released = std::mem::take(&mut queue.captures);
        self.release(released);
        for filter in sources {
            let capture = self.next_name();
            self.captures.insert(capture, slot);
            if let Some(queue) = self.queue_mut(slot) {
                queue.captures.push(capture);
            }
            let capture = CaptureId(capture);
            self.put_out(Output::Capture { capture, filter });
        }
    }

    fn release(&mut self, captures: Vec<u64>) {
        for capture in captures {
            self.captures.remove(&capture);
            let capture = CaptureId(capture);
            self.put_out(Output::Release { capture });
        }
    }

    /// Stores what a queue is now.
    pub(crate) fn record_queue(&self, slot: Slot) -> Changes {
        self.queue(slot)
            .map(|queue| {
                let record = record_of(&queue.name, &queue.options, queue.is_paused);
                Change::Put(Key::Queue(queue.id).encode(), record)
            })
            .into_iter()
            .collect()
    }

    /// A queue and all that is in it is gone; its consumers get nothing more.
    pub(crate) fn delete(&mut self, slot: Slot, command: CommandId) {
        let sequences: Vec<u64> = match self.queue(slot) {
            Some(queue) => queue.entries.keys().copied().collect(),
            None => Vec::new(),
        };
        let mut keys = VecDeque::with_capacity(sequences.len());
        let id = self.queue(slot).map_or(0, |queue| queue.id);
        for sequence in sequences {
            if let Some(entry) = self.take_out(slot, sequence) {
                keys.push_back(Key::Message(id, sequence));
                if entry.marks.has(Marks::PROGRESS) {
                    keys.push_back(Key::Progress(id, sequence));
                }
                if let Some(delivery) = entry.state.delivery() {
                    self.end_flight(delivery);
                }
            }
        }
        let Some(queue) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.free_slots.push(slot);
        self.names.remove(&queue.name);
        self.release(queue.captures);
        for (_, sequence, _) in queue.identifiers.order {
            keys.push_back(Key::Identifier(id, sequence));
        }
        // Who repeats a push that is being stored hears the same as who pushed.
        let waiting = queue.identifiers.known.into_values();
        for waiter in waiting.filter_map(|known| known.waiting).flatten() {
            self.answer(waiter, Err(refusals::deleted()));
        }
        for (consumer, member) in queue.members {
            for feed in &member.feeds {
                self.feeds.remove(&feed.feed);
            }
            if let Some(state) = self.consumers.get_mut(&consumer) {
                let is_gone = |feed: &_| member.feeds.iter().any(|it| it.feed == *feed);
                state.feeds.retain(|feed| !is_gone(feed));
                state.asleep.retain(|it| *it != slot);
            }
        }
        // First of all the queue itself: what a crash leaves of it belongs to nothing.
        let changes = Changes::from([Change::Delete(Key::Queue(id).encode())]);
        self.note_for(changes, Pending::Reply(command, Reply::default()));
        self.remove_keys(keys, None);
    }

    /// The queues of the settings, at the start.
    pub(crate) fn declare(&mut self) {
        for (name, options) in self.settings.declared.clone() {
            if let Err(error) = check_name(&name) {
                let text = format!("the queue '{name}' is not declared: {error}");
                self.event(Severity::Warn, text);
                continue;
            }
            let name: Arc<str> = Arc::from(name);
            let Some(slot) = self.names.get(&name).copied() else {
                if !self.forming.contains_key(&name) {
                    self.form(&name, options, None, true);
                }
                continue;
            };
            if self
                .queue(slot)
                .is_some_and(|queue| queue.options == options)
            {
                continue;
            }
            if let Err(refusal) = self.change_options(slot, options.clone()) {
                let text = format!("the queue '{name}' keeps its order: {}", refusal.reason);
                self.event(Severity::Warn, text);
                if let Some(order) = self.queue(slot).map(|queue| queue.options.order) {
                    let options = QueueOptions { order, ..options };
                    // It is refused for the order alone.
                    let _ = self.change_options(slot, options);
                }
            }
            let changes = self.record_queue(slot);
            self.note(changes);
        }
    }
}

fn record_of(name: &str, options: &QueueOptions, is_paused: bool) -> Box<[u8]> {
    let record = QueueRecord {
        name: Box::from(name),
        is_paused,
        options: options.to_json().to_string().into_bytes(),
    };
    record.encode()
}
