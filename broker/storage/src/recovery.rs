//! What a directory holds when it is opened: the log after the checkpoint, read again. FORMAT.md
//! argues it by cases.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::batch::{Batch, Seal, Stretch, Stretches};
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::log::Segment;
use crate::segment::{
    FORMAT_VERSION, HEADER_BYTES, NoHeader, SegmentHeader, parse_segment_name, segment_name,
};

/// Bytes of the log that are no batch, though batches or segments follow them: something altered
/// what was synced. They are kept in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub file: String,
    /// Where they are.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// The first batch that is lost, if any is…
    pub first_lost: u64,
    /// …and how many are; `None` where nothing tells.
    pub lost: Option<u64>,
    /// The file that holds the bytes now.
    pub quarantine: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            file,
            offset,
            length,
            first_lost,
            lost,
            quarantine,
        } = self;
        write!(f, "{file}: {length} bytes at {offset} are damaged")?;
        match lost {
            Some(0) => f.write_str(", no batch is lost")?,
            Some(1) => write!(f, ", batch {first_lost} is lost")?,
            Some(lost) => {
                let last_lost = first_lost + lost - 1;
                write!(f, ", batches {first_lost} to {last_lost} are lost")?;
            }
            None => write!(f, ", all batches from {first_lost} on are lost")?,
        }
        write!(f, "; the bytes are kept in {quarantine}")
    }
}

/// Bytes at the end of the log that were no whole batch: a write that a crash has interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: String,
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// How far the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the log that were read.
    pub read_bytes: u64,
    /// Of so many.
    pub total_bytes: u64,
    /// Batches that were read.
    pub batches: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let (read, total) = (mib(self.read_bytes), mib(self.total_bytes));
        write!(f, "{read} of {total} MiB, {} batches", self.batches)
    }
}

/// What reading the log came to.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Those that are still needed, in order.
    pub(crate) segments: VecDeque<Segment>,
    /// Those that are in the tables wholly.
    pub(crate) obsolete: Vec<u64>,
    /// A last segment without a header and without a batch, which is to be made anew.
    pub(crate) stillborn: Option<u64>,
    /// The last batch of the log; the checkpoint's, if the log ends before it.
    pub(crate) last: u64,
    /// Whether the log ends before the checkpoint.
    pub(crate) is_behind: bool,
    /// Whether the last segment is of an older version.
    pub(crate) is_older: bool,
    pub(crate) batches: u64,
    pub(crate) submissions: u64,
    pub(crate) bytes: u64,
    pub(crate) torn: Option<TornTail>,
    pub(crate) damage: Vec<Damage>,
}

/// What is asked of a replay.
pub(crate) struct Replay<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) identity: u128,
    /// The last batch that is in the tables.
    pub(crate) position: u64,
    /// Goes on where segments are missing.
    pub(crate) salvage: bool,
    /// Writes quarantine files.
    pub(crate) quarantine: bool,
}

/// A stretch that is no batch, until it is known whether any follows.
struct Bad {
    segment: u64,
    offset: u64,
    /// The batch whose header it begins with, if that is whole.
    number: Option<u64>,
    bytes: Vec<u8>,
}

/// The numbers of the first batches of all segments, in order.
pub(crate) fn segments(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let names = disk.list()?;
    Ok(names
        .iter()
        .filter_map(|name| parse_segment_name(name))
        .collect())
}

/// The identity of the log that the segments are of, if one says it.
pub(crate) fn identity_of(disk: &dyn Disk, segments: &[u64]) -> Result<Option<u128>, OpenError> {
    for first in segments {
        let name = segment_name(*first);
        let read = || -> io::Result<Vec<u8>> {
            let file = disk.open(&name)?;
            let mut bytes = vec![0; HEADER_BYTES];
            let count = file.read_at(0, &mut bytes)?;
            bytes.truncate(count);
            Ok(bytes)
        };
        match SegmentHeader::decode(&read().map_err(OpenError::io(name.as_str()))?) {
            Ok(header) => return Ok(Some(header.identity)),
            Err(NoHeader::Newer(version)) => {
                return Err(OpenError::Newer {
                    file: name,
                    version,
                });
            }
            Err(NoHeader::Damaged) => {}
        }
    }
    Ok(None)
}

