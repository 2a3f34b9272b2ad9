//! All buckets: the state, and what is fed to whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{
    Change, Changes, Claim, Command, CommandId, ConsumerId, Extension, FeedId, Gauge, Input,
    Output, ReadId, RecordKey, Refusal, Reply, Scan, Severity, Unreadable, WhenRefused, Write,
    WriteId,
};
use nexum_types::Time;

use crate::bucket::Bucket;
use crate::create::Forming;
use crate::expiry::Sweeps;
use crate::feed::{Consumer, Feed};
use crate::history::Shown;
use crate::line::{LineKey, Lines};
use crate::list::Listing;
use crate::operation::Shelf;
use crate::purge::Purge;
use crate::record::{Key, encode_mark};
use crate::rest::Resting;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::write::PendingChange;

/// Buckets of keys and values: see the [crate].
pub struct Buckets {
    pub(crate) settings: Settings,
    pub(crate) buckets: BTreeMap<u64, Bucket>,
    pub(crate) names: BTreeMap<Arc<str>, u64>,
    /// Buckets that are not stored yet, by name.
    pub(crate) forming: BTreeMap<Arc<str>, Forming>,
    /// Buckets that are gone, with as many writes that were not heard of.
    pub(crate) leaving: BTreeMap<u64, (usize, Shelf)>,
    pub(crate) lines: Lines,
    pub(crate) consumers: BTreeMap<ConsumerId, Consumer>,
    pub(crate) feeds: BTreeMap<FeedId, Feed>,
    pub(crate) purges: BTreeMap<u64, Purge>,
    pub(crate) sweeps: Sweeps,
    pub(crate) resting: Resting,
    pub(crate) pending: BTreeMap<u64, Pending>,
    /// It is another one after each refusal.
    pub(crate) era: u64,
    pub(crate) sequence: Sequence,
    /// Found at the start without their bucket.
    pub(crate) orphans: BTreeSet<u64>,
    pub(crate) next_delivery: u64,
    /// What is not in the store.
    memory: BTreeMap<RecordKey, Box<[u8]>>,
    reads: BTreeMap<u64, Reading>,
    /// What memory has answered.
    answers: VecDeque<Answer>,
    next_name: u64,
    outputs: VecDeque<Output>,
}

/// What a write is for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A key becomes something else.
    Change(Box<PendingChange>),
    /// A bucket of this name.
    Create(Arc<str>),
    /// What a command asked for is done, and this is what it is told.
    Reply(CommandId, Reply),
    /// A part of a bucket that is gone was removed.
    Wipe(u64, Shelf),
}

/// What is read for what.
#[derive(Debug)]
pub(crate) enum Reading {
    /// What a key is.
    Line(LineKey),
    /// What it was.
    History(CommandId, Box<Shown>),
    /// What a feed is to begin with.
    Page(FeedId, u64),
    /// What runs out.
    Sweep(Shelf),
    Purge(u64),
    Wipe(u64, Shelf),
    List(Box<Listing>),
}

/// From the store or from memory.
#[derive(Debug)]
enum Answer {
    Values(u64, Vec<Option<Box<[u8]>>>),
    Records(u64, Records),
    Written(u64),
}

/// A part of the table.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) records: Vec<(RecordKey, Box<[u8]>)>,
    pub(crate) next: Option<RecordKey>,
}

/// A wish for records.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) from: RecordKey,
    pub(crate) to: RecordKey,
    pub(crate) records: usize,
}

/// What is scanned at once has about so many bytes.
const SCANNED_BYTES: usize = 256 << 10;

const CLAIMS: [Claim; 1] = [Claim {
    word: "$kv",
    aliases: &[],
    delays: false,
}];

