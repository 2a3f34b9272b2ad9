//! What many chapters begin or end with.

use std::time::Duration;

use nexum_harness::{Broker, BrokerBuilder, Frame, Peer, Publish, Version};

/// The broker under test, not yet started.
pub(crate) fn builder() -> BrokerBuilder {
    Broker::builder(env!("CARGO_BIN_EXE_nexum"))
}

/// The broker under test with its defaults.
#[track_caller]
pub(crate) fn start() -> Broker {
    builder().start()
}

/// Runs a test once in each version, each time with a broker of its own.
#[track_caller]
pub(crate) fn each_version(test: impl Fn(&Broker, Version)) {
    for version in Version::ALL {
        println!("in {version:?}:");
        test(&start(), version);
    }
}

/// A CONNECT up to its variable header: protocol name and level, these Connect Flags, Keep Alive
/// 0, and in MQTT 5 no properties. The payload is the test's.
pub(crate) fn connect_head(version: Version, flags: u8) -> Frame {
    let frame = Frame::new(0x10)
        .string("MQTT")
        .u8(version.level())
        .u8(flags)
        .u16(0);
    match version {
        Version::V311 => frame,
        Version::V5 => frame.properties(&[]),
    }
}

/// Clean Start alone, of the Connect Flags.
pub(crate) const CLEAN: u8 = 0x02;

/// Shows that no message is on its way to `subscriber`: of two messages on one road the second
/// does not overtake the first, so a marker that `publisher` sends now must come next.
#[track_caller]
pub(crate) fn expect_no_message(publisher: &mut Peer, subscriber: &mut Peer) {
    subscriber.subscribe("marker", 0);
    publisher.send(Publish::new("marker", "marker"));
    let next = subscriber.expect_publish();
    assert_eq!(
        next.topic, "marker",
        "a message that should not exist: {next:?}"
    );
    // Whatever takes another road, such as the retained messages of a subscription, gets a moment.
    subscriber.expect_nothing_within(Duration::from_millis(30));
}

/// The payload as text, for messages of a failed assertion.
pub(crate) fn text(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.payload).expect("the tests' payloads are text")
}
