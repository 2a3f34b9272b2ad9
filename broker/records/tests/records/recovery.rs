//! What comes back of what, by cases.

use std::sync::Arc;

use nexum_core::{Change, Key, SessionId, Value, home_of};
use nexum_records::{Progress, Recovered, read_message, recover, tables};
use nexum_storage::Changes;
use nexum_types::Time;

use crate::sample::{
    exchange, inline, received, retained, session, session_that_expires, shared, shared_message,
    subscription, waiting, will,
};
use crate::world::{SEED, SHARDS, World};

/// Recovers, checks how many records are deletable, deletes them, and counts what is left.
fn entries_left(mut world: World) -> (Recovered, usize) {
    let (_, recovered) = world.recover();
    for deletions in &recovered.garbage {
        world.submit(deletions);
    }
    let left = world.entries().len();
    (recovered, left)
}

#[test]
fn an_empty_store_has_nothing() {
    let (restored, recovered) = World::new().recover();
    assert!(restored.is_empty());
    assert_eq!(
        (recovered.next_session_id, recovered.next_message_id),
        (0, 0)
    );
    assert_eq!(recovered.latest, Time::ZERO);
}

#[test]
fn a_session_that_ended_with_its_connection_is_garbage_with_all_it_has() {
    let world = World::with(&[
        session_that_expires(1, "gone", 0),
        subscription(1, "a"),
        will(1),
        inline(1, 0, b"x"),
        shared(1, 1, 9),
        shared_message(9),
        exchange(1, 1, 0),
        received(1, 2),
    ]);
    let (recovered, left) = entries_left(world);
    assert_eq!(left, 0);
    assert_eq!((recovered.sessions, recovered.deliveries), (0, 0));
    assert_eq!(recovered.lost.count, 0);
    assert_eq!(
        (recovered.next_session_id, recovered.next_message_id),
        (2, 10)
    );
}

#[test]
fn what_belongs_to_no_session_is_garbage() {
    let world = World::with(&[
        session(1, "here"),
        subscription(2, "a"),
        will(2),
        inline(2, 0, b"x"),
        exchange(2, 1, 0),
        received(2, 2),
        received(1, 2),
    ]);
    let (recovered, left) = entries_left(world);
    assert_eq!(left, 2);
    assert_eq!((recovered.sessions, recovered.received), (1, 1));
}

#[test]
fn a_shared_message_that_nobody_names_is_garbage() {
    let world = World::with(&[
        session(1, "c"),
        shared_message(3),
        shared_message(4),
        shared_message(5),
        shared(1, 0, 4),
        shared(1, 1, 4),
        waiting("g/t", 0, 4),
        waiting("g/t", 1, 5),
    ]);
    assert_eq!(
        world.restored()[5..],
        ["Message(MessageId(4), 3)", "Message(MessageId(5), 1)"]
    );
    let (recovered, left) = entries_left(world);
    assert_eq!(left, 7);
    assert_eq!(recovered.messages, 2);
}

#[test]
fn what_names_a_message_that_is_not_there_is_lost() {
    let world = World::with(&[session(1, "c"), shared(1, 7, 3), waiting("g/t", 8, 4)]);
    let (recovered, left) = entries_left(world);
    assert_eq!(left, 1);
    assert_eq!((recovered.deliveries, recovered.waiting), (0, 0));
    assert_eq!(recovered.lost.count, 2);
    assert_eq!(
        recovered.lost.first,
        [
            "delivery 7 of session 1: shared message 3 is not there",
            "message 8 waiting in shared subscription \"g/t\": shared message 4 is not there",
        ]
    );
    assert_eq!(recovered.next_message_id, 5);
}

#[test]
fn the_size_of_a_shared_message_is_its_own() {
    // The delivery says 3; topic and payload are 3 bytes: 't', "ab".
    let world = World::with(&[
        session(1, "c"),
        shared_message(4),
        shared(1, 0, 4),
        waiting("g/t", 0, 4),
    ]);
    let restored = world.restored();
    assert_eq!(
        restored
            .iter()
            .filter(|words| words.contains("size_bytes: 3"))
            .count(),
        2
    );
}

