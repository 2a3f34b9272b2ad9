//! Every write, every sync and everything else that changes the disk fails once, in a scripted run.

use nexum_storage::{
    Changes, CommitError, Durability, Failure, Fault, Operation, Options, Refusal, SimulatedDisk,
    Store, TableId,
};

const TABLE: TableId = TableId(1);

fn options() -> Options {
    Options {
        segment_bytes: 300,
        overlay_bytes: 2000,
        reserve_bytes: 4096,
        ..Options::default()
    }
}

fn put(store: &mut Store, number: u8) -> bool {
    let mut changes = Changes::new();
    changes.put(TABLE, &[number], &[number; 60]);
    store.submit(&changes).is_ok() && store.commit().is_ok()
}

fn has(store: &Store, number: u8) -> bool {
    match store.view().get(TABLE, &[number]) {
        Ok(Some(value)) => {
            assert_eq!(&*value, &[number; 60]);
            true
        }
        Ok(None) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Thirty keys, with checkpoints. Returns which of them were acknowledged.
fn script(store: &mut Store) -> Vec<u8> {
    let mut acknowledged = Vec::new();
    for number in 0..30 {
        if put(store, number) {
            acknowledged.push(number);
        }
        if number % 10 == 9 {
            // Where it fails, the log has it.
            let _fails = store.make_checkpoint();
        }
    }
    acknowledged
}

#[test]
fn one_fault_anywhere_loses_nothing_and_ends() {
    let counted = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(counted.mount(), options()).expect("it is new");
    let before = counted.operations();
    assert_eq!(script(&mut store).len(), 30);
    let operations = counted.operations() - before;
    drop(store);

    for failure in [Failure::NoSpace, Failure::Broken] {
        for times in [1, 5, u64::MAX] {
            let mut stopped = 0;
            for after in 0..operations {
                let disk = SimulatedDisk::new(after);
                let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
                disk.fail(Fault {
                    operation: None,
                    name_ends: "",
                    after,
                    times,
                    failure,
                });
                let acknowledged = script(&mut store);
                stopped += 30 - acknowledged.len();
                disk.heal();
                store.reopen().expect("the fault is gone");
                store.make_checkpoint().expect("the fault is gone");
                assert!(put(&mut store, 100), "it works again without a restart");
                for number in 0..30 {
                    assert_eq!(has(&store, number), acknowledged.contains(&number));
                }
                drop(store);
                disk.crash();
                let (store, report) = Store::open(disk.mount(), options()).expect("it is whole");
                assert!(report.damage.is_empty(), "{report}");
                for number in acknowledged {
                    assert!(
                        has(&store, number),
                        "{failure:?} at {after}: {number} is lost"
                    );
                }
                assert!(has(&store, 100));
            }
            assert!(stopped > 0, "no fault was felt");
        }
    }
}

#[test]
fn on_a_full_disk_deletions_go_on_and_make_room() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        reserve_bytes: 2 << 20,
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), options).expect("it is new");
    for number in 0..10 {
        assert!(put(&mut store, number));
    }
    disk.set_room(disk.used_bytes() + 50);
    let mut changes = Changes::new();
    changes.put(TABLE, &[77], &[77; 60]);
    let refused = store.submit(&changes).expect("nothing is known of it yet");
    let mut deletion = Changes::new();
    deletion.delete(TABLE, &[3]);
    let kept = store.submit(&deletion).expect("nothing is known of it yet");
    let error = store.commit().expect_err("there is no room");
    assert_eq!(
        error,
        CommitError::Full {
            kept: vec![kept],
            refused: vec![refused],
        }
    );
    assert!(!has(&store, 3) && !has(&store, 77) && has(&store, 4));
    store
        .make_checkpoint()
        .expect("the reserve has room for it");
    assert_eq!(store.submit(&changes), Err(Refusal::Full));
    disk.set_room(u64::MAX);
    store.keep_reserve();
    assert!(put(&mut store, 77), "there is room again");
    drop(store);
    disk.crash();
    let (store, _) = Store::open(disk.mount(), self::options()).expect("it is whole");
    assert!(!has(&store, 3) && has(&store, 77));
}

