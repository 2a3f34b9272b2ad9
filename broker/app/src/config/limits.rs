//! The sections `[mqtt]` and `[limits]`: how the broker uses the freedom the specification leaves
//! it, and the bound of everything a client can make grow.

use nexum_core::{Limits, OverlappingSubscriptions, QueueOverflow, SharedSubscriptionStrategy};

use super::Config;
use super::reader::Reader;

const STRATEGIES: [(&str, SharedSubscriptionStrategy); 3] = [
    ("round_robin", SharedSubscriptionStrategy::RoundRobin),
    ("least_inflight", SharedSubscriptionStrategy::LeastInflight),
    ("sticky", SharedSubscriptionStrategy::Sticky),
];

const OVERLAPS: [(&str, OverlappingSubscriptions); 2] = [
    ("once", OverlappingSubscriptions::Once),
    ("each", OverlappingSubscriptions::Each),
];

const OVERFLOWS: [(&str, QueueOverflow); 3] = [
    ("refuse", QueueOverflow::Refuse),
    ("drop_oldest", QueueOverflow::DropOldest),
    ("drop_newest", QueueOverflow::DropNewest),
];

const REFUSED_PUBLISH: [(&str, bool); 2] = [("notice", false), ("close", true)];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// Reads keys into the fields of the same name.
macro_rules! keys {
    ($section:ident: $($kind:ident $field:ident $allowed:expr;)*) => {
        $($section.$kind(stringify!($field), $allowed, $field);)*
    };
}

pub(super) fn read(reader: &mut Reader<'_>, config: &mut Config) {
    // Taken apart whole: a bound that the core gains does not compile until it has a key here.
    let Limits {
        maximum_packet_size_bytes,
        maximum_topic_levels,
        maximum_client_id_bytes,
        receive_maximum,
        topic_alias_maximum,
        outbound_topic_alias_maximum,
        maximum_inflight,
        session_queue_messages,
        session_queue_bytes,
        persistent_queue_messages,
        persistent_queue_bytes,
        persistent_queue_overflow,
        outbound_buffer_bytes,
        total_outbound_bytes,
        backpressure_milliseconds,
        maximum_session_expiry_seconds,
        v311_session_expiry_seconds,
        v311_refused_publish_closes,
        deduplication_window_seconds,
        prefetch,
        maximum_connections,
        maximum_sessions,
        maximum_subscriptions_per_session,
        maximum_subscription_bytes_per_session,
        maximum_retained_messages,
        maximum_retained_bytes,
        authentication_bytes,
        authentication_timeout_seconds,
        server_keep_alive_seconds,
        shared_subscription_strategy,
        overlapping_subscriptions,
    } = &mut config.limits;

    let mut mqtt = reader.section("mqtt");
    mqtt.choice(
        "shared_subscription_strategy",
        &STRATEGIES,
        shared_subscription_strategy,
    );
    mqtt.choice(
        "overlapping_subscriptions",
        &OVERLAPS,
        overlapping_subscriptions,
    );
    mqtt.choice(
        "v311_refused_publish",
        &REFUSED_PUBLISH,
        v311_refused_publish_closes,
    );
    mqtt.seconds(
        "deduplication_window_seconds",
        0..=86_400,
        deduplication_window_seconds,
    );
    mqtt.seconds(
        "sys_interval_seconds",
        0..=86_400,
        &mut config.sys_interval_seconds,
    );

    // The protocol sets some of the ends: Client Identifiers of 23 bytes must be let in
    // [MQTT-3.1.3-5], a packet has at most 268,435,460 bytes, most numbers have 16 or 32 bits.
    let mut limits = reader.section("limits");
    keys! { limits:
        count maximum_connections 1..=U32;
        bytes authentication_bytes KIB..=MIB;
        seconds authentication_timeout_seconds 1..=3600;
        seconds server_keep_alive_seconds 0..=U16;
        bytes outbound_buffer_bytes KIB..=GIB;
        bytes total_outbound_bytes MIB..=TIB;
        milliseconds backpressure_milliseconds 0..=60_000;

        bytes maximum_packet_size_bytes KIB..=268_435_460;
        count maximum_topic_levels 1..=U16;
        bytes maximum_client_id_bytes 23..=U16;
        count receive_maximum 1..=U16;
        count topic_alias_maximum 0..=U16;
        count outbound_topic_alias_maximum 0..=U16;

        count maximum_sessions 1..=U32;
        seconds maximum_session_expiry_seconds 0..=U32;
        seconds v311_session_expiry_seconds 0..=U32;
        count maximum_subscriptions_per_session 1..=U32;
        bytes maximum_subscription_bytes_per_session KIB..=TIB;
        count maximum_inflight 1..=32_767;
        count prefetch 1..=32_767;
        count session_queue_messages 1..=U32;
        bytes session_queue_bytes KIB..=TIB;
        count persistent_queue_messages 1..=U32;
        bytes persistent_queue_bytes KIB..=TIB;

        count maximum_retained_messages 0..=U32;
        bytes maximum_retained_bytes 0..=TIB;
    }
    limits.choice(
        "persistent_queue_overflow",
        &OVERFLOWS,
        persistent_queue_overflow,
    );
}
