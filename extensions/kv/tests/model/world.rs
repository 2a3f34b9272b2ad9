//! A broker, its watchers, and the naive buckets beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexum_extension_api::driver::{Driver, Store};
use nexum_extension_api::{CommandId, ErrorCode, Label, Options, Outcome, Refusal, Reply};
use nexum_kv::{Buckets, Settings};
use nexum_types::Time;
use proptest::sample::Index;

use crate::operation::{Action, BUCKETS, Condition, MOST_KEYS, Operation};
use crate::oracle::{Asked, Expected, Oracle, is_there, judge};
use crate::watcher::Watcher;

const MEMORY: usize = 1;

pub(crate) struct World {
    broker: Driver<Buckets>,
    store: Store,
    oracles: [Oracle; 2],
    unanswered: Vec<Unanswered>,
    watchers: Vec<Watcher>,
    writes: usize,
    /// The highest that anybody was told.
    last_revision: u64,
    /// All that were replied.
    revisions: BTreeSet<u64>,
    /// Due entries may be there still.
    is_late: bool,
}

struct Unanswered {
    command: CommandId,
    bucket: usize,
    asked: Asked,
    write: usize,
    /// Its revision is higher, if it has one.
    floor: u64,
    expected: Expected,
    /// It waited for the store.
    is_late: bool,
}

impl World {
    pub(crate) fn new(backlog: usize) -> World {
        let settings = Settings {
            backlog,
            ..Settings::default()
        };
        let broker = Driver::new(move || Buckets::new(settings.clone()));
        let mut world = World {
            broker,
            store: Store::Quick,
            oracles: Default::default(),
            unanswered: Vec::new(),
            watchers: Vec::new(),
            writes: 0,
            last_revision: 0,
            revisions: BTreeSet::new(),
            is_late: false,
        };
        for bucket in 0..BUCKETS.len() {
            world.create(bucket);
        }
        world
    }

