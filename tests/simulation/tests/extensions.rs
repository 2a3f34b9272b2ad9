//! Seeds in which the power goes while queues are worked off and messages wait for their time, and
//! bugs that the verdict has to find.
//!
//! `NEXUM_CRASH_SEEDS=10000` runs that many others, from a start that is printed and that
//! `NEXUM_CRASH_FROM` sets; `NEXUM_CRASH_SEED=7` runs one of them and prints what happened.

use nexum_simulation::crash::{Bug, Cast, Options, Tally, run};

/// Seeds that failed once.
const REGRESSIONS: [u64; 23] = [
    557, 846, 1136, 1165, 1227, 1269, 1320, 1364, 1658, 1691, 1715, 1769, 102_458, 110_907,
    112_789, 116_815, 120_590, 125_538, 128_392, 153_602, 211_104, 515_961, 523_150,
];

const OPTIONS: Options = Options {
    cast: Cast::Extensions,
    bug: None,
    remembers: false,
};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}"))
    })
}

/// Another one at each start of the program.
fn anywhere() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) >> 16
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = from_environment("NEXUM_CRASH_SEED") {
        return vec![seed];
    }
    match from_environment("NEXUM_CRASH_SEEDS") {
        None => (0..300).chain(REGRESSIONS).collect(),
        Some(count) => {
            let from = from_environment("NEXUM_CRASH_FROM").unwrap_or_else(anywhere);
            (from..from + count).collect()
        }
    }
}

#[test]
fn no_crash_breaks_a_promise_of_an_extension() {
    let one = from_environment("NEXUM_CRASH_SEED").is_some();
    let options = Options {
        remembers: one,
        ..OPTIONS
    };
    let seeds = seeds();
    println!("NEXUM_CRASH_FROM={}", seeds[0]);
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for seed in seeds {
        match run(seed, options) {
            Ok(report) => {
                tally += report.tally;
                for line in report.history {
                    println!("{line}");
                }
            }
            Err(mut failure) => {
                if !one {
                    failure.history.clear();
                }
                println!("{failure}");
                failed.push(seed);
            }
        }
    }
    for (name, count) in tally.entries() {
        println!("{name} {count}");
    }
    assert_eq!(
        failed, [0_u64; 0],
        "run again with NEXUM_CRASH_SEED set to one of them"
    );
}

#[test]
fn a_seed_replays_exactly() {
    let options = Options {
        remembers: true,
        ..OPTIONS
    };
    for seed in 0..3 {
        let history = || run(seed, options).map_or_else(|failure| failure.history, |it| it.history);
        assert_eq!(history(), history(), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::OF_EXTENSIONS {
        let options = Options {
            bug: Some(bug),
            ..OPTIONS
        };
        let found = (0..200).find_map(|seed| run(seed, options).err());
        let failure = found.unwrap_or_else(|| panic!("{bug:?} was never found"));
        println!("{bug:?}: seed {}, {:?}", failure.seed, failure.promise);
    }
}
