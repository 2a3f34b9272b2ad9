//! All records of a store, read once in an order in which a shard can take them.
//!
//! What is held in memory meanwhile: for each session its shard, for each shared message its size
//! and how many name it, 16 bytes either; and the deletions of garbage. No payload.
//!
//! What cannot be read is told and stays where it is, with what belongs to it or names it: a later
//! version may be able to. What can be read and is of no use is garbage.

mod garbage;
mod sessions;
mod shared;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use nexum_core::{MessageId, Restored, SessionId, ShardId, home_of};
use nexum_storage::{Changes, TableId, View};
use nexum_types::{Message, Time};

use crate::error::RecordsError;
use crate::fields::Unreadable;
use crate::named::Named;
use crate::record::delivery::DeliveryContent;
use crate::record::{delivery, exchange, message, received, session, subscription, waiting, will};
use crate::{key, tables};
use garbage::Garbage;
use sessions::{Owner, Sessions};
use shared::{Lookup, SharedMessages};

/// How many records lie between two reports of progress.
const PROGRESS_RECORDS: u64 = 1 << 16;

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Sessions.
    pub sessions: u64,
    /// Subscriptions of sessions.
    pub subscriptions: u64,
    /// Wills.
    pub wills: u64,
    /// Messages that wait for a session or are in flight to it.
    pub deliveries: u64,
    /// Exchanges about them.
    pub exchanges: u64,
    /// QoS 2 publications received and not released.
    pub received: u64,
    /// Messages that wait in shared subscriptions.
    pub waiting: u64,
    /// Shared messages that any of them name.
    pub messages: u64,
    /// Retained messages.
    pub retained: u64,
    /// One more than the highest that any record names: for the next session.
    pub next_session_id: u64,
    /// The same, for the next shared message.
    pub next_message_id: u64,
    /// When the last thing happened of which a record says when. The clock must not be set before.
    pub latest: Time,
    /// Deletions of what is of no use any more: sessions that ended with their connections, what
    /// belongs to no session, shared messages that nobody names, and what is [`lost`](Self::lost)
    /// because its message is not there. They are in submissions of at most 65,536 deletions or
    /// about 4 MiB, in any order, and have to be submitted before any other change: what is
    /// deleted may be inserted again.
    pub garbage: Vec<Changes>,
    /// Deliveries, and messages waiting in shared subscriptions, whose message is not there or
    /// cannot be read.
    pub lost: Named,
    /// Records that are not what any version wrote. They were left where they are.
    pub damaged: Named,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The table that is being read; [`tables::name`] says what it has.
    pub table: TableId,
    /// How many of its records were read.
    pub records: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records;
        match tables::name(self.table) {
            Some(name) => write!(f, "{records} {name}"),
            None => write!(f, "{records} records of {}", self.table),
        }
    }
}

