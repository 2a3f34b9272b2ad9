//! Handing out: which message goes next, and to whom.
//!
//! Between two inputs no message waits that somebody with room might have: so what comes looks for
//! a consumer, and a consumer that gets room looks through the queues that had something for it
//! meanwhile.

use std::fmt::Write as _;
use std::sync::Arc;

use nexum_extension_api::{Changes, ConsumerId, Deliver, DeliveryId, Label, Output};
use nexum_types::Time;

use crate::entry::{Entry, State};
use crate::filter::Form;
use crate::line::{Rank, Standing};
use crate::member::{Flight, Member, MemberFeed, Slot};
use crate::queue::Queue;
use crate::queues::{Queues, Timer};

/// Who is to get what next.
#[derive(Clone, Copy, Debug)]
struct Choice {
    rank: Rank,
    standing: Standing,
    selector: u32,
    /// Somebody else is to have it, if there is anybody.
    is_avoided: bool,
}

/// A consumer that is to get a message only if nobody else may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avoided {
    pub(crate) sequence: u64,
    pub(crate) consumer: ConsumerId,
}

impl Queues {
    /// Hands out what can be handed out.
    pub(crate) fn dispatch(&mut self, slot: Slot, now: Time) {
        while self.dispatch_one(slot, None, now) {}
    }

    /// Hands out one message; returns whether there was one and somebody for it.
    pub(crate) fn dispatch_one(&mut self, slot: Slot, avoided: Option<Avoided>, now: Time) -> bool {
        while let Some(choice) = self.choose(slot, avoided) {
            let sequence = choice.rank.sequence();
            let mut changes = Changes::new();
            if self.expire_if_due(slot, sequence, now, &mut changes) {
                self.note(changes);
                continue;
            }
            let Some(queue) = self.queue(slot) else {
                return false;
            };
            let is_here = |entry: &Entry| entry.message.is_some();
            if queue.entries.get(&sequence).is_some_and(is_here) {
                self.deliver(slot, choice, now);
                return true;
            }
            self.read_ahead(slot, choice.selector);
        }
        false
    }

    /// Of the selectors that have both a message and a consumer, the first message in order.
    fn choose(&mut self, slot: Slot, avoided: Option<Avoided>) -> Option<Choice> {
        let queue = self.slots.get_mut(slot as usize)?.as_deref_mut()?;
        if queue.is_paused {
            return None;
        }
        let is_avoided = |rank: Rank, consumer: ConsumerId| {
            avoided.is_some_and(|it| it.sequence == rank.sequence() && it.consumer == consumer)
        };
        let mut best: Option<Choice> = None;
        for at in 0..queue.line.selectors.len() {
            let selector = &queue.line.selectors[at];
            let id = selector.id;
            let Some(rank) = selector.ready.first().copied() else {
                continue;
            };
            if selector.is_reading {
                continue;
            }
            // Whoever has no room sits down here, and is woken when it has.
            let standing = loop {
                let Some(standing) = queue.line.selectors[at].crew.first().copied() else {
                    break None;
                };
                match self.consumers.get_mut(&standing.consumer) {
                    Some(consumer) if consumer.has_room() => break Some(standing),
                    Some(consumer) => {
                        consumer.asleep.push_back(slot);
                        fall_asleep(queue, standing.consumer);
                    }
                    None => queue.sit(standing.consumer),
                }
            };
            let Some(mut standing) = standing else {
                continue;
            };
            if is_avoided(rank, standing.consumer) {
                let others = queue.line.selectors[at].crew.iter().skip(1);
                let consumers = &self.consumers;
                let has_room = |standing: &&Standing| {
                    let consumer = consumers.get(&standing.consumer);
                    consumer.is_some_and(|consumer| consumer.has_room())
                };
                standing = others.copied().find(|it| has_room(&it)).unwrap_or(standing);
            }
            let choice = Choice {
                rank,
                is_avoided: is_avoided(rank, standing.consumer),
                standing,
                selector: id,
            };
            let order = |it: Choice| (it.rank, it.is_avoided, it.standing);
            let is_better = best.is_none_or(|best| order(choice) < order(best));
            if is_better {
                best = Some(choice);
            }
        }
        best
    }

