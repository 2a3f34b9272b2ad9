//! What is in a store, for someone who looks at it while no broker uses it.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use nexum_core::{Key, SessionId};
use nexum_storage::{TableId, View};

use crate::error::RecordsError;
use crate::fields::Unreadable;
use crate::named::Named;
use crate::record::delivery::DeliveryContent;
use crate::record::{delivery, exchange, message, received, session, subscription, waiting, will};
use crate::{key, tables};

/// How many sessions are told of.
const LONGEST: usize = 10;

/// What there is, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Each table that has anything, in the order of [`tables::NAMED`].
    pub kept: Vec<(TableId, Kept)>,
    /// The ten sessions for which the most messages wait or are in flight, most first.
    pub longest: Vec<Queue>,
    /// Records that no version wrote, or one that is later than this program.
    pub unreadable: Named,
}

/// What is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many records.
    pub records: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

/// What waits for a session or is in flight to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The session.
    pub session: SessionId,
    /// Its Client Identifier; `None` if there is no record of the session that can be read.
    pub client_id: Option<Arc<str>>,
    /// How many messages.
    pub messages: u64,
    /// Their topics, properties and payloads, in bytes, whoever else shares them.
    pub bytes: u64,
}

/// Reads everything and counts it. What a later version wrote is counted too, and named.
///
/// # Errors
/// The store cannot be read.
pub fn describe(view: &View<'_>) -> Result<Contents, RecordsError> {
    let mut contents = Contents::default();
    let mut queues = Queues::default();
    for (table, _) in tables::NAMED {
        let mut kept = Kept::default();
        for entry in view.range(table, (Bound::Unbounded, Bound::Unbounded))? {
            let (key, value) = entry?;
            kept.records += 1;
            kept.bytes += (key.len() + value.len()) as u64;
            if let Err(why) = look(table, &key, &value, &mut queues) {
                contents
                    .unreadable
                    .add(|| format!("{}: {why}", key::describe(table, &key)));
            }
        }
        if kept.records > 0 {
            contents.kept.push((table, kept));
        }
    }
    contents.longest = queues.finish();
    for queue in &mut contents.longest {
        queue.client_id = client_id(view, queue.session)?;
    }
    Ok(contents)
}

fn look(table: TableId, key: &[u8], value: &[u8], queues: &mut Queues) -> Result<(), Unreadable> {
    match table {
        tables::SESSIONS => {
            key::session(key)?;
            session::read(value).map(drop)
        }
        tables::SUBSCRIPTIONS => {
            key::subscription(key)?;
            subscription::read(value).map(drop)
        }
        tables::WILLS => {
            key::session(key)?;
            will::read(value).map(drop)
        }
        tables::DELIVERIES => {
            let (session, _) = key::delivery(key)?;
            let size_bytes = match delivery::read(value)?.content {
                DeliveryContent::Inline(parts) => message::size_bytes(&parts)?,
                DeliveryContent::Shared { size_bytes, .. } => size_bytes,
            };
            queues.add(session, size_bytes);
            Ok(())
        }
        tables::EXCHANGES => {
            key::exchange(key)?;
            exchange::read(value).map(drop)
        }
        tables::RECEIVED => {
            key::exchange(key)?;
            received::read(value)
        }
        tables::WAITING => {
            key::waiting(key)?;
            waiting::read(value).map(drop)
        }
        tables::MESSAGES => {
            key::message(key)?;
            message::read(value).map(drop)
        }
        tables::RETAINED => message::read_retained(key, value).map(drop),
        _ => Ok(()),
    }
}

fn client_id(view: &View<'_>, session: SessionId) -> Result<Option<Arc<str>>, RecordsError> {
    let mut key_bytes = Vec::new();
    let table = key::write(&Key::Session(session), &mut key_bytes);
    let value = view.get(table, &key_bytes)?;
    Ok(value
        .and_then(|value| session::read(&value).ok())
        .map(|record| record.client_id))
}

/// The longest so far. A session's deliveries come one after another.
#[derive(Debug, Default)]
struct Queues {
    longest: Vec<Queue>,
    current: Option<Queue>,
}

impl Queues {
    fn add(&mut self, session: SessionId, size_bytes: u32) {
        if self
            .current
            .as_ref()
            .is_some_and(|queue| queue.session != session)
        {
            self.close();
        }
        let queue = self.current.get_or_insert(Queue {
            session,
            client_id: None,
            messages: 0,
            bytes: 0,
        });
        queue.messages += 1;
        queue.bytes += u64::from(size_bytes);
    }

    fn close(&mut self) {
        let Some(queue) = self.current.take() else {
            return;
        };
        let place = self
            .longest
            .partition_point(|longer| longer.messages >= queue.messages);
        if place < LONGEST {
            self.longest.truncate(LONGEST - 1);
            self.longest.insert(place, queue);
        }
    }

    fn finish(mut self) -> Vec<Queue> {
        self.close();
        self.longest
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kept.is_empty() {
            writeln!(f, "no records")?;
        }
        for (table, Kept { records, bytes }) in &self.kept {
            let name = tables::name(*table).unwrap_or("records");
            writeln!(f, "{records} {name}, {bytes} bytes")?;
        }
        if !self.longest.is_empty() {
            writeln!(f, "longest queues:")?;
        }
        for queue in &self.longest {
            let Queue {
                session,
                client_id,
                messages,
                bytes,
            } = queue;
            match client_id {
                Some(client_id) => write!(f, "  {client_id:?}")?,
                None => write!(f, "  session {}, of which there is no record", session.0)?,
            }
            writeln!(f, ": {messages} messages, {bytes} bytes")?;
        }
        match self.unreadable.count {
            0 => Ok(()),
            count => write!(f, "{count} records cannot be read:\n{}", self.unreadable),
        }
    }
}
