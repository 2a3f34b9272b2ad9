//! A store that takes its time to read: the queue goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexum_extension_api::{
    Address, Command, CommandId, ConsumerId, Extension, FeedId, Input, Options, Output, ReadId,
    RecordKey, Subscribe,
};
use nexum_queue::{QueueOptions, Queues, Settings};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

const NOW: Time = Time::from_micros(1_800_000_000_000_000);

/// A host whose store writes at once and reads when it is told to.
struct Host {
    queues: Queues,
    records: BTreeMap<RecordKey, Box<[u8]>>,
    reads: Vec<(ReadId, Vec<RecordKey>)>,
    delivered: Vec<String>,
    commands: u64,
    now: Time,
}

impl Host {
    fn new(options: &str) -> Host {
        let options = QueueOptions::default().with_json(options.as_bytes());
        let queues = Queues::new(Settings {
            declared: vec![("jobs".to_owned(), options.expect("options"))],
            memory_bytes: 0,
            ..Settings::default()
        });
        let mut host = Host {
            queues,
            records: BTreeMap::new(),
            reads: Vec::new(),
            delivered: Vec::new(),
            commands: 0,
            now: NOW,
        };
        host.feed(Input::Start { seed: 1 });
        host
    }

    fn feed(&mut self, input: Input) {
        self.queues.handle(input, self.now);
        while let Some(output) = self.queues.poll_output() {
            match output {
                Output::Write(write) => {
                    for change in write.changes {
                        if let nexum_extension_api::Change::Insert(key, value) = change {
                            self.records.insert(key, value);
                        }
                    }
                    let write = write.write;
                    let refused = None;
                    self.queues
                        .handle(Input::Written { write, refused }, self.now);
                }
                Output::Read { read, keys } => self.reads.push((read, keys)),
                Output::Deliver(deliver) => {
                    let text = String::from_utf8(deliver.message.payload().to_vec());
                    self.delivered.push(text.expect("text"));
                }
                _ => {}
            }
        }
    }

    fn command(&mut self, topic: &str, payload: &str, options: Options) {
        self.commands += 1;
        let parts = MessageParts {
            topic: TopicName::new(topic).expect("a topic"),
            properties: &[],
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: NOW,
            expires_at: None,
        };
        let key = self.commands;
        self.feed(Input::Command(Command {
            id: CommandId { shard: 0, key },
            address: Address::parse(topic).expect("an address"),
            message: Arc::new(Message::new(parts)),
            options: Some(Box::new(options)),
            client_id: None,
        }));
    }

    fn push(&mut self, payload: &str, priority: u8) {
        let options = Options {
            priority: Some(priority),
            ..Options::default()
        };
        self.command("$queue/jobs", payload, options);
    }

    fn consume(&mut self, credit: u32) {
        let consumer = ConsumerId { shard: 0, key: 1 };
        self.feed(Input::Attach {
            consumer,
            credit,
            client_id: Arc::from("worker"),
            takes_properties: true,
        });
        self.feed(Input::Subscribe(Subscribe {
            feed: FeedId { shard: 0, key: 1 },
            consumer,
            address: Address::parse("$queue/jobs").expect("an address"),
            maximum_qos: QoS::AtLeastOnce,
            wants_present: true,
            share_name: None,
            options: None,
        }));
    }

    /// The store reads what it was asked for first; or finds nothing.
    fn read(&mut self, is_found: bool) {
        let (read, keys) = self.reads.remove(0);
        let values = keys.iter().map(|key| self.records.get(key).cloned());
        let values = values.map(|value| value.filter(|_| is_found)).collect();
        self.feed(Input::Read { read, values });
    }
}

#[test]
fn what_is_purged_while_it_is_read_is_not_delivered() {
    let mut host = Host::new("");
    host.push("a", 0);
    host.consume(10);
    assert_eq!(host.reads.len(), 1);
    host.command("$queue/jobs/$ctl/purge", "", Options::default());
    host.read(true);
    assert!(host.delivered.is_empty());
    host.push("b", 0);
    assert_eq!(host.delivered, ["b"]);
}

#[test]
fn what_is_more_urgent_overtakes_what_is_read() {
    let mut host = Host::new(r#"{"order": "prio"}"#);
    host.push("a", 0);
    host.consume(1);
    host.push("b", 9);
    while !host.reads.is_empty() {
        host.read(true);
    }
    assert_eq!(host.delivered, ["b"]);
}

#[test]
fn what_is_read_for_a_queue_that_is_deleted_goes_nowhere() {
    let mut host = Host::new("");
    host.push("a", 0);
    host.consume(10);
    host.command("$queue/jobs/$ctl/delete", "", Options::default());
    host.command("$queue/jobs/$ctl/create", "", Options::default());
    host.read(true);
    assert!(host.delivered.is_empty());
}

#[test]
fn what_is_not_found_does_not_stop_what_is_behind_it() {
    let mut host = Host::new("");
    host.push("a", 0);
    host.consume(10);
    host.read(false);
    host.push("b", 0);
    assert_eq!(host.delivered, ["b"]);
}

#[test]
fn nothing_is_read_twice_at_a_time() {
    let mut host = Host::new("");
    for _ in 0..300 {
        host.push("a", 0);
    }
    host.consume(300);
    assert_eq!(host.reads.len(), 1);
    host.push("b", 0);
    assert_eq!(host.reads.len(), 1);
    while !host.reads.is_empty() {
        host.read(true);
    }
    assert_eq!(host.delivered.len(), 300, "as many as there is credit");
}

#[test]
fn what_has_expired_is_not_delivered_though_nobody_said_that_it_was_time() {
    let mut host = Host::new("");
    let options = Options {
        time_to_live: Some(std::time::Duration::from_secs(1)),
        ..Options::default()
    };
    host.command("$queue/jobs", "a", options);
    host.push("b", 0);
    host.now = NOW + std::time::Duration::from_secs(2);
    host.consume(10);
    while !host.reads.is_empty() {
        host.read(true);
    }
    assert_eq!(host.delivered, ["b"]);
}
