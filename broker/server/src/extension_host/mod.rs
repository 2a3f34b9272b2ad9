//! Extensions at work: a thread for each, with its own way to the store.
//!
//! A turn is: take what shards and the store posted, feed it, carry out what the extension wants,
//! hand each shard one batch, and sleep until there is more or something is due. Nothing here waits
//! for the disk, so a commit gathers whatever comes meanwhile; and no shard ever waits for an
//! extension, so what is published to plain topics costs what it costs without any.
//!
//! Its mailbox is bounded by the shards: each lets so many bytes of commands be unanswered, then
//! holds back whoever publishes more of them.

mod mailbox;
mod writes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nexum_core::{Change, ExtensionConfig, ExtensionId, Input as ShardInput, ShardId, home_of};
use nexum_extension_api::{CommandId, Extension, Input, Output, ReadId, RecordKey, Severity};
use nexum_storage::{ReadError, Reader, Store, StoreThread, TableId};
use nexum_types::Time;

pub(crate) use self::mailbox::{HostLetter, HostMailbox};
use self::writes::{WriteAnswers, Writes};
use crate::clock::Clock;
use crate::guard::guarded;
use crate::post::{Letter, PostOffice};

/// Where processors are short, shards go first: what is plain must not wait for what is not.
const NICENESS: i32 = 5;

/// How long a store that cannot be read is left alone.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// A shard looks at the time between two letters, so they should not be long.
const LETTER_OUTPUTS: usize = 128;

/// How long what is to be stored still is waited for when the broker goes down.
const END: Duration = Duration::from_secs(5);

/// An extension, and where its records are.
pub struct Composed {
    /// The table that has its records; the same for ever, and no other's. The first that is free is
    /// 16.
    pub table: u16,
    /// The extension, with nothing restored.
    pub extension: Box<dyn Extension>,
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composed")
            .field("name", &self.extension.name())
            .field("table", &self.table)
            .finish()
    }
}

impl Composed {
    /// What the shards know of it.
    pub(crate) fn config(&self) -> ExtensionConfig {
        ExtensionConfig {
            table: self.table,
            claims: self.extension.claims(),
        }
    }

    /// Gives it back what it had written.
    pub(crate) fn restore(&mut self, store: &Store, now: Time) -> Result<usize, RestoreError> {
        use std::ops::Bound::Unbounded;
        let name = self.extension.name();
        let error = |what: String| RestoreError { name, what };
        let view = store.view();
        let records = view
            .range(TableId(self.table), (Unbounded, Unbounded))
            .map_err(|it| error(it.to_string()))?;
        let mut count = 0;
        for record in records {
            let (key, value) = record.map_err(|it| error(it.to_string()))?;
            self.extension
                .restore(&key, &value, now)
                .map_err(|it| error(it.to_string()))?;
            count += 1;
        }
        Ok(count)
    }
}

/// An extension could not be given back what it had written.
#[derive(Debug)]
pub struct RestoreError {
    name: &'static str,
    what: String,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the records of '{}' cannot be read: {}",
            self.name, self.what
        )
    }
}

impl std::error::Error for RestoreError {}

/// What a host is made of.
pub(crate) struct HostParts {
    pub(crate) id: ExtensionId,
    pub(crate) composed: Composed,
    pub(crate) mailbox: Arc<HostMailbox>,
    pub(crate) post_office: Arc<PostOffice>,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
}

/// Runs one extension.
pub(crate) struct Host {
    id: ExtensionId,
    extension: Box<dyn Extension>,
    mailbox: Arc<HostMailbox>,
    post_office: Arc<PostOffice>,
    clock: Clock,
    seed: u64,
    table: TableId,
    reader: Reader,
    writes: Writes,
    /// What is to be stored with the writes that fulfil commands.
    companions: BTreeMap<CommandId, Change>,
    /// What gathers for each shard in a turn.
    outboxes: Vec<Vec<Output>>,
    /// Reads that failed, and when they are tried again.
    unread: Vec<(ReadId, Vec<RecordKey>)>,
    read_at: Option<Instant>,
}

impl Host {
    pub(crate) fn new(parts: HostParts, store: &StoreThread) -> Host {
        let HostParts {
            id,
            composed,
            mailbox,
            post_office,
            clock,
            seed,
        } = parts;
        let table = TableId(composed.table);
        let submitter = |kind| {
            let answers = WriteAnswers::new(kind, Arc::clone(&mailbox));
            store.submitter(Arc::new(answers))
        };
        let writes = Writes::new(table, submitter);
        Host {
            id,
            extension: composed.extension,
            table,
            reader: store.reader(),
            writes,
            companions: BTreeMap::new(),
            outboxes: post_office.shards().map(|_| Vec::new()).collect(),
            mailbox,
            post_office,
            clock,
            seed,
            unread: Vec::new(),
            read_at: None,
        }
    }

