//! Client libraries call back by filter. What is delivered matches the filter as the client wrote it;
//! only `$share/<group>/` and `$exclusive/` are not part of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use nexum_harness::{Property, Publish, Subscribe, Version, reason};
use serde_json::{Value, json};

use crate::scene::{Scene, answer, next};

const ADVICE: &str = "run tests/install-tools, with the same CARGO_TARGET_DIR";

/// A filter, what the library routes by, and topics with what their deliveries begin with.
fn cases() -> Value {
    json!([
        {
            "filter": "$queue/jobs", "routed": "$queue/jobs",
            "topics": [["$queue/jobs", "$queue/jobs"], ["$queue/jobs/eu/new", "$queue/jobs"]],
        },
        {
            "filter": "$queue/jobs/#", "routed": "$queue/jobs/#",
            "topics": [["$queue/jobs", "$queue/jobs"], ["$q/jobs/eu/new", "$queue/jobs/eu/new"]],
        },
        {
            "filter": "$queue/jobs/eu/+", "routed": "$queue/jobs/eu/+",
            "topics": [["$queue/jobs/eu/new", "$queue/jobs/eu/new"]],
        },
        {
            "filter": "$q/jobs", "routed": "$q/jobs",
            "topics": [["$queue/jobs/eu", "$q/jobs"]],
        },
        {
            "filter": "$q/jobs/#", "routed": "$q/jobs/#",
            "topics": [["$queue/jobs/eu/new", "$q/jobs/eu/new"], ["$queue/jobs", "$q/jobs"]],
        },
        {
            "filter": "$queue/jobs/$lease/#", "routed": "$queue/jobs/$lease/#",
            "topics": [
                ["$queue/jobs", "$queue/jobs/$lease/"],
                ["$queue/jobs/eu/new", "$queue/jobs/$lease/"],
            ],
        },
        {
            "filter": "$queue/jobs/$lease/+/+/eu/#", "routed": "$queue/jobs/$lease/+/+/eu/#",
            "topics": [["$queue/jobs/eu/new", "$queue/jobs/$lease/"]],
        },
        {
            "filter": "$queue/mail/$dlq", "routed": "$queue/mail/$dlq",
            "topics": [["$opt/ttl=0/$queue/mail/eu", "$queue/mail/$dlq"]],
        },
        {
            "filter": "$share/g/$queue/jobs/#", "routed": "$queue/jobs/#",
            "topics": [["$queue/jobs/eu", "$queue/jobs/eu"]],
        },
        {
            "filter": "$share/g/$q/jobs/#", "routed": "$q/jobs/#",
            "topics": [["$queue/jobs/eu", "$q/jobs/eu"]],
        },
        {
            "filter": "$exclusive/$queue/jobs/#", "routed": "$queue/jobs/#",
            "topics": [["$queue/jobs/eu", "$queue/jobs/eu"]],
        },
        {
            "filter": "$queue/caught/sensors/+", "routed": "$queue/caught/sensors/+",
            "topics": [["sensors/1", "$queue/caught/sensors/1"]],
        },
        {
            "filter": "$kv/cfg/line1/#", "routed": "$kv/cfg/line1/#",
            "topics": [
                ["$kv/cfg/line1/rate", "$kv/cfg/line1/rate"],
                ["$opt/ttl=1h/$kv/cfg/line1/a/b", "$kv/cfg/line1/a/b"],
            ],
        },
        {
            "filter": "$kv/cfg/+/state", "routed": "$kv/cfg/+/state",
            "topics": [["$kv/cfg/line2/state", "$kv/cfg/line2/state"]],
        },
        {
            "filter": "$kv/cfg/line3", "routed": "$kv/cfg/line3",
            "topics": [["$kv/cfg/line3", "$kv/cfg/line3"]],
        },
        {
            "filter": "$exclusive/$kv/cfg/line4/#", "routed": "$kv/cfg/line4/#",
            "topics": [["$kv/cfg/line4/x", "$kv/cfg/line4/x"]],
        },
    ])
}

