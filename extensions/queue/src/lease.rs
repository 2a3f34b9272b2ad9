//! The lease mode: what was delivered is settled by a command, which names its receipt.
//!
//! A receipt is `<number of the message>-<number of the delivery>`, both in hexadecimal. Deliveries
//! are numbered from another point at each start, so a receipt of before is recognised as such: it
//! is good as long as nobody else was given the message.

use std::time::Duration;

use nexum_extension_api::{Change, Changes, Command, ErrorCode, Refusal, Reply, parse_duration};
use nexum_types::Time;

use crate::entry::{Marks, State};
use crate::member::Slot;
use crate::queues::{Pending, Queues, Timer};
use crate::record::Key;
use crate::refusals;
use crate::settle::Ending;
use crate::waiter::Waiter;

/// The longest time a lease is extended by, or a message rests that was given back.
const LONGEST_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// What a receipt names.
struct Receipt {
    sequence: u64,
    delivery: u64,
}

/// Whose a receipt is.
enum Holder {
    /// The delivery is the present one.
    Present,
    /// It was one of before the start, and the message was given to nobody since.
    Former,
    /// The lease was settled by this very receipt.
    Settled,
}

impl Receipt {
    fn parse(text: &str) -> Option<Receipt> {
        let (sequence, delivery) = text.split_once('-')?;
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| u64::from_str_radix(text, 16).ok())?
        };
        Some(Receipt {
            sequence: number(sequence)?,
            delivery: number(delivery)?,
        })
    }
}

impl Queues {
    pub(crate) fn lease_command(&mut self, command: &Command, now: Time) {
        if let Err(refusal) = self.try_lease_command(command, now) {
            self.refuse(command.id, refusal);
        }
    }

    fn try_lease_command(&mut self, command: &Command, now: Time) -> Result<(), Refusal> {
        let options = command.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        let address = &command.address;
        let name = address.name();
        let slot = self.names.get(name).copied();
        let slot = slot.ok_or_else(|| refusals::no_queue(name))?;
        let bad = |reason: &'static str| Refusal::new(ErrorCode::BadAddress, reason);
        if address.has_levels() {
            return Err(bad("a verb follows the name of the queue"));
        }
        let (receipt, span) = match address.arguments().split_once('/') {
            Some((receipt, span)) => (receipt, Some(span)),
            None => (address.arguments(), None),
        };
        let receipt = Receipt::parse(receipt).ok_or_else(|| {
            bad("a receipt is the level behind $lease in the topic of what was delivered")
        })?;
        let takes_span = matches!(address.verb(), Some("$nack" | "$extend"));
        let span = match span {
            None => None,
            Some(_) if !takes_span => return Err(bad("nothing follows the receipt")),
            Some(text) => match parse_duration(text) {
                Ok(span) if span <= LONGEST_SPAN => Some(span),
                Ok(_) => return Err(bad("a lease waits for 7 days at most")),
                Err(error) => {
                    let reason = format!("'{text}' is no time: {error}");
                    return Err(Refusal::new(ErrorCode::BadAddress, reason));
                }
            },
        };
        let ending = match (address.verb(), span) {
            (Some("$ack"), None) => Ending::Done,
            (Some("$reject"), None) => Ending::Rejected,
            (Some("$nack"), None) => Ending::Failed,
            (Some("$nack"), Some(delay)) => Ending::FailedFor(delay),
            (Some("$extend"), Some(span)) => {
                return self.extend(slot, command, &receipt, span, now);
            }
            (Some("$extend"), None) => {
                return Err(bad("for how long is missing: $extend/<receipt>/<time>"));
            }
            _ => return Err(bad("nothing follows the receipt")),
        };
        let mut changes = Changes::new();
        match self.holder(slot, &receipt)? {
            Holder::Settled if ending == Ending::Done => {
                // Stored again, so that this answer comes after the first one was good.
                let queue = self.queue(slot).map_or(0, |queue| queue.id);
                let key = Key::Message(queue, receipt.sequence).encode();
                changes.push(Change::Delete(key));
            }
            Holder::Settled => return Err(conflict("the lease is acknowledged already")),
            Holder::Present => {
                let flight = self.flights.get(&receipt.delivery).copied();
                self.end_flight(receipt.delivery);
                self.conclude(slot, receipt.sequence, ending, now, &mut changes);
                self.note_lease(ending, receipt.delivery);
                self.settle_command(command, changes);
                self.dispatch(slot, now);
                self.spill(slot, receipt.sequence);
                if let Some(flight) = flight {
                    self.wake(flight.consumer, now);
                }
                return Ok(());
            }
            Holder::Former => {
                self.conclude(slot, receipt.sequence, ending, now, &mut changes);
                self.note_lease(ending, receipt.delivery);
            }
        }
        self.settle_command(command, changes);
        self.dispatch(slot, now);
        Ok(())
    }