/// Reads everything, and hands each record to the shard that it belongs to, in this order: sessions,
/// subscriptions, wills, deliveries, exchanges, received publications, messages waiting in shared
/// subscriptions, shared messages, retained messages. `seed` is that of [`Meta`](crate::Meta).
/// `progress` is told how far it is each 65,536 records and at the end of each table.
///
/// # Errors
/// The store cannot be read, or a later version of the program wrote a record. What was handed out
/// before must not be used then. A damaged record is no error: see [`Recovered::damaged`].
pub fn recover(
    view: &View<'_>,
    seed: u64,
    shards: u16,
    sink: &mut dyn FnMut(ShardId, Restored),
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, RecordsError> {
    let mut recovery = Recovery {
        view,
        seed,
        shards,
        sink,
        progress,
        sessions: Sessions::default(),
        messages: SharedMessages::default(),
        garbage: Garbage::default(),
        last_group: None,
        recovered: Recovered::default(),
    };
    // First, because whatever names a message that is not there must not come back.
    recovery.read_messages()?;
    recovery.sessions()?;
    recovery.subscriptions()?;
    recovery.wills()?;
    recovery.deliveries()?;
    recovery.exchanges()?;
    recovery.received()?;
    recovery.waiting()?;
    recovery.messages();
    recovery.retained()?;
    Ok(recovery.finish())
}

struct Recovery<'a, 'v> {
    view: &'a View<'v>,
    seed: u64,
    shards: u16,
    sink: &'a mut dyn FnMut(ShardId, Restored),
    progress: &'a mut dyn FnMut(Progress),
    sessions: Sessions,
    messages: SharedMessages,
    garbage: Garbage,
    /// The one seen last: names of groups repeat, and are in memory once then.
    last_group: Option<Arc<str>>,
    recovered: Recovered,
}

/// What becomes of a record.
enum Fate {
    /// It goes to this shard.
    Comes(ShardId, Restored),
    /// It is of use later.
    Noted,
    /// It is deleted.
    Garbage,
    /// It is not used and not deleted, because it belongs to something that cannot be read.
    Stays,
    /// It is deleted, and that is a loss: its message is not there.
    Lost(MessageId),
    /// It is a loss for now: its message cannot be read.
    LostForNow(MessageId),
}

impl Recovery<'_, '_> {
    fn read_messages(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::MESSAGES, |this, key, value| {
            let id = key::message(key)?;
            this.see_message(id);
            let parts = message::read(value).and_then(|parts| {
                let size_bytes = message::size_bytes(&parts)?;
                Ok((size_bytes, parts.published_at))
            });
            match parts {
                Ok((size_bytes, published_at)) => {
                    this.messages.add(id, size_bytes);
                    this.see_time(published_at);
                    Ok(Fate::Noted)
                }
                Err(why) => {
                    this.messages.add_unreadable(id);
                    Err(why)
                }
            }
        })
    }

    fn sessions(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::SESSIONS, |this, key, value| {
            let id = key::session(key)?;
            this.see_session(id);
            let record = match session::read(value) {
                Ok(record) => record,
                Err(why) => {
                    this.sessions.add(id, Owner::Unreadable);
                    return Err(why);
                }
            };
            if let Some(at) = record.disconnected_at {
                this.see_time(at);
            }
            if record.expiry_interval_seconds == 0 {
                // It ended with its connection, which ended with the broker.
                return Ok(Fate::Garbage);
            }
            let home = home_of(this.seed, this.shards, &record.client_id);
            this.sessions.add(id, Owner::Shard(home));
            this.recovered.sessions += 1;
            Ok(Fate::Comes(home, Restored::Session(id, record)))
        })
    }

    fn subscriptions(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::SUBSCRIPTIONS, |this, key, value| {
            let (session, filter) = key::subscription(key)?;
            this.of_session(session, |this| {
                let record = subscription::read(value)?;
                this.recovered.subscriptions += 1;
                Ok(Restored::Subscription(session, Arc::from(filter), record))
            })
        })
    }

    fn wills(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::WILLS, |this, key, value| {
            let session = key::session(key)?;
            this.of_session(session, |this| {
                let will = will::read(value)?;
                this.recovered.wills += 1;
                Ok(Restored::Will(session, will))
            })
        })
    }

    fn deliveries(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::DELIVERIES, |this, key, value| {
            let (session, position) = key::delivery(key)?;
            this.see_session(session);
            let read = delivery::read(value);
            if let Ok(delivery::Delivery {
                content: DeliveryContent::Shared { id, .. },
                ..
            }) = &read
            {
                this.see_message(*id);
            }
            let home = match this.sessions.owner(session) {
                Owner::Shard(home) => home,
                Owner::Nobody => return Ok(Fate::Garbage),
                Owner::Unreadable => return Ok(Fate::Stays),
            };
            let delivery = read?;
            let (shared, size_bytes) = match delivery.content {
                DeliveryContent::Inline(parts) => {
                    this.see_time(parts.published_at);
                    (None, message::size_bytes(&parts)?)
                }
                DeliveryContent::Shared { id, .. } => match this.messages.refer_to(id) {
                    Lookup::Found { size_bytes } => (Some(id), size_bytes),
                    Lookup::Missing => return Ok(Fate::Lost(id)),
                    Lookup::Unreadable => return Ok(Fate::LostForNow(id)),
                },
            };
            this.recovered.deliveries += 1;
            let group = delivery.group.map(|group| this.group(group));
            let restored = Restored::Delivery {
                session,
                position,
                shared,
                size_bytes,
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_identifiers: delivery.subscription_identifiers,
                group,
                packet_identifier: delivery.packet_identifier,
            };
            Ok(Fate::Comes(home, restored))
        })
    }

    fn exchanges(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::EXCHANGES, |this, key, value| {
            let (session, identifier) = key::exchange(key)?;
            this.of_session(session, |this| {
                let record = exchange::read(value)?;
                this.recovered.exchanges += 1;
                Ok(Restored::Exchange(session, identifier, record))
            })
        })
    }

    fn received(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::RECEIVED, |this, key, value| {
            let (session, identifier) = key::exchange(key)?;
            this.of_session(session, |this| {
                received::read(value)?;
                this.recovered.received += 1;
                Ok(Restored::Received(session, identifier))
            })
        })
    }

    fn waiting(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::WAITING, |this, key, value| {
            let (group, position) = key::waiting(key)?;
            let message = waiting::read(value)?;
            this.see_message(message);
            let size_bytes = match this.messages.refer_to(message) {
                Lookup::Found { size_bytes } => size_bytes,
                Lookup::Missing => return Ok(Fate::Lost(message)),
                Lookup::Unreadable => return Ok(Fate::LostForNow(message)),
            };
            this.recovered.waiting += 1;
            let home = home_of(this.seed, this.shards, group);
            let restored = Restored::Waiting {
                group: this.group(group),
                position,
                message,
                size_bytes,
            };
            Ok(Fate::Comes(home, restored))
        })
    }

    /// Hands out the shared messages: who names them is known by now.
    fn messages(&mut self) {
        // What could not be read may name messages, too.
        let all_is_known = self.recovered.damaged.count == 0;
        for (id, references) in self.messages.iter() {
            if references > 0 {
                self.recovered.messages += 1;
                let restored = Restored::Message(id, references);
                (self.sink)(id.owner(self.shards), restored);
            } else if all_is_known {
                self.garbage.delete(tables::MESSAGES, &id.0.to_be_bytes());
            }
        }
    }

    fn retained(&mut self) -> Result<(), RecordsError> {
        self.walk(tables::RETAINED, |this, key, value| {
            let parts = message::read_retained(key, value)?;
            this.see_time(parts.published_at);
            this.recovered.retained += 1;
            let home = home_of(this.seed, this.shards, parts.topic.as_str());
            let message = Arc::new(Message::new(parts));
            Ok(Fate::Comes(home, Restored::Retained(message)))
        })
    }

    fn finish(self) -> Recovered {
        Recovered {
            garbage: self.garbage.finish(),
            ..self.recovered
        }
    }

    fn of_session(
        &mut self,
        session: SessionId,
        read: impl FnOnce(&mut Self) -> Result<Restored, Unreadable>,
    ) -> Result<Fate, Unreadable> {
        self.see_session(session);
        match self.sessions.owner(session) {
            Owner::Shard(home) => Ok(Fate::Comes(home, read(self)?)),
            Owner::Nobody => Ok(Fate::Garbage),
            Owner::Unreadable => Ok(Fate::Stays),
        }
    }

    fn walk(
        &mut self,
        table: TableId,
        mut record: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<Fate, Unreadable>,
    ) -> Result<(), RecordsError> {
        let mut records = 0;
        for entry in self
            .view
            .range(table, (Bound::Unbounded, Bound::Unbounded))?
        {
            let (key, value) = entry?;
            match record(self, &key, &value) {
                Ok(fate) => self.meet(table, &key, fate),
                Err(Unreadable::Damaged(why)) => self
                    .recovered
                    .damaged
                    .add(|| format!("{}: {why}", key::describe(table, &key))),
                Err(newer @ Unreadable::Newer(_)) => {
                    let what = key::describe(table, &key);
                    return Err(RecordsError::unreadable(what, newer));
                }
            }
            records += 1;
            if records % PROGRESS_RECORDS == 0 {
                (self.progress)(Progress { table, records });
            }
        }
        (self.progress)(Progress { table, records });
        Ok(())
    }

    fn meet(&mut self, table: TableId, key: &[u8], fate: Fate) {
        match fate {
            Fate::Comes(home, restored) => (self.sink)(home, restored),
            Fate::Noted | Fate::Stays => {}
            Fate::Garbage => self.garbage.delete(table, key),
            Fate::Lost(message) => {
                self.garbage.delete(table, key);
                self.recovered.lost.add(|| {
                    let what = key::describe(table, key);
                    format!("{what}: shared message {} is not there", message.0)
                });
            }
            Fate::LostForNow(message) => self.recovered.lost.add(|| {
                let what = key::describe(table, key);
                format!("{what}: shared message {} cannot be read", message.0)
            }),
        }
    }

    fn group(&mut self, name: &str) -> Arc<str> {
        match &self.last_group {
            Some(last) if **last == *name => Arc::clone(last),
            _ => {
                let group = Arc::from(name);
                self.last_group = Some(Arc::clone(&group));
                group
            }
        }
    }

    fn see_session(&mut self, id: SessionId) {
        let next = &mut self.recovered.next_session_id;
        *next = id.0.saturating_add(1).max(*next);
    }

    fn see_message(&mut self, id: MessageId) {
        let next = &mut self.recovered.next_message_id;
        *next = id.0.saturating_add(1).max(*next);
    }

    fn see_time(&mut self, time: Time) {
        self.recovered.latest = self.recovered.latest.max(time);
    }
}
