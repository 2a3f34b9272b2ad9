//! kill -9: what was promised of a queue outlives the process that promised it.
//!
//! One run is one data directory and many rounds. In each the broker starts, with one shard or two;
//! producers push, with delays and identifiers; consumers settle, refuse, lease, vanish and come back;
//! and in the middle of it the broker gets SIGKILL. At the end everybody may finish, and then:
//!
//! - each push that was acknowledged was delivered until somebody settled it, or is a dead letter;
//! - what a lease command was answered to have settled came to nobody afterwards, and what it
//!   rejected is a dead letter;
//! - nothing came before its time, and nothing that nobody pushed;
//! - what is repeated with its identifier, or at QoS 2, is the same message.
//!
//! A PUBACK of a consumer is answered by nothing, so that it may be forgotten with the broker: what it
//! settled may come again in another life, and may not on the same connection.
//!
//! A seed decides who does what, but not when the kill strikes. `NEXUM_CRASH_SEED` sets it,
//! `NEXUM_CRASH_ROUNDS` the number of rounds.

#![expect(
    clippy::print_stdout,
    reason = "a run that fails shows which round it was"
)]

mod consumer;
mod ledger;
mod link;
mod producer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::{Broker, TemporaryDirectory, Version};
use serde_json::Value;

use crate::random::Random;
use crate::scene::Scene;
use consumer::{Consumer, Manner};
use ledger::Ledger;
use link::Stage;
use producer::Producer;

const SEED: u64 = 1;
const ROUNDS: u64 = 6;

/// Long enough that nothing lapses while its consumer is there.
const OPTIONS: &str = r#"{"visibility": "10m", "max_attempts": 0, "dedup_window": "1h",
    "backoff": {"first": "10ms", "factor": 1, "jitter": 0}}"#;

/// The queues: one is settled by PUBACK, the other by lease commands.
const JOBS: &str = "jobs";
const LEASES: &str = "leases";

/// How long the last round may take, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn promises_of_queues_are_kept_through_kill_9() {
    let seed = number("NEXUM_CRASH_SEED", SEED);
    let rounds = number("NEXUM_CRASH_ROUNDS", ROUNDS);
    println!("NEXUM_CRASH_SEED={seed} NEXUM_CRASH_ROUNDS={rounds}");
    Run::new(seed).play(rounds as usize);
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

