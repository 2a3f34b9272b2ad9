//! A batch in the log: submissions that become durable with one sync. FORMAT.md draws it.

use crc32fast::Hasher;

use crate::changes::{Change, Changes, NoChange, split_change, take, take_array};

pub(crate) const HEADER_BYTES: usize = 28;
const MAGIC: [u8; 4] = *b"NXMB";

/// What every checksum of a log begins with, so that a batch of another log, or one that a client
/// has put into a payload, is not taken for one of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal(u32);

impl Seal {
    pub(crate) fn new(identity: u128) -> Seal {
        Seal(crc32fast::hash(&identity.to_le_bytes()))
    }

    pub(crate) fn checksum(self, bytes: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// A batch that is being gathered: room for a header, then its submissions.
#[derive(Clone, Debug)]
pub(crate) struct BatchBuffer {
    bytes: Vec<u8>,
    submissions: u32,
}

impl BatchBuffer {
    pub(crate) fn new() -> BatchBuffer {
        BatchBuffer {
            bytes: vec![0; HEADER_BYTES],
            submissions: 0,
        }
    }

    pub(crate) fn push(&mut self, changes: &Changes) {
        self.push_bytes(changes.as_bytes());
    }

    pub(crate) fn push_bytes(&mut self, changes: &[u8]) {
        let length = u32::try_from(changes.len()).expect("the store refuses larger submissions");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(changes);
        self.submissions += 1;
    }

    /// Writes an offset into the payload.
    pub(crate) fn write_offset(&mut self, at: usize, offset: u64) {
        let at = HEADER_BYTES + at;
        self.bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        // What one huge batch needed is not kept for ever.
        self.bytes.shrink_to(4 << 20);
        self.submissions = 0;
    }

    pub(crate) fn submissions(&self) -> u32 {
        self.submissions
    }

    /// With its header.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// The whole batch, with its header written.
    pub(crate) fn seal(&mut self, seal: Seal, number: u64) -> &[u8] {
        let length = u32::try_from(self.payload().len()).expect("the store bounds its batches");
        let payload_checksum = seal.checksum(self.payload());
        let header = &mut self.bytes[..HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&number.to_le_bytes());
        header[16..20].copy_from_slice(&self.submissions.to_le_bytes());
        header[20..24].copy_from_slice(&payload_checksum.to_le_bytes());
        let header_checksum = seal.checksum(&header[..24]);
        header[24..28].copy_from_slice(&header_checksum.to_le_bytes());
        &self.bytes
    }
}

/// What the header of a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchHeader {
    payload_bytes: usize,
    number: u64,
    submissions: u32,
    payload_checksum: u32,
}

impl BatchHeader {
    fn decode(bytes: &[u8], seal: Seal) -> Option<BatchHeader> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let mut rest: &[u8] = header;
        if take_array(&mut rest) != Ok(MAGIC) {
            return None;
        }
        let length = u32::from_le_bytes(take_array(&mut rest).ok()?);
        let number = u64::from_le_bytes(take_array(&mut rest).ok()?);
        let submissions = u32::from_le_bytes(take_array(&mut rest).ok()?);
        let payload_checksum = u32::from_le_bytes(take_array(&mut rest).ok()?);
        let header_checksum = u32::from_le_bytes(take_array(&mut rest).ok()?);
        (header_checksum == seal.checksum(&header[..24])).then_some(BatchHeader {
            payload_bytes: length as usize,
            number,
            submissions,
            payload_checksum,
        })
    }
}

/// What a stretch of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'a> {
    /// A whole batch.
    Batch(Batch<'a>),
    /// No batch. Where the next stretch begins there may be one; if this is the last stretch, there
    /// is none behind it.
    Bad {
        offset: usize,
        length: usize,
        /// The batch whose header it begins with, if that is whole.
        number: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    pub(crate) offset: usize,
    pub(crate) number: u64,
    pub(crate) submissions: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Batch<'a> {
    pub(crate) fn end(&self) -> usize {
        self.offset + HEADER_BYTES + self.payload.len()
    }

    /// Every change in it, or nothing if one cannot be read.
    pub(crate) fn changes(&self) -> Result<Vec<Change<'a>>, NoChange> {
        let mut changes = Vec::new();
        let mut found = 0;
        for_each_submission(self.payload, |mut submission| {
            found += 1;
            while !submission.is_empty() {
                changes.push(split_change(&mut submission)?);
            }
            Ok(())
        })?;
        if found == self.submissions {
            Ok(changes)
        } else {
            Err(NoChange)
        }
    }
}

