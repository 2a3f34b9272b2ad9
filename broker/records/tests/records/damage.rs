//! What cannot be read.

use std::sync::Arc;

use nexum_core::{Key, SessionId};
use nexum_records::{RecordsError, read_message, recover, tables};
use nexum_storage::{Options, ReadError, SimulatedDisk, Store, TableId};

use crate::sample::{inline, retained, session, shared, shared_message, subscription, waiting};
use crate::world::{SEED, World};

const SESSION_1: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

fn damaged(table: TableId, key: &[u8], value: &[u8]) -> Vec<String> {
    let mut world = World::with(&[session(1, "c")]);
    world.put(table, key, value);
    world.recover().1.damaged.first
}

fn check(table: TableId, key: &[u8], value: &[u8], expected: &str) {
    assert_eq!(damaged(table, key, value), [expected]);
}

#[test]
fn every_way_to_be_damaged_is_told() {
    let of_session = |more: &[u8]| [&SESSION_1[..], more].concat();
    check(tables::SESSIONS, &[7], &[1], "table 2, key 07: it is cut");
    check(tables::SESSIONS, &SESSION_1, &[], "session 1: it is cut");
    check(
        tables::SESSIONS,
        &SESSION_1,
        &[0, 0],
        "session 1: no version is 0",
    );
    check(
        tables::SESSIONS,
        &SESSION_1,
        &[1, 2, 9, 0, 0, 0, b'c'],
        "session 1: it has flags that mean nothing",
    );
    check(
        tables::SESSIONS,
        &SESSION_1,
        &[1, 0, 9, 0, 0, 0],
        "session 1: it has no Client Identifier",
    );
    check(
        tables::SESSIONS,
        &SESSION_1,
        &[1, 0, 9, 0, 0, 0, 0xFF],
        "session 1: its text is not UTF-8",
    );
    check(
        tables::SUBSCRIPTIONS,
        &of_session(b"a"),
        &[1, 3],
        "subscription \"a\" of session 1: there is no QoS 3",
    );
    check(
        tables::SUBSCRIPTIONS,
        &of_session(b"a"),
        &[1, 0, 0],
        "subscription \"a\" of session 1: something follows its end",
    );
    check(
        tables::WILLS,
        &SESSION_1,
        &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'#'],
        "will of session 1: its topic is none",
    );
    check(
        tables::DELIVERIES,
        &of_session(&[0; 8]),
        &[1, 0b11_0000, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        "delivery 0 of session 1: it is cut",
    );
    check(
        tables::EXCHANGES,
        &of_session(&[0, 0]),
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "table 6, key 00000000000000010000: no Packet Identifier is 0",
    );
    check(
        tables::RECEIVED,
        &of_session(&[0, 5]),
        &[1, 1],
        "received publication 5 of session 1: something follows its end",
    );
    check(
        tables::WAITING,
        b"g/a\x01\0\0\0\0\0\0\0\0",
        &[1],
        "table 8, key 672f61010000000000000000: its key has no position",
    );
    check(
        tables::MESSAGES,
        &SESSION_1,
        &[1, 0, 0, 0],
        "shared message 1: it is cut",
    );
    check(
        tables::RETAINED,
        b"a/b",
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, b'a'],
        "retained message of \"a/b\": its topic is in its key and beside it",
    );
    let long = "é".repeat(100);
    check(
        tables::RETAINED,
        long.as_bytes(),
        &[1],
        &format!("retained message of {:?}…: it is cut", "é".repeat(64)),
    );
}

#[test]
fn the_first_hundred_are_named() {
    let mut world = World::new();
    for key in 0..150_u8 {
        world.put(tables::RETAINED, &[b'a', key], &[]);
    }
    let (_, recovered) = world.recover();
    assert_eq!(recovered.damaged.count, 150);
    assert_eq!(recovered.damaged.first.len(), 100);
    let told = recovered.damaged.to_string();
    assert_eq!(told.lines().count(), 101);
    assert!(told.ends_with("and 50 more\n"));
}

#[test]
fn what_is_damaged_stays_and_so_does_what_it_may_concern() {
    let mut world = World::with(&[
        session(1, "c"),
        session(2, "d"),
        subscription(1, "a"),
        inline(1, 0, b"x"),
        shared(2, 0, 4),
        waiting("g/t", 0, 4),
        shared_message(4),
        shared_message(5),
        retained("r", 1),
    ]);
    world.put(tables::SESSIONS, &SESSION_1, &[1]);
    world.put(tables::MESSAGES, &[0, 0, 0, 0, 0, 0, 0, 4], &[1]);
    let (restored, recovered) = world.recover();
    assert_eq!(recovered.damaged.count, 2);
    assert_eq!(
        recovered.lost.first,
        [
            "delivery 0 of session 2: shared message 4 cannot be read",
            "message 0 waiting in shared subscription \"g/t\": shared message 4 cannot be read",
        ]
    );
    assert!(recovered.garbage.is_empty());
    // The rest comes back.
    assert_eq!(restored.len(), 2);
    assert_eq!((recovered.sessions, recovered.retained), (1, 1));
    assert_eq!(
        (recovered.next_session_id, recovered.next_message_id),
        (3, 6)
    );
}

#[test]
fn a_newer_record_stops_the_start_with_a_remedy() {
    let mut world = World::new();
    world.put(tables::RETAINED, b"a/b", &[2, 1, 2, 3]);
    let error = world.try_recover().expect_err("it is newer");
    assert!(matches!(
        error,
        RecordsError::Newer {
            version: 2,
            known: 1,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "retained message of \"a/b\": version 2 is newer than this program, which knows 1; start \
         the version that wrote it, or a later one"
    );
}

#[test]
fn a_damaged_message_is_an_error_to_who_asks_for_it() {
    let mut world = World::new();
    world.put(tables::MESSAGES, &SESSION_1, &[1]);
    world.put(tables::DELIVERIES, &[[0; 8], SESSION_1].concat(), &[1]);
    world.put(tables::RETAINED, b"r", &[1]);
    let keys = [
        Key::Message(nexum_core::MessageId(1)),
        Key::Delivery(SessionId(0), 1),
        Key::Retained(Arc::from("r")),
    ];
    for key in keys {
        let error = read_message(&world.store.view(), &key).expect_err("it is damaged");
        assert!(matches!(error, RecordsError::Damaged { .. }), "{error}");
    }
}

/// What the disk has altered the store finds.
#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), Options::default()).expect("it is new");
    let mut changes = nexum_storage::Changes::new();
    nexum_records::Encoder::new().encode(&[retained("some/topic", 1)], &mut changes);
    store.submit(&changes).expect("there is room");
    store.commit().expect("the disk works");
    store.make_checkpoint().expect("the disk works");
    drop(store);
    let mut file = disk.contents("tables.redb").expect("it is there");
    let places: Vec<usize> = (0..file.len() - 10)
        .filter(|at| file[*at..].starts_with(b"some/topic"))
        .collect();
    for at in places {
        file[at] = b'S';
    }
    disk.set_contents("tables.redb", &file);
    let (store, _) = Store::open(disk.mount(), Options::default()).expect("only a leaf is altered");
    let error = recover(&store.view(), SEED, 1, &mut |_, _| {}, &mut |_| {})
        .expect_err("the entry does not fit its checksum");
    assert!(
        matches!(error, RecordsError::Read(ReadError::Damaged(_))),
        "{error}"
    );
}
