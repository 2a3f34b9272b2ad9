//! Declaring, altering, looking, pausing, deleting.

use nexum_extension_api::driver::Store;
use nexum_extension_api::{ErrorCode, Options};
use nexum_queue::{Order, QueueOptions, Settings};

use crate::common::*;

#[test]
fn a_queue_is_created_once_and_the_same_again_is_no_error() {
    let mut broker = jobs(r#"{"max_attempts": 3}"#);
    let again = control(&mut broker, "create", r#"{"max_attempts": 3}"#);
    assert!(again.is_ok());
    let other = control(&mut broker, "create", "").expect_err("refused");
    assert_eq!(other.code, ErrorCode::Conflict);
    assert!(other.reason.contains("$ctl/alter"));
    broker.restart().expect("readable");
    assert!(control(&mut broker, "create", r#"{"max_attempts": 3}"#).is_ok());
}

#[test]
fn options_that_are_wrong_say_what_is_right() {
    let mut broker = broker();
    for (options, expected) in [
        (r#"{"max_attempt": 3}"#, "did you mean 'max_attempts'"),
        (r#"{"max_attempts": 1001}"#, "from 0 to 1000"),
        (r#"{"max_attempts": "3"}"#, "from 0 to 1000"),
        (r#"{"visibility": "soon"}"#, "'visibility'"),
        (r#"{"visibility": "0s"}"#, "from 1 ms"),
        (r#"{"order": "lifo"}"#, "\"fifo\" or \"key\" or \"prio\""),
        (r#"{"source": ["a/#/b"]}"#, "'a/#/b'"),
        (r#"{"source": ["a", "$share/g/x"]}"#, "'$share/g/x'"),
        (r#"{"source": ["$queue/jobs/#"]}"#, "begins with $queue"),
        (r#"{"source": ["$q/jobs"]}"#, "begins with $q:"),
        (r#"{"source": ["$delayed/60/x"]}"#, "name the topics alone"),
        (r#"{"source": ["$reply/+/+"]}"#, "begins with $reply"),
        (r#"{"source": ["$kv"]}"#, "begins with $kv"),
        (r#"{"backoff": {"fist": "1s"}}"#, "did you mean 'first'"),
        (r#"{"backoff": {"factor": 0.5}}"#, "between 1 and 100"),
        ("{\"a\": 1,\n  oops}", "line 2, column 3"),
        ("[]", "no JSON object"),
    ] {
        let refusal = control(&mut broker, "create", options).expect_err(options);
        assert_eq!(refusal.code, ErrorCode::BadPayload);
        assert!(refusal.reason.contains(expected), "{options}: {refusal}");
    }
}

#[test]
fn options_are_read_back_as_they_are_written() {
    let json = br#"{"max_attempts": 0, "visibility": 90, "order": "prio", "max_len": 7,
        "max_bytes": 8, "overflow": "dlq", "source": ["a/+", "$own/b"], "allow_qos0": true,
        "dedup_window": "0s", "backoff": {"first": "0s", "factor": 1.5, "max": "1h", "jitter": 1},
        "prefetch": 3, "dlq_max_len": 0, "expired": "dlq", "dispatch": "round_robin"}"#;
    let options = QueueOptions::default().with_json(json).expect("options");
    let written = options.to_json().to_string();
    let again = QueueOptions::default().with_json(written.as_bytes());
    assert_eq!(again, Ok(options));
}

#[test]
fn alter_changes_what_it_names_and_is_kept() {
    let mut broker = jobs(r#"{"max_attempts": 3}"#);
    control(&mut broker, "alter", r#"{"max_len": 7}"#).expect("altered");
    broker.restart().expect("readable");
    let options = info(&mut broker, "options");
    assert_eq!(options["max_len"], 7);
    assert_eq!(options["max_attempts"], 3);
}

#[test]
fn what_was_delivered_keeps_its_time_when_that_is_altered() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 2);
    push(&mut broker, "$queue/jobs", "a");
    control(&mut broker, "alter", r#"{"visibility": "1s"}"#).expect("altered");
    push(&mut broker, "$queue/jobs", "b");
    broker.deliveries(consumer);
    broker.wait(seconds(1));
    assert_eq!(info(&mut broker, "leased"), 1);
}

#[test]
fn a_paused_queue_takes_and_gives_nothing() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    control(&mut broker, "pause", "").expect("paused");
    push(&mut broker, "$queue/jobs", "a");
    assert!(broker.deliveries(consumer).is_empty());
    broker.restart().expect("readable");
    let consumer = worker(&mut broker, "$queue/jobs", 10);
    assert!(broker.deliveries(consumer).is_empty());
    assert_eq!(info(&mut broker, "paused"), true);
    control(&mut broker, "resume", "").expect("resumed");
    assert_eq!(payload(&one(&mut broker, consumer)), "a");
}

#[test]
fn a_purge_leaves_what_a_consumer_has() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    for payload in ["a", "b", "c"] {
        push(&mut broker, "$queue/jobs", payload);
    }
    push_with(&mut broker, "$queue/jobs", "d", &[("delay", "1h")]);
    let reply = control(&mut broker, "purge", "").expect("purged");
    assert_eq!(reply.payload, br#"{"purged":3}"#);
    assert_eq!(payloads(&broker.work_off(consumer)), ["a"]);
    assert_eq!(broker.records().len(), 2);
}

#[test]
fn a_deleted_queue_leaves_nothing() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    for payload in ["a", "b", "c"] {
        push_with(&mut broker, "$queue/jobs", payload, &[("id", payload)]);
    }
    let had = one(&mut broker, consumer);
    control(&mut broker, "delete", "").expect("deleted");
    assert_eq!(broker.records().len(), 1, "the mark");
    broker.settle(consumer, had.delivery, refused(0x80));
    assert_eq!(code(control(&mut broker, "info", "")), ErrorCode::NotFound);
    // What is made anew is another one.
    create(&mut broker, "jobs", "");
    push(&mut broker, "$queue/jobs", "d");
    assert!(broker.deliveries(consumer).is_empty());
    broker.subscribe(consumer, "$queue/jobs").expect("a feed");
    assert_eq!(payload(&one(&mut broker, consumer)), "d");
}

#[test]
fn a_push_that_is_stored_after_its_queue_was_deleted_leaves_nothing() {
    let mut broker = jobs("");
    broker.set_store(Store::Slow);
    let id = || options(&[("id", "1")]);
    let push = broker.command("$queue/jobs", b"a", id());
    let again = broker.command("$queue/jobs", b"a", id());
    broker.command("$queue/jobs/$ctl/delete", b"", Options::default());
    broker.set_store(Store::Quick);
    for command in [push, again] {
        let reply = broker.take_reply(command).expect("an answer");
        assert_eq!(code(reply), ErrorCode::NotFound);
    }
    assert_eq!(broker.records().len(), 1);
}

#[test]
fn what_a_crash_leaves_of_a_deleted_queue_is_removed() {
    let mut broker = jobs("");
    for number in 0..2500 {
        push(&mut broker, "$queue/jobs", &number.to_string());
    }
    broker.set_store(Store::Slow);
    broker.command("$queue/jobs/$ctl/delete", b"", Options::default());
    broker.commit();
    assert!(broker.records().len() > 1000, "one part is gone");
    broker.restart().expect("readable");
    broker.set_store(Store::Quick);
    assert_eq!(broker.records().len(), 1);
}

#[test]
fn numbers_are_never_used_again() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    push(&mut broker, "$queue/jobs", "a");
    let first = property(&broker.work_off(consumer)[0], "q-id");
    broker.restart().expect("readable");
    push(&mut broker, "$queue/jobs", "b");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    let second = property(&one(&mut broker, consumer), "q-id");
    let number = |id: Option<String>| id.expect("a number").parse::<u64>().expect("a number");
    assert!(number(second) > number(first));
}

#[test]
fn peek_shows_messages_in_order() {
    let mut broker = jobs("");
    push_with(&mut broker, "$queue/jobs/eu", "text", &[("prio", "7")]);
    broker
        .publish("$queue/jobs", &[0xff, 0xfe])
        .expect("it is pushed");
    push_with(&mut broker, "$queue/jobs", "late", &[("delay", "1h")]);
    broker.wait(seconds(2));
    let peek = |broker: &mut Broker, page: &str| -> serde_json::Value {
        let reply = control(broker, "peek", page).expect("shown");
        serde_json::from_slice(&reply.payload).expect("JSON")
    };
    let shown = peek(&mut broker, "");
    assert_eq!(shown[0]["payload"], "text");
    assert_eq!(shown[0]["key"], "eu");
    assert_eq!(shown[0]["prio"], 7);
    assert_eq!(shown[0]["attempt"], 1);
    assert_eq!(shown[0]["age_ms"], 2000);
    assert_eq!(shown[1]["payload_base64"], "//4=");
    assert_eq!(shown[1]["state"], "ready");
    assert_eq!(shown[2]["state"], "delayed");
    assert_eq!(shown[2]["payload"], "late", "read from the store");
    let page = peek(&mut broker, r#"{"limit": 1, "offset": 1}"#);
    assert_eq!(page.as_array().map(Vec::len), Some(1));
    assert_eq!(page[0]["id"], shown[1]["id"]);
}

#[test]
fn info_tells_how_a_queue_is() {
    let mut broker = jobs("");
    let consumer = worker(&mut broker, "$queue/jobs", 1);
    for payload in ["a", "b"] {
        push(&mut broker, "$queue/jobs", payload);
    }
    push_with(&mut broker, "$queue/jobs", "c", &[("delay", "1h")]);
    broker.wait(seconds(3));
    for (key, expected) in [
        ("ready", 1),
        ("leased", 1),
        ("delayed", 1),
        ("dead", 0),
        ("consumers", 1),
        ("oldest_ready_ms", 3000),
    ] {
        assert_eq!(info(&mut broker, key), expected, "{key}");
    }
    broker.detach(consumer, true);
    assert_eq!(info(&mut broker, "consumers"), 0);
    let gauges = nexum_extension_api::Extension::gauges(broker.extension());
    let ready = gauges.iter().find(|gauge| {
        let state = ("state", "ready".to_owned());
        gauge.name == "nexum_queue_messages" && gauge.labels.contains(&state)
    });
    assert_eq!(ready.map(|gauge| gauge.value), Some(2.0));
}

#[test]
fn declared_queues_are_there_from_the_start() {
    let declare = |order, max_len| {
        let options = QueueOptions {
            order,
            max_len,
            ..QueueOptions::default()
        };
        Settings {
            declared: vec![("jobs".to_owned(), options)],
            ..Settings::default()
        }
    };
    let mut broker = broker_with(declare(Order::Fifo, 5));
    push(&mut broker, "$queue/jobs", "a");
    assert_eq!(info(&mut broker, "options")["max_len"], 5);
    // The configuration changes over a restart: told by a counter, for the driver keeps no state.
    let starts = std::cell::Cell::new(0);
    let mut broker = Broker::new(move || {
        starts.set(starts.get() + 1);
        let settings = match starts.get() {
            1 => declare(Order::Fifo, 5),
            _ => declare(Order::Key, 6),
        };
        nexum_queue::Queues::new(settings)
    });
    push(&mut broker, "$queue/jobs", "a");
    broker.restart().expect("readable");
    assert_eq!(info(&mut broker, "options")["max_len"], 6);
    assert_eq!(info(&mut broker, "options")["order"], "fifo");
    assert!(
        broker
            .events()
            .iter()
            .any(|(_, text)| text.contains("order"))
    );
    control(&mut broker, "purge", "").expect("purged");
    broker.restart().expect("readable");
    assert_eq!(info(&mut broker, "options")["order"], "key");
}

#[test]
fn an_unknown_verb_or_operation_names_the_known_ones() {
    let mut broker = jobs("");
    for (topic, known) in [
        ("$queue/jobs/$ctl/destroy", "dlq.redrive"),
        ("$queue/jobs/$ctl", "dlq.redrive"),
        ("$queue/other/$ctl/destroy", "dlq.redrive"),
        ("$queue/jobs/$dlq", "$nack"),
        ("$queue/jobs/$foo", "$nack"),
    ] {
        let refusal = broker.publish(topic, b"").expect_err(topic);
        assert_eq!(refusal.code, ErrorCode::BadAddress);
        assert!(refusal.reason.contains(known), "{refusal}");
    }
}
