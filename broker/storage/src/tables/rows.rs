//! The rows of the tables of series: keys, values and their checksums. FORMAT.md draws them.

use std::ops::RangeInclusive;

use crc32fast::Hasher;
use redb::Table;

use super::broken;
use crate::changes::{NoChange, take_array};
use crate::error::ReadError;
use crate::series::volume::Place;
use crate::series::{Head, PageHeader, SeriesId};

pub(super) const HEADS: &str = "series";
pub(super) const PAGES: &str = "pages";
pub(super) const VOLUMES: &str = "volumes";
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Under this key the volumes have the number of the next one.
pub(super) const NEXT: &[u8] = b"next";

/// Where a page is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRow {
    pub(crate) header: PageHeader,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeRow {
    pub(super) bytes: u64,
    /// Of its pages that have rows.
    pub(super) live: u64,
}

impl PageRow {
    pub(crate) fn next(&self) -> u64 {
        self.header.first + u64::from(self.header.count)
    }
}

pub(super) fn series_key(series: SeriesId) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&series.table.0.to_be_bytes());
    key[2..].copy_from_slice(&series.number.to_be_bytes());
    key
}

pub(super) fn page_key(series: SeriesId, first: u64) -> [u8; 18] {
    let mut key = [0; 18];
    key[..10].copy_from_slice(&series_key(series));
    key[10..].copy_from_slice(&first.to_be_bytes());
    key
}

pub(super) fn page_keys(series: SeriesId, offsets: RangeInclusive<u64>) -> ([u8; 18], [u8; 18]) {
    (
        page_key(series, *offsets.start()),
        page_key(series, *offsets.end()),
    )
}

pub(super) fn put(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    name: &str,
    key: &[u8],
    value: &[u8],
) -> Result<(), ReadError> {
    let stored = [value, &checksum(name, key, value)].concat();
    table.insert(key, &stored[..]).map_err(broken)?;
    Ok(())
}

pub(super) fn checksum(name: &str, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

pub(super) fn checked<'v>(name: &str, key: &[u8], stored: &'v [u8]) -> Result<&'v [u8], ReadError> {
    match stored.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, kept)) if checksum(name, key, value) == *kept => Ok(value),
        _ => Err(damaged(name)),
    }
}

pub(super) fn damaged(name: &str) -> ReadError {
    ReadError::Damaged(format!("a row of '{name}' does not fit its checksum"))
}

pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    let fields = [head.first, head.next, head.stamp, head.written];
    fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect()
}

pub(super) fn decode_head(key: &[u8], stored: &[u8]) -> Result<Head, ReadError> {
    let mut rest = checked(HEADS, key, stored)?;
    let mut next = || take_array(&mut rest).map(u64::from_le_bytes);
    let mut fields = || -> Result<Head, NoChange> {
        Ok(Head {
            first: next()?,
            next: next()?,
            stamp: next()?,
            written: next()?,
        })
    };
    fields().map_err(|_| damaged(HEADS))
}

pub(super) fn encode_volume(row: VolumeRow) -> Vec<u8> {
    [row.bytes.to_le_bytes(), row.live.to_le_bytes()].concat()
}

pub(super) fn decode_volume(key: &[u8], stored: &[u8]) -> Result<VolumeRow, ReadError> {
    let mut rest = checked(VOLUMES, key, stored)?;
    let mut next = || take_array(&mut rest).map(u64::from_le_bytes);
    match (next(), next()) {
        (Ok(bytes), Ok(live)) => Ok(VolumeRow { bytes, live }),
        _ => Err(damaged(VOLUMES)),
    }
}

pub(super) fn encode_page(row: &PageRow) -> Vec<u8> {
    let PageRow { header, place } = row;
    let mut bytes = Vec::with_capacity(52);
    bytes.extend_from_slice(&place.volume.to_le_bytes());
    bytes.extend_from_slice(&place.position.to_le_bytes());
    bytes.extend_from_slice(&place.length.to_le_bytes());
    bytes.extend_from_slice(&header.count.to_le_bytes());
    bytes.extend_from_slice(&header.first_stamp.to_le_bytes());
    bytes.extend_from_slice(&header.last_stamp.to_le_bytes());
    bytes.extend_from_slice(&header.written_before.to_le_bytes());
    bytes
}

pub(super) fn decode_page(
    series: SeriesId,
    key: &[u8],
    stored: &[u8],
) -> Result<PageRow, ReadError> {
    let mut rest = checked(PAGES, key, stored)?;
    let mut fields = || -> Result<PageRow, NoChange> {
        let place = Place {
            volume: u64::from_le_bytes(take_array(&mut rest)?),
            position: u64::from_le_bytes(take_array(&mut rest)?),
            length: u32::from_le_bytes(take_array(&mut rest)?),
        };
        let header = PageHeader {
            series,
            first: key
                .last_chunk()
                .copied()
                .map(u64::from_be_bytes)
                .ok_or(NoChange)?,
            count: u32::from_le_bytes(take_array(&mut rest)?),
            first_stamp: u64::from_le_bytes(take_array(&mut rest)?),
            last_stamp: u64::from_le_bytes(take_array(&mut rest)?),
            written_before: u64::from_le_bytes(take_array(&mut rest)?),
        };
        Ok(PageRow { header, place })
    };
    fields().map_err(|_| damaged(PAGES))
}
