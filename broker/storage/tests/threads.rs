//! A store that many threads share, on a real disk and on one that fails.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nexum_storage::{
    Answer, Changes, DirectoryError, Failure, Fault, Listener, Operation, Options, RealDisk,
    Refusal, SeriesId, SimulatedDisk, Store, StoreEvent, StoreThread, Submitter, TableId,
    ThreadOptions,
};

const TABLE: TableId = TableId(1);

struct Channel(Mutex<Sender<Answer>>);

impl Listener for Channel {
    fn answered(&self, answers: &[Answer]) {
        let sender = self.0.lock().expect("nothing panics");
        for answer in answers {
            sender.send(answer.clone()).expect("it is waited for");
        }
    }
}

fn listener() -> (Arc<dyn Listener>, Receiver<Answer>) {
    let (sender, receiver) = channel();
    (Arc::new(Channel(Mutex::new(sender))), receiver)
}

/// A directory that goes when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("nexum-storage-{name}-{}", std::process::id());
        Directory(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the system's directory for such things.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 20_000,
        overlay_bytes: 10_000,
        reserve_bytes: 4096,
        ..Options::default()
    }
}

fn put(key: &[u8]) -> Changes {
    let mut changes = Changes::new();
    changes.put(TABLE, key, key);
    changes
}

