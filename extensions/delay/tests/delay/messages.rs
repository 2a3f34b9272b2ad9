//! What is taken, what is not, and when it comes.

use std::time::Duration;

use nexum_delay::{Delay, Settings};
use nexum_extension_api::driver::{Driver, Store};
use nexum_extension_api::{ErrorCode, Options, Refusal, Reply, WhenRefused};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::bench::Bench;
use crate::{after, driver, gauges, payloads, published};

#[test]
fn it_is_published_when_it_is_due_and_not_before() {
    let mut driver = driver();
    let stored = driver.publish_with("$delayed/at/t/x", b"later", after(60));
    assert_eq!(stored, Ok(Reply::default()));
    driver.wait(Duration::from_micros(59_999_999));
    assert_eq!(published(&mut driver), []);
    driver.wait(Duration::from_micros(1));
    let expected = ("t/x".to_owned(), "later".to_owned());
    assert_eq!(published(&mut driver), [expected]);
    driver.wait(Duration::from_secs(600));
    assert_eq!(published(&mut driver), []);
}

#[test]
fn what_is_due_now_is_published_as_soon_as_it_is_stored() {
    let mut driver = driver();
    driver.set_store(Store::Slow);
    driver.command("$delayed/at/t", b"now", after(0));
    assert_eq!(payloads(&mut driver), [""; 0]);
    driver.commit();
    assert_eq!(payloads(&mut driver), ["now"]);
}

#[test]
fn due_time_comes_first_then_arrival() {
    let mut driver = driver();
    for (payload, seconds) in [("c", 3), ("a1", 1), ("b", 2), ("a2", 1), ("a3", 1)] {
        let stored = driver.publish_with("$delayed/at/t", payload.as_bytes(), after(seconds));
        stored.expect("it is stored");
    }
    driver.wait(Duration::from_secs(10));
    assert_eq!(payloads(&mut driver), ["a1", "a2", "a3", "b", "c"]);
}

#[test]
fn all_that_belongs_to_a_message_is_kept() {
    let mut bench = Bench::new(Settings::default());
    let parts = MessageParts {
        topic: TopicName::new("$delayed/5/t/x").expect("a topic"),
        properties: &[0x01, 0x01],
        payload: b"\x00\xFF",
        qos: QoS::ExactlyOnce,
        retain: true,
        published_at: bench.now,
        expires_at: Some(bench.now + Duration::from_secs(7)),
    };
    bench.send("$delayed/at/t/x", Message::new(parts), Some(after(5)));
    bench.restart();
    bench.wait(Duration::from_secs(6));
    let publish = bench.accept_next().expect("it is due");
    assert_eq!(&*publish.topic, "t/x");
    let expected = MessageParts {
        topic: TopicName::new("t/x").expect("a topic"),
        // It is newer than what was published meanwhile.
        published_at: parts.published_at + Duration::from_secs(5),
        ..parts
    };
    assert_eq!(publish.message.parts(), expected);
}

#[test]
fn a_publisher_is_acknowledged_when_it_is_stored() {
    let mut driver = driver();
    driver.set_store(Store::Slow);
    let command = driver.command("$delayed/at/t", b"", after(1));
    assert_eq!(driver.take_reply(command), None);
    driver.commit();
    assert_eq!(driver.take_reply(command), Some(Ok(Reply::default())));
}

#[test]
fn what_is_not_stored_is_refused_and_never_published() {
    let mut driver = driver();
    driver.set_store(Store::Full);
    let refusal = driver
        .publish_with("$delayed/at/t", b"", after(1))
        .expect_err("the store is full");
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(refusal.reason, "it cannot be stored now: full");
    assert_eq!(gauges(driver.extension()), (0.0, 0.0));
    driver.set_store(Store::Quick);
    driver.wait(Duration::from_secs(10));
    assert_eq!(payloads(&mut driver), [""; 0]);
}

