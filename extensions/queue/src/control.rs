//! `$queue/<name>/$ctl/<operation>`, and what else has a verb.

use std::collections::VecDeque;
use std::sync::Arc;

use nexum_extension_api::json::{OptionsError, number, object, unknown_key};
use nexum_extension_api::{Change, Changes, Command, ErrorCode, Input, Refusal, Reply};
use nexum_types::Time;
use serde_json::{Map, Value};

use crate::entry::{Marks, State};
use crate::member::Slot;
use crate::queue_options::QueueOptions;
use crate::queues::{Pending, Queues};
use crate::record::Key;
use crate::refusals;
use crate::waiter::Waiter;

const OPERATIONS: &str = "create, alter, delete, info, peek, purge, pause, resume, dlq.peek, \
                          dlq.redrive, dlq.delete and dlq.purge";

/// So many changes are written at once.
const PART: usize = 1000;

/// Which dead letters are meant.
enum Selection {
    All,
    These(Vec<u64>),
}

/// What part of a queue somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
    pub(crate) is_dead: bool,
}

impl Queues {
    pub(crate) fn control(&mut self, command: Command, now: Time) {
        let id = command.id;
        if let Err(refusal) = self.try_control(command, now) {
            self.refuse(id, refusal);
        }
    }

    fn try_control(&mut self, command: Command, now: Time) -> Result<(), Refusal> {
        let options = command.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        let address = command.address.clone();
        if address.has_levels() {
            return Err(Refusal::new(
                ErrorCode::BadAddress,
                "$ctl follows the name of the queue",
            ));
        }
        let operation = address.arguments();
        let name: Arc<str> = Arc::from(address.name());
        let slot = self.names.get(&name).copied();
        let Some(slot) = slot else {
            if self.forming.contains_key(&name) {
                return self.wait_for(&name, Input::Command(command));
            }
            return match operation {
                "create" => {
                    let defaults = &self.settings.defaults;
                    let options = defaults.with_json(command.message.payload());
                    self.create(&name, options.map_err(bad_payload)?, command.id)
                }
                operation if is_operation(operation) => Err(refusals::no_queue(&name)),
                operation => Err(unknown_operation(operation)),
            };
        };
        let payload = command.message.payload();
        match operation {
            "create" => {
                let options = self.settings.defaults.with_json(payload);
                self.create_again(slot, &options.map_err(bad_payload)?, &command)
            }
            "alter" => self.alter(slot, payload, &command, now),
            "delete" => {
                no_payload("delete", payload)?;
                self.delete(slot, command.id);
                Ok(())
            }
            "info" => {
                no_payload("info", payload)?;
                let payload = self.info(slot, now).to_string().into_bytes();
                self.reply_with(&command, payload);
                Ok(())
            }
            "peek" | "dlq.peek" => {
                let page = Page {
                    is_dead: operation == "dlq.peek",
                    ..page(payload).map_err(bad_payload)?
                };
                self.peek(slot, page, command.id, now);
                Ok(())
            }
            "purge" => {
                no_payload("purge", payload)?;
                self.purge(slot, &command);
                Ok(())
            }
            "pause" => {
                no_payload("pause", payload)?;
                self.set_paused(slot, true, &command, now);
                Ok(())
            }
            "resume" => {
                no_payload("resume", payload)?;
                self.set_paused(slot, false, &command, now);
                Ok(())
            }
            "dlq.redrive" => {
                let selection = selection(payload).map_err(bad_payload)?;
                self.redrive(slot, &selection, &command, now)
            }
            "dlq.delete" => {
                let selection = selection(payload).map_err(bad_payload)?;
                self.delete_dead(slot, &selection, &command)
            }
            "dlq.purge" => {
                no_payload("dlq.purge", payload)?;
                self.delete_dead(slot, &Selection::All, &command)
            }
            operation => Err(unknown_operation(operation)),
        }
    }

    fn create_again(
        &mut self,
        slot: Slot,
        options: &QueueOptions,
        command: &Command,
    ) -> Result<(), Refusal> {
        let is_same = self
            .queue(slot)
            .is_some_and(|queue| queue.options == *options);
        if !is_same {
            return Err(Refusal::new(
                ErrorCode::Conflict,
                "the queue is there with other options: use $ctl/alter",
            ));
        }
        self.reply_with(command, Vec::new());
        Ok(())
    }

    fn alter(
        &mut self,
        slot: Slot,
        payload: &[u8],
        command: &Command,
        now: Time,
    ) -> Result<(), Refusal> {
        let Some(queue) = self.queue(slot) else {
            return Ok(());
        };
        let options = queue.options.with_json(payload).map_err(bad_payload)?;
        self.change_options(slot, options)?;
        let changes = self.record_queue(slot);
        self.note_for(changes, Pending::Reply(command.id, Reply::default()));
        self.dispatch(slot, now);
        Ok(())
    }

