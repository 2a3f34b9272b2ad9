//! What is refused, with what code and reason, on either version.

use nexum_harness::{Connect, Peer, Property, Publish, Subscribe, Version, reason};

use crate::commands::{self, Listener};
use crate::scene::{Scene, builder, property, publish_to, reason_of, refused_filter};

/// Wildcard Subscriptions not supported.
const WILDCARD_IN_NAME: u8 = 0xA2;

/// What a PUBLISH is refused with: topic, payload, and a part of the reason.
type Row = (&'static str, &'static str, &'static str);

/// A client of MQTT 5 gets the Reason Code and the Reason String, one of 3.1.1 a notice; nothing
/// else happens.
#[track_caller]
fn expect_refused(code: &str, reason_code: u8, rows: &[Row]) {
    let mut scene = Scene::start();
    let mut old = scene.old_client("old");
    for (topic, payload, part) in rows {
        let ack = scene.publish(Publish::new(topic, payload));
        assert_eq!(ack.reason, reason_code, "{topic}: {ack:?}");
        let said = reason_of(&ack.properties);
        assert!(said.contains(part), "{topic}: {said}");
        assert_eq!(property(&ack.properties, "code"), Some(code), "{topic}");
        let notice = old.refused(topic, payload);
        assert_eq!(notice["code"], code, "{topic}");
        assert_eq!(notice["reason"], said, "{topic}");
    }
    let (topic, payload, _) = rows[0];
    let notice = commands::notice(&scene, topic, payload);
    assert_eq!(notice["code"], code, "{topic}");
    let info = scene.info();
    assert_eq!(info["bytes"], 0, "nothing was pushed");
    old.0.expect_ping();
}

#[test]
fn bad_names() {
    let long = format!("$queue/{}", "n".repeat(65));
    let long: &'static str = long.leak();
    expect_refused(
        "bad_address",
        reason::TOPIC_NAME_INVALID,
        &[
            ("$queue/../x", "", "A-Z a-z 0-9 _ . -"),
            ("$queue/..", "", "more than dots"),
            ("$queue/.", "", "more than dots"),
            (long, "", "at most 64"),
            ("$queue", "", "empty"),
            ("$queue/", "", "empty"),
            ("$queue//x", "", "empty"),
            ("$q//x", "", "empty"),
            ("$queue/a b", "", "A-Z a-z 0-9 _ . -"),
            ("$queue/jöbs", "", "A-Z a-z 0-9 _ . -"),
            ("$queue/$ctl/create", "", "A-Z a-z 0-9 _ . -"),
            ("$queue/../$ctl/create", "", "A-Z a-z 0-9 _ . -"),
            ("$delayed/1/$queue/../x", "", "A-Z a-z 0-9 _ . -"),
        ],
    );
}

#[test]
fn longest_name_is_good() {
    let mut scene = Scene::on(builder());
    for name in ["n".repeat(64), "a.B_9-".to_owned(), ".hidden".to_owned()] {
        scene.create(&name, "");
        scene.push(&format!("$queue/{name}/level"), "x");
    }
}

#[test]
fn unknown_verbs() {
    expect_refused(
        "bad_address",
        reason::TOPIC_NAME_INVALID,
        &[
            ("$queue/jobs/$nonsense", "", "$ctl"),
            ("$queue/jobs/eu/$nonsense/x", "", "$ctl"),
            ("$queue/jobs/$dlq", "", "$ctl"),
            ("$queue/jobs/$lease/1-1/1", "", "$ctl"),
            ("$queue/jobs/$ctl", "", "create, alter, delete"),
            ("$queue/jobs/$ctl/nonsense", "", "create, alter, delete"),
            ("$queue/jobs/$ctl/info/more", "", "create, alter, delete"),
            ("$queue/jobs/eu/$ctl/info", "", "follows the name"),
            ("$queue/nowhere/$ctl/nonsense", "", "create, alter, delete"),
            ("$queue/jobs/$ack", "", "a receipt is"),
            ("$queue/jobs/$ack/nonsense", "", "a receipt is"),
            ("$queue/jobs/$nack/1-1/soon", "", "is no time"),
            ("$queue/jobs/$nack/1-1/8d", "", "7 days"),
            ("$queue/jobs/$extend/1-1/8d", "", "7 days"),
            ("$queue/jobs/$ack/1-1/1s", "", "nothing follows"),
            ("$queue/jobs/$reject/1-1/x", "", "nothing follows"),
            ("$queue/jobs/$extend/1-1", "", "$extend/<receipt>/<time>"),
            ("$queue/jobs/eu/$ack/1-1", "", "follows the name"),
            ("$stream/log/key", "", "serves $stream"),
        ],
    );
}

#[test]
fn bad_json_and_numbers_out_of_range() {
    let long_key = format!("{{\"{}\": 1}}", "k".repeat(100_000));
    let long_key: &'static str = long_key.leak();
    expect_refused(
        "bad_payload",
        reason::PAYLOAD_FORMAT_INVALID,
        &[
            (
                "$queue/new/$ctl/create",
                "{\n  \"max_attempts\": }",
                "line 2, column 19",
            ),
            ("$queue/new/$ctl/create", "{", "line 1, column 1"),
            ("$queue/new/$ctl/create", "[1]", "{\"key\": value}"),
            ("$queue/new/$ctl/create", "nonsense", "line 1, column 2"),
            (
                "$queue/new/$ctl/create",
                r#"{"max_attempts": 1001}"#,
                "from 0 to 1000",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"max_attempts": -1}"#,
                "from 0 to 1000",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"max_attempts": 1.5}"#,
                "from 0 to 1000",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"max_attempts": 1e99}"#,
                "from 0 to 1000",
            ),
            ("$queue/new/$ctl/create", r#"{"max_len": 0}"#, "from 1 to"),
            (
                "$queue/new/$ctl/create",
                r#"{"visibility": "soon"}"#,
                "for example 30",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"visibility": "8d"}"#,
                "'visibility' takes a time",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"visibility": 0}"#,
                "'visibility' takes a time",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"visibilty": "3s"}"#,
                "did you mean 'visibility'?",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"order": "lifo"}"#,
                "\"fifo\" or \"key\" or \"prio\"",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"overflow": true}"#,
                "\"reject\" or",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"source": ["a/#/b"]}"#,
                "'a/#/b' is none",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"source": ["a\u0000"]}"#,
                "'a\u{fffd}' is none",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"no\nkey": 1}"#,
                "no 'no\u{fffd}key'",
            ),
            ("$queue/new/$ctl/create", long_key, "…"),
            ("$queue/new/$ctl/create", r#"{"source": "a"}"#, "a list of"),
            (
                "$queue/new/$ctl/create",
                r#"{"source": ["$share/g/a"]}"#,
                "name the topics alone",
            ),
            (
                "$queue/jobs/$ctl/alter",
                r#"{"source": ["$queue/jobs"]}"#,
                "name the topics alone",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"backoff": {"factor": 0.5}}"#,
                "between 1 and 100",
            ),
            (
                "$queue/new/$ctl/create",
                r#"{"prefetch": 65536}"#,
                "from 1 to 65535",
            ),
            ("$queue/jobs/$ctl/alter", "{", "line 1"),
            (
                "$queue/jobs/$ctl/peek",
                r#"{"limit": 101}"#,
                "from 1 to 100",
            ),
            (
                "$queue/jobs/$ctl/peek",
                r#"{"limt": 1}"#,
                "did you mean 'limit'?",
            ),
            ("$queue/jobs/$ctl/dlq.redrive", "", "{\"all\": true}"),
            ("$queue/jobs/$ctl/delete", r#"{"id": 17}"#, "no payload"),
            ("$queue/jobs/$ctl/purge", r#"{"limit": 10}"#, "no payload"),
            ("$queue/jobs/$ctl/dlq.purge", "x", "no JSON"),
            (
                "$queue/jobs/$ctl/dlq.delete",
                r#"{"id": "x"}"#,
                "a whole number",
            ),
            (
                "$queue/jobs/$ctl/dlq.delete",
                r#"{"all": false}"#,
                "{\"all\": true}",
            ),
        ],
    );
}

