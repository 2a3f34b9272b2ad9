//! What is refused, and with which Reason Code.

use nexum_harness::{Subscribe, Version, reason};

use crate::scene::{put, start};

const WILDCARD_IN_NAME: u8 = 0xA2;

#[test]
fn what_means_nothing_is_refused_with_its_reason() {
    let broker = start();
    let mut peer = broker.client(Version::V5, "peer");
    for (topic, payload, expected, said) in [
        ("$kv/none/a", "1", reason::TOPIC_NAME_INVALID, "$ctl/create"),
        ("$kv/cfg", "1", reason::TOPIC_NAME_INVALID, "a key follows"),
        ("$kv/cfg/a/$gets", "", reason::TOPIC_NAME_INVALID, "$get"),
        (
            "$kv/cfg/a/$incr",
            "x",
            reason::PAYLOAD_FORMAT_INVALID,
            "step",
        ),
        (
            "$opt/prio=1/$kv/cfg/a",
            "1",
            reason::IMPLEMENTATION_SPECIFIC_ERROR,
            "'prio' means nothing",
        ),
        (
            "$kv/cfg/$ctl/alter",
            r#"{"histroy": 2}"#,
            reason::PAYLOAD_FORMAT_INVALID,
            "did you mean 'history'?",
        ),
    ] {
        let ack = put(&mut peer, topic, payload);
        assert_eq!(ack.reason, expected, "{topic}");
        let reason = ack.properties.reason_string().expect("why");
        assert!(reason.contains(said), "{topic}: {reason}");
    }
    for (filter, expected) in [
        ("$kv/none/#", reason::TOPIC_FILTER_INVALID),
        ("$kv/cfg", reason::TOPIC_FILTER_INVALID),
        ("$kv/cfg/a/$get", reason::TOPIC_FILTER_INVALID),
        ("$share/g/$kv/cfg/#", reason::TOPIC_FILTER_INVALID),
        ("$kv/+/a", WILDCARD_IN_NAME),
    ] {
        let identifier = peer.next_identifier();
        peer.send(Subscribe::new(identifier).filter(filter, 1));
        peer.expect_suback(identifier, &[expected]);
    }
}
