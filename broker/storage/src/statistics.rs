//! What a store has done, in numbers.

use std::time::Duration;

/// Counted since the store was opened.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Batches that were committed.
    pub commits: u64,
    /// Submissions in them.
    pub submissions: u64,
    /// Bytes that were written to the log.
    pub log_bytes: u64,
    /// How long commits took, in microseconds.
    pub commit_micros: Histogram,
    /// How many submissions a batch had.
    pub batch_submissions: Histogram,
    /// Commits that failed or found no room.
    pub failed_commits: u64,
    /// Checkpoints that were made.
    pub checkpoints: u64,
    /// How long they took, in milliseconds.
    pub checkpoint_millis: Histogram,
    /// Checkpoints that could not be made.
    pub failed_checkpoints: u64,
}

/// What a store takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Segments of the log, in bytes.
    pub log_bytes: u64,
    /// Keys and values in the tables, in bytes.
    pub table_bytes: u64,
    /// The file of the tables, in bytes.
    pub table_file_bytes: u64,
    /// An estimate of the memory for changes that are not in the tables yet.
    pub overlay_bytes: u64,
}

/// Steps in each power of two.
const STEPS: u64 = 8;

/// How often which numbers came, to an eighth of each.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
    largest: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, number: u64) {
        let step = step_of(number);
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.total += 1;
        self.sum = self.sum.saturating_add(number);
        self.largest = self.largest.max(number);
    }

    pub(crate) fn record_duration(&mut self, duration: Duration, unit: Duration) {
        let units = duration.as_nanos() / unit.as_nanos();
        self.record(u64::try_from(units).unwrap_or(u64::MAX));
    }

    /// How many numbers came.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// What they add up to.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many were certainly not larger than this; all but some of the last eighth below it.
    pub fn at_most(&self, number: u64) -> u64 {
        let whole = self.counts.iter().enumerate();
        whole
            .take_while(|(step, _)| last_of(*step) <= number)
            .map(|(_, count)| count)
            .sum()
    }

    /// The largest.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// A number that this part of all does not exceed: 0.99 is the 99th percentile. 0 if none came.
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return last_of(step).min(self.largest);
            }
        }
        self.largest
    }
}

fn step_of(number: u64) -> usize {
    if number < STEPS {
        return number as usize;
    }
    let power = u64::from(number.ilog2());
    let within = (number >> (power - 3)) - STEPS;
    ((power - 2) * STEPS + within) as usize
}

/// The largest number of a step.
fn last_of(step: usize) -> u64 {
    let step = step as u64;
    if step < STEPS {
        return step;
    }
    let power = step / STEPS + 2;
    let within = step % STEPS + STEPS;
    // The last step of all ends where u64 does.
    (((u128::from(within) + 1) << (power - 3)) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_its_numbers() {
        let mut numbers: Vec<u64> = (0..2000).collect();
        numbers.extend([u64::MAX / 3, u64::MAX - 1, u64::MAX]);
        for number in numbers {
            let step = step_of(number);
            assert!(last_of(step) >= number, "{number}");
            assert!(step == 0 || last_of(step - 1) < number, "{number}");
        }
    }

    #[test]
    fn quantiles_are_near() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for number in 1..=1000 {
            histogram.record(number);
        }
        assert!((500..=563).contains(&histogram.quantile(0.5)));
        assert!((990..=1000).contains(&histogram.quantile(0.99)));
        assert_eq!(histogram.quantile(1.0), 1000);
        assert_eq!(histogram.sum(), 500_500);
        assert!((440..=500).contains(&histogram.at_most(500)));
        assert_eq!(histogram.at_most(u64::MAX), 1000);
        assert_eq!(histogram.at_most(0), 0);
    }
}
