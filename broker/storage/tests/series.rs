//! Series: appended to, read, trimmed, removed; over restarts, and when something fails.

use std::sync::Arc;

use nexum_storage::{
    Changes, Disk, Durability, Failure, Fault, Head, Options, Refusal, SeriesId, SimulatedDisk,
    Store, TableId,
};

const SERIES: SeriesId = series(1);

const fn series(number: u64) -> SeriesId {
    SeriesId {
        table: TableId(7),
        number,
    }
}

fn open(disk: &SimulatedDisk) -> Store {
    let options = Options {
        reserve_bytes: 4096,
        ..Options::default()
    };
    Store::open(disk.mount(), options).expect("it opens").0
}

fn commit(store: &mut Store, change: impl FnOnce(&mut Changes)) {
    let mut changes = Changes::new();
    change(&mut changes);
    store.submit(&changes).expect("it is taken");
    store.commit().expect("it is stored");
}

fn create(store: &mut Store, series: SeriesId) {
    commit(store, |changes| changes.create_series(series));
}

/// Record `n` of a series has 100 to 400 bytes, and the stamp 10 n.
fn record(n: u64) -> Vec<u8> {
    vec![n as u8; 100 + (n % 300) as usize]
}

fn append(store: &mut Store, series: SeriesId, numbers: std::ops::Range<u64>) {
    commit(store, |changes| {
        for n in numbers {
            changes.append(series, n * 10, &record(n));
        }
    });
}

/// The offsets from one on, of records that are as they were appended.
#[track_caller]
fn offsets(store: &Store, series: SeriesId, mut from: u64) -> Vec<u64> {
    let reader = store.reader();
    let mut offsets = Vec::new();
    while let Some(records) = reader.records(series, from).expect("it can be read") {
        for it in records.iter() {
            assert_eq!(
                (it.stamp, it.bytes),
                (it.offset * 10, &record(it.offset)[..])
            );
            offsets.push(it.offset);
        }
        assert!(records.next() > from);
        from = records.next();
    }
    offsets
}

fn volumes(disk: &SimulatedDisk) -> usize {
    let names = disk.mount().list().expect("a list");
    names.iter().filter(|name| name.ends_with(".vol")).count()
}

#[test]
fn records_are_read_from_memory_from_volumes_and_from_both() {
    let disk = SimulatedDisk::new(1);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    assert_eq!(store.reader().series(SERIES), Some(Head::default()));
    append(&mut store, SERIES, 0..500);
    assert!(offsets(&store, SERIES, 0).into_iter().eq(0..500));
    store.make_checkpoint().expect("it is made");
    assert!(offsets(&store, SERIES, 0).into_iter().eq(0..500));
    append(&mut store, SERIES, 500..700);
    assert!(offsets(&store, SERIES, 123).into_iter().eq(123..700));
    let frozen = store.begin_checkpoint().expect("it begins").expect("a job");
    append(&mut store, SERIES, 700..800);
    assert!(offsets(&store, SERIES, 499).into_iter().eq(499..800));
    store.finish_checkpoint(frozen.run()).expect("it is made");
    assert!(offsets(&store, SERIES, 0).into_iter().eq(0..800));
    assert!(offsets(&store, SERIES, 800).is_empty());
    assert!(offsets(&store, series(2), 0).is_empty());
    let head = store.reader().series(SERIES).expect("it is there");
    let written = (0..800).map(|n| record(n).len() as u64).sum();
    assert_eq!((head.next, head.stamp, head.written), (800, 7990, written));
}

#[test]
fn offsets_go_on_after_a_crash_wherever_the_records_are() {
    let disk = SimulatedDisk::new(2);
    let mut next = 0;
    for round in 0..12 {
        let mut store = open(&disk);
        if round == 0 {
            create(&mut store, SERIES);
        }
        assert!(offsets(&store, SERIES, 0).into_iter().eq(0..next));
        append(&mut store, SERIES, next..next + 50);
        if round % 3 == 1 {
            store.make_checkpoint().expect("it is made");
        }
        append(&mut store, SERIES, next + 50..next + 70);
        next += 70;
        // Not committed.
        let mut changes = Changes::new();
        changes.append(SERIES, 0, b"lost");
        store.submit(&changes).expect("it is taken");
        drop(store);
        disk.crash();
    }
}