#[test]
fn beyond_the_budget_only_deletions_are_taken() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        disk_budget_bytes: Some(1000),
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), options).expect("it is new");
    let taken = (0..30)
        .take_while(|number| put(&mut store, *number))
        .count() as u8;
    assert!((5..12).contains(&taken), "{taken}");
    let mut changes = Changes::new();
    changes.put(TABLE, &[99], &[1; 60]);
    assert_eq!(store.submit(&changes), Err(Refusal::Full));
    let mut deletions = Changes::new();
    for number in 0..taken {
        deletions.delete(TABLE, &[number]);
    }
    store.submit(&deletions).expect("deletions are taken");
    store.commit().expect("deletions are taken");
    store.make_checkpoint().expect("it works");
    assert!(put(&mut store, 99), "there is room again");
}

fn deletion(numbers: std::ops::Range<u8>) -> Changes {
    let mut changes = Changes::new();
    for number in numbers {
        changes.delete(TABLE, &[number]);
    }
    changes
}

fn delete(store: &mut Store, numbers: std::ops::Range<u8>) {
    store
        .submit(&deletion(numbers))
        .expect("deletions are taken");
    store.commit().expect("deletions are taken");
}

/// With a segment as long as ever, so that none ends by its length.
fn with_budget(bytes: u64) -> Options {
    Options {
        disk_budget_bytes: Some(bytes),
        reserve_bytes: 4096,
        ..Options::default()
    }
}

#[test]
fn a_drained_store_is_below_its_budget_after_a_checkpoint() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), with_budget(2000)).expect("it is new");
    for round in 0..3 {
        let taken = (0..30)
            .take_while(|number| put(&mut store, *number))
            .count() as u8;
        assert!((10..25).contains(&taken), "{taken} in round {round}");
        assert!(store.checkpoint_is_due(), "something was refused");
        store.make_checkpoint().expect("it works");
        delete(&mut store, 0..taken);
        assert!(store.checkpoint_is_due(), "nothing was taken since");
        store.make_checkpoint().expect("it works");
        assert!(store.usage().log_bytes < 100, "{:?}", store.usage());
        assert!(!store.checkpoint_is_due(), "there is nothing to fold");
    }
    assert!(put(&mut store, 99));
    assert!(!store.checkpoint_is_due(), "there is room");
    drop(store);
    disk.crash();
    let (store, report) = Store::open(disk.mount(), with_budget(2000)).expect("it is whole");
    assert!(has(&store, 99) && !has(&store, 0), "{report}");
}

#[test]
fn a_segment_that_a_checkpoint_could_not_begin_is_tried_again() {
    for operation in [Operation::Create, Operation::Sync, Operation::Remove] {
        for failure in [Failure::NoSpace, Failure::Broken] {
            let disk = SimulatedDisk::new(1);
            let (mut store, _) = Store::open(disk.mount(), with_budget(2000)).expect("it is new");
            let taken = (0..30)
                .take_while(|number| put(&mut store, *number))
                .count();
            delete(&mut store, 0..taken as u8);
            disk.fail(Fault {
                operation: Some(operation),
                name_ends: ".log",
                after: 0,
                times: 1,
                failure,
            });
            store.make_checkpoint().expect("the tables are well");
            assert!(store.usage().log_bytes > 1000, "{operation:?} fails");
            assert!(!put(&mut store, 1));
            assert!(store.checkpoint_is_due());
            store.make_checkpoint().expect("there is nothing to fold");
            assert!(store.usage().log_bytes < 100);
            assert!(put(&mut store, 1));
            drop(store);
            disk.crash();
            let (store, report) = Store::open(disk.mount(), with_budget(2000)).expect("whole");
            assert!(has(&store, 1) && report.damage.is_empty(), "{report}");
        }
    }
}