#[test]
fn bad_options() {
    expect_refused(
        "bad_option",
        reason::IMPLEMENTATION_SPECIFIC_ERROR,
        &[
            (
                "$opt/prio=1,prio=2/$queue/jobs",
                "",
                "'prio' is there twice",
            ),
            (
                "$opt/delay=1s/$delayed/1s/$queue/jobs",
                "",
                "the same twice",
            ),
            ("$opt/nonsense=1/$queue/jobs", "", "there are delay, prio"),
            ("$opt/prio=256/$queue/jobs", "", "0 to 255"),
            ("$opt/prio=-1/$queue/jobs", "", "0 to 255"),
            ("$opt/prio/$queue/jobs", "", "key=value"),
            ("$opt/,/$queue/jobs", "", "key=value"),
            ("$opt/delay=soon/$queue/jobs", "", "'delay'"),
            ("$opt/delay=40000d/$queue/jobs", "", "a hundred years"),
            ("$opt/ttl=1w/$queue/jobs", "", "'ttl'"),
            ("$opt/id=/$queue/jobs", "", "1 to 1024 bytes"),
            ("$opt/key=%zz/$queue/jobs", "", "percent-encoded"),
            ("$opt/key=%00/$queue/jobs", "", "percent-encoded"),
            ("$opt/rev=1/$queue/jobs", "", "'rev' means nothing here"),
            (
                "$opt/prio=1/$queue/jobs/$ctl/info",
                "",
                "'prio' means nothing here",
            ),
            (
                "$opt/key=a/$queue/jobs/$ack/1-1",
                "",
                "'key' means nothing here",
            ),
            ("$delayed/soon/$queue/jobs", "", "'soon' in $delayed"),
            (
                "$delayed/9999999999/$queue/jobs",
                "",
                "longer than a hundred years",
            ),
            ("$opt/prio=1/plain/topic", "", "on a plain topic"),
        ],
    );
}

