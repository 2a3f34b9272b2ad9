//! A broker, its consumers, and the naive queue beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use nexum_extension_api::driver::{Driver, Store};
use nexum_extension_api::{
    CommandId, ConsumerId, Deliver, DeliveryId, ErrorCode, Extension, FeedId, Options, Outcome,
};
use nexum_queue::{Queues, Settings};
use nexum_types::{ReasonCode, Time};

use crate::operation::{Answer, Operation, QUEUES, Setup, Verb};
use crate::oracle::{Kept, Oracle, Place, Rest, Terms, Told};

const WINDOW: Duration = Duration::from_secs(20);

pub(crate) struct World {
    broker: Driver<Queues>,
    oracle: Oracle,
    store: Store,
    max_len: usize,
    drops_oldest: bool,
    consumers: Vec<Consumer>,
    /// Pushes that were not answered, and the message of each; of a repeat, that of the first.
    unanswered: Vec<(CommandId, usize, bool)>,
    /// All leases there ever were.
    leases: Vec<Lease>,
    era: u32,
}

struct Consumer {
    id: ConsumerId,
    is_attached: bool,
    has_ended: bool,
    credit: u32,
    feeds: Vec<(FeedId, &'static str)>,
    /// Delivered and not acknowledged: the message, and whether it is a lease.
    unsettled: BTreeMap<DeliveryId, (usize, bool)>,
    /// Leases that were acknowledged.
    held: BTreeMap<DeliveryId, usize>,
}

struct Lease {
    message: usize,
    delivery: DeliveryId,
    receipt: String,
    era: u32,
    is_done: bool,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> World {
        let settings = Settings {
            memory_bytes: setup.memory_bytes,
            ..Settings::default()
        };
        let mut broker = Driver::new(move || Queues::new(settings.clone()));
        let options = serde_json::json!({
            "order": setup.order,
            "dispatch": setup.dispatch,
            "max_attempts": setup.max_attempts,
            "max_len": setup.max_len,
            "overflow": if setup.drops_oldest { "drop_oldest" } else { "reject" },
            "visibility": "5s",
            "dedup_window": "20s",
            "backoff": {"first": "1s", "factor": 2, "jitter": 0},
        });
        for queue in QUEUES {
            let topic = format!("$queue/{queue}/$ctl/create");
            let created = broker.publish(&topic, options.to_string().as_bytes());
            created.expect("created");
        }
        let terms = Terms {
            max_attempts: setup.max_attempts,
            visibility: Duration::from_secs(5),
            prefetch: None,
            is_paused: false,
        };
        World {
            broker,
            oracle: Oracle {
                order: setup.order,
                terms,
                kept_terms: terms,
                messages: Vec::new(),
            },
            store: Store::Quick,
            max_len: setup.max_len as usize,
            drops_oldest: setup.drops_oldest,
            consumers: Vec::new(),
            unanswered: Vec::new(),
            leases: Vec::new(),
            era: 0,
        }
    }

    fn now(&self) -> Time {
        self.broker.now()
    }

