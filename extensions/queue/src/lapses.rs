//! When deliveries lapse. Nearly all of them do not, and those of one visibility time would in the
//! order in which they were made: so they stand in a line, and what is over is skipped when it comes
//! to the front.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nexum_types::Time;

/// A line is cleared of what is over when it is so much longer than what is not.
const SPARSE: usize = 4;
const SHORT: usize = 4096;

/// A line for each visibility time there is.
#[derive(Debug, Default)]
pub(crate) struct Lapses {
    lines: BTreeMap<Duration, VecDeque<(Time, u64)>>,
}

impl Lapses {
    /// Adds a delivery. False if it would lapse before one that was made before it: the clock was
    /// set back.
    pub(crate) fn add(&mut self, visibility: Duration, at: Time, delivery: u64) -> bool {
        let line = self.lines.entry(visibility).or_default();
        if line.back().is_some_and(|(last, _)| *last > at) {
            return false;
        }
        line.push_back((at, delivery));
        true
    }

    /// When the first may lapse; it may be over.
    pub(crate) fn first(&self) -> Option<Time> {
        let fronts = self.lines.values().filter_map(VecDeque::front);
        fronts.map(|(at, _)| *at).min()
    }

    /// The next that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, u64)> {
        let due = self.lines.values_mut().find(|line| {
            let first = line.front();
            first.is_some_and(|(at, _)| *at <= now)
        });
        let popped = due.and_then(VecDeque::pop_front);
        if popped.is_none() {
            self.lines.retain(|_, line| !line.is_empty());
        }
        popped
    }

    /// Drops what is over from the front, and everywhere if there is much of it; `open` is how many
    /// are not.
    pub(crate) fn trim(&mut self, open: usize, is_open: impl Fn(Time, u64) -> bool) {
        for line in self.lines.values_mut() {
            while let Some((at, delivery)) = line.front()
                && !is_open(*at, *delivery)
            {
                line.pop_front();
            }
            if line.len() > SPARSE * open + SHORT {
                line.retain(|(at, delivery)| is_open(*at, *delivery));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn deliveries_lapse_in_order_whatever_their_visibility() {
        let mut lapses = Lapses::default();
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(10));
        assert!(lapses.add(long, at(10), 1));
        assert!(lapses.add(short, at(2), 2));
        assert!(lapses.add(short, at(3), 3));
        assert!(!lapses.add(short, at(2), 4), "out of order");
        assert_eq!(lapses.first(), Some(at(2)));
        assert_eq!(lapses.pop_due(at(1)), None);
        assert_eq!(lapses.pop_due(at(2)), Some((at(2), 2)));
        assert_eq!(lapses.pop_due(at(2)), None);
        assert_eq!(lapses.first(), Some(at(3)));
        lapses.trim(1, |_, delivery| delivery == 1);
        assert_eq!(lapses.first(), Some(at(10)));
    }

    #[test]
    fn what_is_over_does_not_pile_up_behind_what_is_not() {
        let mut lapses = Lapses::default();
        for delivery in 0..100_000 {
            lapses.add(Duration::from_secs(30), at(30), delivery);
            lapses.trim(1, |_, delivery| delivery == 0);
        }
        let long = lapses.lines.values().map(VecDeque::len).max();
        assert!(long <= Some(SPARSE + SHORT), "{long:?}");
    }
}
