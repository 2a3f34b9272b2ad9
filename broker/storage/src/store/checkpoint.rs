//! Checkpoints: what has gathered in memory goes into the tables, and the log before it goes.
//!
//! The store freezes its overlay and gives a job out; another thread runs it while commits go on;
//! the store takes the outcome back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Store;
use crate::error::{CheckpointError, ReadError, is_full};
use crate::overlay::Overlay;
use crate::series::volume::Volumes;
use crate::tables::{Checkpoint, Tables, TablesError};
use crate::view::Below;

/// A checkpoint that is to be made, on any thread.
#[must_use = "the store makes no other checkpoint before it gets this one's outcome"]
pub struct CheckpointJob {
    tables: Arc<Tables>,
    overlay: Arc<Overlay>,
    checkpoint: Checkpoint,
    volumes: Arc<Volumes>,
    moves: bool,
}

/// What a [`CheckpointJob`] came to, for [`Store::finish_checkpoint`].
#[must_use = "the store makes no other checkpoint before it gets this one's outcome"]
#[derive(Debug)]
pub struct CheckpointDone {
    result: Result<Checkpoint, ReadError>,
    took: Duration,
}

impl fmt::Debug for CheckpointJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointJob")
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl CheckpointJob {
    /// Makes the checkpoint: one transaction, synced.
    pub fn run(self) -> CheckpointDone {
        let begun = Instant::now();
        let result = self
            .tables
            .write(&self.overlay, self.checkpoint, &self.volumes, self.moves)
            .map(|live_bytes| Checkpoint {
                live_bytes,
                ..self.checkpoint
            });
        CheckpointDone {
            result,
            took: begun.elapsed(),
        }
    }
}

impl Store {
    /// Whether so much has gathered that a checkpoint should be made, or one has failed, or what
    /// adds is refused for want of room and a checkpoint may make some.
    pub fn checkpoint_is_due(&self) -> bool {
        let Some(log) = &self.log else {
            return false;
        };
        if self.job_is_out {
            return false;
        }
        let has_grown = log.last() > self.checkpoint.position;
        let layers = self.view().layers;
        self.checkpoint_failed
            || layers.frozen.is_some()
            || layers.active.bytes() > self.options.overlay_bytes
            || has_grown && self.log_bytes_since_freeze > self.checkpoint_log_bytes()
            || !log.is_empty() && (self.over_budget_at.is_some() || self.lacks_reserve)
    }

    /// A log of which much is of what is deleted already should not use up the budget.
    fn checkpoint_log_bytes(&self) -> u64 {
        let budget = self.options.disk_budget_bytes.unwrap_or(u64::MAX);
        self.options.checkpoint_log_bytes.min(budget / 4)
    }

    /// Begins a checkpoint of all that is committed. There is none if nothing was committed since the
    /// last or one is under way.
    ///
    /// # Errors
    /// The tables were closed by a failure and cannot be opened, or there is no room. What is deleted
    /// meanwhile makes the checkpoint smaller.
    pub fn begin_checkpoint(&mut self) -> Result<Option<CheckpointJob>, CheckpointError> {
        let Some(log) = &self.log else {
            return Ok(None);
        };
        if self.job_is_out {
            return Ok(None);
        }
        let last = log.last();
        if self.lacks_reserve {
            self.keep_reserve();
        }
        self.open_tables()?;
        self.checkpoint_failed = false;
        if !self.make_room_for_checkpoint() {
            self.checkpoint_failed = true;
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(CheckpointError(ReadError::Io(full)));
        }
        let moves = self.has_room_to_move();
        let mut layers = Store::write_layers(&self.layers);
        if layers.frozen.is_none() {
            if last == self.checkpoint.position {
                drop(layers);
                // Where a segment could not be begun or removed, it is tried again.
                self.shorten_log();
                self.keep_reserve();
                return Ok(None);
            }
            layers.frozen = Some(Arc::new(std::mem::take(&mut layers.active)));
            self.frozen_position = last;
            self.log_bytes_since_freeze = 0;
        }
        let (Some(frozen), Below::Tables(tables), Some(volumes)) =
            (&layers.frozen, &layers.tables, &self.volumes)
        else {
            return Ok(None);
        };
        let job = CheckpointJob {
            tables: Arc::clone(tables),
            overlay: Arc::clone(frozen),
            checkpoint: Checkpoint {
                position: self.frozen_position,
                ..self.checkpoint
            },
            volumes: Arc::clone(volumes),
            moves,
        };
        drop(layers);
        self.job_is_out = true;
        if last == self.frozen_position
            && self.room_is_short()
            && let Some(log) = &mut self.log
        {
            log.end_segment();
        }
        Ok(Some(job))
    }

