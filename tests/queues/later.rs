//! `$delayed` in front of topics whose extension, or lack of one, does not keep delayed messages.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nexum_harness::{Connect, Peer, Property, Publish, Version, reason};

use crate::commands::{self, Listener};
use crate::scene::{Scene, builder, publish_to, reason_of, take};

fn scene() -> Scene {
    Scene::on(builder())
}

#[track_caller]
fn later(peer: &mut Peer, topic: &str, payload: &str) {
    assert_eq!(publish_to(peer, Publish::new(topic, payload)).reason, 0);
}

#[test]
fn delayed_on_a_plain_topic() {
    for version in Version::ALL {
        let scene = scene();
        let mut subscriber = scene.worker(version, "subscriber", "news/#");
        let mut publisher = scene.broker.client(version, "publisher");
        let begun = Instant::now();
        later(&mut publisher, "$delayed/600ms/news/1", "later");
        later(&mut publisher, "news/1", "now");
        assert_eq!(take(&mut subscriber, 2), ["now", "later"], "{version:?}");
        assert!(begun.elapsed() >= Duration::from_millis(600), "{version:?}");
        subscriber.expect_ping();
    }
}

#[test]
fn delayed_from_the_command_line() {
    let scene = scene();
    let mut listener = Listener::start(&scene, "news/#");
    commands::publish(&scene, "$delayed/1/news/1", "later");
    let heard = listener.next();
    assert_eq!(
        (heard.topic.as_str(), heard.payload.as_str()),
        ("news/1", "later")
    );
}