/// Neither in one spelling nor in both.
#[test]
fn option_that_is_there_twice() {
    let mut scene = Scene::start();
    let user = |name, value| Property::user(name, value);
    for publish in [
        Publish::new("$opt/prio=1/$queue/jobs", "").property(user("prio", "1")),
        Publish::new("$queue/jobs", "")
            .property(user("prio", "1"))
            .property(user("prio", "2")),
        Publish::new("$delayed/1/$queue/jobs", "").property(user("delay", "1")),
        Publish::new("$queue/jobs", "").property(user("prio", "high")),
    ] {
        let ack = scene.publish(publish.clone());
        assert_eq!(
            ack.reason,
            reason::IMPLEMENTATION_SPECIFIC_ERROR,
            "{publish:?}"
        );
        assert_eq!(property(&ack.properties, "code"), Some("bad_option"));
    }
    assert_eq!(scene.info()["bytes"], 0);
}

#[test]
fn wrappers_out_of_order() {
    expect_refused(
        "bad_address",
        reason::TOPIC_NAME_INVALID,
        &[
            ("$opt/prio=1/$req/t/$queue/jobs", "", "$req, $opt, $delayed"),
            (
                "$delayed/1/$opt/prio=1/$queue/jobs",
                "",
                "$req, $opt, $delayed",
            ),
            ("$delayed/1/$req/t/$queue/jobs", "", "$req, $opt, $delayed"),
            ("$delayed/1/$delayed/1/$queue/jobs", "", "at most once"),
            (
                "$opt/prio=1/$opt/key=a/$queue/jobs",
                "",
                "$req, $opt, $delayed",
            ),
            ("$opt/prio=1", "", "a slash and a topic"),
            ("$opt", "", "a slash and a topic"),
            ("$delayed/1/", "", "missing behind the wrappers"),
            ("$req/a b/$queue/jobs", "", "the tag of $req"),
            ("$req/-/$queue/jobs", "", "not a lone -"),
            ("$req//$queue/jobs", "", "a slash and a topic"),
            ("$share/g/$queue/jobs", "", "subscribed to"),
            ("$exclusive/$queue/jobs", "", "subscribed to"),
        ],
    );
}