    pub(crate) fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Key {
                bucket,
                key,
                action,
                condition,
            } => self.ask(*bucket, key, *action, *condition),
            Operation::Keys(bucket) => self.list(*bucket),
            Operation::Purge(bucket) => self.purge(*bucket),
            Operation::Drop(bucket) => self.drop_bucket(*bucket),
            Operation::Watch {
                bucket,
                filter,
                credit,
                wants_present,
            } => self.watch(*bucket, filter, *credit, *wants_present),
            Operation::Settle(at, count) => self.settle(*at, *count),
            Operation::Leave(at) => {
                if !self.watchers.is_empty() {
                    let watcher = self.watchers.remove(at.index(self.watchers.len()));
                    self.broker.detach(watcher.id, true);
                }
            }
            Operation::Wait(milliseconds) => {
                self.wait(Duration::from_millis(u64::from(*milliseconds)));
            }
            Operation::Store(store) => self.set_store(*store),
            Operation::Commit => {
                self.broker.commit();
                self.collect();
            }
            Operation::Restart => self.restart(),
        }
        self.look();
    }

    /// In the end all that was acknowledged is there, and everybody knows.
    pub(crate) fn finish(&mut self) {
        self.set_store(Store::Quick);
        self.wait(Duration::from_secs(3));
        self.look();
        // Who had no credit at all has some now.
        for watcher in &self.watchers {
            self.broker.add_credit(watcher.id, 1);
        }
        self.settle_all();
        // Who has lost changes hears of it with the next one, and one of those is for everybody.
        for (bucket, name) in BUCKETS.iter().enumerate() {
            let topic = format!("$kv/{name}/$ctl/alter");
            let altered = self.broker.publish(&topic, br#"{"max_keys": 10}"#);
            altered.expect("altered");
            for key in ["a", "a/b"] {
                self.ask(bucket, key, Action::Delete, Condition::None);
                self.settle_all();
                self.ask(bucket, key, Action::Count(1), Condition::None);
                self.settle_all();
            }
        }
        assert!(self.unanswered.is_empty());
        let now = self.broker.now();
        let mut rows = 1 + BUCKETS.len();
        for (bucket, oracle) in self.oracles.iter_mut().enumerate() {
            oracle.stored.retain(|_, cell| is_there(cell, now));
            let there: BTreeMap<String, String> = oracle
                .stored
                .iter()
                .map(|(key, cell)| ((*key).to_owned(), cell.value.clone()))
                .collect();
            for watcher in self.watchers.iter().filter(|it| it.bucket == bucket) {
                let mut expected = there.clone();
                expected.retain(|key, _| watcher.matches(key));
                let believed = watcher.believes();
                if watcher.knows_all {
                    assert_eq!(believed, expected, "{}", watcher.filter);
                } else {
                    for (key, value) in &believed {
                        assert_eq!(expected.get(key), Some(value), "{key}");
                    }
                }
            }
            let topic = format!("$kv/{}/$ctl/info", BUCKETS[bucket]);
            let info = self.broker.publish(&topic, b"").expect("it is there");
            let info: serde_json::Value = serde_json::from_slice(&info.payload).expect("JSON");
            let bytes: usize = there
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum();
            assert_eq!(info["keys"], there.len());
            assert_eq!(info["bytes"], bytes);
            if bucket != MEMORY {
                rows += oracle
                    .stored
                    .values()
                    .map(|cell| 1 + usize::from(cell.expires_at.is_some()) + cell.former.len())
                    .sum::<usize>();
            }
        }
        assert_eq!(self.broker.records().len(), rows, "nothing else is stored");
        for bucket in 0..BUCKETS.len() {
            self.list(bucket);
        }
    }

    fn settle_all(&mut self) {
        self.look();
        while self.watchers.iter().any(|it| !it.unsettled.is_empty()) {
            for at in 0..self.watchers.len() {
                self.settle_of(at, usize::MAX);
            }
            self.look();
        }
    }

    fn now(&self) -> Time {
        self.broker.now()
    }

    fn create(&mut self, bucket: usize) {
        let options = serde_json::json!({
            "persist": bucket != MEMORY,
            "max_keys": MOST_KEYS,
            "history": crate::operation::HISTORY,
        });
        let topic = format!("$kv/{}/$ctl/create", BUCKETS[bucket]);
        let created = self.broker.publish(&topic, options.to_string().as_bytes());
        created.expect("created");
    }

    fn ask(&mut self, bucket: usize, key: &'static str, action: Action, condition: Condition) {
        let condition = match (action, condition) {
            (Action::Get | Action::History, _) => Condition::None,
            (Action::Set { .. }, condition) => condition,
            (_, Condition::CreateOnly) => Condition::Absent,
            (_, condition) => condition,
        };
        self.writes += 1;
        let oracle = &self.oracles[bucket];
        let asked = Asked {
            key,
            action,
            condition,
            revision: oracle.known_revision(key),
        };
        let expected = judge(&oracle.decided, asked, self.writes, self.now());
        let in_flight = oracle.stored.get(key) != oracle.decided.get(key);
        let (topic, payload, options) = spell(bucket, asked);
        let command = self.broker.command(&topic, payload.as_bytes(), options);
        let unanswered = Unanswered {
            command,
            bucket,
            asked,
            write: self.writes,
            floor: self.last_revision,
            expected,
            is_late: false,
        };
        match self.broker.take_reply(command) {
            None => {
                assert_eq!(self.store, Store::Slow, "{asked:?}");
                if let Expected::Becomes(cell) = &unanswered.expected {
                    let cell = cell.clone();
                    set(&mut self.oracles[bucket].decided, key, cell);
                }
                let is_late = true;
                self.unanswered.push(Unanswered {
                    is_late,
                    ..unanswered
                });
            }
            Some(Err(refusal)) if refusal.code == ErrorCode::QuotaExceeded => {
                self.check_quota(&unanswered);
            }
            Some(reply) => {
                let is_look = matches!(asked.action, Action::Get | Action::History);
                let is_slow = self.store == Store::Slow && bucket != MEMORY;
                let is_promise = is_slow && (is_look || reply.is_ok());
                assert!(!is_promise || !in_flight, "it is not stored: {asked:?}");
                let is_refused = self.store == Store::Full && bucket != MEMORY;
                self.check(&unanswered, reply, is_refused);
            }
        }
    }

    /// A bucket is full of what is there, or of what is due and not removed yet.
    fn check_quota(&self, unanswered: &Unanswered) {
        let oracle = &self.oracles[unanswered.bucket];
        assert!(matches!(unanswered.expected, Expected::Becomes(Some(_))));
        let now = self.now();
        let present = oracle.decided.get(unanswered.asked.key);
        assert!(
            present.is_none_or(|cell| !is_there(cell, now)),
            "it is there"
        );
        assert!(oracle.decided.len() >= MOST_KEYS, "there is room");
        let there = oracle.decided.values().filter(|cell| is_there(cell, now));
        assert!(self.is_late || there.count() >= MOST_KEYS, "due entries go");
    }

    fn check(&mut self, unanswered: &Unanswered, reply: Result<Reply, Refusal>, is_refused: bool) {
        let Unanswered {
            bucket,
            asked,
            write,
            expected,
            is_late,
            ..
        } = unanswered;
        let code = reply.as_ref().err().map(|refusal| refusal.code);
        let refused = match expected {
            Expected::Conflict => Some(ErrorCode::Conflict),
            Expected::NotFound => Some(ErrorCode::NotFound),
            Expected::BadPayload => Some(ErrorCode::BadPayload),
            Expected::Becomes(_) if is_refused => Some(ErrorCode::Unavailable),
            Expected::Nothing
            | Expected::Value(_)
            | Expected::History(_)
            | Expected::Becomes(_) => None,
        };
        assert_eq!(code, refused, "{asked:?} {reply:?}");
        let Ok(reply) = reply else { return };
        match expected {
            Expected::Nothing => assert_eq!(revision(&reply), 0),
            Expected::Value(value) => assert_eq!(reply.payload, value.as_bytes()),
            Expected::History(values) => {
                let shown: serde_json::Value =
                    serde_json::from_slice(&reply.payload).expect("JSON");
                let shown = shown.as_array().expect("a list").iter();
                let shown: Vec<&str> = shown
                    .map(|it| it["payload"].as_str().expect("text"))
                    .collect();
                assert_eq!(shown.first(), values.first().map(String::as_str).as_ref());
                // What is written behind the value that is shown may have removed former ones.
                let mut rest = values.iter();
                let is_among = |value: &&str| rest.any(|it| it == value);
                assert!(shown.iter().all(is_among), "{shown:?} of {values:?}");
                assert!(*is_late || shown.len() == values.len());
            }
            Expected::Becomes(cell) => {
                let revision = revision(&reply);
                assert!(revision > unanswered.floor, "{revision} is too low");
                assert!(self.revisions.insert(revision), "{revision} comes again");
                self.last_revision = self.last_revision.max(revision);
                if let (Action::Count(_), Some(cell)) = (asked.action, cell) {
                    assert_eq!(reply.payload, cell.value.as_bytes());
                }
                let oracle = &mut self.oracles[*bucket];
                // What waited is decided already.
                if self.store != Store::Slow || *bucket == MEMORY {
                    set(&mut oracle.decided, asked.key, cell.clone());
                }
                set(&mut oracle.stored, asked.key, cell.clone());
                oracle.note_revision(*write, revision);
            }
            Expected::Conflict | Expected::NotFound | Expected::BadPayload => {}
        }
    }

    /// What had to wait for the store is answered.
    fn collect(&mut self) {
        let is_refused = self.store == Store::Full;
        if is_refused {
            self.oracles[0].give_up();
        }
        let now = self.now();
        for mut unanswered in std::mem::take(&mut self.unanswered) {
            let reply = self.broker.take_reply(unanswered.command);
            let reply = reply.expect("an answer");
            let oracle = &self.oracles[unanswered.bucket];
            let is_read = !matches!(unanswered.expected, Expected::Becomes(_));
            // What only looked at it is judged by what is there now, in its order.
            if is_read {
                let map = &oracle.stored;
                unanswered.expected = judge(map, unanswered.asked, unanswered.write, now);
            }
            self.check(&unanswered, reply, is_refused);
        }
        if !is_refused {
            self.oracles[0].decided = self.oracles[0].stored.clone();
        }
    }

    fn set_store(&mut self, store: Store) {
        let was_slow = self.store == Store::Slow;
        if was_slow && store != Store::Slow {
            self.broker.set_store(store);
            self.store = store;
            self.broker.commit();
            self.collect();
        }
        self.broker.set_store(store);
        self.store = store;
        if store == Store::Quick {
            self.is_late = false;
            self.wait(Duration::from_secs(2));
        }
    }

    fn wait(&mut self, span: Duration) {
        self.broker.wait(span);
        if self.store != Store::Quick {
            self.is_late = true;
            return;
        }
        let now = self.now();
        for oracle in &mut self.oracles {
            oracle.stored.retain(|_, cell| is_there(cell, now));
            oracle.decided.retain(|_, cell| is_there(cell, now));
        }
    }

    fn restart(&mut self) {
        self.broker.restart().expect("readable");
        self.unanswered.clear();
        self.watchers.clear();
        self.oracles[0].give_up();
        self.oracles[MEMORY] = Oracle::default();
        self.set_store(Store::Quick);
        // The mark is stored before the store takes nothing again.
        self.ask(MEMORY, "a", Action::Delete, Condition::None);
        self.ask(MEMORY, "a", Action::Count(1), Condition::None);
    }

    fn list(&mut self, bucket: usize) {
        let topic = format!("$kv/{}/$keys", BUCKETS[bucket]);
        let reply = self.broker.publish(&topic, b"").expect("a list");
        let shown: serde_json::Value = serde_json::from_slice(&reply.payload).expect("JSON");
        let now = self.now();
        let stored = self.oracles[bucket].stored.iter();
        let there = stored.filter(|(_, cell)| is_there(cell, now));
        let keys: Vec<&str> = there.map(|(key, _)| *key).collect();
        assert_eq!(shown["keys"], serde_json::json!(keys));
    }

    fn purge(&mut self, bucket: usize) {
        self.set_store(Store::Quick);
        let topic = format!("$kv/{}/$ctl/purge", BUCKETS[bucket]);
        self.broker.publish(&topic, b"").expect("purged");
        self.oracles[bucket] = Oracle::default();
    }

    fn drop_bucket(&mut self, bucket: usize) {
        self.set_store(Store::Quick);
        let topic = format!("$kv/{}/$ctl/delete", BUCKETS[bucket]);
        self.broker.publish(&topic, b"").expect("deleted");
        self.look();
        for watcher in self.watchers.iter().filter(|it| it.bucket == bucket) {
            self.broker.detach(watcher.id, true);
        }
        self.watchers.retain(|it| it.bucket != bucket);
        self.oracles[bucket] = Oracle::default();
        self.create(bucket);
    }

    fn watch(&mut self, bucket: usize, filter: &str, credit: u32, wants_present: bool) {
        let consumer = self.broker.attach(credit);
        let topics = format!("$kv/{}/{filter}", BUCKETS[bucket]);
        let granted = if wants_present {
            self.broker.subscribe(consumer, &topics)
        } else {
            self.broker.subscribe_to_changes(consumer, &topics)
        };
        granted.expect("a feed");
        let watcher = Watcher::new(consumer, bucket, filter.to_owned(), wants_present);
        self.watchers.push(watcher);
    }

    fn settle(&mut self, at: Index, count: usize) {
        if !self.watchers.is_empty() {
            self.settle_of(at.index(self.watchers.len()), count);
        }
    }

    fn settle_of(&mut self, at: usize, count: usize) {
        let watcher = &mut self.watchers[at];
        let count = count.min(watcher.unsettled.len());
        for delivery in watcher.unsettled.drain(..count) {
            self.broker.settle(watcher.id, delivery, Outcome::Done);
        }
    }

    /// Everybody takes what came.
    fn look(&mut self) {
        for watcher in &mut self.watchers {
            let prefix = format!("$kv/{}/", BUCKETS[watcher.bucket]);
            for deliver in self.broker.deliveries(watcher.id) {
                let revision = watcher.hear(&deliver, &prefix);
                // Deletions that ran out have one, too, of which nobody else is told.
                self.last_revision = self.last_revision.max(revision);
            }
        }
    }
}

