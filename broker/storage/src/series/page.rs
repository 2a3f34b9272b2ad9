//! Pages: some records of a series, one after another. FORMAT.md draws them.

use crate::batch::Seal;
use crate::changes::{NoChange, Record, take, take_array};
use crate::error::ReadError;

use super::{Head, SeriesId};
use crate::changes::TableId;

pub(crate) const HEADER_BYTES: usize = 62;
const MAGIC: [u8; 4] = *b"NXMP";
/// A page with as many bytes of records is full. One record may be more.
const FULL: usize = 32 * 1024;

/// What a page says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHeader {
    pub(crate) series: SeriesId,
    /// The offset of its first record.
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// The latest stamp of the series up to its first record…
    pub(crate) first_stamp: u64,
    /// …and up to its last.
    pub(crate) last_stamp: u64,
    /// Bytes of all records of the series before it.
    pub(crate) written_before: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) header: PageHeader,
    /// The records, behind what `start` leaves out.
    bytes: Vec<u8>,
    start: usize,
}

impl Page {
    /// Without a record, behind what there is.
    pub(crate) fn behind(series: SeriesId, head: &Head) -> Page {
        Page {
            header: PageHeader {
                series,
                first: head.next,
                count: 0,
                first_stamp: head.stamp,
                last_stamp: head.stamp,
                written_before: head.written,
            },
            bytes: Vec::new(),
            start: 0,
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.header.first + u64::from(self.header.count)
    }

    /// Whether it should take no more.
    pub(crate) fn is_full(&self) -> bool {
        self.records_bytes() >= FULL
    }

    /// What its records take, with what stands before each.
    pub(crate) fn records_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// What it takes of memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Page>() + self.bytes.capacity()
    }

