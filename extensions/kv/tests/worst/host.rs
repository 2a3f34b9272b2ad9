//! The host, its store, and what it knows of what was promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_extension_api::{
    Address, Change, Command, CommandId, ConsumerId, Deliver, DeliveryId, Extension, FeedId, Input,
    Label, Options, Outcome, Output, RecordKey, Refusal, Reply, Subscribe, WhenRefused, Write,
    WriteRefusal,
};
use nexum_kv::{BucketOptions, Buckets, Settings};
use nexum_types::{Message, MessageParts, QoS, Time, TopicFilter, TopicName};
use proptest::sample::Index;

type Records = BTreeMap<RecordKey, Box<[u8]>>;

pub(crate) struct Host {
    settings: Settings,
    buckets: Buckets,
    now: Time,
    /// What a read sees.
    records: Records,
    /// The two lines of writes that were not heard of; the first so many are stored.
    telling: Line,
    lasting: Line,
    /// So many of the first that tell will be refused, and what comes behind them.
    doomed: usize,
    reads: Vec<Output>,
    asked: BTreeMap<u64, Asked>,
    counters: BTreeMap<&'static str, Counter>,
    revisions: BTreeSet<u64>,
    watchers: Vec<Watcher>,
    names: u64,
}

#[derive(Default)]
struct Line {
    writes: VecDeque<Write>,
    applied: usize,
}

#[derive(Clone, Copy)]
enum Asked {
    Step(&'static str),
    Other,
    Look,
}

/// What a counter has to be, at least and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    least: u64,
    most: u64,
}

struct Watcher {
    consumer: ConsumerId,
    filter: &'static str,
    unsettled: usize,
    told: BTreeMap<String, (u64, Option<String>)>,
}

impl Host {
    pub(crate) fn new(backlog: usize) -> Host {
        let options = BucketOptions {
            history: 2,
            ..BucketOptions::default()
        };
        let settings = Settings {
            declared: vec![("b".to_owned(), options)],
            backlog,
            ..Settings::default()
        };
        let mut host = Host {
            buckets: Buckets::new(settings.clone()),
            settings,
            now: Time::from_micros(1_800_000_000_000_000),
            records: Records::new(),
            telling: Line::default(),
            lasting: Line::default(),
            doomed: 0,
            reads: Vec::new(),
            asked: BTreeMap::new(),
            counters: BTreeMap::new(),
            revisions: BTreeSet::new(),
            watchers: Vec::new(),
            names: 0,
        };
        host.feed(Input::Start { seed: 1 });
        host.settle_store();
        host
    }

    pub(crate) fn change(&mut self, key: &'static str, seconds: Option<u8>) {
        self.names += 1;
        if key.starts_with('n') {
            self.counters.entry(key).or_default().most += 1;
            self.command(&format!("{key}/$incr"), "", None, Asked::Step(key));
        } else {
            let payload = self.names.to_string();
            self.command(key, &payload, seconds, Asked::Other);
        }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.command(key, "", None, Asked::Other);
    }

    pub(crate) fn look(&mut self, key: &str) {
        self.command(&format!("{key}/$get"), "", None, Asked::Look);
    }

    fn command(&mut self, key: &str, payload: &str, seconds: Option<u8>, asked: Asked) {
        let topic = format!("$kv/b/{key}");
        let parts = MessageParts {
            topic: TopicName::new(&topic).expect("a topic"),
            properties: &[],
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: self.now,
            expires_at: None,
        };
        self.names += 1;
        let id = self.names;
        self.asked.insert(id, asked);
        let options = seconds.map(|seconds| Options {
            time_to_live: Some(Duration::from_secs(u64::from(seconds))),
            ..Options::default()
        });
        self.feed(Input::Command(Command {
            id: CommandId { shard: 0, key: id },
            address: Address::parse(&topic).expect("an address"),
            message: Arc::new(Message::new(parts)),
            options: options.map(Box::new),
            client_id: None,
        }));
    }

