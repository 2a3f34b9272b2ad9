//! The start, on whatever is found in the data directory.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use nexum_harness::{Broker, Publish, TemporaryDirectory, Version};

use crate::scene::{
    absent, builder, check_data, come_back, numbered, publish_all, quarantined, refused_start,
    resume, segments, take_all, wait_for_log,
};

/// A message that can be found in a file.
fn marked(number: u16) -> Publish {
    Publish::new("queue", &format!("mark {number} of the log")).qos1(number + 1)
}

fn marks(numbers: impl IntoIterator<Item = u16>) -> Vec<String> {
    let mark = |number| format!("mark {number} of the log");
    numbers.into_iter().map(mark).collect()
}

/// A directory in which a session and twenty messages for it are, each in a batch of its own, as
/// it was when the broker was killed.
fn left_behind() -> TemporaryDirectory {
    let directory = TemporaryDirectory::new();
    let mut broker = builder().data_directory(directory.path()).start();
    absent(&broker, Version::V5, "absent", "queue", 1);
    publish_all(&broker, (0..20).map(marked));
    broker.kill();
    directory
}

#[track_caller]
fn start(directory: &TemporaryDirectory) -> Broker {
    builder().data_directory(directory.path()).start()
}

#[track_caller]
fn delivered(broker: &Broker) -> Vec<String> {
    take_all(&mut come_back(broker, resume(Version::V5, "absent")))
}

fn last_segment(data: &Path) -> std::path::PathBuf {
    segments(data).pop().expect("a log has a segment")
}

/// Where bytes are in a file.
#[track_caller]
fn find(bytes: &[u8], wanted: &str) -> usize {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted.as_bytes())
        .unwrap_or_else(|| panic!("{wanted:?} is not in the file"))
}

/// CRC32 of zlib and Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    for byte in bytes {
        remainder ^= u32::from(*byte);
        for _ in 0..8 {
            let lowest = remainder & 1;
            remainder >>= 1;
            if lowest == 1 {
                remainder ^= 0xEDB8_8320;
            }
        }
    }
    !remainder
}

#[test]
fn directory_in_use_is_refused() {
    let directory = TemporaryDirectory::new();
    let broker = start(&directory);
    let said = refused_start(directory.path());
    let path = directory.path().to_str().expect("it is ASCII");
    assert!(said.contains(path), "it names the directory: {said}");
    assert!(
        said.contains("stop it, or give this one a directory of its own"),
        "it says what to do: {said}"
    );
    // The first is none the worse for it.
    absent(&broker, Version::V5, "absent", "queue", 1);
    publish_all(&broker, [marked(0)]);
    assert_eq!(delivered(&broker), marks([0]));
}

/// After the first has ended, whichever way, the directory is free at once.
#[test]
fn directory_of_a_dead_broker_is_free() {
    let directory = TemporaryDirectory::new();
    let mut broker = start(&directory);
    absent(&broker, Version::V5, "absent", "queue", 1);
    assert!(broker.terminate().success());
    let mut broker = start(&directory);
    publish_all(&broker, [marked(0)]);
    broker.kill();
    assert_eq!(delivered(&start(&directory)), marks([0]));
}

#[test]
fn segment_of_a_newer_format_is_refused() {
    let directory = left_behind();
    let path = last_segment(directory.path());
    let whole = fs::read(&path).expect("it is there");
    let mut newer = whole.clone();
    newer[8..12].copy_from_slice(&1000_u32.to_le_bytes());
    let checksum = crc32(&newer[..40]);
    newer[40..44].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &newer).expect("it is ours");
    let said = refused_start(directory.path());
    let name = path.file_name().and_then(|name| name.to_str());
    assert!(said.contains(name.expect("it is ASCII")), "{said}");
    assert!(
        said.contains("start the version that wrote it, or a later one"),
        "it says what to do: {said}"
    );
    assert_eq!(
        fs::read(&path).expect("it is there"),
        newer,
        "what a newer version wrote stays as it is"
    );
    // The version that wrote it finds everything.
    fs::write(&path, &whole).expect("it is ours");
    assert_eq!(delivered(&start(&directory)), marks(0..20));
}

#[test]
fn garbage_behind_the_log_is_cut() {
    for garbage in [&b"NXMB\x40\0\0\0"[..], &[0; 1000], &[0xA5; 100]] {
        let directory = left_behind();
        let path = last_segment(directory.path());
        let file = OpenOptions::new().append(true).open(&path);
        let mut file = file.expect("it is ours");
        file.write_all(garbage).expect("there is room");
        let broker = start(&directory);
        wait_for_log(&broker, &["INFO", "of an interrupted write were cut"]);
        assert!(quarantined(directory.path()).is_empty());
        assert_eq!(delivered(&broker), marks(0..20));
    }
}

