//! The only source of chance: SplitMix64, so that a seed decides everything.

use std::time::Duration;

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// From 0 to one less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Both ends may come.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn percent(&mut self, chance: u32) -> bool {
        self.next() % 100 < u64::from(chance)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn within(&mut self, span: Span) -> Duration {
        Duration::from_micros(self.between(span.least_micros, span.most_micros))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// A stream of its own, so that one more number drawn here changes nothing there.
    pub(crate) fn fork(&mut self) -> Random {
        Random::new(self.next())
    }
}

/// A range of durations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) least_micros: u64,
    pub(crate) most_micros: u64,
}

impl Span {
    pub(crate) const fn millis(least: u64, most: u64) -> Span {
        Span {
            least_micros: least * 1000,
            most_micros: most * 1000,
        }
    }

    pub(crate) const fn micros(least: u64, most: u64) -> Span {
        Span {
            least_micros: least,
            most_micros: most,
        }
    }

    pub(crate) const fn most(self) -> Duration {
        Duration::from_micros(self.most_micros)
    }
}
