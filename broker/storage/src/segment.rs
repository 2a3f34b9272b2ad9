//! The name and the header of a segment, a file of the log. FORMAT.md draws them.

use crate::changes::take_array;

pub(crate) const HEADER_BYTES: usize = 44;
/// The version that is written. Since 2 there are series.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The oldest that is read.
pub(crate) const OLDEST_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"NEXUMLOG";
const EXTENSION: &str = ".log";

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Of the format.
    pub(crate) version: u32,
    pub(crate) identity: u128,
    /// The number of its first batch.
    pub(crate) first: u64,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// The checksum or the magic is wrong, or it is not whole.
    Damaged,
    /// It is of a format that this program does not know.
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.identity.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.first.to_le_bytes());
        // 36..40 are zero.
        let checksum = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(segment: &[u8]) -> Result<SegmentHeader, NoHeader> {
        let header: &[u8; HEADER_BYTES] = segment.first_chunk().ok_or(NoHeader::Damaged)?;
        let (covered, checksum) = header.split_at(40);
        if checksum != crc32fast::hash(covered).to_le_bytes() || !covered.starts_with(&MAGIC) {
            return Err(NoHeader::Damaged);
        }
        let mut rest = &covered[8..];
        let mut fields = || -> Result<_, crate::changes::NoChange> {
            Ok((
                u32::from_le_bytes(take_array(&mut rest)?),
                u128::from_le_bytes(take_array(&mut rest)?),
                u64::from_le_bytes(take_array(&mut rest)?),
            ))
        };
        let (version, identity, first) = fields().map_err(|_| NoHeader::Damaged)?;
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(NoHeader::Newer(version));
        }
        Ok(SegmentHeader {
            version,
            identity,
            first,
        })
    }
}

/// The name of the segment that begins with this batch.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}{EXTENSION}")
}

/// The number of its first batch, if it is the name of a segment. Batches are numbered from 1.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = all_digits.then(|| digits.parse().ok()).flatten()?;
    (first > 0).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        version: FORMAT_VERSION,
        identity: 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10,
        first: 77,
    };

    #[test]
    fn no_flipped_bit_gives_another_header() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(NoHeader::Damaged));
        }
        assert_eq!(SegmentHeader::decode(&bytes[..43]), Err(NoHeader::Damaged));
    }

    #[test]
    fn names_sort_as_numbers() {
        assert_eq!(segment_name(77), "00000000000000000077.log");
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        let others = [
            "77.log",
            "+0000000000000000077.log",
            "00000000000000000077",
            "00000000000000000000.log",
            "99999999999999999999.log",
        ];
        for name in others {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
