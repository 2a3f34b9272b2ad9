//! What happens, to the broker and to the naive queue.

use std::time::Duration;

use nexum_extension_api::driver::Store;
use nexum_extension_api::{DeliveryId, ErrorCode, FeedId, Options, Outcome};
use nexum_types::{ReasonCode, Time};

use crate::operation::{Answer, Operation, QUEUES, Verb};
use crate::oracle::{Kept, Place, Rest, Told};
use crate::world::World;

const WINDOW: Duration = Duration::from_secs(20);

impl World {
    pub(crate) fn push(&mut self, operation: &Operation) {
        let Operation::Push {
            queue,
            levels,
            key,
            priority,
            delay,
            time_to_live,
            id,
        } = operation
        else {
            return;
        };
        let now = self.now();
        let mut options = Options {
            priority: Some(*priority),
            key: key.map(Box::from),
            id: id.map(|id| Box::from(id.to_string())),
            ..Options::default()
        };
        let delay = Duration::from_secs(u64::from(*delay));
        if !delay.is_zero() {
            options.delay = Some(delay);
        }
        if *time_to_live > 0 {
            options.time_to_live = Some(Duration::from_secs(u64::from(*time_to_live)));
        }
        let topic = match levels {
            Some(levels) => format!("$queue/{queue}/{levels}"),
            None => format!("$queue/{queue}"),
        };
        let known = id.and_then(|id| self.oracle.known(queue, id, now));
        let mut is_full = self.oracle.queued(queue) >= self.max_len;
        // A redrive may have left more than one too many.
        while self.drops_oldest
            && known.is_none()
            && self.oracle.queued(queue) >= self.max_len
            && let Some(oldest) = self.oracle.oldest_ready(queue, now)
        {
            is_full = false;
            self.done(oldest);
        }
        let number = self.oracle.messages.len();
        if known.is_none() && !is_full {
            let rest = if delay.is_zero() {
                Rest::None
            } else {
                Rest::Delay
            };
            let place = Place::Waits {
                from: now + delay,
                rest,
            };
            let id_until = id.map(|_| now + WINDOW);
            self.oracle.messages.push(Told {
                queue,
                levels: *levels,
                option_key: *key,
                priority: *priority,
                id: *id,
                expires: options.time_to_live.map(|it| now + it),
                place: Place::Writing,
                attempts: 0,
                id_until,
                is_acknowledged: false,
                was_given: false,
                passed: Time::ZERO,
                written: Kept {
                    place,
                    attempts: 0,
                    id_until,
                },
                kept: None,
            });
        }
        // A store that answers at once has answered before the delivery is seen.
        match self.store {
            Store::Quick => self.settle_writing(true),
            Store::Full => self.settle_writing(false),
            Store::Slow => {}
        }
        let command = self
            .broker
            .command(&topic, number.to_string().as_bytes(), options);
        if let Some(first) = known {
            if self.oracle.messages[first].place == Place::Writing {
                self.unanswered.push((command, first, true));
            } else {
                let reply = self.broker.take_reply(command).expect("known already");
                assert_eq!(reply.expect("acknowledged").properties.len(), 1);
            }
        } else if is_full {
            let reply = self.broker.take_reply(command).expect("full");
            assert_eq!(reply.expect_err("full").code, ErrorCode::QuotaExceeded);
        } else {
            self.unanswered.push((command, number, false));
        }
        self.check_replies();
    }

    pub(crate) fn subscribe(&mut self, at: usize, filter: &'static str) {
        let consumer = self.consumers[at].id;
        let feed = self.broker.subscribe(consumer, filter).expect("a feed");
        self.consumers[at].feeds.push((feed, filter));
    }

    pub(crate) fn unsubscribe(&mut self, at: usize) {
        let feeds: Vec<(usize, FeedId)> = self
            .consumers
            .iter()
            .enumerate()
            .flat_map(|(at, it)| it.feeds.iter().map(move |(feed, _)| (at, *feed)))
            .collect();
        if let Some((consumer, feed)) = feeds.get(at % feeds.len().max(1)) {
            // What was delivered on it was looked at already.
            self.consumers[*consumer].feeds.retain(|(it, _)| it != feed);
            self.broker.unsubscribe(*feed);
        }
    }

