//! A session: what the broker keeps for a client, connected or not (section 4.1).
//!
//! A session belongs to one shard, the one its Client Identifier hashes to, for its whole life;
//! connections come to it. It holds subscriptions, exchanges in flight in both directions,
//! messages that wait, and the will of its connection. It knows no socket and encodes nothing.

pub(crate) mod inflight;
mod received;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_types::{ClientId, Message, PacketIdentifier, QoS, Time};

use crate::key::ConnectionKey;
use crate::limits::Limits;
use crate::peer::Publisher;
use crate::record::{SubscriptionIdentifierList, Will};
use crate::replay::{Replay, ReplayRequests};
use crate::shared_subscription::GroupId;
use crate::subscription_index::FilterId;

pub(crate) use inflight::{Acknowledged, Awaiting, Exchange, Inflight};
pub(crate) use received::ReceivedIdentifiers;

/// One message for one session: what to send, and how.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// The lower of the QoS it was published at and the one subscribed.
    pub(crate) qos: QoS,
    /// The RETAIN flag to send.
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: SubscriptionIdentifierList,
    /// The shared subscription it was chosen for, which wants it back if this session cannot
    /// complete it.
    pub(crate) group: Option<GroupId>,
}

pub(crate) struct Session {
    pub(crate) generation: u32,
    pub(crate) client_id: ClientId,
    pub(crate) connection: Option<ConnectionKey>,
    /// How long it outlives its connection; 0 ends both together, `u32::MAX` is for ever.
    pub(crate) expiry_interval_seconds: u32,
    /// When the connection was lost, while there is none.
    pub(crate) disconnected_at: Time,
    /// When the timer fires that looks at its absence.
    pub(crate) watched_at: Option<Time>,
    pub(crate) subscriptions: BTreeSet<FilterId>,
    pub(crate) shared_subscriptions: BTreeSet<GroupId>,
    /// Bytes of the filters of both, with the names of the groups.
    pub(crate) subscription_bytes: u64,
    /// QoS 1 and 2 towards the client.
    pub(crate) inflight: Inflight,
    /// Deliveries in flight that were sent on the present connection, and so use up its quota.
    pub(crate) quota_used: u16,
    /// What the client's Receive Maximum and the broker's own limit allow.
    pub(crate) quota: u16,
    /// Exchanges from this position on are to be sent again before anything new.
    pub(crate) resend_from: Option<u64>,
    pub(crate) queue: VecDeque<Delivery>,
    /// Bytes of the messages waiting or in flight.
    pub(crate) queue_bytes: u64,
    /// An overflow was reported and there was no room since.
    pub(crate) overflowing: bool,
    /// QoS 2 publications received and not released.
    pub(crate) received: ReceivedIdentifiers,
    /// How many of them there were when the present connection came.
    pub(crate) received_before: u16,
    pub(crate) will: Option<Arc<Will>>,
    /// Retained messages still to be sent for new subscriptions.
    pub(crate) replays: VecDeque<Replay>,
    /// Those that wait until some of these are done; `None` is almost always.
    pub(crate) replay_requests: Option<Box<ReplayRequests>>,
    /// Publishers held back until this session has caught up.
    pub(crate) held_publishers: BTreeSet<Publisher>,
    /// Since when the first of them is.
    pub(crate) held_since: Time,
    /// Until when this session may not hold publishers back: it was too slow the last time.
    pub(crate) no_backpressure_until: Time,
}

/// How a message fared with a session's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enqueued {
    /// It waits.
    Waiting,
    /// It waits, and the queue is more than half full.
    NearlyFull,
    /// There was no room.
    Full,
}

impl Session {
    pub(crate) fn new(client_id: ClientId, generation: u32) -> Session {
        Session {
            generation,
            client_id,
            connection: None,
            expiry_interval_seconds: 0,
            disconnected_at: Time::ZERO,
            watched_at: None,
            subscriptions: BTreeSet::new(),
            shared_subscriptions: BTreeSet::new(),
            subscription_bytes: 0,
            inflight: Inflight::new(),
            quota_used: 0,
            quota: 0,
            resend_from: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            overflowing: false,
            received: ReceivedIdentifiers::default(),
            received_before: 0,
            will: None,
            replays: VecDeque::new(),
            replay_requests: None,
            held_publishers: BTreeSet::new(),
            held_since: Time::ZERO,
            no_backpressure_until: Time::ZERO,
        }
    }

