//! Inputs that nobody should send.

use nexum_extension_api::{
    ConsumerId, DeliveryId, Extension, FeedId, Input, Outcome, PublicationId, ReadId, RecordKey,
    Unsubscribe, WriteId,
};
use nexum_kv::{Buckets, Settings};
use nexum_types::Time;

use crate::common::*;

#[test]
fn what_is_stale_or_unknown_is_ignored() {
    let mut broker = bucket("");
    let consumer = watcher(&mut broker, "$kv/b/#", 1);
    let nobody = ConsumerId { shard: 9, key: 999 };
    let feed = FeedId { shard: 9, key: 999 };
    for input in [
        Input::Settled {
            consumer: nobody,
            delivery: DeliveryId(0),
            outcome: Outcome::Done,
        },
        Input::Unsubscribe(Unsubscribe {
            feed,
            consumer: nobody,
        }),
        Input::Detach {
            consumer: nobody,
            unanswered: Vec::new(),
            has_ended: true,
        },
        Input::Written {
            write: WriteId(u64::MAX),
            refused: None,
        },
        Input::Read {
            read: ReadId(7_000_000),
            values: vec![None, Some(Box::from([1, 2, 3]))],
        },
        Input::Scanned {
            read: ReadId(7_000_000),
            records: vec![(RecordKey::from([9]), Box::from([1]))],
            next: Some(RecordKey::from([1])),
        },
        Input::Published {
            publication: PublicationId(1),
            refused: None,
        },
    ] {
        broker.feed(input);
    }
    set(&mut broker, "a", "1");
    assert_eq!(told(&broker.work_off(consumer)), ["set a=1"]);
}

#[test]
fn records_that_are_no_records_are_refused_and_never_a_panic() {
    let mut broker = bucket(r#"{"history": 3}"#);
    for payload in ["1", "2", "3"] {
        put(&mut broker, "a/b", payload, &[("ttl", "1h")]).expect("it is set");
    }
    let restore = |key: &[u8], value: &[u8]| {
        let mut buckets = Buckets::new(Settings::default());
        buckets.restore(key, value, Time::ZERO)
    };
    for (key, value) in broker.records() {
        assert_eq!(restore(key, value), Ok(()));
        for length in 0..value.len() {
            // What is cut inside a payload is another one, and no error.
            let _ = restore(key, &value[..length]);
        }
        assert!(restore(key, &[]).is_err());
        for at in 0..key.len() {
            let _ = restore(&key[..at], value);
            let mut other = key.to_vec();
            other[at] ^= 0x80;
            let _ = restore(&other, value);
        }
        let mut later = value.to_vec();
        later[0] = 2;
        assert!(restore(key, &later).is_err(), "a later version");
        assert!(restore(&[], value).is_err());
    }
}

#[test]
fn a_clock_that_is_set_back_does_no_harm() {
    let mut broker = bucket("");
    put(&mut broker, "a", "1", &[("ttl", "10s")]).expect("it is set");
    let now = broker.now();
    let mut buckets = Buckets::new(Settings::default());
    for (key, value) in broker.records() {
        buckets.restore(key, value, now).expect("readable");
    }
    buckets.handle(Input::Start { seed: 1 }, now + seconds(100));
    buckets.handle_timeout(now);
    buckets.handle_timeout(Time::ZERO);
    assert_eq!(buckets.poll_timeout(), Some(now + seconds(10)));
}