fn set(map: &mut crate::oracle::Map, key: &'static str, cell: Option<crate::oracle::Cell>) {
    match cell {
        Some(cell) => map.insert(key, cell),
        None => map.remove(key),
    };
}

fn revision(reply: &Reply) -> u64 {
    match reply.properties.first() {
        Some(("rev", Label::Number(revision))) => *revision,
        other => panic!("a revision, not {other:?}"),
    }
}

/// Topic, payload and options.
fn spell(bucket: usize, asked: Asked) -> (String, String, Options) {
    let mut options = Options::default();
    match asked.condition {
        Condition::None => {}
        Condition::Known => options.revision = Some(asked.revision),
        Condition::Absent => options.revision = Some(0),
        Condition::CreateOnly => options.create_only = Some(true),
    }
    let (verb, payload) = match asked.action {
        Action::Set { value, seconds } => {
            options.time_to_live = seconds.map(|it| Duration::from_secs(u64::from(it)));
            ("", value.to_owned())
        }
        Action::Delete => ("", String::new()),
        Action::Count(step) if step < 0 => ("/$decr", (-i16::from(step)).to_string()),
        Action::Count(step) => ("/$incr", step.to_string()),
        Action::Touch(seconds) => ("/$expire", seconds.to_string()),
        Action::Get => ("/$get", String::new()),
        Action::History => ("/$history", String::new()),
    };
    let topic = format!("$kv/{}/{}{verb}", BUCKETS[bucket], asked.key);
    (topic, payload, options)
}
