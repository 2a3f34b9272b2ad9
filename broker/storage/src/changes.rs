//! What a submission asks for, in the bytes that the log keeps.

use std::fmt;

use crate::series::SeriesId;

/// A table: an ordered map from keys to values, both bytes. The caller gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}", self.0)
    }
}

const PUT: u8 = 1;
const INSERT: u8 = 2;
const DELETE: u8 = 3;
const CREATE: u8 = 4;
const APPEND: u8 = 5;
const TRIM: u8 = 6;
const REMOVE: u8 = 7;

/// What stands before the record in an append.
const APPEND_BYTES: usize = 31;
/// Where the offset stands in it.
const OFFSET_AT: usize = 11;

/// Changes that become durable together or not at all, in this order. They are encoded as they are
/// added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    bytes: Vec<u8>,
    adds: bool,
    follows: bool,
    settles: bool,
    series: Vec<SeriesChange>,
    appends: bool,
}

/// A change that it depends on which series there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesChange {
    Create(SeriesId),
    /// With the place of its offset in the encoded changes, which the store fills in.
    Append(SeriesId, usize),
    Remove(SeriesId),
}

impl Changes {
    /// None yet.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// None yet, and room for so many bytes of keys and values and what stands before them.
    pub fn with_capacity(bytes: usize) -> Changes {
        Changes {
            bytes: Vec::with_capacity(bytes),
            ..Changes::default()
        }
    }

    /// Sets the value of a key.
    ///
    /// # Panics
    /// Key or value has 4 GiB or more.
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.set(PUT, table, key, value);
    }

    /// Sets the value of a key that the table does not have. The caller has to know: whether it is
    /// true is not checked, and where it is not, an older value may come back when the key is
    /// deleted. What is inserted and deleted between two checkpoints leaves no trace, while a key
    /// that was [`put`](Changes::put) has to be looked for in the tables.
    ///
    /// # Panics
    /// Key or value has 4 GiB or more.
    pub fn insert(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.set(INSERT, table, key, value);
    }

    /// Removes a key and its value, if it is there.
    ///
    /// # Panics
    /// The key has 4 GiB or more.
    pub fn delete(&mut self, table: TableId, key: &[u8]) {
        self.bytes.push(DELETE);
        self.bytes.extend_from_slice(&table.0.to_le_bytes());
        self.bytes.extend_from_slice(&length(key));
        self.bytes.extend_from_slice(key);
    }

    /// Begins a series: a run of records whose offsets begin with 0. A number that was used once is
    /// never used again.
    pub fn create_series(&mut self, series: SeriesId) {
        self.adds = true;
        self.series.push(SeriesChange::Create(series));
        self.series_change(CREATE, series);
    }

    /// Appends a record to a series that is there, at the next offset. The stamp is the caller's
    /// time, in whatever unit it counts.
    ///
    /// # Panics
    /// The record has 4 GiB or more.
    pub fn append(&mut self, series: SeriesId, stamp: u64, record: &[u8]) {
        self.adds = true;
        self.bytes.reserve(APPEND_BYTES + record.len());
        let offset_at = self.bytes.len() + OFFSET_AT;
        self.series.push(SeriesChange::Append(series, offset_at));
        self.appends = true;
        self.series_change(APPEND, series);
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(&stamp.to_le_bytes());
        self.bytes.extend_from_slice(&length(record));
        self.bytes.extend_from_slice(record);
    }

    /// Removes the records of a series before this offset.
    pub fn trim(&mut self, series: SeriesId, before: u64) {
        self.series_change(TRIM, series);
        self.bytes.extend_from_slice(&before.to_le_bytes());
    }

    /// Removes a series with all its records. What is appended to it must have its answer before.
    pub fn remove_series(&mut self, series: SeriesId) {
        self.series.push(SeriesChange::Remove(series));
        self.series_change(REMOVE, series);
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Has them pass only where what their submitter submitted before them did: it has no answer yet
    /// and is to come first. So they need room even if they only delete, unless they
    /// [`settle`](Changes::settle).
    pub fn keep_in_order(&mut self) {
        self.follows = true;
    }

    /// Has them pass where there is no room for others, as deletions do: they say what has become of
    /// what is there, are small, and are behind what makes room or before it. Not for what appends.
    pub fn settle(&mut self) {
        self.settles = true;
    }

    /// Whether they may not pass what was submitted before them.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// What it takes in the log.
    pub fn encoded_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether they pass where there is no room for others: they only delete, or settle.
    pub fn need_no_room(&self) -> bool {
        self.settles && !self.appends || !self.adds && !self.follows
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.adds = false;
        self.follows = false;
        self.settles = false;
        self.series.clear();
        self.appends = false;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn series(&self) -> &[SeriesChange] {
        &self.series
    }

    fn series_change(&mut self, tag: u8, series: SeriesId) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&series.table.0.to_le_bytes());
        self.bytes.extend_from_slice(&series.number.to_le_bytes());
    }

    fn set(&mut self, tag: u8, table: TableId, key: &[u8], value: &[u8]) {
        self.adds = true;
        self.bytes.reserve(11 + key.len() + value.len());
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&table.0.to_le_bytes());
        self.bytes.extend_from_slice(&length(key));
        self.bytes.extend_from_slice(&length(value));
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len())
        .expect("keys and values are below 4 GiB")
        .to_le_bytes()
}

