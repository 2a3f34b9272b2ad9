//! Small bounds, so that they are reached.

use std::num::NonZeroU16;

use nexum_core::{Limits, OverlappingSubscriptions, QueueOverflow, SharedSubscriptionStrategy};

use crate::operation::Setup;

/// The largest packet that the broker takes.
pub(super) const PACKET_BYTES: usize = 6_000;

pub(super) fn limits(setup: &Setup) -> Limits {
    Limits {
        maximum_packet_size_bytes: PACKET_BYTES as u32,
        maximum_topic_levels: 6,
        maximum_client_id_bytes: 8,
        receive_maximum: NonZeroU16::new(3).expect("not zero"),
        topic_alias_maximum: 2,
        outbound_topic_alias_maximum: 2,
        maximum_inflight: NonZeroU16::new(setup.inflight.of(&[2, 1, 4])).expect("not zero"),
        session_queue_messages: setup.queue.of(&[5, 1, 2, 50]),
        session_queue_bytes: setup.queue.of(&[20_000, 20_000, 400, 20_000]),
        persistent_queue_messages: setup.queue.of(&[6, 1, 3, 60]),
        persistent_queue_bytes: setup.queue.of(&[20_000, 20_000, 400, 20_000]),
        persistent_queue_overflow: setup.queue.of(&[
            QueueOverflow::Refuse,
            QueueOverflow::DropNewest,
            QueueOverflow::DropOldest,
            QueueOverflow::Refuse,
        ]),
        outbound_buffer_bytes: setup.outbound_buffer.of(&[2_000, 100, 20_000]),
        total_outbound_bytes: 30_000,
        backpressure_milliseconds: if setup.backpressure { 100 } else { 0 },
        maximum_session_expiry_seconds: 200,
        v311_session_expiry_seconds: 100,
        v311_refused_publish_closes: false,
        deduplication_window_seconds: 100,
        prefetch: NonZeroU16::new(20).expect("not zero"),
        maximum_connections: 100,
        maximum_sessions: 8,
        maximum_subscriptions_per_session: 4,
        maximum_subscription_bytes_per_session: 30,
        maximum_retained_messages: 4,
        maximum_retained_bytes: 8_000,
        authentication_bytes: 6_000,
        authentication_timeout_seconds: 5,
        server_keep_alive_seconds: None,
        shared_subscription_strategy: setup.strategy.of(&[
            SharedSubscriptionStrategy::RoundRobin,
            SharedSubscriptionStrategy::LeastInflight,
            SharedSubscriptionStrategy::Sticky,
        ]),
        overlapping_subscriptions: if setup.each_overlapping {
            OverlappingSubscriptions::Each
        } else {
            OverlappingSubscriptions::Once
        },
    }
}