    fn deliver(&mut self, slot: Slot, choice: Choice, now: Time) {
        let sequence = choice.rank.sequence();
        let consumer = choice.standing.consumer;
        let delivery = self.next_delivery;
        let takes_properties = self
            .consumers
            .get(&consumer)
            .is_some_and(|consumer| consumer.takes_properties);
        let Some(queue) = self
            .slots
            .get_mut(slot as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        queue.turn += 1;
        let turn = queue.turn;
        let Some(member) = queue.members.get_mut(&consumer) else {
            return;
        };
        // Its feeds take turns.
        let is_chosen = |feed: &MemberFeed| feed.selector == choice.selector;
        let Some(at) = member.feeds.iter().position(is_chosen) else {
            return;
        };
        let feed = member.feeds.remove(at);
        member.feeds.push(feed);
        member.unsettled += 1;
        member.turn = turn;
        queue.stand(consumer);

        let state = match feed.form {
            Form::Dead => State::DeadLeased { delivery },
            Form::Plain | Form::Levels | Form::Lease => State::Leased { delivery },
        };
        let visibility = queue.options.visibility;
        queue.hand_out(sequence, state);
        let Some(entry) = queue.entries.get(&sequence) else {
            return;
        };
        let Some(message) = entry.message.clone() else {
            return;
        };
        let deliver = Deliver {
            feed: feed.feed,
            consumer,
            delivery: DeliveryId(delivery),
            topic: topic_of(queue, feed.form, sequence, delivery, entry),
            properties: match takes_properties {
                true => properties_of(queue, sequence, entry),
                false => Vec::new(),
            },
            message,
            retain: false,
        };
        let lapses = now + visibility;
        let has_timer = !self.lapses.add(visibility, lapses, delivery);
        if has_timer {
            self.timers.insert((lapses, Timer::Lapse(delivery)));
        }
        let flight = Flight {
            slot,
            sequence,
            consumer,
            is_lease: feed.form == Form::Lease,
            lapses,
            has_timer,
            is_over: false,
            is_settled: false,
            is_orphan: false,
            is_returning: false,
        };
        self.next_delivery = self.next_delivery.wrapping_add(1);
        self.flights.insert(delivery, flight);
        if let Some(state) = self.consumers.get_mut(&consumer) {
            state.take_off(delivery);
        }
        self.put_out(Output::Deliver(deliver));
    }

    /// A consumer may have room: the queues that had something for it take turns.
    pub(crate) fn wake(&mut self, consumer: ConsumerId, now: Time) {
        while let Some(state) = self.consumers.get_mut(&consumer)
            && state.has_room()
            && let Some(slot) = state.asleep.pop_front()
        {
            let Some(queue) = self.queue_mut(slot) else {
                continue;
            };
            let Some(member) = queue.members.get_mut(&consumer) else {
                continue;
            };
            member.is_asleep = false;
            queue.stand(consumer);
            if self.dispatch_one(slot, None, now) {
                self.put_to_sleep(slot, consumer);
            }
        }
    }

    /// What a queue has for a consumer waits until it is the queue's turn, or there is room.
    pub(crate) fn put_to_sleep(&mut self, slot: Slot, consumer: ConsumerId) {
        let Some(queue) = self
            .slots
            .get_mut(slot as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        let is_awake = |member: &Member| !member.is_asleep;
        if queue.members.get(&consumer).is_some_and(is_awake)
            && let Some(state) = self.consumers.get_mut(&consumer)
        {
            state.asleep.push_back(slot);
            fall_asleep(queue, consumer);
        }
    }
}

fn fall_asleep(queue: &mut Queue, consumer: ConsumerId) {
    queue.sit(consumer);
    if let Some(member) = queue.members.get_mut(&consumer) {
        member.is_asleep = true;
    }
}

fn topic_of(queue: &Queue, form: Form, sequence: u64, delivery: u64, entry: &Entry) -> Arc<str> {
    match (form, entry.levels()) {
        (Form::Plain, _) | (Form::Levels, None) => Arc::clone(&queue.topic),
        (Form::Levels, Some(levels)) => {
            let mut topic = String::with_capacity(queue.topic.len() + 1 + levels.len());
            topic.push_str(&queue.topic);
            topic.push('/');
            topic.push_str(levels);
            Arc::from(topic)
        }
        (Form::Lease, _) => {
            let mut topic = String::with_capacity(queue.topic.len() + 64);
            let attempt = u32::from(entry.attempts) + 1;
            // Writing to a string does not fail.
            let _ = write!(
                topic,
                "{}/$lease/{sequence:x}-{delivery:x}/{attempt}",
                queue.topic
            );
            if let Some(key) = entry.lease_key() {
                topic.push('/');
                topic.push_str(key);
            }
            Arc::from(topic)
        }
        (Form::Dead, _) => Arc::from(format!("{}/$dlq", queue.topic)),
    }
}

fn properties_of(queue: &Queue, sequence: u64, entry: &Entry) -> Vec<(&'static str, Label)> {
    let mut properties = Vec::with_capacity(4);
    properties.push(("q-id", Label::Number(sequence)));
    match queue.dead.get(&sequence) {
        Some(reason) => {
            properties.push(("dlq-reason", Label::Word(reason.as_str())));
            properties.push(("dlq-attempts", Label::Number(entry.attempts.into())));
        }
        None => {
            let attempt = u64::from(entry.attempts) + 1;
            properties.push(("q-attempt", Label::Number(attempt)));
            if let Some(message) = &entry.message {
                let pushed = message.published_at().as_micros() / 1000;
                properties.push(("q-ts", Label::Number(pushed)));
            }
        }
    }
    if let Some(key) = entry.key() {
        properties.push(("q-key", Label::Text(Arc::clone(key))));
    }
    properties
}
