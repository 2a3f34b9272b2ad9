//! Who may be behind a filter in the index, and on what terms.

use nexum_types::{QoS, RetainHandling, SubscriptionOptions};

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
}

/// The terms of one subscription, in eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// 0 is none.
    identifier: u32,
    maximum_qos: QoS,
    no_local: bool,
    retain_as_published: bool,
}

impl Subscription {
    pub(crate) fn new(options: SubscriptionOptions, identifier: Option<u32>) -> Subscription {
        Subscription {
            identifier: identifier.unwrap_or(0),
            maximum_qos: options.maximum_qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
        }
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
