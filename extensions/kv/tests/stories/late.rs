//! A store that takes its time to read, and that has stored what nobody was told of yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{
    Address, Change, Command, CommandId, ConsumerId, DeliveryId, Extension, FeedId, Input, Outcome,
    Output, RecordKey, Refusal, Reply, Subscribe, WriteId, WriteRefusal,
};
use nexum_kv::{BucketOptions, Buckets, Settings};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

const NOW: Time = Time::from_micros(1_800_000_000_000_000);

/// A host whose store stores at once, and says so and reads when it is told to.
struct Host {
    buckets: Buckets,
    records: BTreeMap<RecordKey, Box<[u8]>>,
    reads: VecDeque<Output>,
    unheard: VecDeque<WriteId>,
    replies: BTreeMap<u64, Result<Reply, Refusal>>,
    delivered: Vec<String>,
    commands: u64,
    /// Records of one answer.
    page: usize,
}

impl Host {
    /// With a bucket `b`.
    fn new(backlog: usize) -> Host {
        let settings = Settings {
            declared: vec![("b".to_owned(), BucketOptions::default())],
            backlog,
            ..Settings::default()
        };
        let mut host = Host {
            buckets: Buckets::new(settings),
            records: BTreeMap::new(),
            reads: VecDeque::new(),
            unheard: VecDeque::new(),
            replies: BTreeMap::new(),
            delivered: Vec::new(),
            commands: 0,
            page: 100,
        };
        host.feed(Input::Start { seed: 1 });
        host.hear();
        host
    }

    fn feed(&mut self, input: Input) {
        self.buckets.handle(input, NOW);
        while let Some(output) = self.buckets.poll_output() {
            match output {
                Output::Write(write) => {
                    for change in write.changes {
                        match change {
                            Change::Insert(key, value) | Change::Put(key, value) => {
                                self.records.insert(key, value);
                            }
                            Change::Delete(key) => {
                                self.records.remove(&key);
                            }
                        }
                    }
                    self.unheard.push_back(write.write);
                }
                Output::Read { .. } | Output::Scan(_) => self.reads.push_back(output),
                Output::Reply { command, result } => {
                    self.replies.insert(command.key, result);
                }
                Output::Deliver(deliver) => {
                    let payload = String::from_utf8(deliver.message.payload().to_vec());
                    let retain = if deliver.retain { " retained" } else { "" };
                    let key = deliver.topic.strip_prefix("$kv/b/").expect("a key");
                    let text = format!("{key}={}{retain}", payload.expect("text"));
                    self.delivered.push(text);
                }
                _ => {}
            }
        }
    }

    fn command(&mut self, key: &str, payload: &str) -> u64 {
        let topic = format!("$kv/b/{key}");
        let parts = MessageParts {
            topic: TopicName::new(&topic).expect("a topic"),
            properties: &[],
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: NOW,
            expires_at: None,
        };
        self.commands += 1;
        let key = self.commands;
        self.feed(Input::Command(Command {
            id: CommandId { shard: 0, key },
            address: Address::parse(&topic).expect("an address"),
            message: Arc::new(Message::new(parts)),
            options: None,
            client_id: None,
        }));
        key
    }

    /// Carries all of it through.
    fn set(&mut self, key: &str, payload: &str) {
        self.command(key, payload);
        self.read_all();
        self.hear();
    }

    fn watch(&mut self, credit: u32) {
        let consumer = ConsumerId { shard: 0, key: 1 };
        self.feed(Input::Attach {
            consumer,
            credit,
            client_id: Arc::from("watcher"),
            takes_properties: true,
        });
        self.feed(Input::Subscribe(Subscribe {
            feed: FeedId { shard: 0, key: 1 },
            consumer,
            address: Address::parse("$kv/b/#").expect("an address"),
            maximum_qos: QoS::AtLeastOnce,
            wants_present: true,
            share_name: None,
            options: None,
        }));
    }

    /// The watcher is done with a delivery.
    fn take_one(&mut self) {
        self.feed(Input::Settled {
            consumer: ConsumerId { shard: 0, key: 1 },
            delivery: DeliveryId(0),
            outcome: Outcome::Done,
        });
    }

    /// Reads what it was asked for at this place.
    fn read(&mut self, at: usize) {
        let answer = match self.reads.remove(at).expect("a wish") {
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
                    records: records.by_ref().take(self.page).collect(),
                    next: records.next().map(|(key, _)| key),
                }
            }
            other => panic!("{other:?}"),
        };
        self.feed(answer);
    }

    fn read_all(&mut self) {
        while !self.reads.is_empty() {
            self.read(0);
        }
    }

    /// Says that everything is stored.
    fn hear(&mut self) {
        while let Some(write) = self.unheard.pop_front() {
            let refused = None;
            self.feed(Input::Written { write, refused });
        }
    }
}

