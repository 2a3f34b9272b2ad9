//! A naive queue: every message that was ever pushed, in a list, with what is known of it.
//!
//! It decides nothing. It is told what was delivered and how that was settled, and fails when a
//! delivery is one that must not be, or when one is missing.

use std::time::Duration;

use nexum_extension_api::{ConsumerId, DeliveryId};
use nexum_types::Time;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// It was pushed, and the store has not answered.
    Writing,
    /// It may be delivered from then on.
    Waits { from: Time, rest: Rest },
    /// A consumer has it until then.
    Out {
        consumer: ConsumerId,
        delivery: DeliveryId,
        until: Time,
    },
    /// It is a dead letter, and may be delivered as one from then on.
    Dead { from: Time },
    /// A consumer has it, as a dead letter.
    DeadOut {
        consumer: ConsumerId,
        delivery: DeliveryId,
        until: Time,
    },
    /// Done, cancelled, expired, purged or never stored.
    Gone,
}

/// Why a message waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rest {
    None,
    /// Its producer wanted it.
    Delay,
    /// It was refused: others of its key wait for it.
    Backoff,
}

/// What the store knows of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    pub(crate) attempts: u32,
    /// Its identifier is remembered until then.
    pub(crate) id_until: Option<Time>,
}

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) queue: &'static str,
    pub(crate) levels: Option<&'static str>,
    pub(crate) option_key: Option<&'static str>,
    pub(crate) priority: u8,
    pub(crate) id: Option<u8>,
    pub(crate) expires: Option<Time>,
    pub(crate) place: Place,
    pub(crate) attempts: u32,
    pub(crate) id_until: Option<Time>,
    /// Its producer was told that it is stored.
    pub(crate) is_acknowledged: bool,
    /// Delivered since the start.
    pub(crate) was_given: bool,
    /// When it came to where it is by the passing of time.
    pub(crate) passed: Time,
    /// What will be known when the store has done what it was asked for.
    pub(crate) written: Kept,
    /// What is known after a crash.
    pub(crate) kept: Option<Kept>,
}

/// What the queue was told to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) max_attempts: u32,
    pub(crate) visibility: Duration,
    pub(crate) prefetch: Option<u32>,
    pub(crate) is_paused: bool,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) order: &'static str,
    pub(crate) terms: Terms,
    /// What is known of them after a crash.
    pub(crate) kept_terms: Terms,
    pub(crate) messages: Vec<Told>,
}

impl Told {
    pub(crate) fn key(&self) -> Option<&'static str> {
        self.option_key.or(self.levels)
    }

    pub(crate) fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What happened is being written.
    pub(crate) fn write(&mut self) {
        self.written = Kept {
            place: self.place,
            attempts: self.attempts,
            id_until: self.id_until,
        };
    }

    /// Whether a feed of a filter is for it.
    pub(crate) fn matches(&self, filter: &str) -> bool {
        let starts = |text: Option<&str>| text.is_some_and(|it| it == "a" || it.starts_with("a/"));
        let Some(rest) = filter
            .strip_prefix("$queue/")
            .and_then(|it| it.strip_prefix(self.queue))
        else {
            return false;
        };
        match rest {
            "" | "/#" | "/$lease/#" => true,
            "/a/+" => self.levels == Some("a/b"),
            "/a/#" => starts(self.levels),
            "/$lease/+/+/a/#" => starts(self.key()),
            "/$dlq" => false,
            other => panic!("{other}"),
        }
    }
}

impl Oracle {
    /// Who is out too long is not any more.
    pub(crate) fn pass_time(&mut self, now: Time) {
        for at in 0..self.messages.len() {
            if let Place::Out { until, .. } = self.messages[at].place
                && until <= now
            {
                self.fail(at, until, Duration::ZERO, now);
            }
            if let Place::DeadOut { until, .. } = self.messages[at].place
                && until <= now
            {
                self.messages[at].place = Place::Dead { from: until };
            }
            let told = &mut self.messages[at];
            if matches!(told.place, Place::Waits { .. }) && told.is_expired(now) {
                told.place = Place::Gone;
                told.passed = now;
                told.write();
            }
        }
    }