    /// Answers one of the wishes to read.
    pub(crate) fn read(&mut self, at: Index) {
        if !self.reads.is_empty() {
            self.read_at(at.index(self.reads.len()));
        }
    }

    fn read_at(&mut self, at: usize) {
        let answer = match self.reads.swap_remove(at) {
            Output::Read { read, keys } => Input::Read {
                read,
                values: keys
                    .iter()
                    .map(|key| self.records.get(key).cloned())
                    .collect(),
            },
            Output::Scan(scan) => {
                let records = self.records.range(scan.from..scan.to);
                let mut records = records.map(|(key, value)| (key.clone(), value.clone()));
                Input::Scanned {
                    read: scan.read,
                    records: records.by_ref().take(scan.records.min(2)).collect(),
                    next: records.next().map(|(key, _)| key),
                }
            }
            other => panic!("{other:?}"),
        };
        self.feed(answer);
    }

    /// Stores the next write, and says nothing.
    pub(crate) fn apply(&mut self) {
        if self.doomed == 0 {
            self.telling.apply(&mut self.records);
        }
    }

    /// Says what became of the next write.
    pub(crate) fn hear(&mut self, is_lasting: bool) {
        if is_lasting {
            if self.lasting.applied == 0 {
                self.lasting.apply(&mut self.records);
            }
            if let Some(write) = self.lasting.take() {
                self.written(&write, false);
            }
        } else if self.doomed > 0 {
            self.refuse();
        } else {
            if self.telling.applied == 0 {
                self.telling.apply(&mut self.records);
            }
            if let Some(write) = self.telling.take() {
                self.written(&write, false);
            }
        }
    }

    /// Refuses the next write, and with it all that are behind it.
    pub(crate) fn refuse(&mut self) {
        if self.telling.applied > 0 {
            return;
        }
        if let Some(write) = self.telling.writes.pop_front() {
            // What comes while this is told of is not known to be refused.
            self.doomed = self.telling.writes.len();
            self.written(&write, true);
            if self.doomed > 0 {
                self.doomed = self.telling.writes.len();
            }
        }
    }

    fn written(&mut self, write: &Write, is_refused: bool) {
        let refused = is_refused.then(|| WriteRefusal {
            reason: "full".into(),
        });
        let write = write.write;
        self.feed(Input::Written { write, refused });
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        for _ in 0..3 {
            if self
                .buckets
                .poll_timeout()
                .is_some_and(|due| due <= self.now)
            {
                self.buckets.handle_timeout(self.now);
                self.drain();
            }
        }
    }

    pub(crate) fn watch(&mut self, filter: &'static str, credit: u32) {
        self.names += 1;
        let consumer = ConsumerId {
            shard: 0,
            key: self.names,
        };
        self.watchers.push(Watcher {
            consumer,
            filter,
            unsettled: 0,
            told: BTreeMap::new(),
        });
        self.feed(Input::Attach {
            consumer,
            credit,
            client_id: Arc::from("watcher"),
            takes_properties: true,
        });
        self.feed(Input::Subscribe(Subscribe {
            feed: FeedId {
                shard: 0,
                key: self.names,
            },
            consumer,
            address: Address::parse(&format!("$kv/b/{filter}")).expect("an address"),
            maximum_qos: QoS::AtLeastOnce,
            wants_present: true,
            share_name: None,
            options: None,
        }));
    }

    pub(crate) fn settle(&mut self, at: Index) {
        if !self.watchers.is_empty() {
            let at = at.index(self.watchers.len());
            if self.watchers[at].unsettled > 0 {
                self.watchers[at].unsettled -= 1;
                self.give_credit(at);
            }
        }
    }

    fn give_credit(&mut self, at: usize) {
        self.feed(Input::Settled {
            consumer: self.watchers[at].consumer,
            delivery: DeliveryId(0),
            outcome: Outcome::Done,
        });
    }

