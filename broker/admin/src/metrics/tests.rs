//! The page, read back by a parser that accepts nothing but the format.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use nexum_core::{Counters, DropReason, Gauges};

use super::{Distribution, Page, Snapshot};

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

fn page_of(snapshot: &Snapshot) -> BTreeMap<String, Family> {
    let page = Page::new("1.2.3", UNIX_EPOCH + Duration::from_secs(100));
    parse(&page.render(snapshot).expect("the families are well formed"))
}

#[test]
fn a_broker_that_has_seen_nothing_shows_every_family() {
    let page = page_of(&Snapshot {
        shard_busy_ratios: vec![0.0],
        ..Snapshot::default()
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
    assert_eq!(ours, 25);
}

#[test]
fn each_number_stands_where_it_belongs() {
    // Every number is another, so a mix-up shows.
    let counters = Counters {
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
    };
    let gauges = Gauges {
        connections: 30,
        sessions: 31,
        subscriptions: 32,
        shared_groups: 33,
        retained: 34,
        retained_bytes: 35,
        queued_messages: 36,
        inflight_messages: 37,
    };
    let page = page_of(&Snapshot {
        counters,
        gauges,
        shard_busy_ratios: vec![0.25, 0.5],
        publish_to_deliver: Distribution {
            cumulative: vec![(0.001, 3), (0.01, 5)],
            count: 6,
            sum: 1.5,
        },
    });
    for (family, labels, value) in [
        ("nexum_bytes_received_total", "", 1.0),
        ("nexum_bytes_sent_total", "", 2.0),
        ("nexum_packets_received_total", "", 3.0),
        ("nexum_messages_received_total", "qos=\"0\"", 4.0),
        ("nexum_messages_received_total", "qos=\"1\"", 5.0),
        ("nexum_messages_received_total", "qos=\"2\"", 6.0),
        ("nexum_messages_sent_total", "qos=\"0\"", 7.0),
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
        ("nexum_queued_messages", "", 36.0),
        ("nexum_inflight_messages", "", 37.0),
        ("nexum_shard_busy_ratio", "shard=\"0\"", 0.25),
        ("nexum_shard_busy_ratio", "shard=\"1\"", 0.5),
        ("nexum_publish_to_deliver_seconds", "le=\"0.001\"", 3.0),
        ("nexum_publish_to_deliver_seconds", "le=\"0.01\"", 5.0),
        ("nexum_publish_to_deliver_seconds", "le=\"+Inf\"", 6.0),
    ] {
        assert_eq!(page[family].value(labels), value, "{family} {labels}");
    }
    for (value, reason) in (40_u32..).zip(DropReason::ALL) {
        let labels = format!("reason=\"{}\"", reason.label());
        let shown = page["nexum_messages_dropped_total"].value(&labels);
        assert_eq!(shown, f64::from(value), "{labels}");
    }
    let sum = &page["nexum_publish_to_deliver_seconds"].samples;
    assert!(sum.contains(&("_sum".to_owned(), String::new(), 1.5)));
}