    /// Whether it outlives its connection, so that what is in flight may be asked for again.
    pub(crate) fn is_persistent(&self) -> bool {
        self.expiry_interval_seconds > 0
    }

    /// When its will is due, while it has no connection.
    pub(crate) fn will_due(&self) -> Option<Time> {
        let will = self.will.as_ref()?;
        let delay = Duration::from_secs(u64::from(will.delay_interval_seconds));
        Some(self.disconnected_at + delay)
    }

    /// When it ends, while it has no connection.
    pub(crate) fn end_due(&self) -> Option<Time> {
        let interval = Duration::from_secs(u64::from(self.expiry_interval_seconds));
        (self.expiry_interval_seconds != u32::MAX).then(|| self.disconnected_at + interval)
    }

    /// When the next of the two is due.
    pub(crate) fn absence_due(&self) -> Option<Time> {
        match (self.will_due(), self.end_due()) {
            (Some(will), Some(end)) => Some(will.min(end)),
            (will, end) => will.or(end),
        }
    }

    /// Whether the next QoS 1 or 2 delivery may be sent at once: nothing is before it, and the
    /// client has quota ([MQTT-3.3.4-7], [MQTT-3.3.4-9]).
    pub(crate) fn may_send(&self) -> bool {
        self.queue.is_empty() && self.resend_from.is_none() && self.quota_used < self.quota
    }

    /// Whether anything waits to be sent that does not come from a publisher now.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.queue.is_empty() || self.resend_from.is_some() || self.wants_replay()
    }

    /// Whether retained messages are still to be sent.
    pub(crate) fn wants_replay(&self) -> bool {
        !self.replays.is_empty() || self.replay_requests.is_some()
    }

    /// PUBACK or PUBCOMP, or PUBREC with an error: the exchange is over. Its place in the quota is
    /// free, unless it was not sent again on this connection yet and so took none.
    pub(crate) fn complete(&mut self, id: PacketIdentifier, awaiting: Awaiting) -> Acknowledged {
        let took_quota = self
            .resend_from
            .is_none_or(|from| self.inflight.position(id).is_some_and(|at| at < from));
        let acknowledged = self.inflight.complete(id, awaiting);
        if took_quota && matches!(acknowledged, Acknowledged::Completed(_)) {
            self.quota_used -= 1;
        }
        acknowledged
    }

    pub(crate) fn enqueue(&mut self, delivery: Delivery, limits: &Limits) -> Enqueued {
        let bytes = delivery.message.size_bytes() as u64;
        let count = self.queue.len() as u64 + 1;
        let total = self.queue_bytes + bytes;
        let (most, most_bytes) = (
            u64::from(limits.session_queue_messages),
            limits.session_queue_bytes,
        );
        if count > most || total > most_bytes {
            return Enqueued::Full;
        }
        self.queue.push_back(delivery);
        self.queue_bytes = total;
        if count * 2 > most || total * 2 > most_bytes {
            Enqueued::NearlyFull
        } else {
            Enqueued::Waiting
        }
    }

    /// A delivery is no longer waiting and not in flight either: its bytes are free again.
    pub(crate) fn release_bytes(&mut self, delivery: &Delivery) {
        self.queue_bytes = self
            .queue_bytes
            .saturating_sub(delivery.message.size_bytes() as u64);
    }

    /// Whether it has caught up so far that publishers need not be held back for it.
    pub(crate) fn has_caught_up(&self, limits: &Limits) -> bool {
        (self.queue.len() as u64) * 4 <= u64::from(limits.session_queue_messages)
            && self.queue_bytes * 4 <= limits.session_queue_bytes
    }
}
