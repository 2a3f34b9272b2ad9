//! A session: what the broker keeps for a client, connected or not (section 4.1).
//!
//! A session belongs to one shard, the one its Client Identifier hashes to, for its whole life;
//! connections come to it. It holds subscriptions, exchanges in flight in both directions,
//! messages that wait, and the will of its connection. It knows no socket and encodes nothing.

pub(crate) mod inflight;
mod received;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_types::{ClientId, Message, PacketIdentifier, QoS, Time};

use crate::key::ConnectionKey;
use crate::limits::Limits;
use crate::peer::Publisher;
use crate::record::{Key, LoadId, MessageId, SessionId, SubscriptionIdentifierList, Will};
use crate::replay::{Replay, ReplayRequests};
use crate::shard::Arrival;
use crate::shared_subscription::GroupId;
use crate::subscription::Subscription;
use crate::subscription_index::FilterId;

pub(crate) use inflight::{Acknowledged, Awaiting, Exchange, FeedDelivery, Inflight};
pub(crate) use received::{Received, ReceivedIdentifiers};

/// One message for one session: what to send, and how.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// `None` while the store alone has it.
    pub(crate) message: Option<Arc<Message>>,
    /// The message's.
    pub(crate) size_bytes: u32,
    /// The lower of the QoS it was published at and the one subscribed.
    pub(crate) qos: QoS,
    /// The RETAIN flag to send.
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: SubscriptionIdentifierList,
    /// The shared subscription it was chosen for, which wants it back if this session cannot
    /// complete it.
    pub(crate) group: Option<GroupId>,
    /// Its place among the deliveries of the session.
    pub(crate) position: u64,
    pub(crate) record: DeliveryRecorded,
    /// The store has answered that it has the record.
    pub(crate) stored: bool,
}

/// What the store has of a delivery, or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryRecorded {
    /// Nothing: the session ends with its connection.
    Nothing,
    /// A record with the message in it.
    Inline,
    /// A record that names the message.
    Shared(MessageId),
}

impl Delivery {
    /// Whether it is in memory only until the store has it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.record != DeliveryRecorded::Nothing
    }

    /// Leaves the message to the store, if that has it.
    pub(crate) fn unload(&mut self) {
        if self.stored {
            self.message = None;
        }
    }

    /// The key of the record that has the message.
    pub(crate) fn message_key(&self, session: SessionId) -> Key {
        match self.record {
            DeliveryRecorded::Shared(id) => Key::Message(id),
            DeliveryRecorded::Inline | DeliveryRecorded::Nothing => {
                Key::Delivery(session, self.position)
            }
        }
    }
}

pub(crate) struct Session {
    pub(crate) generation: u32,
    pub(crate) client_id: ClientId,
    /// What the store calls it, if it has anything of it.
    pub(crate) id: Option<SessionId>,
    /// The store has it: its client may be told that it is there.
    pub(crate) stored: bool,
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
    /// Where the next delivery stands.
    pub(crate) next_position: u64,
    /// Exchanges whose next packet waits for the store, in the order in which it is to be sent.
    pub(crate) gates: VecDeque<PacketIdentifier>,
    /// The load that it waits for.
    pub(crate) load: Option<LoadId>,
    /// Filters under `$reply`: what is for this session alone.
    pub(crate) replies: Vec<(Box<str>, Subscription)>,
    /// Filters under `$exclusive`.
    pub(crate) exclusives: BTreeSet<Box<str>>,
    /// Filters that extensions serve.
    pub(crate) feeds: BTreeMap<Arc<str>, FeedTerms>,
    /// Extensions that know of its connection, a bit for each…
    pub(crate) attached: u64,
    /// …and that ever did.
    pub(crate) known_to: u64,
    /// How many of their deliveries the client takes at once.
    pub(crate) prefetch: u16,
    /// Deliveries of theirs that the client has not room for yet…
    pub(crate) arrivals: VecDeque<Arrival>,
    /// …and those whose identifier is on its way into the store.
    pub(crate) gated_arrivals: BTreeMap<PacketIdentifier, Arrival>,
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

/// The terms of a feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedTerms {
    /// What it is called while the session has a connection.
    pub(crate) key: Option<u64>,
    pub(crate) maximum_qos: QoS,
    pub(crate) identifier: Option<u32>,
    /// SUBACK said so.
    pub(crate) confirmed: bool,
}

