//! The Grafana dashboard against a real Prometheus that scrapes a real broker: an expression that
//! names a metric we do not have, or calculates what cannot be, would only ever show an empty panel.

mod prometheus;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Peer, Publish, Version};
use serde_json::Value;

use crate::prometheus::{Prometheus, get};

const DASHBOARD: &str = include_str!("../../grafana/nexum.json");

/// Rates need two scrapes, and a broker that is slow to start on a busy machine needs patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two rounds of questions. Prometheus scrapes once a second and tells nobody that it did.
const ROUND: Duration = Duration::from_millis(250);

#[test]
fn every_expression_is_answered_by_prometheus() {
    let broker = Broker::start(env!("CARGO_BIN_EXE_nexum"));
    let prometheus = Prometheus::start(admin_address(&broker));
    let mut traffic = Traffic::start(&broker);

    let expressions = expressions();
    assert!(
        expressions.len() > 20,
        "the dashboard was read: {expressions:?}"
    );
    let mut open: Vec<(String, String)> = expressions
        .into_iter()
        .map(|expression| (expression, "not asked yet".to_owned()))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        traffic.one_of_each();
        open.retain_mut(|(expression, answer)| {
            match prometheus.query(&as_grafana_would_ask(expression)) {
                Ok(()) => false,
                Err(problem) => {
                    *answer = problem;
                    true
                }
            }
        });
        if open.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "not answered within {PATIENCE:?}: {open:#?}"
        );
        std::thread::sleep(ROUND);
    }
}

#[test]
fn every_metric_of_ours_is_shown() {
    let broker = Broker::start(env!("CARGO_BIN_EXE_nexum"));
    let page = get(admin_address(&broker), "/metrics").expect("it answers");
    let families: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE nexum_"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    assert!(families.len() > 20, "the page was read: {page}");
    let expressions = expressions().join("\n");
    let hidden: Vec<&&str> = families
        .iter()
        .filter(|family| !expressions.contains(&format!("nexum_{family}")))
        .collect();
    assert!(hidden.is_empty(), "on no panel: {hidden:?}");
}

/// What the panels and the variables ask for, each once.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let mut expressions = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            expressions.insert(text(&target["expr"]));
        }
    }
    for variable in list(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            let query = text(&variable["query"]["query"]);
            // Grafana's own function; what it needs is that the metric has the label.
            let arguments = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|arguments| arguments.split_once(", "));
            let (metric, label) = arguments.expect("label_values(metric, label)");
            expressions.insert(format!("count by ({label}) ({metric}{{{label}!=\"\"}})"));
        }
    }
    expressions.into_iter().collect()
}

/// Puts values where Grafana would.
fn as_grafana_would_ask(expression: &str) -> String {
    // Four scrapes, as Grafana takes it to be at least.
    let asked = expression
        .replace("$__rate_interval", "4s")
        .replace("$instance", ".+");
    assert!(!asked.contains('$'), "an unknown variable: {asked}");
    asked
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a string").to_owned()
}

/// Where the `ready` line says that the administration listens.
fn admin_address(broker: &Broker) -> SocketAddr {
    let log = broker.log();
    let (_, rest) = log.split_once("http://").expect("the administration is on");
    let address = rest.split([' ', '\n', '"', '/']).next();
    address
        .and_then(|address| address.parse().ok())
        .expect("it is an address")
}

/// A publisher and a subscriber, so that rates and quantiles have something to be of.
struct Traffic {
    publisher: Peer,
    subscriber: Peer,
}

impl Traffic {
    fn start(broker: &Broker) -> Traffic {
        let mut publisher = broker.client(Version::V5, "publisher");
        let identifier = publisher.next_identifier();
        publisher.publish(Publish::new("$queue/dashboard/$ctl/create", "").qos1(identifier));
        let identifier = publisher.next_identifier();
        publisher.publish(Publish::new("$kv/dashboard/$ctl/create", "").qos1(identifier));
        let mut subscriber = broker.client(Version::V311, "subscriber");
        subscriber.subscribe("dashboard/+", 2);
        Traffic {
            publisher,
            subscriber,
        }
    }

    fn one_of_each(&mut self) {
        for qos in 0..=2 {
            let identifier = match qos {
                0 => 0,
                _ => self.publisher.next_identifier(),
            };
            let mut message = Publish::new("dashboard/light", "on").qos(qos, identifier);
            // So that there is something to store.
            message.retain = true;
            self.publisher.publish(message);
            assert_eq!(self.subscriber.expect_message().topic, "dashboard/light");
        }
    }
}
