//! `$delayed`: a message published later, durably, to whatever does not keep delayed messages
//! itself.
//!
//! ```text
//! $delayed/at/<target>     with the options delay and perhaps id: acknowledged when it is stored
//! $delayed/_/$cancel/<id>  acknowledged when it will never be published any more
//! ```
//!
//! A message is stored whole, and in memory there is only when it is due, how large it is, and its
//! `id` if it has one: 56 bytes, and some 130 more for an `id`. What is due is read back in the order
//! in which it is due, then in that of its arrival, and published; the host deletes it together with
//! what subscribers keep of it, so that a crash does not publish it twice. A target that takes
//! nothing for now is tried again, later and later, and what is due after it does not wait for that;
//! a message whose target is gone is deleted, and the log says so.
//!
//! Of each message there is one place where it is, in turn: `storing` (with a [`Write`] without an
//! answer), `schedule` (stored, waiting, perhaps being read), `publishing` (with a publication
//! without an answer), and from each of them it may come to be in `deleting`. `ids` says of an `id`
//! which of them.
//!
//! ```
//! use std::time::Duration;
//!
//! use nexum_delay::{Delay, Settings};
//! use nexum_extension_api::{Options, driver::Driver};
//!
//! let mut driver = Driver::new(|| Delay::new(Settings::default()));
//! let options = Options {
//!     delay: Some(Duration::from_secs(60)),
//!     ..Options::default()
//! };
//! driver.publish_with("$delayed/at/t/x", b"later", options).expect("it is stored");
//! driver.wait(Duration::from_secs(59));
//! assert!(driver.published().is_empty());
//! driver.wait(Duration::from_secs(1));
//! assert_eq!(&*driver.published()[0].topic, "t/x");
//! ```

#![forbid(unsafe_code)]

mod command;
mod numbers;
mod publication;
mod record;
mod target;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{
    Change, Changes, Claim, Command, CommandId, ErrorCode, Extension, Gauge, Input, Output,
    PublicationId, ReadId, Refusal, Unreadable, WhenRefused, Write, WriteId,
};
use nexum_types::Time;

use self::numbers::Numbers;
use self::publication::Publishing;
use self::record::{Key, Record};

/// How much is kept at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Messages.
    pub maximum_messages: usize,
    /// Bytes that they take in the store.
    pub maximum_bytes: u64,
}

impl Default for Settings {
    /// A million messages, and 1 GiB.
    fn default() -> Settings {
        Settings {
            maximum_messages: 1_000_000,
            maximum_bytes: 1 << 30,
        }
    }
}

/// See the [crate](self).
#[derive(Debug)]
pub struct Delay {
    settings: Settings,
    numbers: Numbers,
    totals: Totals,
    /// Where a message with an `id` is: the newest, should an older one be on its way out.
    ids: BTreeMap<Arc<str>, Place>,
    /// Commands that came while no number was reserved, with the time of their arrival; as many as
    /// the host lets be unanswered.
    unnumbered: VecDeque<(Command, Time)>,
    storing: BTreeMap<WriteId, Storing>,
    /// In the order in which they are published: by when they are due, or tried again, and number.
    schedule: BTreeMap<(Time, u64), Entry>,
    /// The first ones of the schedule, whose values were asked for.
    reading: Option<(ReadId, Vec<(Time, u64)>)>,
    publishing: BTreeMap<PublicationId, Publishing>,
    publishing_bytes: u64,
    deleting: BTreeMap<WriteId, Deleting>,
    /// To be deleted at the start.
    superseded: Vec<u64>,
    outputs: VecDeque<Output>,
    /// One for writes, reads and publications.
    last_name: u64,
}

/// What is kept, wherever it is, until it is published or its deletion is asked for.
#[derive(Debug, Default)]
struct Totals {
    messages: usize,
    bytes: u64,
    /// Those whose targets took nothing yet.
    retried: usize,
}

/// What is in memory of a message.
#[derive(Debug)]
struct Entry {
    id: Option<Arc<str>>,
    /// What its value takes.
    bytes: u32,
    /// How often its target took nothing.
    attempts: u8,
}

/// Where a message with an `id` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Storing(WriteId),
    Scheduled(Time, u64),
    Publishing,
    Deleting(WriteId),
}

/// A message that is being stored.
#[derive(Debug)]
struct Storing {
    command: CommandId,
    number: u64,
    due: Time,
    entry: Entry,
    /// Who published another one with its `id`, and shares its fate.
    duplicates: Vec<CommandId>,
    /// Who wants it not to be published.
    cancels: Vec<CommandId>,
}

/// A message that will not be published, as soon as that is stored.
#[derive(Debug)]
struct Deleting {
    id: Option<Arc<str>>,
    cancels: Vec<CommandId>,
}

impl Delay {
    /// With nothing to publish.
    #[must_use]
    pub fn new(settings: Settings) -> Delay {
        Delay {
            settings,
            numbers: Numbers::default(),
            totals: Totals::default(),
            ids: BTreeMap::new(),
            unnumbered: VecDeque::new(),
            storing: BTreeMap::new(),
            schedule: BTreeMap::new(),
            reading: None,
            publishing: BTreeMap::new(),
            publishing_bytes: 0,
            deleting: BTreeMap::new(),
            superseded: Vec::new(),
            outputs: VecDeque::new(),
            last_name: 0,
        }
    }

