//! Declare, push, and what a push is when it is delivered.

use std::fs;

use nexum_harness::{Property, Publish, TemporaryDirectory, Version, reason};
use serde_json::json;

use crate::commands::{self, Listener};
use crate::scene::{
    SOON, Scene, answer, attempt, builder, json, label, next, property, publish_to, reason_of,
    refused_filter, take, text,
};

#[test]
fn declare_with_mosquitto() {
    let mut scene = Scene::on(builder());
    commands::publish(&scene, "$queue/jobs/$ctl/create", "");
    commands::publish(&scene, "$queue/mail/$ctl/create", r#"{"max_attempts": 2}"#);
    assert_eq!(scene.info()["options"]["max_attempts"], 5);
    let options = json!({
        "max_attempts": 3, "visibility": "45s", "order": "prio", "max_len": 10, "max_bytes": 1000,
        "overflow": "dlq", "source": ["sensors/+"],
    });
    commands::ask(&scene, "$queue/all/$ctl/create", &options.to_string());
    let info = commands::ask(&scene, "$queue/all/$ctl/info", "");
    for (key, value) in options.as_object().expect("it is one") {
        let expected = if key == "visibility" {
            json!("45s")
        } else {
            value.clone()
        };
        let shown = &info["options"][key];
        assert!(
            *shown == expected || *shown == json!("45000ms"),
            "{key}: {shown}"
        );
    }
}

#[test]
fn declare_on_5() {
    let mut scene = Scene::start();
    assert_eq!(scene.control("jobs", "create", "").code, "ok", "the same");
    let other = scene.control("jobs", "create", r#"{"max_attempts": 7}"#);
    assert_eq!(other.code, "conflict");
    assert_eq!(other.ack.reason, reason::IMPLEMENTATION_SPECIFIC_ERROR);
    assert_eq!(property(&other.ack.properties, "code"), Some("conflict"));
    assert!(reason_of(&other.ack.properties).contains("$ctl/alter"));
}

#[test]
fn declared_in_the_configuration() {
    let directory = TemporaryDirectory::new();
    let file = directory.path().join("config.toml");
    let text = "[queue]\ndefaults = { max_attempts = 9 }\n\n\
                [queues.jobs]\nvisibility = \"5s\"\nsource = [\"work/#\"]\n\n[queues.mail]\n";
    fs::write(&file, text).expect("it can be written");
    let file = file.display().to_string();
    let mut scene = Scene::on(builder().argument("--config").argument(&file));
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs/#");
    scene.push("$queue/jobs/new", "pushed");
    assert_eq!(next(&mut worker, "pushed").topic, "$queue/jobs/new");
    scene.push("work/eu", "captured");
    assert_eq!(next(&mut worker, "captured").topic, "$queue/jobs/work/eu");
    let options = scene.info()["options"].take();
    assert_eq!(options["max_attempts"], 9);
    drop(scene.worker(Version::V5, "postman", "$queue/mail"));
    // They are there again, with what they had.
    scene.restart();
    assert_eq!(scene.info()["options"], options);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    assert_eq!(take(&mut worker, 2), ["pushed", "captured"]);
}

#[test]
fn created_by_whoever_comes_first() {
    let mut scene = Scene::on(builder().set("queue.auto_create", true));
    commands::publish(&scene, "$queue/pushed/a", "x");
    let mut listener = Listener::start(&scene, "$queue/pushed/#");
    listener.expect("$queue/pushed/a", "x");
    let mut worker = scene.worker(Version::V5, "worker", "$queue/subscribed");
    scene.push("$queue/subscribed", "y");
    next(&mut worker, "y");
    let answer = scene.control("asked", "info", "");
    assert_eq!(answer.code, "not_found", "looking creates nothing");
}

#[test]
fn undeclared_is_refused_with_its_reason() {
    let mut scene = Scene::on(builder());
    let ack = scene.publish(Publish::new("$queue/nowhere", "x"));
    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
    assert_eq!(property(&ack.properties, "code"), Some("not_found"));
    assert!(reason_of(&ack.properties).contains("$queue/nowhere/$ctl/create"));
    let mut worker = scene.broker.client(Version::V5, "worker");
    for filter in [
        "$queue/nowhere",
        "$queue/nowhere/#",
        "$queue/nowhere/$lease/#",
        "$share/g/$queue/nowhere",
    ] {
        let suback = refused_filter(&mut worker, filter, 1, reason::TOPIC_FILTER_INVALID);
        assert!(reason_of(&suback.properties).contains("$queue/nowhere/$ctl/create"));
    }
    Listener::is_refused(&scene, "$queue/nowhere/#", &[]);
    let notice = commands::notice(&scene, "$queue/nowhere", "x");
    assert_eq!(notice["code"], "not_found");
}

#[test]
fn push_with_mosquitto() {
    let mut scene = Scene::start();
    commands::publish(&scene, "$queue/jobs", "plain");
    commands::publish(&scene, "$queue/jobs/eu/new", "with a key");
    commands::publish(&scene, "$q/jobs/us", "by the alias");
    let shown = scene.control("jobs", "peek", "").body;
    let shown: Vec<_> = shown
        .as_array()
        .expect("it lists them")
        .iter()
        .map(|message| (message["payload"].clone(), message["key"].clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (json!("plain"), json!(null)),
            (json!("with a key"), json!("eu/new")),
            (json!("by the alias"), json!("us")),
        ]
    );
}

/// Whatever it was pushed at, it is delivered at the QoS of the consumer.
#[test]
fn push_on_5_at_any_qos() {
    let scene = Scene::start();
    for version in Version::ALL {
        let mut producer = scene.broker.client(version, "producer");
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        for qos in 0..3 {
            let push = Publish::new("$queue/jobs", &qos.to_string()).qos(qos, 7);
            assert_eq!(producer.publish(push), 0);
            let delivery = next(&mut worker, &qos.to_string());
            assert_eq!(delivery.qos, 1, "pushed at QoS {qos}");
            worker.send(nexum_harness::puback(delivery.packet_identifier));
        }
        worker.disconnect();
    }
}

#[test]
fn properties_of_the_push_are_delivered() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    let ack = scene.publish(
        Publish::new("$queue/jobs/eu", "{}")
            .property(Property::payload_format_indicator(1))
            .property(Property::content_type("application/json"))
            .property(Property::response_topic("answers/to"))
            .property(Property::correlation_data(b"17"))
            .property(Property::user("trace", "a"))
            .property(Property::user("trace", "b")),
    );
    assert_eq!(ack.reason, 0, "a push is no verb that would be answered");
    let delivery = next(&mut worker, "{}");
    let properties = &delivery.properties;
    assert_eq!(properties.payload_format_indicator(), Some(1));
    assert_eq!(properties.content_type(), Some("application/json"));
    assert_eq!(properties.response_topic(), Some("answers/to"));
    assert_eq!(properties.correlation_data(), Some(b"17".as_slice()));
    let mut traces: Vec<_> = properties.user();
    traces.retain(|(name, _)| *name == "trace");
    assert_eq!(traces, [("trace", "a"), ("trace", "b")]);
    assert_eq!(label(&delivery, "q-key"), Some("eu"));
}

/// The publisher's own properties are all there, in their order; the first of a name is the
/// broker's, so nobody can pretend to be it.
#[test]
fn labels_of_the_broker_come_first() {
    let names = ["q-id", "q-attempt", "q-ts", "q-key", "dlq-reason"];
    let mut scene = Scene::with(r#"{"max_attempts": 1}"#);
    let forged = names
        .iter()
        .chain(&names)
        .fold(Publish::new("$queue/jobs/eu", "x"), |publish, name| {
            publish.property(Property::user(name, "forged"))
        });
    assert_eq!(scene.publish(forged).reason, 0);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    let delivery = next(&mut worker, "x");
    let forged_of = |delivery: &Publish| {
        let user = delivery.properties.user();
        let forged = user.into_iter().filter(|(_, value)| *value == "forged");
        let forged: Vec<_> = forged.map(|(name, _)| name.to_owned()).collect();
        forged
    };
    assert_eq!(forged_of(&delivery), [names, names].concat());
    assert_eq!(label(&delivery, "q-attempt"), Some("1"));
    assert_eq!(label(&delivery, "q-key"), Some("eu"));
    for name in ["q-id", "q-ts"] {
        let number = label(&delivery, name).map(str::parse::<u64>);
        assert!(matches!(number, Some(Ok(_))), "{name}: {delivery:?}");
    }
    answer(&mut worker, &delivery, reason::UNSPECIFIED_ERROR);
    let mut dead = scene.worker(Version::V5, "dead", "$queue/jobs/$dlq");
    let letter = next(&mut dead, "x");
    assert_eq!(label(&letter, "dlq-reason"), Some("max_attempts"));
    assert_eq!(label(&letter, "dlq-attempts"), Some("1"));
    assert_eq!(forged_of(&letter), [names, names].concat());
}

#[test]
fn retain_means_nothing_to_a_queue() {
    let mut scene = Scene::start();
    let ack = scene.publish(Publish::new("$queue/jobs", "x").retain());
    assert_eq!(ack.reason, 0);
    commands::publish_with(&scene, "$queue/jobs", "y", &["-r"]);
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    assert_eq!(take(&mut worker, 2), ["x", "y"]);
    scene.wait_until_done();
    // An empty one deletes nothing; it is a message like any other.
    scene.publish(Publish::new("$queue/jobs", "").retain());
    assert!(!worker.expect_message().retain);
    let mut late = scene.worker(Version::V5, "late", "$queue/jobs");
    late.expect_ping();
}

/// `#` and a leading `+` match no topic that begins with `$`.
#[test]
fn wildcards_at_the_top_get_nothing_of_a_queue() {
    let mut scene = Scene::start();
    let mut all = scene.worker(Version::V5, "all", "#");
    all.subscribe("+/jobs", 1);
    scene.push("$queue/jobs", "x");
    scene.push("here/jobs", "y");
    assert_eq!(text(&all.expect_publish()), "y");
    assert_eq!(scene.info()["ready"], 1);
}

#[test]
fn sources_are_captured() {
    let mut scene = Scene::with(r#"{"source": ["sensors/+/alarm", "orders/#"]}"#);
    let mut witness = scene.worker(Version::V311, "witness", "sensors/#");
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/sensors/#");
    commands::publish(&scene, "sensors/1/alarm", "hot");
    let delivery = next(&mut worker, "hot");
    assert_eq!(delivery.topic, "$queue/jobs/sensors/1/alarm");
    assert_eq!(label(&delivery, "q-key"), Some("sensors/1/alarm"));
    assert_eq!(attempt(&delivery), 1);
    assert_eq!(
        text(&witness.expect_message()),
        "hot",
        "it is published, too"
    );
    // At QoS 0 as well, and though nobody subscribes to it.
    let mut sensor = scene.broker.client(Version::V5, "sensor");
    sensor.publish(Publish::new("orders/1", "cold"));
    scene.wait_for("ready", 1);
    let ack = publish_to(&mut sensor, Publish::new("sensors/1/note", "x"));
    assert_eq!(ack.reason, 0, "the witness has it");
    assert_eq!(scene.info()["ready"], 1, "it is no alarm");
}

/// A captured message that the queue refuses is refused to its publisher.
#[test]
fn source_of_a_full_queue_is_refused() {
    let mut scene = Scene::with(r#"{"source": ["work"], "max_len": 1}"#);
    scene.push("work", "x");
    let ack = scene.publish(Publish::new("work", "y"));
    assert_eq!(ack.reason, reason::QUOTA_EXCEEDED, "{ack:?}");
}

#[test]
fn full_queue_refuses_drops_or_buries() {
    let mut scene = Scene::with(r#"{"max_len": 2}"#);
    scene.push_numbers(2);
    let ack = scene.publish(Publish::new("$queue/jobs", "2"));
    assert_eq!(ack.reason, reason::QUOTA_EXCEEDED);
    assert!(reason_of(&ack.properties).contains("max_len"));
    assert_eq!(property(&ack.properties, "code"), Some("quota_exceeded"));
    assert!(property(&ack.properties, "retry-after").is_some());
    let notice = commands::notice(&scene, "$queue/jobs", "2");
    assert_eq!(notice["code"], "quota_exceeded");
    assert!(notice["retry_after_ms"].as_u64() > Some(0), "{notice}");
    for (overflow, dead) in [("drop_oldest", 0), ("dlq", 1)] {
        let options = format!(r#"{{"overflow": "{overflow}"}}"#);
        assert_eq!(scene.control("jobs", "alter", &options).code, "ok");
        scene.push("$queue/jobs", overflow);
        let info = scene.info();
        assert_eq!((&info["ready"], &info["dead"]), (&json!(2), &json!(dead)));
    }
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    assert_eq!(take(&mut worker, 2), ["drop_oldest", "dlq"]);
    assert_eq!(
        scene.control("jobs", "alter", r#"{"max_bytes": 50}"#).code,
        "ok"
    );
    let large = "x".repeat(100);
    let ack = scene.publish(Publish::new("$queue/jobs", &large));
    assert_eq!(ack.reason, reason::QUOTA_EXCEEDED);
    assert!(reason_of(&ack.properties).contains("max_bytes"));
}

/// Of each key one at a time, in order, whatever is refused.
#[test]
fn order_key_keeps_a_key_in_order() {
    let mut options: serde_json::Value = serde_json::from_str(SOON).expect("it is JSON");
    options["order"] = json!("key");
    let mut scene = Scene::with(&options.to_string());
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    for (key, payload) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        scene.push(&format!("$queue/jobs/{key}"), payload);
    }
    let first = next(&mut worker, "a1");
    let other = next(&mut worker, "b1");
    worker.expect_ping();
    crate::scene::answer(&mut worker, &other, 0);
    crate::scene::answer(&mut worker, &first, reason::UNSPECIFIED_ERROR);
    assert_eq!(take(&mut worker, 3), ["a1", "a2", "a3"]);
}

/// The body of a refusal, whichever way it comes.
#[test]
fn answers_are_json() {
    let scene = Scene::start();
    let mut old = scene.old_client("old");
    let (end, body) = old.request("t", "$queue/jobs/$ctl/nonsense", "");
    assert_eq!(end, "err");
    assert_eq!(body["code"], "bad_address");
    let mut names: Vec<_> = body.as_object().expect("it is one").keys().collect();
    names.sort();
    assert_eq!(names, ["code", "reason"]);
    let publish = Publish::new("$req/t/$queue/jobs", "x");
    assert_eq!(publish_to(&mut old.0, publish).reason, 0);
    let reply = old.0.expect_message();
    assert_eq!(reply.topic, "$reply/t/ok");
    assert_eq!(json(&reply), json!(null));
}

/// Levels may be empty, and need not be ASCII.
#[test]
fn levels_are_any() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    for levels in ["", "/", "/a/", "grün/茶", "a b/c,d=%2F"] {
        let topic = format!("$queue/jobs/{levels}");
        scene.push(&topic, levels);
        let delivery = next(&mut worker, levels);
        assert_eq!(delivery.topic, topic);
        assert_eq!(label(&delivery, "q-key"), Some(levels));
        crate::scene::answer(&mut worker, &delivery, 0);
    }
    scene.wait_until_done();
}

/// What is counted and shown is the same after a restart.
#[test]
fn counts_survive_kill_9() {
    let mut scene = Scene::with(r#"{"order": "prio"}"#);
    scene.push_numbers(5);
    for topic in [
        "$queue/jobs/eu/new",
        "$opt/prio=7,key=k,id=i,ttl=1h/$queue/jobs/x",
        "$delayed/1h/$queue/jobs",
    ] {
        scene.publish(
            Publish::new(topic, "some payload")
                .property(Property::content_type("text/plain"))
                .property(Property::user("trace", "a")),
        );
    }
    let look = |scene: &mut Scene| {
        let info = scene.info();
        let mut shown = scene.control("jobs", "peek", "").body;
        for message in shown.as_array_mut().expect("it is a list") {
            message["age_ms"].take();
        }
        let counts = ["ready", "delayed", "leased", "dead", "bytes", "options"];
        (counts.map(|count| info[count].clone()), shown)
    };
    let before = look(&mut scene);
    scene.restart();
    assert_eq!(look(&mut scene), before);
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs/#");
    let first = next(&mut worker, "some payload");
    assert_eq!(first.properties.content_type(), Some("text/plain"));
    assert_eq!(label(&first, "q-key"), Some("k"));
    assert_eq!(label(&first, "trace"), Some("a"));
}
