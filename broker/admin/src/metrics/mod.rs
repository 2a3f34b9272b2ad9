//! The page that Prometheus reads.

mod family;
mod process;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use nexum_core::{Counters, DropReason, Gauges};
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use self::family::Family;
use self::process::Process;

/// The broker's numbers at one moment, over all shards.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the shards counted since they began.
    pub counters: Counters,
    /// What is there now.
    pub gauges: Gauges,
    /// The part of the last second each shard was busy, from 0 to 1, in the order of the shards.
    pub shard_busy_ratios: Vec<f64>,
    /// From a PUBLISH read to its first delivery handed to a socket, in seconds.
    pub publish_to_deliver: Distribution,
}

/// How often something was how large.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Ascending upper bounds, each with the number of observations at or below it.
    pub cumulative: Vec<(f64, u64)>,
    /// All observations, also those above the last bound.
    pub count: u64,
    /// What they add up to.
    pub sum: f64,
}

/// Writes the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    version: &'static str,
    started: SystemTime,
}

impl Page {
    /// `version` is the broker's, `started` when its process began.
    pub(crate) fn new(version: &'static str, started: SystemTime) -> Page {
        Page { version, started }
    }

    /// Everything, in Prometheus's text format.
    ///
    /// # Errors
    /// If a family is empty or has a bad name; a mistake of ours.
    pub(crate) fn render(&self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let families = [
            self.build_info(),
            traffic(&snapshot.counters),
            clients(&snapshot.counters),
            state(&snapshot.gauges),
            load(snapshot),
            Process::read().families(self.started),
        ];
        TextEncoder::new().encode_to_string(&families.concat())
    }

    fn build_info(&self) -> Vec<MetricFamily> {
        let help = "The broker's version, as a label; always 1.";
        let family = Family::gauge("nexum_build_info", help);
        vec![family.labelled(&[("version", self.version)], 1.0).build()]
    }
}

fn traffic(counters: &Counters) -> Vec<MetricFamily> {
    let by_qos = |name, help, totals: &[u64; 3]| {
        let labelled =
            |family: Family, (qos, total): (&str, &u64)| family.labelled(&[("qos", qos)], *total);
        ["0", "1", "2"]
            .into_iter()
            .zip(totals)
            .fold(Family::counter(name, help), labelled)
            .build()
    };
    let dropped = Family::counter(
        "nexum_messages_dropped_total",
        "Messages not delivered to a subscriber, by the reason.",
    );
    vec![
        total(
            "nexum_bytes_received_total",
            "Bytes of MQTT packets received.",
            counters.bytes_received,
        ),
        total(
            "nexum_bytes_sent_total",
            "Bytes of MQTT packets sent.",
            counters.bytes_sent,
        ),
        total(
            "nexum_packets_received_total",
            "MQTT packets received, of every type.",
            counters.packets_received,
        ),
        by_qos(
            "nexum_messages_received_total",
            "PUBLISH packets received from clients, by QoS.",
            &counters.messages_received,
        ),
        by_qos(
            "nexum_messages_sent_total",
            "PUBLISH packets sent to clients, by QoS, without resends.",
            &counters.messages_sent,
        ),
        total(
            "nexum_messages_resent_total",
            "PUBLISH packets sent again after a reconnection.",
            counters.messages_resent,
        ),
        DropReason::ALL
            .into_iter()
            .zip(counters.dropped)
            .fold(dropped, |family, (reason, total)| {
                family.labelled(&[("reason", reason.label())], total)
            })
            .build(),
        total(
            "nexum_wills_published_total",
            "Wills published.",
            counters.wills_published,
        ),
        total(
            "nexum_backpressure_pauses_total",
            "Times a publisher was held back for a slower subscriber.",
            counters.backpressure_pauses,
        ),
    ]
}

fn clients(counters: &Counters) -> Vec<MetricFamily> {
    let connects = Family::counter(
        "nexum_connects_total",
        "CONNECT packets answered, by outcome.",
    )
    .labelled(&[("outcome", "accepted")], counters.connects_accepted)
    .labelled(&[("outcome", "refused")], counters.connects_refused);
    vec![
        total(
            "nexum_connections_opened_total",
            "Network connections taken in.",
            counters.connections_opened,
        ),
        connects.build(),
        total(
            "nexum_protocol_errors_total",
            "Connections closed because the client broke the protocol.",
            counters.protocol_errors,
        ),
        total(
            "nexum_keep_alive_timeouts_total",
            "Connections closed because nothing came within their Keep Alive.",
            counters.keep_alive_timeouts,
        ),
        total(
            "nexum_session_takeovers_total",
            "Sessions taken over by a newer connection of the same client.",
            counters.takeovers,
        ),
    ]
}

fn state(gauges: &Gauges) -> Vec<MetricFamily> {
    let now = |name, help, value| Family::gauge(name, help).value(value).build();
    vec![
        now(
            "nexum_connections",
            "Network connections open.",
            gauges.connections,
        ),
        now(
            "nexum_sessions",
            "Sessions, connected or not.",
            gauges.sessions,
        ),
        now(
            "nexum_subscriptions",
            "Subscriptions, shared ones included.",
            gauges.subscriptions,
        ),
        now(
            "nexum_shared_groups",
            "Groups of shared subscriptions.",
            gauges.shared_groups,
        ),
        now(
            "nexum_retained_messages",
            "Retained messages.",
            gauges.retained,
        ),
        now(
            "nexum_retained_bytes",
            "Topics, properties and payloads of retained messages, in bytes.",
            gauges.retained_bytes,
        ),
        now(
            "nexum_queued_messages",
            "Messages waiting in sessions, without those in flight.",
            gauges.queued_messages,
        ),
        now(
            "nexum_inflight_messages",
            "Messages sent to clients and not yet acknowledged.",
            gauges.inflight_messages,
        ),
    ]
}

fn load(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut busy = Family::gauge(
        "nexum_shard_busy_ratio",
        "The part of the last second a shard was busy, from 0 to 1.",
    );
    for (shard, ratio) in snapshot.shard_busy_ratios.iter().enumerate() {
        busy = busy.labelled(&[("shard", &shard.to_string())], *ratio);
    }
    let latency = Family::histogram(
        "nexum_publish_to_deliver_seconds",
        "From a PUBLISH read off its socket to its delivery written to another.",
    );
    vec![
        busy.build(),
        latency.distribution(&snapshot.publish_to_deliver).build(),
    ]
}

fn total(name: &'static str, help: &'static str, value: u64) -> MetricFamily {
    Family::counter(name, help).value(value).build()
}
