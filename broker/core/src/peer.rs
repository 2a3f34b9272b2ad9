//! What shards say to each other.
//!
//! Each pair of shards has a channel in each direction that keeps order; everything that must
//! stay in order (a publisher's messages on a topic, interest before the answer to SUBSCRIBE)
//! relies on that and on nothing else.

use std::sync::Arc;

use nexum_types::{Message, QoS};

use crate::key::{ConnectionKey, SessionKey, ShardId};

/// Everything one shard had for another in one turn.
#[derive(Debug)]
pub struct PeerBatch {
    pub(crate) messages: Vec<PeerMessage>,
    weight_bytes: usize,
}

impl PeerBatch {
    pub(crate) fn new(messages: Vec<PeerMessage>) -> PeerBatch {
        let weight_bytes = messages.iter().map(PeerMessage::weight_bytes).sum();
        PeerBatch {
            messages,
            weight_bytes,
        }
    }

    /// About how much memory it holds, in bytes: for the bound on mailboxes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }
}

/// A connection that publishes, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publisher {
    pub(crate) shard: ShardId,
    pub(crate) connection: ConnectionKey,
}

/// Names one acknowledgement that a connection owes: the promise that a receipt fulfils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) connection: ConnectionKey,
    pub(crate) sequence: u32,
}

/// A member of a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberKey {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionKey,
}

/// The terms of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberTerms {
    pub(crate) maximum_qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_identifier: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum PeerMessage {
    /// For the receiver's own subscribers.
    Publish {
        message: Arc<Message>,
        source: Option<Publisher>,
    },
    /// The sender has a subscriber to this filter now.
    Interest { filter: Box<str>, token: u32 },
    /// Whatever is published from here on and matches will be forwarded.
    InterestNoted { token: u32 },
    /// The sender has no subscriber to this filter any more.
    InterestWithdrawn { filter: Box<str> },
    /// The receiver keeps the retained message of this topic.
    Retain {
        message: Arc<Message>,
        receipt: Option<Receipt>,
    },
    /// It is kept.
    Retained { receipt: Receipt },
    /// Begin to send what is retained under this filter.
    ReplayOpen { token: u32, filter: Box<str> },
    /// The next batch of it.
    ReplayNext { token: u32 },
    /// No more of it.
    ReplayClose { token: u32 },
    /// A batch of it.
    ReplayBatch {
        token: u32,
        messages: Vec<Arc<Message>>,
        complete: bool,
    },
    /// A connected session of the sender joins a shared subscription of the receiver.
    Join {
        group: Arc<str>,
        member: SessionKey,
        token: u32,
    },
    /// It leaves it.
    Leave { group: Arc<str>, member: SessionKey },
    /// Its connection came or went.
    MemberOnline {
        group: Arc<str>,
        member: SessionKey,
        online: bool,
    },
    /// The group's shard chose this session of the receiver.
    Assign {
        group: Arc<str>,
        member: SessionKey,
        message: Arc<Message>,
        source: Option<Publisher>,
    },
    /// A delivery was completed.
    Settled { group: Arc<str>, member: SessionKey },
    /// A message that the sender's member cannot complete.
    Return {
        group: Arc<str>,
        message: Arc<Message>,
    },
    /// Take no more from this connection of the receiver for now.
    Hold { connection: ConnectionKey },
    /// Go on.
    Release { connection: ConnectionKey },
}

impl PeerMessage {
    fn weight_bytes(&self) -> usize {
        let beside = match self {
            PeerMessage::Publish { message, .. }
            | PeerMessage::Retain { message, .. }
            | PeerMessage::Assign { message, .. }
            | PeerMessage::Return { message, .. } => message.size_bytes(),
            PeerMessage::ReplayBatch { messages, .. } => messages.len() * size_of::<usize>(),
            PeerMessage::Interest { filter, .. }
            | PeerMessage::InterestWithdrawn { filter }
            | PeerMessage::ReplayOpen { filter, .. } => filter.len(),
            PeerMessage::InterestNoted { .. }
            | PeerMessage::Retained { .. }
            | PeerMessage::ReplayNext { .. }
            | PeerMessage::ReplayClose { .. }
            | PeerMessage::Join { .. }
            | PeerMessage::Leave { .. }
            | PeerMessage::MemberOnline { .. }
            | PeerMessage::Settled { .. }
            | PeerMessage::Hold { .. }
            | PeerMessage::Release { .. } => 0,
        };
        size_of::<PeerMessage>() + beside
    }
}