#[test]
fn many_threads_are_answered_in_order_and_a_restart_has_all() {
    let directory = Directory::new("threads");
    let open = || {
        let disk = RealDisk::open(&directory.0).expect("it is free");
        Store::open(Arc::new(disk), options()).expect("it can be opened")
    };
    let (store, report) = open();
    assert!(report.is_new);
    let store =
        StoreThread::start(store, ThreadOptions::default(), Box::new(drop)).expect("threads");
    let threads: Vec<_> = (0..8_u8)
        .map(|thread| {
            let (listener, answers) = listener();
            let submitter = store.submitter(listener);
            thread::spawn(move || {
                for number in 0..100_u8 {
                    submitter
                        .submit(u64::from(number), put(&[thread, number]))
                        .expect("it is open");
                }
                for number in 0..100 {
                    let answer = answers.recv().expect("an answer");
                    let expected = Answer {
                        tag: number,
                        result: Ok(()),
                        offsets: Vec::new(),
                    };
                    assert_eq!(answer, expected);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("all were answered");
    }
    let (statistics, usage) = store.statistics().expect("it runs");
    assert_eq!(statistics.submissions, 800);
    assert!(usage.log_bytes > 0);
    store.close().expect("it works");
    let (store, report) = open();
    assert_eq!(report.batches, 0, "a close leaves nothing to replay");
    for thread in 0..8 {
        for number in 0..100 {
            let view = store.view();
            let value = view.get(TABLE, &[thread, number]).expect("it can be read");
            assert_eq!(value.as_deref(), Some(&[thread, number][..]));
        }
    }
}

#[test]
fn a_directory_that_is_in_use_is_refused() {
    let directory = Directory::new("locked");
    let first = RealDisk::open(&directory.0).expect("it is free");
    let refused = RealDisk::open(&directory.0).expect_err("it is in use");
    assert!(matches!(refused, DirectoryError::Locked(_)), "{refused}");
    drop(first);
    RealDisk::open(&directory.0).expect("it is free again");
}

#[test]
fn after_a_failed_sync_it_promises_again_by_itself() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = Store::open(disk.mount(), options()).expect("it is new");
    let (events, happened) = channel();
    let thread_options = ThreadOptions {
        retry_after: Duration::from_millis(1),
        ..ThreadOptions::default()
    };
    let tell = Box::new(move |event| events.send(event).expect("it is waited for"));
    let store = StoreThread::start(store, thread_options, tell).expect("threads");
    let (listener, answers) = listener();
    let submitter = store.submitter(listener);
    disk.fail(Fault {
        operation: Some(Operation::Sync),
        name_ends: ".log",
        after: 0,
        times: 1,
        failure: Failure::Broken,
    });
    submitter.submit(1, put(b"a")).expect("it is open");
    assert!(answers.recv().expect("an answer").result.is_err());
    assert!(matches!(happened.recv(), Ok(StoreEvent::Failed(_))));
    assert_eq!(happened.recv(), Ok(StoreEvent::Reopened));
    submitter.submit(2, put(b"b")).expect("it is open");
    assert_eq!(answers.recv().expect("an answer").result, Ok(()));
    store.close().expect("it works");
    disk.crash();
    let (store, _) = Store::open(disk.mount(), options()).expect("it is whole");
    let view = store.view();
    assert!(view.get(TABLE, b"a").expect("it can be read").is_none());
    assert!(view.get(TABLE, b"b").expect("it can be read").is_some());
}

/// A submitter that has not seen yet that its submission was refused sends others after it.
#[test]
fn what_follows_a_refused_submission_is_refused() {
    let disk = SimulatedDisk::new(1);
    let (store, _) = Store::open(disk.mount(), options()).expect("it is new");
    let (events, happened) = channel();
    let thread_options = ThreadOptions {
        retry_after: Duration::from_millis(1),
        ..ThreadOptions::default()
    };
    let tell = Box::new(move |event| events.send(event).expect("it is waited for"));
    let store = StoreThread::start(store, thread_options, tell).expect("threads");
    let (own, own_answers) = listener();
    let (other, other_answers) = listener();
    let submit = |listener: &Arc<dyn Listener>, answers: &Receiver<Answer>, changes| {
        let submitter = store.submitter(Arc::clone(listener));
        submitter.submit(1, changes).expect("it is open");
        answers.recv().expect("an answer").result
    };
    let following = |key| {
        let mut changes = put(key);
        changes.keep_in_order();
        changes
    };
    disk.fail(Fault {
        operation: Some(Operation::Sync),
        name_ends: ".log",
        after: 0,
        times: 1,
        failure: Failure::Broken,
    });
    assert!(submit(&own, &own_answers, put(b"a")).is_err());
    assert!(matches!(happened.recv(), Ok(StoreEvent::Failed(_))));
    assert_eq!(happened.recv(), Ok(StoreEvent::Reopened));
    for key in [b"b", b"c"] {
        let refused = submit(&own, &own_answers, following(key));
        assert!(matches!(refused, Err(Refusal::Failed(_))), "{refused:?}");
    }
    assert_eq!(submit(&other, &other_answers, following(b"d")), Ok(()));
    // It has seen the answers.
    assert_eq!(submit(&own, &own_answers, put(b"a")), Ok(()));
    assert_eq!(submit(&own, &own_answers, following(b"e")), Ok(()));
    let reader = store.reader();
    let view = reader.view();
    let there = [b"a", b"b", b"c", b"d", b"e"]
        .map(|key| view.get(TABLE, key).expect("it can be read").is_some());
    assert_eq!(there, [true, false, false, true, true]);
    drop(view);
    store.close().expect("it works");
}

/// Where the tables fall behind, submissions wait for them and are not refused.
#[test]
fn nothing_is_refused_for_slow_tables() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        overlay_bytes: 500,
        ..options()
    };
    let (store, _) = Store::open(disk.mount(), options).expect("it is new");
    let store =
        StoreThread::start(store, ThreadOptions::default(), Box::new(drop)).expect("threads");
    let (listener, answers) = listener();
    let submitter = store.submitter(listener);
    for round in 0..100_u64 {
        for number in 0..50 {
            let changes = put(&(round * 50 + number).to_be_bytes());
            submitter.submit(number, changes).expect("it is open");
        }
        for number in 0..50 {
            let expected = Answer {
                tag: number,
                result: Ok(()),
                offsets: Vec::new(),
            };
            assert_eq!(answers.recv().expect("an answer"), expected);
        }
    }
    let (statistics, _) = store.statistics().expect("it runs");
    assert!(statistics.checkpoints > 1);
    store.close().expect("it works");
}

fn delete(key: &[u8]) -> Changes {
    let mut changes = Changes::new();
    changes.delete(TABLE, key);
    changes
}

#[test]
fn after_a_full_disk_it_takes_puts_again_by_itself() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        reserve_bytes: 2 << 20,
        ..options()
    };
    let (store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    let thread_options = ThreadOptions {
        retry_after: Duration::from_millis(1),
        ..ThreadOptions::default()
    };
    let start = |store| {
        let (events, happened) = channel();
        // Nobody waits for what happens at the end.
        let tell = Box::new(move |event| drop(events.send(event)));
        let store = StoreThread::start(store, thread_options, tell).expect("threads");
        (store, happened)
    };
    let (store, happened) = start(store);
    let (listener, answers) = listener();
    let submitter = store.submitter(Arc::clone(&listener));
    let answer = |submitter: &Submitter, changes| {
        submitter.submit(1, changes).expect("it is open");
        answers.recv().expect("an answer").result
    };
    assert_eq!(answer(&submitter, put(b"a")), Ok(()));
    disk.set_room(disk.used_bytes() + 10);
    assert_eq!(answer(&submitter, put(b"b")), Err(Refusal::Full));
    assert_eq!(happened.recv(), Ok(StoreEvent::Full));
    for _ in 0..100 {
        assert_eq!(answer(&submitter, put(b"b")), Err(Refusal::Full));
        assert_eq!(answer(&submitter, delete(b"c")), Ok(()));
    }
    store.close().expect("it works");
    disk.kill();

    let (store, _) = Store::open(disk.mount(), options).expect("it opens");
    let (store, happened) = start(store);
    assert_eq!(happened.recv(), Ok(StoreEvent::Full), "it says so");
    let submitter = store.submitter(listener);
    assert_eq!(answer(&submitter, put(b"b")), Err(Refusal::Full));
    assert_eq!(answer(&submitter, delete(b"a")), Ok(()));
    // Until a checkpoint has the deletion. Then nothing but time brings the reserve back.
    while store.statistics().expect("it runs").1.log_bytes > 44 {
        thread::yield_now();
    }
    disk.set_room(u64::MAX);
    while answer(&submitter, put(b"b")) != Ok(()) {
        thread::yield_now();
    }
    store.close().expect("it works");
}