#[test]
fn what_comes_before_the_first_numbers_waits_for_them() {
    let mut bench = Bench::new(Settings::default());
    bench.is_quick = false;
    bench.restart();
    let first = bench.publish("t", b"1", after(1));
    let second = bench.publish("t", b"2", after(1));
    let unknown = bench.cancel("x");
    assert_eq!(bench.unanswered(), 3);
    // The mark is refused, and so is who waited for it.
    assert!(bench.refuse_next());
    for command in [first, second] {
        let refusal = bench.reply(command).expect("a reply").clone();
        assert_eq!(refusal.expect_err("refused").code, ErrorCode::Unavailable);
    }
    assert!(bench.reply(unknown).is_some_and(Result::is_err));
    // The next one asks again.
    let third = bench.publish("t", b"3", after(1));
    assert_eq!(bench.reply(third), None);
    assert!(bench.store_next(WhenRefused::Tell), "the mark");
    assert!(bench.store_next(WhenRefused::Tell), "the message");
    assert_eq!(bench.reply(third), Some(&Ok(Reply::default())));
}

#[test]
fn the_target_is_whatever_follows() {
    let mut driver = driver();
    let options = Options {
        priority: Some(9),
        key: Some(Box::from("a/b")),
        id: Some(Box::from("17")),
        ..after(1)
    };
    for target in ["$stream/orders/a/$ctl/trim", "/", "a//b/"] {
        let topic = format!("$delayed/at/{target}");
        let options = if target.starts_with('$') {
            options.clone()
        } else {
            after(1)
        };
        let stored = driver.publish_with(&topic, b"", options);
        stored.expect(target);
    }
    driver.wait(Duration::from_secs(1));
    let topics: Vec<String> = published(&mut driver).into_iter().map(|it| it.0).collect();
    assert_eq!(
        topics,
        [
            "$opt/prio=9,id=17,key=a%2Fb/$stream/orders/a/$ctl/trim",
            "/",
            "a//b/"
        ]
    );
}

#[test]
fn what_it_does_not_know_it_refuses() {
    let mut driver = driver();
    for topic in [
        "$delayed/at",
        "$delayed/at/",
        "$delayed/_",
        "$delayed/_/$cancel",
        "$delayed/_/$cancel/",
        "$delayed/_/a/$cancel/id",
        "$delayed/x/$cancel/id",
        "$delayed/_/$list",
        "$delayed/60/t",
    ] {
        let refusal = driver
            .publish_with(topic, b"", after(1))
            .expect_err("nothing there");
        assert_eq!(refusal.code, ErrorCode::BadAddress, "{topic}");
    }
    let consumer = driver.attach(1);
    let refusal = driver.subscribe(consumer, "$delayed/at/t");
    assert!(matches!(refusal, Err(it) if it.code == ErrorCode::BadAddress));
}

#[test]
fn options_have_to_be_right() {
    let mut driver = driver();
    let with_id = |id: String| crate::after_with_id(1, &id);
    for options in [
        Options::default(),
        with_id(String::new()),
        with_id("i".repeat(1025)),
    ] {
        let refusal = driver
            .publish_with("$delayed/at/t", b"", options)
            .expect_err("a bad option");
        assert_eq!(refusal.code, ErrorCode::BadOption);
    }
}

#[test]
fn what_is_too_much_is_refused_until_there_is_room() {
    let settings = Settings {
        maximum_messages: 2,
        maximum_bytes: 200,
    };
    let mut driver = Driver::new(move || Delay::new(settings));
    let publish = |driver: &mut Driver<Delay>, payload: &[u8]| -> Result<Reply, Refusal> {
        driver.publish_with("$delayed/at/t", payload, after(30))
    };
    publish(&mut driver, b"1").expect("room");
    assert_eq!(gauges(driver.extension()), (1.0, 26.0));
    let refusal = publish(&mut driver, &[0; 200]).expect_err("too many bytes");
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(30)));
    publish(&mut driver, b"2").expect("room");
    driver.wait(Duration::from_secs(10));
    let refusal = publish(&mut driver, b"3").expect_err("too many messages");
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(20)));
    driver.wait(Duration::from_secs(20));
    assert_eq!(gauges(driver.extension()), (0.0, 0.0));
    publish(&mut driver, b"3").expect("room again");
}

#[test]
fn the_end_of_time_never_comes() {
    let mut driver = driver();
    let options = Options {
        delay: Some(Duration::MAX),
        ..Options::default()
    };
    let stored = driver.publish_with("$delayed/at/t", b"", options);
    stored.expect("it is stored");
    driver.wait(Duration::from_secs(1 << 32));
    assert_eq!(payloads(&mut driver), [""; 0]);
    assert!(driver.now() < Time::from_micros(u64::MAX));
}