impl Buckets {
    /// No bucket yet: those of the settings come at the start.
    #[must_use]
    pub fn new(settings: Settings) -> Buckets {
        Buckets {
            settings,
            buckets: BTreeMap::new(),
            names: BTreeMap::new(),
            forming: BTreeMap::new(),
            leaving: BTreeMap::new(),
            lines: Lines::default(),
            consumers: BTreeMap::new(),
            feeds: BTreeMap::new(),
            purges: BTreeMap::new(),
            sweeps: Sweeps::default(),
            resting: Resting::default(),
            pending: BTreeMap::new(),
            era: 0,
            sequence: Sequence::new(),
            orphans: BTreeSet::new(),
            next_delivery: 0,
            memory: BTreeMap::new(),
            reads: BTreeMap::new(),
            answers: VecDeque::new(),
            next_name: 0,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn put_out(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, severity: Severity, text: impl Into<String>) {
        self.put_out(Output::event(severity, text));
    }

    pub(crate) fn refuse(&mut self, command: CommandId, refusal: Refusal) {
        self.put_out(Output::refuse(command, refusal));
    }

    pub(crate) fn reply(&mut self, command: CommandId, reply: Reply) {
        let result = Ok(reply);
        self.put_out(Output::Reply { command, result });
    }

    /// For writes, reads and purges.
    pub(crate) fn next_name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    /// Reads values; `reading` says what becomes of them.
    pub(crate) fn read(&mut self, shelf: Shelf, keys: Vec<RecordKey>, reading: Reading) {
        let name = self.next_name();
        self.reads.insert(name, reading);
        match shelf {
            Shelf::Store => {
                let read = ReadId(name);
                self.put_out(Output::Read { read, keys });
            }
            Shelf::Memory => {
                let values = keys.iter().map(|key| self.memory.get(key).cloned());
                self.answers
                    .push_back(Answer::Values(name, values.collect()));
            }
        }
    }

    /// Reads records in their order.
    pub(crate) fn scan(&mut self, shelf: Shelf, span: Span, reading: Reading) {
        let name = self.next_name();
        self.reads.insert(name, reading);
        match shelf {
            Shelf::Store => self.put_out(Output::Scan(Scan {
                read: ReadId(name),
                from: span.from,
                to: span.to,
                records: span.records,
                bytes: SCANNED_BYTES,
            })),
            Shelf::Memory => {
                let records = self.scan_memory(&span);
                self.answers.push_back(Answer::Records(name, records));
            }
        }
    }

    fn scan_memory(&self, span: &Span) -> Records {
        let (mut records, mut next, mut bytes) = (Vec::new(), None, 0);
        for (key, value) in self.memory.range(span.from.clone()..) {
            if *key >= span.to {
                break;
            }
            if records.len() == span.records || bytes > SCANNED_BYTES {
                next = Some(key.clone());
                break;
            }
            bytes += key.len() + value.len();
            records.push((key.clone(), value.clone()));
        }
        Records { records, next }
    }

    /// Asks for what may be refused. What is in memory is changed when the mark, if there is one,
    /// is stored: at once if there is none.
    pub(crate) fn ask(
        &mut self,
        shelf: Shelf,
        mut changes: Changes,
        mark: Option<u64>,
        mut pending: PendingChange,
    ) -> u64 {
        let name = self.next_name();
        if shelf == Shelf::Memory {
            pending.in_memory = std::mem::take(&mut changes);
        }
        changes.extend(mark.map(|mark| Change::Put(Key::Mark.encode(), encode_mark(mark))));
        let fulfils = pending.command();
        self.pending
            .insert(name, Pending::Change(Box::new(pending)));
        if changes.is_empty() {
            self.answers.push_back(Answer::Written(name));
        } else {
            self.write(name, changes, WhenRefused::Tell, fulfils);
        }
        name
    }

    /// Asks for the record of a bucket.
    pub(crate) fn ask_for_bucket(
        &mut self,
        changes: Changes,
        name: Arc<str>,
        fulfils: Option<CommandId>,
    ) {
        let write = self.next_name();
        self.pending.insert(write, Pending::Create(name));
        self.write(write, changes, WhenRefused::Tell, fulfils);
    }

    /// Has stored what has happened already.
    pub(crate) fn note(&mut self, changes: Changes, pending: Option<Pending>) {
        let name = self.next_name();
        let fulfils = match &pending {
            Some(Pending::Reply(command, _)) => Some(*command),
            Some(Pending::Change(_) | Pending::Create(_) | Pending::Wipe(..)) | None => None,
        };
        if let Some(pending) = pending {
            self.pending.insert(name, pending);
        }
        self.write(name, changes, WhenRefused::Retry, fulfils);
    }

    /// The same of what may be in memory alone.
    pub(crate) fn note_on(&mut self, shelf: Shelf, changes: Changes, pending: Option<Pending>) {
        match shelf {
            Shelf::Store => self.note(changes, pending),
            Shelf::Memory => {
                self.change_memory(changes);
                if let Some(pending) = pending {
                    let name = self.next_name();
                    self.pending.insert(name, pending);
                    self.answers.push_back(Answer::Written(name));
                }
            }
        }
    }

    fn write(
        &mut self,
        name: u64,
        changes: Changes,
        when_refused: WhenRefused,
        fulfils: Option<CommandId>,
    ) {
        self.put_out(Output::Write(Write {
            write: WriteId(name),
            changes,
            when_refused,
            fulfils,
        }));
    }

    pub(crate) fn change_memory(&mut self, changes: Changes) {
        for change in changes {
            match change {
                Change::Insert(key, value) | Change::Put(key, value) => {
                    self.memory.insert(key, value);
                }
                Change::Delete(key) => {
                    self.memory.remove(&key);
                }
            }
        }
    }

    fn written(&mut self, write: u64, refused: Option<String>, now: Time) {
        match self.pending.remove(&write) {
            Some(Pending::Change(change)) => self.heard(*change, refused, now),
            Some(Pending::Create(name)) => self.created(&name, refused, now),
            Some(Pending::Reply(command, reply)) => self.reply(command, reply),
            Some(Pending::Wipe(bucket, shelf)) => self.wiped(bucket, shelf, now),
            // Nobody waits for it.
            None => {}
        }
    }

    fn was_read(&mut self, read: u64, values: Vec<Option<Box<[u8]>>>, now: Time) {
        match self.reads.remove(&read) {
            Some(Reading::Line(line)) => {
                let value = values.into_iter().next().flatten();
                self.line_read(&line, value.as_deref(), now);
            }
            Some(Reading::History(command, shown)) => self.history_read(command, *shown, &values),
            // It was a scan.
            Some(
                Reading::Page(..)
                | Reading::Sweep(_)
                | Reading::Purge(_)
                | Reading::Wipe(..)
                | Reading::List(_),
            )
            | None => {}
        }
    }

    fn was_scanned(&mut self, read: u64, records: Records, now: Time) {
        match self.reads.remove(&read) {
            Some(Reading::Page(feed, beginning)) => {
                self.page_read(feed, beginning, records, now);
            }
            Some(Reading::Sweep(shelf)) => self.due_found(shelf, &records, now),
            Some(Reading::Purge(purge)) => self.purge_found(purge, records, now),
            Some(Reading::Wipe(bucket, shelf)) => self.wipe_found(bucket, shelf, &records),
            Some(Reading::List(listing)) => self.list_found(*listing, records, now),
            // They were values.
            Some(Reading::Line(_) | Reading::History(..)) | None => {}
        }
    }

    /// What memory has answered meanwhile.
    fn hear_memory(&mut self, now: Time) {
        while let Some(answer) = self.answers.pop_front() {
            match answer {
                Answer::Values(read, values) => self.was_read(read, values, now),
                Answer::Records(read, records) => self.was_scanned(read, records, now),
                Answer::Written(write) => self.written(write, None, now),
            }
        }
    }

    fn command(&mut self, command: Command, now: Time) {
        let id = command.id;
        let result = match command.address.verb() {
            Some("$ctl") => self.control(command, now),
            Some("$keys") => self.list(command),
            Some(_) | None => self.operation(command, now),
        };
        if let Err(refusal) = result {
            self.refuse(id, refusal);
        }
    }
}

impl Extension for Buckets {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn claims(&self) -> &'static [Claim] {
        &CLAIMS
    }

    fn restore(&mut self, key: &[u8], value: &[u8], _now: Time) -> Result<(), Unreadable> {
        self.restore_record(key, value)
    }

    fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Start { .. } => self.start(),
            Input::Command(command) => {
                self.resting.begin_turn();
                self.command(command, now);
            }
            Input::Attach {
                consumer,
                credit,
                takes_properties,
                ..
            } => self.attach(consumer, credit, takes_properties, now),
            Input::Subscribe(subscribe) => {
                self.resting.begin_turn();
                self.subscribe(subscribe, now);
            }
            Input::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe.feed),
            Input::Detach { consumer, .. } => self.detach(consumer),
            Input::Settled { consumer, .. } => {
                self.resting.begin_turn();
                self.settled(consumer, now);
            }
            Input::Written { write, refused } => {
                self.resting.begin_turn();
                let refused = refused.map(|refused| refused.reason.into_owned());
                self.written(write.0, refused, now);
            }
            Input::Read { read, values } => self.was_read(read.0, values, now),
            Input::Scanned {
                read,
                records,
                next,
            } => self.was_scanned(read.0, Records { records, next }, now),
            // It captures and publishes nothing.
            Input::Captured(_) | Input::Published { .. } => {}
        }
        self.hear_memory(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.sweeps
            .next_due()
            .into_iter()
            .chain(self.resting.until())
            .min()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.resting.begin_turn();
        self.wake(now);
        self.sweep(now);
        self.hear_memory(now);
    }

    fn gauges(&self) -> Vec<Gauge> {
        self.all_gauges()
    }
}