    pub(crate) fn detach(&mut self, at: Index) {
        if !self.watchers.is_empty() {
            let watcher = self.watchers.swap_remove(at.index(self.watchers.len()));
            self.feed(Input::Detach {
                consumer: watcher.consumer,
                unanswered: Vec::new(),
                has_ended: true,
            });
        }
    }

    /// Dies with so many more writes stored, of either kind, as far as they are not refused.
    pub(crate) fn crash(&mut self, more: usize) {
        for number in 0..more {
            if number % 2 == 1 {
                self.lasting.apply(&mut self.records);
            } else if self.doomed == 0 {
                self.telling.apply(&mut self.records);
            }
        }
        self.telling = Line::default();
        self.lasting = Line::default();
        self.doomed = 0;
        self.reads.clear();
        self.watchers.clear();
        // What was not answered may have been done.
        self.asked.clear();
        self.buckets = Buckets::new(self.settings.clone());
        for (key, value) in &self.records {
            let restored = self.buckets.restore(key, value, self.now);
            restored.expect("it was written");
        }
        self.feed(Input::Start { seed: 2 });
    }

    /// Everything is read, stored and told of.
    fn settle_store(&mut self) {
        for _ in 0..10_000 {
            if self.reads.is_empty()
                && self.telling.writes.is_empty()
                && self.lasting.writes.is_empty()
            {
                return;
            }
            if !self.reads.is_empty() {
                self.read_at(0);
            }
            self.hear(false);
            self.hear(true);
        }
        panic!("it never ends");
    }