    /// Gives back what it does not need, because it takes no more.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The record is the next.
    pub(crate) fn push(&mut self, stamp: u64, record: &[u8]) {
        let header = &mut self.header;
        header.last_stamp = header.last_stamp.max(stamp);
        if header.count == 0 {
            header.first_stamp = header.last_stamp;
        }
        header.count += 1;
        let length = u32::try_from(record.len()).expect("a change is below 4 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&stamp.to_le_bytes());
        self.bytes.extend_from_slice(record);
    }

    /// Takes the records of the page behind it, if both are one page together.
    pub(crate) fn take_in(&mut self, behind: &Page) -> bool {
        let fits = self.records_bytes() + behind.records_bytes() <= FULL;
        if behind.header.first != self.next() || !fits {
            return false;
        }
        self.bytes.extend_from_slice(&behind.bytes[behind.start..]);
        self.header.count += behind.header.count;
        self.header.last_stamp = behind.header.last_stamp;
        true
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[self.start..];
        let mut offset = self.header.first;
        std::iter::from_fn(move || {
            let record = take_record(&mut rest, offset).ok()?;
            offset += 1;
            Some(record)
        })
    }

    /// As it is in a volume, at the end of `bytes`.
    pub(crate) fn encode(&self, seal: Seal, bytes: &mut Vec<u8>) {
        let records = &self.bytes[self.start..];
        let start = bytes.len();
        let length = u32::try_from(records.len()).expect("a change is below 4 GiB");
        let header = &self.header;
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&header.series.table.0.to_le_bytes());
        bytes.extend_from_slice(&header.series.number.to_le_bytes());
        bytes.extend_from_slice(&header.first.to_le_bytes());
        bytes.extend_from_slice(&header.count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&header.first_stamp.to_le_bytes());
        bytes.extend_from_slice(&header.last_stamp.to_le_bytes());
        bytes.extend_from_slice(&header.written_before.to_le_bytes());
        debug_assert_eq!(bytes.len() - start, HEADER_BYTES);
        bytes.extend_from_slice(records);
        let checksum = seal.checksum(&bytes[start + 8..]);
        bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// A page of a volume, if it is whole.
    pub(crate) fn decode(bytes: Vec<u8>, seal: Seal) -> Result<Page, ReadError> {
        let header = decode(&bytes, seal)
            .map_err(|_| ReadError::Damaged("a page does not fit its checksum".into()))?;
        Ok(Page {
            header,
            bytes,
            start: HEADER_BYTES,
        })
    }
}

/// What a page would be that begins so, unverified: whose it is, and its length in the volume.
pub(crate) fn peek(mut start: &[u8]) -> Result<(SeriesId, u64, u32), NoChange> {
    let magic: [u8; 4] = take_array(&mut start)?;
    let _checksum: [u8; 4] = take_array(&mut start)?;
    if magic != MAGIC {
        return Err(NoChange);
    }
    let length = u32::from_le_bytes(take_array(&mut start)?);
    let series = SeriesId {
        table: TableId(u16::from_le_bytes(take_array(&mut start)?)),
        number: u64::from_le_bytes(take_array(&mut start)?),
    };
    let first = u64::from_le_bytes(take_array(&mut start)?);
    let length = length.checked_add(HEADER_BYTES as u32).ok_or(NoChange)?;
    Ok((series, first, length))
}

fn decode(page: &[u8], seal: Seal) -> Result<PageHeader, NoChange> {
    let mut rest = page;
    let magic: [u8; 4] = take_array(&mut rest)?;
    let checksum = u32::from_le_bytes(take_array(&mut rest)?);
    if magic != MAGIC || checksum != seal.checksum(rest) {
        return Err(NoChange);
    }
    let length = u32::from_le_bytes(take_array(&mut rest)?);
    let header = PageHeader {
        series: SeriesId {
            table: TableId(u16::from_le_bytes(take_array(&mut rest)?)),
            number: u64::from_le_bytes(take_array(&mut rest)?),
        },
        first: u64::from_le_bytes(take_array(&mut rest)?),
        count: {
            let count = u32::from_le_bytes(take_array(&mut rest)?);
            let _zero: [u8; 4] = take_array(&mut rest)?;
            count
        },
        first_stamp: u64::from_le_bytes(take_array(&mut rest)?),
        last_stamp: u64::from_le_bytes(take_array(&mut rest)?),
        written_before: u64::from_le_bytes(take_array(&mut rest)?),
    };
    if rest.len() != length as usize {
        return Err(NoChange);
    }
    let mut records = rest;
    for number in 0..header.count {
        take_record(&mut records, header.first + u64::from(number))?;
    }
    if records.is_empty() {
        Ok(header)
    } else {
        Err(NoChange)
    }
}

fn take_record<'a>(rest: &mut &'a [u8], offset: u64) -> Result<Record<'a>, NoChange> {
    let length = u32::from_le_bytes(take_array(rest)?);
    let stamp = u64::from_le_bytes(take_array(rest)?);
    let bytes = take(rest, length)?;
    Ok(Record {
        offset,
        stamp,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let series = SeriesId {
            table: TableId(19),
            number: 7,
        };
        let head = Head {
            first: 3,
            next: 40,
            stamp: 500,
            written: 1234,
        };
        let mut page = Page::behind(series, &head);
        page.push(490, b"one");
        page.push(510, b"");
        page.push(505, b"three");
        page
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let seal = Seal::new(5);
        let mut bytes = vec![1, 2, 3];
        page().encode(seal, &mut bytes);
        let read = Page::decode(bytes[3..].to_vec(), seal).expect("it is whole");
        assert_eq!(read.header, page().header);
        assert_eq!(
            (read.header.first_stamp, read.header.last_stamp),
            (500, 510)
        );
        let records: Vec<_> = read.records().collect();
        let told: Vec<_> = records
            .iter()
            .map(|it| (it.offset, it.stamp, it.bytes))
            .collect();
        let expected: [(u64, u64, &[u8]); 3] =
            [(40, 490, b"one"), (41, 510, b""), (42, 505, b"three")];
        assert_eq!(told, expected);
        let own = page();
        assert!(own.records().eq(records));
    }

    #[test]
    fn pages_that_follow_each_other_become_one() {
        let mut first = page();
        let head = Head {
            next: first.next(),
            stamp: first.header.last_stamp,
            ..Head::default()
        };
        let mut second = Page::behind(first.header.series, &head);
        second.push(600, b"four");
        assert!(!second.clone().take_in(&first), "it is before");
        assert!(first.take_in(&second));
        assert_eq!(
            first.records().last().map(|it| (it.offset, it.bytes)),
            Some((43, &b"four"[..]))
        );
        assert_eq!(
            (first.header.first_stamp, first.header.last_stamp),
            (500, 600)
        );
        let mut large = Page::behind(first.header.series, &Head { next: 44, ..head });
        large.push(600, &[0; FULL]);
        assert!(!first.take_in(&large));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gives_a_page() {
        let seal = Seal::new(5);
        let mut bytes = Vec::new();
        page().encode(seal, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::decode(other, seal).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Page::decode(bytes[..cut].to_vec(), seal).is_err());
        }
        assert!(Page::decode(bytes, Seal::new(6)).is_err(), "of another log");
    }
}
