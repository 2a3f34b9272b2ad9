//! The store of the broker's process: submissions become batches, answers come later, and what was
//! committed comes back when the broker starts again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nexum_core::{
    Change, Input, Key, LoadId, MessageId, Restored, SessionId, ShardConfig, ShardId, StoreRefusal,
    Stored, Submission,
};
use nexum_extension_host::{Composed, LineId};
use nexum_records::{Encoder, Meta, RecordsError, describe, read_message, recover};
use nexum_storage::{
    Answer, Changes, CheckpointJob, CommitError, Options, ReadError, Refusal, SimulatedDisk, Store,
    Ticket,
};
use nexum_types::Time;

use super::broker::{Shell, Work};
use super::faults::Bug;
use super::hosts::HostWork;
use super::verdict::Promise;
use super::world::{Happening, World};

/// How long a store that has failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How long a store that cannot be read is left alone.
const READ_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Keeper {
    pub(super) disk: SimulatedDisk,
    pub(super) options: Options,
    pub(super) store: Option<Store>,
    encoder: Encoder,
    waiting: VecDeque<Waiting>,
    /// Whose last submission was refused, and why: what follows it is refused, too.
    refused: BTreeMap<Source, Refusal>,
    commit_is_due: bool,
    retry_is_due: bool,
    /// When the last answers come.
    answers_by: Time,
    checkpoint: Option<CheckpointJob>,
}

/// Who submits: everyone has answers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Shard(ShardId),
    /// A line of an extension, by its place.
    Host(usize, LineId),
}

/// A submission that is not in a batch yet.
enum Waiting {
    OfShard(ShardId, Submission),
    OfHost(usize, nexum_extension_host::Submission),
}

/// What became of a submission: whose, its number there, and why it is not kept, if it is not.
pub(super) type Told = (Source, u64, Option<Refusal>);

/// What became of a submission when it was handed over.
enum Outcome {
    InBatch(Ticket),
    Refused(Refusal),
}

impl Keeper {
    pub(super) fn new(seed: u64, options: Options) -> Keeper {
        Keeper {
            disk: SimulatedDisk::new(seed),
            options,
            store: None,
            encoder: Encoder::new(),
            waiting: VecDeque::new(),
            refused: BTreeMap::new(),
            commit_is_due: false,
            retry_is_due: false,
            answers_by: Time::ZERO,
            checkpoint: None,
        }
    }

    /// The process is gone.
    pub(super) fn forget(&mut self) {
        self.checkpoint = None;
        self.store = None;
        self.waiting.clear();
        self.refused.clear();
        self.commit_is_due = false;
        self.retry_is_due = false;
    }
}

impl World {
    pub(super) fn submit(&mut self, shard: ShardId, submission: Submission) {
        self.history.note(self.now, || {
            let changes: Vec<String> = submission.changes.iter().map(brief).collect();
            let sequence = submission.sequence;
            format!(
                "shard {}: to keep #{sequence}: {}",
                shard.0,
                changes.join(", ")
            )
        });
        if self.planted.is(Bug::AnswerBeforeCommit) {
            self.answer(vec![(Source::Shard(shard), submission.sequence, None)]);
        }
        self.keeper
            .waiting
            .push_back(Waiting::OfShard(shard, submission));
        self.commit_soon();
    }

    pub(super) fn submit_of_host(
        &mut self,
        host: usize,
        submission: nexum_extension_host::Submission,
    ) {
        self.history.note(self.now, || {
            let (line, bytes) = (submission.line, submission.changes.encoded_bytes());
            format!("host {host}: to keep, {line:?}: {bytes} bytes")
        });
        if self.planted.is(Bug::AnswerBeforeCommit) {
            self.answer(vec![(Source::Host(host, submission.line), 0, None)]);
        }
        self.keeper
            .waiting
            .push_back(Waiting::OfHost(host, submission));
        self.commit_soon();
    }

    fn commit_soon(&mut self) {
        if !std::mem::replace(&mut self.keeper.commit_is_due, true) {
            let at = self.now + self.random.within(self.scenario.gathering);
            let life = self.life;
            self.agenda.enter(at, Happening::Commit { life });
        }
    }

