//! What the tables say of series: their heads, where their pages are, and what volumes there are.
//!
//! All rows carry a checksum over their table, key and value. What must stay true: a page row names a
//! place in a volume that has a row; the `live` of a volume is the bytes of the pages whose rows name
//! it; the pages of a series are in order and do not overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition,
    TableError, WriteTransaction,
};

use super::rows::{
    HEADS, NEXT, PAGES, PageRow, VOLUMES, VolumeRow, checked, damaged, decode_head, decode_page,
    decode_volume, encode_head, encode_page, encode_volume, page_key, page_keys, put, series_key,
};
use super::{Tables, broken, guarded};
use crate::changes::{NoChange, TableId, take_array};
use crate::error::ReadError;
use crate::overlay::Overlay;
use crate::series::volume::{VolumeWriter, Volumes};
use crate::series::{Head, Page, SeriesId, Tail};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// So many small volumes are left alone.
const SMALL_VOLUMES: usize = 8;
/// What a checkpoint did to volumes.
#[derive(Debug, Default)]
pub(crate) struct SeriesWritten {
    /// New volumes, in bytes.
    pub(crate) added: u64,
    /// Volumes that nothing names any more…
    pub(crate) dead: Vec<u64>,
    /// …in bytes.
    pub(crate) removed: u64,
}

const UNKNOWN: VolumeRow = VolumeRow {
    bytes: u64::MAX / 2,
    live: u64::MAX / 2,
};

/// Writes the pages of series into volumes, and what they say into the transaction. Until that is
/// committed, nothing of it counts.
pub(super) fn write(
    transaction: &WriteTransaction,
    overlay: &Overlay,
    volumes: &Volumes,
    moves: bool,
) -> Result<SeriesWritten, ReadError> {
    let mut written = SeriesWritten::default();
    if overlay.series().next().is_none() {
        return Ok(written);
    }
    let mut known = Known {
        pages: transaction.open_table(definition(PAGES)).map_err(broken)?,
        volumes: transaction
            .open_table(definition(VOLUMES))
            .map_err(broken)?,
        changed: BTreeMap::new(),
    };
    let mut heads = transaction.open_table(definition(HEADS)).map_err(broken)?;
    for (series, tail) in overlay.series() {
        let key = series_key(series);
        if tail.is_removed {
            known.remove_pages(series, u64::MAX)?;
            heads.remove(&key[..]).map_err(broken)?;
            continue;
        }
        known.remove_pages(series, tail.head.first)?;
        put(&mut heads, HEADS, &key, &encode_head(&tail.head))?;
    }
    let moved = match moves {
        true => known.take_scattered(volumes)?,
        false => Vec::new(),
    };
    let rows = write_pages(overlay, &moved, volumes)?;
    for (number, bytes) in rows.volumes {
        written.added += bytes;
        known.changed.insert(number, VolumeRow { bytes, live: 0 });
    }
    for row in rows.pages {
        known.add_page(&row)?;
    }
    let Known {
        volumes: mut rows_of_volumes,
        changed,
        ..
    } = known;
    for (number, row) in changed {
        let key = number.to_be_bytes();
        if row.live == 0 {
            rows_of_volumes.remove(&key[..]).map_err(broken)?;
            written.dead.push(number);
            written.removed += row.bytes;
        } else {
            put(&mut rows_of_volumes, VOLUMES, &key, &encode_volume(row))?;
        }
    }
    put(
        &mut rows_of_volumes,
        VOLUMES,
        NEXT,
        &volumes.next().to_le_bytes(),
    )?;
    Ok(written)
}

#[derive(Default)]
struct WrittenRows {
    pages: Vec<PageRow>,
    /// With their lengths.
    volumes: Vec<(u64, u64)>,
}

/// Large series first, each in volumes of its own; the small ones share, with what is moved.
fn write_pages(
    overlay: &Overlay,
    moved: &[Page],
    volumes: &Volumes,
) -> Result<WrittenRows, ReadError> {
    let is_large = |tail: &Tail| {
        let bytes: usize = tail.pages().map(Page::records_bytes).sum();
        bytes as u64 >= volumes.worth_a_volume()
    };
    let (large, small): (Vec<_>, Vec<_>) = overlay.series().partition(|(_, tail)| is_large(tail));
    let mut writing = Writing {
        volumes,
        writer: None,
        rows: WrittenRows::default(),
    };
    let kept = |tail: &Tail, page: &Page| page.next() > tail.head.first;
    for (_, tail) in large {
        for page in tail.pages().filter(|page| kept(tail, page)) {
            writing.push(page)?;
        }
        writing.end_volume()?;
    }
    for (_, tail) in small {
        for page in tail.pages().filter(|page| kept(tail, page)) {
            writing.push(page)?;
        }
    }
    for page in moved {
        writing.push(page)?;
    }
    writing.end_volume()?;
    let rows = writing.rows;
    if !rows.volumes.is_empty() {
        volumes.sync_names()?;
    }
    Ok(rows)
}

