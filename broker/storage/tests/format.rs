//! Directories of every format version there was open for ever.

use nexum_storage::{Changes, Options, SimulatedDisk, Store, TableId, check};

const FILES: [&str; 2] = ["00000000000000000001.log", "tables.redb"];

fn options() -> Options {
    Options {
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn fixture(name: &str) -> std::path::PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/1");
    std::path::Path::new(directory).join(name)
}

/// What the fixture of version 1 was written by.
fn write() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options()).expect("it is new");
    let mut changes = Changes::new();
    changes.put(TableId(1), b"in the tables", b"1");
    changes.put(TableId(1), b"replaced", b"2");
    store.submit(&changes).expect("it works");
    store.commit().expect("it works");
    store.make_checkpoint().expect("it works");
    let mut changes = Changes::new();
    changes.put(TableId(1), b"replaced", b"3");
    store.submit(&changes).expect("it works");
    let mut changes = Changes::new();
    changes.insert(TableId(500), b"in the log", b"4");
    changes.delete(TableId(1), b"in the tables");
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

#[test]
fn a_directory_of_version_1_opens() {
    let disk = SimulatedDisk::new(2);
    for name in FILES {
        let bytes = std::fs::read(fixture(name)).expect("the fixture is there");
        disk.set_contents(name, &bytes);
    }
    is_as_written(&disk);
}

#[test]
fn a_directory_that_is_written_now_is_like_it() {
    is_as_written(&write());
}

/// For a new version: `cargo test -p nexum-storage --test format -- --ignored`.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let disk = write();
    for name in FILES {
        let bytes = disk.contents(name).expect("it is there");
        std::fs::create_dir_all(fixture("")).expect("it can be made");
        std::fs::write(fixture(name), bytes).expect("it can be written");
    }
}
