use nexum_records::{Meta, RecordsError, tables};
use nexum_storage::{Failure, Fault, Operation, Options, SimulatedDisk, Store};

use crate::sample::session;
use crate::world::World;

const KEY: &[u8] = b"records";

#[test]
fn the_first_seed_stays() {
    let mut world = World::new();
    let meta = Meta::open(&mut world.store, 7).expect("it is new");
    assert_eq!((meta.seed, meta.is_new), (7, true));
    let mut world = world.crash();
    let meta = Meta::open(&mut world.store, 8).expect("it is there");
    assert_eq!((meta.seed, meta.is_new), (7, false));
}

#[test]
fn records_outlive_a_lost_meta() {
    let mut world = World::with(&[session(1, "c")]);
    assert!(
        Meta::open(&mut world.store, 7)
            .expect("it is missing")
            .is_new
    );
    assert_eq!(world.recover().1.sessions, 1);
}

#[test]
fn a_newer_format_is_refused_with_a_remedy() {
    let mut world = World::new();
    world.put(tables::META, KEY, &[2, 0, 0, 0, 9, 9]);
    let error = Meta::open(&mut world.store, 7).expect_err("it is newer");
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
        "the format of the records: version 2 is newer than this program, which knows 1; start \
         the version that wrote it, or a later one"
    );
}

#[test]
fn a_damaged_one_is_refused_with_a_remedy() {
    for value in [
        &b""[..],
        &[1, 0, 0, 0],
        &[0; 12],
        &[1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ] {
        let mut world = World::new();
        world.put(tables::META, KEY, value);
        let error = Meta::open(&mut world.store, 7).expect_err("it is damaged");
        assert!(matches!(error, RecordsError::Damaged { .. }), "{value:?}");
        assert!(
            error
                .to_string()
                .ends_with("restore the data directory from a backup")
        );
    }
}

#[test]
fn a_store_without_room_is_not_begun() {
    let options = Options {
        disk_budget_bytes: Some(0),
        ..Options::default()
    };
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options).expect("it is new");
    let error = Meta::open(&mut store, 7).expect_err("there is no room");
    assert!(matches!(error, RecordsError::Refused(_)), "{error}");
}

#[test]
fn what_is_not_durable_is_no_seed() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), Options::default()).expect("it is new");
    disk.fail(Fault {
        operation: Some(Operation::Sync),
        name_ends: ".log",
        after: 0,
        times: 1,
        failure: Failure::Broken,
    });
    let error = Meta::open(&mut store, 7).expect_err("it cannot be synced");
    assert!(matches!(error, RecordsError::NotCommitted(_)), "{error}");
}
