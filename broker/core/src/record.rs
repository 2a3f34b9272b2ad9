//! What a shard wants kept beyond its own life, in words of MQTT.
//!
//! The shell makes bytes of it and a store keeps them; after a restart what was kept comes back by
//! [`Shard::restore`](crate::Shard::restore). Everything is a value under a key, so whatever goes
//! wrong on the way can be put right by writing the present value of the keys concerned.

use std::sync::Arc;

use nexum_types::{Message, PacketIdentifier, QoS, Time};
use smallvec::SmallVec;

/// The Subscription Identifiers that go with one delivery; almost always none or one.
pub type SubscriptionIdentifierList = SmallVec<[u32; 2]>;

/// Names a session in the store. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names a message in the store that several deliveries share. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A session that outlives its connection.
    Session(SessionId),
    /// One of its subscriptions, by the filter as SUBSCRIBE named it.
    Subscription(SessionId, Arc<str>),
    /// The will of its connection.
    Will(SessionId),
    /// A message that waits for its client, or is in flight to it; positions are the order of sending.
    Delivery(SessionId, u64),
    /// An exchange with the client, where [`DeliveryRecord::packet_identifier`] does not tell it.
    Exchange(SessionId, PacketIdentifier),
    /// A QoS 2 publication of the client, received and not released.
    Received(SessionId, PacketIdentifier),
    /// A message that several deliveries share.
    Message(MessageId),
    /// A message that waits for any member of a shared subscription, by `<ShareName>/<filter>`.
    Waiting(Arc<str>, u64),
    /// The retained message of a topic.
    Retained(Arc<str>),
    /// A record of an extension's, in its table, which alone knows what it means.
    Extension(u16, Arc<[u8]>),
}

/// A record, under the [`Key`] of the same name.
#[derive(Clone, Debug)]
pub enum Value {
    /// Under [`Key::Session`].
    Session(SessionRecord),
    /// Under [`Key::Subscription`].
    Subscription(SubscriptionRecord),
    /// Under [`Key::Will`].
    Will(Arc<Will>),
    /// Under [`Key::Delivery`]; never changed, only deleted.
    Delivery(DeliveryRecord),
    /// Under [`Key::Exchange`].
    Exchange(ExchangeRecord),
    /// Under [`Key::Received`].
    Received,
    /// Under [`Key::Message`]; never changed, only deleted.
    Message(Arc<Message>),
    /// Under [`Key::Waiting`]; never changed, only deleted.
    Waiting(MessageId),
    /// Under [`Key::Retained`].
    Retained(Arc<Message>),
    /// Under [`Key::Extension`].
    Extension(Arc<[u8]>),
}

/// One difference between what is kept and what is to be kept.
#[derive(Clone, Debug)]
pub enum Change {
    /// The key has this value from now on.
    Put(Key, Value),
    /// The key has none.
    Delete(Key),
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Whose it is.
    pub client_id: Arc<str>,
    /// How long it outlives its connection; `u32::MAX` is for ever, 0 that it ends with it.
    pub expiry_interval_seconds: u32,
    /// Since when it has no connection; `None` while it has one.
    pub disconnected_at: Option<Time>,
}

/// On what terms a session gets what matches a filter (section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// Maximum QoS.
    pub maximum_qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// The Subscription Identifier.
    pub identifier: Option<u32>,
}

/// The will of a connection (section 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: Box<str>,
    /// As in [`MessageParts`](nexum_types::MessageParts).
    pub properties: Box<[u8]>,
    /// The application's bytes.
    pub payload: Box<[u8]>,
    /// At which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// How long after the connection.
    pub delay_interval_seconds: u32,
    /// How long it is worth delivering, from then on.
    pub message_expiry_interval_seconds: Option<u32>,
}

/// One message for one session.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// The message.
    pub content: Content,
    /// At which QoS it is delivered.
    pub qos: QoS,
    /// The RETAIN flag it is delivered with.
    pub retain: bool,
    /// The Subscription Identifiers it is delivered with.
    pub subscription_identifiers: SubscriptionIdentifierList,
    /// The shared subscription it was chosen for, as `<ShareName>/<filter>`.
    pub group: Option<Arc<str>>,
    /// The Packet Identifier, if it was given one when it came.
    pub packet_identifier: Option<PacketIdentifier>,
}

/// Where the message of a delivery is.
#[derive(Clone, Debug)]
pub enum Content {
    /// In the delivery's own record.
    Inline(Arc<Message>),
    /// In a record of its own: others share it.
    Shared {
        /// Under which name.
        id: MessageId,
        /// Its [`size_bytes`](Message::size_bytes).
        size_bytes: u32,
    },
}

