//! An extension alone: a store, consumers and a clock in memory, and the rules of the boundary
//! checked at each step. For tests.
//!
//! It panics where the extension breaks a rule: a second reply, a delivery beyond the credit, or to
//! whoever is not there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_types::{Message, MessageParts, QoS, Time, TopicFilter, TopicName};

use crate::address::Address;
use crate::change::{Change, RecordKey};
use crate::extension::{Extension, Unreadable};
use crate::id::{CaptureId, CommandId, ConsumerId, DeliveryId, FeedId, PublicationId, ReceiptId};
use crate::input::{Captured, Command, Input, Outcome, Subscribe, Unsubscribe, WriteRefusal};
use crate::options::Options;
use crate::output::{Deliver, Output, Publish, Reply, Scan, Severity, WhenRefused, Write};
use crate::refusal::Refusal;

/// How the store takes writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// At once.
    #[default]
    Quick,
    /// When [`Driver::commit`] is called.
    Slow,
    /// Not at all.
    Full,
}

/// An extension with everything around it.
pub struct Driver<E> {
    make: Box<dyn Fn() -> E>,
    extension: E,
    now: Time,
    seed: u64,
    store: Store,
    records: BTreeMap<RecordKey, Box<[u8]>>,
    unanswered: VecDeque<Write>,
    keys: u64,
    replies: BTreeMap<CommandId, Option<Result<Reply, Refusal>>>,
    receipts: BTreeMap<ReceiptId, Option<Result<(), Refusal>>>,
    captures: BTreeMap<CaptureId, Box<str>>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    feeds: BTreeMap<FeedId, Feed>,
    published: Vec<Publish>,
    unpublished: VecDeque<PublicationId>,
    events: Vec<(Severity, String)>,
}

#[derive(Debug, Default)]
struct Consumer {
    is_attached: bool,
    credit: u32,
    inbox: Vec<Deliver>,
    unsettled: Vec<DeliveryId>,
}

#[derive(Debug)]
struct Feed {
    consumer: ConsumerId,
    filter: Box<str>,
    granted: Option<Result<QoS, Refusal>>,
}

impl<E: Extension> Driver<E> {
    /// Starts an extension with nothing stored; `make` is called again at each restart.
    pub fn new(make: impl Fn() -> E + 'static) -> Driver<E> {
        let mut driver = Driver {
            extension: make(),
            make: Box::new(make),
            // Somewhere in 2027: the time is that of the calendar.
            now: Time::from_micros(1_800_000_000_000_000),
            seed: 0,
            store: Store::Quick,
            records: BTreeMap::new(),
            unanswered: VecDeque::new(),
            keys: 0,
            replies: BTreeMap::new(),
            receipts: BTreeMap::new(),
            captures: BTreeMap::new(),
            consumers: BTreeMap::new(),
            feeds: BTreeMap::new(),
            published: Vec::new(),
            unpublished: VecDeque::new(),
            events: Vec::new(),
        };
        driver.feed(Input::Start { seed: 0 });
        driver
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The extension, to look into it.
    #[must_use]
    pub fn extension(&self) -> &E {
        &self.extension
    }

    /// What is stored.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<RecordKey, Box<[u8]>> {
        &self.records
    }

    /// From now on the store takes writes like this.
    pub fn set_store(&mut self, store: Store) {
        self.store = store;
        if store == Store::Quick {
            self.commit();
        }
    }

    /// A slow store comes to what it was given.
    pub fn commit(&mut self) {
        self.store_writes();
        self.drain();
    }

