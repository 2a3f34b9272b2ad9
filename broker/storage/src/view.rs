//! Reading: the active overlay, under it the frozen one, under that the tables.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, Deref};
use std::sync::{Arc, RwLockReadGuard};

use crate::changes::{Change, TableId};
use crate::error::ReadError;
use crate::overlay::Overlay;
use crate::series::{Head, Page, SeriesId};
use crate::tables::{Guard, PageRow, TableRange, Tables, table_value};

#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) active: Overlay,
    /// On its way into the tables.
    pub(crate) frozen: Option<Arc<Overlay>>,
    pub(crate) tables: Below,
    /// Of all series, wherever their records are.
    pub(crate) heads: BTreeMap<SeriesId, Head>,
}

/// What is under the overlays.
#[derive(Debug)]
pub(crate) enum Below {
    /// Nothing, ever.
    Nothing,
    Tables(Arc<Tables>),
    /// Tables that could not be opened again after a failure.
    Closed,
}

impl Below {
    fn tables(&self) -> Result<Option<&Tables>, ReadError> {
        match self {
            Below::Nothing => Ok(None),
            Below::Tables(tables) => Ok(Some(tables)),
            // Not for good: they are opened again.
            Below::Closed => Err(ReadError::Io(io::Error::other("closed after a failure"))),
        }
    }
}

/// The tables at one moment: all that was committed and nothing else. No commit is finished while it
/// is there, so it should not be there for long.
#[derive(Debug)]
pub struct View<'a> {
    pub(crate) layers: RwLockReadGuard<'a, Layers>,
}

/// Bytes of a key or value.
pub struct Bytes<'a>(Source<'a>);

enum Source<'a> {
    Memory(&'a [u8]),
    Key(Guard),
    Value(Guard),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Memory(bytes) => bytes,
            Source::Key(guard) => guard.value(),
            Source::Value(guard) => table_value(guard),
        }
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.escape_ascii().fmt(f)
    }
}

impl Layers {
    pub(crate) fn apply(&mut self, change: Change<'_>) {
        self.active.apply(change, &mut self.heads);
    }

    /// Where the record of a series with this offset is, or the first behind it.
    pub(crate) fn find(&self, series: SeriesId, offset: u64) -> Result<Option<Found>, ReadError> {
        let over = [Some(&self.active), self.frozen.as_deref()];
        let tails = over.into_iter().flatten().filter_map(|it| it.tail(series));
        let in_memory = tails
            .filter_map(|tail| tail.page_from(offset))
            .min_by_key(|found| found.page().header.first);
        if let Some(found) = &in_memory
            && found.page().header.first <= offset
        {
            return Ok(Some(Found::InMemory(found.share())));
        }
        let mut below = None;
        if let Some(tables) = self.tables.tables()? {
            below = tables
                .page_at(series, offset)?
                .filter(|row| row.next() > offset);
            if below.is_none() {
                below = tables.page_behind(series, offset)?;
            }
        }
        Ok(match (below, in_memory) {
            (Some(row), Some(found)) if found.page().header.first < row.header.first => {
                Some(Found::InMemory(found.share()))
            }
            (Some(row), _) => Some(Found::InVolume(row)),
            (None, found) => found.map(|found| Found::InMemory(found.share())),
        })
    }
}

/// A page.
pub(crate) enum Found {
    InMemory(Arc<Page>),
    InVolume(PageRow),
}

impl View<'_> {
    /// What there is of a series.
    pub fn series(&self, series: SeriesId) -> Option<Head> {
        self.layers.heads.get(&series).copied()
    }

    /// All series of a table.
    pub fn all_series(&self, table: TableId) -> impl Iterator<Item = (SeriesId, Head)> {
        let bounds = [0, u64::MAX].map(|number| SeriesId { table, number });
        let range = self.layers.heads.range(bounds[0]..=bounds[1]);
        range.map(|(series, head)| (*series, *head))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The tables cannot be read, or are damaged there.
    pub fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes<'_>>, ReadError> {
        let layers = &*self.layers;
        let over = [Some(&layers.active), layers.frozen.as_deref()];
        if let Some(entry) = over.into_iter().flatten().find_map(|o| o.get(table, key)) {
            return Ok(entry.value().map(|value| Bytes(Source::Memory(value))));
        }
        match layers.tables.tables()? {
            Some(tables) => Ok(tables
                .get(table, key)?
                .map(|guard| Bytes(Source::Value(guard)))),
            None => Ok(None),
        }
    }

    /// The entries of a table whose keys are within the bounds, in the order of their keys. One
    /// after another is read, with its page of the tables; nothing else is.
    ///
    /// # Errors
    /// The tables cannot be read.
    pub fn range(
        &self,
        table: TableId,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Range<'_>, ReadError> {
        let empty = match bounds {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start >= end,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        let mut below = match self.layers.tables.tables()? {
            Some(tables) if !empty => tables.range(table, bounds)?,
            _ => None,
        };
        let head = below.as_mut().map_or(Ok(None), TableRange::next)?;
        Ok(Range {
            layers: &self.layers,
            table,
            start: bounds.0.map(<[u8]>::to_vec),
            end: bounds.1.map(<[u8]>::to_vec),
            below,
            head,
            ended: empty,
        })
    }
}

/// Entries in order: see [`View::range`].
pub struct Range<'a> {
    layers: &'a Layers,
    table: TableId,
    /// Behind the last key that came.
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    below: Option<TableRange>,
    /// The next of those below.
    head: Option<(Guard, Guard)>,
    ended: bool,
}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl<'a> Range<'a> {
    fn advance(&mut self) -> Result<Option<(Bytes<'a>, Bytes<'a>)>, ReadError> {
        loop {
            let bounds = (
                self.start.as_ref().map(Vec::as_slice),
                self.end.as_ref().map(Vec::as_slice),
            );
            let active = self.layers.active.first(self.table, bounds);
            let frozen = self
                .layers
                .frozen
                .as_deref()
                .and_then(|frozen| frozen.first(self.table, bounds));
            // The upper of two that have the same key.
            let over = match (active, frozen) {
                (Some(active), Some(frozen)) if frozen.0 < active.0 => Some(frozen),
                (active, frozen) => active.or(frozen),
            };
            let below_first = match (&over, &self.head) {
                (Some((key, _)), Some((below, _))) => below.value() < *key,
                (None, head) => head.is_some(),
                (Some(_), None) => false,
            };
            if below_first {
                let Some((key, value)) = self.take_head()? else {
                    return Ok(None);
                };
                self.start = Bound::Excluded(key.value().to_vec());
                return Ok(Some((Bytes(Source::Key(key)), Bytes(Source::Value(value)))));
            }
            let Some((key, entry)) = over else {
                return Ok(None);
            };
            if self
                .head
                .as_ref()
                .is_some_and(|(below, _)| below.value() == key)
            {
                self.take_head()?;
            }
            self.start = Bound::Excluded(key.to_vec());
            if let Some(value) = entry.value() {
                return Ok(Some((
                    Bytes(Source::Memory(key)),
                    Bytes(Source::Memory(value)),
                )));
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<(Guard, Guard)>, ReadError> {
        let next = self.below.as_mut().map_or(Ok(None), TableRange::next)?;
        Ok(std::mem::replace(&mut self.head, next))
    }
}

impl<'a> Iterator for Range<'a> {
    /// Key and value.
    type Item = Result<(Bytes<'a>, Bytes<'a>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
