//! Directories of every format version there was open for ever.

use nexum_storage::{Changes, Options, SeriesId, SimulatedDisk, Store, TableId, check};

/// The files of a fixture. Version 2 has series.
const FILES: [&[&str]; 2] = [
    &["00000000000000000001.log", "tables.redb"],
    &[
        "00000000000000000001.log",
        "00000000000000000001.vol",
        "tables.redb",
    ],
];

const SERIES: SeriesId = SeriesId {
    table: TableId(500),
    number: 3,
};

fn options() -> Options {
    Options {
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn fixture(version: usize, name: &str) -> std::path::PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let directory = std::path::Path::new(directory).join(version.to_string());
    directory.join(name)
}

fn mounted(version: usize) -> SimulatedDisk {
    let disk = SimulatedDisk::new(2);
    for name in FILES[version - 1] {
        let bytes = std::fs::read(fixture(version, name)).expect("the fixture is there");
        disk.set_contents(name, &bytes);
    }
    disk
}

/// What the fixture of version 2 was written by; that of version 1 by all but what is of series.
fn write() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
    let mut changes = Changes::new();
    changes.put(TableId(1), b"in the tables", b"1");
    changes.put(TableId(1), b"replaced", b"2");
    changes.create_series(SERIES);
    changes.append(SERIES, 10, b"trimmed");
    changes.append(SERIES, 20, b"in a volume");
    store.submit(&changes).expect("it works");
    store.commit().expect("it works");
    store.make_checkpoint().expect("it works");
    let mut changes = Changes::new();
    changes.put(TableId(1), b"replaced", b"3");
    store.submit(&changes).expect("it works");
    let mut changes = Changes::new();
    changes.insert(TableId(500), b"in the log", b"4");
    changes.delete(TableId(1), b"in the tables");
    changes.trim(SERIES, 1);
    changes.append(SERIES, 30, b"in the log");
    store.submit(&changes).expect("it works");
    store.commit().expect("it works");
    drop(store);
    disk.kill();
    disk
}

fn is_as_written(disk: &SimulatedDisk) {
    let checked = check(&disk.mount()).expect("it can be looked at");
    assert!(checked.is_whole(), "{checked}");
    assert_eq!((checked.checkpoint, checked.last), (1, 2));
    assert_eq!((checked.batches, checked.submissions), (1, 2));
    let (store, report) = Store::open(disk.mount(), options()).expect("it opens");
    assert_eq!(report.batches, 1);
    let view = store.view();
    let value = |table, key: &[u8]| {
        let found = view.get(TableId(table), key).expect("it can be read");
        found.map(|value| value.to_vec())
    };
    assert_eq!(value(1, b"in the tables"), None);
    assert_eq!(value(1, b"replaced").as_deref(), Some(&b"3"[..]));
    assert_eq!(value(500, b"in the log").as_deref(), Some(&b"4"[..]));
}

fn has_series(disk: &SimulatedDisk) {
    let (store, _) = Store::open(disk.mount(), options()).expect("it opens");
    let reader = store.reader();
    let mut found = Vec::new();
    while let Some(records) = reader
        .records(SERIES, found.len() as u64 + 1)
        .expect("whole")
    {
        found.extend(
            records
                .iter()
                .map(|it| (it.offset, it.stamp, it.bytes.to_vec())),
        );
    }
    let expected = [
        (1, 20, b"in a volume".to_vec()),
        (2, 30, b"in the log".to_vec()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_directory_of_version_1_opens() {
    is_as_written(&mounted(1));
}

#[test]
fn a_directory_of_version_2_opens() {
    is_as_written(&mounted(2));
    has_series(&mounted(2));
}

#[test]
fn a_directory_that_is_written_now_is_like_it() {
    is_as_written(&write());
    has_series(&write());
}

#[test]
fn what_an_older_version_wrote_goes_on_in_a_segment_of_its_own() {
    let disk = mounted(1);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it opens");
    let mut changes = Changes::new();
    changes.create_series(SERIES);
    changes.append(SERIES, 1, b"record");
    store.submit(&changes).expect("it works");
    store.commit().expect("it works");
    drop(store);
    disk.crash();
    let version = |name: &str| disk.contents(name).expect("it is there")[8];
    assert_eq!(version("00000000000000000001.log"), 1);
    assert_eq!(version("00000000000000000003.log"), 2);
    let (store, _) = Store::open(disk.mount(), options()).expect("it opens");
    assert_eq!(store.reader().series(SERIES).map(|head| head.next), Some(1));
}

/// For a new version: `cargo test -p nexum-storage --test format -- --ignored`.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let disk = write();
    let version = FILES.len();
    for name in FILES[version - 1] {
        let bytes = disk.contents(name).expect("it is there");
        std::fs::create_dir_all(fixture(version, "")).expect("it can be made");
        std::fs::write(fixture(version, name), bytes).expect("it can be written");
    }
}