    pub(crate) fn settle(&mut self, at: usize, answer: Answer) {
        let unsettled: Vec<(usize, DeliveryId)> = self
            .consumers
            .iter()
            .enumerate()
            .flat_map(|(at, it)| it.unsettled.keys().map(move |delivery| (at, *delivery)))
            .collect();
        let Some((consumer, delivery)) = unsettled.get(at % unsettled.len().max(1)).copied() else {
            return;
        };
        let now = self.now();
        let state = &mut self.consumers[consumer];
        let (message, is_lease) = state.unsettled.remove(&delivery).expect("it is there");
        let id = state.id;
        let outcome = match answer {
            Answer::Done => Outcome::Done,
            Answer::Failed => Outcome::Refused(ReasonCode::UnspecifiedError),
            Answer::Busy => Outcome::Refused(ReasonCode::QuotaExceeded),
            Answer::Rejected => Outcome::Refused(ReasonCode::PayloadFormatInvalid),
            Answer::TooLarge => Outcome::TooLarge,
        };
        let is_present = matches!(
            self.oracle.messages[message].place,
            Place::Out { delivery: present, .. } if present == delivery
        );
        if let Place::DeadOut {
            delivery: present, ..
        } = self.oracle.messages[message].place
            && present == delivery
        {
            if outcome == Outcome::Done {
                self.done(message);
            } else {
                self.oracle.messages[message].place = Place::Dead {
                    from: now + Duration::from_secs(1),
                };
            }
        }
        if is_present && is_lease && outcome == Outcome::Done {
            self.consumers[consumer].held.insert(delivery, message);
        } else if is_present {
            match answer {
                Answer::Done => self.done(message),
                Answer::Failed | Answer::TooLarge => {
                    let rest = self.oracle.backoff(message);
                    self.oracle.fail(message, now, rest, now);
                }
                Answer::Busy => {
                    // Not written: after a crash nothing is known of it.
                    self.oracle.messages[message].place = Place::Waits {
                        from: now + Duration::from_secs(1),
                        rest: Rest::Backoff,
                    };
                }
                Answer::Rejected => self.rejected(message, now),
            }
        }
        self.broker.settle(id, delivery, outcome);
    }

    pub(crate) fn done(&mut self, message: usize) {
        let told = &mut self.oracle.messages[message];
        told.place = Place::Gone;
        told.write();
    }

    pub(crate) fn rejected(&mut self, message: usize, now: Time) {
        let told = &mut self.oracle.messages[message];
        told.attempts += 1;
        told.place = Place::Dead { from: now };
        told.write();
    }

    pub(crate) fn lease(&mut self, at: usize, verb: Verb) {
        let now = self.now();
        if self.leases.is_empty() {
            return;
        }
        let at = at % self.leases.len();
        let lease = &self.leases[at];
        let message = lease.message;
        let told = &self.oracle.messages[message];
        let is_accepted = match told.place {
            Place::Out { delivery, .. } => delivery == lease.delivery,
            Place::Waits { from, rest } if rest != Rest::Delay || from <= now => {
                lease.era < self.era && !told.was_given
            }
            Place::Gone => lease.era == self.era && lease.is_done && matches!(verb, Verb::Ack),
            Place::Waits { .. } | Place::Dead { .. } | Place::DeadOut { .. } | Place::Writing => {
                false
            }
        };
        let is_there = told.place != Place::Gone;
        let receipt = lease.receipt.clone();
        let queue = told.queue;
        let topic = match verb {
            Verb::Ack => format!("$queue/{queue}/$ack/{receipt}"),
            Verb::Nack => format!("$queue/{queue}/$nack/{receipt}"),
            Verb::NackFor(delay) => format!("$queue/{queue}/$nack/{receipt}/{delay}s"),
            Verb::Reject => format!("$queue/{queue}/$reject/{receipt}"),
            Verb::Extend(time) => format!("$queue/{queue}/$extend/{receipt}/{time}s"),
        };
        if is_accepted && is_there {
            let seconds = |it: u32| Duration::from_secs(u64::from(it));
            match verb {
                Verb::Ack => {
                    self.leases[at].is_done = true;
                    self.done(message);
                }
                Verb::Nack => {
                    let rest = self.oracle.backoff(message);
                    self.oracle.fail(message, now, rest, now);
                }
                Verb::NackFor(delay) => self.oracle.fail(message, now, seconds(delay), now),
                Verb::Reject => self.rejected(message, now),
                Verb::Extend(time) => match &mut self.oracle.messages[message].place {
                    Place::Out { until, .. } => *until = now + seconds(time),
                    place => {
                        *place = Place::Waits {
                            from: now + seconds(time),
                            rest: Rest::Backoff,
                        };
                    }
                },
            }
        }
        let command = self.broker.command(&topic, b"", Options::default());
        match self.broker.take_reply(command) {
            Some(Ok(_)) => assert!(is_accepted, "{topic} is accepted"),
            Some(Err(refusal)) => {
                assert!(!is_accepted, "{topic}: {refusal}");
                assert_eq!(refusal.code, ErrorCode::Conflict);
            }
            None => assert!(is_accepted && self.store != Store::Quick, "an answer"),
        }
    }