/// An exchange with a client about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRecord {
    /// The position of the delivery.
    pub position: u64,
    /// PUBREC came: the message is not needed any more, PUBREL is due.
    pub released: bool,
}

/// The changes of one turn of a shard, to be kept together or not at all.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Names it in the answer; they are numbered as they come.
    pub sequence: u64,
    /// In this order.
    pub changes: Arc<[Change]>,
    /// Others before it have no answer. A store that has no room takes deletions all the same; these
    /// it must not take while it refuses one before.
    pub follows_others: bool,
    /// About how much memory it holds, in bytes.
    pub weight_bytes: usize,
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its number.
    pub sequence: u64,
    /// Why it is not kept, if it is not.
    pub refused: Option<StoreRefusal>,
}

/// Why changes are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRefusal {
    /// Whether it is certain that they will not be found after a crash. After a failed write or sync
    /// it is not before the store has verified what is on the disk.
    pub is_certain: bool,
    /// For the log.
    pub reason: Arc<str>,
}

/// Names a request for messages that the store alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub(crate) u32);

/// A record as it comes back after a restart. What belongs to a session comes after it.
#[derive(Clone, Debug)]
pub enum Restored {
    /// A session, on the shard that [`home_of`](crate::home_of) names.
    Session(SessionId, SessionRecord),
    /// A subscription of it.
    Subscription(SessionId, Arc<str>, SubscriptionRecord),
    /// Its will.
    Will(SessionId, Will),
    /// A delivery, without its message. In the order of positions.
    Delivery {
        /// Whose it is.
        session: SessionId,
        /// Its place in the order of sending.
        position: u64,
        /// The record that has the message, if it is not the delivery's own.
        shared: Option<MessageId>,
        /// Of the message.
        size_bytes: u32,
        /// As in [`DeliveryRecord`].
        qos: QoS,
        /// As in [`DeliveryRecord`].
        retain: bool,
        /// As in [`DeliveryRecord`].
        subscription_identifiers: SubscriptionIdentifierList,
        /// As in [`DeliveryRecord`].
        group: Option<Arc<str>>,
        /// As in [`DeliveryRecord`].
        packet_identifier: Option<PacketIdentifier>,
    },
    /// An exchange; after the deliveries.
    Exchange(SessionId, PacketIdentifier, ExchangeRecord),
    /// A QoS 2 publication received.
    Received(SessionId, PacketIdentifier),
    /// A shared message that so many deliveries and waiting messages name, over all shards; on the
    /// shard that [`MessageId::owner`] names.
    Message(MessageId, u32),
    /// A message that waits in a shared subscription, without itself; on the shard that
    /// [`home_of`](crate::home_of) names for the group. In the order of positions.
    Waiting {
        /// `<ShareName>/<filter>`.
        group: Arc<str>,
        /// Its place in the order.
        position: u64,
        /// The message.
        message: MessageId,
        /// Its size.
        size_bytes: u32,
    },
    /// A retained message, on the shard that [`home_of`](crate::home_of) names for its topic.
    Retained(Arc<Message>),
}

impl MessageId {
    /// The shard, of so many, that counts who shares the message.
    #[must_use]
    pub fn owner(self, shards: u16) -> crate::ShardId {
        crate::ShardId((self.0 % u64::from(shards.max(1))) as u16)
    }
}

impl Key {
    fn weight_bytes(&self) -> usize {
        match self {
            Key::Subscription(_, text) | Key::Waiting(text, _) | Key::Retained(text) => text.len(),
            Key::Extension(_, key) => key.len(),
            Key::Session(_)
            | Key::Will(_)
            | Key::Delivery(..)
            | Key::Exchange(..)
            | Key::Received(..)
            | Key::Message(_) => 0,
        }
    }
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Change::Put(key, _) | Change::Delete(key) => key,
        }
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        let beside = match self {
            Change::Delete(key) => key.weight_bytes(),
            Change::Put(key, value) => {
                key.weight_bytes()
                    + match value {
                        Value::Will(will) => will.payload.len() + will.topic.len(),
                        Value::Delivery(DeliveryRecord {
                            content: Content::Inline(message),
                            ..
                        })
                        | Value::Message(message)
                        | Value::Retained(message) => message.size_bytes(),
                        Value::Session(session) => session.client_id.len(),
                        Value::Extension(value) => value.len(),
                        Value::Subscription(_)
                        | Value::Delivery(_)
                        | Value::Exchange(_)
                        | Value::Received
                        | Value::Waiting(_) => 0,
                    }
            }
        };
        size_of::<Change>() + beside
    }
}