/// One change, borrowed from its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Put(TableId, &'a [u8], &'a [u8]),
    Insert(TableId, &'a [u8], &'a [u8]),
    Delete(TableId, &'a [u8]),
    Create(SeriesId),
    Append(SeriesId, Record<'a>),
    Trim(SeriesId, u64),
    Remove(SeriesId),
}

/// A record of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// One more than that of the record before.
    pub offset: u64,
    /// The time that its submitter gave it.
    pub stamp: u64,
    /// What was appended.
    pub bytes: &'a [u8],
}

/// Bytes that no version of this program has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoChange;

/// Takes a change off the front.
pub(crate) fn split_change<'a>(bytes: &mut &'a [u8]) -> Result<Change<'a>, NoChange> {
    let [tag] = take_array(bytes)?;
    let table = TableId(u16::from_le_bytes(take_array(bytes)?));
    match tag {
        PUT | INSERT => {
            let key_bytes = u32::from_le_bytes(take_array(bytes)?);
            let value_bytes = u32::from_le_bytes(take_array(bytes)?);
            let key = take(bytes, key_bytes)?;
            let value = take(bytes, value_bytes)?;
            Ok(if tag == PUT {
                Change::Put(table, key, value)
            } else {
                Change::Insert(table, key, value)
            })
        }
        DELETE => {
            let key_bytes = u32::from_le_bytes(take_array(bytes)?);
            Ok(Change::Delete(table, take(bytes, key_bytes)?))
        }
        CREATE | APPEND | TRIM | REMOVE => {
            let number = u64::from_le_bytes(take_array(bytes)?);
            let series = SeriesId { table, number };
            Ok(match tag {
                CREATE => Change::Create(series),
                TRIM => Change::Trim(series, u64::from_le_bytes(take_array(bytes)?)),
                REMOVE => Change::Remove(series),
                _ => Change::Append(series, take_record(bytes)?),
            })
        }
        _ => Err(NoChange),
    }
}

fn take_record<'a>(bytes: &mut &'a [u8]) -> Result<Record<'a>, NoChange> {
    let offset = u64::from_le_bytes(take_array(bytes)?);
    let stamp = u64::from_le_bytes(take_array(bytes)?);
    let length = u32::from_le_bytes(take_array(bytes)?);
    let bytes = take(bytes, length)?;
    Ok(Record {
        offset,
        stamp,
        bytes,
    })
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], count: u32) -> Result<&'a [u8], NoChange> {
    let (taken, rest) = bytes.split_at_checked(count as usize).ok_or(NoChange)?;
    *bytes = rest;
    Ok(taken)
}

pub(crate) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], NoChange> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(NoChange)?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        let mut changes = Changes::new();
        changes.put(TableId(1), b"key", b"value");
        changes.insert(TableId(2), b"", b"");
        changes.delete(TableId(65535), b"k");
        let mut rest = changes.as_bytes();
        assert_eq!(
            split_change(&mut rest),
            Ok(Change::Put(TableId(1), b"key", b"value"))
        );
        assert_eq!(
            split_change(&mut rest),
            Ok(Change::Insert(TableId(2), b"", b""))
        );
        assert_eq!(
            split_change(&mut rest),
            Ok(Change::Delete(TableId(65535), b"k"))
        );
        assert!(rest.is_empty());
    }

    #[test]
    fn changes_of_series_are_read_as_they_were_written() {
        let series = SeriesId {
            table: TableId(3),
            number: 0x0102_0304_0506_0708,
        };
        let mut changes = Changes::new();
        changes.create_series(series);
        changes.append(series, 77, b"record");
        changes.trim(series, 9);
        changes.remove_series(series);
        let mut rest = changes.as_bytes();
        let record = Record {
            offset: 0,
            stamp: 77,
            bytes: b"record",
        };
        for change in [
            Change::Create(series),
            Change::Append(series, record),
            Change::Trim(series, 9),
            Change::Remove(series),
        ] {
            assert_eq!(split_change(&mut rest), Ok(change));
        }
        assert!(rest.is_empty());
        let [_, SeriesChange::Append(_, at), _] = *changes.series() else {
            panic!("it creates, appends and removes");
        };
        let mut bytes = changes.as_bytes().to_vec();
        bytes[at..at + 8].copy_from_slice(&5_u64.to_le_bytes());
        let mut rest = &bytes[11..];
        let record = Record {
            offset: 5,
            ..record
        };
        assert_eq!(split_change(&mut rest), Ok(Change::Append(series, record)));
    }

    #[test]
    fn deletions_that_have_to_come_after_others_need_room_unless_those_settle() {
        let mut changes = Changes::new();
        changes.delete(TableId(1), b"key");
        assert!(changes.need_no_room());
        changes.keep_in_order();
        assert!(!changes.need_no_room());
        changes.settle();
        assert!(changes.need_no_room());
    }

    #[test]
    fn a_cut_change_is_none() {
        let mut changes = Changes::new();
        changes.put(TableId(1), b"key", b"value");
        for cut in 0..changes.encoded_bytes() {
            assert_eq!(split_change(&mut &changes.as_bytes()[..cut]), Err(NoChange));
        }
        assert_eq!(split_change(&mut &[8, 0, 0, 0, 0, 0, 0][..]), Err(NoChange));
    }
}