#[test]
fn delayed_until_a_unix_time() {
    let scene = scene();
    let mut subscriber = scene.worker(Version::V5, "subscriber", "news/#");
    let mut publisher = scene.broker.client(Version::V311, "publisher");
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let due = since_1970.expect("it is later").as_secs() + 2;
    later(&mut publisher, &format!("$delayed/{due}/news/1"), "then");
    assert_eq!(take(&mut subscriber, 1), ["then"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    assert!(now.expect("it is later").as_secs() >= due);
}

#[test]
fn the_option_delay_is_the_same() {
    let scene = scene();
    let mut subscriber = scene.worker(Version::V5, "subscriber", "news/#");
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    let begun = Instant::now();
    later(&mut publisher, "$opt/delay=500ms/news/1", "wrapped");
    let publish =
        Publish::new("news/1", "as a property").property(Property::user("delay", "700ms"));
    assert_eq!(publish_to(&mut publisher, publish).reason, 0);
    assert_eq!(take(&mut subscriber, 2), ["wrapped", "as a property"]);
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

#[test]
fn a_cancelled_message_does_not_come() {
    for version in Version::ALL {
        let mut scene = scene();
        let mut subscriber = scene.worker(version, "subscriber", "news/#");
        let mut publisher = scene.broker.client(version, "publisher");
        later(&mut publisher, "$opt/id=a/$delayed/1/news/1", "cancelled");
        later(&mut publisher, "$opt/id=b/$delayed/1/news/1", "kept");
        later(&mut publisher, "$delayed/$cancel/a", "");
        assert_eq!(take(&mut subscriber, 1), ["kept"], "{version:?}");
        subscriber.expect_ping();
        // There is none of this name any more, nor one that was published.
        for id in ["a", "b"] {
            let ack = scene.publish(Publish::new(&format!("$delayed/$cancel/{id}"), ""));
            assert_eq!(ack.reason, reason::TOPIC_NAME_INVALID, "{id}");
            assert!(reason_of(&ack.properties).contains("id"), "{ack:?}");
        }
    }
}

#[test]
fn a_repeated_id_is_one_message() {
    let scene = scene();
    let mut subscriber = scene.worker(Version::V5, "subscriber", "news/#");
    let mut publisher = scene.broker.client(Version::V311, "publisher");
    for payload in ["first", "again"] {
        later(&mut publisher, "$opt/id=a/$delayed/300ms/news/1", payload);
    }
    assert_eq!(take(&mut subscriber, 1), ["first"]);
    subscriber.expect_ping();
}

/// Kept through kill -9, with a subscriber that is away, and once.
#[test]
fn what_is_delayed_survives_the_broker() {
    let mut scene = scene();
    let stays = Connect::new(Version::V5, "subscriber").persistent();
    let mut subscriber = scene.broker.connect(stays.clone());
    subscriber.subscribe("news/#", 2);
    subscriber.disconnect();
    let mut publisher = scene.broker.client(Version::V5, "publisher");
    for number in 0..50 {
        let delay = number * 20;
        let topic = format!("$delayed/{delay}ms/news/{number}");
        later(&mut publisher, &topic, &number.to_string());
    }
    // Some are published before, some while it is down, some after.
    scene.restart();
    scene.restart();
    let mut subscriber = scene.broker.connect(stays.resume());
    let mut came = take(&mut subscriber, 50);
    came.sort_by_key(|payload| payload.parse::<u32>().expect("a number"));
    let all: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(came, all);
    subscriber.expect_ping();
}

/// Killed while they are published, at another moment each time: each message comes, and once.
#[test]
fn what_is_delayed_is_published_once_through_kill_9() {
    const MESSAGES: usize = 400;
    for round in 0..6_u64 {
        let mut scene = scene();
        let stays = Connect::new(Version::V5, "subscriber").persistent();
        let mut subscriber = scene.broker.connect(stays.clone());
        subscriber.subscribe("news/#", 1);
        subscriber.disconnect();
        let mut publisher = scene.broker.client(Version::V5, "publisher");
        let due = Instant::now() + Duration::from_secs(2);
        for number in 0..MESSAGES {
            let delay = due.saturating_duration_since(Instant::now()).as_millis();
            let topic = format!("$delayed/{delay}ms/news/1");
            later(&mut publisher, &topic, &number.to_string());
        }
        // Into the middle of it, by the clock: there is nothing to be seen from outside.
        let moment = due + Duration::from_millis(round * 7);
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        scene.restart();
        let mut subscriber = scene.broker.connect(stays.resume());
        let mut came = take(&mut subscriber, MESSAGES);
        came.sort_by_key(|payload| payload.parse::<usize>().expect("a number"));
        let all: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(came, all, "round {round}");
        subscriber.expect_ping();
    }
}

#[test]
fn a_time_that_is_none_is_refused() {
    let mut scene = scene();
    for (topic, reason) in [
        ("$delayed/soon/news", reason::IMPLEMENTATION_SPECIFIC_ERROR),
        (
            "$delayed/99999d/news",
            reason::IMPLEMENTATION_SPECIFIC_ERROR,
        ),
        ("$delayed/-1/news", reason::IMPLEMENTATION_SPECIFIC_ERROR),
        ("$delayed//news", reason::TOPIC_NAME_INVALID),
        ("$delayed/1", reason::TOPIC_NAME_INVALID),
        ("$delayed/1/$stream/b/k", reason::TOPIC_NAME_INVALID),
        ("$delayed/1/$SYS/x", reason::NOT_AUTHORIZED),
        ("$delayed/$cancel/nothing", reason::TOPIC_NAME_INVALID),
    ] {
        let ack = scene.publish(Publish::new(topic, ""));
        assert_eq!(ack.reason, reason, "{topic}");
        assert!(!reason_of(&ack.properties).is_empty(), "{topic}");
    }
}

#[test]
fn a_full_delay_refuses() {
    let builder = builder().set("delayed.maximum_messages", 2);
    let mut scene = Scene::on(builder);
    for number in 0..2 {
        let ack = scene.publish(Publish::new("$delayed/1h/news", &number.to_string()));
        assert_eq!(ack.reason, 0);
    }
    let ack = scene.publish(Publish::new("$delayed/1h/news", "2"));
    assert_eq!(ack.reason, reason::QUOTA_EXCEEDED);
}