#[test]
fn what_is_trimmed_is_gone_and_so_are_its_volumes() {
    let disk = SimulatedDisk::new(3);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    for round in 0..4 {
        append(&mut store, SERIES, round * 500..round * 500 + 500);
        store.make_checkpoint().expect("it is made");
    }
    assert_eq!(volumes(&disk), 4);
    let held = store.reader().records(SERIES, 0).expect("it can be read");
    commit(&mut store, |changes| changes.trim(SERIES, 1100));
    assert!(offsets(&store, SERIES, 0).into_iter().eq(1100..2000));
    store.make_checkpoint().expect("it is made");
    assert_eq!(volumes(&disk), 2, "of those with 1000 to 2000");
    assert!(offsets(&store, SERIES, 0).into_iter().eq(1100..2000));
    let held: Vec<_> = held
        .iter()
        .flat_map(|it| it.iter().map(|it| it.offset))
        .collect();
    assert_eq!(held.first(), Some(&0), "who has it keeps it");

    // Beyond the end is all there is, and the offsets go on.
    commit(&mut store, |changes| changes.trim(SERIES, u64::MAX));
    commit(&mut store, |changes| changes.trim(SERIES, 5));
    drop(store);
    disk.crash();
    let mut store = open(&disk);
    assert!(offsets(&store, SERIES, 0).is_empty());
    append(&mut store, SERIES, 2000..2010);
    store.make_checkpoint().expect("it is made");
    assert!(offsets(&store, SERIES, 0).into_iter().eq(2000..2010));
    assert_eq!(volumes(&disk), 1);
}

#[test]
fn a_series_is_removed_with_all_it_has_and_takes_nothing_more() {
    let disk = SimulatedDisk::new(4);
    let mut store = open(&disk);
    for number in 1..4 {
        create(&mut store, series(number));
        append(&mut store, series(number), 0..400);
    }
    store.make_checkpoint().expect("it is made");
    append(&mut store, series(1), 400..420);
    commit(&mut store, |changes| changes.remove_series(series(1)));
    assert_eq!(store.reader().series(series(1)), None);
    let mut changes = Changes::new();
    changes.append(series(2), 4000, &record(400));
    changes.append(series(1), 0, b"too late");
    assert_eq!(store.submit(&changes), Err(Refusal::NoSeries));
    // Nothing of what was refused counts.
    append(&mut store, series(2), 400..401);
    for _ in 0..2 {
        assert!(offsets(&store, series(1), 0).is_empty());
        assert!(offsets(&store, series(2), 0).into_iter().eq(0..401));
        store.make_checkpoint().expect("it is made");
    }
    for number in 2..4 {
        commit(&mut store, |changes| changes.remove_series(series(number)));
    }
    store.make_checkpoint().expect("it is made");
    assert_eq!(volumes(&disk), 0);
    drop(store);
    disk.crash();
    let view = open(&disk);
    assert_eq!(view.view().all_series(TableId(7)).count(), 0);
}

#[test]
fn ten_thousand_small_series_share_a_volume() {
    let disk = SimulatedDisk::new(5);
    let mut store = open(&disk);
    commit(&mut store, |changes| {
        for number in 0..10_000 {
            changes.create_series(series(number));
            changes.append(series(number), 0, &record(0));
        }
    });
    store.make_checkpoint().expect("it is made");
    assert_eq!(volumes(&disk), 1);
    drop(store);
    let store = open(&disk);
    assert_eq!(store.view().all_series(TableId(7)).count(), 10_000);
    for number in [0, 77, 9_999] {
        assert_eq!(offsets(&store, series(number), 0), [0]);
    }
}