#[test]
fn each_record_comes_to_its_home() {
    let world = World::with(&[
        session(1, "c"),
        inline(1, 0, b"x"),
        shared_message(4),
        waiting("g/t", 0, 4),
        retained("r", 1),
    ]);
    let (restored, _) = world.recover();
    let homes: Vec<_> = restored.iter().map(|(home, _)| home.0).collect();
    let home = |name| home_of(SEED, SHARDS, name).0;
    assert_eq!(
        homes,
        [home("c"), home("c"), home("g/t"), 4 % SHARDS, home("r")]
    );
}

#[test]
fn deliveries_come_in_the_order_of_positions() {
    let positions = [u64::MAX, 256, 1, 255, 0];
    let mut changes = vec![session(1, "c"), session(2, "d")];
    changes.extend(positions.map(|position| inline(1, position, b"x")));
    changes.extend(positions.map(|position| inline(2, position, b"x")));
    let mut seen = Vec::new();
    recover(
        &World::with(&changes).store.view(),
        SEED,
        SHARDS,
        &mut |_, record| {
            if let nexum_core::Restored::Delivery {
                session, position, ..
            } = record
            {
                seen.push((session.0, position));
            }
        },
        &mut |_| {},
    )
    .expect("it can be read");
    let sorted = [0, 1, 255, 256, u64::MAX];
    let expected: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|session| sorted.map(|position| (session, position)))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_latest_time_is_that_of_anything() {
    let at = Time::from_micros;
    let latest = |changes: &[Change]| World::with(changes).recover().1.latest;
    assert_eq!(latest(&[retained("r", 30), retained("s", 20)]), at(30));
    assert_eq!(latest(&[session(1, "c"), inline(1, 0, b"x")]), at(1));
    assert_eq!(latest(&[shared_message(1)]), at(1));
    let mut disconnected = session(1, "c");
    if let Change::Put(_, Value::Session(record)) = &mut disconnected {
        record.disconnected_at = Some(at(40));
    }
    assert_eq!(latest(&[disconnected, retained("r", 30)]), at(40));
}

#[test]
fn garbage_comes_in_submissions_of_so_many_deletions() {
    let mut world = World::new();
    world.submit(&many_deliveries());
    let (_, recovered) = world.recover();
    let deletion_bytes = 7 + 16;
    let sizes: Vec<usize> = recovered
        .garbage
        .iter()
        .map(Changes::encoded_bytes)
        .collect();
    assert_eq!(sizes, [65_536 * deletion_bytes, 4_464 * deletion_bytes]);
    for deletions in &recovered.garbage {
        world.submit(deletions);
    }
    assert_eq!(world.entries(), []);
}

#[test]
fn garbage_with_long_keys_comes_in_submissions_that_fit_into_a_batch() {
    let mut world = World::new();
    let long = "x".repeat(60_000);
    for session in 0..100 {
        world.change(&[subscription(session, &long)]);
    }
    let (_, recovered) = world.recover();
    assert_eq!(recovered.garbage.len(), 2);
    for deletions in &recovered.garbage {
        assert!(deletions.encoded_bytes() < (4 << 20) + 65_536);
        world.submit(deletions);
    }
    assert_eq!(world.entries(), []);
}

/// 70,000 of a session that is not there.
fn many_deliveries() -> Changes {
    let mut changes = Changes::new();
    for position in 0_u64..70_000 {
        let key = [[0; 8], position.to_be_bytes()].concat();
        changes.insert(tables::DELIVERIES, &key, &[1]);
    }
    changes
}

#[test]
fn progress_is_told() {
    let mut world = World::new();
    world.submit(&many_deliveries());
    let mut told = Vec::new();
    recover(
        &world.store.view(),
        SEED,
        1,
        &mut |_, _| {},
        &mut |progress| {
            if progress.table == tables::DELIVERIES {
                told.push(progress.to_string());
            }
        },
    )
    .expect("it can be read");
    assert_eq!(told, ["65536 deliveries", "70000 deliveries"]);
    let unknown = Progress {
        table: tables::FIRST_FREE,
        records: 1,
    };
    assert_eq!(unknown.to_string(), "1 records of table 16");
}

#[test]
fn what_has_no_message_has_none() {
    let world = World::with(&[session(1, "c"), shared(1, 0, 4)]);
    let read = |key| read_message(&world.store.view(), &key).expect("it can be read");
    assert!(read(Key::Session(SessionId(1))).is_none());
    assert!(read(Key::Delivery(SessionId(1), 0)).is_none());
    assert!(read(Key::Delivery(SessionId(1), 1)).is_none());
    assert!(read(Key::Retained(Arc::from("r"))).is_none());
}