    fn start(&mut self) {
        self.reserve_numbers();
        let superseded = std::mem::take(&mut self.superseded);
        self.write_lasting(superseded.into_iter().map(Key::Message));
    }

    /// Two records with one `id`: the newer was taken when the older was about to be deleted, or it
    /// would have been a duplicate.
    fn restore_id(&mut self, id: Arc<str>, due: Time, number: u64) {
        let older = self.ids.insert(id, Place::Scheduled(due, number));
        if let Some(Place::Scheduled(due, number)) = older
            && let Some(entry) = self.schedule.remove(&(due, number))
        {
            self.totals.remove(&entry);
            self.superseded.push(number);
        }
    }

    /// Waits until it is due, or is tried again.
    fn schedule(&mut self, at: Time, number: u64, entry: Entry) {
        if let Some(id) = &entry.id {
            self.ids
                .insert(Arc::clone(id), Place::Scheduled(at, number));
        }
        self.schedule.insert((at, number), entry);
    }

    /// Deletes a message, and then tells whoever wanted that.
    fn delete(&mut self, number: u64, entry: Entry, cancels: Vec<CommandId>) -> WriteId {
        self.totals.remove(&entry);
        let write = self.write_lasting([Key::Message(number)]);
        let id = entry.id;
        self.deleting.insert(write, Deleting { id, cancels });
        write
    }

    /// Deletes for good: it is tried until it is stored.
    fn write_lasting(&mut self, keys: impl IntoIterator<Item = Key>) -> WriteId {
        let write = WriteId(self.next_name());
        let changes: Changes = keys
            .into_iter()
            .map(|key| Change::Delete(key.encode()))
            .collect();
        if !changes.is_empty() {
            self.outputs.push_back(Output::Write(Write {
                write,
                changes,
                when_refused: WhenRefused::Retry,
                fulfils: None,
            }));
        }
        write
    }

    fn next_name(&mut self) -> u64 {
        self.last_name += 1;
        self.last_name
    }
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.messages += 1;
        self.bytes += u64::from(entry.bytes);
    }

    fn remove(&mut self, entry: &Entry) {
        self.messages -= 1;
        self.bytes -= u64::from(entry.bytes);
        self.retried -= usize::from(entry.attempts > 0);
    }
}

impl Entry {
    fn new(id: Option<Arc<str>>, value: &[u8]) -> Entry {
        Entry {
            id,
            // What is larger is no message of MQTT.
            bytes: u32::try_from(value.len()).unwrap_or(u32::MAX),
            attempts: 0,
        }
    }
}

impl Extension for Delay {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn claims(&self) -> &'static [Claim] {
        &[Claim {
            word: "$delayed",
            aliases: &[],
            delays: false,
        }]
    }

    fn restore(&mut self, key: &[u8], value: &[u8], _now: Time) -> Result<(), Unreadable> {
        let number = match Key::decode(key)? {
            Key::Mark(end) => {
                record::check_mark(value)?;
                return self.numbers.restore_mark(end);
            }
            Key::Message(number) => number,
        };
        let Record { due, id, .. } = Record::decode(value)?;
        self.numbers.restore_number(number)?;
        let id: Option<Arc<str>> = id.map(Arc::from);
        if let Some(id) = &id {
            self.restore_id(Arc::clone(id), due, number);
        }
        let entry = Entry::new(id, value);
        self.totals.add(&entry);
        self.schedule.insert((due, number), entry);
        Ok(())
    }

    fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Start { .. } => self.start(),
            Input::Command(command) => self.on_command(command, now),
            Input::Written { write, refused } => self.on_written(write, refused),
            Input::Read { read, values } => self.on_read(read, &values, now),
            Input::Published {
                publication,
                refused,
            } => self.on_published(publication, refused, now),
            Input::Subscribe(subscribe) => {
                let reason = "$delayed has nothing to subscribe to: what is published later comes \
                              on its own topic";
                self.outputs.push_back(Output::Refuse {
                    feed: subscribe.feed,
                    refusal: Refusal::new(ErrorCode::BadAddress, reason),
                });
            }
            // It captures and scans nothing and grants no feed.
            Input::Captured(_)
            | Input::Scanned { .. }
            | Input::Attach { .. }
            | Input::Unsubscribe(_)
            | Input::Detach { .. }
            | Input::Settled { .. } => {}
        }
        self.publish_due(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.next_due()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.publish_due(now);
    }

    fn gauges(&self) -> Vec<Gauge> {
        let gauge = |name, help, value| Gauge {
            name,
            help,
            labels: Vec::new(),
            value,
        };
        vec![
            gauge(
                "nexum_delayed_messages",
                "Messages to be published later, but for those of queues.",
                self.totals.messages as f64,
            ),
            gauge(
                "nexum_delayed_bytes",
                "What they take in the store.",
                self.totals.bytes as f64,
            ),
        ]
    }
}
