//! What shards say to each other.
//!
//! Each pair of shards has a channel in each direction that keeps order; everything that must
//! stay in order (a publisher's messages on a topic, interest before the answer to SUBSCRIBE)
//! relies on that and on nothing else.

use std::sync::Arc;

use nexum_extension_api::{ErrorCode, Refusal};

use nexum_types::{Message, QoS};

use crate::key::{ConnectionKey, SessionKey, ShardId};
use crate::record::{Change, Key, MessageId, SubscriptionRecord};

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

/// Somebody of one shard who waits until a publication is safe; only that shard knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// An acknowledgement that a connection owes.
    Owed {
        connection: ConnectionKey,
        sequence: u32,
    },
    /// A promise, by its place in the table.
    Promise(u32),
}

/// Why somebody who should keep a message does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    /// The session is full.
    SessionFull,
    /// The store takes nothing.
    StoreRefuses,
    /// An extension says why.
    Refused(Arc<Refusal>),
}

impl NotKept {
    /// What its publisher is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            NotKept::StoreRefuses => Refusal::new(
                ErrorCode::Unavailable,
                "the broker cannot store messages now; try again later",
            ),
            NotKept::SessionFull => Refusal::new(
                ErrorCode::QuotaExceeded,
                "a subscriber that is to get it has no room for it",
            ),
            NotKept::Refused(refusal) => Refusal::clone(refusal),
        }
    }
}

/// What another shard hands to the shard that commits a joint publication.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) changes: Vec<Change>,
    /// Who is to hear of the commit, and what each calls it.
    pub(crate) tickets: Vec<(ShardId, u32)>,
}

/// What is to be deleted in the same submission in which a message that moves is kept anew.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) old: Key,
    /// The shared message that the old record names, whose reference goes with it.
    pub(crate) reference: Option<MessageId>,
}

/// A member of a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberKey {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionKey,
}

/// That a session wants a filter exclusively.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) filter: Box<str>,
    pub(crate) member: MemberKey,
    /// The SUBSCRIBE that waits for the answer.
    pub(crate) token: u32,
}

/// The terms of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberTerms {
    pub(crate) maximum_qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_identifier: Option<u32>,
}

impl MemberTerms {
    pub(crate) fn record(self) -> SubscriptionRecord {
        SubscriptionRecord {
            maximum_qos: self.maximum_qos,
            no_local: false,
            retain_as_published: self.retain_as_published,
            identifier: self.subscription_identifier,
        }
    }

    pub(crate) fn of_record(record: SubscriptionRecord) -> MemberTerms {
        MemberTerms {
            maximum_qos: record.maximum_qos,
            retain_as_published: record.retain_as_published,
            subscription_identifier: record.identifier,
        }
    }
}

#[derive(Debug)]
pub(crate) enum PeerMessage {
    /// For the receiver's own subscribers.
    Publish {
        message: Arc<Message>,
        source: Option<Publisher>,
        /// Its publisher is told if it cannot be kept.
        revocable: bool,
        /// Answered by `Kept` whatever becomes of it.
        receipt: Option<Receipt>,
        /// The sender commits what the receiver keeps of it.
        joint: bool,
        /// Its record, if it is joint and several keep it, with a reference for the receiver.
        shared: Option<MessageId>,
    },
    /// The sender has a subscriber to this filter now.
    Interest {
        filter: Box<str>,
        token: u32,
        /// One that keeps what it gets.
        durable: bool,
    },
    /// Whatever is published from here on and matches will be forwarded.
    InterestNoted { token: u32 },
    /// The sender has no subscriber to this filter any more.
    InterestWithdrawn { filter: Box<str> },
    /// The receiver keeps the retained message of this topic.
    Retain {
        message: Arc<Message>,
        receipt: Option<Receipt>,
    },
    /// Everybody at the sender who is to keep a message has it safe, or not.
    Kept {
        receipt: Receipt,
        refused: Option<NotKept>,
        /// What the receiver is to commit, if the publication is joint.
        prepared: Option<Box<Prepared>>,
    },
    /// A joint publication was committed, or was not.
    JointStored { ticket: u32, kept: bool },
    /// One more shares a message of the receiver's.
    Share { message: MessageId },
    /// One of those who share a message of the receiver's needs it no more.
    Forget { message: MessageId },
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
        /// It keeps what it gets beyond its connection.
        durable: bool,
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
        /// Its publisher is told if it cannot be kept.
        revocable: bool,
        receipt: Option<Receipt>,
        moved: Vec<Moved>,
    },
    /// A session of the sender wants a filter of the receiver's exclusively.
    Reserve(Claim),
    /// A session of the receiver has what another one wants. Answered by
    /// [`Contested`](PeerMessage::Contested), behind which nothing is under way that was said of it
    /// before.
    Contest { holder: MemberKey, claim: Claim },
    /// The answer.
    Contested { holder: MemberKey, claim: Claim },
    /// Whether it has it.
    Reserved { claim: Claim, granted: bool },
    /// It wants it no more.
    Unreserve { filter: Box<str>, member: MemberKey },
    /// A delivery was completed.
    Settled { group: Arc<str>, member: SessionKey },
    /// A message that the sender's member cannot complete.
    Return {
        group: Arc<str>,
        message: Arc<Message>,
        receipt: Option<Receipt>,
        moved: Vec<Moved>,
    },
    /// The same of a message that the store alone has; it comes with its reference.
    ReturnUnloaded {
        group: Arc<str>,
        record: MessageId,
        size_bytes: u32,
        old: Option<Key>,
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
            PeerMessage::Kept { prepared, .. } => prepared.as_ref().map_or(0, |prepared| {
                prepared.changes.iter().map(Change::weight_bytes).sum()
            }),
            PeerMessage::Interest { filter, .. }
            | PeerMessage::InterestWithdrawn { filter }
            | PeerMessage::Reserve(Claim { filter, .. })
            | PeerMessage::Contest {
                claim: Claim { filter, .. },
                ..
            }
            | PeerMessage::Contested {
                claim: Claim { filter, .. },
                ..
            }
            | PeerMessage::Reserved {
                claim: Claim { filter, .. },
                ..
            }
            | PeerMessage::Unreserve { filter, .. }
            | PeerMessage::ReplayOpen { filter, .. } => filter.len(),
            PeerMessage::InterestNoted { .. }
            | PeerMessage::JointStored { .. }
            | PeerMessage::Share { .. }
            | PeerMessage::Forget { .. }
            | PeerMessage::ReturnUnloaded { .. }
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