    /// Time passes, and what is due on the way happens at its time.
    pub fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.extension.poll_timeout()
            && due <= until
        {
            self.now = self.now.max(due);
            self.extension.handle_timeout(self.now);
            self.drain();
            let next = self.extension.poll_timeout();
            assert!(
                next.is_none_or(|next| next > due || next > self.now),
                "a timeout that was handled is due again at once"
            );
        }
        self.now = until;
    }

    /// The process dies and starts again: what was written and not stored is lost, and everybody
    /// has to attach again. Fails if a record cannot be read.
    ///
    /// # Errors
    /// What the extension says of the record.
    pub fn restart(&mut self) -> Result<(), Unreadable> {
        self.extension = (self.make)();
        self.unanswered.clear();
        self.replies.clear();
        self.receipts.clear();
        self.captures.clear();
        self.consumers.clear();
        self.feeds.clear();
        self.unpublished.clear();
        self.seed += 1;
        for (key, value) in &self.records {
            self.extension.restore(key, value, self.now)?;
        }
        let seed = self.seed;
        self.feed(Input::Start { seed });
        Ok(())
    }

    /// Publishes at QoS 1 and takes the answer, which has to be there.
    ///
    /// # Errors
    /// The extension refused it.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<Reply, Refusal> {
        self.publish_with(topic, payload, Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// The extension refused it.
    pub fn publish_with(
        &mut self,
        topic: &str,
        payload: &[u8],
        options: Options,
    ) -> Result<Reply, Refusal> {
        let command = self.command(topic, payload, options);
        self.take_reply(command).expect("an answer")
    }

    /// Publishes at QoS 1, whatever the answer and whenever it comes.
    pub fn command(&mut self, topic: &str, payload: &[u8], options: Options) -> CommandId {
        let id = CommandId {
            shard: 0,
            key: self.next_key(),
        };
        self.replies.insert(id, None);
        let options = (options != Options::default()).then(|| Box::new(options));
        let message = self.message(topic, payload);
        self.feed(Input::Command(Command {
            id,
            address: Address::parse(topic).expect("an address"),
            message,
            options,
            client_id: Some(Arc::from("producer")),
        }));
        id
    }

    /// The answer to a command, once.
    pub fn take_reply(&mut self, command: CommandId) -> Option<Result<Reply, Refusal>> {
        let reply = self.replies.get_mut(&command)?.take();
        if reply.is_some() {
            self.replies.remove(&command);
        }
        reply
    }

    /// Publishes to a plain topic at QoS 1, for whatever captures it; whoever waits for an answer.
    pub fn publish_plain(&mut self, topic: &str, payload: &[u8]) -> Vec<ReceiptId> {
        let name = TopicName::new(topic).expect("a topic name");
        let captures: Vec<CaptureId> = self
            .captures
            .iter()
            .filter(|(_, filter)| TopicFilter::new(filter).is_ok_and(|it| it.matches(name)))
            .map(|(capture, _)| *capture)
            .collect();
        let message = self.message(topic, payload);
        let mut receipts = Vec::new();
        for capture in captures {
            let receipt = ReceiptId {
                shard: 0,
                key: self.next_key(),
            };
            self.receipts.insert(receipt, None);
            receipts.push(receipt);
            let message = Arc::clone(&message);
            self.feed(Input::Captured(Captured {
                capture,
                receipt: Some(receipt),
                message,
            }));
        }
        receipts
    }

    /// What came of a captured message, once.
    pub fn take_commit(&mut self, receipt: ReceiptId) -> Option<Result<(), Refusal>> {
        let commit = self.receipts.get_mut(&receipt)?.take();
        if commit.is_some() {
            self.receipts.remove(&receipt);
        }
        commit
    }

    /// A new session attaches.
    pub fn attach(&mut self, credit: u32) -> ConsumerId {
        let consumer = ConsumerId {
            shard: 0,
            key: self.next_key(),
        };
        self.attach_again(consumer, credit);
        consumer
    }

    /// A session comes back.
    pub fn attach_again(&mut self, consumer: ConsumerId, credit: u32) {
        let state = self.consumers.entry(consumer).or_default();
        assert!(!state.is_attached, "it is attached already");
        state.is_attached = true;
        state.credit = credit;
        self.feed(Input::Attach {
            consumer,
            credit,
            client_id: Arc::from(format!("consumer-{}", consumer.key)),
            takes_properties: true,
        });
    }

    /// Subscribes at QoS 1 and takes the answer, which has to be there.
    ///
    /// # Errors
    /// The extension refused it.
    pub fn subscribe(&mut self, consumer: ConsumerId, filter: &str) -> Result<FeedId, Refusal> {
        self.subscribe_at(consumer, filter, QoS::AtLeastOnce)
    }

    /// The same at any QoS.
    ///
    /// # Errors
    /// The extension refused it.
    pub fn subscribe_at(
        &mut self,
        consumer: ConsumerId,
        filter: &str,
        maximum_qos: QoS,
    ) -> Result<FeedId, Refusal> {
        self.wish(consumer, filter, maximum_qos, true)
    }

    /// Subscribes at QoS 1 to what changes, and not to what is there already.
    ///
    /// # Errors
    /// The extension refused it.
    pub fn subscribe_to_changes(
        &mut self,
        consumer: ConsumerId,
        filter: &str,
    ) -> Result<FeedId, Refusal> {
        self.wish(consumer, filter, QoS::AtLeastOnce, false)
    }

    fn wish(
        &mut self,
        consumer: ConsumerId,
        filter: &str,
        maximum_qos: QoS,
        wants_present: bool,
    ) -> Result<FeedId, Refusal> {
        let feed = FeedId {
            shard: 0,
            key: self.next_key(),
        };
        let wish = Feed {
            consumer,
            filter: Box::from(filter),
            granted: None,
        };
        self.feeds.insert(feed, wish);
        self.feed(Input::Subscribe(Subscribe {
            feed,
            consumer,
            address: Address::parse(filter).expect("an address"),
            maximum_qos,
            wants_present,
            share_name: None,
            options: None,
        }));
        match self.feeds[&feed].granted.clone().expect("an answer") {
            Ok(_) => Ok(feed),
            Err(refusal) => {
                self.feeds.remove(&feed);
                Err(refusal)
            }
        }
    }

    /// A feed is over.
    pub fn unsubscribe(&mut self, feed: FeedId) {
        if let Some(Feed { consumer, .. }) = self.feeds.remove(&feed) {
            self.feed(Input::Unsubscribe(Unsubscribe { feed, consumer }));
        }
    }

    /// A consumer loses its connection, or ends.
    pub fn detach(&mut self, consumer: ConsumerId, has_ended: bool) {
        let unanswered = self.let_go(consumer, has_ended);
        self.feed(Input::Detach {
            consumer,
            unanswered,
            has_ended,
        });
    }

    /// The same, and what was delivered to it was still on its way: that comes back.
    pub fn detach_before_delivery(&mut self, consumer: ConsumerId, has_ended: bool) {
        let on_their_way = self.let_go(consumer, has_ended);
        self.feed(Input::Detach {
            consumer,
            unanswered: Vec::new(),
            has_ended,
        });
        for delivery in on_their_way {
            self.feed(Input::Settled {
                consumer,
                delivery,
                outcome: Outcome::Undelivered,
            });
        }
    }

    /// A consumer takes so many deliveries more: they were settled that it had before.
    pub fn add_credit(&mut self, consumer: ConsumerId, credit: u32) {
        for _ in 0..credit {
            let state = self.consumers.get_mut(&consumer).expect("it is there");
            state.credit += 1;
            self.feed(Input::Settled {
                consumer,
                delivery: DeliveryId(u64::MAX),
                outcome: Outcome::Done,
            });
        }
    }

    /// Returns what it has not settled.
    fn let_go(&mut self, consumer: ConsumerId, has_ended: bool) -> Vec<DeliveryId> {
        self.feeds.retain(|_, feed| feed.consumer != consumer);
        let state = if has_ended {
            self.consumers.remove(&consumer)
        } else {
            self.consumers.get_mut(&consumer).map(std::mem::take)
        };
        state.map_or(Vec::new(), |state| state.unsettled)
    }

    /// What a consumer got since it was last asked for.
    pub fn deliveries(&mut self, consumer: ConsumerId) -> Vec<Deliver> {
        let state = self.consumers.get_mut(&consumer).expect("it is there");
        std::mem::take(&mut state.inbox)
    }

    /// A consumer is done with a delivery.
    pub fn settle(&mut self, consumer: ConsumerId, delivery: DeliveryId, outcome: Outcome) {
        let state = self.consumers.get_mut(&consumer).expect("it is there");
        let place = state.unsettled.iter().position(|it| *it == delivery);
        state
            .unsettled
            .remove(place.expect("it was delivered, and not settled"));
        state.credit += 1;
        self.feed(Input::Settled {
            consumer,
            delivery,
            outcome,
        });
    }

    /// Takes what a consumer got, settles all of it as done, and again until nothing comes.
    pub fn work_off(&mut self, consumer: ConsumerId) -> Vec<Deliver> {
        let mut all = Vec::new();
        loop {
            let deliveries = self.deliveries(consumer);
            if deliveries.is_empty() {
                return all;
            }
            for delivery in deliveries {
                self.settle(consumer, delivery.delivery, Outcome::Done);
                all.push(delivery);
            }
        }
    }

    /// What the extension published, since it was last asked for.
    pub fn published(&mut self) -> Vec<Publish> {
        std::mem::take(&mut self.published)
    }

    /// The filters of its captures.
    #[must_use]
    pub fn captures(&self) -> Vec<&str> {
        self.captures.values().map(|filter| &**filter).collect()
    }

    /// What it logged, since it was last asked for.
    pub fn events(&mut self) -> Vec<(Severity, String)> {
        std::mem::take(&mut self.events)
    }

    /// Feeds anything.
    pub fn feed(&mut self, input: Input) {
        self.extension.handle(input, self.now);
        self.drain();
    }

    fn next_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    fn message(&self, topic: &str, payload: &[u8]) -> Arc<Message> {
        Arc::new(Message::new(MessageParts {
            topic: TopicName::new(topic).expect("a topic name"),
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: self.now,
            expires_at: None,
        }))
    }

    /// Carries out what the extension wants until it wants nothing more.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.extension.poll_output() {
                self.carry_out(output);
            }
            let mut is_quiet = self.store == Store::Slow || !self.store_writes();
            while let Some(publication) = self.unpublished.pop_front() {
                is_quiet = false;
                let refused = None;
                let published = Input::Published {
                    publication,
                    refused,
                };
                self.extension.handle(published, self.now);
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Returns whether the extension heard of anything.
    fn store_writes(&mut self) -> bool {
        let is_full = self.store == Store::Full;
        let mut is_heard = false;
        for write in std::mem::take(&mut self.unanswered) {
            if is_full && write.when_refused == WhenRefused::Retry {
                self.unanswered.push_back(write);
                continue;
            }
            let refused = is_full.then(|| WriteRefusal {
                reason: "full".into(),
            });
            if refused.is_none() {
                self.apply(&write.changes);
            }
            is_heard = true;
            let write = write.write;
            let written = Input::Written { write, refused };
            self.extension.handle(written, self.now);
        }
        is_heard
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Insert(key, value) => {
                    let known = self.records.insert(key.clone(), value.clone());
                    assert!(known.is_none(), "{key:?} was never there");
                }
                Change::Put(key, value) => {
                    self.records.insert(key.clone(), value.clone());
                }
                Change::Delete(key) => {
                    self.records.remove(key);
                }
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Reply { command, result } => {
                let reply = self.replies.get_mut(&command);
                let reply = reply.expect("a command that was given");
                assert!(reply.is_none(), "a command has one reply: {result:?}");
                *reply = Some(result);
            }
            Output::Commit { receipt, result } => {
                let commit = self.receipts.get_mut(&receipt);
                let commit = commit.expect("a receipt that was given");
                assert!(commit.is_none(), "a receipt is committed once: {result:?}");
                *commit = Some(result);
            }
            Output::Capture { capture, filter } => {
                assert!(TopicFilter::new(&filter).is_ok(), "{filter} is a filter");
                let known = self.captures.insert(capture, filter);
                assert!(known.is_none(), "a capture has a name of its own");
            }
            Output::Release { capture } => {
                let known = self.captures.remove(&capture);
                assert!(known.is_some(), "there is such a capture");
            }
            Output::Grant { feed, maximum_qos } => self.answer_feed(feed, Ok(maximum_qos)),
            Output::Refuse { feed, refusal } => self.answer_feed(feed, Err(refusal)),
            Output::Deliver(deliver) => self.deliver(deliver),
            Output::Publish(publish) => {
                self.apply(&publish.changes);
                self.unpublished.push_back(publish.publication);
                self.published.push(publish);
            }
            Output::Write(write) => self.unanswered.push_back(write),
            Output::Read { read, keys } => {
                let values = keys.iter().map(|key| self.records.get(key).cloned());
                let values = values.collect();
                self.extension
                    .handle(Input::Read { read, values }, self.now);
            }
            Output::Scan(scan) => {
                let scanned = self.scan(&scan);
                self.extension.handle(scanned, self.now);
            }
            Output::Event { severity, text } => self.events.push((severity, text)),
        }
    }

    fn scan(&self, scan: &Scan) -> Input {
        assert!(scan.records > 0, "a scan is for something");
        let (mut records, mut next, mut bytes) = (Vec::new(), None, 0);
        for (key, value) in self.records.range(scan.from.clone()..) {
            if *key >= scan.to {
                break;
            }
            bytes += key.len() + value.len();
            if records.len() == scan.records || bytes > scan.bytes && !records.is_empty() {
                next = Some(key.clone());
                break;
            }
            records.push((key.clone(), value.clone()));
        }
        let read = scan.read;
        Input::Scanned {
            read,
            records,
            next,
        }
    }

    fn answer_feed(&mut self, feed: FeedId, answer: Result<QoS, Refusal>) {
        // It may be over meanwhile.
        if let Some(feed) = self.feeds.get_mut(&feed) {
            assert!(feed.granted.is_none(), "a wish for a feed has one answer");
            feed.granted = Some(answer);
        }
    }

    fn deliver(&mut self, deliver: Deliver) {
        let feed = self.feeds.get(&deliver.feed).expect("a feed that is there");
        assert_eq!(feed.consumer, deliver.consumer, "its consumer's feed");
        let maximum_qos = match &feed.granted {
            Some(Ok(maximum_qos)) => *maximum_qos,
            other => panic!("a feed that was granted, not {other:?}"),
        };
        let topic = TopicName::new(&deliver.topic).expect("a topic name");
        let filter = TopicFilter::new(&feed.filter).expect("a filter");
        assert!(
            filter.matches(topic),
            "{} is delivered for {}",
            deliver.topic,
            feed.filter
        );
        let consumer = self.consumers.get_mut(&deliver.consumer);
        let consumer = consumer.expect("a consumer that is there");
        assert!(consumer.is_attached, "it is connected");
        assert!(consumer.credit > 0, "a delivery takes credit");
        if maximum_qos == QoS::AtMostOnce {
            let (consumer_id, delivery) = (deliver.consumer, deliver.delivery);
            consumer.inbox.push(deliver);
            let settled = Input::Settled {
                consumer: consumer_id,
                delivery,
                outcome: Outcome::Done,
            };
            return self.extension.handle(settled, self.now);
        }
        consumer.credit -= 1;
        assert!(
            !consumer.unsettled.contains(&deliver.delivery),
            "a delivery has a name of its own"
        );
        consumer.unsettled.push(deliver.delivery);
        consumer.inbox.push(deliver);
    }
}
