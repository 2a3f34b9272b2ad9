//! What comes out of an extension.

use std::sync::Arc;

use nexum_types::{Message, QoS};

use crate::change::{Changes, RecordKey};
use crate::id::{
    CaptureId, CommandId, ConsumerId, DeliveryId, FeedId, PublicationId, ReadId, ReceiptId, WriteId,
};
use crate::refusal::Refusal;

/// Something the host has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// The answer to a command: its publisher is acknowledged, and told if it asked for a reply.
    Reply {
        /// Which.
        command: CommandId,
        /// What came of it.
        result: Result<Reply, Refusal>,
    },
    /// What came of a captured message: its publisher is acknowledged.
    Commit {
        /// Which.
        receipt: ReceiptId,
        /// Whether it is kept.
        result: Result<(), Refusal>,
    },
    /// Whatever is published to a topic that matches is to be handed over.
    Capture {
        /// What it is called.
        capture: CaptureId,
        /// A topic filter.
        filter: Box<str>,
    },
    /// No more of it.
    Release {
        /// Which.
        capture: CaptureId,
    },
    /// A feed may be used.
    Grant {
        /// Which.
        feed: FeedId,
        /// The highest QoS of its deliveries: at most what was asked for.
        maximum_qos: QoS,
    },
    /// A feed may not be used.
    Refuse {
        /// Which.
        feed: FeedId,
        /// Why.
        refusal: Refusal,
    },
    /// A message for a consumer: takes one credit of it.
    Deliver(Deliver),
    /// A publication of the extension's own, to any topic or address.
    Publish(Publish),
    /// Changes to store.
    Write(Write),
    /// Values to read.
    Read {
        /// Names it in the answer.
        read: ReadId,
        /// The keys.
        keys: Vec<RecordKey>,
    },
    /// Records to read, in the order of their keys.
    Scan(Scan),
    /// For the log.
    Event {
        /// How serious it is.
        severity: Severity,
        /// A line.
        text: String,
    },
}

/// What a command has led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The payload of the reply, if one is wanted.
    pub payload: Vec<u8>,
    /// What stands beside it: User Properties of PUBACK and of the reply.
    pub properties: Vec<(&'static str, Label)>,
}

/// A value beside a message, formatted only where it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// In decimal digits.
    Number(u64),
    /// As it is.
    Text(Arc<str>),
    /// A word.
    Word(&'static str),
}

/// A message for a consumer.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// On which feed.
    pub feed: FeedId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// What the settlement will name.
    pub delivery: DeliveryId,
    /// The topic, under the claimed word; what is delivered matches what was subscribed.
    pub topic: Arc<str>,
    /// Payload, properties and expiry; its own topic is not used.
    pub message: Arc<Message>,
    /// User Properties in addition to those of the message.
    pub properties: Vec<(&'static str, Label)>,
    /// Whether the RETAIN flag is set.
    pub retain: bool,
}

/// A publication.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Names it in the answer.
    pub publication: PublicationId,
    /// Where: a topic name, with or without wrappers.
    pub topic: Box<str>,
    /// Payload, properties, QoS, RETAIN and expiry; its own topic is not used.
    pub message: Arc<Message>,
    /// What is stored together with whatever subscribers keep of it, or not at all: with it the
    /// extension forgets what it publishes, so that a crash does not publish it again.
    pub changes: Changes,
}

/// A wish for records in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Names it in the answer.
    pub read: ReadId,
    /// The first key, if it is there.
    pub from: RecordKey,
    /// Behind the last key.
    pub to: RecordKey,
    /// How many at most; one or more.
    pub records: usize,
    /// With how many bytes of keys and values; but one record comes in any case.
    pub bytes: usize,
}

/// Changes that become durable together or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// Names it in the answer.
    pub write: WriteId,
    /// In this order.
    pub changes: Changes,
    /// What to do while the store takes nothing.
    pub when_refused: WhenRefused,
    /// The command that it fulfils: what the broker has to remember of it, such as the Packet
    /// Identifier of a QoS 2 publication, is stored together with it.
    pub fulfils: Option<CommandId>,
}

/// What to do with a write that the store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenRefused {
    /// The extension is told, and somebody is told by it. What it had written by this way before it
    /// heard of that is refused, too: it may build on it.
    Tell,
    /// It is tried again until it is stored, and so is, in its order, what comes after it by this
    /// way: for what has happened already. It passes where there is no room for others, so it should
    /// be small.
    Retry,
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Of interest when looking for something.
    Debug,
    /// Ordinary life.
    Info,
    /// Somebody should look.
    Warn,
}

impl Output {
    /// A line for the log.
    pub fn event(severity: Severity, text: impl Into<String>) -> Output {
        Output::Event {
            severity,
            text: text.into(),
        }
    }

    /// The refusal of a command.
    pub fn refuse(command: CommandId, refusal: Refusal) -> Output {
        Output::Reply {
            command,
            result: Err(refusal),
        }
    }
}

impl From<&'static str> for Label {
    fn from(word: &'static str) -> Label {
        Label::Word(word)
    }
}

impl From<u64> for Label {
    fn from(number: u64) -> Label {
        Label::Number(number)
    }
}

impl From<Arc<str>> for Label {
    fn from(text: Arc<str>) -> Label {
        Label::Text(text)
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Number(number) => number.fmt(f),
            Label::Text(text) => text.fmt(f),
            Label::Word(word) => word.fmt(f),
        }
    }
}