    /// What a consumer has not settled is as if it had not been delivered.
    pub(crate) fn never_left(&mut self, at: usize) {
        let now = self.now();
        for (delivery, (message, _)) in &self.consumers[at].unsettled {
            let told = &mut self.oracle.messages[*message];
            if let Place::Out { delivery: it, .. } = told.place
                && it == *delivery
            {
                told.passed = now;
                told.place = Place::Waits {
                    from: now,
                    rest: Rest::None,
                };
            }
            if let Place::DeadOut { delivery: it, .. } = told.place
                && it == *delivery
            {
                told.place = Place::Dead { from: now };
            }
        }
        self.oracle.pass_time(now);
    }

    pub(crate) fn detach(&mut self, at: usize, has_ended: bool, has_left: bool) {
        let now = self.now();
        let consumer = &mut self.consumers[at];
        consumer.is_attached = false;
        consumer.has_ended = has_ended;
        consumer.credit = 0;
        consumer.feeds.clear();
        consumer.unsettled.clear();
        consumer.held.clear();
        let id = consumer.id;
        if has_ended {
            for message in 0..self.oracle.messages.len() {
                if let Place::Out { consumer, .. } = self.oracle.messages[message].place
                    && consumer == id
                {
                    self.oracle.fail(message, now, Duration::ZERO, now);
                }
                if let Place::DeadOut { consumer, .. } = self.oracle.messages[message].place
                    && consumer == id
                {
                    self.oracle.messages[message].place = Place::Dead { from: now };
                }
            }
        }
        match has_left {
            true => self.broker.detach(id, has_ended),
            false => self.broker.detach_before_delivery(id, has_ended),
        }
    }

    pub(crate) fn redrive(&mut self) {
        let now = self.now();
        for told in &mut self.oracle.messages {
            if matches!(told.place, Place::Dead { .. }) {
                told.attempts = 0;
                told.place = Place::Waits {
                    from: now,
                    rest: Rest::None,
                };
                if told.is_expired(now) {
                    told.place = Place::Gone;
                }
                told.write();
            }
        }
        self.control("dlq.redrive", r#"{"all": true}"#);
    }

    pub(crate) fn cancel(&mut self, id: u8) {
        let now = self.now();
        let mut is_found = false;
        for told in &mut self.oracle.messages {
            if told.id == Some(id)
                && matches!(told.place, Place::Waits { from, rest: Rest::Delay } if from > now)
            {
                is_found = true;
                told.place = Place::Gone;
                told.id_until = None;
                told.write();
            }
        }
        let topic = format!("$queue/_/$cancel/{id}");
        let command = self.broker.command(&topic, b"", Options::default());
        match self.broker.take_reply(command) {
            Some(Ok(_)) => assert!(is_found, "nothing is cancelled"),
            Some(Err(refusal)) => {
                assert!(!is_found, "{refusal}");
                assert_eq!(refusal.code, ErrorCode::NotFound);
            }
            None => assert!(is_found && self.store != Store::Quick),
        }
    }

    pub(crate) fn control(&mut self, operation: &str, payload: &str) {
        for queue in QUEUES {
            let topic = format!("$queue/{queue}/$ctl/{operation}");
            let payload = payload.as_bytes();
            let command = self.broker.command(&topic, payload, Options::default());
            match self.broker.take_reply(command) {
                Some(reply) => assert!(reply.is_ok(), "{operation}: {reply:?}"),
                None => assert_ne!(self.store, Store::Quick),
            }
        }
    }
}