    pub(super) fn commit(&mut self) {
        self.keeper.commit_is_due = false;
        let Some(store) = &mut self.keeper.store else {
            return;
        };
        let mut round = Vec::new();
        for waiting in self.keeper.waiting.drain(..) {
            let (source, sequence, changes) = match waiting {
                Waiting::OfShard(shard, submission) => {
                    let mut changes = Changes::new();
                    let kept = self.planted.tamper(&submission.changes);
                    self.keeper.encoder.encode(&kept, &mut changes);
                    if submission.follows_others {
                        changes.keep_in_order();
                    }
                    (Source::Shard(shard), submission.sequence, changes)
                }
                Waiting::OfHost(host, submission) => {
                    let changes = self
                        .planted
                        .tamper_line(submission.line, submission.changes);
                    (Source::Host(host, submission.line), 0, changes)
                }
            };
            let before = self.keeper.refused.remove(&source);
            let outcome = match before.filter(|_| changes.follows()) {
                Some(refusal) => Outcome::Refused(refusal),
                None => match store.submit(&changes) {
                    Ok(ticket) => Outcome::InBatch(ticket),
                    Err(refusal) => Outcome::Refused(refusal),
                },
            };
            if let Outcome::Refused(refusal) = &outcome {
                self.keeper.refused.insert(source, refusal.clone());
            }
            round.push((source, sequence, outcome));
        }
        let result = store.commit();
        let lacks_reserve = store.lacks_reserve();
        self.tally.commits += 1;
        self.history
            .note(self.now, || format!("commit: {result:?}"));
        if self.keeper.disk.is_off() {
            return self.crash(true);
        }
        let answers: Vec<_> = round
            .into_iter()
            .map(|(source, sequence, outcome)| {
                let refused = refusal(outcome, &result);
                if let Some(refusal) = &refused {
                    let known = self.keeper.refused.entry(source);
                    known.or_insert_with(|| refusal.clone());
                }
                (source, sequence, refused)
            })
            .collect();
        if !self.planted.is(Bug::AnswerBeforeCommit) {
            self.answer(answers);
        }
        if lacks_reserve || matches!(result, Err(CommitError::Failed { .. })) {
            self.retry_later();
        }
        self.begin_checkpoint();
    }

    fn answer(&mut self, answers: Vec<Told>) {
        let at = self.now + self.random.within(self.scenario.answering);
        let at = at.max(self.keeper.answers_by);
        self.keeper.answers_by = at;
        let life = self.life;
        self.agenda.enter(at, Happening::Answers { life, answers });
    }

    pub(super) fn answered(&mut self, answers: Vec<Told>) {
        for (source, sequence, refused) in answers {
            let what = refused.as_ref().map_or("kept", |_| "refused");
            if refused.is_some() {
                self.disturbed_at = self.now;
            }
            match source {
                Source::Shard(shard) => {
                    self.history.note(self.now, || {
                        format!("shard {}: {what} #{sequence}", shard.0)
                    });
                    let refused = refused.as_ref().map(told);
                    let stored = Input::Stored(Stored { sequence, refused });
                    self.give(shard, Work::Input(stored));
                }
                Source::Host(host, line) => {
                    self.history
                        .note(self.now, || format!("host {host}: {what}, {line:?}"));
                    let result = refused.map_or(Ok(()), Err);
                    let answer = Answer {
                        tag: sequence,
                        result,
                        // Nothing is appended here.
                        offsets: Vec::new(),
                    };
                    self.give_host(host, HostWork::Answer(line, answer));
                }
            }
        }
    }

    fn retry_later(&mut self) {
        if !std::mem::replace(&mut self.keeper.retry_is_due, true) {
            let life = self.life;
            self.agenda
                .enter(self.now + RETRY, Happening::Retry { life });
        }
    }

    /// A store that has failed is opened again, and one that is short of room looks for some.
    pub(super) fn retry(&mut self) {
        self.keeper.retry_is_due = false;
        let Some(store) = &mut self.keeper.store else {
            return;
        };
        let result = store.reopen();
        store.keep_reserve();
        let lacks_reserve = store.lacks_reserve();
        self.history
            .note(self.now, || format!("reopen: {result:?}"));
        if self.keeper.disk.is_off() {
            return self.crash(true);
        }
        if lacks_reserve || result.is_err() {
            self.retry_later();
        }
        self.begin_checkpoint();
    }

