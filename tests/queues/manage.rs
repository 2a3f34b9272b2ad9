//! `$ctl`, `$req` and `$reply`, and the Response Topic.

use nexum_harness::{Property, Publish, Version, reason};
use serde_json::{Value, json};

use crate::commands;
use crate::scene::{Scene, builder, json, label, next, publish_to, reason_of, take, text};

#[test]
fn info_and_peek_with_mosquitto() {
    let scene = Scene::start();
    for payload in ["a", "b", "c"] {
        commands::publish(&scene, "$queue/jobs/eu", payload);
    }
    commands::publish(&scene, "$opt/delay=1h,prio=7,key=k/$queue/jobs", "later");
    let info = commands::ask(&scene, "$queue/jobs/$ctl/info", "");
    let counts = ["ready", "delayed", "leased", "dead", "consumers"].map(|key| info[key].clone());
    assert_eq!(counts, [3, 1, 0, 0, 0], "{info}");
    assert_eq!(info["name"], "jobs");
    assert_eq!(info["paused"], false);
    assert!(info["oldest_ready_ms"].is_u64(), "{info}");
    let shown = commands::ask(&scene, "$queue/jobs/$ctl/peek", "");
    assert_eq!(shown.as_array().map(Vec::len), Some(4));
    let last = &shown[3];
    assert_eq!(
        json!([
            last["payload"],
            last["prio"],
            last["key"],
            last["state"],
            last["attempt"]
        ]),
        json!(["later", 7, "k", "delayed", 1])
    );
    let page = r#"{"offset": 1, "limit": 1}"#;
    let shown = commands::ask(&scene, "$queue/jobs/$ctl/peek", page);
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    assert_eq!(shown[0]["payload"], "b");
}

