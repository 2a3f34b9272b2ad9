//! `nexum check-data DIR`.

use std::fs;

use nexum_harness::{Publish, TemporaryDirectory, Version};

use crate::scene::{absent, builder, check_data, publish_all, segments};

/// A directory with a session and messages, after a kill or a clean end.
fn left_behind(cleanly: bool) -> TemporaryDirectory {
    let directory = TemporaryDirectory::new();
    let mut broker = builder().data_directory(directory.path()).start();
    absent(&broker, Version::V5, "absent", "queue", 1);
    publish_all(
        &broker,
        (0..10).map(|number| Publish::new("queue", &format!("mark {number}")).qos1(number + 1)),
    );
    publish_all(
        &broker,
        [Publish::new("shown", "retained").retain().qos1(1)],
    );
    if cleanly {
        assert!(broker.terminate().success());
    } else {
        broker.kill();
    }
    directory
}

#[test]
fn whole_directory_is_called_whole() {
    for cleanly in [false, true] {
        let directory = left_behind(cleanly);
        let (status, said) = check_data(directory.path());
        assert_eq!(status.code(), Some(0), "{said}");
        assert_eq!(said.lines().last(), Some("whole"), "{said}");
    }
}

#[test]
fn damaged_directory_is_called_damaged() {
    let directory = left_behind(false);
    let path = segments(directory.path()).pop().expect("there is one");
    let mut bytes = fs::read(&path).expect("it is there");
    let place = bytes
        .windows(6)
        .position(|window| window == b"mark 4")
        .expect("it is in the log");
    bytes[place + 5] ^= 1;
    fs::write(&path, &bytes).expect("it is ours");
    // Looking changes nothing: it says so as often as it is asked.
    for _ in 0..2 {
        let (status, said) = check_data(directory.path());
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said.lines().last(), Some("DAMAGED"), "{said}");
    }
    assert_eq!(fs::read(&path).expect("it is there"), bytes);
}

/// What a kill can leave is not damage.
#[test]
fn torn_tail_is_whole() {
    let directory = left_behind(false);
    let path = segments(directory.path()).pop().expect("there is one");
    let mut bytes = fs::read(&path).expect("it is there");
    bytes.extend_from_slice(b"NXMB and no more");
    fs::write(&path, &bytes).expect("it is ours");
    let (status, said) = check_data(directory.path());
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("of an interrupted write"), "{said}");
}

#[test]
fn directory_in_use_is_not_looked_at() {
    let directory = TemporaryDirectory::new();
    let broker = builder().data_directory(directory.path()).start();
    let (status, said) = check_data(directory.path());
    assert_eq!(status.code(), Some(1), "{said}");
    let path = directory.path().to_str().expect("it is ASCII");
    assert!(
        said.contains(path) && said.contains("another process"),
        "{said}"
    );
    broker.client(Version::V5, "unharmed").expect_ping();
}

#[test]
fn directory_that_is_not_there_is_not_made() {
    let parent = TemporaryDirectory::new();
    let missing = parent.path().join("missing");
    let (status, said) = check_data(&missing);
    assert_eq!(status.code(), Some(1), "{said}");
    let path = missing.to_str().expect("it is ASCII");
    assert!(said.contains(path), "{said}");
    assert!(!missing.exists(), "it must not be made by looking");
}

/// There is nothing to check where no broker ever kept anything; and looking leaves it so.
#[test]
fn directory_that_is_no_data_directory_is_refused() {
    let directory = TemporaryDirectory::new();
    fs::write(directory.path().join("letter.txt"), "not ours").expect("it is ours");
    let (status, said) = check_data(directory.path());
    assert_eq!(status.code(), Some(1), "{said}");
    let left: Vec<_> = fs::read_dir(directory.path())
        .expect("it is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .filter(|name| name != "lock")
        .collect();
    assert_eq!(left, ["letter.txt"]);
}
