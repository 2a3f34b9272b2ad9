//! Wills (MQTT 5 section 3.1.2.5).

use super::*;
use crate::Limits;

#[test]
fn a_will_goes_only_where_its_client_may_publish() {
    let deep = "/".repeat(200);
    for (topic_name, reason) in [
        ("$SYS/broker/version", ReasonCode::NotAuthorized),
        ("$queue/jobs", ReasonCode::TopicNameInvalid),
        (&deep, ReasonCode::TopicNameInvalid),
    ] {
        let mut broker = Broker::new(1, Limits::default());
        let mut packet = connect("c");
        packet.will = Some(will(topic_name, b"forged"));
        let client = broker.connect(packet);
        assert_eq!(broker.take(client), [connack(reason)]);
        assert!(broker.is_closed(client));
        assert_eq!(broker.shards[0].counters().wills_published, 0);
    }
}
