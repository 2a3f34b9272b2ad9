//! What is stored, as FORMAT.md draws it: the one place that knows bytes.

use std::fmt;
use std::sync::Arc;

use nexum_extension_api::{RecordKey, RecordReader, Unreadable};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::entry::{Reason, Route};

/// The first byte of every value.
pub(crate) const VERSION: u8 = 1;

const MARK: u8 = 0;
const QUEUE: u8 = 1;
const MESSAGE: u8 = 2;
const PROGRESS: u8 = 3;
const IDENTIFIER: u8 = 4;

/// A key of the table. They sort by kind, so what others refer to is restored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Below it, any number may have been used.
    Mark,
    /// A queue.
    Queue(u64),
    /// A message of a queue, as it was pushed.
    Message(u64, u64),
    /// What has become of it since.
    Progress(u64, u64),
    /// The option `id` of a push, which outlives the message.
    Identifier(u64, u64),
}

impl Key {
    pub(crate) fn encode(self) -> RecordKey {
        let of_message = |kind: u8, queue: u64, sequence: u64| {
            let mut key = [kind; 17];
            key[1..9].copy_from_slice(&queue.to_be_bytes());
            key[9..].copy_from_slice(&sequence.to_be_bytes());
            RecordKey::from(key)
        };
        match self {
            Key::Mark => RecordKey::from([MARK]),
            Key::Queue(queue) => {
                let mut key = [QUEUE; 9];
                key[1..].copy_from_slice(&queue.to_be_bytes());
                RecordKey::from(key)
            }
            Key::Message(queue, sequence) => of_message(MESSAGE, queue, sequence),
            Key::Progress(queue, sequence) => of_message(PROGRESS, queue, sequence),
            Key::Identifier(queue, sequence) => of_message(IDENTIFIER, queue, sequence),
        }
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Key, Unreadable> {
        let mut bytes = RecordReader::new(key);
        let kind = bytes.u8()?;
        let key = match kind {
            MARK => Key::Mark,
            QUEUE => Key::Queue(bytes.u64()?),
            MESSAGE => Key::Message(bytes.u64()?, bytes.u64()?),
            PROGRESS => Key::Progress(bytes.u64()?, bytes.u64()?),
            IDENTIFIER => Key::Identifier(bytes.u64()?, bytes.u64()?),
            _ => return Err(unreadable(format_args!("a record of kind {kind}"))),
        };
        bytes.end()?;
        Ok(key)
    }
}

/// A queue as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueRecord {
    pub(crate) name: Box<str>,
    pub(crate) is_paused: bool,
    /// JSON, as `$ctl/create` takes it.
    pub(crate) options: Vec<u8>,
}

impl QueueRecord {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let mut value = vec![VERSION, u8::from(self.is_paused), self.name.len() as u8];
        value.extend_from_slice(self.name.as_bytes());
        value.extend_from_slice(&self.options);
        value.into()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<QueueRecord, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let is_paused = bytes.u8()? != 0;
        let length = bytes.u8()?;
        let name = bytes.text(usize::from(length))?;
        Ok(QueueRecord {
            name: Box::from(name),
            is_paused,
            options: bytes.rest().to_vec(),
        })
    }
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct MessageRecord {
    pub(crate) message: Arc<Message>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) priority: u8,
    /// Not before this.
    pub(crate) due: Option<Time>,
}

impl MessageRecord {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let parts = self.message.parts();
        let none = Route::default();
        let route = self.route.as_deref().unwrap_or(&none);
        let flags = parts.qos as u8
            | u8::from(parts.retain) << 2
            | u8::from(parts.expires_at.is_some()) << 3
            | u8::from(self.due.is_some()) << 4
            | u8::from(route.levels.is_some()) << 5
            | u8::from(route.key.is_some()) << 6
            | u8::from(route.id.is_some()) << 7;
        let texts = [&route.levels, &route.key, &route.id];
        let times = [parts.expires_at, self.due];
        let text_bytes: usize = texts.iter().copied().flatten().map(|it| it.len() + 2).sum();
        // All of it, so that nothing has to be copied to be boxed.
        let head = 3 + 8 + 8 * times.iter().flatten().count() + text_bytes + 4;
        let mut value = Vec::with_capacity(head + parts.properties.len() + parts.payload.len());
        value.extend_from_slice(&[VERSION, flags, self.priority]);
        value.extend_from_slice(&parts.published_at.as_micros().to_be_bytes());
        for at in times.into_iter().flatten() {
            value.extend_from_slice(&at.as_micros().to_be_bytes());
        }
        for text in texts.into_iter().flatten() {
            // A topic has at most 65,535 bytes, and an option fewer.
            value.extend_from_slice(&(text.len() as u16).to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        }
        value.extend_from_slice(&(parts.properties.len() as u32).to_be_bytes());
        value.extend_from_slice(parts.properties);
        value.extend_from_slice(parts.payload);
        value.into()
    }