struct Run {
    seed: u64,
    starts: usize,
    random: Random,
    directory: Option<TemporaryDirectory>,
    ledger: Ledger,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let producers = [
            ("p1", Version::V311, 1),
            ("p2", Version::V5, 1),
            ("p3", Version::V311, 2),
            ("p4", Version::V5, 2),
        ];
        let producers = producers
            .map(|(name, version, qos)| Producer::new(name, version, qos, random.fork()))
            .into();
        let consumers = [
            ("c1", Version::V311, Manner::Plain { qos: 1 }, false),
            ("c2", Version::V5, Manner::Plain { qos: 1 }, false),
            ("c3", Version::V5, Manner::Plain { qos: 2 }, true),
            ("c4", Version::V311, Manner::Plain { qos: 2 }, true),
            ("l1", Version::V311, Manner::Lease, false),
            ("l2", Version::V5, Manner::Lease, false),
            ("l3", Version::V311, Manner::Lease, true),
        ];
        let consumers = consumers
            .map(|(name, version, manner, stays)| {
                Consumer::new(name, version, manner, stays, random.fork())
            })
            .into();
        Run {
            seed,
            starts: 0,
            random,
            directory: Some(TemporaryDirectory::new()),
            ledger: Ledger::default(),
            producers,
            consumers,
        }
    }

    fn play(mut self, rounds: usize) {
        for round in 1..=rounds {
            self.play_round(round);
        }
        self.drain();
        self.expect_nothing_left();
        let told = self.ledger.tell();
        println!("{told}");
    }

    fn play_round(&mut self, round: usize) {
        let mut scene = self.start();
        if round == 1 {
            scene.create(JOBS, OPTIONS);
            scene.create(LEASES, OPTIONS);
        }
        let until_killed = Duration::from_millis(self.random.between(30, 500) as u64);
        println!("round {round}: killed after {until_killed:?}");
        let stage = Stage {
            address: scene.broker.address("tcp"),
            ledger: &self.ledger,
            is_last: false,
            is_over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            let stage = &stage;
            for producer in &mut self.producers {
                scope.spawn(move || producer.play(stage));
            }
            for consumer in &mut self.consumers {
                scope.spawn(move || consumer.play(stage));
            }
            thread::sleep(until_killed);
            // Before it is dead, so that nobody wonders at the end of a connection.
            stage.is_over.store(true, Ordering::SeqCst);
            scene.broker.kill();
        });
        self.expect_no_breach(&scene.broker);
    }

    /// Everybody finishes, and nothing is killed meanwhile.
    fn drain(&mut self) {
        let mut scene = self.start();
        let stage = Stage {
            address: scene.broker.address("tcp"),
            ledger: &self.ledger,
            is_last: true,
            is_over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            let stage = &stage;
            for producer in &mut self.producers {
                producer.play(stage);
            }
            for consumer in &mut self.consumers {
                scope.spawn(move || consumer.play(stage));
            }
            let deadline = Instant::now() + PATIENCE;
            while !is_empty(&mut scene) {
                if Instant::now() > deadline {
                    let jobs = scene.control(JOBS, "info", "").body;
                    let leases = scene.control(LEASES, "info", "").body;
                    self.ledger
                        .breach(format!("the queues are never empty: {jobs} {leases}"));
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            stage.is_over.store(true, Ordering::SeqCst);
        });
        for queue in [JOBS, LEASES] {
            for letter in dead_letters(&mut scene, queue) {
                self.ledger.found_dead(&letter);
            }
        }
        self.ledger.judge();
        self.expect_no_breach(&scene.broker);
        // It is answered when all before it is stored.
        assert_eq!(scene.control(JOBS, "alter", "").code, "ok");
        scene.broker.kill();
    }

    /// What was settled at last is settled for good.
    fn expect_nothing_left(&mut self) {
        let mut scene = self.start();
        for queue in [JOBS, LEASES] {
            let shown = scene.control(queue, "peek", "").body;
            assert_eq!(shown.as_array().map(Vec::len), Some(0), "{queue}: {shown}");
        }
        self.expect_no_breach(&scene.broker);
    }

    fn start(&mut self) -> Scene {
        self.starts += 1;
        let shards = self.starts % 2 + 1;
        println!("seed {}: {shards} shards", self.seed);
        let directory = self.directory.as_ref().expect("it is there while we play");
        let builder = Broker::builder(env!("CARGO_BIN_EXE_nexum"))
            .data_directory(&directory.path().join("data"))
            .set("server.shards", shards);
        Scene::on(builder)
    }

    #[track_caller]
    fn expect_no_breach(&self, broker: &Broker) {
        let breaches = self.ledger.breaches();
        assert!(
            breaches.is_empty(),
            "seed {}: {} promises are broken:\n{}",
            self.seed,
            breaches.len(),
            breaches.join("\n")
        );
        let log = broker.log();
        assert!(!log.contains("panicked"), "a panic is in the log");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            println!("the data directory is kept: {}", directory.path().display());
            directory.keep();
        }
    }
}

fn is_empty(scene: &mut Scene) -> bool {
    [JOBS, LEASES].iter().all(|queue| {
        let info = scene.control(queue, "info", "").body;
        ["ready", "delayed", "leased"]
            .iter()
            .all(|count| info[*count] == 0)
    })
}

fn dead_letters(scene: &mut Scene, queue: &str) -> Vec<String> {
    let mut letters = Vec::new();
    loop {
        let page = format!(r#"{{"offset": {}, "limit": 100}}"#, letters.len());
        let shown = scene.control(queue, "dlq.peek", &page).body;
        let Some(shown) = shown.as_array().filter(|shown| !shown.is_empty()) else {
            return letters;
        };
        let payload = |letter: &Value| letter["payload"].as_str().map(str::to_owned);
        letters.extend(shown.iter().filter_map(payload));
    }
}
