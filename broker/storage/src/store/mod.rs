//! The store: what is submitted is gathered, committed in one batch, and then seen by readers.
//!
//! Nothing is seen that is not durable. What must stay true: the tables hold all batches up to the
//! checkpoint's position, the frozen overlay those up to the position of the checkpoint under way,
//! the active overlay the rest of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::batch::{BatchBuffer, for_each_submission};
use crate::changes::{Changes, split_change};
use crate::disk::Disk;
use crate::error::{CommitError, Refusal, ReopenError, is_full};
use crate::log::{AppendError, Log, VerifyError};
use crate::options::Options;
use crate::overlay::Overlay;
use crate::series::SeriesId;
use crate::series::volume::Volumes;
use crate::statistics::{Statistics, Usage};
use crate::tables::Checkpoint;
use crate::view::{Below, Layers, View};

mod checkpoint;
mod open;
mod reserve;
mod room;
mod series;

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use open::Report;
pub(crate) use open::tables_unusable;

/// How many times the memory of one overlay may wait for the tables, before puts are refused.
const BEHIND: usize = 4;

/// A submission. They are numbered as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a commit made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The batch; `None` if nothing was submitted.
    pub batch: Option<u64>,
    /// How many submissions: all since the last commit.
    pub submissions: u32,
    /// What it took in the log.
    pub bytes: u64,
}

/// Tables, and the log that makes their changes durable. One thread has it; others may read through
/// a [`Reader`].
pub struct Store {
    disk: Option<Arc<dyn Disk>>,
    options: Options,
    layers: Arc<RwLock<Layers>>,
    /// None where nothing is durable.
    volumes: Option<Arc<Volumes>>,
    /// None where nothing is durable.
    log: Option<Log>,
    batch: BatchBuffer,
    pending: Vec<Pending>,
    /// Where series would go on behind the batch that is being gathered; none where it removes them.
    next_offsets: BTreeMap<SeriesId, Option<u64>>,
    /// What the last submission appended gets, if it is committed.
    offsets: Vec<u64>,
    next_ticket: u64,
    /// Why nothing is promised now.
    failure: Option<Arc<str>>,
    /// The last one made.
    checkpoint: Checkpoint,
    /// What the frozen overlay goes up to.
    frozen_position: u64,
    /// The last checkpoint was not made.
    checkpoint_failed: bool,
    /// Whether a [`CheckpointJob`] is out.
    job_is_out: bool,
    /// What went into the log since the last overlay was frozen.
    log_bytes_since_freeze: u64,
    /// The last batch when what adds was refused for the budget or the room of a checkpoint, until
    /// some is taken after a checkpoint of that batch.
    over_budget_at: Option<u64>,
    /// What the system said of the disk, if it was asked since the last checkpoint.
    free: Option<room::Free>,
    /// Whether there should be a reserve and is none.
    lacks_reserve: bool,
    statistics: Statistics,
}

/// A submission in the batch that is being gathered.
#[derive(Clone, Copy, Debug)]
struct Pending {
    ticket: Ticket,
    /// Its encoded changes, in the payload of the batch.
    start: usize,
    end: usize,
    needs_no_room: bool,
}

