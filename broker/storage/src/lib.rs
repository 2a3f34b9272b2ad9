//! What makes a promise durable.
//!
//! A [`Store`] is a set of ordered tables of bytes, and a log. What is submitted is
//! gathered into a batch; a commit writes the batch to the log and syncs it once, however many
//! submissions it has; then all of them are durable and readers see them. Now and then a checkpoint
//! puts what has gathered in memory into the tables, and the log before it is removed. After a crash
//! the tables and the log behind their checkpoint are all that was promised. `FORMAT.md` draws the
//! files and argues recovery.
//!
//! It knows nothing of what the bytes mean, and of the machine only a [`Disk`]: a real
//! one, or one that a seed decides.
//!
//! ```
//! use nexum_storage::{Changes, Options, SimulatedDisk, Store, TableId};
//!
//! const TABLE: TableId = TableId(1);
//!
//! let disk = SimulatedDisk::new(7);
//! let (mut store, _) = Store::open(disk.mount(), Options::default())?;
//! let mut changes = Changes::new();
//! changes.put(TABLE, b"key", b"value");
//! store.submit(&changes)?;
//! store.commit()?; // Promised from here on.
//! changes.put(TABLE, b"key", b"another");
//! store.submit(&changes)?;
//!
//! disk.crash();
//! let (store, report) = Store::open(disk.mount(), Options::default())?;
//! assert_eq!(report.batches, 1);
//! assert_eq!(store.view().get(TABLE, b"key")?.as_deref(), Some(&b"value"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod batch;
mod changes;
mod check;
mod committer;
mod disk;
mod error;
mod key;
mod log;
mod options;
mod overlay;
mod random;
mod recovery;
mod segment;
mod series;
mod statistics;
mod store;
mod tables;
mod view;

pub use changes::{Changes, Record, TableId};
pub use check::{CheckReport, TableContents, check};
pub use committer::{
    Answer, Listener, StoreEvent, StoreThread, StoreWatcher, Submitter, ThreadOptions,
};
pub use disk::real::{DirectoryError, RealDisk};
pub use disk::simulated::{Failure, Fault, Operation, SimulatedDisk};
pub use disk::{Disk, DiskFile};
pub use error::{CheckpointError, CommitError, OpenError, ReadError, Refusal, ReopenError};
pub use options::{Durability, Options};
pub use recovery::{Damage, Progress, TornTail};
pub use series::{Head, Records, SeriesId};
pub use statistics::{Histogram, Statistics, Usage};
pub use store::{CheckpointDone, CheckpointJob, Committed, Reader, Report, Store, Ticket};
pub use view::{Bytes, Range, View};
