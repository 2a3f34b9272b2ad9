//! Opening a store: the tables, then the log behind their checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, RwLock};

use super::{Store, reserve};
use crate::batch::{Batch, BatchBuffer};
use crate::disk::Disk;
use crate::error::{OpenError, ReadError, is_full};
use crate::log::{Log, LogOptions};
use crate::options::{Durability, Options};
use crate::recovery::{self, Damage, Progress, Replay, Replayed, TornTail};
use crate::segment::segment_name;
use crate::series::volume::Volumes;
use crate::statistics::Statistics;
use crate::tables::{self, Checkpoint, Tables, TablesError};
use crate::view::{Below, Layers};

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The directory was empty.
    pub is_new: bool,
    /// The tables were built anew, because they were missing or, with salvage, damaged.
    pub tables_rebuilt: bool,
    /// The last batch that was in the tables.
    pub checkpoint: u64,
    /// The last batch there is.
    pub last: u64,
    /// Batches that were replayed…
    pub batches: u64,
    /// …the submissions in them…
    pub submissions: u64,
    /// …and the bytes of log that were read.
    pub log_bytes: u64,
    /// A write that a crash has interrupted, and that was taken away.
    pub torn: Option<TornTail>,
    /// What something other than a crash has altered. It was acknowledged and is lost.
    pub damage: Vec<Damage>,
    /// Volumes of which only the tables that are lost knew what is where. They have another name now.
    pub volumes_set_aside: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_new {
            return f.write_str("a new data directory");
        }
        write!(
            f,
            "checkpoint at batch {}, log to batch {}: {} batches with {} submissions replayed from \
             {} bytes",
            self.checkpoint, self.last, self.batches, self.submissions, self.log_bytes
        )?;
        if self.tables_rebuilt {
            f.write_str("; the tables were built anew")?;
        }
        if self.volumes_set_aside > 0 {
            let count = self.volumes_set_aside;
            write!(
                f,
                "; {count} volumes were set aside, records of series are lost"
            )?;
        }
        if let Some(torn) = &self.torn {
            write!(
                f,
                "; {}: {} bytes at {} of an interrupted write were cut",
                torn.file, torn.length, torn.offset
            )?;
        }
        for damage in &self.damage {
            write!(f, "; {damage}")?;
        }
        Ok(())
    }
}

impl Store {
    /// A store without a disk: see [`Durability::Memory`].
    pub fn in_memory(options: Options) -> Store {
        Store::build(None, options, Below::Nothing, NOTHING)
    }

