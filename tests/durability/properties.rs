//! What a message carries comes out of the store as it went in.

use std::thread;
use std::time::Duration;

use nexum_harness::{Connect, Property, Publish, Subscribe, Version};

use crate::scene::{absent, builder, come_back, publish_all, resume, take_all, text};

/// A message with every property that is passed on (section 3.3.2.3).
fn laden(topic: &str) -> Publish {
    Publish::new(topic, "laden")
        .qos1(1)
        .property(Property::payload_format_indicator(1))
        .property(Property::message_expiry_interval(1000))
        .property(Property::content_type("text/plain"))
        .property(Property::response_topic("answers/1"))
        .property(Property::correlation_data(&[0, 1, 255]))
        .property(Property::user("a", "1"))
        .property(Property::user("b", "2"))
        .property(Property::user("a", "1"))
}

#[track_caller]
fn expect_laden(publish: &Publish) {
    let properties = &publish.properties;
    assert_eq!(text(publish), "laden");
    assert_eq!(properties.payload_format_indicator(), Some(1));
    assert_eq!(properties.content_type(), Some("text/plain"));
    assert_eq!(properties.response_topic(), Some("answers/1"));
    assert_eq!(properties.correlation_data(), Some(&[0, 1, 255][..]));
    assert_eq!(properties.user(), [("a", "1"), ("b", "2"), ("a", "1")]);
}

/// [MQTT-3.3.2-6]: the time that has passed is taken off, whoever was alive meanwhile.
#[track_caller]
fn expect_expiry_after(publish: &Publish, seconds: u32) {
    let left = publish.properties.message_expiry_interval().unwrap_or(0);
    assert!(
        (900..=1000 - seconds).contains(&left),
        "{left} of 1000 s are left after {seconds} s and more"
    );
}

#[test]
fn properties_and_flags_of_queued_messages_survive() {
    let mut broker = builder().start();
    let mut subscriber = broker.connect(Connect::new(Version::V5, "subscriber").persistent());
    let options = 1 | Subscribe::RETAIN_AS_PUBLISHED;
    let subscribe = Subscribe::new(1).filter("kept/+", options);
    subscriber.send(subscribe.property(Property::subscription_identifier(7)));
    subscriber.expect_suback(1, &[1]);
    let subscribe = Subscribe::new(2).filter("kept/#", 1);
    subscriber.send(subscribe.property(Property::subscription_identifier(268_435_455)));
    subscriber.expect_suback(2, &[1]);
    subscriber.send(Subscribe::new(3).filter("plain", 1));
    subscriber.expect_suback(3, &[1]);
    subscriber.disconnect();
    publish_all(
        &broker,
        [
            laden("kept/a").retain(),
            laden("kept/b"),
            laden("kept/c/d").retain(),
            laden("plain").retain(),
        ],
    );
    broker.kill();
    thread::sleep(Duration::from_secs(2));
    broker.kill_and_restart();
    let mut subscriber = come_back(&broker, resume(Version::V5, "subscriber"));
    let both = vec![7, 268_435_455];
    for (topic, retain, identifiers) in [
        ("kept/a", true, both.clone()),
        ("kept/b", false, both),
        // The subscription that matches has not asked for the flag.
        ("kept/c/d", false, vec![268_435_455]),
        ("plain", false, vec![]),
    ] {
        let publish = subscriber.expect_message();
        assert_eq!((&*publish.topic, publish.retain), (topic, retain));
        assert_eq!(publish.properties.subscription_identifiers(), identifiers);
        assert!(!publish.duplicate, "it was never sent");
        expect_laden(&publish);
        expect_expiry_after(&publish, 2);
    }
    // The subscriptions themselves are the same, too.
    publish_all(&broker, [laden("kept/e").retain()]);
    let publish = subscriber.expect_message();
    assert!(publish.retain);
    assert_eq!(
        publish.properties.subscription_identifiers(),
        [7, 268_435_455]
    );
}

