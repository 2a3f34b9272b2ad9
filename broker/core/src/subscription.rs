//! Who may be behind a filter in the index, and on what terms.

use nexum_types::{QoS, RetainHandling, SubscriptionOptions};

use crate::record::SubscriptionRecord;
use crate::shared_subscription::GroupId;

/// Somebody who gets what matches a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subscriber {
    /// A session of this shard, by its place in the table.
    Session(u32),
    /// A SUBSCRIBE that waits for other shards to note it, by its token; gets nothing yet.
    Pending(u32),
    /// A shared subscription whose members this shard chooses from.
    Group(GroupId),
    /// Another shard, which has subscribers of its own.
    Peer(u16),
    /// An extension, by the place of its capture in the table.
    Capture(u32),
}

/// The terms of one subscription, in eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// 0 is none.
    identifier: u32,
    maximum_qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    /// The subscriber, or one behind it, keeps what it gets beyond its connection.
    durable: bool,
}

impl Subscription {
    pub(crate) fn new(
        options: SubscriptionOptions,
        identifier: Option<u32>,
        durable: bool,
    ) -> Subscription {
        Subscription {
            identifier: identifier.unwrap_or(0),
            maximum_qos: options.maximum_qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            durable,
        }
    }

    /// That of another shard or of a group, which have terms of their own.
    pub(crate) fn of_others(durable: bool) -> Subscription {
        Subscription {
            durable,
            ..Subscription::default()
        }
    }

    pub(crate) fn of_record(record: SubscriptionRecord) -> Subscription {
        Subscription {
            identifier: record.identifier.unwrap_or(0),
            maximum_qos: record.maximum_qos,
            no_local: record.no_local,
            retain_as_published: record.retain_as_published,
            durable: true,
        }
    }

    pub(crate) fn record(self) -> SubscriptionRecord {
        SubscriptionRecord {
            maximum_qos: self.maximum_qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            identifier: (self.identifier != 0).then_some(self.identifier),
        }
    }

    pub(crate) fn is_durable(self) -> bool {
        self.durable
    }

    pub(crate) fn maximum_qos(self) -> QoS {
        self.maximum_qos
    }

    pub(crate) fn no_local(self) -> bool {
        self.no_local
    }

    pub(crate) fn retain_as_published(self) -> bool {
        self.retain_as_published
    }

    /// None or one.
    pub(crate) fn identifiers(&self) -> &[u32] {
        if self.identifier == 0 {
            &[]
        } else {
            std::slice::from_ref(&self.identifier)
        }
    }
}

/// Whether retained messages are due for a SUBSCRIBE ([MQTT-3.3.1-9], -10, -11).
pub(crate) fn wants_retained(handling: RetainHandling, existed: bool) -> bool {
    match handling {
        RetainHandling::SendAtSubscribe => true,
        RetainHandling::SendIfNew => !existed,
        RetainHandling::DoNotSend => false,
    }
}
