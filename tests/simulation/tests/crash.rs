//! Seeds in which the power goes, and bugs that the verdict has to find.
//!
//! `NEXUM_CRASH_SEEDS=10000` runs that many others, from a start that is printed and that
//! `NEXUM_CRASH_FROM` sets; `NEXUM_CRASH_SEED=7` runs one of them and prints what happened.

use nexum_simulation::crash::{Bug, Options, Tally, run};

/// Seeds that failed once.
const REGRESSIONS: [u64; 28] = [
    1004,
    1099,
    3467,
    3653,
    3981,
    4414,
    5950,
    5992,
    6444,
    6499,
    15_118,
    38_021,
    82_570,
    180_813,
    184_378,
    317_723,
    333_390,
    354_925,
    519_800,
    540_218,
    584_722,
    639_088,
    652_125,
    667_921,
    672_488,
    102_436,
    105_646,
    213_580_127_288_257,
];

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
        None => (0..100).chain(REGRESSIONS).collect(),
        Some(count) => {
            let from = from_environment("NEXUM_CRASH_FROM").unwrap_or_else(anywhere);
            (from..from + count).collect()
        }
    }
}

#[test]
fn no_crash_breaks_a_promise() {
    let one = from_environment("NEXUM_CRASH_SEED").is_some();
    let options = Options {
        remembers: one,
        ..Options::default()
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
        ..Options::default()
    };
    for seed in 0..3 {
        let history = || run(seed, options).map_or_else(|failure| failure.history, |it| it.history);
        assert_eq!(history(), history(), "seed {seed}");
    }
}

fn options_with(bug: Bug) -> Options {
    Options {
        bug: Some(bug),
        ..Options::default()
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL.into_iter().filter(|bug| *bug != Bug::FlipBit) {
        let found = (0..100).find_map(|seed| run(seed, options_with(bug)).err());
        let failure = found.unwrap_or_else(|| panic!("{bug:?} was never found"));
        println!("{bug:?}: seed {}, {:?}", failure.seed, failure.promise);
    }
}

#[test]
fn a_bit_that_flips_is_told_or_does_no_harm() {
    let mut told = 0;
    for seed in 0..50 {
        match run(seed, options_with(Bug::FlipBit)) {
            Ok(report) => told += report.tally.damage_told,
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{told} of 50 were told of");
    assert!(told >= 5, "{told} of 50 were told of");
}