#[test]
fn properties_of_a_message_under_way_survive() {
    let mut broker = builder().start();
    let mut subscriber = broker.connect(Connect::new(Version::V5, "subscriber").persistent());
    let subscribe = Subscribe::new(1).filter("kept", 2 | Subscribe::RETAIN_AS_PUBLISHED);
    subscriber.send(subscribe.property(Property::subscription_identifier(7)));
    subscriber.expect_suback(1, &[2]);
    publish_all(&broker, [laden("kept").retain(), laden("kept").qos2(2)]);
    let first = subscriber.expect_publish();
    let second = subscriber.expect_publish();
    broker.kill_and_restart();
    let mut subscriber = come_back(&broker, resume(Version::V5, "subscriber"));
    for (first, qos, retain) in [(first, 1, true), (second, 2, false)] {
        let again = subscriber.expect_publish();
        assert_eq!(
            (again.qos, again.retain, again.duplicate),
            (qos, retain, true)
        );
        assert_eq!(again.packet_identifier, first.packet_identifier);
        assert_eq!(again.properties.subscription_identifiers(), [7]);
        expect_laden(&again);
        expect_expiry_after(&again, 0);
    }
}

/// [MQTT-3.3.2-5]: what expired while the broker was down is not delivered.
#[test]
fn messages_expire_while_the_broker_is_down() {
    let mut broker = builder().start();
    for version in Version::ALL {
        absent(
            &broker,
            version,
            &format!("absent {version:?}"),
            "kept/#",
            1,
        );
    }
    let expiring = |topic: &str, seconds| {
        Publish::new(topic, topic)
            .qos1(1)
            .property(Property::message_expiry_interval(seconds))
    };
    publish_all(
        &broker,
        [
            expiring("kept/short", 2),
            expiring("kept/long", 1000),
            expiring("kept/retained/short", 2).retain(),
            expiring("kept/retained/long", 1000).retain(),
        ],
    );
    broker.kill();
    thread::sleep(Duration::from_secs(3));
    broker.kill_and_restart();
    for version in Version::ALL {
        let client = resume(version, &format!("absent {version:?}"));
        let mut subscriber = come_back(&broker, client);
        assert_eq!(
            take_all(&mut subscriber),
            ["kept/long", "kept/retained/long"],
            "{version:?}"
        );
    }
    let mut newcomer = broker.client(Version::V5, "newcomer");
    newcomer.subscribe("kept/retained/#", 1);
    let publish = newcomer.expect_message();
    assert_eq!(text(&publish), "kept/retained/long");
    let left = publish.properties.message_expiry_interval().unwrap_or(0);
    assert!((900..=997).contains(&left), "{left} s are left");
    newcomer.expect_ping();
}

#[test]
fn retained_messages_and_their_properties_survive() {
    let mut broker = builder().start();
    publish_all(
        &broker,
        [
            laden("shown/laden").retain(),
            Publish::new("shown/replaced", "old").retain().qos1(1),
            Publish::new("shown/replaced", "new").retain().qos2(2),
            Publish::new("shown/cleared", "old").retain().qos1(1),
            Publish::new("shown/cleared", "").retain().qos1(1),
        ],
    );
    broker.kill_and_restart();
    for version in Version::ALL {
        let mut newcomer = broker.client(version, "newcomer");
        newcomer.subscribe("shown/#", 2);
        let mut got = vec![newcomer.expect_message(), newcomer.expect_message()];
        newcomer.expect_ping();
        got.sort_by(|one, other| one.topic.cmp(&other.topic));
        let [laden, replaced] = &got[..] else {
            panic!("two are retained: {got:?}");
        };
        assert_eq!((laden.qos, replaced.qos), (1, 2));
        assert!(laden.retain && replaced.retain);
        assert_eq!(text(replaced), "new");
        if version == Version::V5 {
            expect_laden(laden);
            expect_expiry_after(laden, 0);
        }
        newcomer.disconnect();
    }
    // A clear at QoS 0 is promised by nothing, but one at QoS 1 behind it proves that it was taken.
    publish_all(
        &broker,
        [
            Publish::new("shown/laden", "").retain(),
            Publish::new("shown/replaced", "").retain().qos2(1),
        ],
    );
    broker.kill_and_restart();
    let mut newcomer = broker.client(Version::V5, "newcomer");
    newcomer.subscribe("shown/#", 2);
    newcomer.expect_ping();
    newcomer.expect_nothing_within(Duration::from_millis(300));
}
