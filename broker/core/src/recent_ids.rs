//! Publications that say who they are, so that a repeat is known: for plain topics, in memory.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::HashMap;
use nexum_types::Time;

/// Remembered at most; the oldest are forgotten before their time.
const MOST: usize = 100_000;

/// The ids of a window of time.
#[derive(Debug)]
pub(crate) struct RecentIds {
    hasher: foldhash::quality::FixedState,
    known: HashMap<u64, Time, foldhash::fast::FixedState>,
    /// In the order in which they came.
    order: VecDeque<(Time, u64)>,
}

impl RecentIds {
    pub(crate) fn new(seed: u64) -> RecentIds {
        RecentIds {
            hasher: foldhash::quality::FixedState::with_seed(seed),
            known: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Notes an id of a client. Returns what it is called here; nothing if it is known already.
    pub(crate) fn note(
        &mut self,
        client_id: &str,
        id: &str,
        window: Duration,
        now: Time,
    ) -> Option<u64> {
        while let Some((until, hash)) = self.order.front().copied()
            && (until <= now || self.order.len() >= MOST)
        {
            self.order.pop_front();
            // It may have been forgotten, and noted again.
            if self.known.get(&hash) == Some(&until) {
                self.known.remove(&hash);
            }
        }
        let hash = self.hasher.hash_one((client_id, id));
        if self.known.contains_key(&hash) {
            return None;
        }
        let until = now + window;
        self.known.insert(hash, until);
        self.order.push_back((until, hash));
        Some(hash)
    }

    /// What had the id was refused: it may come again.
    pub(crate) fn forget(&mut self, hash: u64) {
        self.known.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_a_window() {
        let mut ids = RecentIds::new(7);
        let window = Duration::from_secs(10);
        let at = |seconds: u64| Time::from_micros(seconds * 1_000_000);
        assert!(ids.note("a", "1", window, at(0)).is_some());
        assert!(ids.note("a", "1", window, at(9)).is_none());
        assert!(
            ids.note("b", "1", window, at(9)).is_some(),
            "another client's"
        );
        assert!(ids.note("a", "1", window, at(10)).is_some());
        let two = ids.note("a", "2", window, at(11)).expect("new");
        ids.forget(two);
        assert!(ids.note("a", "2", window, at(12)).is_some());
        assert!(
            ids.note("a", "2", window, at(21)).is_none(),
            "noted again at 12"
        );
        assert!(ids.note("a", "2", window, at(22)).is_some());
    }

    #[test]
    fn there_are_never_too_many() {
        let mut ids = RecentIds::new(7);
        for number in 0..2 * MOST {
            ids.note(
                "a",
                &number.to_string(),
                Duration::from_secs(1000),
                Time::ZERO,
            );
        }
        assert!(ids.order.len() <= MOST && ids.known.len() <= MOST);
    }
}
