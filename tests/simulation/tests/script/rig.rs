//! One shard over a real store on a simulated disk: what the server's threads do, in one thread and
//! in one order.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use nexum_core::{
    ConnectionKey, ConnectionLoss, ConnectionOrigin, Input, Limits, MessageId, Output, SessionId,
    Shard, ShardConfig, ShardId, StoreRefusal, Stored, Submission,
};
use nexum_records::{Encoder, Meta, read_message, recover};
use nexum_storage::{Changes, CommitError, Options, Refusal, SimulatedDisk, Store, Ticket};
use nexum_types::{Message, Time};

const SEED: u64 = 7;

/// How long the store's thread leaves alone what has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Small, so that a short script fills segments and makes checkpoints.
fn options() -> Options {
    Options {
        segment_bytes: 1500,
        reserve_bytes: 4096,
        ..Options::default()
    }
}

pub(crate) struct Rig {
    pub(crate) disk: SimulatedDisk,
    store: Store,
    shard: Shard,
    encoder: Encoder,
    now: Time,
    /// When what has failed is tried again.
    retry_at: Option<Time>,
    lines: Vec<Line>,
}

/// A connection as the network sees it.
struct Line {
    key: ConnectionKey,
    is_closed: bool,
    /// What the broker has sent and nobody has read.
    inbox: Vec<u8>,
}

/// Names a [`Line`]. A restart makes all of them void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineId(usize);

impl Rig {
    pub(crate) fn new(seed: u64) -> Rig {
        let disk = SimulatedDisk::new(seed);
        let (store, shard) = open(&disk, Time::ZERO);
        let mut rig = Rig {
            disk,
            store,
            shard,
            encoder: Encoder::new(),
            now: Time::ZERO,
            retry_at: None,
            lines: Vec::new(),
        };
        rig.settle();
        rig
    }

    /// The power goes and comes back, with a disk that works.
    pub(crate) fn lose_power(&mut self) {
        self.disk.crash();
        self.disk.heal();
        (self.store, self.shard) = open(&self.disk, self.now);
        self.retry_at = None;
        self.lines.clear();
        self.settle();
    }

    pub(crate) fn connect(&mut self) -> LineId {
        let origin = ConnectionOrigin {
            address: None,
            listener: Arc::from("script"),
            anonymous: true,
            verify_credentials: false,
            certificate: None,
        };
        let key = self.shard.open(origin, self.now);
        self.lines.push(Line {
            key,
            is_closed: false,
            inbox: Vec::new(),
        });
        LineId(self.lines.len() - 1)
    }

    pub(crate) fn send(&mut self, line: LineId, bytes: &[u8]) {
        let line = &self.lines[line.0];
        if !line.is_closed {
            self.shard.receive(line.key, bytes, self.now);
            self.settle();
        }
    }

    /// What the broker has sent since the last time, and whether it has closed the connection.
    pub(crate) fn read(&mut self, line: LineId) -> (Vec<u8>, bool) {
        let line = &mut self.lines[line.0];
        (std::mem::take(&mut line.inbox), line.is_closed)
    }

    /// The network loses a connection.
    pub(crate) fn cut(&mut self, line: LineId) {
        let line = &mut self.lines[line.0];
        if !std::mem::replace(&mut line.is_closed, true) {
            let loss = ConnectionLoss::EndOfStream;
            self.shard.lost(line.key, loss, self.now);
            self.settle();
        }
    }