    pub(crate) fn finish(&mut self, keys: &[&'static str]) {
        self.settle_store();
        for _ in 0..5 {
            self.wait(3000);
            self.settle_store();
        }
        // Whoever has lost changes hears of it with the next.
        self.catch_up();
        for key in ["v", "v/1", "n/1"] {
            self.change(key, None);
            self.settle_store();
            self.catch_up();
        }
        assert!(self.asked.is_empty(), "all is answered");
        let mut there: BTreeMap<String, String> = BTreeMap::new();
        let (mut rows, mut entries, mut bytes) = (0, 0, 0);
        for (key, value) in &self.records {
            rows += usize::from(key[0] >= 2);
            if key[0] == 2 {
                let key = std::str::from_utf8(&key[9..]).expect("text");
                let former = usize::from(value[26]);
                let payload = &value[27 + 8 * former + 4..];
                let payload = std::str::from_utf8(payload).expect("text");
                assert_eq!(value[1], 0, "what runs out is gone");
                entries += 1 + former;
                bytes += key.len() + payload.len();
                there.insert(key.to_owned(), payload.to_owned());
            }
        }
        assert_eq!(rows, entries, "nothing else is stored");
        for key in keys.iter().filter(|key| key.starts_with('n')) {
            let value = there
                .get(*key)
                .map_or(0, |value| value.parse().expect("a number"));
            let counter = self.counters.get(key).copied().unwrap_or_default();
            assert!(
                (counter.least..=counter.most).contains(&value),
                "{value} of {counter:?}"
            );
        }
        for watcher in &self.watchers {
            let filter = TopicFilter::new(watcher.filter).expect("a filter");
            let mut expected = there.clone();
            expected.retain(|key, _| filter.matches(TopicName::new(key).expect("a key")));
            let told = watcher.told.iter();
            let believed: BTreeMap<String, String> = told
                .filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?)))
                .collect();
            assert_eq!(believed, expected, "{}", watcher.filter);
        }
        let gauges = self.buckets.gauges();
        let gauge = |name: &str| {
            let found = gauges.iter().find(|gauge| gauge.name == name);
            found.expect("a gauge").value as usize
        };
        assert_eq!(gauge("nexum_kv_keys"), there.len());
        assert_eq!(gauge("nexum_kv_bytes"), bytes);
        assert_eq!(gauge("nexum_kv_waiting"), 0);
    }

    /// Every watcher takes everything.
    fn catch_up(&mut self) {
        for at in 0..self.watchers.len() {
            self.give_credit(at);
        }
        self.settle_store();
        while let Some(at) = self.watchers.iter().position(|it| it.unsettled > 0) {
            self.watchers[at].unsettled -= 1;
            self.give_credit(at);
            self.settle_store();
        }
    }

    fn feed(&mut self, input: Input) {
        self.buckets.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.buckets.poll_output() {
            match output {
                Output::Write(write) => match write.when_refused {
                    WhenRefused::Tell => {
                        // It is behind what will be refused.
                        self.doomed += usize::from(self.doomed > 0);
                        self.telling.writes.push_back(write);
                    }
                    WhenRefused::Retry => self.lasting.writes.push_back(write),
                },
                Output::Read { .. } | Output::Scan(_) => self.reads.push(output),
                Output::Reply { command, result } => self.replied(command.key, result),
                Output::Deliver(deliver) => self.delivered(&deliver),
                Output::Grant { .. } | Output::Event { .. } => {}
                Output::Refuse { .. }
                | Output::Commit { .. }
                | Output::Capture { .. }
                | Output::Release { .. }
                | Output::Publish(_) => panic!("{output:?}"),
            }
        }
    }

    fn replied(&mut self, command: u64, result: Result<Reply, Refusal>) {
        let asked = self.asked.remove(&command).expect("one reply");
        match (asked, result) {
            (Asked::Step(key), Ok(reply)) => {
                self.note_revision(&reply);
                self.counters.entry(key).or_default().least += 1;
            }
            (Asked::Step(key), Err(_)) => self.counters.entry(key).or_default().most -= 1,
            (Asked::Other, Ok(reply)) => self.note_revision(&reply),
            (Asked::Other, Err(_)) | (Asked::Look, _) => {}
        }
    }

    fn note_revision(&mut self, reply: &Reply) {
        let Some(("rev", Label::Number(revision))) = reply.properties.first() else {
            panic!("a revision");
        };
        let is_new = *revision == 0 || self.revisions.insert(*revision);
        assert!(is_new, "{revision} comes again");
    }

    fn delivered(&mut self, deliver: &Deliver) {
        let mut watchers = self.watchers.iter_mut();
        let watcher = watchers.find(|it| it.consumer == deliver.consumer);
        let watcher = watcher.expect("it is there");
        watcher.unsettled += 1;
        let property = |name: &str| {
            let found = deliver.properties.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        if property("resync").is_some() {
            watcher.told.clear();
        }
        let Some(Label::Number(revision)) = property("rev") else {
            panic!("a revision");
        };
        let key = deliver.topic.strip_prefix("$kv/b/").expect("a key");
        let value = String::from_utf8(deliver.message.payload().to_vec()).expect("text");
        let value = Some(value).filter(|value| !value.is_empty());
        let before = watcher.told.insert(key.to_owned(), (revision, value));
        if let Some((before, _)) = before {
            assert!(revision > before, "{key}: {before}, then {revision}");
        }
    }
}

impl Line {
    /// Stores the next write that is not stored.
    fn apply(&mut self, records: &mut Records) {
        let Some(write) = self.writes.get(self.applied) else {
            return;
        };
        self.applied += 1;
        for change in &write.changes {
            match change {
                Change::Insert(key, value) => {
                    let known = records.insert(key.clone(), value.clone());
                    assert!(known.is_none(), "it was never there");
                }
                Change::Put(key, value) => {
                    records.insert(key.clone(), value.clone());
                }
                Change::Delete(key) => {
                    records.remove(key);
                }
            }
        }
    }

    fn take(&mut self) -> Option<Write> {
        let write = self.writes.pop_front()?;
        self.applied -= 1;
        Some(write)
    }
}
