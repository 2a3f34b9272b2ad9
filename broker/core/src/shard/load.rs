//! Bringing messages back that the store alone has, a batch ahead of whoever sends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexum_types::{Message, Time};

use super::Shard;
use crate::counters::DropReason;
use crate::key::SessionKey;
use crate::output::Output;
use crate::record::{Key, LoadId, MessageId};
use crate::session::{Awaiting, Wanted};
use crate::shared_subscription::GroupId;

/// Messages in one batch…
const BATCH_MESSAGES: usize = 1024;
/// …and their bytes, beyond which it ends early.
const BATCH_BYTES: u64 = 1024 * 1024;

/// Who waits for a batch.
#[derive(Clone, Debug)]
pub(super) enum LoadFor {
    Session(SessionKey, Box<[Wanted]>),
    Group(GroupId, Box<[MessageId]>),
}

/// Gathers what a batch is to have.
#[derive(Default)]
struct Batch {
    keys: Vec<Key>,
    wanted: Vec<Wanted>,
    bytes: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.keys.len() >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES
    }

    fn want(&mut self, key: Key, wanted: Wanted, size_bytes: u32) {
        self.keys.push(key);
        self.wanted.push(wanted);
        self.bytes += u64::from(size_bytes);
    }
}

impl Shard {
    /// Asks for the messages that a session sends next, unless they are on their way.
    pub(super) fn load_for_session(&mut self, session: u32) {
        let key = self.session_key(session);
        let state = &mut self.sessions[session as usize];
        let Some(id) = state.id else {
            return;
        };
        if state.load.is_some() {
            return;
        }
        let mut batch = Batch::default();
        let mut from = state.resend_from;
        while let Some(at) = from
            && !batch.is_full()
            && let Some((position, packet, exchange)) = state.inflight.first_from(at)
        {
            if let Some(delivery) = &exchange.delivery
                && delivery.message.is_none()
            {
                let wanted = Wanted::InFlight(packet);
                batch.want(delivery.message_key(id), wanted, delivery.size_bytes);
            }
            from = Some(position + 1);
        }
        for delivery in &state.queue {
            if batch.is_full() {
                break;
            }
            if delivery.message.is_none() {
                let wanted = Wanted::InQueue(delivery.position);
                batch.want(delivery.message_key(id), wanted, delivery.size_bytes);
            } else if batch.keys.is_empty() && delivery.stored {
                // What is here already counts, so that a batch is not ahead of another.
                batch.bytes += u64::from(delivery.size_bytes);
            }
        }
        if batch.keys.is_empty() {
            return;
        }
        let whom = LoadFor::Session(key, batch.wanted.into_boxed_slice());
        let load = self.ask_to_load(whom, batch.keys);
        self.sessions[session as usize].load = Some(load);
    }

    /// Asks for the messages that wait first in a group.
    pub(super) fn load_for_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        if std::mem::replace(&mut group.loads, true) {
            return;
        }
        let mut batch = Batch::default();
        let mut records = Vec::new();
        for waiting in group.waiting_mut() {
            if batch.is_full() {
                break;
            }
            if waiting.message.is_none()
                && let Some(message) = waiting.record
            {
                let wanted = Wanted::InQueue(waiting.position);
                batch.want(Key::Message(message), wanted, waiting.size_bytes);
                records.push(message);
            }
        }
        let whom = LoadFor::Group(id, records.into_boxed_slice());
        self.ask_to_load(whom, batch.keys);
    }

    fn ask_to_load(&mut self, whom: LoadFor, keys: Vec<Key>) -> LoadId {
        let load = LoadId(self.loads.insert(whom) as u32);
        self.outputs.push_back(Output::Load { load, keys });
        load
    }

    /// The answer, in the order of the keys.
    pub(super) fn on_loaded(
        &mut self,
        load: LoadId,
        messages: Vec<Option<Arc<Message>>>,
        now: Time,
    ) {
        match self.loads.try_remove(load.0 as usize) {
            Some(LoadFor::Session(key, wanted)) => {
                // One that an earlier connection asked for is not the one that is awaited.
                let is_awaited = self
                    .session_by_key(key)
                    .is_some_and(|session| session.load == Some(load));
                if is_awaited {
                    let answers = wanted.into_iter().zip(messages);
                    self.on_loaded_for_session(key, answers, now);
                }
            }
            Some(LoadFor::Group(id, records)) => {
                let answers = records.into_iter().zip(messages).collect();
                self.on_loaded_for_group(id, answers, now);
            }
            None => {}
        }
    }

    fn on_loaded_for_session(
        &mut self,
        key: SessionKey,
        answers: impl Iterator<Item = (Wanted, Option<Arc<Message>>)>,
        now: Time,
    ) {
        let session = &mut self.sessions[key.index as usize];
        session.load = None;
        let is_there = session.connection.is_some();
        for (wanted, message) in answers {
            let session = &mut self.sessions[key.index as usize];
            let place = match wanted {
                Wanted::InQueue(position) => session
                    .place_in_queue(position)
                    .map(|place| &mut session.queue[place]),
                Wanted::InFlight(packet) => session
                    .inflight
                    .get_mut(packet)
                    .and_then(|exchange| exchange.delivery.as_mut()),
            };
            match (place, message) {
                (Some(delivery), Some(message)) if is_there => delivery.message = Some(message),
                // It left meanwhile, and will be loaded again.
                (Some(_), Some(_)) | (None, _) => {}
                (Some(_), None) => self.drop_unreadable(key.index, wanted),
            }
        }
        self.pump(key.index, now);
    }

    /// The store has lost a message: as if it had been delivered.
    fn drop_unreadable(&mut self, session: u32, wanted: Wanted) {
        let state = &mut self.sessions[session as usize];
        match wanted {
            Wanted::InQueue(position) => {
                let delivery = state
                    .place_in_queue(position)
                    .and_then(|place| state.queue.remove(place));
                if let Some(delivery) = delivery {
                    state.release_bytes(&delivery);
                    self.forget_delivery(session, &delivery);
                }
            }
            Wanted::InFlight(packet) => {
                let awaiting = match state.inflight.get_mut(packet) {
                    Some(exchange) => exchange.awaiting,
                    None => Awaiting::PubAck,
                };
                self.abandon_exchange(session, packet, awaiting);
            }
        }
        self.counters.drop_message(DropReason::Unreadable);
        self.report_overflow(session, DropReason::Unreadable);
    }

    /// Which messages wait in the group may have changed meanwhile, so they go by their names.
    fn on_loaded_for_group(
        &mut self,
        id: GroupId,
        mut answers: BTreeMap<MessageId, Option<Arc<Message>>>,
        now: Time,
    ) {
        let Some(group) = self.groups.group_mut(id) else {
            return;
        };
        group.loads = false;
        let mut unreadable = 0;
        for waiting in group.waiting_mut() {
            if waiting.message.is_some() {
                continue;
            }
            match waiting.record.and_then(|record| answers.remove(&record)) {
                Some(Some(message)) => waiting.message = Some(message),
                Some(None) => {
                    // So that it is not asked for for ever; it expires on its way out.
                    waiting.record = None;
                    unreadable += 1;
                }
                None => {}
            }
        }
        for _ in 0..unreadable {
            self.counters.drop_message(DropReason::Unreadable);
        }
        self.drain_group(id, now);
    }
}
