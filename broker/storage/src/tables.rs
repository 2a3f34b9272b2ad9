//! The tables on disk: one file of redb, changed by checkpoints alone.
//!
//! Each transaction records the number of the last batch that is in it, so that the file says by
//! itself from where on the log has to be replayed. redb does not verify what it reads, so each
//! value carries a checksum over its table, its key and itself.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crc32fast::Hasher;
use redb::{
    AccessGuard, Builder, Database, ReadableDatabase, StorageBackend, TableDefinition, TableError,
};

use crate::changes::{TableId, take_array};
use crate::disk::{Disk, DiskFile, read_exact};
use crate::error::ReadError;
use crate::overlay::Overlay;
use crate::segment::{FORMAT_VERSION, OLDEST_VERSION};
use crate::series::volume::Volumes;

mod rows;
mod series;

pub(crate) use self::rows::PageRow;

pub(crate) const FILE: &str = "tables.redb";
/// What a new file is called until it is whole.
pub(crate) const NEW_FILE: &str = "tables.new";
/// What a damaged one is called that was set aside.
pub(crate) const DAMAGED_FILE: &str = "tables.damaged";

const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("nexum");
const CHECKPOINT: &str = "checkpoint";
const UNTIL_DROPPED: &str = "it is taken when this is dropped";
const CHECKSUM_BYTES: usize = 4;

pub(crate) type Guard = AccessGuard<'static, &'static [u8]>;

/// What the last checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Of the log it belongs to.
    pub(crate) identity: u128,
    /// The last batch that is in the tables.
    pub(crate) position: u64,
    /// Bytes of all keys, values and volumes.
    pub(crate) live_bytes: u64,
}

pub(crate) struct Tables {
    /// Until it is dropped.
    database: Option<Database>,
    file: Arc<dyn DiskFile>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("file", &self.file).finish()
    }
}

#[derive(Debug)]
pub(crate) enum TablesError {
    Read(ReadError),
    Newer(u32),
}

impl From<ReadError> for TablesError {
    fn from(error: ReadError) -> TablesError {
        TablesError::Read(error)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

fn broken(error: impl Into<redb::Error>) -> ReadError {
    match error.into() {
        // That it is no file of redb is told so, too.
        redb::Error::Io(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            ReadError::Io(error)
        }
        error => ReadError::Damaged(error.to_string()),
    }
}

/// redb is not written for files that something else has altered: it may panic on them. The panic
/// ends here.
fn guarded<T, E: From<ReadError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(ReadError::Damaged(what.to_owned()).into())
    })
}

impl Tables {
    /// Opens the file, and makes sure that what it says now it says after a crash, too.
    pub(crate) fn open(
        disk: &dyn Disk,
        cache_bytes: usize,
    ) -> Result<(Tables, Checkpoint), TablesError> {
        let file = disk.open(FILE).map_err(ReadError::Io)?;
        file.forget_cached();
        guarded(|| {
            // A file without content would be made a new database.
            if file.len().map_err(ReadError::Io)? == 0 {
                return Err(ReadError::Damaged("it is empty".into()).into());
            }
            let tables = Tables::build(&file, cache_bytes)?;
            file.sync_data().map_err(ReadError::Io)?;
            let checkpoint = tables.checkpoint()?;
            Ok((tables, checkpoint))
        })
    }

