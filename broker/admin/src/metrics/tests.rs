//! The page, read back by a parser that accepts nothing but the format.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use nexum_core::{Counters, DropReason, Gauges};
use nexum_server::{
    AcceptSnapshot, LatencyHistogram, Load, MetricsSnapshot, ShardSnapshot, StoreSnapshot,
};
use nexum_storage::{Changes, Options, Store, TableId};

use super::Page;

/// A family as a strict reader sees it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// Each with its suffix, its labels as written, and its value.
    samples: Vec<(String, String, f64)>,
}

impl Family {
    fn value(&self, labels: &str) -> f64 {
        let found = self
            .samples
            .iter()
            .find(|(_, written, _)| written == labels);
        found
            .unwrap_or_else(|| panic!("no {labels:?} in {self:?}"))
            .2
    }
}

/// Reads the text format, version 0.0.4. Panics at whatever Prometheus would refuse or only puts
/// up with: families without help or type, in two places, samples twice, names and labels that are
/// none.
fn parse(page: &str) -> BTreeMap<String, Family> {
    assert!(page.ends_with('\n'), "the last line ends");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = String::new();
    let mut seen = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help has a text");
            assert!(help.ends_with('.'), "a help is a sentence: {line}");
            helped = name.to_owned();
            let family = Family::default();
            assert!(
                families.insert(name.to_owned(), family).is_none(),
                "twice: {line}"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a kind");
            assert_eq!(name, helped, "the type follows the help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            families.get_mut(name).expect("it has a help").kind = kind.to_owned();
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value: f64 = value.parse().expect("a sample's value is a number");
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(seen.insert(series.to_owned()), "twice: {line}");
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (
                    name,
                    labels.strip_suffix('}').expect("labels end with a brace"),
                ),
                None => (series, ""),
            };
            assert_labels(labels);
            let suffix = name
                .strip_prefix(current.as_str())
                .expect("a sample is below its type");
            let family = families.get_mut(&current).expect("it has a type");
            family
                .samples
                .push((suffix.to_owned(), labels.to_owned(), value));
        }
    }
    for (name, family) in &families {
        let word = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(word), "{name}");
        assert!(!family.samples.is_empty(), "{name} has samples");
        match family.kind.as_str() {
            "histogram" => assert_histogram(name, family),
            kind => {
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(
                    family
                        .samples
                        .iter()
                        .all(|(suffix, _, _)| suffix.is_empty()),
                    "{name}"
                );
            }
        }
    }
    families
}

fn assert_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    for pair in labels.split("\",") {
        let (name, value) = pair.split_once("=\"").expect("a label has a quoted value");
        assert!(name.chars().all(|c| c.is_ascii_lowercase()), "{labels}");
        let value = value.strip_suffix('"').unwrap_or(value);
        assert!(
            !value.is_empty() && !value.contains(['"', '\\', '\n']),
            "{labels}"
        );
    }
}

fn assert_histogram(name: &str, family: &Family) {
    let (mut last_bound, mut last_count) = (f64::NEG_INFINITY, 0.0);
    let mut total = None;
    for (suffix, labels, value) in &family.samples {
        match suffix.as_str() {
            "_bucket" => {
                let bound = labels
                    .strip_prefix("le=\"")
                    .and_then(|rest| rest.strip_suffix('"'));
                let bound: f64 = bound
                    .expect("a bucket has a bound")
                    .parse()
                    .expect("a number");
                assert!(
                    bound > last_bound && *value >= last_count,
                    "{name} {labels}"
                );
                (last_bound, last_count) = (bound, *value);
            }
            "_sum" => {}
            "_count" => total = Some(*value),
            _ => panic!("{name}{suffix} is no part of a histogram"),
        }
    }
    assert_eq!(last_bound, f64::INFINITY, "{name}");
    assert_eq!(total, Some(last_count), "{name}");
}

fn page_of(snapshot: &MetricsSnapshot) -> BTreeMap<String, Family> {
    let page = Page::new("1.2.3", UNIX_EPOCH + Duration::from_secs(100));
    parse(&page.render(snapshot).expect("the families are well formed"))
}

