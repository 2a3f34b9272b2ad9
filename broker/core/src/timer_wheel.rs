//! Deadlines, thousands of them, at the cost of a list push each.
//!
//! One wheel of slots a tick apart; a deadline beyond one turn of the wheel waits in its slot for
//! its round. Nothing is cancelled: the owner of a timer that fires checks whether it still means
//! anything, and arms it anew if its real deadline moved (a keep alive does at every packet, and
//! must not cost anything there).
//!
//! Timers fire up to one tick late and never early.

use nexum_types::Time;

/// 64 ms: fine enough for keep alives, which are in seconds.
const TICK_MICROS: u64 = 1 << 16;
const SLOTS: usize = 1024;

pub(crate) struct TimerWheel<T> {
    slots: Box<[Vec<(u64, T)>]>,
    /// The next tick to be looked at.
    tick: u64,
    /// The first tick from there whose slot is occupied, if one is: asked for every turn.
    occupied: Option<u64>,
}

impl<T> TimerWheel<T> {
    pub(crate) fn new() -> TimerWheel<T> {
        TimerWheel {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            tick: 0,
            occupied: None,
        }
    }

    pub(crate) fn arm(&mut self, at: Time, timer: T) {
        let tick = at.as_micros().div_ceil(TICK_MICROS).max(self.tick);
        self.slots[tick as usize % SLOTS].push((tick, timer));
        // A timer of a later round wakes once a turn.
        let looked_at = self.tick + (tick - self.tick) % SLOTS as u64;
        self.occupied = Some(self.occupied.map_or(looked_at, |tick| tick.min(looked_at)));
    }

    /// How many are armed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// When [`fire`](Self::fire) has something to look at next.
    pub(crate) fn next_tick(&self) -> Option<Time> {
        self.occupied
            .map(|tick| Time::from_micros(tick * TICK_MICROS))
    }

    /// Moves every timer due at `now` into `due`.
    pub(crate) fn fire(&mut self, now: Time, due: &mut Vec<T>) {
        let now = now.as_micros() / TICK_MICROS;
        if self.occupied.is_none_or(|tick| tick > now) {
            self.tick = self.tick.max(now + 1);
            return;
        }
        // More than one turn behind: each slot is looked at once, and rounds are compared by tick.
        let last = now.min(self.tick + SLOTS as u64 - 1);
        while self.tick <= last {
            let slot = &mut self.slots[self.tick as usize % SLOTS];
            let mut kept = 0;
            while kept < slot.len() {
                if slot[kept].0 <= now {
                    due.push(slot.swap_remove(kept).1);
                } else {
                    kept += 1;
                }
            }
            if slot.is_empty() {
                *slot = Vec::new();
            }
            self.tick += 1;
        }
        self.tick = self.tick.max(now + 1);
        self.occupied = (self.tick..self.tick + SLOTS as u64)
            .find(|tick| !self.slots[*tick as usize % SLOTS].is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_timer_fires_once_never_early_and_at_most_a_tick_late() {
        let tick = Duration::from_micros(TICK_MICROS);
        let mut wheel = TimerWheel::new();
        let deadlines: Vec<Time> = (0..500)
            .map(|n| Time::from_micros(n * n * 997_331 % 400_000_000))
            .collect();
        for (n, deadline) in deadlines.iter().enumerate() {
            wheel.arm(*deadline, n);
        }
        let mut fired = vec![false; deadlines.len()];
        let mut now = Time::ZERO;
        while let Some(next) = wheel.next_tick() {
            assert!(next + tick > now, "time goes on");
            now = next;
            let mut due = Vec::new();
            wheel.fire(now, &mut due);
            for n in due {
                assert!(!std::mem::replace(&mut fired[n], true), "twice");
                assert!(deadlines[n] <= now, "early");
                assert!(now.since(deadlines[n]) <= tick, "late");
            }
        }
        assert!(fired.iter().all(|fired| *fired));
    }

    #[test]
    fn a_long_sleep_fires_everything_that_is_due_and_nothing_else() {
        let mut wheel = TimerWheel::new();
        for seconds in [1_u64, 70, 200, 5000] {
            wheel.arm(Time::ZERO + Duration::from_secs(seconds), seconds);
        }
        let mut due = Vec::new();
        wheel.fire(Time::ZERO + Duration::from_secs(1000), &mut due);
        due.sort_unstable();
        assert_eq!(due, [1, 70, 200]);
        due.clear();
        wheel.fire(Time::ZERO + Duration::from_secs(4999), &mut due);
        assert_eq!(due, [0_u64; 0]);
        wheel.fire(Time::ZERO + Duration::from_secs(5001), &mut due);
        assert_eq!(due, [5000]);
    }

    #[test]
    fn a_deadline_that_has_passed_fires_at_the_next_tick() {
        let mut wheel = TimerWheel::new();
        let mut due = Vec::new();
        wheel.fire(Time::from_micros(10_000_000), &mut due);
        wheel.arm(Time::ZERO, 'x');
        let next = wheel.next_tick().expect("armed");
        wheel.fire(next, &mut due);
        assert_eq!(due, ['x']);
    }
}
