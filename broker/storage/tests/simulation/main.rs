//! Crashes at any operation, faults, and faults of the program planted for the judge to find.
//!
//! `NEXUM_STORAGE_SEEDS=100000` runs seeds 0 to 99,999 in place of the first few hundred;
//! `NEXUM_STORAGE_SEED=7` runs one of them.

mod world;

use std::collections::BTreeSet;

use world::{Planted, Tally, World};

/// Seeds that failed once, for a mistake of the store or of the judge.
const REGRESSIONS: [u64; 4] = [1791, 2413, 2786, 3721];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}"))
    })
}

fn run(seed: u64, planted: Planted) -> Result<Tally, String> {
    let mut world = World::new(seed, planted);
    world.run()?;
    Ok(world.tally)
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds: BTreeSet<u64> = match from_environment("NEXUM_STORAGE_SEED") {
        Some(seed) => BTreeSet::from([seed]),
        None => (0..from_environment("NEXUM_STORAGE_SEEDS").unwrap_or(400))
            .chain(REGRESSIONS)
            .collect(),
    };
    let mut all = Tally::default();
    let mut broken = Vec::new();
    for seed in &seeds {
        match run(*seed, Planted::Nothing) {
            Ok(tally) => all += tally,
            Err(what) => {
                println!("seed {seed}: {what}");
                broken.push(*seed);
            }
        }
    }
    println!("{all:#?}");
    assert_eq!(
        broken, [0_u64; 0],
        "run again with NEXUM_STORAGE_SEED set to one of them"
    );
    if seeds.len() >= 400 {
        all.assert_all_seen();
    }
}

#[track_caller]
fn is_found(planted: Planted) {
    let found = (0..200).any(|seed| run(seed, planted).is_err());
    assert!(found, "{planted:?} was never found");
}

#[test]
fn a_forgotten_sync_of_the_log_is_found() {
    is_found(Planted::ForgetSyncs(".log"));
}

#[test]
fn a_forgotten_directory_sync_is_found() {
    is_found(Planted::ForgetDirectorySyncs);
}

/// The same as to cut the log before the checkpoint is synced.
#[test]
fn a_forgotten_sync_of_the_tables_is_found() {
    is_found(Planted::ForgetSyncs(".redb"));
}

#[test]
fn a_forgotten_sync_of_a_volume_is_found() {
    is_found(Planted::ForgetSyncs(".vol"));
}

#[test]
fn a_promise_before_the_commit_is_found() {
    is_found(Planted::PromiseEarly);
}