#[test]
fn a_quarter_of_the_budget_in_the_log_is_folded() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), with_budget(10_000)).expect("it is new");
    let mut count = 0;
    while !store.checkpoint_is_due() {
        assert!(put(&mut store, count));
        delete(&mut store, count..count + 1);
        count += 1;
    }
    let bytes = store.usage().log_bytes;
    assert!((2500..3000).contains(&bytes), "{bytes}");
    // What is committed during the checkpoint begins a segment of its own.
    let job = store.begin_checkpoint().expect("it works");
    assert!(put(&mut store, 99));
    store
        .finish_checkpoint(job.expect("it is due").run())
        .expect("it works");
    let bytes = store.usage().log_bytes;
    assert!(bytes < 200, "{bytes}");
    assert!(has(&store, 99) && !store.checkpoint_is_due());
}

/// An earlier version, or one without a budget, has left all in one segment.
#[test]
fn a_log_that_is_in_the_tables_does_not_count_after_a_start() {
    let disk = SimulatedDisk::new(1);
    let unbounded = Options {
        disk_budget_bytes: None,
        ..with_budget(0)
    };
    let (mut store, _) = Store::open(disk.mount(), unbounded).expect("it is new");
    for number in 0..30 {
        assert!(put(&mut store, number));
    }
    delete(&mut store, 0..30);
    assert!(store.usage().log_bytes > 2000);
    store.close().expect("it works");
    disk.kill();
    let (mut store, _) = Store::open(disk.mount(), with_budget(2000)).expect("it is whole");
    assert!(put(&mut store, 1), "{:?}", store.usage());
}

#[test]
fn a_crash_at_any_moment_of_a_checkpoint_that_ends_a_segment_loses_nothing() {
    for durability in [Durability::Fsync, Durability::Os] {
        let options = Options {
            durability,
            ..with_budget(100_000)
        };
        for after in 0.. {
            let disk = SimulatedDisk::new(after);
            let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
            for number in 0..10 {
                assert!(put(&mut store, number));
            }
            delete(&mut store, 0..5);
            disk.crash_at(after);
            let _in_the_log = store.make_checkpoint();
            let committed = put(&mut store, 10);
            let is_off = disk.is_off();
            if durability == Durability::Fsync {
                disk.crash();
            } else {
                disk.kill();
            }
            let (mut store, report) = Store::open(disk.mount(), options.clone()).expect("whole");
            assert!(report.damage.is_empty(), "{report}");
            assert!((0..5).all(|number| !has(&store, number)), "{report}");
            assert!((5..10).all(|number| has(&store, number)), "{report}");
            assert!(!committed || has(&store, 10), "{report}");
            assert!(put(&mut store, 11));
            if !is_off {
                assert!(committed && after > 5, "{after}");
                break;
            }
        }
    }
}

#[test]
fn a_reopening_that_fails_in_an_empty_segment_is_tried_again() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), with_budget(100_000)).expect("it is new");
    assert!(put(&mut store, 1));
    store.make_checkpoint().expect("it works");
    for operation in [Operation::Write, Operation::Create] {
        disk.fail(Fault {
            operation: Some(operation),
            name_ends: ".log",
            after: 0,
            times: 1,
            failure: Failure::Broken,
        });
    }
    assert!(!put(&mut store, 2), "its write fails");
    store.reopen().expect_err("its new segment cannot be made");
    store.reopen().expect("the faults are over");
    assert!(put(&mut store, 3) && has(&store, 1) && !has(&store, 2));
}

