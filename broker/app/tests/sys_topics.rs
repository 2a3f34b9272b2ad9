//! What the broker tells about itself under `$SYS/broker`.

use std::collections::BTreeMap;

use nexum_harness::{Broker, Publish, Version};

const VALUES_OF_ONE_REPORT: usize = 14;

#[test]
fn the_broker_reports_about_itself() {
    let broker = Broker::builder(env!("CARGO_BIN_EXE_nexum"))
        .set("mqtt.sys_interval_seconds", 1)
        .start();
    let mut publisher = broker.client(Version::V311, "publisher");
    for number in 1..=3 {
        publisher.publish(Publish::new("nobody/listens", "x").qos1(number));
    }
    let mut peer = broker.client(Version::V5, "observer");
    peer.subscribe("$SYS/broker/#", 0);

    // The first values are retained ones, perhaps of before; each second brings newer ones.
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let expected = [
        (
            "$SYS/broker/version",
            concat!("nexum version ", env!("CARGO_PKG_VERSION")),
        ),
        ("$SYS/broker/clients/connected", "2"),
        ("$SYS/broker/clients/disconnected", "0"),
        ("$SYS/broker/clients/total", "2"),
        ("$SYS/broker/messages/received", "3"),
        ("$SYS/broker/publish/messages/received", "3"),
        ("$SYS/broker/publish/messages/dropped", "0"),
        ("$SYS/broker/subscriptions/count", "1"),
        ("$SYS/broker/retained messages/count", "14"),
    ];
    let is_as_expected = |values: &BTreeMap<String, String>| {
        let is = |(topic, value): &(&str, &str)| values.get(*topic).is_some_and(|is| is == value);
        expected.iter().all(is)
    };
    for _ in 0..20 * VALUES_OF_ONE_REPORT {
        let message = peer.expect_message();
        let value = String::from_utf8(message.payload).expect("it is text");
        values.insert(message.topic, value);
        if is_as_expected(&values) && values.len() == VALUES_OF_ONE_REPORT {
            assert!(
                values["$SYS/broker/uptime"].ends_with(" seconds"),
                "{values:?}"
            );
            let number = |topic: &str| values[topic].parse::<u64>().expect("it is a number");
            assert!(number("$SYS/broker/bytes/received") > 0, "{values:?}");
            assert!(number("$SYS/broker/bytes/sent") > 0, "{values:?}");
            return;
        }
    }
    panic!("not within twenty reports: {values:#?}");
}

#[test]
fn an_interval_of_zero_reports_nothing() {
    let broker = Broker::builder(env!("CARGO_BIN_EXE_nexum"))
        .set("mqtt.sys_interval_seconds", 0)
        .start();
    let mut peer = broker.client(Version::V5, "observer");
    peer.subscribe("$SYS/broker/#", 0);
    // A report would have been published at the start, and be retained: it would come before the
    // answer to a ping.
    peer.expect_ping();
}
