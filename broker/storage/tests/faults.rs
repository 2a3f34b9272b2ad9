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
    disk.set_room(u64::MAX);
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
