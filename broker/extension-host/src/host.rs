//! A turn: feed, drain, carry out, and gather what is for others.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use nexum_core::{Change, ExtensionBatch, ShardId, home_of};
use nexum_extension_api::{CommandId, Extension, Gauge, Input, Output};
use nexum_storage::{Answer, Reader, TableId};
use nexum_types::Time;

use crate::composed::Composed;
use crate::event::HostEvent;
use crate::reading::{Found, scan, values};
use crate::writes::{LineId, Submission, Writes};

/// How long a store that cannot be read is left alone.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// What a host is made of.
#[derive(Debug)]
pub struct HostParts {
    /// Restored, and not started.
    pub composed: Composed,
    /// Of the store that has its records.
    pub reader: Reader,
    /// How many shards there are.
    pub shards: u16,
    /// That of the shards.
    pub seed: u64,
}

/// See the [crate].
pub struct Host {
    extension: Box<dyn Extension>,
    seed: u64,
    table: TableId,
    reader: Reader,
    writes: Writes,
    /// What is to be stored with the writes that fulfil commands.
    companions: BTreeMap<CommandId, Change>,
    /// What gathers for each shard in a turn.
    outboxes: Vec<Vec<Output>>,
    /// Wishes to read that failed, and when they are tried again.
    unread: Vec<Output>,
    read_at: Option<Time>,
    events: VecDeque<HostEvent>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.extension.name())
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// With nothing fed yet.
    #[must_use]
    pub fn new(parts: HostParts) -> Host {
        let HostParts {
            composed,
            reader,
            shards,
            seed,
        } = parts;
        let table = TableId(composed.table);
        Host {
            extension: composed.extension,
            seed,
            table,
            reader,
            writes: Writes::new(table),
            companions: BTreeMap::new(),
            outboxes: (0..shards).map(|_| Vec::new()).collect(),
            unread: Vec::new(),
            read_at: None,
            events: VecDeque::new(),
        }
    }

    /// What logs and metrics call the extension.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.extension.name()
    }

    /// Numbers for the metrics.
    #[must_use]
    pub fn gauges(&self) -> Vec<Gauge> {
        self.extension.gauges()
    }

    // What goes in.

    /// Before anything else. Returns what it captures from the beginning: each shard is to hear of it
    /// before anything is published, by a client or by another extension.
    pub fn start(&mut self, now: Time) -> Vec<Output> {
        let seed = self.seed;
        self.feed([Input::Start { seed }], now);
        let mut captures = Vec::new();
        for outbox in &mut self.outboxes {
            // The same for each of them.
            captures = outbox
                .extract_if(.., |output| matches!(output, Output::Capture { .. }))
                .collect();
        }
        captures
    }

    /// What a turn of a shard had for it.
    pub fn batch(&mut self, batch: ExtensionBatch, now: Time) {
        self.companions.extend(batch.companions);
        self.feed(batch.inputs, now);
    }

    /// What became of submissions, in the order in which they were taken from their line.
    pub fn answers(&mut self, line: LineId, answers: Vec<Answer>, now: Time) {
        let heard = self.writes.answered(line, answers, now);
        self.feed(heard, now);
    }

    /// The time has come to be `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.extension.poll_timeout().is_some_and(|due| due <= now) {
            self.extension.handle_timeout(now);
            self.drain(now);
        }
        if self.read_at.is_some_and(|at| at <= now) {
            self.read_at = None;
            for wish in std::mem::take(&mut self.unread) {
                self.read(wish, now);
            }
            self.drain(now);
        }
    }

    // What comes out.

    /// The next thing for the store, if any.
    pub fn take_submission(&mut self, now: Time) -> Option<Submission> {
        self.writes.take_submission(now)
    }

    /// What has gathered for a shard since the last call.
    pub fn take_outputs(&mut self, shard: ShardId) -> Vec<Output> {
        let outbox = self.outboxes.get_mut(usize::from(shard.0));
        outbox.map(std::mem::take).unwrap_or_default()
    }

    /// The next line for the log, if any.
    pub fn poll_event(&mut self) -> Option<HostEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Host::handle_timeout) wants to be called, and then
    /// [`take_submission`](Host::take_submission).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let own = [self.read_at, self.writes.retry_at()];
        let own = own.into_iter().flatten();
        own.chain(self.extension.poll_timeout()).min()
    }

    /// Whether all that was written is stored, or refused for good.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.writes.is_idle()
    }

    fn feed(&mut self, inputs: impl IntoIterator<Item = Input>, now: Time) {
        for input in inputs {
            self.extension.handle(input, now);
            self.drain(now);
        }
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
                    let shards = self.outboxes.len() as u16;
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
                Output::Read { .. } | Output::Scan(_) => self.read(output, now),
                Output::Event { severity, text } => {
                    self.events.push_back(HostEvent::Said { severity, text });
                }
            }
        }
    }

    fn put(&mut self, shard: u16, output: Output) {
        if let Some(outbox) = self.outboxes.get_mut(usize::from(shard)) {
            outbox.push(output);
        }
    }

    fn read(&mut self, wish: Output, now: Time) {
        let view = self.reader.view();
        let found = match &wish {
            Output::Read { read, keys } => values(&view, self.table, *read, keys),
            Output::Scan(wish) => scan(&view, self.table, wish),
            _ => return,
        };
        drop(view);
        match found {
            Ok(Found { answer, lost }) => {
                self.events
                    .extend(lost.map(|error| HostEvent::RecordLost(error.to_string())));
                self.extension.handle(answer, now);
            }
            Err(error) => {
                self.events
                    .push_back(HostEvent::CannotRead(error.to_string()));
                self.unread.push(wish);
                self.read_at.get_or_insert(now + READ_AGAIN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nexum_extension_api::{CaptureId, Claim, Severity, Unreadable};
    use nexum_storage::{Options, SimulatedDisk, Store};

    use super::*;

    /// It captures when it starts, and later.
    #[derive(Default)]
    struct Captor(VecDeque<Output>);

    fn capture(number: u64) -> Output {
        Output::Capture {
            capture: CaptureId(number),
            filter: Box::from("t/#"),
        }
    }

    impl Extension for Captor {
        fn name(&self) -> &'static str {
            "captor"
        }

        fn claims(&self) -> &'static [Claim] {
            &[]
        }

        fn restore(&mut self, _: &[u8], _: &[u8], _: Time) -> Result<(), Unreadable> {
            Ok(())
        }

        fn handle(&mut self, _: Input, _: Time) {
            self.0.push_back(Output::event(Severity::Info, "begun"));
            self.0.push_back(capture(1));
        }

        fn poll_output(&mut self) -> Option<Output> {
            self.0.pop_front()
        }

        fn poll_timeout(&self) -> Option<Time> {
            Some(Time::ZERO)
        }

        fn handle_timeout(&mut self, _: Time) {
            self.0.push_back(capture(2));
        }
    }

    #[test]
    fn what_is_captured_from_the_beginning_comes_apart_and_what_is_later_does_not() {
        let opened = Store::open(SimulatedDisk::new(7).mount(), Options::default());
        let (store, _) = opened.expect("an empty disk");
        let mut host = Host::new(HostParts {
            composed: Composed {
                table: 16,
                extension: Box::new(Captor::default()),
            },
            reader: store.reader(),
            shards: 2,
            seed: 7,
        });
        let number = |output: &Output| match output {
            Output::Capture { capture, .. } => capture.0,
            other => panic!("{other:?}"),
        };
        let captures = host.start(Time::ZERO);
        assert_eq!(captures.iter().map(number).collect::<Vec<_>>(), [1]);
        assert!(host.poll_event().is_some());
        for shard in [0, 1].map(ShardId) {
            assert!(host.take_outputs(shard).is_empty());
        }
        host.handle_timeout(Time::ZERO);
        for shard in [0, 1].map(ShardId) {
            let outputs = host.take_outputs(shard);
            assert_eq!(outputs.iter().map(number).collect::<Vec<_>>(), [2]);
        }
    }
}