    /// Time passes, and what is due happens.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = [self.shard.poll_timeout(), self.retry_at];
            let due = due.into_iter().flatten().min().unwrap_or(until);
            self.now = due.max(self.now).min(until);
            if self.retry_at.is_some_and(|at| at <= self.now) {
                self.retry();
            }
            if self.shard.poll_timeout().is_some_and(|at| at <= self.now) {
                self.shard.handle_timeout(self.now);
            }
            self.settle();
            if self.now == until {
                return;
            }
        }
    }

    /// Brings the tables up to date. Where that fails it is tried again later, and the log has
    /// everything until then.
    pub(crate) fn make_checkpoint(&mut self) {
        if self.store.make_checkpoint().is_err() {
            self.retry_later();
        }
    }

    fn retry_later(&mut self) {
        self.retry_at = Some(self.now + RETRY_AFTER);
    }

    /// Tries again what has failed.
    fn retry(&mut self) {
        self.retry_at = None;
        if self.store.reopen().is_err() {
            self.retry_later();
        }
        if self.retry_at.is_none() && self.store.checkpoint_is_due() {
            self.make_checkpoint();
        }
    }

    /// Carries everything where it belongs until nothing moves.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            while let Some(output) = self.shard.poll_output() {
                moved = true;
                self.carry_out(output);
            }
            while let Some(key) = self.shard.poll_transmit() {
                moved = true;
                self.transmit(key);
            }
            let mut submissions = VecDeque::new();
            while let Some(submission) = self.shard.take_submission() {
                submissions.push_back(submission);
            }
            if !submissions.is_empty() {
                moved = true;
                self.store_all(submissions);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Close { connection } => {
                self.transmit(connection);
                for line in &mut self.lines {
                    line.is_closed |= line.key == connection;
                }
                self.shard.closed(connection);
            }
            Output::Load { load, keys } => {
                let view = self.store.view();
                let messages = keys
                    .iter()
                    .map(|key| read_message(&view, key).ok()?.map(Arc::<Message>::new))
                    .collect();
                drop(view);
                self.shard
                    .handle(Input::Loaded { load, messages }, self.now);
            }
            output @ (Output::Authenticate { .. }
            | Output::Exchange { .. }
            | Output::Rehome { .. }) => {
                unreachable!("nobody has credentials and there is one shard: {output:?}")
            }
            Output::ResumeReading { .. } | Output::Event(_) => {}
        }
    }

    fn transmit(&mut self, key: ConnectionKey) {
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.shard.transmit(key, &mut slices);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            if bytes.is_empty() {
                return;
            }
            self.shard.transmitted(key, bytes.len(), self.now);
            for line in &mut self.lines {
                if line.key == key && !line.is_closed {
                    line.inbox.extend_from_slice(&bytes);
                }
            }
        }
    }

    /// A round of the store's thread: one batch, and the answers in the order of submissions.
    fn store_all(&mut self, submissions: VecDeque<Submission>) {
        let mut round: Vec<(u64, Result<Ticket, Refusal>)> = Vec::new();
        for submission in submissions {
            let mut changes = Changes::new();
            self.encoder.encode(&submission.changes, &mut changes);
            round.push((submission.sequence, self.store.submit(&changes)));
        }
        let was_failed = self.store.failure().is_some();
        let result = self.store.commit();
        if !was_failed && self.store.failure().is_some() {
            self.retry_later();
        }
        for (sequence, outcome) in round {
            let refusal = match (outcome, &result) {
                (Err(refusal), _) => Some(refusal),
                (Ok(_), Ok(_)) => None,
                (Ok(ticket), Err(CommitError::Full { kept, .. })) => {
                    (!kept.contains(&ticket)).then_some(Refusal::Full)
                }
                (Ok(_), Err(CommitError::Failed { why, .. })) => {
                    Some(Refusal::Failed(Arc::clone(why)))
                }
            };
            let refused = refusal.map(|refusal| StoreRefusal {
                is_certain: match &refusal {
                    Refusal::Full | Refusal::Behind | Refusal::TooLarge | Refusal::NoSeries => true,
                    Refusal::Failed(_) | Refusal::Closed => false,
                },
                reason: Arc::from(refusal.to_string()),
            });
            let stored = Input::Stored(Stored { sequence, refused });
            self.shard.handle(stored, self.now);
        }
    }
}

/// Opens a store and brings a shard back from it, as a start does.
fn open(disk: &SimulatedDisk, now: Time) -> (Store, Shard) {
    let (mut store, report) = Store::open(disk.mount(), options()).expect("it can be opened");
    assert!(report.damage.is_empty(), "{report}");
    let meta = Meta::open(&mut store, SEED).expect("the disk works");
    let mut shard = Shard::new(ShardConfig {
        id: ShardId(0),
        shards: 1,
        limits: Arc::new(Limits::default()),
        seed: meta.seed,
        authentication_methods: Arc::from([]),
        extensions: Arc::from([]),
    });
    let recovered = recover(
        &store.view(),
        meta.seed,
        1,
        &mut |_, record| shard.restore(record, now),
        &mut |_| {},
    )
    .expect("the disk works");
    assert_eq!(recovered.lost.count, 0, "lost: {}", recovered.lost);
    assert_eq!(recovered.damaged.count, 0, "damaged: {}", recovered.damaged);
    for garbage in &recovered.garbage {
        store.submit(garbage).expect("there is room");
        store.commit().expect("the disk works");
    }
    let session = SessionId(recovered.next_session_id);
    let message = MessageId(recovered.next_message_id);
    shard.finish_restoring(session, message, now);
    (store, shard)
}
