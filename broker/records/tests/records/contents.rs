use nexum_core::SessionId;
use nexum_records::{Kept, describe, tables};

use crate::sample::{inline, retained, session, shared, shared_message};
use crate::world::World;

#[test]
fn an_empty_store_has_no_records() {
    let contents = describe(&World::new().store.view()).expect("it can be read");
    assert_eq!(contents.to_string(), "no records\n");
}

#[test]
fn what_there_is_is_counted() {
    let mut world = World::with(&[
        session(1, "kitchen"),
        inline(1, 0, b"xy"),
        shared(1, 1, 4),
        shared_message(4),
        inline(2, 0, b"z"),
        retained("a", 1),
        retained("b", 1),
    ]);
    world.put(tables::WILLS, &[0; 8], &[1]);
    world.put(tables::RETAINED, b"n", &[3]);
    let contents = describe(&world.store.view()).expect("it can be read");
    let sessions = Kept {
        records: 1,
        bytes: 8 + 6 + 7,
    };
    assert_eq!(contents.kept[0], (tables::SESSIONS, sessions));
    assert_eq!(
        contents.to_string(),
        "1 sessions, 21 bytes\n\
         1 wills, 9 bytes\n\
         3 deliveries, 101 bytes\n\
         1 shared messages, 27 bytes\n\
         3 retained messages, 38 bytes\n\
         longest queues:\n  \
           \"kitchen\": 2 messages, 6 bytes\n  \
           session 2, of which there is no record: 1 messages, 2 bytes\n\
         2 records cannot be read:\n\
         will of session 0: it is cut\n\
         retained message of \"n\": version 3, of which this program does not know\n"
    );
}

#[test]
fn the_ten_longest_queues_are_named() {
    let mut world = World::new();
    for id in 0..15_u64 {
        let length = id * 7 % 15;
        let mut changes = vec![session(id, &format!("client {id}"))];
        changes.extend((0..length).map(|position| inline(id, position, b"x")));
        world.change(&changes);
    }
    let contents = describe(&world.store.view()).expect("it can be read");
    let lengths: Vec<u64> = contents
        .longest
        .iter()
        .map(|queue| queue.messages)
        .collect();
    assert_eq!(lengths, [14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);
    let longest = &contents.longest[0];
    assert_eq!(longest.session, SessionId(2));
    assert_eq!(longest.client_id.as_deref(), Some("client 2"));
    assert_eq!(longest.bytes, 28);
}

#[test]
fn of_equal_queues_the_older_session_comes_first() {
    let mut world = World::new();
    for id in 0..12 {
        world.change(&[session(id, "c"), inline(id, 0, b"x")]);
    }
    let contents = describe(&world.store.view()).expect("it can be read");
    let sessions: Vec<u64> = contents
        .longest
        .iter()
        .map(|queue| queue.session.0)
        .collect();
    assert_eq!(sessions, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