/// Calls with the encoded changes of each submission of a batch's payload.
pub(crate) fn for_each_submission<'a>(
    mut payload: &'a [u8],
    mut call: impl FnMut(&'a [u8]) -> Result<(), NoChange>,
) -> Result<(), NoChange> {
    while !payload.is_empty() {
        let length = u32::from_le_bytes(take_array(&mut payload)?);
        call(take(&mut payload, length)?)?;
    }
    Ok(())
}

/// Goes through what follows the header of a segment.
pub(crate) struct Stretches<'a> {
    bytes: &'a [u8],
    at: usize,
    seal: Seal,
}

impl<'a> Stretches<'a> {
    /// `bytes` is the whole segment, and its batches begin `at`.
    pub(crate) fn new(bytes: &'a [u8], at: usize, seal: Seal) -> Stretches<'a> {
        Stretches {
            bytes,
            at: at.min(bytes.len()),
            seal,
        }
    }

    fn batch_at(&self, at: usize) -> Option<Batch<'a>> {
        let rest = &self.bytes[at..];
        let header = BatchHeader::decode(rest, self.seal)?;
        let payload = rest
            .get(HEADER_BYTES..)?
            .get(..header.payload_bytes)
            .filter(|payload| self.seal.checksum(payload) == header.payload_checksum)?;
        Some(Batch {
            offset: at,
            number: header.number,
            submissions: header.submissions,
            payload,
        })
    }

    /// Where from `at` on a header is that belongs to this log. Its checksum is over 24 bytes, so a
    /// search is linear whatever payloads contain.
    fn header_from(&self, mut at: usize) -> Option<usize> {
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let found = rest.windows(MAGIC.len()).position(|four| four == MAGIC)?;
            at += found;
            if BatchHeader::decode(&self.bytes[at..], self.seal).is_some() {
                return Some(at);
            }
            at += 1;
        }
        None
    }
}

impl<'a> Iterator for Stretches<'a> {
    type Item = Stretch<'a>;

    fn next(&mut self) -> Option<Stretch<'a>> {
        let offset = self.at;
        if offset == self.bytes.len() {
            return None;
        }
        if let Some(batch) = self.batch_at(offset) {
            self.at = batch.end();
            return Some(Stretch::Batch(batch));
        }
        self.at = self.header_from(offset + 1).unwrap_or(self.bytes.len());
        Some(Stretch::Bad {
            offset,
            length: self.at - offset,
            number: BatchHeader::decode(&self.bytes[offset..], self.seal)
                .map(|header| header.number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::TableId;

    const SEAL: Seal = Seal(0x1234_5678);

    fn batch(number: u64, key: &[u8]) -> Vec<u8> {
        let mut changes = Changes::new();
        changes.put(TableId(0), key, b"value");
        let mut buffer = BatchBuffer::new();
        buffer.push(&changes);
        buffer.push(&changes);
        buffer.seal(SEAL, number).to_vec()
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        Stretches::new(bytes, 0, SEAL)
            .filter_map(|stretch| match stretch {
                Stretch::Batch(batch) => Some(batch.number),
                Stretch::Bad { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_flipped_bit_costs_its_batch_and_no_other() {
        let (first, second, third) = (batch(7, b"a"), batch(8, b"b"), batch(9, b"c"));
        let all = [&first[..], &second, &third].concat();
        assert_eq!(numbers(&all), [7, 8, 9]);
        for bit in 0..second.len() * 8 {
            let mut bytes = all.clone();
            bytes[first.len() + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(numbers(&bytes), [7, 9], "bit {bit}");
        }
    }

    #[test]
    fn a_cut_batch_is_bad_to_the_end() {
        let (first, second) = (batch(1, b"a"), batch(2, b"b"));
        let all = [&first[..], &second].concat();
        for cut in first.len() + 1..all.len() {
            let stretches: Vec<_> = Stretches::new(&all[..cut], 0, SEAL).collect();
            assert_eq!(stretches.len(), 2);
            let bad = Stretch::Bad {
                offset: first.len(),
                length: cut - first.len(),
                number: (cut >= first.len() + HEADER_BYTES).then_some(2),
            };
            assert_eq!(stretches[1], bad);
        }
    }

    #[test]
    fn a_batch_of_another_log_is_none() {
        assert_eq!(numbers(&batch(1, b"a")), [1]);
        let other = Seal::new(3);
        assert!(matches!(
            Stretches::new(&batch(1, b"a"), 0, other).next(),
            Some(Stretch::Bad { .. })
        ));
    }

    #[test]
    fn a_batch_gives_its_changes_back() {
        let bytes = batch(1, b"a");
        let Some(Stretch::Batch(batch)) = Stretches::new(&bytes, 0, SEAL).next() else {
            panic!("it is whole");
        };
        let put = Change::Put(TableId(0), b"a", b"value");
        assert_eq!(batch.changes(), Ok(vec![put, put]));
    }
}