    /// The command is answered when what it led to is stored.
    fn settle_command(&mut self, command: &Command, changes: Changes) {
        let pending = Pending::Reply(command.id, Reply::default());
        self.note_for(changes, pending);
    }

    fn extend(
        &mut self,
        slot: Slot,
        command: &Command,
        receipt: &Receipt,
        span: Duration,
        now: Time,
    ) -> Result<(), Refusal> {
        match self.holder(slot, receipt)? {
            Holder::Present => {
                if let Some(flight) = self.flights.get_mut(&receipt.delivery) {
                    let timer = Timer::Lapse(receipt.delivery);
                    if std::mem::replace(&mut flight.has_timer, true) {
                        self.timers.remove(&(flight.lapses, timer));
                    }
                    flight.lapses = now + span;
                    self.timers.insert((flight.lapses, timer));
                }
            }
            // Nobody else gets it meanwhile, and the receipt stays good.
            Holder::Former => {
                let until = now + span;
                self.shift(slot, receipt.sequence, State::Resting { until });
            }
            Holder::Settled => return Err(conflict("the lease is settled already")),
        }
        // Nothing of it is stored: after a restart no lease runs.
        self.answer(Waiter::Command(command.id), Ok(Reply::default()));
        Ok(())
    }

    fn holder(&self, slot: Slot, receipt: &Receipt) -> Result<Holder, Refusal> {
        let Some(queue) = self.queue(slot) else {
            return Err(refusals::deleted());
        };
        let is_ours = receipt.delivery.wrapping_sub(self.first_delivery)
            < self.next_delivery.wrapping_sub(self.first_delivery);
        let Some(entry) = queue.entries.get(&receipt.sequence) else {
            let length = self.settled_leases.len() as u64;
            let place = (receipt.delivery % length) as usize;
            if is_ours && self.settled_leases.get(place) == Some(&receipt.delivery) {
                return Ok(Holder::Settled);
            }
            return Err(conflict(
                "there is no such lease: its message is settled already, or was never here",
            ));
        };
        match entry.state {
            State::Leased { delivery } if delivery == receipt.delivery => {
                let flight = self.flights.get(&delivery);
                if flight.is_some_and(|flight| flight.is_lease) {
                    return Ok(Holder::Present);
                }
                Err(conflict(
                    "it was not delivered as a lease: PUBACK settles it",
                ))
            }
            State::Leased { .. } => Err(conflict(
                "the lease is over: the message was given to another consumer",
            )),
            State::Ready { .. } | State::Resting { .. }
                if !is_ours && !entry.marks.has(Marks::GIVEN) =>
            {
                Ok(Holder::Former)
            }
            State::Ready { .. } | State::Resting { .. } | State::Delayed { .. } => Err(conflict(
                "the lease is over: the message waits to be delivered again",
            )),
            State::Dead { .. } | State::DeadLeased { .. } | State::DeadResting { .. } => {
                Err(conflict("the message is a dead letter"))
            }
        }
    }

    fn note_lease(&mut self, ending: Ending, delivery: u64) {
        if ending == Ending::Done {
            let length = self.settled_leases.len() as u64;
            let place = (delivery % length) as usize;
            if let Some(settled) = self.settled_leases.get_mut(place) {
                *settled = delivery;
            }
        }
    }
}

fn conflict(reason: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Conflict, reason)
}