    /// Makes an empty file. It has its name when it is whole.
    pub(crate) fn create(
        disk: &dyn Disk,
        cache_bytes: usize,
        checkpoint: Checkpoint,
        volumes: &Volumes,
    ) -> Result<Tables, ReadError> {
        match disk.remove(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = disk.create(NEW_FILE)?;
        guarded(|| {
            let tables = Tables::build(&file, cache_bytes)?;
            tables.write(&Overlay::default(), checkpoint, volumes, false)?;
            file.sync_data()?;
            disk.rename(NEW_FILE, FILE)?;
            disk.sync_directory()?;
            Ok(tables)
        })
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect(UNTIL_DROPPED)
    }

    fn build(file: &Arc<dyn DiskFile>, cache_bytes: usize) -> Result<Tables, ReadError> {
        let database = Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(Backend(Arc::clone(file)))
            .map_err(broken)?;
        Ok(Tables {
            database: Some(database),
            file: Arc::clone(file),
        })
    }

    fn checkpoint(&self) -> Result<Checkpoint, TablesError> {
        let transaction = self.database().begin_read().map_err(broken)?;
        let meta = transaction.open_table(META).map_err(broken)?;
        let bytes = meta.get(CHECKPOINT).map_err(broken)?;
        let bytes = bytes.ok_or_else(|| ReadError::Damaged("it has no checkpoint".into()))?;
        decode_checkpoint(bytes.value())
    }

    /// Puts an overlay into the tables, durably. Returns the bytes of all keys, values and volumes. If
    /// it fails, it is not known whether it is there. `moves` says whether pages may be moved to make
    /// few volumes of many.
    pub(crate) fn write(
        &self,
        overlay: &Overlay,
        checkpoint: Checkpoint,
        volumes: &Volumes,
        moves: bool,
    ) -> Result<u64, ReadError> {
        guarded(|| {
            let mut live_bytes = checkpoint.live_bytes;
            let mut transaction = self.database().begin_write().map_err(broken)?;
            // The file opens in no time after a crash.
            transaction.set_quick_repair(true);
            let mut buffer = Vec::new();
            for (id, entries) in overlay.tables() {
                let name = table_name(id);
                let mut table = transaction.open_table(definition(&name)).map_err(broken)?;
                for (key, entry) in entries {
                    let key_bytes = key.len() as u64;
                    let replaced = match entry.value() {
                        Some(value) => {
                            buffer.clear();
                            buffer.extend_from_slice(value);
                            buffer.extend_from_slice(&checksum(id, key, value));
                            live_bytes += key_bytes + value.len() as u64;
                            table.insert(key, buffer.as_slice()).map_err(broken)?
                        }
                        None => table.remove(key).map_err(broken)?,
                    };
                    if let Some(replaced) = replaced {
                        let value_bytes = replaced.value().len().saturating_sub(CHECKSUM_BYTES);
                        live_bytes = live_bytes.saturating_sub(key_bytes + value_bytes as u64);
                    }
                }
            }
            let series = series::write(&transaction, overlay, volumes, moves)?;
            live_bytes = (live_bytes + series.added).saturating_sub(series.removed);
            let encoded = encode_checkpoint(Checkpoint {
                live_bytes,
                ..checkpoint
            });
            transaction
                .open_table(META)
                .map_err(broken)?
                .insert(CHECKPOINT, encoded.as_slice())
                .map_err(broken)?;
            transaction.commit().map_err(broken)?;
            volumes.settle(true);
            for number in series.dead {
                volumes.remove(number);
            }
            Ok(live_bytes)
        })
    }

    pub(crate) fn get(&self, id: TableId, key: &[u8]) -> Result<Option<Guard>, ReadError> {
        guarded(|| {
            let transaction = self.database().begin_read().map_err(broken)?;
            let name = table_name(id);
            let table = match transaction.open_table(definition(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(broken(error)),
            };
            let found = table.get(key).map_err(broken)?;
            found
                .map(|guard| {
                    verify(id, key, guard.value())?;
                    Ok(guard)
                })
                .transpose()
        })
    }

    pub(crate) fn range(
        &self,
        id: TableId,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<TableRange>, ReadError> {
        guarded(|| {
            let transaction = self.database().begin_read().map_err(broken)?;
            let name = table_name(id);
            let table = match transaction.open_table(definition(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(broken(error)),
            };
            let range = table.range::<&[u8]>(bounds).map_err(broken)?;
            Ok(Some(TableRange { id, range }))
        })
    }

    /// The file's length.
    pub(crate) fn file_bytes(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// What the file takes of the disk.
    pub(crate) fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    /// Reads and verifies all there is.
    pub(crate) fn verify(&mut self) -> Result<Vec<(TableId, u64, u64)>, ReadError> {
        guarded(|| {
            let database = self.database.as_mut().expect(UNTIL_DROPPED);
            if !database.check_integrity().map_err(broken)? {
                return Err(ReadError::Damaged("its pages do not fit together".into()));
            }
            Ok(())
        })?;
        let names = guarded(|| {
            let transaction = self.database().begin_read().map_err(broken)?;
            let names: Vec<String> = transaction
                .list_tables()
                .map_err(broken)?
                .map(|table| redb::TableHandle::name(&table).to_owned())
                .collect();
            Ok::<_, ReadError>(names)
        })?;
        let mut found = Vec::new();
        for id in names.iter().filter_map(|name| parse_table_name(name)) {
            let (mut entries, mut bytes) = (0, 0);
            if let Some(mut range) = self.range(id, (Bound::Unbounded, Bound::Unbounded))? {
                while let Some((key, value)) = range.next()? {
                    entries += 1;
                    bytes += (key.value().len() + table_value(&value).len()) as u64;
                }
            }
            found.push((id, entries, bytes));
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // Closing writes, and what is written is nothing that the next opening needs.
        let database = self.database.take();
        let _closed: Result<(), ReadError> = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

/// A range of one table.
pub(crate) struct TableRange {
    id: TableId,
    range: redb::Range<'static, &'static [u8], &'static [u8]>,
}

impl TableRange {
    pub(crate) fn next(&mut self) -> Result<Option<(Guard, Guard)>, ReadError> {
        let TableRange { id, range } = self;
        guarded(|| {
            range
                .next()
                .map(|entry| {
                    let (key, value) = entry.map_err(broken)?;
                    verify(*id, key.value(), value.value())?;
                    Ok((key, value))
                })
                .transpose()
        })
    }
}

/// The value that was put, without what is kept with it.
pub(crate) fn table_value(guard: &Guard) -> &[u8] {
    let bytes = guard.value();
    &bytes[..bytes.len().saturating_sub(CHECKSUM_BYTES)]
}

fn table_name(id: TableId) -> String {
    format!("table-{}", id.0)
}

fn parse_table_name(name: &str) -> Option<TableId> {
    name.strip_prefix("table-")?.parse().ok().map(TableId)
}

fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn checksum(id: TableId, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = Hasher::new();
    hasher.update(&id.0.to_le_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

fn verify(id: TableId, key: &[u8], stored: &[u8]) -> Result<(), ReadError> {
    match stored.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, kept)) if checksum(id, key, value) == *kept => Ok(()),
        _ => Err(ReadError::Damaged(format!(
            "an entry of {id} does not fit its checksum"
        ))),
    }
}

fn encode_checkpoint(checkpoint: Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&checkpoint.identity.to_le_bytes());
    bytes.extend_from_slice(&checkpoint.position.to_le_bytes());
    bytes.extend_from_slice(&checkpoint.live_bytes.to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_checkpoint(bytes: &[u8]) -> Result<Checkpoint, TablesError> {
    let damaged = || TablesError::Read(ReadError::Damaged("its checkpoint is not whole".into()));
    let (mut covered, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(covered).to_le_bytes() != *checksum {
        return Err(damaged());
    }
    let version = u32::from_le_bytes(take_array(&mut covered).map_err(|_| damaged())?);
    if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&version) {
        return Err(TablesError::Newer(version));
    }
    Ok(Checkpoint {
        identity: u128::from_le_bytes(take_array(&mut covered).map_err(|_| damaged())?),
        position: u64::from_le_bytes(take_array(&mut covered).map_err(|_| damaged())?),
        live_bytes: u64::from_le_bytes(take_array(&mut covered).map_err(|_| damaged())?),
    })
}

/// redb's file, over ours.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact(&*self.0, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