#[test]
fn a_broker_that_has_seen_nothing_shows_every_family() {
    let page = page_of(&MetricsSnapshot {
        shards: vec![ShardSnapshot::default()],
        ..MetricsSnapshot::default()
    });
    assert_eq!(page["nexum_build_info"].value("version=\"1.2.3\""), 1.0);
    assert_eq!(page["process_start_time_seconds"].value(""), 100.0);
    assert_eq!(
        page["nexum_messages_dropped_total"].value("reason=\"queue_full\""),
        0.0
    );
    assert!(page["process_resident_memory_bytes"].value("") > 0.0);
    let ours = page
        .keys()
        .filter(|name| name.starts_with("nexum_"))
        .count();
    assert_eq!(ours, 36);
}

/// A shard whose every number is another one, so that a mix-up shows.
fn shard_of_different_numbers() -> ShardSnapshot {
    ShardSnapshot {
        counters: Counters {
            bytes_received: 1,
            bytes_sent: 2,
            packets_received: 3,
            messages_received: [4, 5, 6],
            messages_sent: [7, 8, 9],
            messages_resent: 10,
            dropped: std::array::from_fn(|reason| 40 + reason as u64),
            connections_opened: 20,
            connects_accepted: 21,
            connects_refused: 22,
            protocol_errors: 23,
            keep_alive_timeouts: 24,
            takeovers: 25,
            wills_published: 26,
            backpressure_pauses: 27,
        },
        gauges: Gauges {
            connections: 30,
            sessions: 31,
            subscriptions: 32,
            shared_groups: 33,
            retained: 34,
            retained_bytes: 35,
            outbound_bytes: 38,
            queued_messages: 36,
            inflight_messages: 37,
        },
        latency: LatencyHistogram {
            buckets: std::array::from_fn(|bucket| bucket as u64),
            sum_microseconds: 1_500_000,
        },
        load: Load {
            busy_microseconds: 250_000,
            turns: 61,
            reads: 62,
            peer_batches: 63,
            held_back_turns: 64,
            rehomed: 65,
            failed_handshakes: 66,
            panics: 67,
        },
        mailbox_bytes: 68,
    }
}