#[track_caller]
fn scene() -> Scene {
    let mut scene = Scene::start();
    // What expires there is dead at once.
    scene.create("mail", r#"{"expired": "dlq"}"#);
    scene.create("caught", r#"{"source": ["sensors/#"]}"#);
    let bucket = scene.publish(Publish::new("$kv/cfg/$ctl/create", ""));
    assert_eq!(bucket.reason, 0);
    scene
}

/// Beside the build products, wherever Cargo puts them.
#[track_caller]
fn tools() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_nexum"));
    let mut around = binary
        .ancestors()
        .map(|directory| directory.join("test-tools"));
    around
        .find(|directory| directory.is_dir())
        .unwrap_or_else(|| panic!("no test-tools beside {}: {ADVICE}", binary.display()))
}

fn script(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR"));
    place.join("../../tests/queues").join(name)
}

/// Runs a script with its assignment: every case has to be `ok`.
#[track_caller]
fn expect_ok(mut command: Command, version: u8) {
    let scene = scene();
    let cases = cases();
    let expected = cases.as_array().map_or(0, Vec::len);
    let task = json!({ "port": scene.port(), "version": version, "cases": cases });
    let output = command
        .arg(task.to_string())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: {ADVICE}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let good = told.lines().filter(|line| line.starts_with("ok ")).count();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(good, expected, "on {version}:\n{told}{errors}");
}

#[test]
fn callbacks_of_paho() {
    let python = tools().join("venv/bin/python3");
    assert!(python.exists(), "{} is missing: {ADVICE}", python.display());
    for version in [4, 5] {
        let mut command = Command::new(&python);
        command.arg(script("routing.py"));
        expect_ok(command, version);
    }
}

#[test]
fn callbacks_with_mqtt_js() {
    let modules = tools().join("node/node_modules");
    assert!(
        modules.join("mqtt").exists(),
        "MQTT.js is missing: {ADVICE}"
    );
    for version in [4, 5] {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules).arg(script("routing.js"));
        expect_ok(command, version);
    }
}

/// The Subscription Identifier routes as well, and of several subscriptions of one client each gets
/// what is delivered on it.
#[test]
fn subscription_identifiers_are_echoed() {
    let mut scene = scene();
    let mut worker = scene.broker.client(Version::V5, "worker");
    let filters = [
        "$queue/jobs/eu/+",
        "$q/jobs/us/#",
        "$share/g/$queue/jobs/de",
        "$queue/mail/$dlq",
    ];
    for (number, filter) in (1_u16..).zip(filters) {
        let subscribe = Subscribe::new(number).filter(filter, 1);
        let identifier = Property::subscription_identifier(number.into());
        worker.send(subscribe.property(identifier));
        worker.expect_suback(number, &[1]);
    }
    for (topic, number) in [
        ("$queue/jobs/us/old", 2),
        ("$queue/jobs/eu/new", 1),
        ("$opt/ttl=0/$queue/mail", 4),
        ("$queue/jobs/de", 3),
    ] {
        assert_eq!(scene.publish(Publish::new(topic, topic)).reason, 0);
        let delivery = next(&mut worker, topic);
        let identifiers = delivery.properties.subscription_identifiers();
        assert_eq!(identifiers, [number], "{topic}");
        answer(&mut worker, &delivery, reason::SUCCESS);
    }
}

/// Messages for which nobody has a filter wait; those for whom there is one go past them.
#[test]
fn each_filter_gets_what_it_matches() {
    let mut scene = scene();
    let mut europe = scene.worker(Version::V311, "europe", "$queue/jobs/eu/+");
    let mut leases = scene.worker(Version::V311, "leases", "$queue/jobs/$lease/+/+/us/#");
    for topic in [
        "$queue/jobs/us/a",
        "$queue/jobs",
        "$queue/jobs/eu",
        "$queue/jobs/eu/b",
    ] {
        scene.push(topic, topic);
    }
    assert_eq!(europe.expect_message().topic, "$queue/jobs/eu/b");
    assert!(leases.expect_message().topic.ends_with("/us/a"));
    europe.expect_ping();
    leases.expect_ping();
    assert_eq!(scene.info()["ready"], 2);
    let mut rest = scene.worker(Version::V311, "rest", "$queue/jobs/#");
    assert_eq!(rest.expect_message().topic, "$queue/jobs");
    assert_eq!(rest.expect_message().topic, "$queue/jobs/eu");
}