/// The last batch is not whole, as if the machine had died before its sync: what was before it is
/// all there, and new messages come behind that.
#[test]
fn half_a_batch_at_the_end_of_the_log_is_cut() {
    let directory = TemporaryDirectory::new();
    let mut broker = start(&directory);
    absent(&broker, Version::V311, "absent", "queue", 1);
    publish_all(&broker, (0..9).map(marked));
    let path = last_segment(directory.path());
    let acknowledged = fs::metadata(&path).expect("it is there").len();
    publish_all(&broker, [marked(9)]);
    broker.kill();
    let whole = fs::metadata(&path).expect("it is there").len();
    assert!(whole > acknowledged, "a message takes room");
    let file = OpenOptions::new().write(true).open(&path);
    file.expect("it is ours")
        .set_len(acknowledged + (whole - acknowledged) / 2)
        .expect("it is ours");

    let mut broker = start(&directory);
    wait_for_log(&broker, &["INFO", "of an interrupted write were cut"]);
    publish_all(&broker, [marked(10)]);
    broker.kill_and_restart();
    let mut subscriber = come_back(&broker, resume(Version::V311, "absent"));
    assert_eq!(take_all(&mut subscriber), marks((0..9).chain([10])));
}

/// What was damaged is set aside, told once, and costs the batch it was in, no other.
#[test]
fn flipped_bit_in_the_log_is_quarantined_and_told() {
    let directory = left_behind();
    let path = last_segment(directory.path());
    let mut bytes = fs::read(&path).expect("it is there");
    let place = find(&bytes, "mark 7 of the log");
    bytes[place] ^= 0x10;
    fs::write(&path, &bytes).expect("it is ours");

    let mut broker = start(&directory);
    let kept = quarantined(directory.path());
    let [kept] = &kept[..] else {
        panic!("one stretch was damaged: {kept:?}");
    };
    let name = kept.file_name().and_then(|name| name.to_str());
    let name = name.expect("it is ASCII");
    wait_for_log(&broker, &["ERROR", "damaged", name, "is lost"]);
    let quarantine = fs::read(kept).expect("it is there");
    assert!(
        bytes
            .windows(quarantine.len())
            .any(|window| window == quarantine),
        "the bytes are kept as they were"
    );
    // It does not need to be told again.
    broker.kill_and_restart();
    assert!(
        !broker.log().contains("ERROR"),
        "it was told: {}",
        broker.log()
    );
    assert_eq!(delivered(&broker), marks((0..7).chain(8..20)));
    let (status, said) = {
        broker.kill();
        check_data(directory.path())
    };
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A segment is gone: it may be put back, so the broker does not start without it, unless it is
/// told to.
#[test]
fn missing_segment_is_refused_until_salvage_is_allowed() {
    let directory = left_behind();
    // A start makes no segment of its own where the last one is whole, so the first is the last.
    let path = last_segment(directory.path());
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.expect("it is ASCII").to_owned();
    let later = path.with_file_name(format!("{:020}.log", 1000));
    let mut header = fs::read(&path).expect("it is there")[..44].to_vec();
    header[28..36].copy_from_slice(&1000_u64.to_le_bytes());
    let checksum = crc32(&header[..40]);
    header[40..44].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&later, header).expect("it is ours");
    let said = refused_start(directory.path());
    assert!(
        said.contains("salvage") && said.contains("restore it"),
        "it says what to do about what follows {name}: {said}"
    );
    let broker = builder()
        .data_directory(directory.path())
        .set("storage.salvage", true)
        .start();
    assert_eq!(delivered(&broker), marks(0..20));
}

#[test]
fn damaged_tables_are_refused_until_salvage_is_allowed() {
    let directory = TemporaryDirectory::new();
    let mut broker = start(&directory);
    absent(&broker, Version::V5, "absent", "queue", 1);
    publish_all(
        &broker,
        (0..5).map(|number| Publish::new("queue", &number.to_string()).qos1(1)),
    );
    broker.kill();
    let tables = directory.path().join("tables.redb");
    let whole = fs::read(&tables).expect("it is there");
    fs::write(&tables, vec![0x55; whole.len()]).expect("it is ours");
    let said = refused_start(directory.path());
    assert!(
        said.contains("tables.redb") && said.contains("salvage"),
        "{said}"
    );
    // The log reaches back to its beginning, so nothing is lost.
    let broker = builder()
        .data_directory(directory.path())
        .set("storage.salvage", true)
        .start();
    assert!(directory.path().join("tables.damaged").is_file());
    assert_eq!(delivered(&broker), numbered(0..5));
}
