//! A broker, its consumers, and the naive queue beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use nexum_extension_api::driver::{Driver, Store};
use nexum_extension_api::{
    CommandId, ConsumerId, Deliver, DeliveryId, ErrorCode, Extension, FeedId,
};
use nexum_queue::{Queues, Settings};
use nexum_types::Time;

use crate::operation::{Answer, Operation, QUEUES, Setup};
use crate::oracle::{Oracle, Place, Terms};

pub(crate) struct World {
    pub(crate) broker: Driver<Queues>,
    pub(crate) oracle: Oracle,
    pub(crate) store: Store,
    pub(crate) max_len: usize,
    pub(crate) drops_oldest: bool,
    pub(crate) consumers: Vec<Consumer>,
    /// Pushes that were not answered, and the message of each; of a repeat, that of the first.
    pub(crate) unanswered: Vec<(CommandId, usize, bool)>,
    /// All leases there ever were.
    pub(crate) leases: Vec<Lease>,
    pub(crate) era: u32,
}

pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) is_attached: bool,
    pub(crate) has_ended: bool,
    pub(crate) credit: u32,
    pub(crate) feeds: Vec<(FeedId, &'static str)>,
    /// Delivered and not acknowledged: the message, and whether it is a lease.
    pub(crate) unsettled: BTreeMap<DeliveryId, (usize, bool)>,
    /// Leases that were acknowledged.
    pub(crate) held: BTreeMap<DeliveryId, usize>,
}

pub(crate) struct Lease {
    pub(crate) message: usize,
    pub(crate) delivery: DeliveryId,
    pub(crate) receipt: String,
    pub(crate) era: u32,
    pub(crate) is_done: bool,
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

    pub(crate) fn now(&self) -> Time {
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
                has_left,
            } => {
                if let Some(at) = self.pick(*consumer, |it| !it.has_ended) {
                    if !has_left {
                        self.never_left(at);
                    }
                    self.detach(at, *has_ended, *has_left);
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
                self.detach(at, true, true);
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
        let gauges = self.broker.extension().gauges();
        let in_flight = gauges
            .iter()
            .find(|it| it.name == "nexum_queues_deliveries");
        assert_eq!(in_flight.expect("a gauge").value, 0.0);
        self.restart();
        self.look();
        assert_eq!(self.broker.records().len(), 3 + 2 * dead);
    }

    /// A consumer that is like that, if there is one.
    pub(crate) fn pick(&self, at: usize, is_like: impl Fn(&Consumer) -> bool) -> Option<usize> {
        let like: Vec<usize> = (0..self.consumers.len())
            .filter(|at| is_like(&self.consumers[*at]))
            .collect();
        (!like.is_empty()).then(|| like[at % like.len()])
    }

    /// What is being written is stored or refused.
    pub(crate) fn settle_writing(&mut self, is_stored: bool) {
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
    pub(crate) fn check_replies(&mut self) {
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

    /// Time passes from one event to the next, and each is looked at.
    pub(crate) fn wait(&mut self, duration: Duration) {
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

    pub(crate) fn restart(&mut self) {
        self.era += 1;
        self.consumers.clear();
        self.unanswered.clear();
        let now = self.now();
        self.oracle.crash(now);
        self.broker.restart().expect("readable");
    }

    pub(crate) fn commit(&mut self) {
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
    pub(crate) fn look(&mut self) {
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

    pub(crate) fn delivered(&mut self, deliver: &Deliver, now: Time) {
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
    pub(crate) fn new(id: ConsumerId, credit: u32) -> Consumer {
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