#[test]
fn operations_on_a_key_wait_in_their_order_and_others_go_on() {
    let mut host = Host::new(1000);
    let first = host.command("a", "1");
    let second = host.command("a/$incr", "2");
    let get = host.command("a/$get", "");
    let other = host.command("b", "1");
    assert_eq!(host.reads.len(), 2, "one read for each key");
    host.read(1);
    host.hear();
    assert!(host.replies.contains_key(&other));
    assert!(!host.replies.contains_key(&first));
    host.read_all();
    host.hear();
    let answer = |command| host.replies.get(&command).cloned().expect("an answer");
    assert!(answer(first).is_ok());
    assert_eq!(answer(second).expect("done").payload, b"3");
    assert_eq!(answer(get).expect("there").payload, b"3");
}

#[test]
fn what_is_stored_is_told_when_it_is_heard_of_and_once() {
    let mut host = Host::new(1000);
    host.set("a", "1");
    host.set("c", "1");
    host.command("b", "1");
    host.command("c", "2");
    host.read_all();
    host.watch(10);
    host.read_all();
    assert_eq!(host.delivered, ["a=1 retained"]);
    host.hear();
    assert_eq!(host.delivered, ["a=1 retained", "b=1", "c=2"]);
}

#[test]
fn what_changes_while_what_there_is_is_read_is_not_told_twice() {
    let mut host = Host::new(1000);
    host.set("a", "1");
    host.watch(10);
    let scan = host.reads.pop_front().expect("a scan");
    host.set("a", "2");
    host.reads.push_back(scan);
    host.read_all();
    assert_eq!(host.delivered, ["a=2 retained"]);
}

#[test]
fn what_was_read_before_a_feed_began_anew_is_not_for_it() {
    let mut host = Host::new(1);
    host.page = 2;
    for key in ["a", "b", "c"] {
        host.set(key, "1");
    }
    host.watch(2);
    host.read_all();
    host.take_one();
    let scan = host.reads.pop_front().expect("the rest is asked for");
    // There is no credit for more than the first of those.
    for (key, payload) in [("a", "2"), ("a", "3"), ("b", "3")] {
        host.set(key, payload);
    }
    host.reads.push_back(scan);
    host.read_all();
    for _ in 0..5 {
        host.take_one();
        host.read_all();
    }
    let expected = [
        "a=1 retained",
        "b=1 retained",
        "a=2",
        "a=3 retained",
        "b=3 retained",
        "c=1 retained",
    ];
    assert_eq!(host.delivered, expected);
}

#[test]
fn a_feed_that_ends_or_a_bucket_that_goes_while_it_is_read_does_no_harm() {
    let mut host = Host::new(1000);
    host.set("a", "1");
    let get = host.command("a/$get", "");
    let list = host.command("$keys", "");
    let purge = host.command("$ctl/purge", "");
    host.watch(10);
    let deleted = host.command("$ctl/delete", "");
    host.read_all();
    host.hear();
    host.read_all();
    host.hear();
    host.read_all();
    assert!(host.delivered.is_empty());
    for command in [get, purge] {
        assert!(host.replies[&command].is_err(), "it is not there");
    }
    assert!(host.replies[&list].is_ok());
    assert!(host.replies[&deleted].is_ok());
    // The mark.
    assert_eq!(host.records.len(), 1);
}

#[test]
fn all_that_was_written_before_a_refusal_was_heard_is_judged_anew() {
    let mut host = Host::new(1000);
    host.set("n", "1");
    let before = host.records.clone();
    let steps = [host.command("n/$incr", ""), host.command("n/$incr", "")];
    host.read_all();
    host.records = before;
    let refuse = |host: &mut Host| {
        let write = host.unheard.pop_front().expect("a write");
        let refused = Some(WriteRefusal {
            reason: "full".into(),
        });
        host.feed(Input::Written { write, refused });
    };
    refuse(&mut host);
    // It is behind a write that will be refused, and what is stored counts again.
    let get = host.command("n/$get", "");
    host.read_all();
    assert_eq!(host.replies[&get].as_ref().expect("there").payload, b"1");
    refuse(&mut host);
    let again = host.command("n/$incr", "");
    host.read_all();
    host.hear();
    assert_eq!(host.replies[&again].as_ref().expect("done").payload, b"2");
    assert!(steps.iter().all(|step| host.replies[step].is_err()));
}