    /// Opens what a directory holds, or begins it.
    ///
    /// # Errors
    /// What is there cannot be used, with the remedy.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Store, Report), OpenError> {
        Store::open_with(disk, options, &mut |_| {})
    }

    /// Opens what a directory holds, and tells how far it is.
    ///
    /// # Errors
    /// What is there cannot be used, with the remedy.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Store, Report), OpenError> {
        if options.durability == Durability::Memory {
            return Ok((Store::in_memory(options), Report::default()));
        }
        match Store::open_once(&disk, &options, progress) {
            // What the start needs is in the reserve, if that is there.
            Err(OpenError::Io { error, .. })
                if is_full(&error) && disk.remove(reserve::FILE).is_ok() =>
            {
                Store::open_once(&disk, &options, progress)
            }
            other => other,
        }
    }

    fn open_once(
        disk: &Arc<dyn Disk>,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Store, Report), OpenError> {
        let mut report = Report::default();
        let (tables, checkpoint) = open_tables(disk, options, &mut report)?;
        report.checkpoint = checkpoint.position;
        let disk_is_ours = Some(Arc::clone(disk));
        let mut store = Store::over(disk, tables, disk_is_ours, options.clone(), checkpoint)?;
        let replay = Replay {
            disk: &**disk,
            identity: checkpoint.identity,
            position: checkpoint.position,
            salvage: store.options.salvage,
            quarantine: true,
        };
        let replayed = replay.run(|batch| store.replay(batch), progress)?;
        recovery::mend(&**disk, &replayed).map_err(OpenError::io("the log"))?;
        report.last = replayed.last;
        report.batches = replayed.batches;
        report.submissions = replayed.submissions;
        report.log_bytes = replayed.bytes;
        report.torn.clone_from(&replayed.torn);
        report.damage.clone_from(&replayed.damage);
        store.begin_log(disk, replayed)?;
        if !report.damage.is_empty() {
            // So that what is damaged is not read again. If there is no checkpoint now, it is told
            // again at the next start.
            let _read_again = store.make_checkpoint();
        }
        if report.tables_rebuilt {
            report.volumes_set_aside = store.set_volumes_aside();
        } else if report.damage.is_empty() {
            store.remove_orphans();
        }
        store.shorten_log();
        store.keep_reserve();
        Ok((store, report))
    }

    /// Reads what a directory holds without changing it, to be looked at: what is committed to this
    /// store stays in memory.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn inspect(disk: &Arc<dyn Disk>) -> Result<Store, OpenError> {
        let options = Options {
            // Nothing is to be written while the log is read.
            overlay_bytes: usize::MAX,
            ..Options::default()
        };
        let opened = Tables::open(&**disk, options.table_cache_bytes);
        let (tables, checkpoint) = opened.map_err(tables_unusable)?;
        let mut store = Store::over(disk, tables, None, options, checkpoint)?;
        let replay = Replay {
            disk: &**disk,
            identity: checkpoint.identity,
            position: checkpoint.position,
            salvage: true,
            quarantine: false,
        };
        replay.run(|batch| store.replay(batch), &mut |_| {})?;
        Ok(store)
    }

    /// Over tables that are there, and what they say of series. `own` is the disk if it is written
    /// to, too.
    fn over(
        disk: &Arc<dyn Disk>,
        tables: Tables,
        own: Option<Arc<dyn Disk>>,
        options: Options,
        checkpoint: Checkpoint,
    ) -> Result<Store, OpenError> {
        let (next, _) = tables.volumes()?;
        let heads = tables.heads()?;
        let volumes_disk = Arc::clone(disk);
        let full = options.volume_bytes;
        let volumes = Volumes::new(volumes_disk, checkpoint.identity, next, full);
        let tables = Below::Tables(Arc::new(tables));
        let mut store = Store::build(own, options, tables, checkpoint);
        store.volumes = Some(Arc::new(volumes));
        Store::write_layers(&store.layers).heads = heads;
        Ok(store)
    }

    /// Keeps volumes of which nothing is known any more, and says how many.
    fn set_volumes_aside(&mut self) -> usize {
        let (Some(volumes), Below::Tables(tables)) = (&self.volumes, &self.view().layers.tables)
        else {
            return 0;
        };
        let (Ok(there), Ok((_, named))) = (volumes.list(), tables.volumes()) else {
            return 0;
        };
        let lost = there.into_iter().filter(|number| !named.contains(number));
        lost.filter(|number| volumes.set_aside(*number).is_ok())
            .count()
    }

    /// Removes volumes that a crash has left, and that nothing names.
    fn remove_orphans(&mut self) {
        let (Some(volumes), Below::Tables(tables)) = (&self.volumes, &self.view().layers.tables)
        else {
            return;
        };
        // One that stays takes room, and nothing else, until the next start.
        let (Ok(there), Ok((_, named))) = (volumes.list(), tables.volumes()) else {
            return;
        };
        for number in there {
            if !named.contains(&number) {
                volumes.remove(number);
            }
        }
    }

    fn build(
        disk: Option<Arc<dyn Disk>>,
        options: Options,
        tables: Below,
        checkpoint: Checkpoint,
    ) -> Store {
        Store {
            disk,
            options,
            layers: Arc::new(RwLock::new(Layers::over(tables))),
            volumes: None,
            log: None,
            batch: BatchBuffer::new(),
            pending: Vec::new(),
            next_offsets: BTreeMap::new(),
            offsets: Vec::new(),
            next_ticket: 0,
            failure: None,
            checkpoint,
            frozen_position: checkpoint.position,
            checkpoint_failed: false,
            job_is_out: false,
            log_bytes_since_freeze: 0,
            over_budget_at: None,
            free: None,
            lacks_reserve: false,
            statistics: Statistics::default(),
        }
    }

    fn replay(&mut self, batch: &Batch<'_>) -> Result<(), OpenError> {
        let changes = batch.changes().map_err(|_| OpenError::Unreadable {
            batch: batch.number,
        })?;
        let mut layers = Store::write_layers(&self.layers);
        for change in changes {
            layers.apply(change);
        }
        if layers.active.bytes() > self.options.overlay_bytes.saturating_mul(2)
            && let Some(volumes) = &self.volumes
        {
            let number = batch.number;
            self.checkpoint = write_replayed(&mut layers, self.checkpoint, number, volumes)?;
        }
        Ok(())
    }

    fn begin_log(&mut self, disk: &Arc<dyn Disk>, replayed: Replayed) -> Result<(), OpenError> {
        let options = LogOptions {
            identity: self.checkpoint.identity,
            syncs: self.options.durability == Durability::Fsync,
            segment_bytes: self.options.segment_bytes,
        };
        for first in &replayed.obsolete {
            match disk.remove(&segment_name(*first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(OpenError::io(segment_name(*first))(error));
                }
                _ => {}
            }
        }
        let next = replayed.last + 1;
        let is_sound = !replayed.is_behind && replayed.damage.is_empty();
        let goes_on = is_sound && !replayed.is_older;
        let log = match replayed.segments.back() {
            Some(segment) if goes_on => {
                let name = segment_name(segment.first);
                Log {
                    disk: Arc::clone(disk),
                    options,
                    file: disk.open(&name).map_err(OpenError::io(name))?,
                    segments: replayed.segments,
                    next,
                    ends_segment: false,
                }
            }
            _ => Log::begin(Arc::clone(disk), options, replayed.segments, next)
                .map_err(OpenError::io(segment_name(next)))?,
        };
        self.log_bytes_since_freeze = replayed.bytes;
        self.log = Some(log);
        Ok(())
    }
}