#[test]
fn a_drained_store_takes_puts_again_by_itself() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        disk_budget_bytes: Some(20_000),
        ..Options::default()
    };
    let (store, _) = Store::open(disk.mount(), options).expect("it is new");
    let store =
        StoreThread::start(store, ThreadOptions::default(), Box::new(drop)).expect("threads");
    let (listener, answers) = listener();
    let submitter = store.submitter(listener);
    let answer = |changes| {
        submitter.submit(1, changes).expect("it is open");
        answers.recv().expect("an answer").result
    };
    let large = |number: u8| {
        let mut changes = Changes::new();
        changes.put(TABLE, &[number], &[number; 1600]);
        changes
    };
    // Together they are more than the budget, one round alone is not.
    for _ in 0..20 {
        for number in 0..8 {
            // Until a checkpoint that is due is finished.
            while answer(large(number)) != Ok(()) {
                thread::yield_now();
            }
        }
        for number in 0..8 {
            assert_eq!(answer(delete(&[number])), Ok(()));
        }
    }
    store.close().expect("it works");
}

#[test]
fn an_answer_has_the_offsets_of_what_was_appended() {
    let disk = SimulatedDisk::new(3);
    let (store, _) = Store::open(disk.mount(), options()).expect("it is new");
    let store =
        StoreThread::start(store, ThreadOptions::default(), Box::new(drop)).expect("threads");
    let (listener, answers) = listener();
    let submitter = store.submitter(listener);
    let series = [1, 2].map(|number| SeriesId {
        table: TABLE,
        number,
    });
    let mut changes = Changes::new();
    changes.append(series[0], 1, b"too early");
    submitter.submit(0, changes).expect("it is open");
    let mut changes = Changes::new();
    changes.create_series(series[0]);
    changes.create_series(series[1]);
    submitter.submit(1, changes).expect("it is open");
    for tag in 2..5 {
        let mut changes = Changes::new();
        changes.append(series[0], tag, b"one");
        changes.append(series[1], tag, b"two");
        changes.append(series[0], tag, b"three");
        submitter.submit(tag, changes).expect("it is open");
    }
    let answer = |tag, result, offsets: &[u64]| Answer {
        tag,
        result,
        offsets: offsets.to_vec(),
    };
    let expected = [
        answer(0, Err(Refusal::NoSeries), &[]),
        answer(1, Ok(()), &[]),
        answer(2, Ok(()), &[0, 0, 1]),
        answer(3, Ok(()), &[2, 1, 3]),
        answer(4, Ok(()), &[4, 2, 5]),
    ];
    for expected in expected {
        assert_eq!(answers.recv().expect("an answer"), expected);
    }
    store.close().expect("it works");
}