/// Reads from another thread what a store has committed.
#[derive(Clone, Debug)]
pub struct Reader {
    layers: Arc<RwLock<Layers>>,
    volumes: Option<Arc<Volumes>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("checkpoint", &self.checkpoint)
            .field("failure", &self.failure)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// What is committed now.
    pub fn view(&self) -> View<'_> {
        View {
            layers: self.layers.read().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Store {
    /// Takes changes for the next batch. They are encoded already and are copied once.
    ///
    /// # Errors
    /// They are not taken, and why.
    pub fn submit(&mut self, changes: &Changes) -> Result<Ticket, Refusal> {
        if let Some(why) = &self.failure {
            return Err(Refusal::Failed(Arc::clone(why)));
        }
        if self.batch.len() + 4 + changes.encoded_bytes() > self.options.maximum_batch_bytes
            && !self.pending.is_empty()
            || changes.encoded_bytes() + 64 > self.options.maximum_batch_bytes
        {
            return Err(Refusal::TooLarge);
        }
        if !changes.need_no_room() {
            // What adds would take the room that deletions and a checkpoint need.
            if self.lacks_reserve {
                return Err(Refusal::Full);
            }
            let more = changes.encoded_bytes();
            if self.is_over_budget(more) || self.lacks_room(more) {
                self.over_budget_at = self.log.as_ref().map(Log::last);
                return Err(Refusal::Full);
            }
            if self.is_behind() {
                return Err(Refusal::Behind);
            }
            let position = self.checkpoint.position;
            self.over_budget_at = self.over_budget_at.filter(|last| *last > position);
        }
        let offsets = self
            .assign_offsets(changes.series())
            .ok_or(Refusal::NoSeries)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.batch.push(changes);
        let end = self.batch.payload().len();
        let start = end - changes.encoded_bytes();
        self.offsets.clear();
        for (at, offset) in offsets {
            self.batch.write_offset(start + at, offset);
            self.offsets.push(offset);
        }
        self.pending.push(Pending {
            ticket,
            start,
            end,
            needs_no_room: changes.need_no_room(),
        });
        Ok(ticket)
    }

    /// The offsets that what the last submission appended will have when it is committed, in its
    /// order.
    pub fn take_offsets(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.offsets)
    }

    /// Whether so many bytes of changes fit into the batch that is being gathered.
    pub fn has_room_for(&self, encoded_bytes: usize) -> bool {
        self.pending.is_empty()
            || self.batch.len() + 4 + encoded_bytes <= self.options.maximum_batch_bytes
    }

    /// Makes durable all that was submitted since the last commit, and shows it to readers.
    ///
    /// # Errors
    /// What is not durable, and why. After [`CommitError::Failed`] nothing is taken before
    /// [`reopen`](Store::reopen).
    pub fn commit(&mut self) -> Result<Committed, CommitError> {
        if let Some(why) = &self.failure {
            return Err(CommitError::Failed {
                refused: Vec::new(),
                why: Arc::clone(why),
            });
        }
        if self.pending.is_empty() {
            return Ok(Committed {
                batch: None,
                submissions: 0,
                bytes: 0,
            });
        }
        let begun = Instant::now();
        let result = match self.append() {
            Ok(number) => Ok(self.apply(number)),
            Err(AppendError::Full) => self.commit_deletions(),
            Err(AppendError::Broken(error)) => Err(self.fail(format!("the log: {error}"))),
        };
        self.batch.clear();
        self.pending.clear();
        self.next_offsets.clear();
        match &result {
            Ok(committed) => {
                let submissions = u64::from(committed.submissions);
                self.statistics.commits += 1;
                self.statistics.submissions += submissions;
                self.statistics.log_bytes += committed.bytes;
                self.statistics.batch_submissions.record(submissions);
                self.statistics
                    .commit_micros
                    .record_duration(begun.elapsed(), Duration::from_micros(1));
                if self.lacks_reserve {
                    self.keep_reserve();
                }
            }
            Err(_) => self.statistics.failed_commits += 1,
        }
        result
    }

    /// What is committed now.
    pub fn view(&self) -> View<'_> {
        View {
            layers: self.layers.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// For other threads.
    pub fn reader(&self) -> Reader {
        Reader {
            layers: Arc::clone(&self.layers),
            volumes: self.volumes.clone(),
        }
    }

    /// Why nothing is promised, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// After a failed write or sync: verifies on the disk that what was acknowledged is there, cuts
    /// the rest, and goes on in a new segment. Where something acknowledged is not there any more,
    /// it is still in memory, and is put into the tables first.
    ///
    /// # Errors
    /// The disk still refuses. Nothing is promised, and this can be called again.
    pub fn reopen(&mut self) -> Result<(), ReopenError> {
        if self.failure.is_none() {
            return Ok(());
        }
        let Some(log) = &mut self.log else {
            self.failure = None;
            return Ok(());
        };
        match log.reopen(self.checkpoint.position) {
            Ok(()) => {}
            Err(VerifyError::Io(error)) => {
                if is_full(&error) {
                    self.release_reserve();
                }
                return Err(ReopenError::Io(error));
            }
            Err(VerifyError::Lost) => self.rescue()?,
        }
        self.failure = None;
        self.shorten_log();
        self.keep_reserve();
        Ok(())
    }

    /// In numbers since it was opened.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What it takes now.
    pub fn usage(&self) -> Usage {
        let layers = self.view().layers;
        let frozen = layers.frozen.as_ref().map_or(0, |frozen| frozen.bytes());
        Usage {
            log_bytes: self.log.as_ref().map_or(0, Log::bytes),
            table_bytes: self.checkpoint.live_bytes,
            table_file_bytes: match &layers.tables {
                Below::Tables(tables) => tables.file_bytes().unwrap_or(0),
                Below::Nothing | Below::Closed => 0,
            },
            overlay_bytes: (layers.active.bytes() + frozen) as u64,
        }
    }

    /// Whether the tables are so far behind that puts are refused until a checkpoint is finished.
    pub fn is_behind(&self) -> bool {
        self.log.is_some()
            && self.view().layers.active.bytes() > self.options.overlay_bytes.saturating_mul(BEHIND)
    }

    /// Commits what was submitted and makes a checkpoint, so that the next start has nothing to
    /// replay. Dropping a store instead loses nothing that was committed.
    ///
    /// # Errors
    /// What was submitted is not durable.
    pub fn close(mut self) -> Result<(), CommitError> {
        self.commit()?;
        // The log has what a checkpoint that fails would have had.
        let _in_the_log = self.make_checkpoint();
        Ok(())
    }

    fn is_over_budget(&self, more: usize) -> bool {
        let (Some(budget), Some(log)) = (self.options.disk_budget_bytes, &self.log) else {
            return false;
        };
        let batch = (self.batch.len() + more) as u64;
        log.bytes() + self.checkpoint.live_bytes + batch > budget
    }

    fn append(&mut self) -> Result<Option<u64>, AppendError> {
        match &mut self.log {
            Some(log) => log.append(&mut self.batch).map(Some),
            None => Ok(None),
        }
    }

    /// Shows what is durable.
    fn apply(&mut self, number: Option<u64>) -> Committed {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        for_each_submission(self.batch.payload(), |mut submission| {
            while !submission.is_empty() {
                layers.apply(split_change(&mut submission)?);
            }
            Ok(())
        })
        .expect("it was encoded by `Changes` and gathered by `BatchBuffer`");
        drop(layers);
        let bytes = number.map_or(0, |_| self.batch.len() as u64);
        self.log_bytes_since_freeze += bytes;
        Committed {
            batch: number,
            submissions: self.batch.submissions(),
            bytes,
        }
    }

    /// Where there is no room for all that was submitted, perhaps there is for what makes room.
    fn commit_deletions(&mut self) -> Result<Committed, CommitError> {
        self.release_reserve();
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        let mut deletions = BatchBuffer::new();
        for pending in &self.pending {
            if pending.needs_no_room {
                kept.push(pending.ticket);
                deletions.push_bytes(&self.batch.payload()[pending.start..pending.end]);
            } else {
                refused.push(pending.ticket);
            }
        }
        self.batch = deletions;
        if !kept.is_empty() {
            match self.append() {
                Ok(number) => {
                    let committed = self.apply(number);
                    if refused.is_empty() {
                        return Ok(committed);
                    }
                }
                Err(AppendError::Full) => {
                    refused.append(&mut kept);
                    refused.sort_unstable();
                }
                Err(AppendError::Broken(error)) => {
                    return Err(self.fail(format!("the log: {error}")));
                }
            }
        }
        Err(CommitError::Full { kept, refused })
    }

    fn fail(&mut self, why: String) -> CommitError {
        let why: Arc<str> = why.into();
        self.failure = Some(Arc::clone(&why));
        CommitError::Failed {
            refused: self.pending.iter().map(|pending| pending.ticket).collect(),
            why,
        }
    }

    /// The log has lost what is still in memory: the tables take it.
    fn rescue(&mut self) -> Result<(), ReopenError> {
        if self.job_is_out {
            return Err(ReopenError::Busy);
        }
        // What was frozen first, if there is, then the rest.
        for _ in 0..2 {
            self.make_checkpoint().map_err(ReopenError::Lost)?;
        }
        let log = self.log.as_mut().expect("only a log is reopened");
        log.go_on().map_err(ReopenError::Io)?;
        log.truncate(self.checkpoint.position)
            .map_err(ReopenError::Io)
    }

    fn write_layers(layers: &RwLock<Layers>) -> RwLockWriteGuard<'_, Layers> {
        layers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layers {
    /// A checkpoint was not made: the next is of all there is, so that what was deleted meanwhile is
    /// not written.
    fn thaw(&mut self) {
        let Some(frozen) = self.frozen.take() else {
            return;
        };
        match Arc::try_unwrap(frozen) {
            Ok(mut frozen) => {
                frozen.absorb(&self.active);
                self.active = frozen;
            }
            // The job has it: it is written as it is.
            Err(frozen) => self.frozen = Some(frozen),
        }
    }

    fn over(tables: Below) -> Layers {
        Layers {
            active: match tables {
                Below::Nothing => Overlay::ground(),
                Below::Tables(_) | Below::Closed => Overlay::default(),
            },
            frozen: None,
            tables,
            heads: BTreeMap::new(),
        }
    }
}