    fn begin_checkpoint(&mut self) {
        let Some(store) = &mut self.keeper.store else {
            return;
        };
        let is_wanted =
            store.checkpoint_is_due() || self.random.percent(self.scenario.checkpoint_percent);
        if self.keeper.checkpoint.is_some() || !is_wanted {
            return;
        }
        match store.begin_checkpoint() {
            Ok(None) => {}
            Ok(Some(job)) => {
                self.keeper.checkpoint = Some(job);
                let at = self.now + self.random.within(self.scenario.gathering);
                let life = self.life;
                self.agenda.enter(at, Happening::Checkpoint { life });
            }
            Err(error) => {
                self.history.note(self.now, || error.to_string());
                self.retry_later();
            }
        }
        if self.keeper.disk.is_off() {
            self.crash(true);
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let Some((job, store)) = self
            .keeper
            .checkpoint
            .take()
            .zip(self.keeper.store.as_mut())
        else {
            return;
        };
        let result = store.finish_checkpoint(job.run());
        self.tally.checkpoints += 1;
        self.history
            .note(self.now, || format!("checkpoint: {result:?}"));
        if self.keeper.disk.is_off() {
            return self.crash(true);
        }
        if result.is_err() {
            self.retry_later();
        }
    }

    pub(super) fn load(&mut self, shard: ShardId, load: LoadId, keys: Vec<Key>) {
        let Some(store) = &self.keeper.store else {
            return;
        };
        let view = store.view();
        let mut messages = Vec::new();
        let mut is_transient = false;
        let mut unreadable = None;
        for key in &keys {
            let message = read_message(&view, key).unwrap_or_else(|error| {
                is_transient |= matches!(error, RecordsError::Read(ReadError::Io(_)));
                unreadable = Some(format!("{key:?}: {error}"));
                None
            });
            messages.push(message.map(Arc::new));
        }
        drop(view);
        if self.keeper.disk.is_off() {
            return self.crash(true);
        }
        if is_transient {
            self.history
                .note(self.now, || format!("{unreadable:?}, read again later"));
            let happening = Happening::Load {
                life: self.life,
                shard,
                load,
                keys,
            };
            return self.agenda.enter(self.now + READ_AGAIN, happening);
        }
        self.tally.loaded += messages.len() as u64;
        if let Some(text) = unreadable {
            self.verdict.breach(Promise::Recovers, text);
        }
        self.give(shard, Work::Input(Input::Loaded { load, messages }));
    }

    /// Opens what the disk has, and makes shards of it. False if the broker cannot start.
    pub(super) fn start(&mut self) -> bool {
        let shards = self.scenario.shards[self.starts.min(self.scenario.shards.len() - 1)];
        self.starts += 1;
        if self.planted.is(Bug::FlipBit) && self.starts > 1 {
            self.flip_bit();
        }
        for _ in 0..20 {
            match self.try_start(shards) {
                Ok(()) => return true,
                Err(_) if self.keeper.disk.is_off() => {
                    self.history
                        .note(self.now, || "the power goes again".to_owned());
                    self.keeper.forget();
                    self.keeper.disk.crash();
                }
                Err(_) if self.planted.is(Bug::FlipBit) => {
                    self.tally.damage_told += 1;
                    return false;
                }
                Err(text) => {
                    self.verdict.breach(Promise::Recovers, text);
                    return false;
                }
            }
        }
        let text = "the power goes at each start".to_owned();
        self.verdict.breach(Promise::Recovers, text);
        false
    }

    fn try_start(&mut self, shards: u16) -> Result<(), String> {
        let now = self.now;
        let opened = Store::open(self.keeper.disk.mount(), self.keeper.options.clone());
        let (mut store, report) = opened.map_err(|error| error.to_string())?;
        self.history.note(now, || format!("the store: {report}"));
        let is_told = report.torn.is_some() || !report.damage.is_empty() || report.tables_rebuilt;
        if self.planted.is(Bug::FlipBit) {
            if is_told && self.starts > 1 {
                return Err(report.to_string());
            }
        } else if !report.damage.is_empty() {
            return Err(report.to_string());
        }
        let told = |error: nexum_records::RecordsError| error.to_string();
        let meta = Meta::open(&mut store, self.seed).map_err(told)?;
        let mut restored: Vec<(ShardId, Restored)> = Vec::new();
        let recovered = recover(
            &store.view(),
            meta.seed,
            shards,
            &mut |shard, record| restored.push((shard, record)),
            &mut |_| {},
        )
        .map_err(told)?;
        if recovered.lost.count > 0 || recovered.damaged.count > 0 {
            return Err(format!(
                "lost: {}damaged: {}",
                recovered.lost, recovered.damaged
            ));
        }
        if recovered.latest > now {
            return Err(format!("{:?} is still to come", recovered.latest));
        }
        let mut composed = self.scenario.compose();
        let extensions: Arc<[_]> = composed.iter().map(Composed::config).collect();
        for garbage in &recovered.garbage {
            store.submit(garbage).map_err(|error| error.to_string())?;
        }
        store.commit().map_err(|error| error.to_string())?;
        for extension in &mut composed {
            extension
                .restore(&store, now)
                .map_err(|error| error.to_string())?;
        }
        self.tally.restored += restored.len() as u64;
        let reader = store.reader();
        self.keeper.store = Some(store);
        let limits = Arc::new(self.scenario.limits.clone());
        self.shells = (0..shards)
            .map(|id| {
                Shell::new(ShardConfig {
                    id: ShardId(id),
                    shards,
                    limits: Arc::clone(&limits),
                    seed: meta.seed,
                    authentication_methods: Arc::from([]),
                    extensions: Arc::clone(&extensions),
                })
            })
            .collect();
        for (shard, record) in restored {
            self.shells[usize::from(shard.0)].shard.restore(record, now);
        }
        let session = SessionId(recovered.next_session_id);
        let message = MessageId(recovered.next_message_id);
        for shell in &mut self.shells {
            shell.shard.finish_restoring(session, message, now);
        }
        self.exchange_interest();
        self.start_hosts(composed, &reader, meta.seed);
        Ok(())
    }

    /// Before any client: the shards tell each other what they have.
    fn exchange_interest(&mut self) {
        let now = self.now;
        let shards = self.shells.len() as u16;
        let mut moved = true;
        while moved {
            moved = false;
            for from in (0..shards).map(ShardId) {
                while let Some(submission) =
                    self.shells[usize::from(from.0)].shard.take_submission()
                {
                    self.submit(from, submission);
                }
                for to in (0..shards).map(ShardId) {
                    let core = &mut self.shells[usize::from(from.0)].shard;
                    if let Some(batch) = core.take_peer_batch(to) {
                        moved = true;
                        let input = Input::Peer { from, batch };
                        self.shells[usize::from(to.0)].shard.handle(input, now);
                    }
                }
            }
        }
        for shard in (0..shards).map(ShardId) {
            // Its timers, and what it has to say.
            self.give(shard, Work::Begin);
        }
    }

    fn flip_bit(&mut self) {
        let names = self.keeper.disk.mount().list().unwrap_or_default();
        let logs: Vec<(String, usize)> = names
            .into_iter()
            .filter(|name| name.ends_with(".log"))
            .map(|name| {
                let bytes = self.keeper.disk.contents(&name).map_or(0, |it| it.len());
                (name, bytes)
            })
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        if logs.is_empty() {
            return;
        }
        let (name, bytes) = self.random.pick(&logs).clone();
        let at = self.random.below(bytes) as u64;
        self.history
            .note(self.now, || format!("a bit of {name} flips at {at}"));
        self.keeper.disk.flip_bit(&name, at, (at % 8) as u8);
    }

    /// What is in the store, in words, if there is anything.
    pub(super) fn what_is_left(&self) -> Option<String> {
        let store = self.keeper.store.as_ref()?;
        match describe(&store.view()) {
            Ok(contents) if contents.kept.is_empty() => None,
            Ok(contents) => Some(contents.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Why a submission is not kept, if it is not.
fn refusal(
    outcome: Outcome,
    result: &Result<nexum_storage::Committed, CommitError>,
) -> Option<Refusal> {
    match (outcome, result) {
        (Outcome::Refused(refusal), _) => Some(refusal),
        (Outcome::InBatch(_), Ok(_)) => None,
        (Outcome::InBatch(ticket), Err(CommitError::Full { kept, .. })) => {
            (!kept.contains(&ticket)).then_some(Refusal::Full)
        }
        (Outcome::InBatch(_), Err(CommitError::Failed { why, .. })) => {
            Some(Refusal::Failed(Arc::clone(why)))
        }
    }
}

/// What its shard is told. Only what was never written is refused for certain.
fn told(refusal: &Refusal) -> StoreRefusal {
    StoreRefusal {
        is_certain: match refusal {
            Refusal::Full | Refusal::Behind | Refusal::TooLarge | Refusal::NoSeries => true,
            Refusal::Failed(_) | Refusal::Closed => false,
        },
        reason: Arc::from(refusal.to_string()),
    }
}

/// A change in a line of the history.
fn brief(change: &Change) -> String {
    match change {
        Change::Put(key, _) => format!("+{key:?}"),
        Change::Delete(key) => format!("-{key:?}"),
    }
}
