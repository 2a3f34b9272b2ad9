//! What is captured from plain topics.

use nexum_extension_api::driver::Store;
use nexum_extension_api::{CaptureId, Captured, ErrorCode, Input};

use crate::common::*;

#[test]
fn what_matches_a_source_is_pushed_under_its_topic() {
    let mut broker = jobs(r#"{"source": ["sensors/+/alarm", "doors/#"]}"#);
    assert_eq!(broker.captures(), ["sensors/+/alarm", "doors/#"]);
    let consumer = worker(&mut broker, "$queue/jobs/sensors/#", 10);
    let receipts = broker.publish_plain("sensors/1/alarm", b"a");
    assert_eq!(broker.take_commit(receipts[0]), Some(Ok(())));
    assert!(broker.publish_plain("sensors/1/ok", b"b").is_empty());
    let done = broker.work_off(consumer);
    assert_eq!(&*done[0].topic, "$queue/jobs/sensors/1/alarm");
    let key = property(&done[0], "q-key");
    assert_eq!(key.as_deref(), Some("sensors/1/alarm"));
}

#[test]
fn a_receipt_is_committed_when_the_message_is_stored() {
    let mut broker = jobs(r#"{"source": ["a"], "max_len": 2}"#);
    broker.set_store(Store::Slow);
    let receipts = broker.publish_plain("a", b"1");
    assert_eq!(broker.take_commit(receipts[0]), None);
    broker.commit();
    assert_eq!(broker.take_commit(receipts[0]), Some(Ok(())));
    broker.set_store(Store::Full);
    let receipts = broker.publish_plain("a", b"2");
    let commit = broker.take_commit(receipts[0]).expect("an answer");
    assert_eq!(code(commit), ErrorCode::Unavailable);
    broker.set_store(Store::Quick);
    broker.publish_plain("a", b"3");
    let receipts = broker.publish_plain("a", b"4");
    let commit = broker.take_commit(receipts[0]).expect("an answer");
    assert_eq!(code(commit), ErrorCode::QuotaExceeded);
}

#[test]
fn sources_change_with_the_queue_and_end_with_it() {
    let mut broker = jobs(r#"{"source": ["a", "b"]}"#);
    control(&mut broker, "alter", r#"{"source": ["c", "b"]}"#).expect("altered");
    assert_eq!(broker.captures(), ["c", "b"]);
    control(&mut broker, "alter", r#"{"max_len": 5}"#).expect("altered");
    assert_eq!(broker.captures(), ["c", "b"]);
    broker.restart().expect("readable");
    assert_eq!(broker.captures(), ["c", "b"]);
    control(&mut broker, "delete", "").expect("deleted");
    assert!(broker.captures().is_empty());
}

#[test]
fn what_was_captured_at_qos_0_is_pushed_as_well() {
    let mut broker = jobs(r#"{"source": ["a"]}"#);
    let topic = nexum_types::TopicName::new("a").expect("a topic");
    let message = nexum_types::Message::new(nexum_types::MessageParts {
        topic,
        properties: &[],
        payload: b"x",
        qos: nexum_types::QoS::AtMostOnce,
        retain: false,
        published_at: broker.now(),
        expires_at: None,
    });
    for capture in 0..100 {
        broker.feed(Input::Captured(Captured {
            capture: CaptureId(capture),
            receipt: None,
            message: std::sync::Arc::new(message.clone_for_test()),
        }));
    }
    assert_eq!(info(&mut broker, "ready"), 1, "of the capture there is");
}

/// Messages are shared, never copied; a test makes one again.
trait CloneForTest {
    fn clone_for_test(&self) -> nexum_types::Message;
}

impl CloneForTest for nexum_types::Message {
    fn clone_for_test(&self) -> nexum_types::Message {
        nexum_types::Message::new(self.parts())
    }
}