#[test]
fn without_the_reserve_nothing_uses_up_the_room_of_deletions() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        reserve_bytes: 2 << 20,
        ..Options::default()
    };
    let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    for number in 0..100 {
        assert!(put(&mut store, number));
    }
    disk.set_room(disk.used_bytes() + 50);
    assert!(!put(&mut store, 100), "there is no room");
    for restarts in 0..3 {
        assert!(store.lacks_reserve());
        let used = disk.used_bytes();
        assert!((100..200).all(|number| !put(&mut store, number)));
        assert_eq!(disk.used_bytes(), used);
        delete(&mut store, restarts * 10..restarts * 10 + 10);
        assert!(store.checkpoint_is_due(), "it makes room");
        let before = store.usage().log_bytes;
        store.make_checkpoint().expect("there is room for it");
        let after = store.usage().log_bytes;
        assert!(after < 100 && after < before, "{before}, {after}");
        drop(store);
        disk.crash();
        (store, _) =
            Store::open(disk.mount(), options.clone()).expect("it opens without a reserve");
    }
    assert!((0..100).all(|number| has(&store, number) == (number >= 30)));
    disk.set_room(disk.used_bytes() + (5 << 20));
    delete(&mut store, 30..31);
    assert!(!store.lacks_reserve(), "it is tried after a deletion");
    assert!(put(&mut store, 100));
}

fn fails_once(operation: Operation, name_ends: &'static str, failure: Failure) -> Fault {
    Fault {
        operation: Some(operation),
        name_ends,
        after: 0,
        times: 1,
        failure,
    }
}

#[test]
fn the_room_of_the_reserve_is_first_for_the_checkpoint_that_it_was_released_for() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
    assert!(put(&mut store, 1));
    disk.fail(fails_once(Operation::Write, "", Failure::NoSpace));
    let error = store.make_checkpoint().expect_err("there is no room");
    assert!(error.is_full());
    store.keep_reserve();
    assert!(store.lacks_reserve() && store.checkpoint_is_due());
    store.make_checkpoint().expect("the fault is over");
    assert!(!store.lacks_reserve() && put(&mut store, 2));
}

#[test]
fn a_reopening_without_room_has_that_of_the_reserve() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
    assert!(put(&mut store, 1));
    disk.fail(fails_once(Operation::Sync, ".log", Failure::Broken));
    assert!(!put(&mut store, 2), "its sync fails");
    disk.fail(fails_once(Operation::Create, ".log", Failure::NoSpace));
    store.reopen().expect_err("there is no room for a segment");
    assert!(store.lacks_reserve());
    store.reopen().expect("there is room");
    assert!(!store.lacks_reserve() && put(&mut store, 3) && has(&store, 1));
}

#[test]
fn a_start_without_room_for_the_reserve_takes_deletions() {
    let disk = SimulatedDisk::new(1);
    let none = Options {
        reserve_bytes: 0,
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), none.clone()).expect("it is new");
    assert!(put(&mut store, 1) && put(&mut store, 2));
    drop(store);
    disk.kill();
    disk.set_room(disk.used_bytes() + 5000);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it opens");
    assert!(store.lacks_reserve() && !put(&mut store, 3));
    delete(&mut store, 1..2);
    drop(store);
    disk.kill();
    let (mut store, _) = Store::open(disk.mount(), none).expect("it opens");
    assert!(!store.lacks_reserve(), "none is wanted");
    assert!(put(&mut store, 3) && !has(&store, 1));
    disk.set_room(disk.used_bytes());
    assert!(!put(&mut store, 4), "there is no room");
    let mut changes = Changes::new();
    changes.put(TABLE, &[4], &[4; 60]);
    store.submit(&changes).expect("nothing is known of it yet");
}

#[test]
fn a_start_that_needs_room_has_that_of_the_reserve() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        reserve_bytes: 32 << 20,
        ..Options::default()
    };
    let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    for number in 0..100 {
        let mut changes = Changes::new();
        changes.put(TABLE, &[number], &[number; 50_000]);
        store.submit(&changes).expect("there is room");
    }
    store.commit().expect("there is room");
    assert!(put(&mut store, 100));
    drop(store);
    disk.kill();
    disk.set_room(disk.used_bytes());
    let little_memory = Options {
        overlay_bytes: 1 << 20,
        ..options
    };
    let (mut store, _) = Store::open(disk.mount(), little_memory).expect("it opens");
    assert!(store.lacks_reserve() && has(&store, 100));
    delete(&mut store, 0..101);
    disk.set_room(u64::MAX);
    store.make_checkpoint().expect("it works");
    assert!(!store.lacks_reserve() && put(&mut store, 1));
}