/// Pages on their way into volumes.
struct Writing<'v> {
    volumes: &'v Volumes,
    writer: Option<VolumeWriter<'v>>,
    rows: WrittenRows,
}

impl Writing<'_> {
    fn push(&mut self, page: &Page) -> Result<(), ReadError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(self.volumes.begin()?),
        };
        let place = writer.push(page)?;
        let is_full = writer.is_full();
        let header = page.header;
        self.rows.pages.push(PageRow { header, place });
        if is_full {
            self.end_volume()?;
        }
        Ok(())
    }

    fn end_volume(&mut self) -> Result<(), ReadError> {
        if let Some(writer) = self.writer.take() {
            let number = writer.number();
            self.rows.volumes.push((number, writer.finish()?));
        }
        Ok(())
    }
}

/// The rows of pages and volumes while they are changed.
struct Known<'t> {
    pages: Table<'t, &'static [u8], &'static [u8]>,
    volumes: Table<'t, &'static [u8], &'static [u8]>,
    changed: BTreeMap<u64, VolumeRow>,
}

impl Known<'_> {
    /// Removes what is wholly before an offset.
    fn remove_pages(&mut self, series: SeriesId, before: u64) -> Result<(), ReadError> {
        let mut gone = Vec::new();
        let range = page_keys(series, 0..=before);
        for entry in self
            .pages
            .range::<&[u8]>(&range.0[..]..=&range.1[..])
            .map_err(broken)?
        {
            let (key, value) = entry.map_err(broken)?;
            // A damaged one is in nobody's way.
            let Ok(row) = decode_page(series, key.value(), value.value()) else {
                continue;
            };
            if row.next() > before {
                break;
            }
            gone.push(row);
        }
        for row in gone {
            self.remove_page(&row)?;
        }
        Ok(())
    }

    fn remove_page(&mut self, row: &PageRow) -> Result<(), ReadError> {
        let key = page_key(row.header.series, row.header.first);
        self.pages.remove(&key[..]).map_err(broken)?;
        let volume = self.volume(row.place.volume)?;
        volume.live = volume.live.saturating_sub(u64::from(row.place.length));
        Ok(())
    }

    fn add_page(&mut self, row: &PageRow) -> Result<(), ReadError> {
        self.volume(row.place.volume)?.live += u64::from(row.place.length);
        let key = page_key(row.header.series, row.header.first);
        put(&mut self.pages, PAGES, &key, &encode_page(row))
    }

    /// Takes the pages out of volumes that are mostly dead, or small and many, so that they are
    /// written into another: in order, and small ones together.
    fn take_scattered(&mut self, volumes: &Volumes) -> Result<Vec<Page>, ReadError> {
        let mut pages = BTreeMap::new();
        for number in self.scattered(volumes)? {
            for (place, series, first) in volumes.pages(number)? {
                let key = page_key(series, first);
                let row = match self.pages.get(&key[..]).map_err(broken)? {
                    Some(value) => decode_page(series, &key, value.value()),
                    None => continue,
                };
                let Some(row) = row.ok().filter(|row| row.place == place) else {
                    continue;
                };
                match volumes.read(place, series) {
                    Ok(page) => pages.insert((series, first), page),
                    // It stays where it is, and with it the volume.
                    Err(ReadError::Damaged(_)) => continue,
                    Err(error) => return Err(error),
                };
                self.remove_page(&row)?;
            }
        }
        let mut joined: Vec<Page> = Vec::new();
        for page in pages.into_values() {
            let same = joined
                .last_mut()
                .filter(|it| it.header.series == page.header.series);
            if !same.is_some_and(|last| last.take_in(&page)) {
                joined.push(page);
            }
        }
        Ok(joined)
    }

    /// The volumes whose pages are to be moved.
    fn scattered(&self, volumes: &Volumes) -> Result<Vec<u64>, ReadError> {
        let (mut dead, mut small) = (Vec::new(), Vec::new());
        for entry in self.volumes.iter().map_err(broken)? {
            let (key, value) = entry.map_err(broken)?;
            let Ok(number) = <[u8; 8]>::try_from(key.value()) else {
                continue;
            };
            let number = u64::from_be_bytes(number);
            let row = match self.changed.get(&number) {
                Some(row) => *row,
                None => decode_volume(key.value(), value.value()).unwrap_or(UNKNOWN),
            };
            if row.live == 0 {
                continue;
            }
            if row.live < row.bytes / 3 {
                dead.push((number, row.live));
            } else if row.bytes < volumes.worth_a_volume() * 4 {
                small.push((number, row.live));
            }
        }
        if small.len() <= SMALL_VOLUMES {
            small.clear();
        }
        let mut moved = 0;
        let chosen = dead.into_iter().chain(small).take_while(|(_, live)| {
            moved += live;
            moved <= volumes.worth_moving()
        });
        Ok(chosen.map(|(number, _)| number).collect())
    }

    fn volume(&mut self, number: u64) -> Result<&mut VolumeRow, ReadError> {
        use std::collections::btree_map::Entry;
        match self.changed.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let key = number.to_be_bytes();
                let stored = self.volumes.get(&key[..]).map_err(broken)?;
                let row = stored.and_then(|value| decode_volume(&key, value.value()).ok());
                // Of one whose row is damaged it is not known when it is dead: it stays.
                Ok(vacant.insert(row.unwrap_or(UNKNOWN)))
            }
        }
    }
}

