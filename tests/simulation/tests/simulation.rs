//! Seeds, some hundreds of them, always the same and fresh ones.
use nexum_simulation::{Options, Tally, run};
#[test]
fn fixed_seeds() {
    let one: Option<u64> = std::env::var("NEXUM_SIMULATION_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let mut tally = Tally::default();
    let range = match one {
        Some(s) => s..s + 1,
        None => {
            0..std::env::var("NEXUM_SIMULATION_SEEDS")
                .ok()
                .and_then(|s| s.parse().ok())
                .unwrap_or(100)
        }
    };
    let mut failures = 0;
    for seed in range {
        match run(seed, Options::default()) {
            Ok(report) => tally += report.tally,
            Err(mut failure) => {
                if one.is_none() {
                    failure.history.clear();
                }
                println!("{failure}");
                failures += 1;
            }
        }
    }
    for (name, count) in tally.entries() {
        println!("{name} {count}");
    }
    assert_eq!(failures, 0);
}