    /// Takes what a checkpoint came to. If it was made, the segments of the log go that have nothing
    /// behind it.
    ///
    /// # Errors
    /// It was not made. Nothing is lost: the log and memory have it all, and
    /// [`begin_checkpoint`](Store::begin_checkpoint) tries again.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(), CheckpointError> {
        self.job_is_out = false;
        self.free = None;
        let CheckpointDone { result, took } = done;
        match result {
            Ok(checkpoint) => {
                self.checkpoint = checkpoint;
                Store::write_layers(&self.layers).frozen = None;
                self.statistics.checkpoints += 1;
                self.statistics
                    .checkpoint_millis
                    .record_duration(took, Duration::from_millis(1));
                self.shorten_log();
                self.keep_reserve();
                Ok(())
            }
            Err(error) => {
                self.statistics.failed_checkpoints += 1;
                self.checkpoint_failed = true;
                if matches!(&error, ReadError::Io(error) if is_full(error)) {
                    self.release_reserve();
                }
                // After a failure redb does nothing more with its file until it is opened again.
                Store::write_layers(&self.layers).tables = Below::Closed;
                // If that fails it is tried again before the next checkpoint.
                let _closed = self.open_tables();
                Err(CheckpointError(error))
            }
        }
    }

    /// Begins, runs and finishes a checkpoint.
    ///
    /// # Errors
    /// See [`finish_checkpoint`](Store::finish_checkpoint).
    pub fn make_checkpoint(&mut self) -> Result<(), CheckpointError> {
        match self.begin_checkpoint()? {
            Some(job) => self.finish_checkpoint(job.run()),
            None => Ok(()),
        }
    }

    /// Removes of the log what is in the tables.
    pub(super) fn shorten_log(&mut self) {
        // While the log has failed, what it is like is not known.
        let ends = self.room_is_short() && self.failure.is_none();
        let position = self.checkpoint.position;
        if let Some(log) = &mut self.log {
            if ends {
                log.end_at(position);
            }
            // A segment that stays is tried again with the next checkpoint.
            let _stays = log.truncate(position);
        }
    }

    /// Whether the last segment, too, has to go when it is in the tables. Otherwise it goes on, for
    /// a segment costs two syncs.
    fn room_is_short(&self) -> bool {
        self.options.disk_budget_bytes.is_some()
            || self.lacks_reserve
            || self.over_budget_at.is_some()
    }

    fn open_tables(&mut self) -> Result<(), CheckpointError> {
        let mut layers = Store::write_layers(&self.layers);
        let (Below::Closed, Some(disk)) = (&layers.tables, &self.disk) else {
            return Ok(());
        };
        let opened = Tables::open(&**disk, self.options.table_cache_bytes);
        let (tables, found) = opened.map_err(|error| {
            CheckpointError(match error {
                TablesError::Read(error) => error,
                TablesError::Newer(version) => {
                    ReadError::Damaged(format!("its format is suddenly {version}"))
                }
            })
        })?;
        let is_made = found.position != self.checkpoint.position;
        if !is_made {
            layers.thaw();
        } else if found.position == self.frozen_position {
            // The transaction that failed is there all the same.
            layers.frozen = None;
            self.checkpoint.position = found.position;
        } else {
            let what = format!("its checkpoint is suddenly at batch {}", found.position);
            return Err(CheckpointError(ReadError::Damaged(what)));
        }
        if let Some(volumes) = &self.volumes {
            volumes.settle(is_made);
        }
        self.checkpoint.live_bytes = found.live_bytes;
        layers.tables = Below::Tables(Arc::new(tables));
        Ok(())
    }
}