    /// A queue has other options from now on; what was delivered was delivered under the former.
    pub(crate) fn change_options(
        &mut self,
        slot: Slot,
        options: QueueOptions,
    ) -> Result<(), Refusal> {
        let Some(queue) = self.queue_mut(slot) else {
            return Ok(());
        };
        if options.order != queue.options.order {
            if queue.counts.messages() > 0 {
                return Err(Refusal::new(
                    ErrorCode::Conflict,
                    "the order cannot change while messages are queued: drain or purge the queue",
                ));
            }
            queue.line.set_order(options.order);
        }
        let is_captured_anew = queue.options.source != options.source;
        queue.options = options;
        let members: Vec<_> = queue.members.keys().copied().collect();
        for consumer in members {
            queue.stand(consumer);
        }
        if is_captured_anew {
            self.capture(slot);
        }
        Ok(())
    }

    fn set_paused(&mut self, slot: Slot, is_paused: bool, command: &Command, now: Time) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        queue.is_paused = is_paused;
        let changes = self.record_queue(slot);
        self.note_for(changes, Pending::Reply(command.id, Reply::default()));
        self.dispatch(slot, now);
    }

    /// Everything goes but what a consumer has, and dead letters.
    fn purge(&mut self, slot: Slot, command: &Command) {
        let Some(queue) = self.queue(slot) else {
            return;
        };
        let is_purged = |state: State| !state.is_dead() && state.delivery().is_none();
        let entries = queue.entries.iter();
        let sequences: Vec<u64> = entries
            .filter(|(_, entry)| is_purged(entry.state))
            .map(|(sequence, _)| *sequence)
            .collect();
        let keys = self.take_out_all(slot, &sequences);
        let reply = count_reply("purged", sequences.len());
        self.remove_keys(keys, Some((command.id, reply)));
    }

    fn take_out_all(&mut self, slot: Slot, sequences: &[u64]) -> VecDeque<Key> {
        let id = self.queue(slot).map_or(0, |queue| queue.id);
        let mut keys = VecDeque::with_capacity(sequences.len());
        for sequence in sequences {
            if let Some(entry) = self.take_out(slot, *sequence) {
                keys.push_back(Key::Message(id, *sequence));
                if entry.marks.has(Marks::PROGRESS) {
                    keys.push_back(Key::Progress(id, *sequence));
                }
            }
        }
        keys
    }

    fn redrive(
        &mut self,
        slot: Slot,
        selection: &Selection,
        command: &Command,
        now: Time,
    ) -> Result<(), Refusal> {
        let sequences = self.select_dead(slot, selection)?;
        let mut changes = Changes::new();
        for sequence in &sequences {
            let Some(queue) = self.queue_mut(slot) else {
                return Ok(());
            };
            queue.dead.remove(sequence);
            if let Some(entry) = queue.entries.get_mut(sequence) {
                entry.attempts = 0;
                entry.marks.set(Marks::PROGRESS, false);
            }
            let key = Key::Progress(queue.id, *sequence);
            changes.push(Change::Delete(key.encode()));
            // What has expired expires again.
            self.give_back(slot, *sequence, now, &mut changes);
        }
        // All at once, and in order: what becomes of a message next is written behind this.
        let reply = count_reply("redriven", sequences.len());
        let mut changes = changes.into_iter();
        loop {
            let part: Changes = changes.by_ref().take(PART).collect();
            if changes.len() == 0 {
                self.note_for(part, Pending::Reply(command.id, reply));
                break;
            }
            self.note(part);
        }
        self.dispatch(slot, now);
        Ok(())
    }

    fn delete_dead(
        &mut self,
        slot: Slot,
        selection: &Selection,
        command: &Command,
    ) -> Result<(), Refusal> {
        let sequences = self.select_dead(slot, selection)?;
        let keys = self.take_out_all(slot, &sequences);
        let reply = count_reply("deleted", sequences.len());
        self.remove_keys(keys, Some((command.id, reply)));
        Ok(())
    }

    /// Dead letters that no consumer has. Those that are named have to be there.
    fn select_dead(&self, slot: Slot, selection: &Selection) -> Result<Vec<u64>, Refusal> {
        let Some(queue) = self.queue(slot) else {
            return Ok(Vec::new());
        };
        let is_free = |sequence: u64| {
            let entry = queue.entries.get(&sequence);
            entry.is_some_and(|entry| entry.state.delivery().is_none())
        };
        let named = match selection {
            Selection::All => {
                let dead = queue.dead.keys().copied();
                return Ok(dead.filter(|sequence| is_free(*sequence)).collect());
            }
            Selection::These(named) => named,
        };
        let mut sequences = named.clone();
        sequences.sort_unstable();
        sequences.dedup();
        for sequence in &sequences {
            if !queue.dead.contains_key(sequence) {
                return Err(Refusal::new(
                    ErrorCode::NotFound,
                    format!("there is no dead letter {sequence}; $ctl/dlq.peek shows which are"),
                ));
            }
            if !is_free(*sequence) {
                return Err(Refusal::new(
                    ErrorCode::Conflict,
                    format!("dead letter {sequence} is with a consumer"),
                ));
            }
        }
        Ok(sequences)
    }

    /// A message whose delay is not over will not be delivered. What may repeat its identifier
    /// afterwards is no repeat.
    pub(crate) fn cancel(&mut self, command: &Command) {
        let id: Arc<str> = Arc::from(command.address.arguments());
        let from = (Arc::clone(&id), 0, 0);
        let delayed = self.cancellable.range(from..);
        let delayed: Vec<(u64, Slot)> = delayed
            .take_while(|(known, ..)| *known == id)
            .map(|(_, sequence, slot)| (*sequence, *slot))
            .collect();
        if delayed.is_empty() {
            let reason = format!("nothing that is delayed has the id '{id}'");
            return self.refuse(command.id, Refusal::new(ErrorCode::NotFound, reason));
        }
        let mut changes = Changes::new();
        for (sequence, slot) in delayed {
            self.discard(slot, sequence, &mut changes);
            let Some(queue) = self.queue_mut(slot) else {
                continue;
            };
            let known = &mut queue.identifiers.known;
            if known.get(&id).is_some_and(|it| it.sequence == sequence) {
                known.remove(&id);
                let key = Key::Identifier(queue.id, sequence);
                changes.push(Change::Delete(key.encode()));
            }
        }
        self.note_for(changes, Pending::Reply(command.id, Reply::default()));
    }

    pub(crate) fn refuse_verb(&mut self, command: &Command) {
        let verb = command.address.verb().unwrap_or("");
        let reason = format!(
            "nothing is published to {verb} of a queue; there are $ctl, $ack, $nack, $reject and \
             $extend, and a push has no verb"
        );
        self.refuse(command.id, Refusal::new(ErrorCode::BadAddress, reason));
    }

    pub(crate) fn reply_with(&mut self, command: &Command, payload: Vec<u8>) {
        let reply = Reply {
            payload,
            properties: Vec::new(),
        };
        self.answer(Waiter::Command(command.id), Ok(reply));
    }
}