    /// An attempt fails.
    pub(crate) fn fail(&mut self, at: usize, when: Time, rest: Duration, now: Time) {
        let max_attempts = self.terms.max_attempts;
        let told = &mut self.messages[at];
        told.attempts += 1;
        told.passed = when;
        told.place = if max_attempts > 0 && told.attempts >= max_attempts {
            Place::Dead { from: when }
        } else {
            let rest_kind = if rest.is_zero() {
                Rest::None
            } else {
                Rest::Backoff
            };
            Place::Waits {
                from: when + rest,
                rest: rest_kind,
            }
        };
        if rest.is_zero() && matches!(told.place, Place::Waits { .. }) && told.is_expired(now) {
            told.place = Place::Gone;
        }
        told.write();
    }

    pub(crate) fn backoff(&self, at: usize) -> Duration {
        Duration::from_secs(1 << self.messages[at].attempts.min(10))
    }

    /// Whether a message could be delivered before now. What becomes ready just now may be a step
    /// behind.
    fn was_ready(&self, at: usize, now: Time) -> bool {
        let told = &self.messages[at];
        matches!(told.place, Place::Waits { from, .. } if from < now) && !told.is_expired(now)
    }

    /// Whether another one of its key has to be settled first.
    fn is_kept_back(&self, at: usize, now: Time, is_strict: bool) -> bool {
        if self.order != "key" {
            return false;
        }
        let Some(key) = self.messages[at].key() else {
            return false;
        };
        self.messages.iter().enumerate().any(|(other, told)| {
            other != at
                && told.queue == self.messages[at].queue
                && told.key() == Some(key)
                && (is_strict && told.passed == now
                    || match told.place {
                        Place::Out { .. } => true,
                        Place::Waits {
                            from,
                            rest: Rest::Backoff,
                        } if from > now || from == now && is_strict => true,
                        Place::Waits { from, .. } => {
                            other < at && (from < now || from == now && is_strict)
                        }
                        Place::Writing
                        | Place::Dead { .. }
                        | Place::DeadOut { .. }
                        | Place::Gone => false,
                    })
        })
    }

    fn rank(&self, at: usize) -> (u8, usize) {
        match self.order {
            "prio" => (u8::MAX - self.messages[at].priority, at),
            _ => (0, at),
        }
    }

    /// A delivery, in the order in which they were made.
    pub(crate) fn deliver(
        &mut self,
        at: usize,
        filter: &str,
        consumer: ConsumerId,
        delivery: DeliveryId,
        attempt: u32,
        now: Time,
    ) {
        let told = &self.messages[at];
        assert!(!self.terms.is_paused, "the queue is paused");
        let Place::Waits { from, .. } = told.place else {
            panic!("message {at} is delivered while it is {:?}", told.place);
        };
        assert!(from <= now, "message {at} rests until {from:?}");
        assert!(!told.is_expired(now), "message {at} has expired");
        assert!(told.matches(filter), "message {at} is not for {filter}");
        assert_eq!(attempt, told.attempts + 1, "the attempt of message {at}");
        assert!(
            !self.is_kept_back(at, now, false),
            "message {at} overtakes another one of its key"
        );
        for other in 0..self.messages.len() {
            let overtaken = self.rank(other) < self.rank(at)
                && self.was_ready(other, now)
                && self.messages[other].matches(filter)
                && !self.is_kept_back(other, now, true);
            assert!(!overtaken, "message {at} overtakes message {other}");
        }
        let until = now + self.terms.visibility;
        let told = &mut self.messages[at];
        told.was_given = true;
        told.place = Place::Out {
            consumer,
            delivery,
            until,
        };
    }

