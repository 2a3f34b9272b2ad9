//! Stock clients against the broker: who connects with what everybody already has – the mosquitto
//! commands, paho for Python, MQTT.js over TCP and WebSocket, rumqttc – does what MQTT promises, in
//! both versions of the protocol, with and without TLS.
//!
//! It is not a test of conformance: it shows that real clients and the broker understand one
//! another, not that each rule is kept. One table says which client did what; a cell that is not
//! `ok` fails the test.
//!
//! The clients come from `tests/install-tools`, the certificates from `certs/make`.
//! `NEXUM_INTEROP_BROKER=mosquitto` runs the same scenarios against Debian's mosquitto: a cell that
//! fails there as well is a mistake of the scenario's.

mod broker;
mod client;
mod mosquitto;
mod rumqttc_client;
mod scenario;
mod script;
mod table;
mod tools;

use std::thread;

use broker::Brokers;
use client::Version;
use scenario::{Feature, Outcome};
use table::{Row, Table};
use tools::Tools;

#[test]
fn every_client_does_every_feature() {
    let tools = Tools::find();
    let brokers = Brokers::start();
    let place = brokers.place();

    let mut table = Table::new();
    thread::scope(|scope| {
        let mut rows = Vec::new();
        for version in [Version::V311, Version::V5] {
            let (tools, place) = (&tools, &place);
            rows.push((
                Row::new("mosquitto_pub/sub", "tcp", version),
                scope.spawn(move || scenario::run(&mosquitto::Commands::new(place, version))),
            ));
            rows.push((
                Row::new("rumqttc", "tcp", version),
                scope.spawn(move || scenario::run(&rumqttc_client::Rumqttc::new(place, version))),
            ));
            for (name, script, transport) in [
                ("paho-mqtt", tools.paho(), "tcp"),
                ("paho-mqtt", tools.paho(), "ws"),
                ("MQTT.js", tools.mqtt_js(), "tcp"),
                ("MQTT.js", tools.mqtt_js(), "ws"),
            ] {
                rows.push((
                    Row::new(name, transport, version),
                    scope.spawn(move || script::run(script, place, version, transport)),
                ));
            }
        }
        for (row, outcomes) in rows {
            let outcomes: Vec<(Feature, Outcome)> =
                outcomes.join().expect("a scenario reports its failures");
            table.add(row, outcomes);
        }
    });

    println!("{table}");
    assert!(!table.has_failures(), "not every client can do everything");
}