#[test]
fn records_are_found_by_time_and_by_bytes() {
    let disk = SimulatedDisk::new(6);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    append(&mut store, SERIES, 0..1000);
    store.make_checkpoint().expect("it is made");
    append(&mut store, SERIES, 1000..1500);
    commit(&mut store, |changes| changes.trim(SERIES, 100));
    let reader = store.reader();
    let at = |stamp| reader.offset_at(SERIES, stamp).expect("it can be read");
    assert_eq!(at(0), Some(100));
    for offset in (100..1500).step_by(7) {
        assert_eq!(at(offset * 10), Some(offset));
        assert_eq!(at(offset * 10 - 9), Some(offset));
    }
    assert_eq!(at(14_991), None);
    let total: u64 = (0..1500).map(|n| record(n).len() as u64).sum();
    let behind = |written| {
        reader
            .offset_behind(SERIES, written)
            .expect("it can be read")
    };
    assert_eq!(behind(total), 1500);
    for keep in [1000, 40_000, 100_000, 300_000] {
        let from = behind(total - keep);
        let kept: u64 = (from..1500).map(|n| record(n).len() as u64).sum();
        assert!(kept <= keep && kept + 70_000 > keep, "{kept} of {keep}");
    }
}

#[test]
fn a_clock_that_goes_back_does_not_hide_records() {
    let mut store = Store::in_memory(Options::default());
    create(&mut store, SERIES);
    commit(&mut store, |changes| {
        for stamp in [50, 40, 60, 10, 70] {
            changes.append(SERIES, stamp, b"x");
        }
    });
    let at = |stamp| {
        store
            .reader()
            .offset_at(SERIES, stamp)
            .expect("it can be read")
    };
    assert_eq!(
        [1, 45, 55, 65, 71].map(at),
        [Some(0), Some(0), Some(2), Some(4), None]
    );
}

#[test]
fn without_a_disk_trimmed_pages_take_no_memory() {
    let mut store = Store::in_memory(Options {
        durability: Durability::Memory,
        ..Options::default()
    });
    create(&mut store, SERIES);
    append(&mut store, SERIES, 0..5000);
    let full = store.usage().overlay_bytes;
    commit(&mut store, |changes| changes.trim(SERIES, 4990));
    assert!(store.usage().overlay_bytes < full / 10);
    assert!(offsets(&store, SERIES, 0).into_iter().eq(4990..5000));
    commit(&mut store, |changes| changes.remove_series(SERIES));
    assert_eq!(store.usage().overlay_bytes, 0);
}

#[test]
fn no_single_fault_of_a_checkpoint_loses_or_repeats_a_record() {
    for failure in [Failure::NoSpace, Failure::Broken] {
        for after in 0.. {
            let disk = SimulatedDisk::new(after);
            let mut store = open(&disk);
            create(&mut store, SERIES);
            append(&mut store, SERIES, 0..300);
            store.make_checkpoint().expect("it is made");
            append(&mut store, SERIES, 300..500);
            commit(&mut store, |changes| changes.trim(SERIES, 250));
            disk.fail(Fault {
                operation: None,
                name_ends: "",
                after,
                times: 1,
                failure,
            });
            let was_felt = store.make_checkpoint().is_err();
            disk.heal();
            assert!(offsets(&store, SERIES, 0).into_iter().eq(250..500));
            store.make_checkpoint().expect("the fault is gone");
            assert!(offsets(&store, SERIES, 0).into_iter().eq(250..500));
            append(&mut store, SERIES, 500..600);
            store.make_checkpoint().expect("the fault is gone");
            assert!(offsets(&store, SERIES, 0).into_iter().eq(250..600));
            drop(store);
            disk.crash();
            let store = open(&disk);
            assert!(
                offsets(&store, SERIES, 0).into_iter().eq(250..600),
                "at {after}"
            );
            assert!(volumes(&disk) <= 3, "nothing is left of what failed");
            if !was_felt && after > 60 {
                break;
            }
        }
    }
}

#[test]
fn a_volume_that_nothing_names_is_removed_at_the_start() {
    let disk = SimulatedDisk::new(8);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    append(&mut store, SERIES, 0..10);
    store.make_checkpoint().expect("it is made");
    let mount = disk.mount();
    let orphan = mount.create("00000000000000000099.vol").expect("a file");
    orphan.write_at(0, b"rubbish").expect("room");
    drop((mount, store));
    let store = open(&disk);
    assert_eq!(volumes(&disk), 1);
    assert_eq!(offsets(&store, SERIES, 0).len(), 10);
}