    /// `topic` is that of the queue: a message's own is not kept.
    pub(crate) fn decode(value: &[u8], topic: &str) -> Result<MessageRecord, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let flags = bytes.u8()?;
        let priority = bytes.u8()?;
        let published_at = Time::from_micros(bytes.u64()?);
        let mut time = |flag: u8| -> Result<Option<Time>, Unreadable> {
            let is_there = flags & 1 << flag != 0;
            is_there
                .then(|| bytes.u64().map(Time::from_micros))
                .transpose()
        };
        let expires_at = time(3)?;
        let due = time(4)?;
        let mut text = |flag: u8| -> Result<Option<Arc<str>>, Unreadable> {
            if flags & 1 << flag == 0 {
                return Ok(None);
            }
            let length = bytes.u16()?;
            Ok(Some(Arc::from(bytes.text(usize::from(length))?)))
        };
        let route = Route {
            levels: text(5)?,
            key: text(6)?,
            id: text(7)?,
        };
        let length = bytes.u32()?;
        let properties = bytes.take(length as usize)?;
        let parts = MessageParts {
            topic: TopicName::new(topic)
                .map_err(|_| unreadable(format_args!("a queue of the topic '{topic}'")))?,
            properties,
            payload: bytes.rest(),
            qos: match flags & 3 {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                2 => QoS::ExactlyOnce,
                _ => return Err(unreadable(format_args!("a message of QoS 3"))),
            },
            retain: flags & 4 != 0,
            published_at,
            expires_at,
        };
        Ok(MessageRecord {
            message: Arc::new(Message::new(parts)),
            route: route.into_shared(),
            priority,
            due,
        })
    }
}

/// What has become of a message since it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was delivered so often without success, and rests until then.
    Rests { attempts: u16, until: Time },
    /// It is a dead letter.
    Dead {
        attempts: u16,
        since: Time,
        reason: Reason,
    },
}

impl Progress {
    pub(crate) fn encode(self) -> Box<[u8]> {
        let (kind, attempts, at) = match self {
            Progress::Rests { attempts, until } => (0, attempts, until),
            Progress::Dead {
                attempts,
                since,
                reason,
            } => (reason as u8, attempts, since),
        };
        let mut value = [VERSION, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        value[2..4].copy_from_slice(&attempts.to_be_bytes());
        value[4..].copy_from_slice(&at.as_micros().to_be_bytes());
        Box::from(value)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Progress, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let kind = bytes.u8()?;
        let attempts = bytes.u16()?;
        let at = Time::from_micros(bytes.u64()?);
        bytes.end()?;
        if kind == 0 {
            return Ok(Progress::Rests {
                attempts,
                until: at,
            });
        }
        let reason = Reason::from_code(kind)
            .ok_or_else(|| unreadable(format_args!("a dead letter for reason {kind}")))?;
        Ok(Progress::Dead {
            attempts,
            since: at,
            reason,
        })
    }
}

/// The option `id` of a push, remembered until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentifierRecord {
    pub(crate) until: Time,
    pub(crate) id: Arc<str>,
}

impl IdentifierRecord {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.until.as_micros().to_be_bytes());
        value.extend_from_slice(self.id.as_bytes());
        value.into()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<IdentifierRecord, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let until = Time::from_micros(bytes.u64()?);
        let id = Arc::from(bytes.text(bytes.rest().len())?);
        Ok(IdentifierRecord { until, id })
    }
}

/// The mark: see [`Key::Mark`].
pub(crate) fn encode_mark(mark: u64) -> Box<[u8]> {
    let mut value = [VERSION; 9];
    value[1..].copy_from_slice(&mark.to_be_bytes());
    Box::from(value)
}

pub(crate) fn decode_mark(value: &[u8]) -> Result<u64, Unreadable> {
    let mut bytes = RecordReader::versioned(value, VERSION)?;
    let mark = bytes.u64()?;
    bytes.end()?;
    Ok(mark)
}

fn unreadable(what: fmt::Arguments<'_>) -> Unreadable {
    Unreadable {
        what: what.to_string(),
    }
}