#[test]
fn bad_subscriptions() {
    let scene = Scene::start();
    let mut new = scene.broker.client(Version::V5, "new");
    let mut old = scene.broker.client(Version::V311, "old");
    let long = format!("$queue/{}/#", "n".repeat(65));
    for (filter, reason_code) in [
        ("$queue/+", WILDCARD_IN_NAME),
        ("$queue/#", WILDCARD_IN_NAME),
        ("$q/+/a", WILDCARD_IN_NAME),
        ("$share/g/$queue/+/a", WILDCARD_IN_NAME),
        ("$queue/../x", reason::TOPIC_FILTER_INVALID),
        ("$queue", reason::TOPIC_FILTER_INVALID),
        ("$queue//x", reason::TOPIC_FILTER_INVALID),
        ("$queue/a b/#", reason::TOPIC_FILTER_INVALID),
        (&long, reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/$nonsense", reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/$lease", reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/$lease/1-1/+", reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/$dlq/#", reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/$ctl/info", reason::TOPIC_FILTER_INVALID),
        ("$queue/jobs/eu/$lease/#", reason::TOPIC_FILTER_INVALID),
        ("$opt/prio=1/$queue/jobs", reason::TOPIC_FILTER_INVALID),
        ("$req/t/$queue/jobs", reason::TOPIC_FILTER_INVALID),
        (
            "$exclusive/$exclusive/$queue/jobs",
            reason::TOPIC_FILTER_INVALID,
        ),
        (
            "$exclusive/$share/g/$queue/jobs",
            reason::TOPIC_FILTER_INVALID,
        ),
        (
            "$share/g/$exclusive/$queue/jobs",
            reason::TOPIC_FILTER_INVALID,
        ),
        ("$filter/a=1/$queue/jobs", reason::TOPIC_FILTER_INVALID),
        ("$exclusive/$reply/+/+", reason::TOPIC_FILTER_INVALID),
        ("$share/g/$reply/+/+", reason::TOPIC_FILTER_INVALID),
        ("$stream/log/#", reason::TOPIC_FILTER_INVALID),
    ] {
        refused_filter(&mut new, filter, 1, reason_code);
        refused_filter(&mut old, filter, 1, reason::UNSPECIFIED_ERROR);
    }
    Listener::is_refused(&scene, "$queue/+", &[]);
    Listener::is_refused(&scene, "$queue/jobs/$nonsense", &[]);
    new.expect_ping();
}

#[test]
fn options_mean_nothing_to_a_consumer() {
    let scene = Scene::start();
    let mut peer = scene.broker.client(Version::V5, "worker");
    for (name, value) in [("from", "earliest"), ("filter", "{}")] {
        let subscribe = Subscribe::new(1).filter("$queue/jobs", 1);
        peer.send(subscribe.property(Property::user(name, value)));
        let suback = peer.expect_suback(1, &[reason::TOPIC_FILTER_INVALID]);
        assert!(reason_of(&suback.properties).contains(name));
    }
}

/// One bad filter does not spoil the others of its packet.
#[test]
fn filters_of_one_packet_are_each_their_own() {
    let mut scene = Scene::start();
    for version in Version::ALL {
        let refused = match version {
            Version::V311 => [reason::UNSPECIFIED_ERROR; 2],
            Version::V5 => [reason::TOPIC_FILTER_INVALID, WILDCARD_IN_NAME],
        };
        let mut peer = scene.broker.client(version, "worker");
        peer.send(
            Subscribe::new(1)
                .filter("$queue/jobs", 1)
                .filter("$queue/missing", 1)
                .filter("plain", 0)
                .filter("$queue/+", 1)
                .filter("$queue/jobs", 2),
        );
        let granted = match peer.recv() {
            nexum_harness::Packet::Suback(suback) => suback.reasons,
            other => panic!("expected SUBACK, got {other:?}"),
        };
        assert_eq!(granted, [1, refused[0], 0, refused[1], 2]);
        scene.push("$queue/jobs", "x");
        peer.expect_message();
        peer.expect_ping();
        peer.disconnect();
    }
}

/// A client that does not want Reason Strings gets none, and the code all the same.
#[test]
fn no_problem_information() {
    let scene = Scene::start();
    let connect = Connect::new(Version::V5, "terse");
    let mut terse = scene
        .broker
        .connect(connect.property(Property::request_problem_information(0)));
    let ack = publish_to(&mut terse, Publish::new("$queue/../x", ""));
    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
    assert!(ack.properties.is_empty(), "{ack:?}");
    terse.send(Subscribe::new(1).filter("$queue/missing", 1));
    let suback = terse.expect_suback(1, &[reason::TOPIC_FILTER_INVALID]);
    assert!(suback.properties.is_empty(), "{suback:?}");
}

/// At QoS 0 there is no acknowledgement, and at QoS 2 there is another.
#[test]
fn refused_at_every_qos() {
    let scene = Scene::start();
    let mut new = scene.worker(Version::V5, "new", "$reply/+/+");
    new.send(Publish::new("$queue/missing", "").qos2(5));
    assert_eq!(new.expect_pubrec(5).reason, reason::TOPIC_NAME_INVALID);
    // The identifier is free: the exchange is over.
    new.publish(Publish::new("$queue/jobs", "x").qos2(5));
    new.send(Publish::new("$queue/missing", ""));
    assert_eq!(new.expect_message().topic, "$reply/-/err");
    let mut old = scene.old_client("old").0;
    for qos in 0..3 {
        for topic in ["$queue/missing", "$queue/../x"] {
            publish_and_hear_notice(&mut old, topic, qos);
        }
    }
}

#[track_caller]
fn publish_and_hear_notice(old: &mut Peer, topic: &str, qos: u8) {
    old.publish(Publish::new(topic, "").qos(qos, 5));
    assert_eq!(
        old.expect_message().topic,
        "$reply/-/err",
        "{topic} at QoS {qos}"
    );
    old.expect_ping();
}

/// Instead of a notice the connection may be closed.
#[test]
fn closed_instead_of_a_notice() {
    let mut scene = Scene::on(builder().set("mqtt.v311_refused_publish", "close"));
    scene.create("jobs", "");
    for qos in [1, 2] {
        for topic in ["$queue/missing", "$queue/../x", "$opt/prio=x/$queue/jobs"] {
            let mut old = scene.old_client("old").0;
            old.send(Publish::new(topic, "").qos(qos, 5));
            old.expect_closed();
        }
    }
    // Who asks is answered, and QoS 0 promises nothing.
    let mut old = scene.old_client("old");
    let (end, body) = old.request("t", "$queue/missing", "");
    assert_eq!((end.as_str(), &body["code"]), ("err", &"not_found".into()));
    old.0.send(Publish::new("$queue/missing", ""));
    assert_eq!(old.0.expect_message().topic, "$reply/-/err");
    old.0.expect_ping();
    // A client of MQTT 5 has its Reason Code.
    let ack = scene.publish(Publish::new("$queue/missing", ""));
    assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID);
}

#[test]
fn too_many_queues() {
    let mut scene = Scene::on(builder().set("queue.maximum_queues", 2));
    scene.create("jobs", "");
    scene.create("mail", "");
    let answer = scene.control("more", "create", "");
    assert_eq!(answer.code, "quota_exceeded");
    assert_eq!(answer.ack.reason, reason::QUOTA_EXCEEDED);
    assert_eq!(scene.control("jobs", "delete", "").code, "ok");
    scene.create("more", "");
}
