//! Directories that something other than a crash has altered: nothing wrong is ever seen, and what
//! is lost is named.

use std::ops::Bound;
use std::sync::Arc;

use nexum_storage::{
    Changes, Disk, Durability, OpenError, Options, SimulatedDisk, Store, TableId, check,
};

const TABLE: TableId = TableId(1);
const FIRST: &str = "00000000000000000001.log";
const SEGMENT_HEADER: u64 = 44;
const BATCH_HEADER: usize = 28;

/// Without a reserve, which only takes time here.
fn options() -> Options {
    Options {
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn commit(store: &mut Store, key: &[u8], value: &[u8]) {
    let mut changes = Changes::new();
    changes.put(TABLE, key, value);
    store.submit(&changes).expect("it works");
    store.commit().expect("it works");
}

/// Batches 1 to `batches`, each of which sets a key of its own; nothing in the tables.
fn written(batches: u8, options: &Options) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    for number in 1..=batches {
        commit(&mut store, &[number], &[number; 9]);
    }
    drop(store);
    disk.kill();
    disk
}

fn keys(store: &Store) -> Vec<u8> {
    let view = store.view();
    let range = view
        .range(TABLE, (Bound::Unbounded, Bound::Unbounded))
        .expect("it can be read");
    range
        .map(|entry| {
            let (key, value) = entry.expect("it can be read");
            assert_eq!(&*value, &[key[0]; 9], "never a value that was not put");
            key[0]
        })
        .collect()
}

fn reopen(disk: &SimulatedDisk) -> (Store, nexum_storage::Report) {
    Store::open(disk.mount(), options()).expect("it can be opened")
}

/// The offset and the length of each batch of the first segment.
fn batches(disk: &SimulatedDisk) -> Vec<(u64, u64)> {
    let bytes = disk.contents(FIRST).expect("it is there");
    let mut at = SEGMENT_HEADER as usize;
    let mut found = Vec::new();
    while at < bytes.len() {
        let payload = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four"));
        let length = BATCH_HEADER + payload as usize;
        found.push((at as u64, length as u64));
        at += length;
    }
    found
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let whole = written(3, &options());
    let bytes = whole.contents(FIRST).expect("it is there");
    let (last, _) = batches(&whole)[2];
    for cut in last as usize + 1..bytes.len() {
        let disk = written(3, &options());
        disk.set_contents(FIRST, &bytes[..cut]);
        let (mut store, report) = reopen(&disk);
        assert_eq!(keys(&store), [1, 2]);
        let torn = report.torn.expect("it was torn");
        assert_eq!((torn.offset, torn.length), (last, cut as u64 - last));
        assert!(report.damage.is_empty());
        commit(&mut store, &[7], &[7; 9]);
        disk.crash();
        let (store, report) = reopen(&disk);
        assert_eq!((keys(&store), report.torn), (vec![1, 2, 7], None));
    }
}

#[test]
fn a_damaged_middle_is_set_aside_and_named() {
    let disk = written(4, &options());
    let (offset, length) = batches(&disk)[1];
    disk.flip_bit(FIRST, offset + length - 1, 3);
    let bad = disk.contents(FIRST).expect("it is there");
    let checked = check(&disk.mount()).expect("it can be looked at");
    let (store, report) = reopen(&disk);
    assert_eq!(keys(&store), [1, 3, 4]);
    let [damage] = &report.damage[..] else {
        panic!("one damage: {report}");
    };
    assert_eq!(checked.damage, report.damage);
    assert_eq!((damage.file.as_str(), damage.offset), (FIRST, offset));
    assert_eq!(
        (damage.length, damage.first_lost, damage.lost),
        (length, 2, Some(1))
    );
    let kept = disk
        .contents(&damage.quarantine)
        .expect("the bytes are kept");
    assert_eq!(kept, bad[offset as usize..(offset + length) as usize]);
    drop(store);
    disk.crash();
    let (store, report) = reopen(&disk);
    assert_eq!(keys(&store), [1, 3, 4]);
    assert!(report.damage.is_empty(), "it is told once: {report}");
}

#[test]
fn a_damaged_batch_that_is_in_the_tables_is_not_lost() {
    let disk = written(3, &options());
    let (mut store, _) = reopen(&disk);
    store.make_checkpoint().expect("it works");
    commit(&mut store, &[4], &[4; 9]);
    drop(store);
    disk.kill();
    let (offset, length) = batches(&disk)[1];
    disk.flip_bit(FIRST, offset + length - 1, 3);
    let (store, report) = reopen(&disk);
    assert_eq!(keys(&store), [1, 2, 3, 4]);
    assert_eq!(report.damage.len(), 1, "{report}");
    assert_eq!(report.damage[0].lost, Some(0));
}

#[test]
fn a_damaged_batch_before_a_torn_one_is_told_from_it() {
    let disk = written(3, &options());
    let bytes = disk.contents(FIRST).expect("it is there");
    disk.set_contents(FIRST, &bytes[..bytes.len() - 1]);
    let (offset, length) = batches(&disk)[1];
    disk.flip_bit(FIRST, offset + length - 1, 3);
    let (store, report) = reopen(&disk);
    assert_eq!(keys(&store), [1]);
    assert_eq!(report.damage.len(), 1, "{report}");
    assert_eq!(
        (report.damage[0].first_lost, report.damage[0].lost),
        (2, Some(1))
    );
    assert_eq!(report.torn.expect("it was torn").offset, offset + length);
}

#[test]
fn no_flipped_bit_of_a_log_gives_a_wrong_value() {
    let length = written(3, &options())
        .contents(FIRST)
        .expect("it is there")
        .len() as u64;
    for bit in 0..length * 8 {
        let disk = written(3, &options());
        disk.flip_bit(FIRST, bit / 8, (bit % 8) as u8);
        let (store, report) = reopen(&disk);
        let keys = keys(&store);
        let told = report.torn.is_some() || !report.damage.is_empty();
        assert!(told, "bit {bit} went unnoticed");
        let first = report.damage.first();
        match keys.as_slice() {
            [1, 2, 3] => assert_eq!(first.and_then(|d| d.lost), Some(0), "bit {bit}"),
            // The last batch cannot be told from one that was being written.
            [1, 2] => assert!(report.torn.is_some(), "bit {bit}"),
            [1, 3] => assert_eq!(first.map(|d| (d.first_lost, d.lost)), Some((2, Some(1)))),
            [2, 3] => assert_eq!(first.map(|d| (d.first_lost, d.lost)), Some((1, Some(1)))),
            _ => panic!("bit {bit}: {keys:?}, {report}"),
        }
    }
}

/// What a program would see that skips the check of checksums: here they always fit.
#[test]
fn without_checksums_a_flipped_bit_would_be_seen() {
    let disk = written(1, &options());
    let mut bytes = disk.contents(FIRST).expect("it is there");
    let identity: [u8; 16] = bytes[12..28].try_into().expect("sixteen");
    let seal = crc32fast::hash(&identity);
    let checksum = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(seal);
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    let batch = &mut bytes[SEGMENT_HEADER as usize..];
    let last = batch.len() - 1;
    batch[last] ^= 1;
    let of_payload = checksum(&batch[BATCH_HEADER..]);
    batch[20..24].copy_from_slice(&of_payload);
    let of_header = checksum(&batch[..24]);
    batch[24..28].copy_from_slice(&of_header);
    disk.set_contents(FIRST, &bytes);
    let (store, _) = reopen(&disk);
    let view = store.view();
    let value = view.get(TABLE, &[1]).expect("it can be read");
    assert_eq!(value.as_deref(), Some(&[1, 1, 1, 1, 1, 1, 1, 1, 0][..]));
}

/// Segments of one batch each.
fn small_segments() -> Options {
    Options {
        segment_bytes: 50,
        ..options()
    }
}

#[test]
fn a_missing_segment_is_refused_and_can_be_salvaged() {
    for missing in [1_u8, 2] {
        let disk = written(3, &small_segments());
        disk.take(&format!("{missing:020}.log"));
        let refused = Store::open(disk.mount(), options());
        let expected = u64::from(missing);
        assert!(
            matches!(refused, Err(OpenError::Missing { first, last }) if first == expected && last == expected),
            "{refused:?}"
        );
        let salvage = Options {
            salvage: true,
            ..options()
        };
        let (store, _) = Store::open(disk.mount(), salvage).expect("salvage goes on");
        let left: Vec<u8> = (1..=3).filter(|number| *number != missing).collect();
        assert_eq!(keys(&store), left);
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let disk = written(3, &small_segments());
    let other = SimulatedDisk::new(2);
    let (mut store, _) = Store::open(other.mount(), small_segments()).expect("it is new");
    for number in 1..=3 {
        commit(&mut store, &[number], b"foreign");
    }
    let second = "00000000000000000002.log";
    disk.set_contents(second, &other.contents(second).expect("it is there"));
    let refused = Store::open(disk.mount(), options());
    assert!(matches!(refused, Err(OpenError::Foreign { file }) if file == second));
}

#[test]
fn an_empty_last_segment_is_made_anew() {
    let disk = written(2, &small_segments());
    let name = "00000000000000000003.log";
    for contents in [&[][..], &[0; 44], &[7; 10]] {
        disk.set_contents(name, contents);
        let (mut store, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report}");
        assert_eq!(keys(&store)[..2], [1, 2]);
        commit(&mut store, &[1], &[1; 9]);
        drop(store);
        disk.crash();
        let (store, _) = reopen(&disk);
        assert_eq!(keys(&store), [1, 2]);
        drop(store);
        disk.take(name);
        disk.crash();
    }
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let disk = written(1, &options());
    let mut bytes = disk.contents(FIRST).expect("it is there");
    bytes[8] = 3;
    let checksum = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
    disk.set_contents(FIRST, &bytes);
    let refused = Store::open(disk.mount(), options()).expect_err("it is newer");
    assert!(matches!(refused, OpenError::Newer { version: 3, .. }));
    assert!(
        refused
            .to_string()
            .contains("start the version that wrote it")
    );
}

#[test]
fn missing_tables_are_built_from_a_log_that_has_all() {
    let disk = written(3, &small_segments());
    disk.take("tables.redb");
    let (store, report) = reopen(&disk);
    assert!(report.tables_rebuilt);
    assert_eq!(keys(&store), [1, 2, 3]);
}

#[test]
fn missing_tables_are_named_where_the_log_has_not_all() {
    let disk = written(2, &small_segments());
    let (mut store, _) = Store::open(disk.mount(), small_segments()).expect("it is whole");
    store.make_checkpoint().expect("it works");
    commit(&mut store, &[3], &[3; 9]);
    commit(&mut store, &[4], &[4; 9]);
    store.make_checkpoint().expect("it works");
    drop(store);
    disk.kill();
    disk.take("tables.redb");
    let refused = Store::open(disk.mount(), options());
    assert!(matches!(refused, Err(OpenError::TablesMissing { first }) if first > 1));
    let salvage = Options {
        salvage: true,
        ..options()
    };
    let (store, _) = Store::open(disk.mount(), salvage).expect("salvage goes on");
    assert_eq!(keys(&store), [4]);
}

#[test]
fn damaged_tables_are_named_and_can_be_salvaged() {
    let disk = written(3, &options());
    for contents in [&[][..], &[7; 5000], b"redb"] {
        disk.set_contents("tables.redb", contents);
        let refused = Store::open(disk.mount(), options());
        assert!(
            matches!(refused, Err(OpenError::TablesDamaged { .. })),
            "{refused:?}"
        );
        let salvage = Options {
            salvage: true,
            ..options()
        };
        let (store, _) = Store::open(disk.mount(), salvage).expect("salvage goes on");
        assert_eq!(keys(&store), [1, 2, 3]);
        assert_eq!(disk.contents("tables.damaged").as_deref(), Some(contents));
    }
}

#[test]
fn a_flipped_bit_in_the_tables_never_gives_a_wrong_value() {
    let disk = written(3, &options());
    let (store, _) = reopen(&disk);
    store.close().expect("it works");
    let bytes = disk.contents("tables.redb").expect("it is there");
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut noticed = 0;
    for at in used.into_iter().step_by(7) {
        disk.set_contents("tables.redb", &bytes);
        disk.flip_bit("tables.redb", at as u64, 2);
        let Ok((store, _)) = Store::open(disk.mount(), options()) else {
            noticed += 1;
            continue;
        };
        for number in 1..=3 {
            match store.view().get(TABLE, &[number]) {
                Ok(Some(value)) => assert_eq!(&*value, &[number; 9], "byte {at}"),
                Ok(None) => {}
                Err(_) => noticed += 1,
            }
        }
        disk.kill();
    }
    assert!(noticed > 0);
}

#[test]
fn what_was_acknowledged_and_has_vanished_from_the_log_is_saved_from_memory() {
    let disk = SimulatedDisk::new(3);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
    commit(&mut store, &[1], &[1; 9]);
    let broken = nexum_storage::Fault {
        operation: Some(nexum_storage::Operation::Sync),
        name_ends: ".log",
        after: 0,
        times: 1,
        failure: nexum_storage::Failure::Broken,
    };
    disk.fail(broken);
    let mut changes = Changes::new();
    changes.put(TABLE, &[2], &[2; 9]);
    store.submit(&changes).expect("it works");
    store.commit().expect_err("the sync fails");
    // The failing device has taken a batch with it that was synced.
    disk.flip_bit(FIRST, SEGMENT_HEADER + 30, 0);
    store.reopen().expect("memory has it");
    commit(&mut store, &[3], &[3; 9]);
    disk.crash();
    let (store, report) = reopen(&disk);
    assert_eq!(keys(&store), [1, 3]);
    assert!(report.damage.is_empty());
}

#[test]
fn memory_touches_no_file() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        durability: Durability::Memory,
        ..options()
    };
    let (mut store, _) = Store::open(disk.mount(), options).expect("there is nothing to open");
    commit(&mut store, &[1], &[1; 9]);
    assert_eq!(keys(&store), [1]);
    store.make_checkpoint().expect("there is none");
    store.close().expect("there is nothing to close");
    let mounted: Arc<dyn Disk> = disk.mount();
    assert!(mounted.list().expect("it works").is_empty());
}
