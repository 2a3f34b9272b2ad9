//! The page that Prometheus reads.

mod extensions;
mod family;
mod process;
mod store;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use nexum_core::DropReason;
use nexum_server::{LATENCY_BOUNDS_MICROSECONDS, MetricsSnapshot, ShardSnapshot};
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use self::family::{Distribution, Family};
use self::process::Process;

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
    pub(crate) fn render(&self, snapshot: &MetricsSnapshot) -> Result<String, prometheus::Error> {
        let numbers = Numbers(snapshot);
        let families = [
            vec![self.build_info()],
            numbers.traffic(),
            numbers.clients(),
            numbers.state(),
            numbers.load(),
            vec![numbers.latency()],
            snapshot
                .store
                .as_ref()
                .map(store::families)
                .unwrap_or_default(),
            extensions::families(&snapshot.extensions),
            Process::read().families(self.started),
        ];
        TextEncoder::new().encode_to_string(&families.concat())
    }

    fn build_info(&self) -> MetricFamily {
        let help = "The broker's version, as a label; always 1.";
        let family = Family::gauge("nexum_build_info", help);
        family.labelled(&[("version", self.version)], 1.0).build()
    }
}

/// The families of the broker's own numbers. The texts are for users: Prometheus shows them.
struct Numbers<'a>(&'a MetricsSnapshot);

