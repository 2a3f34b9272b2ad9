//! The sections `[mqtt]` and `[limits]`: how the broker uses the freedom the specification leaves
//! it, and the bound of everything a client can make grow.

use nexum_core::{Limits, SharedSubscriptionStrategy};

use super::Config;
use super::reader::Reader;

const STRATEGIES: [(&str, SharedSubscriptionStrategy); 3] = [
    ("round_robin", SharedSubscriptionStrategy::RoundRobin),
    ("least_inflight", SharedSubscriptionStrategy::LeastInflight),
    ("sticky", SharedSubscriptionStrategy::Sticky),
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

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
        outbound_buffer_bytes,
        backpressure_milliseconds,
        maximum_session_expiry_seconds,
        v311_session_expiry_seconds,
        maximum_connections,
        maximum_sessions,
        maximum_subscriptions_per_session,
        maximum_retained_messages,
        maximum_retained_bytes,
        authentication_bytes,
        authentication_timeout_seconds,
        server_keep_alive_seconds,
        shared_subscription_strategy,
    } = &mut config.limits;

    let mut mqtt = reader.section("mqtt");
    mqtt.choice(
        "shared_subscription_strategy",
        &STRATEGIES,
        shared_subscription_strategy,
    );
    mqtt.seconds(
        "server_keep_alive_seconds",
        0..=U16,
        server_keep_alive_seconds,
    );
    mqtt.seconds(
        "v311_session_expiry_seconds",
        0..=U32,
        v311_session_expiry_seconds,
    );
    mqtt.seconds(
        "sys_interval_seconds",
        0..=86_400,
        &mut config.sys_interval_seconds,
    );

    // The protocol sets some of the ends: Client Identifiers of 23 bytes must be let in
    // [MQTT-3.1.3-5], a packet has at most 268,435,460 bytes, most numbers have 16 or 32 bits.
    let mut limits = reader.section("limits");
    limits.count("maximum_connections", 1..=U32, maximum_connections);
    limits.bytes("authentication_bytes", KIB..=MIB, authentication_bytes);
    limits.seconds(
        "authentication_timeout_seconds",
        1..=3600,
        authentication_timeout_seconds,
    );

    limits.bytes(
        "maximum_packet_size_bytes",
        KIB..=268_435_460,
        maximum_packet_size_bytes,
    );
    limits.count("maximum_topic_levels", 1..=U16, maximum_topic_levels);
    limits.bytes("maximum_client_id_bytes", 23..=U16, maximum_client_id_bytes);
    limits.count("receive_maximum", 1..=U16, receive_maximum);
    limits.count("topic_alias_maximum", 0..=U16, topic_alias_maximum);
    limits.count(
        "outbound_topic_alias_maximum",
        0..=U16,
        outbound_topic_alias_maximum,
    );

    limits.count("maximum_sessions", 1..=U32, maximum_sessions);
    limits.seconds(
        "maximum_session_expiry_seconds",
        0..=U32,
        maximum_session_expiry_seconds,
    );
    limits.count(
        "maximum_subscriptions_per_session",
        1..=U32,
        maximum_subscriptions_per_session,
    );
    limits.count("maximum_inflight", 1..=U16, maximum_inflight);
    limits.count("session_queue_messages", 1..=U32, session_queue_messages);
    limits.bytes("session_queue_bytes", KIB..=TIB, session_queue_bytes);

    limits.bytes("outbound_buffer_bytes", KIB..=GIB, outbound_buffer_bytes);
    limits.milliseconds(
        "backpressure_milliseconds",
        0..=60_000,
        backpressure_milliseconds,
    );

    limits.count(
        "maximum_retained_messages",
        0..=U32,
        maximum_retained_messages,
    );
    limits.bytes("maximum_retained_bytes", 0..=TIB, maximum_retained_bytes);
}