    pub(crate) fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Push { .. } => self.push(operation),
            Operation::Join { filter, credit } => {
                let id = self.broker.attach(*credit);
                self.consumers.push(Consumer::new(id, *credit));
                self.subscribe(self.consumers.len() - 1, filter);
            }
            Operation::Subscribe { consumer, filter } => {
                if let Some(at) = self.pick(*consumer, |it| it.is_attached) {
                    self.subscribe(at, filter);
                }
            }
            Operation::Unsubscribe { feed } => self.unsubscribe(*feed),
            Operation::Settle { delivery, answer } => self.settle(*delivery, *answer),
            Operation::Lease { lease, verb } => self.lease(*lease, *verb),
            Operation::Detach {
                consumer,
                has_ended,
            } => {
                if let Some(at) = self.pick(*consumer, |it| !it.has_ended) {
                    self.detach(at, *has_ended);
                }
            }
            Operation::ComeBack {
                consumer,
                filter,
                credit,
            } => {
                if let Some(at) = self.pick(*consumer, |it| !it.is_attached && !it.has_ended) {
                    let consumer = &mut self.consumers[at];
                    consumer.is_attached = true;
                    consumer.credit = *credit;
                    self.broker.attach_again(consumer.id, *credit);
                    self.subscribe(at, filter);
                }
            }
            Operation::Wait(milliseconds) => {
                self.wait(Duration::from_millis(u64::from(*milliseconds)));
            }
            Operation::Pause(is_paused) => {
                self.oracle.terms.is_paused = *is_paused;
                self.control(if *is_paused { "pause" } else { "resume" }, "");
            }
            Operation::Alter {
                prefetch,
                max_attempts,
                visibility,
            } => {
                self.oracle.terms.prefetch = *prefetch;
                self.oracle.terms.max_attempts = *max_attempts;
                self.oracle.terms.visibility = Duration::from_secs(u64::from(*visibility));
                let options = serde_json::json!({
                    "prefetch": prefetch,
                    "max_attempts": max_attempts,
                    "visibility": visibility,
                });
                self.control("alter", &options.to_string());
            }
            Operation::Redrive => self.redrive(),
            Operation::Purge => {
                for told in &mut self.oracle.messages {
                    if matches!(told.place, Place::Waits { .. }) {
                        told.place = Place::Gone;
                        told.write();
                    }
                }
                self.control("purge", "");
            }
            Operation::Cancel(id) => self.cancel(*id),
            Operation::Restart => self.restart(),
            Operation::Store(_) if self.drops_oldest => {}
            Operation::Store(store) => {
                self.store = *store;
                if *store == Store::Quick {
                    self.oracle.keep();
                    self.settle_writing(true);
                }
                self.broker.set_store(*store);
                if *store == Store::Full {
                    self.commit();
                }
            }
            Operation::Commit => self.commit(),
        }
        self.look();
    }

    /// In the end everything that was acknowledged is where it may be, or can be worked off.
    pub(crate) fn finish(&mut self) {
        self.run(&Operation::Store(Store::Quick));
        self.run(&Operation::Pause(false));
        self.run(&Operation::Alter {
            prefetch: None,
            max_attempts: 0,
            visibility: 5,
        });
        for at in 0..self.consumers.len() {
            if !self.consumers[at].has_ended {
                self.detach(at, true);
                self.look();
            }
        }
        self.run(&Operation::Join {
            filter: "$queue/jobs",
            credit: 2,
        });
        self.subscribe(self.consumers.len() - 1, "$queue/more");
        self.look();
        for _ in 0..20 {
            while !self.consumers.iter().all(|it| it.unsettled.is_empty()) {
                self.settle(0, Answer::Done);
                self.look();
            }
            self.wait(Duration::from_secs(1000));
            self.look();
        }
        for queue in QUEUES {
            let messages = &self.oracle.messages;
            assert_eq!(self.oracle.queued(queue), 0, "{messages:#?}");
        }
        let dead = self.oracle.messages.iter();
        let dead = dead
            .filter(|told| matches!(told.place, Place::Dead { .. }))
            .count();
        // The mark, the queues, and of each dead letter the message and its progress.
        assert_eq!(self.broker.records().len(), 3 + 2 * dead);
        self.restart();
        self.look();
        assert_eq!(self.broker.records().len(), 3 + 2 * dead);
    }

    /// A consumer that is like that, if there is one.
    fn pick(&self, at: usize, is_like: impl Fn(&Consumer) -> bool) -> Option<usize> {
        let like: Vec<usize> = (0..self.consumers.len())
            .filter(|at| is_like(&self.consumers[*at]))
            .collect();
        (!like.is_empty()).then(|| like[at % like.len()])
    }

    fn push(&mut self, operation: &Operation) {
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

    /// What is being written is stored or refused.
    fn settle_writing(&mut self, is_stored: bool) {
        let now = self.now();
        for told in &mut self.oracle.messages {
            if told.place != Place::Writing {
                continue;
            }
            if is_stored {
                told.kept = Some(told.written);
                told.place = told.written.place;
                // They are there one after the other, at this time.
                if let Place::Waits { from, .. } = &mut told.place {
                    *from = now.max(*from);
                }
                told.is_acknowledged = true;
            } else {
                told.place = Place::Gone;
                told.id_until = None;
                told.write();
            }
        }
        self.oracle.pass_time(now);
    }

    /// Whoever pushed has heard of it if and only if the store has answered.
    fn check_replies(&mut self) {
        let broker = &mut self.broker;
        let messages = &self.oracle.messages;
        self.unanswered.retain(|(command, message, is_repeat)| {
            let told = &messages[*message];
            let reply = broker.take_reply(*command);
            if told.place == Place::Writing {
                assert!(reply.is_none(), "answered before it is stored");
                return true;
            }
            let reply = reply.expect("the store has answered");
            if told.is_acknowledged {
                let reply = reply.expect("it is stored");
                assert_eq!(reply.properties.len(), usize::from(*is_repeat));
            } else {
                let refusal = reply.expect_err("it is not stored");
                assert_eq!(refusal.code, ErrorCode::Unavailable);
            }
            false
        });
    }

    fn subscribe(&mut self, at: usize, filter: &'static str) {
        let consumer = self.consumers[at].id;
        let feed = self.broker.subscribe(consumer, filter).expect("a feed");
        self.consumers[at].feeds.push((feed, filter));
    }

    fn unsubscribe(&mut self, at: usize) {
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

    fn settle(&mut self, at: usize, answer: Answer) {
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

    fn done(&mut self, message: usize) {
        let told = &mut self.oracle.messages[message];
        told.place = Place::Gone;
        told.write();
    }

    fn rejected(&mut self, message: usize, now: Time) {
        let told = &mut self.oracle.messages[message];
        told.attempts += 1;
        told.place = Place::Dead { from: now };
        told.write();
    }

    fn lease(&mut self, at: usize, verb: Verb) {
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

    fn detach(&mut self, at: usize, has_ended: bool) {
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
        self.broker.detach(id, has_ended);
    }

    /// Time passes from one event to the next, and each is looked at.
    fn wait(&mut self, duration: Duration) {
        let until = self.now() + duration;
        loop {
            let next = self.broker.extension().poll_timeout();
            let next = next.unwrap_or(until).min(until).max(self.now());
            let step = next.since(self.now());
            self.broker.wait(step);
            self.look();
            if next == until {
                return;
            }
        }
    }

    fn redrive(&mut self) {
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

    fn cancel(&mut self, id: u8) {
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

    fn control(&mut self, operation: &str, payload: &str) {
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

    fn restart(&mut self) {
        self.era += 1;
        self.consumers.clear();
        self.unanswered.clear();
        let now = self.now();
        self.oracle.crash(now);
        self.broker.restart().expect("readable");
    }

    fn commit(&mut self) {
        match self.store {
            Store::Quick => {}
            Store::Slow => {
                self.oracle.keep();
                self.settle_writing(true);
            }
            Store::Full => self.settle_writing(false),
        }
        self.broker.commit();
    }

    /// Looks at what was delivered, and whether something was not.
    fn look(&mut self) {
        let now = self.now();
        self.oracle.pass_time(now);
        if self.store == Store::Quick {
            self.oracle.keep();
        }
        self.check_replies();
        let mut deliveries: Vec<Deliver> = Vec::new();
        for consumer in self.consumers.iter().filter(|it| !it.has_ended) {
            if consumer.is_attached {
                deliveries.extend(self.broker.deliveries(consumer.id));
            }
        }
        deliveries.sort_by_key(|it| it.delivery);
        for deliver in deliveries {
            self.delivered(&deliver, now);
        }
        let messages = &self.oracle.messages;
        for consumer in &mut self.consumers {
            let is_out = |delivery: &DeliveryId, message: usize| matches!(messages[message].place, Place::Out { delivery: it, .. } if it == *delivery);
            consumer
                .held
                .retain(|delivery, message| is_out(delivery, *message));
        }
        for consumer in self.consumers.iter().filter(|it| it.is_attached) {
            let unsettled = consumer.unsettled.values().map(|(message, _)| *message);
            let taken: Vec<usize> = unsettled.chain(consumer.held.values().copied()).collect();
            if consumer.credit as usize <= taken.len() {
                continue;
            }
            for queue in QUEUES {
                let of_queue = taken.iter().filter(|it| messages[**it].queue == queue);
                let most = self.oracle.terms.prefetch.unwrap_or(u32::MAX);
                if of_queue.count() < most as usize {
                    let filters = consumer.feeds.iter().map(|(_, it)| *it);
                    let filters: Vec<&str> = filters.filter(|it| it.contains(queue)).collect();
                    self.oracle.assert_nothing_for(&filters, now);
                }
            }
        }
    }

    fn delivered(&mut self, deliver: &Deliver, now: Time) {
        let text = std::str::from_utf8(deliver.message.payload()).expect("text");
        let message: usize = text.parse().expect("a number");
        let is_consumer = |it: &&mut Consumer| it.id == deliver.consumer;
        let consumer = self.consumers.iter_mut().find(is_consumer);
        let consumer = consumer.expect("a consumer");
        let feed = consumer.feeds.iter().find(|(it, _)| *it == deliver.feed);
        let filter = feed.expect("a feed").1;
        let is_dead = filter.ends_with("$dlq");
        let name = if is_dead { "dlq-attempts" } else { "q-attempt" };
        let attempt = deliver.properties.iter().find(|(it, _)| *it == name);
        let attempt: u32 = attempt
            .expect("the attempt")
            .1
            .to_string()
            .parse()
            .expect("a number");
        let is_lease = filter.contains("$lease");
        consumer
            .unsettled
            .insert(deliver.delivery, (message, is_lease));
        if is_lease {
            self.leases.push(Lease {
                message,
                delivery: deliver.delivery,
                receipt: deliver.topic.split('/').nth(3).expect("it").to_owned(),
                era: self.era,
                is_done: false,
            });
        }
        let deliver_it = match is_dead {
            true => Oracle::deliver_dead,
            false => Oracle::deliver,
        };
        deliver_it(
            &mut self.oracle,
            message,
            filter,
            deliver.consumer,
            deliver.delivery,
            attempt,
            now,
        );
    }
}

impl Consumer {
    fn new(id: ConsumerId, credit: u32) -> Consumer {
        Consumer {
            id,
            is_attached: true,
            has_ended: false,
            credit,
            feeds: Vec::new(),
            unsettled: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }
}
