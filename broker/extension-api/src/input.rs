//! What goes into an extension.

use std::borrow::Cow;
use std::sync::Arc;

use nexum_types::{Message, QoS, ReasonCode};

use crate::address::Address;
use crate::change::RecordKey;
use crate::id::{
    CaptureId, CommandId, ConsumerId, DeliveryId, FeedId, PublicationId, ReadId, ReceiptId, WriteId,
};
use crate::options::Options;
use crate::refusal::Refusal;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Everything was restored; nothing else comes before. The seed is another one at each start.
    Start {
        /// For what should not be the same for all, such as jitter.
        seed: u64,
    },
    /// A client, a will, another extension or the administration wants something done. It has
    /// exactly one [`Output::Reply`](crate::Output::Reply).
    Command(Command),
    /// A message matched a capture. Its receipt, if it has one, has exactly one
    /// [`Output::Commit`](crate::Output::Commit).
    Captured(Captured),
    /// A session that has feeds here, or is about to, is connected: it may be sent so many
    /// deliveries more. Each [`Input::Settled`] gives one back.
    Attach {
        /// Who.
        consumer: ConsumerId,
        /// How many.
        credit: u32,
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// It speaks MQTT 5, so that what stands beside a message reaches it.
        takes_properties: bool,
    },
    /// A consumer wants a feed: answered by [`Output::Grant`](crate::Output::Grant) or
    /// [`Output::Refuse`](crate::Output::Refuse).
    Subscribe(Subscribe),
    /// A feed is over; what was delivered on it may yet be settled.
    Unsubscribe(Unsubscribe),
    /// A consumer has lost its connection, or its session has ended. Its feeds are over, whether or
    /// not that was said of each, its credit is void, and nothing that was delivered to it will be
    /// settled, but for what is still on its way: that comes back as [`Outcome::Undelivered`].
    Detach {
        /// Who.
        consumer: ConsumerId,
        /// What it was sent and has not answered; whatever else was delivered was on its way.
        unanswered: Vec<DeliveryId>,
        /// The session is gone; otherwise it may come back, under the same name, and this may come
        /// once more when it does not.
        has_ended: bool,
    },
    /// A delivery is over, and the consumer has one credit more.
    Settled {
        /// Whose.
        consumer: ConsumerId,
        /// Which.
        delivery: DeliveryId,
        /// How it went.
        outcome: Outcome,
    },
    /// What became of a [`Write`](crate::Output::Write).
    Written {
        /// Which.
        write: WriteId,
        /// Why it is not stored, if it is not.
        refused: Option<WriteRefusal>,
    },
    /// What was [read](crate::Output::Read).
    Read {
        /// Which.
        read: ReadId,
        /// The values in the order of the keys; `None` where there is none.
        values: Vec<Option<Box<[u8]>>>,
    },
    /// What was [scanned](crate::Output::Scan).
    Scanned {
        /// Which.
        read: ReadId,
        /// What is stored, in the order of the keys. A damaged record is left out.
        records: Vec<(RecordKey, Box<[u8]>)>,
        /// Where to go on; `None` if there is nothing more.
        next: Option<RecordKey>,
    },
    /// What became of a [`Publish`](crate::Output::Publish): everybody who promised to keep it has
    /// it, and its changes are stored; or it was refused and they are not.
    Published {
        /// Which.
        publication: PublicationId,
        /// Why not.
        refused: Option<Refusal>,
    },
}

/// Something published to an address.
#[derive(Clone, Debug)]
pub struct Command {
    /// For the reply.
    pub id: CommandId,
    /// Where.
    pub address: Address,
    /// The payload, the properties that travel with it, its QoS and its expiry. The topic is as it
    /// was published, with wrappers and aliases.
    pub message: Arc<Message>,
    /// What was asked for beside it.
    pub options: Option<Box<Options>>,
    /// The Client Identifier of who published it; the broker itself has none.
    pub client_id: Option<Arc<str>>,
}

/// A message that matched a capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Which.
    pub capture: CaptureId,
    /// Whoever waits until it is kept. A message of QoS 0 has none.
    pub receipt: Option<ReceiptId>,
    /// The message, under its own topic.
    pub message: Arc<Message>,
}

/// A wish for a feed.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// What it will be called.
    pub feed: FeedId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// What it is of, without wrappers. May hold wildcards behind the name.
    pub address: Address,
    /// The highest QoS at which the consumer wants deliveries.
    pub maximum_qos: QoS,
    /// It wants what is there already, and not only what changes from now on: by Retain Handling,
    /// and whenever a session comes back.
    pub wants_present: bool,
    /// The share name, if it is `$share/<name>/…`.
    pub share_name: Option<Box<str>>,
    /// What was asked for beside it.
    pub options: Option<Box<Options>>,
}

/// The end of a feed: by its consumer's wish, or because its consumer is about to be detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Which.
    pub feed: FeedId,
    /// Whose it was.
    pub consumer: ConsumerId,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// PUBACK or PUBCOMP; or it was sent at QoS 0.
    Done,
    /// PUBACK or PUBREC with an error.
    Refused(ReasonCode),
    /// It is larger than the consumer takes, and was not sent ([MQTT-3.1.2-24]).
    TooLarge,
    /// Its feed was over before it could be sent: as if it had never been delivered.
    Undelivered,
}

/// Why a write is not stored. What it was to add will not be there after a crash either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRefusal {
    /// For people.
    pub reason: Cow<'static, str>,
}