#[test]
fn purge_leaves_what_a_consumer_has() {
    let mut scene = Scene::with(r#"{"prefetch": 1}"#);
    let mut worker = scene.worker(Version::V311, "worker", "$queue/jobs");
    scene.push_numbers(3);
    commands::publish(&scene, "$delayed/1h/$queue/jobs", "later");
    let delivery = next(&mut worker, "0");
    let purged = commands::ask(&scene, "$queue/jobs/$ctl/purge", "");
    assert_eq!(purged, json!({ "purged": 3 }));
    assert_eq!(scene.info()["leased"], 1);
    worker.send(nexum_harness::puback(delivery.packet_identifier));
    scene.wait_until_stored();
    scene.restart();
    assert_eq!(scene.info()["bytes"], 0);
}

#[test]
fn pause_and_resume_with_mosquitto() {
    let mut scene = Scene::start();
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    commands::ask(&scene, "$queue/jobs/$ctl/pause", "");
    commands::publish(&scene, "$queue/jobs", "x");
    worker.expect_ping();
    scene.restart();
    assert_eq!(scene.info()["paused"], true, "it stays so");
    let mut worker = scene.worker(Version::V5, "worker", "$queue/jobs");
    worker.expect_ping();
    commands::ask(&scene, "$queue/jobs/$ctl/resume", "");
    assert_eq!(take(&mut worker, 1), ["x"]);
    assert_eq!(scene.info()["paused"], false);
}

#[test]
fn alter_with_mosquitto() {
    let mut scene = Scene::start();
    commands::ask(
        &scene,
        "$queue/jobs/$ctl/alter",
        r#"{"max_len": 1, "source": ["work"]}"#,
    );
    commands::publish(&scene, "work", "x");
    let info = scene.info();
    assert_eq!(info["options"]["max_len"], 1);
    assert_eq!(
        info["options"]["max_attempts"], 5,
        "what is not named stays"
    );
    assert_eq!(info["ready"], 1);
    let refused = commands::ask_in_vain(&scene, "$queue/jobs/$ctl/alter", r#"{"order": "prio"}"#);
    assert_eq!(refused["code"], "conflict");
    scene.restart();
    assert_eq!(scene.info()["options"], info["options"]);
}

#[test]
fn delete_with_mosquitto() {
    let mut scene = Scene::with(r#"{"source": ["work"]}"#);
    scene.push_numbers(3);
    commands::ask(&scene, "$queue/jobs/$ctl/delete", "");
    assert_eq!(scene.control("jobs", "info", "").code, "not_found");
    // Nothing is captured any more.
    let ack = scene.publish(Publish::new("work", "x"));
    assert_eq!(ack.reason, reason::NO_MATCHING_SUBSCRIBERS);
    scene.restart();
    assert_eq!(scene.control("jobs", "info", "").code, "not_found");
    scene.create("jobs", "");
    assert_eq!(scene.info()["bytes"], 0, "another of that name is empty");
    scene.restart();
    assert_eq!(scene.info()["bytes"], 0);
}

/// Every operation is answered at the Response Topic, with the Correlation Data and a code.
#[test]
fn every_operation_on_5() {
    let mut scene = Scene::on(builder());
    for (operation, payload) in [
        ("create", r#"{"max_attempts": 2}"#),
        ("alter", r#"{"max_attempts": 3}"#),
        ("info", ""),
        ("peek", r#"{"limit": 5}"#),
        ("pause", ""),
        ("resume", ""),
        ("dlq.peek", ""),
        ("dlq.redrive", r#"{"all": true}"#),
        ("dlq.delete", r#"{"all": true}"#),
        ("dlq.purge", ""),
        ("purge", ""),
        ("delete", ""),
    ] {
        let answer = scene.control("jobs", operation, payload);
        assert_eq!(answer.code, "ok", "{operation}: {answer:?}");
        assert_eq!(answer.ack.reason, 0, "{operation}");
    }
    let answer = scene.control("jobs", "info", "");
    assert_eq!(answer.code, "not_found");
    assert_eq!(answer.ack.reason, reason::TOPIC_NAME_INVALID);
    assert_eq!(answer.body["code"], "not_found");
    assert_eq!(answer.body["reason"], reason_of(&answer.ack.properties));
}

#[test]
fn every_operation_on_3_1_1() {
    let scene = Scene::on(builder());
    let mut old = scene.old_client("old");
    let shown = |old: &mut crate::scene::OldClient, target: &str, payload: &str| {
        let target = format!("$queue/jobs/$ctl/{target}");
        old.ask("t", &target, payload)
    };
    assert_eq!(shown(&mut old, "create", ""), Value::Null);
    assert_eq!(shown(&mut old, "alter", "{}"), Value::Null);
    old.ask("push-1", "$queue/jobs/eu", "x");
    assert_eq!(shown(&mut old, "info", "")["ready"], 1);
    assert_eq!(shown(&mut old, "peek", "")[0]["payload"], "x");
    assert_eq!(shown(&mut old, "pause", ""), Value::Null);
    assert_eq!(shown(&mut old, "resume", ""), Value::Null);
    assert_eq!(shown(&mut old, "purge", "")["purged"], 1);
    assert_eq!(shown(&mut old, "dlq.peek", ""), json!([]));
    let all = r#"{"all": true}"#;
    assert_eq!(shown(&mut old, "dlq.redrive", all)["redriven"], 0);
    assert_eq!(shown(&mut old, "dlq.delete", all)["deleted"], 0);
    assert_eq!(shown(&mut old, "dlq.purge", "")["deleted"], 0);
    assert_eq!(shown(&mut old, "delete", ""), Value::Null);
    let (end, body) = old.request("t", "$queue/jobs/$ctl/info", "");
    assert_eq!((end.as_str(), &body["code"]), ("err", &json!("not_found")));
}

/// A reply is for the session that asked, whoever else subscribes to the same.
#[test]
fn replies_are_private() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let mut asking = scene.worker(version, "asking", "$reply/+/+");
        let mut curious = scene.worker(version, "curious", "$reply/+/+");
        curious.subscribe("#", 1);
        curious.subscribe("$reply/#", 1);
        let request = Publish::new("$req/t1/$queue/jobs/$ctl/info", "");
        assert_eq!(publish_to(&mut asking, request).reason, 0);
        let reply = asking.expect_message();
        assert_eq!(reply.topic, "$reply/t1/ok");
        assert_eq!(json(&reply)["name"], "jobs");
        scene.info();
        let answer = curious.expect_message();
        assert!(answer.topic.starts_with("answers/"), "{answer:?}");
        curious.expect_ping();
        asking.disconnect();
        curious.disconnect();
    }
}

/// At any QoS of the request and of the subscription, under any filter that matches.
#[test]
fn replies_come_as_they_are_subscribed_to() {
    let scene = Scene::start();
    let tag = "A-z_0123456789abcdefghijklmnopqr";
    assert_eq!(tag.len(), 32);
    for version in Version::ALL {
        for (qos, filter) in [
            (0, "$reply/+/+".to_owned()),
            (1, format!("$reply/{tag}/+")),
            (2, "$reply/+/ok".to_owned()),
            (1, "$reply/#".to_owned()),
            (0, format!("$reply/{tag}/ok")),
        ] {
            let mut peer = scene.broker.client(version, "asking");
            peer.subscribe(&filter, qos);
            for asked in 0..3 {
                let target = format!("$req/{tag}/$queue/jobs/$ctl/info");
                peer.publish(Publish::new(&target, "").qos(asked, 9));
                let reply = peer.expect_message();
                assert_eq!(reply.topic, format!("$reply/{tag}/ok"), "{filter}");
                assert_eq!(reply.qos, qos.min(1), "{filter}");
            }
            peer.disconnect();
        }
    }
}

/// Who does not listen is told nothing; the request is done all the same.
#[test]
fn requests_work_unheard() {
    let mut scene = Scene::start();
    let mut mute = scene.broker.client(Version::V311, "mute");
    mute.publish(Publish::new("$req/t/$queue/jobs", "x").qos1(1));
    mute.expect_ping();
    assert_eq!(scene.info()["ready"], 1);
}

#[test]
fn requests_on_5_are_answered_by_tag_and_acknowledgement() {
    let scene = Scene::start();
    let mut peer = scene.worker(Version::V5, "asking", "$reply/+/+");
    let ack = publish_to(&mut peer, Publish::new("$req/t/$queue/nowhere", "x"));
    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
    let reply = peer.expect_message();
    assert_eq!(reply.topic, "$reply/t/err");
    assert_eq!(json(&reply)["reason"], reason_of(&ack.properties));
    // What is wrong with the topic itself is replied to, too.
    let ack = publish_to(
        &mut peer,
        Publish::new("$req/t/$opt/prio=x/$queue/jobs", ""),
    );
    assert_eq!(ack.reason, reason::IMPLEMENTATION_SPECIFIC_ERROR);
    assert_eq!(json(&peer.expect_message())["code"], "bad_option");
    peer.expect_ping();
}

/// A plain topic may be asked about as well: the reply comes when the message is safe.
#[test]
fn request_to_a_plain_topic() {
    let scene = Scene::start();
    let mut witness = scene.worker(Version::V5, "witness", "plain/#");
    let mut old = scene.old_client("old");
    assert_eq!(old.ask("t", "plain/topic", "x"), Value::Null);
    let message = witness.expect_message();
    assert_eq!(
        (message.topic.as_str(), text(&message)),
        ("plain/topic", "x")
    );
}

/// One Correlation Data, several responses: each verb has its own.
#[test]
fn response_topic_of_a_lease_command() {
    let scene = Scene::start();
    let mut peer = scene.worker(Version::V5, "asking", "my/answers");
    let ask = |peer: &mut nexum_harness::Peer, topic: &str| {
        let publish = Publish::new(topic, "")
            .property(Property::response_topic("my/answers"))
            .property(Property::correlation_data(topic.as_bytes()));
        publish_to(peer, publish);
        let response = peer.expect_message();
        let correlation = response.properties.correlation_data();
        assert_eq!(correlation, Some(topic.as_bytes()));
        label(&response, "code").map(str::to_owned)
    };
    let code = ask(&mut peer, "$queue/jobs/$ack/1-1");
    assert_eq!(code.as_deref(), Some("conflict"));
    let code = ask(&mut peer, "$queue/jobs/$ack/nonsense");
    assert_eq!(code.as_deref(), Some("bad_address"));
    let code = ask(&mut peer, "$queue/jobs/$ctl/info");
    assert_eq!(code.as_deref(), Some("ok"));
    peer.expect_ping();
}

/// What is wrong with the address of a request, or with its options, is answered there, too.
#[test]
fn response_topic_of_a_request_that_is_none() {
    let scene = Scene::start();
    let mut peer = scene.worker(Version::V5, "asking", "my/answers");
    for (topic, code) in [
        ("$queue/../$ctl/info", "bad_address"),
        ("$queue/jobs/$nonsense", "bad_address"),
        ("$opt/prio=x/$queue/jobs/$ctl/info", "bad_option"),
        ("$opt/prio=1/$queue/jobs/$ctl/info", "bad_option"),
        ("$delayed/$cancel/nothing", "not_found"),
    ] {
        for qos in 0..2 {
            let publish = Publish::new(topic, "").qos(qos, 7);
            peer.send(publish.property(Property::response_topic("my/answers")));
            if qos > 0 {
                assert!(peer.expect_puback(7).reason >= 0x80, "{topic}");
            }
            let response = peer.expect_message();
            assert_eq!(label(&response, "code"), Some(code), "{topic}");
            assert_eq!(json(&response)["code"], code);
        }
    }
}

/// Only the broker says what is on `$reply`.
#[test]
fn nobody_publishes_to_reply() {
    let mut scene = Scene::start();
    let ack = scene.publish(Publish::new("$reply/t/ok", "forged"));
    assert_eq!(ack.reason, reason::NOT_AUTHORIZED);
    let notice = commands::notice(&scene, "$reply/t/ok", "forged");
    assert_eq!(notice["code"], "not_authorized");
}
