//! What the broker tells about itself in topics: `$SYS/broker/…`, retained, under the names that
//! dashboards know from mosquitto.

use std::time::Duration;

use nexum_server::MetricsSnapshot;

/// The topics and their present values.
pub(crate) fn report(version: &str, snapshot: &MetricsSnapshot) -> Vec<(&'static str, String)> {
    let counters = |read: fn(&nexum_core::Counters) -> u64| -> u64 {
        snapshot
            .shards
            .iter()
            .map(|shard| read(&shard.counters))
            .sum()
    };
    let gauges = |read: fn(&nexum_core::Gauges) -> u64| -> u64 {
        snapshot
            .shards
            .iter()
            .map(|shard| read(&shard.gauges))
            .sum()
    };
    let connected = gauges(|now| now.connections);
    let sessions = gauges(|now| now.sessions);
    let received = counters(|since| since.messages_received.iter().sum());
    let sent = counters(|since| since.messages_sent.iter().sum());
    let dropped = counters(|since| since.dropped.iter().sum());
    let seconds = |uptime: Duration| format!("{} seconds", uptime.as_secs());
    vec![
        ("$SYS/broker/version", format!("nexum version {version}")),
        ("$SYS/broker/uptime", seconds(snapshot.uptime)),
        ("$SYS/broker/clients/connected", connected.to_string()),
        (
            "$SYS/broker/clients/disconnected",
            sessions.saturating_sub(connected).to_string(),
        ),
        ("$SYS/broker/clients/total", sessions.to_string()),
        // Mosquitto counts packets of every type under `messages`; here both mean PUBLISH.
        ("$SYS/broker/messages/received", received.to_string()),
        ("$SYS/broker/messages/sent", sent.to_string()),
        (
            "$SYS/broker/publish/messages/received",
            received.to_string(),
        ),
        ("$SYS/broker/publish/messages/sent", sent.to_string()),
        ("$SYS/broker/publish/messages/dropped", dropped.to_string()),
        (
            "$SYS/broker/bytes/received",
            counters(|since| since.bytes_received).to_string(),
        ),
        (
            "$SYS/broker/bytes/sent",
            counters(|since| since.bytes_sent).to_string(),
        ),
        (
            "$SYS/broker/subscriptions/count",
            gauges(|now| now.subscriptions).to_string(),
        ),
        (
            "$SYS/broker/retained messages/count",
            gauges(|now| now.retained).to_string(),
        ),
    ]
}
