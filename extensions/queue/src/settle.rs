//! How deliveries end, and what becomes of what was delivered.

use std::time::Duration;

use nexum_extension_api::{Change, Changes, ConsumerId, Outcome};
use nexum_types::{ReasonCode, Time};

use crate::dispatch::Avoided;
use crate::entry::{Marks, Reason, State};
use crate::member::Slot;
use crate::queue_options::Backoff;
use crate::queues::{Queues, Timer};
use crate::record::{Key, Progress};

/// How a delivery ended for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is done with.
    Done,
    /// It failed: once more, after a rest.
    Failed,
    /// It failed: once more, after this.
    FailedFor(Duration),
    /// Nobody tried: once more, after a moment.
    Busy,
    /// Nothing was heard of it: once more, at once.
    Lapsed,
    /// It never left: as if nothing had been.
    Undelivered,
    /// It fails each time.
    Rejected,
}

/// A message that found its consumer busy, and a dead letter that was given back, rest so long.
const MOMENT: Duration = Duration::from_secs(1);

impl Queues {
    pub(crate) fn settled(
        &mut self,
        consumer: ConsumerId,
        delivery: u64,
        outcome: Outcome,
        now: Time,
    ) {
        // What never left is given back, even if its consumer is gone.
        let never_left = outcome == Outcome::Undelivered;
        let flight = self.flights.get_mut(&delivery).filter(|flight| {
            let is_awaited = !flight.is_orphan || flight.is_returning && never_left;
            flight.consumer == consumer && !flight.is_settled && is_awaited
        });
        let Some(flight) = flight else {
            return;
        };
        flight.is_settled = true;
        let flight = *flight;
        let is_held_lease = flight.is_lease && !flight.is_over;
        if !flight.is_orphan
            && let Some(state) = self.consumers.get_mut(&consumer)
        {
            state.credit = state.credit.saturating_add(1);
            state.held_leases += u32::from(is_held_lease);
        }
        if flight.is_over {
            self.land(delivery);
        } else if !is_held_lease || outcome != Outcome::Done {
            let ending = match outcome {
                Outcome::Done => Ending::Done,
                Outcome::Refused(ReasonCode::QuotaExceeded) => Ending::Busy,
                Outcome::Refused(ReasonCode::PayloadFormatInvalid | ReasonCode::NotAuthorized) => {
                    Ending::Rejected
                }
                Outcome::Refused(_) | Outcome::TooLarge => Ending::Failed,
                Outcome::Undelivered => Ending::Undelivered,
            };
            self.end_flight(delivery);
            self.conclude_and_note(flight.slot, flight.sequence, ending, now);
            self.dispatch(flight.slot, now);
            if ending != Ending::Done {
                self.spill(flight.slot, flight.sequence);
            }
        }
        self.wake(consumer, now);
        let flights = &self.flights;
        self.lapses.trim(flights.len(), |at, delivery| {
            let flight = flights.get(&delivery);
            flight.is_some_and(|it| !it.is_over && !it.has_timer && it.lapses == at)
        });
    }

    /// A delivery takes too long: what was delivered goes to somebody else, if there is anybody.
    pub(crate) fn lapse(&mut self, delivery: u64, now: Time) {
        let Some(flight) = self.flights.get(&delivery).copied() else {
            return;
        };
        self.end_flight(delivery);
        self.conclude_and_note(flight.slot, flight.sequence, Ending::Lapsed, now);
        let avoided = Avoided {
            sequence: flight.sequence,
            consumer: flight.consumer,
        };
        self.dispatch_one(flight.slot, Some(avoided), now);
        self.dispatch(flight.slot, now);
        self.spill(flight.slot, flight.sequence);
        self.wake(flight.consumer, now);
    }

    /// What was delivered is not its consumer's any more.
    pub(crate) fn end_flight(&mut self, delivery: u64) {
        let Some(flight) = self.flights.get_mut(&delivery) else {
            return;
        };
        if flight.is_over {
            return;
        }
        flight.is_over = true;
        let flight = *flight;
        if flight.has_timer {
            self.timers.remove(&(flight.lapses, Timer::Lapse(delivery)));
        }
        if flight.is_lease
            && flight.is_settled
            && !flight.is_orphan
            && let Some(consumer) = self.consumers.get_mut(&flight.consumer)
        {
            consumer.held_leases = consumer.held_leases.saturating_sub(1);
        }
        if flight.is_settled || flight.is_orphan {
            self.land(delivery);
        }
    }