impl Replay<'_> {
    /// Reads the log and calls with every batch that is not in the tables.
    pub(crate) fn run(
        &self,
        mut apply: impl FnMut(&Batch<'_>) -> Result<(), OpenError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Replayed, OpenError> {
        let listed = segments(self.disk).map_err(OpenError::io("the data directory"))?;
        // A segment is needed if the next does not begin with a batch that is still wanted or with
        // an earlier one.
        let needed_from = listed
            .iter()
            .rposition(|first| *first <= self.position.saturating_add(1))
            .unwrap_or(0);
        let (obsolete, needed) = listed.split_at(needed_from);
        let mut replayed = Replayed {
            obsolete: obsolete.to_vec(),
            last: needed.first().map_or(self.position, |first| first - 1),
            ..Replayed::default()
        };
        if replayed.last > self.position {
            self.missing(self.position + 1, replayed.last)?;
        }
        let mut total_bytes = 0;
        for first in needed {
            let name = segment_name(*first);
            let file = self.disk.open(&name).map_err(OpenError::io(&*name))?;
            total_bytes += file.len().map_err(OpenError::io(&*name))?;
        }
        let mut bad = Vec::new();
        let mut buffer = Vec::new();
        for (index, first) in needed.iter().enumerate() {
            let is_last = index + 1 == needed.len();
            let name = segment_name(*first);
            // That there is this segment proves that all before its first batch were synced.
            if !bad.is_empty() {
                self.settle(&mut bad, first - 1, &mut replayed)?;
                replayed.last = replayed.last.max(first - 1);
            }
            if *first > replayed.last + 1 {
                self.missing(replayed.last.max(self.position) + 1, first - 1)?;
                replayed.last = first - 1;
            }
            let file = self.disk.open(&name).map_err(OpenError::io(&*name))?;
            file.forget_cached();
            read_all(&*file, &mut buffer).map_err(OpenError::io(&*name))?;
            let header = self.header(&buffer, *first, &name)?;
            replayed.is_older = header.is_some_and(|header| header.version < FORMAT_VERSION);
            if header.is_none() {
                bad.push(Bad {
                    segment: *first,
                    offset: 0,
                    number: None,
                    bytes: buffer[..HEADER_BYTES.min(buffer.len())].to_vec(),
                });
            }
            let mut end = HEADER_BYTES.min(buffer.len()) as u64;
            let mut has_batch = false;
            for stretch in Stretches::new(&buffer, HEADER_BYTES, Seal::new(self.identity)) {
                match stretch {
                    Stretch::Bad {
                        offset,
                        length,
                        number,
                    } => bad.push(Bad {
                        segment: *first,
                        offset: offset as u64,
                        number,
                        bytes: buffer[offset..offset + length].to_vec(),
                    }),
                    Stretch::Batch(batch) => {
                        self.batch(&batch, *first, &mut bad, &mut replayed, &mut apply)?;
                        end = batch.end() as u64;
                        has_batch = true;
                    }
                }
            }
            replayed.bytes += buffer.len() as u64;
            if is_last {
                end = end.max(self.end(&mut bad, &mut replayed)?);
                if header.is_none() && !has_batch {
                    replayed.stillborn = Some(*first);
                }
            }
            if replayed.stillborn.is_none() {
                replayed.segments.push_back(Segment { first: *first, end });
            }
            progress(Progress {
                read_bytes: replayed.bytes,
                total_bytes,
                batches: replayed.batches,
            });
        }
        replayed.is_behind = replayed.last < self.position;
        replayed.last = replayed.last.max(self.position);
        Ok(replayed)
    }

    fn header(
        &self,
        segment: &[u8],
        first: u64,
        name: &str,
    ) -> Result<Option<SegmentHeader>, OpenError> {
        match SegmentHeader::decode(segment) {
            Ok(header) if header.identity == self.identity && header.first == first => {
                Ok(Some(header))
            }
            Ok(_) => Err(OpenError::Foreign {
                file: name.to_owned(),
            }),
            Err(NoHeader::Newer(version)) => Err(OpenError::Newer {
                file: name.to_owned(),
                version,
            }),
            Err(NoHeader::Damaged) => Ok(None),
        }
    }

    fn batch(
        &self,
        batch: &Batch<'_>,
        segment: u64,
        bad: &mut Vec<Bad>,
        replayed: &mut Replayed,
        apply: &mut impl FnMut(&Batch<'_>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        if batch.number <= replayed.last {
            // A second copy of what was read already: no write of ours puts it there.
            let offset = batch.offset as u64;
            let first_lost = replayed.last + 1;
            let damage = self.damage(segment, offset, batch.payload, first_lost, Some(0))?;
            replayed.damage.push(damage);
            return Ok(());
        }
        if !bad.is_empty() {
            self.settle(bad, batch.number - 1, replayed)?;
        } else if batch.number > replayed.last + 1 {
            let kept = replayed.last.max(self.position);
            let lost = (batch.number - 1).saturating_sub(kept);
            let at = batch.offset as u64;
            let damage = self.damage(segment, at, &[], kept + 1, Some(lost))?;
            replayed.damage.push(damage);
        }
        replayed.last = batch.number;
        if batch.number > self.position {
            apply(batch)?;
            replayed.batches += 1;
            replayed.submissions += u64::from(batch.submissions);
        }
        Ok(())
    }

    /// What was bad is damage, for batches up to `last` were there. The batches that are lost are
    /// lost to the first stretch that can have held them.
    fn settle(
        &self,
        bad: &mut Vec<Bad>,
        last: u64,
        replayed: &mut Replayed,
    ) -> Result<(), OpenError> {
        // What is in the tables is not lost.
        let kept = replayed.last.max(self.position);
        let mut lost = last.saturating_sub(kept);
        for Bad {
            segment,
            offset,
            bytes,
            ..
        } in bad.drain(..)
        {
            let holds = if offset > 0 {
                std::mem::take(&mut lost)
            } else {
                0
            };
            let damage = self.damage(segment, offset, &bytes, kept + 1, Some(holds))?;
            replayed.damage.push(damage);
        }
        Ok(())
    }

    /// What is bad at the end of the last segment was being written when the machine stopped, and is
    /// cut. But only one batch is ever being written: if there is the header of a second one, the
    /// first was synced, and is damaged. Returns the end of what stays of the segment.
    fn end(&self, bad: &mut Vec<Bad>, replayed: &mut Replayed) -> Result<u64, OpenError> {
        let Some(torn) = bad.pop() else {
            return Ok(0);
        };
        // While a segment is being made there is nothing in it but its header.
        let no_header = bad.first().unwrap_or(&torn).offset == 0;
        if no_header && (torn.offset > 0 || !bad.is_empty()) {
            bad.push(torn);
            for Bad {
                segment,
                offset,
                bytes,
                ..
            } in bad.drain(..)
            {
                let first_lost = replayed.last + 1;
                let damage = self.damage(segment, offset, &bytes, first_lost, None)?;
                replayed.damage.push(damage);
            }
            return Ok(0);
        }
        if let Some(number) = torn.number
            && !bad.is_empty()
        {
            let before = number.saturating_sub(1);
            self.settle(bad, before, replayed)?;
            replayed.last = replayed.last.max(before);
        }
        let start = bad.first().unwrap_or(&torn).offset;
        let end = torn.offset + torn.bytes.len() as u64;
        replayed.torn = Some(TornTail {
            file: segment_name(torn.segment),
            offset: start,
            length: end - start,
        });
        bad.clear();
        Ok(start)
    }

    fn missing(&self, first: u64, last: u64) -> Result<(), OpenError> {
        if self.salvage {
            return Ok(());
        }
        Err(OpenError::Missing { first, last })
    }

    /// Keeps the bytes in a file of their own.
    fn damage(
        &self,
        segment: u64,
        offset: u64,
        bytes: &[u8],
        first_lost: u64,
        lost: Option<u64>,
    ) -> Result<Damage, OpenError> {
        let quarantine = format!("quarantine-{segment:020}-{offset}");
        if self.quarantine {
            let keep = || -> io::Result<()> {
                let file = match self.disk.create(&quarantine) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.disk.open(&quarantine)?
                    }
                    other => other?,
                };
                file.write_at(0, bytes)?;
                file.sync_data()?;
                self.disk.sync_directory()
            };
            keep().map_err(OpenError::io(&*quarantine))?;
        }
        Ok(Damage {
            file: segment_name(segment),
            offset,
            length: bytes.len() as u64,
            first_lost,
            lost,
            quarantine,
        })
    }
}

/// In large pieces.
fn read_all(file: &dyn DiskFile, into: &mut Vec<u8>) -> io::Result<()> {
    let bytes = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    into.resize(bytes, 0);
    let count = file.read_at(0, into)?;
    into.truncate(count);
    Ok(())
}

/// Takes a torn tail away, and makes durable what was read: where a process has died alone, it may
/// not have been.
pub(crate) fn mend(disk: &dyn Disk, replayed: &Replayed) -> io::Result<()> {
    if let Some(first) = replayed.stillborn {
        disk.remove(&segment_name(first))?;
    }
    for segment in &replayed.segments {
        let name = segment_name(segment.first);
        let file = disk.open(&name)?;
        if let Some(torn) = &replayed.torn
            && torn.file == name
        {
            file.set_len(torn.offset)?;
        }
        file.sync_data()?;
    }
    disk.sync_directory()
}
