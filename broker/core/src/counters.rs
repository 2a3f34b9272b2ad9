//! What a shard counts. Plain numbers: the shard owns them, the shell copies them out.

/// Why a message was not delivered to a subscriber that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// QoS 0 to a connection whose outbound buffer is full.
    SlowConsumer,
    /// The session's queue is full, in count or bytes.
    QueueFull,
    /// Larger than the client's Maximum Packet Size.
    TooLargeForClient,
    /// Its Message Expiry Interval passed while it waited.
    Expired,
    /// QoS 0 to a session without a connection.
    Offline,
    /// The session ended with messages still in it.
    SessionEnded,
    /// A retained message beyond the store's bounds.
    RetainedFull,
    /// Published to a topic that is not open to clients.
    Refused,
    /// It waited on the disk, and could not be read from there.
    Unreadable,
    /// The disk takes nothing, so it could not be kept for a session.
    StoreRefuses,
}

impl DropReason {
    /// Every reason, in the order of [`Counters::dropped`].
    pub const ALL: [DropReason; 10] = [
        DropReason::SlowConsumer,
        DropReason::QueueFull,
        DropReason::TooLargeForClient,
        DropReason::Expired,
        DropReason::Offline,
        DropReason::SessionEnded,
        DropReason::RetainedFull,
        DropReason::Refused,
        DropReason::Unreadable,
        DropReason::StoreRefuses,
    ];

    /// The word used as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            DropReason::SlowConsumer => "slow_consumer",
            DropReason::QueueFull => "queue_full",
            DropReason::TooLargeForClient => "too_large_for_client",
            DropReason::Expired => "expired",
            DropReason::Offline => "offline",
            DropReason::SessionEnded => "session_ended",
            DropReason::RetainedFull => "retained_full",
            DropReason::Refused => "refused",
            DropReason::Unreadable => "unreadable",
            DropReason::StoreRefuses => "store_refuses",
        }
    }
}

/// Totals since the shard began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of MQTT packets received.
    pub bytes_received: u64,
    /// Bytes of MQTT packets sent.
    pub bytes_sent: u64,
    /// Packets received of any type.
    pub packets_received: u64,
    /// PUBLISH packets received, by QoS.
    pub messages_received: [u64; 3],
    /// PUBLISH packets put out to clients, by QoS, without resends.
    pub messages_sent: [u64; 3],
    /// PUBLISH packets sent again with DUP after a reconnection.
    pub messages_resent: u64,
    /// Messages not delivered, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Connections the shell opened.
    pub connections_opened: u64,
    /// CONNECT packets accepted.
    pub connects_accepted: u64,
    /// CONNECT packets refused.
    pub connects_refused: u64,
    /// Connections closed because the client broke the protocol.
    pub protocol_errors: u64,
    /// Connections closed because the keep alive ran out.
    pub keep_alive_timeouts: u64,
    /// Sessions taken over by another connection.
    pub takeovers: u64,
    /// Wills published.
    pub wills_published: u64,
    /// Times a publisher was held back for a subscriber.
    pub backpressure_pauses: u64,
}

impl Counters {
    pub(crate) fn drop_message(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}

/// What is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Network connections, accepted or not.
    pub connections: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Subscriptions of sessions, shared ones included.
    pub subscriptions: u64,
    /// Groups of shared subscriptions.
    pub shared_groups: u64,
    /// Retained messages.
    pub retained: u64,
    /// Their topics, properties and payloads, in bytes.
    pub retained_bytes: u64,
    /// Memory of what waits for sockets, in bytes; a payload shared by many counts little for each.
    pub outbound_bytes: u64,
    /// Messages waiting in sessions, not in flight.
    pub queued_messages: u64,
    /// Messages in flight to clients.
    pub inflight_messages: u64,
}