#[test]
fn each_number_stands_where_it_belongs() {
    let page = page_of(&MetricsSnapshot {
        uptime: Duration::from_secs(1),
        shards: vec![shard_of_different_numbers()],
        store: None,
        accept: AcceptSnapshot {
            accepted: 70,
            refused_full: 71,
            failed: 72,
        },
        extensions: vec![nexum_extension_api::Gauge {
            name: "nexum_example_things",
            help: "Things there are.",
            labels: vec![("kind", "good".to_owned())],
            value: 73.0,
        }],
    });

    for (family, labels, value) in [
        ("nexum_bytes_received_total", "", 1.0),
        ("nexum_bytes_sent_total", "", 2.0),
        ("nexum_packets_received_total", "", 3.0),
        ("nexum_messages_received_total", "qos=\"0\"", 4.0),
        ("nexum_messages_received_total", "qos=\"1\"", 5.0),
        ("nexum_messages_received_total", "qos=\"2\"", 6.0),
        ("nexum_messages_sent_total", "qos=\"0\"", 7.0),
        ("nexum_messages_sent_total", "qos=\"1\"", 8.0),
        ("nexum_messages_sent_total", "qos=\"2\"", 9.0),
        ("nexum_messages_resent_total", "", 10.0),
        ("nexum_connections_opened_total", "", 20.0),
        ("nexum_connects_total", "outcome=\"accepted\"", 21.0),
        ("nexum_connects_total", "outcome=\"refused\"", 22.0),
        ("nexum_protocol_errors_total", "", 23.0),
        ("nexum_keep_alive_timeouts_total", "", 24.0),
        ("nexum_session_takeovers_total", "", 25.0),
        ("nexum_wills_published_total", "", 26.0),
        ("nexum_backpressure_pauses_total", "", 27.0),
        ("nexum_connections", "", 30.0),
        ("nexum_sessions", "", 31.0),
        ("nexum_subscriptions", "", 32.0),
        ("nexum_shared_groups", "", 33.0),
        ("nexum_retained_messages", "", 34.0),
        ("nexum_retained_bytes", "", 35.0),
        ("nexum_outbound_bytes", "", 38.0),
        ("nexum_queued_messages", "", 36.0),
        ("nexum_inflight_messages", "", 37.0),
        ("nexum_shard_busy_seconds_total", "shard=\"0\"", 0.25),
        ("nexum_shard_turns_total", "shard=\"0\"", 61.0),
        ("nexum_shard_reads_total", "shard=\"0\"", 62.0),
        ("nexum_shard_peer_batches_total", "shard=\"0\"", 63.0),
        ("nexum_shard_mailbox_bytes", "shard=\"0\"", 68.0),
        ("nexum_shard_held_back_turns_total", "", 64.0),
        ("nexum_connections_rehomed_total", "", 65.0),
        ("nexum_handshake_failures_total", "", 66.0),
        ("nexum_panics_total", "", 67.0),
        ("nexum_connections_refused_total", "", 71.0),
        ("nexum_accept_failures_total", "", 72.0),
        ("nexum_example_things", "kind=\"good\"", 73.0),
        // Buckets add up: 0 + 1, 0 + 1 + 2, and so on.
        ("nexum_publish_to_deliver_seconds", "le=\"0.00001\"", 0.0),
        ("nexum_publish_to_deliver_seconds", "le=\"0.001\"", 21.0),
        ("nexum_publish_to_deliver_seconds", "le=\"5\"", 153.0),
        ("nexum_publish_to_deliver_seconds", "le=\"+Inf\"", 171.0),
    ] {
        assert_eq!(page[family].value(labels), value, "{family} {labels}");
    }
    for (value, reason) in (40_u32..).zip(DropReason::ALL) {
        let labels = format!("reason=\"{}\"", reason.label());
        let shown = page["nexum_messages_dropped_total"].value(&labels);
        assert_eq!(shown, f64::from(value), "{labels}");
    }
    let latency = &page["nexum_publish_to_deliver_seconds"].samples;
    assert!(latency.contains(&("_sum".to_owned(), String::new(), 1.5)));
}

#[test]
fn shards_add_up_or_stand_apart() {
    let page = page_of(&MetricsSnapshot {
        shards: vec![shard_of_different_numbers(), shard_of_different_numbers()],
        ..MetricsSnapshot::default()
    });
    assert_eq!(page["nexum_bytes_received_total"].value(""), 2.0);
    assert_eq!(page["nexum_messages_sent_total"].value("qos=\"2\""), 18.0);
    assert_eq!(
        page["nexum_publish_to_deliver_seconds"].value("le=\"+Inf\""),
        342.0
    );
    assert_eq!(page["nexum_shard_turns_total"].value("shard=\"0\""), 61.0);
    assert_eq!(page["nexum_shard_turns_total"].value("shard=\"1\""), 61.0);
}

#[test]
fn the_store_has_its_own_numbers() {
    let mut store = Store::in_memory(Options::default());
    let mut changes = Changes::new();
    for key in [b"1", b"2", b"3"] {
        changes.put(TableId(1), key, b"value");
        store.submit(&changes).expect("there is room");
    }
    store.commit().expect("memory takes it");
    let snapshot = StoreSnapshot {
        statistics: store.statistics().clone(),
        usage: store.usage(),
    };
    let page = page_of(&MetricsSnapshot {
        store: Some(snapshot),
        shards: vec![shard_of_different_numbers()],
        ..MetricsSnapshot::default()
    });
    for (family, labels, value) in [
        ("nexum_store_commits_total", "", 1.0),
        ("nexum_store_submissions_total", "", 3.0),
        ("nexum_store_failed_commits_total", "", 0.0),
        ("nexum_store_batch_submissions", "le=\"2\"", 0.0),
        ("nexum_store_batch_submissions", "le=\"4\"", 1.0),
        ("nexum_store_commit_seconds", "le=\"5\"", 1.0),
        ("nexum_store_log_bytes", "", 0.0),
    ] {
        assert_eq!(page[family].value(labels), value, "{family} {labels}");
    }
}
