//! Crashes: shards, a real store on a simulated disk, and clients who go on after the power came
//! back.
//!
//! A seed decides who publishes and subscribes, when submissions become batches, when the process
//! dies or the power goes (in the middle of a commit, a checkpoint or a recovery, too), when the disk
//! is full or fails, and with how many shards the broker starts again. The clients keep to the
//! specification across all of it, and at the end the verdict asks for what was promised: what was
//! acknowledged is there, QoS 2 once, subscriptions and sessions as they were, wills published, and
//! nothing left over.
//!
//! In runs with [`Cast::Extensions`] there are work queues and delayed messages, too: real extensions
//! in real hosts, whose pushes, settlements and publications cross the same crashes. What was pushed and
//! acknowledged, or published and captured, is settled or dead in the end; it is pushed once by QoS 2 and
//! otherwise as often as it was sent; it is handed out in its order, unaltered, not before it is due, not
//! after its settlement is stored, and not at all if its publisher was told that it is not kept.
//!
//! ```
//! use nexum_simulation::crash;
//! let report = crash::run(7, crash::Options::default());
//! assert!(report.is_ok(), "{}", report.unwrap_err());
//! ```

mod broker;
mod clients;
mod end;
mod faults;
mod hosts;
mod jobs;
mod keeper;
mod network;
mod scenario;
mod tally;
mod verdict;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use faults::Bug;
pub use scenario::Cast;
pub use tally::Tally;
pub use verdict::Promise;

use faults::Planted;
use world::World;

/// What to do besides following the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Who is there.
    pub cast: Cast,
    /// A bug to plant.
    pub bug: Option<Bug>,
    /// Whether what happens is remembered whatever comes of it.
    pub remembers: bool,
}

/// What a run in which every promise was kept came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What there was to check.
    pub tally: Tally,
    /// What happened, if it was to be remembered.
    pub history: Vec<String>,
}

/// A promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// In runs with these.
    pub cast: Cast,
    /// Which promise.
    pub promise: Promise,
    /// How.
    pub what: String,
    /// What happened before.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        let Failure {
            seed,
            cast,
            promise,
            what,
            ..
        } = self;
        writeln!(f, "seed {seed}: {promise:?}: {what}")?;
        let test = match cast {
            Cast::Plain => "crash",
            Cast::Extensions => "extensions",
        };
        write!(
            f,
            "again: NEXUM_CRASH_SEED={seed} cargo test -p nexum-simulation --test {test}"
        )
    }
}

impl std::error::Error for Failure {}

/// Follows a seed to its end.
///
/// # Errors
/// The first promise that was broken; a panic is one.
pub fn run(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    let first = attempt(seed, options);
    if options.remembers || first.is_ok() {
        return first;
    }
    // Once more, with a memory for what happens.
    let again = Options {
        remembers: true,
        ..options
    };
    attempt(seed, again).map_err(|again| {
        if first.is_err() {
            again
        } else {
            unreachable!()
        }
    })
}

fn attempt(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    let mut world = World::new(
        seed,
        options.cast,
        Planted::new(options.bug),
        options.remembers,
    );
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        world.verdict.breach(Promise::NoPanic, text.to_owned());
    }
    let (tally, history, breach) = world.into_outcome();
    match breach {
        None => Ok(Report { tally, history }),
        Some((promise, what)) => Err(Box::new(Failure {
            seed,
            cast: options.cast,
            promise,
            what,
            history,
        })),
    }
}