    /// Whether a message is a dead letter that a feed of a filter could have had before now.
    fn was_dead(&self, at: usize, filter: &str, now: Time) -> bool {
        let told = &self.messages[at];
        filter.ends_with("$dlq")
            && filter.contains(told.queue)
            && matches!(told.place, Place::Dead { from } if from < now)
    }

    /// The delivery of a dead letter.
    pub(crate) fn deliver_dead(
        &mut self,
        at: usize,
        filter: &str,
        consumer: ConsumerId,
        delivery: DeliveryId,
        attempts: u32,
        now: Time,
    ) {
        assert!(!self.terms.is_paused, "the queue is paused");
        let told = &self.messages[at];
        let Place::Dead { from } = told.place else {
            panic!("message {at} is delivered as dead, and is {:?}", told.place);
        };
        assert!(from <= now, "dead letter {at} rests until {from:?}");
        assert!(filter.contains(told.queue), "of this queue");
        assert_eq!(attempts, told.attempts, "the attempts of message {at}");
        for other in 0..at {
            let overtaken = self.was_dead(other, filter, now);
            assert!(!overtaken, "dead letter {at} overtakes {other}");
        }
        self.messages[at].was_given = true;
        self.messages[at].place = Place::DeadOut {
            consumer,
            delivery,
            until: now + self.terms.visibility,
        };
    }

    /// Whoever has room and a feed of one of these filters must have everything that is ready.
    pub(crate) fn assert_nothing_for(&self, filters: &[&str], now: Time) {
        if self.terms.is_paused {
            return;
        }
        for at in 0..self.messages.len() {
            let is_for = |filter: &&str| self.messages[at].matches(filter);
            let is_missed = self.was_ready(at, now)
                && !self.is_kept_back(at, now, true)
                && filters.iter().any(is_for);
            let is_missed_dead = filters.iter().any(|it| self.was_dead(at, it, now));
            assert!(!is_missed_dead, "dead letter {at} is stranded");
            assert!(
                !is_missed,
                "message {at} is stranded: {:?}",
                self.messages[at]
            );
        }
    }

    /// The store did what it was asked for.
    pub(crate) fn keep(&mut self) {
        self.kept_terms = self.terms;
        for told in &mut self.messages {
            if told.place != Place::Writing {
                told.kept = Some(told.written);
            }
        }
    }

    /// The broker died.
    pub(crate) fn crash(&mut self, now: Time) {
        self.terms = self.kept_terms;
        for told in &mut self.messages {
            let kept = told.kept.unwrap_or(Kept {
                place: Place::Gone,
                attempts: 0,
                id_until: None,
            });
            told.place = kept.place;
            told.attempts = kept.attempts;
            told.id_until = kept.id_until;
            told.written = kept;
            told.was_given = false;
        }
        self.pass_time(now);
    }

    /// The message that an identifier was remembered with.
    pub(crate) fn known(&self, queue: &str, id: u8, now: Time) -> Option<usize> {
        let is_known = |told: &Told| {
            told.queue == queue
                && told.id == Some(id)
                && (told.place == Place::Writing || told.id_until.is_some_and(|until| until > now))
        };
        self.messages.iter().rposition(is_known)
    }

    /// The oldest message of a queue that nobody has and that does not rest.
    pub(crate) fn oldest_ready(&self, queue: &str, now: Time) -> Option<usize> {
        let is_ready = |told: &Told| {
            told.queue == queue && matches!(told.place, Place::Waits { from, .. } if from <= now)
        };
        self.messages.iter().position(is_ready)
    }

    pub(crate) fn queued(&self, queue: &str) -> usize {
        let messages = self.messages.iter().filter(|told| told.queue == queue);
        let places = messages.map(|told| told.place);
        places
            .filter(|place| {
                !matches!(
                    place,
                    Place::Dead { .. } | Place::DeadOut { .. } | Place::Gone
                )
            })
            .count()
    }
}