#[test]
fn damage_in_a_volume_is_found() {
    let disk = SimulatedDisk::new(9);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    append(&mut store, SERIES, 0..1000);
    store.make_checkpoint().expect("it is made");
    let mount: Arc<dyn Disk> = disk.mount();
    let names = mount.list().expect("a list");
    let name = names
        .iter()
        .find(|name| name.ends_with(".vol"))
        .expect("a volume");
    let volume = mount.open(name).expect("a file");
    let mut byte = [0];
    volume.read_at(50_000, &mut byte).expect("a byte");
    volume.write_at(50_000, &[byte[0] ^ 4]).expect("room");
    drop(mount);
    let reader = store.reader();
    let mut from = 0;
    let damaged = loop {
        match reader.records(SERIES, from) {
            Ok(Some(records)) => from = records.next(),
            Ok(None) => panic!("the damage was not found"),
            Err(error) => break error,
        }
    };
    assert!(damaged.to_string().contains("checksum"), "{damaged}");
    assert!(from > 0 && from < 1000);
}

#[test]
fn many_small_volumes_become_one() {
    let disk = SimulatedDisk::new(10);
    let mut store = open(&disk);
    for number in 1..4 {
        create(&mut store, series(number));
    }
    let mut most = 0;
    for round in 0..60 {
        for number in 1..4 {
            append(&mut store, series(number), round * 5..round * 5 + 5);
        }
        store.make_checkpoint().expect("it is made");
        most = most.max(volumes(&disk));
    }
    assert!(most > 4 && most <= 12, "{most} volumes");
    drop(store);
    disk.crash();
    let store = open(&disk);
    for number in 1..4 {
        assert!(offsets(&store, series(number), 0).into_iter().eq(0..300));
        // Of few pages: what was moved together is read together.
        let reader = store.reader();
        let (mut pages, mut from) = (0, 0);
        while let Some(records) = reader.records(series(number), from).expect("whole") {
            (pages, from) = (pages + 1, records.next());
        }
        assert!(pages < 20, "{pages} pages of 300 records");
    }
}

#[test]
fn a_volume_that_is_mostly_dead_gives_its_room_back() {
    let disk = SimulatedDisk::new(11);
    let mut store = open(&disk);
    for number in 1..3 {
        create(&mut store, series(number));
    }
    append(&mut store, series(1), 0..3000);
    append(&mut store, series(2), 0..20);
    store.make_checkpoint().expect("it is made");
    assert_eq!(volumes(&disk), 1);
    let full = disk.used_bytes();
    commit(&mut store, |changes| changes.trim(series(1), 2990));
    store.make_checkpoint().expect("it is made");
    assert_eq!(volumes(&disk), 1, "another one");
    assert!(
        disk.used_bytes() + 500_000 < full,
        "{} of {full}",
        disk.used_bytes()
    );
    drop(store);
    disk.crash();
    let store = open(&disk);
    assert!(offsets(&store, series(1), 0).into_iter().eq(2990..3000));
    assert!(offsets(&store, series(2), 0).into_iter().eq(0..20));
}

#[test]
fn volumes_of_lost_tables_are_set_aside() {
    let disk = SimulatedDisk::new(12);
    let mut store = open(&disk);
    create(&mut store, SERIES);
    append(&mut store, SERIES, 0..10);
    store.make_checkpoint().expect("it is made");
    drop(store);
    disk.take("tables.redb");
    let options = Options {
        salvage: true,
        ..Options::default()
    };
    let (store, report) = Store::open(disk.mount(), options.clone()).expect("with salvage");
    assert!(report.volumes_set_aside == 1 && report.to_string().contains("1 volumes were set"));
    drop(store);
    let (_, report) = Store::open(disk.mount(), options).expect("it opens");
    assert_eq!(report.volumes_set_aside, 0);
    let names = disk.mount().list().expect("a list");
    assert!(
        names
            .iter()
            .any(|name| name == "00000000000000000001.vol.lost")
    );
}