/// Makes room in memory while the log is read: what was read is durable in the tables then.
fn write_replayed(
    layers: &mut Layers,
    checkpoint: Checkpoint,
    position: u64,
    volumes: &Volumes,
) -> Result<Checkpoint, ReadError> {
    let overlay = std::mem::take(&mut layers.active);
    let Below::Tables(tables) = &layers.tables else {
        return Ok(checkpoint);
    };
    let checkpoint = Checkpoint {
        position,
        ..checkpoint
    };
    let live_bytes = tables.write(&overlay, checkpoint, volumes, false)?;
    Ok(Checkpoint {
        live_bytes,
        ..checkpoint
    })
}

const NOTHING: Checkpoint = Checkpoint {
    identity: 0,
    position: 0,
    live_bytes: 0,
};

fn open_tables(
    disk: &Arc<dyn Disk>,
    options: &Options,
    report: &mut Report,
) -> Result<(Tables, Checkpoint), OpenError> {
    let names = disk.list().map_err(OpenError::io("the data directory"))?;
    if names.iter().any(|name| name == tables::FILE) {
        let reason = match Tables::open(&**disk, options.table_cache_bytes) {
            Ok(opened) => return Ok(opened),
            Err(TablesError::Newer(version)) => {
                return Err(OpenError::Newer {
                    file: tables::FILE.into(),
                    version,
                });
            }
            Err(TablesError::Read(ReadError::Io(error))) => {
                return Err(OpenError::io(tables::FILE)(error));
            }
            Err(TablesError::Read(ReadError::Damaged(reason))) => reason,
        };
        if !options.salvage {
            return Err(OpenError::TablesDamaged { reason });
        }
        disk.rename(tables::FILE, tables::DAMAGED_FILE)
            .map_err(OpenError::io(tables::FILE))?;
    }
    let segments = recovery::segments(&**disk).map_err(OpenError::io("the data directory"))?;
    let first = segments.first().copied().unwrap_or(1);
    if first > 1 && !options.salvage {
        return Err(OpenError::TablesMissing { first });
    }
    report.is_new = segments.is_empty();
    report.tables_rebuilt = !report.is_new;
    let identity = recovery::identity_of(&**disk, &segments)?;
    let checkpoint = Checkpoint {
        identity: identity.unwrap_or_else(|| disk.unique()),
        position: first - 1,
        live_bytes: 0,
    };
    let full = options.volume_bytes;
    let volumes = Volumes::new(Arc::clone(disk), checkpoint.identity, 1, full);
    let tables = Tables::create(&**disk, options.table_cache_bytes, checkpoint, &volumes)?;
    Ok((tables, checkpoint))
}

/// Why the tables of a directory cannot be looked at.
pub(crate) fn tables_unusable(error: TablesError) -> OpenError {
    match error {
        TablesError::Newer(version) => OpenError::Newer {
            file: tables::FILE.into(),
            version,
        },
        TablesError::Read(error) => error.into(),
    }
}
