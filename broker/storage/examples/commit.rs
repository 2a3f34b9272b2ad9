//! How fast promises become durable, and how fast a log is read again.
//!
//! `cargo run --release -p nexum-storage --example commit -- DIRECTORY [fsync|os|memory]`: 64
//! submitters with 100 submissions of 256 bytes unanswered each, for ten seconds; then the recovery
//! of a log of 1 GB. The directory is made, and should be on the disk in question.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nexum_storage::{
    Answer, Changes, Durability, Listener, Options, RealDisk, Store, StoreThread, TableId,
    ThreadOptions,
};

const SUBMITTERS: u64 = 64;
const WINDOW: u64 = 100;
const TABLE: TableId = TableId(1);
const SECONDS: u64 = 10;

type Failure = Box<dyn std::error::Error>;

/// Passes on how many answers came.
struct Count(Mutex<Sender<u64>>);

impl Listener for Count {
    fn answered(&self, answers: &[Answer]) {
        let refused = answers
            .iter()
            .find_map(|answer| answer.result.as_ref().err());
        assert!(refused.is_none(), "{refused:?}");
        let sender = self.0.lock().expect("nothing panics");
        // Who has ended does not count any more.
        let _ended = sender.send(answers.len() as u64);
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let durability = match arguments.next().as_deref() {
        None | Some("fsync") => Durability::Fsync,
        Some("os") => Durability::Os,
        Some("memory") => Durability::Memory,
        Some(other) => return Err(format!("no durability is called {other}").into()),
    };
    commits(&directory.join("commits"), durability, false)?;
    commits(&directory.join("queue"), durability, true)?;
    if durability != Durability::Memory {
        recovery(&directory.join("recovery"))?;
    }
    Ok(())
}

/// With `deletes` each submission also deletes what was inserted a thousand submissions before, as
/// a queue does.
fn commits(directory: &Path, durability: Durability, deletes: bool) -> Result<(), Failure> {
    let options = Options {
        durability,
        ..Options::default()
    };
    let disk = RealDisk::open(directory)?;
    let (store, _) = Store::open(Arc::new(disk), options)?;
    let store = StoreThread::start(
        store,
        ThreadOptions::default(),
        Box::new(|event| eprintln!("{event:?}")),
    )?;
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|submitter| {
            let (sender, answered) = channel();
            let handle = store.submitter(Arc::new(Count(Mutex::new(sender))));
            thread::spawn(move || {
                let (mut sent, mut done) = (0_u64, 0);
                while Instant::now() < until {
                    while sent - done < WINDOW {
                        let mut changes = Changes::new();
                        changes.insert(TABLE, &key(submitter, sent), &[7; 256]);
                        if let Some(before) = sent.checked_sub(1000).filter(|_| deletes) {
                            changes.delete(TABLE, &key(submitter, before));
                        }
                        if handle.submit(sent, changes).is_err() {
                            return done;
                        }
                        sent += 1;
                    }
                    match answered.recv() {
                        Ok(answers) => done += answers,
                        Err(_) => return done,
                    }
                }
                done
            })
        })
        .collect();
    let mut all = 0;
    for submitter in submitters {
        all += submitter.join().map_err(|_| "a submitter panicked")?;
    }
    let (statistics, usage) = store.statistics().ok_or("the store has ended")?;
    let commits = &statistics.commit_micros;
    eprintln!(
        "{durability:?}{}: {} submissions/s acknowledged, {} commits/s, batches p50 {} p99 {} \
         submissions, commits p50 {} us p99 {} us longest {} us, {} checkpoints p50 {} ms longest \
         {} ms, log {} MB/s, tables {} MB in {} MB",
        if deletes { " as a queue" } else { "" },
        all / SECONDS,
        statistics.commits / SECONDS,
        statistics.batch_submissions.quantile(0.5),
        statistics.batch_submissions.quantile(0.99),
        commits.quantile(0.5),
        commits.quantile(0.99),
        commits.largest(),
        statistics.checkpoints,
        statistics.checkpoint_millis.quantile(0.5),
        statistics.checkpoint_millis.largest(),
        statistics.log_bytes / SECONDS / 1_000_000,
        usage.table_bytes / 1_000_000,
        usage.table_file_bytes / 1_000_000,
    );
    store.close()?;
    Ok(())
}

fn recovery(directory: &Path) -> Result<(), Failure> {
    let options = Options {
        durability: Durability::Os,
        overlay_bytes: 8 << 30,
        ..Options::default()
    };
    let (mut store, _) = Store::open(Arc::new(RealDisk::open(directory)?), options.clone())?;
    let mut number = 0;
    while store.usage().log_bytes < 1_000_000_000 {
        for _ in 0..1000 {
            let mut changes = Changes::new();
            changes.insert(TABLE, &key(number % 64, number), &[7; 256]);
            if let Some(before) = number.checked_sub(100_000) {
                changes.delete(TABLE, &key(before % 64, before));
            }
            store.submit(&changes)?;
            number += 1;
        }
        store.commit()?;
    }
    drop(store);
    for (what, overlay_bytes) in [("a queue", 64 << 20), ("without a checkpoint", 8 << 30)] {
        let options = Options {
            overlay_bytes,
            ..options.clone()
        };
        let begun = Instant::now();
        let disk = RealDisk::open(directory)?;
        let (store, report) = Store::open(Arc::new(disk), options)?;
        eprintln!("recovery, {what}: {:?}: {report}", begun.elapsed());
        drop(store);
    }
    Ok(())
}

fn key(submitter: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&submitter.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}