    /// A delivery is over and settled, or will never be: nothing is left of it.
    pub(crate) fn land(&mut self, delivery: u64) {
        let Some(flight) = self.flights.remove(&delivery) else {
            return;
        };
        let consumer = flight.consumer;
        if let Some(state) = self.consumers.get_mut(&consumer) {
            state.land(|delivery| self.flights.contains_key(&delivery));
            if state.open == 0 && !state.is_attached {
                self.consumers.remove(&consumer);
            }
        }
        if flight.is_orphan {
            return;
        }
        let Some(queue) = self.queue_mut(flight.slot) else {
            return;
        };
        let Some(member) = queue.members.get_mut(&consumer) else {
            return;
        };
        member.unsettled = member.unsettled.saturating_sub(1);
        if member.feeds.is_empty() {
            if member.unsettled == 0 {
                queue.members.remove(&consumer);
            }
            return;
        }
        let was_full = member.standing.is_none() && !member.is_asleep;
        queue.stand(consumer);
        if was_full {
            self.put_to_sleep(flight.slot, consumer);
        }
    }

    pub(crate) fn conclude_and_note(
        &mut self,
        slot: Slot,
        sequence: u64,
        ending: Ending,
        now: Time,
    ) {
        let mut changes = Changes::new();
        self.conclude(slot, sequence, ending, now, &mut changes);
        if !changes.is_empty() {
            self.note(changes);
        }
    }

    /// What becomes of a message after a delivery.
    pub(crate) fn conclude(
        &mut self,
        slot: Slot,
        sequence: u64,
        ending: Ending,
        now: Time,
        changes: &mut Changes,
    ) {
        let Some(queue) = self.queue_mut(slot) else {
            return;
        };
        let most = queue.options.max_attempts;
        let backoff = queue.options.backoff;
        let Some(entry) = queue.entries.get_mut(&sequence) else {
            return;
        };
        if ending == Ending::Done {
            return self.discard(slot, sequence, changes);
        }
        if entry.state.is_dead() {
            let state = match ending {
                Ending::Lapsed | Ending::Undelivered => State::Dead { since: now },
                Ending::Done
                | Ending::Failed
                | Ending::FailedFor(_)
                | Ending::Busy
                | Ending::Rejected => State::DeadResting {
                    until: now + MOMENT,
                },
            };
            return self.shift(slot, sequence, state);
        }
        if ending == Ending::Undelivered {
            return self.give_back(slot, sequence, now, changes);
        }
        if ending == Ending::Busy {
            let until = now + MOMENT;
            self.shift(slot, sequence, State::Resting { until });
            self.expire_if_due(slot, sequence, now, changes);
            return;
        }
        entry.attempts = entry.attempts.saturating_add(1);
        let attempts = entry.attempts;
        if ending == Ending::Rejected {
            return self.bury(slot, sequence, Reason::Rejected, now, changes);
        }
        if most > 0 && attempts >= most {
            return self.bury(slot, sequence, Reason::MaxAttempts, now, changes);
        }
        entry.marks.set(Marks::PROGRESS, true);
        let key = Key::Progress(queue.id, sequence);
        let rest = match ending {
            Ending::Failed => rest_after(backoff, attempts, self.random()),
            Ending::FailedFor(rest) => rest,
            Ending::Lapsed
            | Ending::Undelivered
            | Ending::Done
            | Ending::Busy
            | Ending::Rejected => Duration::ZERO,
        };
        let until = now + rest;
        let progress = Progress::Rests { attempts, until };
        changes.push(Change::Put(key.encode(), progress.encode()));
        let state = match rest.is_zero() {
            true => State::Ready { since: now },
            false => State::Resting { until },
        };
        self.shift(slot, sequence, state);
        // Its time may have run out while the consumer had it.
        self.expire_if_due(slot, sequence, now, changes);
    }
}

/// How long a message rests after so many attempts.
fn rest_after(backoff: Backoff, attempts: u16, random: u64) -> Duration {
    let exponent = i32::from(attempts.saturating_sub(1));
    let seconds = backoff.first.as_secs_f64() * backoff.factor.powi(exponent);
    let seconds = seconds.min(backoff.max.as_secs_f64());
    // From -1 to 1, in steps that a float holds exactly.
    let swing = (random >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    let jittered = seconds * (1.0 + backoff.jitter * swing);
    // Times are stored in microseconds, and compared after a restart.
    Duration::from_micros((jittered * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_their_limit() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(10),
            jitter: 0.0,
        };
        let rests = [1, 2, 3, 4, 5, 1000, u16::MAX].map(|n| rest_after(backoff, n, 7).as_secs());
        assert_eq!(rests, [1, 2, 4, 8, 10, 10, 10]);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let backoff = Backoff {
            first: Duration::from_secs(10),
            factor: 2.0,
            max: Duration::from_secs(100),
            jitter: 0.2,
        };
        for random in [0, 1, u64::MAX, u64::MAX / 2, 1 << 60] {
            let rest = rest_after(backoff, 1, random).as_secs_f64();
            assert!((8.0..=12.0).contains(&rest), "{rest}");
        }
        assert!(rest_after(backoff, 1, 0) < rest_after(backoff, 1, u64::MAX));
    }
}