/// A delivery whose message is to be brought back from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It waits, at this position.
    InQueue(u64),
    /// It is to be sent again.
    InFlight(PacketIdentifier),
}

impl Session {
    pub(crate) fn new(client_id: ClientId, generation: u32) -> Session {
        Session {
            generation,
            client_id,
            id: None,
            stored: false,
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
            next_position: 0,
            gates: VecDeque::new(),
            load: None,
            replies: Vec::new(),
            exclusives: BTreeSet::new(),
            feeds: BTreeMap::new(),
            attached: 0,
            known_to: 0,
            prefetch: 0,
            arrivals: VecDeque::new(),
            gated_arrivals: BTreeMap::new(),
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

    /// What the store calls it, if what it gets is to be kept beyond its connection.
    pub(crate) fn keeps(&self) -> Option<SessionId> {
        self.id.filter(|_| self.is_persistent())
    }

    /// Whether the next packet of an exchange waits for the store.
    pub(crate) fn is_gated(&mut self, id: PacketIdentifier) -> bool {
        self.inflight
            .get_mut(id)
            .is_some_and(|exchange| exchange.gated)
    }

    /// Takes the next position.
    pub(crate) fn take_position(&mut self) -> u64 {
        self.next_position += 1;
        self.next_position
    }

    /// The place in the queue of the delivery at a position.
    pub(crate) fn place_in_queue(&self, position: u64) -> Option<usize> {
        self.queue
            .binary_search_by_key(&position, |delivery| delivery.position)
            .ok()
    }

    /// Takes the delivery at a position out of its exchange.
    pub(crate) fn take_from_flight(&mut self, position: u64) -> Option<Delivery> {
        let exchanges = self
            .inflight
            .extract(|exchange| exchange.position == position);
        exchanges
            .into_iter()
            .find_map(|(_, exchange)| exchange.delivery)
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
        !self.queue.is_empty()
            || self.resend_from.is_some()
            || !self.arrivals.is_empty()
            || self.wants_replay()
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

    /// Whether a message of so many bytes may wait in it, too.
    pub(crate) fn has_room_for(&self, bytes: u64, limits: &Limits) -> bool {
        let (most, most_bytes) = self.bounds(limits);
        (self.queue.len() as u64) < most && self.queue_bytes + bytes <= most_bytes
    }

    /// A session that outlives its connections waits on the disk.
    pub(crate) fn bounds(&self, limits: &Limits) -> (u64, u64) {
        if self.keeps().is_some() {
            let messages = u64::from(limits.persistent_queue_messages);
            (messages, limits.persistent_queue_bytes)
        } else {
            let messages = u64::from(limits.session_queue_messages);
            (messages, limits.session_queue_bytes)
        }
    }

    /// Adds what [has room](Self::has_room_for). Returns whether it is so much that publishers
    /// should wait a moment.
    pub(crate) fn enqueue(&mut self, delivery: Delivery, limits: &Limits) -> bool {
        self.queue_bytes += u64::from(delivery.size_bytes);
        self.queue.push_back(delivery);
        (self.queue.len() as u64) * 2 > u64::from(limits.session_queue_messages)
            || self.queue_bytes * 2 > limits.session_queue_bytes
    }

    /// A delivery is no longer waiting and not in flight either: its bytes are free again.
    pub(crate) fn release_bytes(&mut self, delivery: &Delivery) {
        self.queue_bytes = self
            .queue_bytes
            .saturating_sub(u64::from(delivery.size_bytes));
    }

    /// Whether what waits in it may be in memory: its client is there, and it is not much.
    pub(crate) fn may_hold(&self, limits: &Limits) -> bool {
        self.connection.is_some()
            && self.queue.len() as u64 <= u64::from(limits.session_queue_messages)
            && self.queue_bytes <= limits.session_queue_bytes
    }

    /// Whether it has caught up so far that publishers need not be held back for it.
    pub(crate) fn has_caught_up(&self, limits: &Limits) -> bool {
        (self.queue.len() as u64) * 4 <= u64::from(limits.session_queue_messages)
            && self.queue_bytes * 4 <= limits.session_queue_bytes
    }
}
