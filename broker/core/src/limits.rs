//! Every bound of the broker's core, in one place, with the reason for its default.

use std::num::NonZeroU16;

/// What the core allows. Every queue and every table that a client can make grow has its bound
/// here; the configuration file names the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet accepted, in bytes, and announced to MQTT 5 clients. The protocol's own
    /// maximum is 268,435,460.
    pub maximum_packet_size_bytes: u32,
    /// Most levels of a topic name or filter; deeper ones are refused. Walks over topics are
    /// bounded by it.
    pub maximum_topic_levels: u16,
    /// Longest Client Identifier accepted, in bytes.
    pub maximum_client_id_bytes: u16,
    /// QoS 1 and 2 publications an MQTT 5 client may have unacknowledged towards the broker.
    pub receive_maximum: NonZeroU16,
    /// Aliases a client may set up on a connection: each may cost 64 KiB, the longest topic there is
    /// ([MQTT-3.3.2-11]: all are to be accepted).
    pub topic_alias_maximum: u16,
    /// Aliases the broker sets up towards a client, at most; the client's own maximum binds too.
    pub outbound_topic_alias_maximum: u16,
    /// QoS 1 and 2 deliveries in flight to one session, at most; the client's Receive Maximum
    /// binds too. MQTT 3.1.1 clients cannot announce one. Above 32,767, half of the Packet
    /// Identifiers, it is 32,767.
    pub maximum_inflight: NonZeroU16,
    /// Messages that wait in one session, in count…
    pub session_queue_messages: u32,
    /// …and in bytes of topic, properties and payload. In-flight messages count too.
    pub session_queue_bytes: u64,
    /// The same for a session that outlives its connections: what waits in it is on the disk, and
    /// takes some 100 bytes of memory each.
    pub persistent_queue_messages: u32,
    /// …and in bytes.
    pub persistent_queue_bytes: u64,
    /// What becomes of a message for such a session that is full.
    pub persistent_queue_overflow: QueueOverflow,
    /// Encoded bytes that wait for one connection's socket, at most. QoS 0 beyond it is shed;
    /// QoS 1 and 2 wait in the session's queue.
    pub outbound_buffer_bytes: u32,
    /// What waits for all sockets together, over all shards. Beyond it no connection may have more
    /// than 64 KiB waiting, so that many clients that do not read cost little each.
    pub total_outbound_bytes: u64,
    /// How long, in milliseconds, publishers are held back for a subscriber that is behind but
    /// catching up, before its overflow is shed. 0 turns it off.
    pub backpressure_milliseconds: u32,
    /// Longest Session Expiry Interval granted, in seconds; 4,294,967,295 is "never".
    pub maximum_session_expiry_seconds: u32,
    /// What a 3.1.1 client with Clean Session 0 gets, in seconds: that version has no expiry.
    pub v311_session_expiry_seconds: u32,
    /// What becomes of a 3.1.1 client whose PUBLISH is refused, which has no word for it: its
    /// connection ends, or else it is acknowledged and told by a notice on `$reply/-/err`.
    pub v311_refused_publish_closes: bool,
    /// How long the `id` of a publication to a plain topic is remembered: a repeat is acknowledged
    /// and dropped.
    pub deduplication_window_seconds: u32,
    /// Deliveries from queues and streams that a client which states no Receive Maximum may have
    /// unacknowledged.
    pub prefetch: NonZeroU16,
    /// Connections at once, over all shards.
    pub maximum_connections: u32,
    /// Sessions at once, connected or not, over all shards.
    pub maximum_sessions: u32,
    /// Subscriptions of one session, in count…
    pub maximum_subscriptions_per_session: u32,
    /// …and in bytes of their topic filters.
    pub maximum_subscription_bytes_per_session: u64,
    /// Retained messages, in count over all shards…
    pub maximum_retained_messages: u64,
    /// …and in bytes of topic, properties and payload.
    pub maximum_retained_bytes: u64,
    /// Bytes a connection may send before it is authenticated.
    pub authentication_bytes: u32,
    /// Seconds from the accepted socket to the accepted CONNECT.
    pub authentication_timeout_seconds: u16,
    /// Keep Alive the broker imposes on clients that ask for a longer one or none, in seconds;
    /// `None` leaves it to the client.
    pub server_keep_alive_seconds: Option<NonZeroU16>,
    /// How a shared subscription picks the member for a message.
    pub shared_subscription_strategy: SharedSubscriptionStrategy,
    /// How often a client gets a message that several of its subscriptions match.
    pub overlapping_subscriptions: OverlappingSubscriptions,
}

/// What becomes of a message for a full session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueOverflow {
    /// It is not kept, and an MQTT 5 publisher is told so: 0x97 (Quota exceeded). MQTT 3.1.1 has no
    /// word for it; there it is as with [`DropNewest`](QueueOverflow::DropNewest).
    #[default]
    Refuse,
    /// Those that have waited longest make room for it.
    DropOldest,
    /// It is not kept.
    DropNewest,
}

/// What a client gets of a message that several of its subscriptions match. The specification
/// leaves the choice ([MQTT-3.3.4-2] to [MQTT-3.3.4-5], MQTT 3.1.1 section 3.3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OverlappingSubscriptions {
    /// One copy at the highest QoS, with all Subscription Identifiers.
    #[default]
    Once,
    /// One copy for each subscription, at its QoS and with its Subscription Identifier.
    Each,
}

/// How the member that gets a message of a shared subscription is chosen (MQTT 5 section 4.8.2
/// leaves it to the server).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SharedSubscriptionStrategy {
    /// Each member in turn.
    #[default]
    RoundRobin,
    /// The member with the fewest deliveries unacknowledged or waiting.
    LeastInflight,
    /// The same key goes to the same member as long as it lives: the User Property `key`, or the
    /// topic name where there is none.
    Sticky,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            maximum_packet_size_bytes: 1024 * 1024,
            maximum_topic_levels: 128,
            maximum_client_id_bytes: 1024,
            receive_maximum: const { NonZeroU16::new(1024).expect("not zero") },
            topic_alias_maximum: 64,
            outbound_topic_alias_maximum: 64,
            maximum_inflight: const { NonZeroU16::new(16_384).expect("not zero") },
            session_queue_messages: 1000,
            session_queue_bytes: 16 * 1024 * 1024,
            persistent_queue_messages: 1_000_000,
            persistent_queue_bytes: 1024 * 1024 * 1024,
            persistent_queue_overflow: QueueOverflow::Refuse,
            outbound_buffer_bytes: 1024 * 1024,
            total_outbound_bytes: 512 * 1024 * 1024,
            backpressure_milliseconds: 100,
            maximum_session_expiry_seconds: u32::MAX,
            v311_session_expiry_seconds: 7 * 24 * 3600,
            v311_refused_publish_closes: false,
            deduplication_window_seconds: 120,
            prefetch: const { NonZeroU16::new(20).expect("not zero") },
            maximum_connections: 100_000,
            maximum_sessions: 1_000_000,
            maximum_subscriptions_per_session: 100_000,
            maximum_subscription_bytes_per_session: 16 * 1024 * 1024,
            maximum_retained_messages: 10_000_000,
            maximum_retained_bytes: 4 * 1024 * 1024 * 1024,
            authentication_bytes: 64 * 1024,
            authentication_timeout_seconds: 5,
            server_keep_alive_seconds: None,
            shared_subscription_strategy: SharedSubscriptionStrategy::RoundRobin,
            overlapping_subscriptions: OverlappingSubscriptions::Once,
        }
    }
}