    /// Until it is told to end, and has nothing that is not stored.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let own = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(own), NICENESS) {
            tracing::debug!("the priority stays as it is: {error}");
        }
        let seed = self.seed;
        self.feed_all(vec![Input::Start { seed }])?;
        self.finish_turn();
        let mut letters = Vec::new();
        let mut end_by: Option<Instant> = None;
        loop {
            if end_by.is_some_and(|by| self.writes.is_idle() || by <= Instant::now()) {
                return Ok(());
            }
            let due = self.due().into_iter().chain(end_by).min();
            self.mailbox.wait(due, &mut letters);
            for letter in letters.drain(..) {
                match letter {
                    HostLetter::Batch(batch) => {
                        self.companions.extend(batch.companions);
                        self.feed_all(batch.inputs)?;
                    }
                    HostLetter::Written(answers) => {
                        let written = self.writes.answered(answers);
                        self.feed_all(written)?;
                    }
                    // Who does not wait any more has no use for it.
                    HostLetter::Report(to) => drop(to.send(self.extension.gauges())),
                    HostLetter::ShutDown => end_by = Some(Instant::now() + END),
                }
            }
            self.look_at_time();
            self.finish_turn();
        }
    }

    /// A panic in an extension ends it: its state may be half changed.
    fn feed_all(&mut self, inputs: Vec<Input>) -> Result<(), String> {
        let now = self.clock.now();
        guarded(|| {
            for input in inputs {
                self.extension.handle(input, now);
                self.drain(now);
            }
        })
    }

    fn drain(&mut self, now: Time) {
        while let Some(output) = self.extension.poll_output() {
            match output {
                Output::Reply { command, .. } => {
                    self.companions.remove(&command);
                    self.put(command.shard, output);
                }
                Output::Commit { receipt, .. } => self.put(receipt.shard, output),
                Output::Grant { feed, .. } | Output::Refuse { feed, .. } => {
                    self.put(feed.shard, output);
                }
                Output::Deliver(ref deliver) => {
                    let shard = deliver.feed.shard;
                    self.put(shard, output);
                }
                Output::Publish(ref publish) => {
                    // What is published to one topic stays in order.
                    let shards = self.post_office.shard_count();
                    let ShardId(shard) = home_of(self.seed, shards, &publish.topic);
                    self.put(shard, output);
                }
                Output::Capture { .. } | Output::Release { .. } => {
                    for shard in 0..self.outboxes.len() as u16 {
                        self.put(shard, output.clone());
                    }
                }
                Output::Write(write) => {
                    let companion = write.fulfils.and_then(|it| self.companions.remove(&it));
                    self.writes.add(write, companion);
                }
                Output::Read { read, keys } => self.read(read, keys, now),
                Output::Event { severity, text } => {
                    let name = self.extension.name();
                    match severity {
                        Severity::Debug => tracing::debug!("{name}: {text}"),
                        Severity::Info => tracing::info!("{name}: {text}"),
                        Severity::Warn => tracing::warn!("{name}: {text}"),
                    }
                }
            }
        }
    }

    fn put(&mut self, shard: u16, output: Output) {
        if let Some(outbox) = self.outboxes.get_mut(usize::from(shard)) {
            outbox.push(output);
        }
    }

    fn read(&mut self, read: ReadId, keys: Vec<RecordKey>, now: Time) {
        match self.values_of(&keys) {
            Ok(values) => self.extension.handle(Input::Read { read, values }, now),
            Err(error) => {
                let name = self.extension.name();
                tracing::warn!("{name}: records cannot be read, it is tried again: {error}");
                self.unread.push((read, keys));
                self.read_at
                    .get_or_insert_with(|| Instant::now() + READ_AGAIN);
            }
        }
    }

    /// A record that is damaged is as one that is not there.
    fn values_of(&self, keys: &[RecordKey]) -> Result<Vec<Option<Box<[u8]>>>, std::io::Error> {
        let view = self.reader.view();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(match view.get(self.table, key) {
                Ok(value) => value.map(|value| Box::from(&*value)),
                Err(ReadError::Io(error)) => return Err(error),
                Err(error) => {
                    tracing::error!("{}: a record is lost: {error}", self.extension.name());
                    None
                }
            });
        }
        Ok(values)
    }

    /// When there is something to do without a letter.
    fn due(&self) -> Option<Instant> {
        let extension = self.extension.poll_timeout().map(|due| {
            let wait = due.since(self.clock.now());
            Instant::now() + wait
        });
        [extension, self.read_at, self.writes.retry_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn look_at_time(&mut self) {
        let now = self.clock.now();
        if self.extension.poll_timeout().is_some_and(|due| due <= now) {
            self.extension.handle_timeout(now);
            self.drain(now);
        }
        if self.read_at.is_some_and(|at| at <= Instant::now()) {
            self.read_at = None;
            for (read, keys) in std::mem::take(&mut self.unread) {
                self.read(read, keys, now);
            }
            self.drain(now);
        }
    }

    /// Hands over what has gathered.
    fn finish_turn(&mut self) {
        self.writes.submit();
        for (shard, outbox) in self.outboxes.iter_mut().enumerate() {
            if outbox.is_empty() {
                continue;
            }
            let mailbox = self.post_office.mailbox(ShardId(shard as u16));
            let mut outputs = std::mem::take(outbox).into_iter();
            while outputs.len() > 0 {
                mailbox.post(Letter::Input(ShardInput::Extension {
                    extension: self.id,
                    outputs: outputs.by_ref().take(LETTER_OUTPUTS).collect(),
                }));
            }
        }
    }
}
