//! A host that answers when a test says so. The driver answers publications at once and never
//! refuses one; this one does neither.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_delay::{Delay, Settings};
use nexum_extension_api::{
    Address, Change, Changes, Command, CommandId, Extension, Input, Options, Output, Publish,
    ReadId, RecordKey, Refusal, Reply, Severity, WhenRefused, Write, WriteRefusal,
};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

pub(crate) struct Bench {
    settings: Settings,
    pub(crate) delay: Delay,
    pub(crate) now: Time,
    pub(crate) records: BTreeMap<RecordKey, Box<[u8]>>,
    /// Writes are stored as they come; otherwise when a test says so.
    pub(crate) is_quick: bool,
    /// Reads are answered as they come.
    pub(crate) reads_at_once: bool,
    pub(crate) telling: VecDeque<Write>,
    pub(crate) lasting: VecDeque<Write>,
    pub(crate) reads: VecDeque<(ReadId, Vec<RecordKey>)>,
    /// Publications without an answer.
    pub(crate) publications: VecDeque<Publish>,
    replies: BTreeMap<CommandId, Option<Result<Reply, Refusal>>>,
    pub(crate) events: Vec<(Severity, String)>,
    last_command: u64,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Bench {
        let mut bench = Bench {
            settings,
            delay: Delay::new(settings),
            now: Time::from_micros(1_800_000_000_000_000),
            records: BTreeMap::new(),
            is_quick: true,
            reads_at_once: true,
            telling: VecDeque::new(),
            lasting: VecDeque::new(),
            reads: VecDeque::new(),
            publications: VecDeque::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            last_command: 0,
        };
        bench.feed(Input::Start { seed: 0 });
        bench
    }

    pub(crate) fn feed(&mut self, input: Input) {
        self.delay.handle(input, self.now);
        self.drain();
    }

    pub(crate) fn publish(&mut self, target: &str, payload: &[u8], options: Options) -> CommandId {
        self.command(&format!("$delayed/at/{target}"), payload, Some(options))
    }

    pub(crate) fn cancel(&mut self, id: &str) -> CommandId {
        self.command(&format!("$delayed/_/$cancel/{id}"), b"", None)
    }

    pub(crate) fn command(
        &mut self,
        address: &str,
        payload: &[u8],
        options: Option<Options>,
    ) -> CommandId {
        let message = Message::new(MessageParts {
            topic: TopicName::new(address).expect("a topic name"),
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at: self.now,
            expires_at: None,
        });
        self.send(address, message, options)
    }

    pub(crate) fn send(
        &mut self,
        address: &str,
        message: Message,
        options: Option<Options>,
    ) -> CommandId {
        self.last_command += 1;
        let id = CommandId {
            shard: 0,
            key: self.last_command,
        };
        self.replies.insert(id, None);
        self.feed(Input::Command(Command {
            id,
            address: Address::parse(address).expect("an address"),
            message: Arc::new(message),
            options: options.map(Box::new),
            client_id: None,
        }));
        id
    }

    pub(crate) fn reply(&self, command: CommandId) -> Option<&Result<Reply, Refusal>> {
        self.replies.get(&command)?.as_ref()
    }

    /// How many commands have no reply.
    pub(crate) fn unanswered(&self) -> usize {
        self.replies.values().filter(|it| it.is_none()).count()
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.delay.poll_timeout()
            && due <= until
        {
            self.now = self.now.max(due);
            self.delay.handle_timeout(self.now);
            self.drain();
            let next = self.delay.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it is busy");
        }
        self.now = until;
    }

    /// The first write that waits is stored, if there is one.
    pub(crate) fn store_next(&mut self, when_refused: WhenRefused) -> bool {
        let line = match when_refused {
            WhenRefused::Tell => &mut self.telling,
            WhenRefused::Retry => &mut self.lasting,
        };
        let Some(Write { write, changes, .. }) = line.pop_front() else {
            return false;
        };
        self.apply(changes);
        let refused = None;
        self.feed(Input::Written { write, refused });
        true
    }

    /// The first write that may be refused is.
    pub(crate) fn refuse_next(&mut self) -> bool {
        let Some(Write { write, .. }) = self.telling.pop_front() else {
            return false;
        };
        let refused = Some(WriteRefusal {
            reason: "full".into(),
        });
        self.feed(Input::Written { write, refused });
        true
    }

    pub(crate) fn store_all(&mut self) {
        while self.store_next(WhenRefused::Tell) || self.store_next(WhenRefused::Retry) {}
    }

    pub(crate) fn answer_next_read(&mut self) -> bool {
        let Some((read, keys)) = self.reads.pop_front() else {
            return false;
        };
        let values = keys.iter().map(|key| self.records.get(key).cloned());
        let values = values.collect();
        self.feed(Input::Read { read, values });
        true
    }

    /// Everybody has the first publication without an answer.
    pub(crate) fn accept_next(&mut self) -> Option<Publish> {
        self.answer_next(None)
    }

    pub(crate) fn answer_next(&mut self, refused: Option<Refusal>) -> Option<Publish> {
        let publish = self.publications.pop_front()?;
        if refused.is_none() {
            self.apply(publish.changes.clone());
        }
        self.feed(Input::Published {
            publication: publish.publication,
            refused,
        });
        Some(publish)
    }

    /// The process dies and starts again: what has no answer is lost.
    pub(crate) fn restart(&mut self) {
        self.delay = Delay::new(self.settings);
        self.telling.clear();
        self.lasting.clear();
        self.reads.clear();
        self.publications.clear();
        self.replies.clear();
        for (key, value) in &self.records {
            let restored = self.delay.restore(key, value, self.now);
            restored.expect("its own record");
        }
        self.feed(Input::Start { seed: 1 });
    }

    /// Messages that are stored.
    pub(crate) fn stored(&self) -> usize {
        self.records.keys().filter(|key| key.len() == 8).count()
    }

    pub(crate) fn apply(&mut self, changes: Changes) {
        for change in changes {
            match change {
                Change::Insert(key, value) => {
                    let known = self.records.insert(key, value);
                    assert_eq!(known, None, "a key is written once");
                }
                Change::Delete(key) => {
                    self.records.remove(&key);
                }
                Change::Put(..) => panic!("it alters nothing"),
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.delay.poll_output() {
            match output {
                Output::Reply { command, result } => {
                    let reply = self.replies.get_mut(&command).expect("a command");
                    assert!(reply.is_none(), "a command has one reply");
                    *reply = Some(result);
                }
                Output::Publish(publish) => self.publications.push_back(publish),
                Output::Write(write) => match write.when_refused {
                    WhenRefused::Tell => self.telling.push_back(write),
                    WhenRefused::Retry => self.lasting.push_back(write),
                },
                Output::Read { read, keys } => self.reads.push_back((read, keys)),
                Output::Event { severity, text } => self.events.push((severity, text)),
                Output::Refuse { .. } => {}
                other => panic!("it has no reason for {other:?}"),
            }
        }
        if self.is_quick {
            self.store_all();
        }
        if self.reads_at_once {
            while self.answer_next_read() {}
        }
    }
}
