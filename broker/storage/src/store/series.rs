//! Series: which offsets their records get, and reading them.

use std::sync::{Arc, PoisonError};

use super::{Reader, Store};
use crate::changes::SeriesChange;
use crate::error::ReadError;
use crate::series::{Head, PageHeader, Records, SeriesId};
use crate::view::Found;

/// How often a page is looked for that a checkpoint moves meanwhile.
const ATTEMPTS: usize = 5;

impl Store {
    /// The offsets of all appends of a submission, with their places in it; none if a series is not
    /// there.
    pub(super) fn assign_offsets(&mut self, changes: &[SeriesChange]) -> Option<Vec<(usize, u64)>> {
        let mut offsets = Vec::new();
        if changes.is_empty() {
            return Some(offsets);
        }
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let stored = |series: SeriesId| layers.heads.get(&series).map(|head| head.next);
        let next_offsets = &mut self.next_offsets;
        let mut before = Vec::new();
        for change in changes {
            let (SeriesChange::Create(series)
            | SeriesChange::Append(series, _)
            | SeriesChange::Remove(series)) = *change;
            let known = next_offsets.get(&series).copied();
            before.push((series, known));
            let next = known.unwrap_or_else(|| stored(series));
            let next = match (change, next) {
                (SeriesChange::Create(_), next) => Some(next.unwrap_or(0)),
                (SeriesChange::Remove(_), _) => None,
                (SeriesChange::Append(_, at), Some(next)) => {
                    offsets.push((*at, next));
                    Some(next + 1)
                }
                (SeriesChange::Append(..), None) => {
                    // As if nothing of it had been looked at.
                    for (series, known) in before.into_iter().rev() {
                        match known {
                            Some(known) => next_offsets.insert(series, known),
                            None => next_offsets.remove(&series),
                        };
                    }
                    return None;
                }
            };
            next_offsets.insert(series, next);
        }
        Some(offsets)
    }
}

impl Reader {
    /// What there is of a series now.
    pub fn series(&self, series: SeriesId) -> Option<Head> {
        self.view().series(series)
    }

    /// Some records from an offset on, or from the first behind it that is kept; none if there are no
    /// more. What is in the tables is read while others commit.
    ///
    /// # Errors
    /// It cannot be read, or is damaged there: then what is behind it begins with another page.
    pub fn records(&self, series: SeriesId, from: u64) -> Result<Option<Records>, ReadError> {
        let mut attempts = 0;
        loop {
            let (found, from) = {
                let layers = self.view().layers;
                let Some(head) = layers.heads.get(&series) else {
                    return Ok(None);
                };
                let from = from.max(head.first);
                if from >= head.next {
                    return Ok(None);
                }
                (layers.find(series, from)?, from)
            };
            let page = match (found, &self.volumes) {
                (Some(Found::InMemory(page)), _) => Ok(page),
                (Some(Found::InVolume(row)), Some(volumes)) => {
                    volumes.read(row.place, series).map(Arc::new)
                }
                (None, _) | (Some(Found::InVolume(_)), None) => return Ok(None),
            };
            attempts += 1;
            match page {
                Ok(page) => return Ok(Some(Records::new(page, from))),
                // It is somewhere else now, or trimmed.
                Err(ReadError::Io(error))
                    if error.kind() == std::io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The offset of the first record whose stamp is at least this, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is damaged there.
    pub fn offset_at(&self, series: SeriesId, stamp: u64) -> Result<Option<u64>, ReadError> {
        let Some(page) = self.first_page(series, |page| page.last_stamp >= stamp)? else {
            return Ok(None);
        };
        let mut from = page;
        while let Some(records) = self.records(series, from)? {
            if let Some(found) = records.iter().find(|record| record.stamp >= stamp) {
                return Ok(Some(found.offset));
            }
            from = records.next();
        }
        Ok(None)
    }

    /// The offset of the first page before which so many bytes of records were written, or the next
    /// offset if there is none: what is before it can be trimmed to keep no more than the rest.
    ///
    /// # Errors
    /// It cannot be read, or is damaged there.
    pub fn offset_behind(&self, series: SeriesId, written: u64) -> Result<u64, ReadError> {
        let head = self.series(series).unwrap_or_default();
        if head.written <= written {
            return Ok(head.next);
        }
        let page = self.first_page(series, |page| page.written_before >= written)?;
        Ok(page.unwrap_or(head.next))
    }

    /// The offset of the first kept record in the first page of which something holds that holds of
    /// all behind it.
    fn first_page(
        &self,
        series: SeriesId,
        holds: impl Fn(&PageHeader) -> bool,
    ) -> Result<Option<u64>, ReadError> {
        let Some(head) = self.series(series) else {
            return Ok(None);
        };
        let (mut low, mut high) = (head.first, head.next);
        let mut first = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.view().layers.find(series, middle)?;
            let header = match &found {
                Some(Found::InMemory(page)) => &page.header,
                Some(Found::InVolume(row)) => &row.header,
                None => {
                    high = middle;
                    continue;
                }
            };
            if holds(header) {
                first = Some(header.first.max(head.first));
                high = middle.min(header.first);
            } else {
                low = header.first + u64::from(header.count);
            }
        }
        Ok(first)
    }
}
