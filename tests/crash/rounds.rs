//! One run: one data directory, and a broker that is killed on it again and again.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use nexum_harness::{Broker, TemporaryDirectory, Version};

use crate::breach::Breach;
use crate::cast::Cast;
use crate::clock::Clock;
use crate::random::Random;
use crate::session::{Session, Stage};
use crate::verdict::outdated;
use crate::{publisher, retained, subscriber};

/// Nothing that waits for an absent subscriber may be dropped, or it would count as lost.
const SETTINGS: [(&str, &str); 2] = [
    ("limits.persistent_queue_messages", "1000000"),
    ("limits.persistent_queue_bytes", "1 GiB"),
];

/// In turn: the sessions are on other shards each time.
const SHARDS: [usize; 3] = [2, 3, 1];

/// Messages of one publisher in one round, at most.
const MESSAGES: usize = 400;

/// After so many rounds there is a verdict.
const ROUNDS_BETWEEN_VERDICTS: usize = 4;

/// Of so many broken promises the story is told.
const STORIES: usize = 5;

pub(crate) struct Run {
    seed: u64,
    round: usize,
    starts: usize,
    random: Random,
    clock: Clock,
    cast: Cast,
    directory: Option<TemporaryDirectory>,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        Run {
            seed,
            round: 0,
            starts: 0,
            cast: Cast::new(&mut random),
            random,
            clock: Clock::default(),
            directory: Some(TemporaryDirectory::new()),
        }
    }

    /// Kills the broker so many times in the middle of everything.
    pub(crate) fn play(mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round += 1;
            self.play_round();
            if self.round.is_multiple_of(ROUNDS_BETWEEN_VERDICTS) && self.round < rounds {
                self.drain();
            }
        }
        // The second shows that the first has ended everything for good.
        self.drain();
        self.drain();
        self.expect_occasions();
    }

    fn play_round(&mut self) {
        let mut broker = self.start();
        let stage = Stage {
            address: broker.address("tcp"),
            round: self.round,
            clock: &self.clock,
            catalogue: &self.cast.catalogue,
        };
        let until_killed = Duration::from_millis(self.random.between(50, 600) as u64);
        let messages = self.random.between(MESSAGES / 4, MESSAGES);
        println!(
            "round {}: {messages} messages a publisher, killed after {until_killed:?}",
            self.round
        );
        thread::scope(|scope| {
            let stage = &stage;
            for publisher in &mut self.cast.publishers {
                let until = publisher::Until::Killed { messages };
                scope.spawn(move || publisher.play(stage, until));
            }
            for subscriber in &mut self.cast.subscribers {
                let comes = self.round == subscriber.joins || self.random.percent(65);
                if comes && self.round >= subscriber.joins {
                    scope.spawn(move || subscriber.play(stage, subscriber::Until::Killed));
                }
            }
            for testator in &mut self.cast.testators {
                scope.spawn(move || testator.play(stage));
            }
            thread::sleep(until_killed);
            broker.kill();
        });
        self.expect_no_breach(&broker, Vec::new());
    }

    /// Lets everybody finish, and judges.
    fn drain(&mut self) {
        let mut broker = self.start();
        let stage = Stage {
            address: broker.address("tcp"),
            round: self.round,
            clock: &self.clock,
            catalogue: &self.cast.catalogue,
        };
        thread::scope(|scope| {
            let stage = &stage;
            for publisher in &mut self.cast.publishers {
                scope.spawn(move || publisher.play(stage, publisher::Until::Settled));
            }
        });
        let missing: Vec<HashSet<_>> = {
            let history = self.cast.history();
            let inboxes = self
                .cast
                .subscribers
                .iter()
                .map(|subscriber| &subscriber.inbox);
            inboxes
                .map(|inbox| {
                    let mut missing: HashSet<_> = history.promised(inbox).collect();
                    for message in &inbox.messages {
                        missing.remove(message);
                    }
                    missing
                })
                .collect()
        };
        thread::scope(|scope| {
            let stage = &stage;
            for (subscriber, missing) in self.cast.subscribers.iter_mut().zip(missing) {
                let until = subscriber::Until::Silent { missing };
                scope.spawn(move || subscriber.play(stage, until));
            }
        });
        let history = self.cast.history();
        let judged = self
            .cast
            .subscribers
            .iter()
            .flat_map(|subscriber| history.judge(&subscriber.inbox))
            .collect();
        self.expect_no_breach(&broker, judged);
        broker.kill();
    }

    /// Starts the broker and looks at what it has retained, before anybody else comes.
    fn start(&mut self) -> Broker {
        self.starts += 1;
        let shards = SHARDS[self.starts % SHARDS.len()];
        println!(
            "seed {}, after round {}: {shards} shards",
            self.seed, self.round
        );
        let directory = self.directory.as_ref().expect("it is there while we play");
        let mut builder = Broker::builder(env!("CARGO_BIN_EXE_nexum"))
            .data_directory(&directory.path().join("data"))
            .set("server.shards", shards);
        for (key, value) in SETTINGS {
            builder = builder.set(key, value);
        }
        let broker = builder.start();
        let history = self.cast.history();
        let version = Version::ALL[self.starts % Version::ALL.len()];
        let found = retained::look(&broker, version, &history);
        self.expect_no_breach(&broker, outdated(&history, &found));
        broker
    }

    #[track_caller]
    fn expect_no_breach(&self, broker: &Broker, judged: Vec<Breach>) {
        let sessions: Vec<&Session> = self.cast.sessions().collect();
        let seen = sessions.iter().flat_map(|session| &session.breaches);
        let breaches: Vec<&Breach> = judged.iter().chain(seen).collect();
        if !breaches.is_empty() {
            let mut report = String::new();
            for (index, breach) in breaches.iter().enumerate() {
                report += &format!("- {breach}\n");
                if index < STORIES {
                    report += &breach.story(&self.cast.catalogue, &sessions);
                }
            }
            panic!(
                "seed {}, round {}: {} promises are broken:\n{report}",
                self.seed,
                self.round,
                breaches.len()
            );
        }
        let log = broker.log();
        assert!(!log.contains("panicked"), "a panic is in the log");
    }

    /// A run in which nothing was under way when the broker died has shown nothing.
    fn expect_occasions(&self) {
        let history = self.cast.history();
        let resent: usize = self.cast.publishers.iter().map(|one| one.resent).sum();
        let inboxes = self.cast.subscribers.iter().map(|one| &one.inbox);
        let promised: usize = inboxes
            .clone()
            .map(|inbox| history.promised(inbox).count())
            .sum();
        let came: usize = inboxes.map(|inbox| inbox.messages.len()).sum();
        let wills: usize = self
            .cast
            .testators
            .iter()
            .map(|one| one.sent().1.iter().filter(|will| will.acknowledged).count())
            .sum();
        println!(
            "{} rounds: {promised} deliveries promised, {came} came; \
             {resent} packets sent again; {wills} wills",
            self.round
        );
        assert!(promised > 0 && resent > 0 && wills > 0, "nothing to judge");
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
