//! Records in memory, in the place of a store: for tests of a shard, and for what drives one.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexum_types::Message;

use crate::record::{Change, Content, Key, MessageId, Restored, SessionId, Value};
use crate::{ShardId, home_of};

/// Records by their keys.
#[derive(Clone, Debug, Default)]
pub struct RecordTable {
    records: BTreeMap<Key, Value>,
}

impl RecordTable {
    /// Makes changes, in their order.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    self.records.insert(key.clone(), value.clone());
                }
                Change::Delete(key) => {
                    self.records.remove(key);
                }
            }
        }
    }

    /// The message in a record: what [`Output::Load`](crate::Output::Load) asks for.
    #[must_use]
    pub fn message(&self, key: &Key) -> Option<Arc<Message>> {
        match self.records.get(key)? {
            Value::Message(message) | Value::Retained(message) => Some(Arc::clone(message)),
            Value::Delivery(delivery) => match &delivery.content {
                Content::Inline(message) => Some(Arc::clone(message)),
                Content::Shared { .. } => None,
            },
            Value::Session(_)
            | Value::Subscription(_)
            | Value::Will(_)
            | Value::Exchange(_)
            | Value::Received
            | Value::Waiting(_)
            | Value::Extension(_) => None,
        }
    }

    /// The keys of all records, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.records.keys()
    }

    /// Everything as it comes back after a restart with so many shards, with the shard that each is
    /// for; and the names that are free.
    #[must_use]
    pub fn restored(
        &self,
        seed: u64,
        shards: u16,
    ) -> (Vec<(ShardId, Restored)>, SessionId, MessageId) {
        let mut homes: BTreeMap<SessionId, ShardId> = BTreeMap::new();
        let mut references: BTreeMap<MessageId, u32> = BTreeMap::new();
        let (mut next_session, mut next_message) = (0, 0);
        for (key, value) in &self.records {
            if let (Key::Session(id), Value::Session(session)) = (key, value) {
                next_session = next_session.max(id.0 + 1);
                if session.expiry_interval_seconds > 0 {
                    homes.insert(*id, home_of(seed, shards, &session.client_id));
                }
            }
        }
        // In the order of `Restored`.
        let mut steps: [Vec<(ShardId, Restored)>; 8] = Default::default();
        for (key, value) in &self.records {
            let of_session = |id: &SessionId| homes.get(id).copied();
            let (step, shard, restored) = match (key, value) {
                (Key::Session(id), Value::Session(session)) => {
                    (0, of_session(id), Restored::Session(*id, session.clone()))
                }
                (Key::Subscription(id, filter), Value::Subscription(terms)) => {
                    let restored = Restored::Subscription(*id, Arc::clone(filter), *terms);
                    (1, of_session(id), restored)
                }
                (Key::Will(id), Value::Will(will)) => {
                    (2, of_session(id), Restored::Will(*id, (**will).clone()))
                }
                (Key::Delivery(id, position), Value::Delivery(delivery)) => {
                    let (shared, size_bytes) = match &delivery.content {
                        Content::Inline(message) => (None, message.size_bytes() as u32),
                        Content::Shared { id, size_bytes } => (Some(*id), *size_bytes),
                    };
                    if let (Some(message), Some(_)) = (shared, of_session(id)) {
                        *references.entry(message).or_default() += 1;
                    }
                    let restored = Restored::Delivery {
                        session: *id,
                        position: *position,
                        shared,
                        size_bytes,
                        qos: delivery.qos,
                        retain: delivery.retain,
                        subscription_identifiers: delivery.subscription_identifiers.clone(),
                        group: delivery.group.clone(),
                        packet_identifier: delivery.packet_identifier,
                    };
                    (3, of_session(id), restored)
                }
                (Key::Exchange(id, packet), Value::Exchange(exchange)) => (
                    4,
                    of_session(id),
                    Restored::Exchange(*id, *packet, *exchange),
                ),
                (Key::Received(id, packet), Value::Received) => {
                    (5, of_session(id), Restored::Received(*id, *packet))
                }
                (Key::Waiting(group, position), Value::Waiting(message)) => {
                    *references.entry(*message).or_default() += 1;
                    let size_bytes = self
                        .message(&Key::Message(*message))
                        .map_or(0, |message| message.size_bytes() as u32);
                    let restored = Restored::Waiting {
                        group: Arc::clone(group),
                        position: *position,
                        message: *message,
                        size_bytes,
                    };
                    (6, Some(home_of(seed, shards, group)), restored)
                }
                (Key::Retained(topic), Value::Retained(message)) => {
                    let restored = Restored::Retained(Arc::clone(message));
                    (7, Some(home_of(seed, shards, topic)), restored)
                }
                // What extensions have is theirs.
                (Key::Extension(..), _) => continue,
                (Key::Message(id), _) => {
                    next_message = next_message.max(id.0 + 1);
                    continue;
                }
                (key, value) => unreachable!("{key:?} has {value:?}"),
            };
            if let Some(shard) = shard {
                steps[step].push((shard, restored));
            }
        }
        let mut all: Vec<_> = steps.into_iter().flatten().collect();
        for (id, count) in references {
            all.push((id.owner(shards), Restored::Message(id, count)));
        }
        (all, SessionId(next_session), MessageId(next_message))
    }
}
