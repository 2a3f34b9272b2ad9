//! The broker's core in a world that a seed decides.
//!
//! Real [`Shard`](nexum_core::Shard)s, several of them, in a simulated shell: connections whose
//! bytes come late, in pieces and not all; clients of both versions that read slowly or not at
//! all, vanish, come back, take sessions over; and a judge who sees every byte on both sides of
//! the core and knows what the specification promises. No socket, no thread, no sleep: the clock
//! is a number, and a seed replays a run to the last byte. [`crash`] has a real store in the place
//! of the network's troubles, and real extensions if they are wanted: there the power goes.
//!
//! ```
//! let report = nexum_simulation::run(7, nexum_simulation::Options::default());
//! assert!(report.is_ok(), "{}", report.unwrap_err());
//! ```

#![forbid(unsafe_code)]

mod agenda;
mod client;
pub mod crash;
mod fault;
mod history;
mod judge;
mod link;
mod random;
mod rule;
mod scenario;
mod tally;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nexum_types::Time;

pub use fault::Fault;
pub use rule::Rule;
pub use tally::Tally;

use fault::Planted;
use history::History;
use world::World;

/// What to do besides following the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A fault to plant, and how many occasions for it to let go by.
    pub fault: Option<(Fault, u32)>,
}

/// What a run without a breach came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What there was to check.
    pub tally: Tally,
    /// Of every byte that the core put out.
    pub digest: u64,
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// Which promise.
    pub rule: Rule,
    /// How.
    pub what: String,
    /// After so many events.
    pub step: u64,
    /// In simulated time.
    pub at: Time,
    /// The last events.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            seed,
            rule,
            what,
            step,
            at,
            history,
        } = self;
        let seconds = at.as_micros() as f64 / 1e6;
        for line in history {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "seed {seed}, step {step}, at {seconds} s: {rule:?}: {what}"
        )?;
        write!(
            f,
            "again: NEXUM_SIMULATION_SEED={seed} cargo test -p nexum-simulation --test simulation"
        )
    }
}

impl std::error::Error for Failure {}

/// Follows a seed to its end.
///
/// # Errors
/// The first promise that was broken; a panic of the core is one.
pub fn run(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    match attempt(seed, options, false) {
        // Once more, with a memory for what happens.
        Err(failure) => Err(attempt(seed, options, true).err().unwrap_or(failure)),
        Ok(report) => Ok(report),
    }
}

fn attempt(seed: u64, options: Options, remembers: bool) -> Result<Report, Box<Failure>> {
    let planted = match options.fault {
        Some((fault, patience)) => Planted::new(Some(fault), patience),
        None => Planted::new(None, 0),
    };
    let mut world = World::new(seed, planted, remembers);
    let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    if let Some(panic) = panic {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        world.judge.breach(Rule::Panicked, text.to_owned());
    }
    let (step, at, tally) = (world.judge.tally.steps, world.now(), world.judge.tally);
    match world.judge.verdict().cloned() {
        None => Ok(Report {
            tally,
            digest: world.digest,
        }),
        Some(breach) => {
            let history = std::mem::replace(&mut world.judge.history, History::new(false));
            Err(Box::new(Failure {
                seed,
                rule: breach.rule,
                what: breach.what,
                step,
                at,
                history: history.into_lines(),
            }))
        }
    }
}