#[test]
fn what_is_larger_than_a_batch_is_refused() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        maximum_batch_bytes: 1000,
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), options).expect("it is new");
    let mut changes = Changes::new();
    changes.put(TABLE, b"k", &[0; 1000]);
    assert_eq!(store.submit(&changes), Err(Refusal::TooLarge));
    assert!(put(&mut store, 1));
}

#[test]
fn without_syncs_the_death_of_the_process_loses_nothing() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        durability: Durability::Os,
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    // A commit that syncs its batch would not get far.
    disk.fail(Fault {
        operation: Some(Operation::Sync),
        name_ends: ".log",
        after: 0,
        times: u64::MAX,
        failure: Failure::Broken,
    });
    for number in 0..30 {
        assert!(put(&mut store, number));
    }
    disk.heal();
    disk.kill();
    drop(store);
    let (store, report) = Store::open(disk.mount(), options).expect("it is whole");
    assert_eq!(report.batches, 30);
    assert!((0..30).all(|number| has(&store, number)));
}

#[test]
fn a_disk_that_filled_up_has_room_again_when_all_is_deleted() {
    let disk = SimulatedDisk::new(11);
    let options = Options {
        overlay_bytes: 4 << 20,
        reserve_bytes: 1 << 20,
        ..Options::default()
    };
    let (mut store, _) = Store::open(disk.mount(), options).expect("a new store");
    // Not enough for the log and the tables at once.
    disk.set_room(disk.used_bytes() + (7 << 20));
    let value = vec![b'x'; 8000];
    let mut keys = Vec::new();
    for number in 0..2000_u32 {
        let mut changes = Changes::new();
        changes.insert(TABLE, &number.to_be_bytes(), &value);
        let taken = store.submit(&changes).is_ok() && store.commit().is_ok();
        if store.checkpoint_is_due() {
            let _no_room = store.make_checkpoint();
        }
        if !taken {
            break;
        }
        keys.push(number);
    }
    assert!((300..1500).contains(&keys.len()), "{} fit", keys.len());
    for number in keys {
        let mut changes = Changes::new();
        changes.delete(TABLE, &number.to_be_bytes());
        store.submit(&changes).expect("deletions pass");
        store.commit().expect("there is room for deletions");
    }
    store
        .make_checkpoint()
        .expect("there is next to nothing to write");
    store.keep_reserve();
    let mut changes = Changes::new();
    changes.put(TABLE, b"k", &value);
    store.submit(&changes).expect("room");
    store.commit().expect("room");
}

#[test]
fn what_settles_passes_on_a_full_disk_and_in_its_order() {
    let disk = SimulatedDisk::new(12);
    let (mut store, _) = Store::open(disk.mount(), Options::default()).expect("a new store");
    let mut put = Changes::new();
    put.put(TABLE, b"a", &[b'x'; 5000]);
    disk.set_room(disk.used_bytes() + 50);
    store.submit(&put).expect("it is not known yet");
    let mut settled = Changes::new();
    settled.put(TABLE, b"b", b"1");
    settled.settle();
    settled.keep_in_order();
    store.submit(&settled).expect("it settles");
    assert!(
        matches!(store.commit(), Err(CommitError::Full { kept, refused })
        if kept.len() == 1 && refused.len() == 1)
    );
    assert!(store.lacks_reserve());
    store.submit(&put).expect_err("it adds");
    store.submit(&settled).expect("it settles");
    store.commit().expect("room");
    let view = store.view();
    let value = view.get(TABLE, b"b").expect("it can be read");
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
}