impl Numbers<'_> {
    fn traffic(&self) -> Vec<MetricFamily> {
        let dropped = Family::counter(
            "nexum_messages_dropped_total",
            "Messages not delivered to a subscriber, by the reason.",
        );
        let dropped = DropReason::ALL.into_iter().fold(dropped, |family, reason| {
            let total = self.sum(|shard| shard.counters.dropped[reason as usize]);
            family.labelled(&[("reason", reason.label())], total)
        });
        vec![
            self.total(
                "nexum_bytes_received_total",
                "Bytes of MQTT packets received.",
                |shard| shard.counters.bytes_received,
            ),
            self.total(
                "nexum_bytes_sent_total",
                "Bytes of MQTT packets sent.",
                |shard| shard.counters.bytes_sent,
            ),
            self.total(
                "nexum_packets_received_total",
                "MQTT packets received, of every type.",
                |shard| shard.counters.packets_received,
            ),
            self.by_qos(
                "nexum_messages_received_total",
                "PUBLISH packets received from clients, by QoS.",
                |shard| shard.counters.messages_received,
            ),
            self.by_qos(
                "nexum_messages_sent_total",
                "PUBLISH packets sent to clients, by QoS, without resends.",
                |shard| shard.counters.messages_sent,
            ),
            self.total(
                "nexum_messages_resent_total",
                "PUBLISH packets sent again after a reconnection.",
                |shard| shard.counters.messages_resent,
            ),
            dropped.build(),
            self.total("nexum_wills_published_total", "Wills published.", |shard| {
                shard.counters.wills_published
            }),
            self.total(
                "nexum_backpressure_pauses_total",
                "Times a publisher was held back for a slower subscriber.",
                |shard| shard.counters.backpressure_pauses,
            ),
        ]
    }

    fn clients(&self) -> Vec<MetricFamily> {
        let connects = Family::counter(
            "nexum_connects_total",
            "CONNECT packets answered, by outcome.",
        )
        .labelled(
            &[("outcome", "accepted")],
            self.sum(|shard| shard.counters.connects_accepted),
        )
        .labelled(
            &[("outcome", "refused")],
            self.sum(|shard| shard.counters.connects_refused),
        );
        let refused = Family::counter(
            "nexum_connections_refused_total",
            "Network connections closed at once because there were as many as allowed.",
        );
        let failed = Family::counter(
            "nexum_accept_failures_total",
            "Times a network connection could not be taken, for lack of file descriptors or memory.",
        );
        vec![
            self.total(
                "nexum_connections_opened_total",
                "Network connections that came to speak MQTT.",
                |shard| shard.counters.connections_opened,
            ),
            refused.value(self.0.accept.refused_full).build(),
            failed.value(self.0.accept.failed).build(),
            self.total(
                "nexum_handshake_failures_total",
                "TLS and WebSocket handshakes that failed or took too long.",
                |shard| shard.load.failed_handshakes,
            ),
            connects.build(),
            self.total(
                "nexum_protocol_errors_total",
                "Connections closed because the client broke the protocol.",
                |shard| shard.counters.protocol_errors,
            ),
            self.total(
                "nexum_keep_alive_timeouts_total",
                "Connections closed because nothing came within their Keep Alive.",
                |shard| shard.counters.keep_alive_timeouts,
            ),
            self.total(
                "nexum_session_takeovers_total",
                "Sessions taken over by a newer connection of the same client.",
                |shard| shard.counters.takeovers,
            ),
        ]
    }

    fn state(&self) -> Vec<MetricFamily> {
        vec![
            self.now("nexum_connections", "Network connections open.", |shard| {
                shard.gauges.connections
            }),
            self.now("nexum_sessions", "Sessions, connected or not.", |shard| {
                shard.gauges.sessions
            }),
            self.now(
                "nexum_subscriptions",
                "Subscriptions, shared ones included.",
                |shard| shard.gauges.subscriptions,
            ),
            self.now(
                "nexum_shared_groups",
                "Groups of shared subscriptions.",
                |shard| shard.gauges.shared_groups,
            ),
            self.now("nexum_retained_messages", "Retained messages.", |shard| {
                shard.gauges.retained
            }),
            self.now(
                "nexum_retained_bytes",
                "Topics, properties and payloads of retained messages, in bytes.",
                |shard| shard.gauges.retained_bytes,
            ),
            self.now(
                "nexum_outbound_bytes",
                "Memory of what waits for the sockets of all clients, in bytes.",
                |shard| shard.gauges.outbound_bytes,
            ),
            self.now(
                "nexum_queued_messages",
                "Messages waiting in sessions, without those in flight.",
                |shard| shard.gauges.queued_messages,
            ),
            self.now(
                "nexum_inflight_messages",
                "Messages sent to clients and not yet acknowledged.",
                |shard| shard.gauges.inflight_messages,
            ),
        ]
    }

    fn load(&self) -> Vec<MetricFamily> {
        let busy = Family::counter(
            "nexum_shard_busy_seconds_total",
            "Processor time of a shard's thread; its rate is the part of a core it takes.",
        );
        let busy = self.by_shard(busy, |shard| seconds(shard.load.busy_microseconds));
        let turns = Family::counter(
            "nexum_shard_turns_total",
            "Turns of a shard: each looks at what is ready and flushes what came of it.",
        );
        let turns = self.by_shard(turns, |shard| shard.load.turns as f64);
        let reads = Family::counter(
            "nexum_shard_reads_total",
            "Reads from sockets of a shard that brought something.",
        );
        let reads = self.by_shard(reads, |shard| shard.load.reads as f64);
        let batches = Family::counter(
            "nexum_shard_peer_batches_total",
            "Batches of messages a shard received from other shards.",
        );
        let batches = self.by_shard(batches, |shard| shard.load.peer_batches as f64);
        let mailbox = Family::gauge(
            "nexum_shard_mailbox_bytes",
            "What waits for a shard from other shards, in bytes.",
        );
        let mailbox = self.by_shard(mailbox, |shard| shard.mailbox_bytes as f64);
        vec![
            busy,
            turns,
            reads,
            batches,
            mailbox,
            self.total(
                "nexum_shard_held_back_turns_total",
                "Turns in which a shard held its publishers back for another shard.",
                |shard| shard.load.held_back_turns,
            ),
            self.total(
                "nexum_connections_rehomed_total",
                "Connections that moved to the shard where their session lives.",
                |shard| shard.load.rehomed,
            ),
            self.total(
                "nexum_panics_total",
                "Panics that were caught; each ended one connection and is a bug.",
                |shard| shard.load.panics,
            ),
        ]
    }

    fn latency(&self) -> MetricFamily {
        let mut distribution = Distribution::default();
        for (bucket, bound) in LATENCY_BOUNDS_MICROSECONDS.into_iter().enumerate() {
            distribution.count += self.sum(|shard| shard.latency.buckets[bucket]);
            distribution
                .cumulative
                .push((seconds(bound), distribution.count));
        }
        distribution.count = self.sum(|shard| shard.latency.count());
        distribution.sum = seconds(self.sum(|shard| shard.latency.sum_microseconds));
        let family = Family::histogram(
            "nexum_publish_to_deliver_seconds",
            "From a PUBLISH read off its socket to its delivery written to another.",
        );
        family.distribution(&distribution).build()
    }

    fn sum(&self, read: impl Fn(&ShardSnapshot) -> u64) -> u64 {
        self.0.shards.iter().map(read).sum()
    }

    fn total(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&ShardSnapshot) -> u64,
    ) -> MetricFamily {
        Family::counter(name, help).value(self.sum(read)).build()
    }

    fn now(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&ShardSnapshot) -> u64,
    ) -> MetricFamily {
        Family::gauge(name, help).value(self.sum(read)).build()
    }

    fn by_qos(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&ShardSnapshot) -> [u64; 3],
    ) -> MetricFamily {
        let mut family = Family::counter(name, help);
        for (qos, label) in ["0", "1", "2"].into_iter().enumerate() {
            family = family.labelled(&[("qos", label)], self.sum(|shard| read(shard)[qos]));
        }
        family.build()
    }

    fn by_shard(&self, mut family: Family, read: fn(&ShardSnapshot) -> f64) -> MetricFamily {
        for (number, shard) in self.0.shards.iter().enumerate() {
            family = family.labelled(&[("shard", &number.to_string())], read(shard));
        }
        family.build()
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}