impl Tables {
    /// The number of the next volume, and the volumes there are.
    pub(crate) fn volumes(&self) -> Result<(u64, BTreeSet<u64>), ReadError> {
        let mut next = 1;
        let mut numbers = BTreeSet::new();
        self.for_each(VOLUMES, |key, value| {
            if key == NEXT {
                let mut rest = checked(VOLUMES, key, value)?;
                next = take_array(&mut rest)
                    .map(u64::from_le_bytes)
                    .map_err(|_| damaged(VOLUMES))?;
            } else {
                decode_volume(key, value)?;
                let number = <[u8; 8]>::try_from(key).map_err(|_| damaged(VOLUMES))?;
                numbers.insert(u64::from_be_bytes(number));
            }
            Ok(())
        })?;
        Ok((next, numbers))
    }

    /// All series.
    pub(crate) fn heads(&self) -> Result<BTreeMap<SeriesId, Head>, ReadError> {
        let mut heads = BTreeMap::new();
        self.for_each(HEADS, |key, value| {
            let mut rest = key;
            let fields = |rest: &mut &[u8]| -> Result<SeriesId, NoChange> {
                Ok(SeriesId {
                    table: TableId(u16::from_be_bytes(take_array(rest)?)),
                    number: u64::from_be_bytes(take_array(rest)?),
                })
            };
            let series = fields(&mut rest).map_err(|_| damaged(HEADS))?;
            heads.insert(series, decode_head(key, value)?);
            Ok(())
        })?;
        Ok(heads)
    }

    /// The last page that begins at or before an offset.
    pub(crate) fn page_at(
        &self,
        series: SeriesId,
        offset: u64,
    ) -> Result<Option<PageRow>, ReadError> {
        self.page_in(series, 0..=offset, true)
    }

    /// The first page that begins behind an offset.
    pub(crate) fn page_behind(
        &self,
        series: SeriesId,
        offset: u64,
    ) -> Result<Option<PageRow>, ReadError> {
        match offset.checked_add(1) {
            Some(from) => self.page_in(series, from..=u64::MAX, false),
            None => Ok(None),
        }
    }

    /// Reads all pages.
    pub(crate) fn verify_pages(&self, volumes: &Volumes) -> Result<(), ReadError> {
        for series in self.heads()?.into_keys() {
            let mut row = self.page_at(series, 0)?;
            if row.is_none() {
                row = self.page_behind(series, 0)?;
            }
            while let Some(PageRow { header, place }) = row {
                if volumes.read(place, series)?.header != header {
                    return Err(damaged(PAGES));
                }
                row = self.page_behind(series, header.first)?;
            }
        }
        Ok(())
    }

    fn page_in(
        &self,
        series: SeriesId,
        offsets: RangeInclusive<u64>,
        last: bool,
    ) -> Result<Option<PageRow>, ReadError> {
        guarded(|| {
            let transaction = self.database().begin_read().map_err(broken)?;
            let Some(pages) = open(&transaction, PAGES)? else {
                return Ok(None);
            };
            let keys = page_keys(series, offsets);
            let mut range = pages
                .range::<&[u8]>(&keys.0[..]..=&keys.1[..])
                .map_err(broken)?;
            let found = if last {
                range.next_back()
            } else {
                range.next()
            };
            found
                .map(|entry| {
                    let (key, value) = entry.map_err(broken)?;
                    decode_page(series, key.value(), value.value())
                })
                .transpose()
        })
    }

    fn for_each(
        &self,
        name: &'static str,
        mut call: impl FnMut(&[u8], &[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        guarded(|| {
            let transaction = self.database().begin_read().map_err(broken)?;
            let Some(table) = open(&transaction, name)? else {
                return Ok(());
            };
            for entry in table.iter().map_err(broken)? {
                let (key, value) = entry.map_err(broken)?;
                call(key.value(), value.value())?;
            }
            Ok(())
        })
    }
}

fn open(transaction: &ReadTransaction, name: &'static str) -> Result<Option<Rows>, ReadError> {
    match transaction.open_table(definition(name)) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(broken(error)),
    }
}

fn definition(name: &'static str) -> Definition {
    TableDefinition::new(name)
}