fn is_operation(operation: &str) -> bool {
    let mut known = OPERATIONS.split([',', ' ']);
    operation != "and" && !operation.is_empty() && known.any(|known| known == operation)
}

fn unknown_operation(operation: &str) -> Refusal {
    let reason = format!("there is no $ctl/{operation}; there are {OPERATIONS}");
    Refusal::new(ErrorCode::BadAddress, reason)
}

fn bad_payload(error: OptionsError) -> Refusal {
    Refusal::new(ErrorCode::BadPayload, error.to_string())
}

fn count_reply(what: &'static str, count: usize) -> Reply {
    Reply {
        payload: serde_json::json!({ what: count }).to_string().into_bytes(),
        properties: Vec::new(),
    }
}

/// Whoever says more than the operation means something else by it, perhaps one dead letter where
/// everything would go.
fn no_payload(operation: &'static str, payload: &[u8]) -> Result<(), Refusal> {
    if object(payload).map_err(bad_payload)?.is_empty() {
        return Ok(());
    }
    Err(bad_payload(OptionsError::expected(operation, "no payload")))
}

fn page(payload: &[u8]) -> Result<Page, OptionsError> {
    let mut page = Page {
        offset: 0,
        limit: 10,
        is_dead: false,
    };
    for (key, value) in &object(payload)? {
        match key.as_str() {
            "limit" => page.limit = number("limit", value, 1, 100)? as usize,
            "offset" => page.offset = number("offset", value, 0, 1_000_000_000)? as usize,
            unknown => return Err(unknown_key("", unknown, &["limit", "offset"])),
        }
    }
    Ok(page)
}

fn selection(payload: &[u8]) -> Result<Selection, OptionsError> {
    let object: Map<String, Value> = object(payload)?;
    let mut entries = object.iter();
    let expected = || {
        OptionsError::expected(
            "dlq",
            "one of {\"id\": 17}, {\"ids\": [17, 18]} and {\"all\": true}",
        )
    };
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(expected());
    };
    match (key.as_str(), value) {
        ("all", Value::Bool(true)) => Ok(Selection::All),
        ("id", value) => Ok(Selection::These(vec![number("id", value, 0, u64::MAX)?])),
        ("ids", Value::Array(values)) => {
            let numbers = values.iter().map(|value| number("ids", value, 0, u64::MAX));
            Ok(Selection::These(numbers.collect::<Result<_, _>>()?))
        }
        ("all" | "ids", _) => Err(expected()),
        (unknown, _) => Err(unknown_key("", unknown, &["id", "ids", "all"])),
    }
}
