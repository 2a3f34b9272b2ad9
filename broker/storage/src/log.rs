//! The log as it is written: batches, one after another, in segments.
//!
//! What must stay true: all batches up to `next - 1` were written and, if the log syncs, synced;
//! `end` of the last segment is where they end; nothing behind it was acknowledged.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::batch::{BatchBuffer, Seal, Stretch, Stretches};
use crate::disk::{Disk, DiskFile};
use crate::error::is_full;
use crate::segment::{self, SegmentHeader, segment_name};

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    /// The last one is written to. There is none only while a reopening goes wrong.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    /// The number of the next batch.
    pub(crate) next: u64,
    /// Whether the next batch begins a segment, if there is room for one.
    pub(crate) ends_segment: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) identity: u128,
    /// Whether what is written is synced before it counts.
    pub(crate) syncs: bool,
    pub(crate) segment_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of its first batch.
    pub(crate) first: u64,
    /// Its header and its batches.
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) enum AppendError {
    /// There was no room. The log is as it was.
    Full,
    /// What the log is like is not known.
    Broken(io::Error),
}

/// Why a log could not be verified.
#[derive(Debug)]
pub(crate) enum VerifyError {
    Io(io::Error),
    /// A batch that was acknowledged is not there.
    Lost,
}

impl From<io::Error> for VerifyError {
    fn from(error: io::Error) -> VerifyError {
        VerifyError::Io(error)
    }
}

impl Log {
    /// Begins a log, or goes on with one in a new segment.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        mut segments: VecDeque<Segment>,
        next: u64,
    ) -> io::Result<Log> {
        let (segment, file) = begin_segment(&*disk, options, next)?;
        segments.retain(|other| other.first != next);
        segments.push_back(segment);
        Ok(Log {
            disk,
            options,
            segments,
            file,
            next,
            ends_segment: false,
        })
    }

    /// Writes a batch and syncs it. Returns its number.
    pub(crate) fn append(&mut self, batch: &mut BatchBuffer) -> Result<u64, AppendError> {
        let bytes = batch.len() as u64;
        let is_too_long = self.segment().end + bytes > self.options.segment_bytes;
        if self.segment_has_batches() && (is_too_long || self.ends_segment) {
            match self.roll() {
                Err(AppendError::Full) if !is_too_long => {}
                other => other?,
            }
        }
        let end = self.segment().end;
        let sealed = batch.seal(Seal::new(self.options.identity), self.next);
        if let Err(error) = self.file.write_at(end, sealed) {
            if !is_full(&error) {
                return Err(AppendError::Broken(error));
            }
            self.cut().map_err(AppendError::Broken)?;
            return Err(AppendError::Full);
        }
        if self.options.syncs {
            // Where this fails for want of room, what is on the disk is as unknown as in any other
            // case.
            self.file.sync_data().map_err(AppendError::Broken)?;
        }
        self.segment_mut().end += bytes;
        let number = self.next;
        self.next += 1;
        Ok(number)
    }

    /// Has the next batch begin a segment, so that those until now can be removed when they are in
    /// the tables.
    pub(crate) fn end_segment(&mut self) {
        self.ends_segment = self.segment_has_batches();
    }

    /// Goes on in a new segment if nothing is behind `position`, which is in the tables, so that
    /// [`truncate`](Log::truncate) can remove all that was written.
    pub(crate) fn end_at(&mut self, position: u64) {
        if self.last() == position && self.segment_has_batches() {
            // If it cannot be begun, perhaps a part of it is there: then the next batch begins it,
            // or has it removed durably, before the log grows on.
            self.ends_segment = true;
            let _by_the_next_batch = self.roll();
        }
    }

    /// All segments, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// Whether there is no batch in it, of which some may be in the tables.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.len() <= 1 && !self.segment_has_batches()
    }

    /// The last batch there is.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Removes segments that have nothing behind `position`, which is in the tables. That they are
    /// removed need not be durable: if one is there again, it is passed over and removed again.
    pub(crate) fn truncate(&mut self, position: u64) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].first <= position + 1 {
            match self.disk.remove(&segment_name(self.segments[0].first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.pop_front(),
            };
        }
        Ok(())
    }

    /// After a failure: finds out from the disk, not from memory, that every batch after `position`
    /// is there, cuts what was not acknowledged, and goes on in a new segment.
    pub(crate) fn reopen(&mut self, position: u64) -> Result<(), VerifyError> {
        let mut expected = position + 1;
        for segment in &self.segments {
            let file = self.disk.open(&segment_name(segment.first))?;
            file.forget_cached();
            expected = self.verify(*segment, &*file, expected)?;
        }
        if expected != self.next.max(position + 1) {
            return Err(VerifyError::Lost);
        }
        if let Some(segment) = self.segments.back() {
            self.file = self.disk.open(&segment_name(segment.first))?;
            self.cut()?;
        }
        self.go_on()?;
        Ok(())
    }

    /// Goes on in a new segment.
    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        // An empty one of that name is gone even if this fails.
        self.segments.retain(|other| other.first != self.next);
        let (segment, file) = begin_segment(&*self.disk, self.options, self.next)?;
        self.segments.push_back(segment);
        self.file = file;
        self.ends_segment = false;
        Ok(())
    }

    /// Returns the batch that is expected after this segment.
    fn verify(
        &self,
        segment: Segment,
        file: &dyn DiskFile,
        mut expected: u64,
    ) -> Result<u64, VerifyError> {
        let mut bytes = vec![0; usize::try_from(segment.end).expect("a segment fits into memory")];
        let count = file.read_at(0, &mut bytes)?;
        let is_ours = |header: SegmentHeader| {
            header.identity == self.options.identity && header.first == segment.first
        };
        if count < bytes.len() || !SegmentHeader::decode(&bytes).is_ok_and(is_ours) {
            return Err(VerifyError::Lost);
        }
        let seal = Seal::new(self.options.identity);
        for stretch in Stretches::new(&bytes, segment::HEADER_BYTES, seal) {
            match stretch {
                Stretch::Batch(batch) if batch.number == expected => expected += 1,
                Stretch::Batch(batch) if batch.number < expected => {}
                Stretch::Batch(_) | Stretch::Bad { .. } => return Err(VerifyError::Lost),
            }
        }
        Ok(expected)
    }

    fn segment(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }

    fn segment_has_batches(&self) -> bool {
        self.segments
            .back()
            .is_some_and(|segment| segment.end > segment::HEADER_BYTES as u64)
    }

    fn segment_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has a segment")
    }

    /// Takes away what is behind the last batch that counts.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.segment().end)?;
        if self.options.syncs {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), AppendError> {
        match self.go_on() {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                self.take_back(self.next).map_err(AppendError::Broken)?;
                self.ends_segment = false;
                Err(AppendError::Full)
            }
            Err(error) => Err(AppendError::Broken(error)),
        }
    }

    /// Takes a segment back that holds nothing, before the one before it grows on: if its name came
    /// back after a crash, it would say that the batches before it end there.
    fn take_back(&self, first: u64) -> io::Result<()> {
        match self.disk.remove(&segment_name(first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.options.syncs {
            self.disk.sync_directory()?;
        }
        Ok(())
    }
}

/// Makes a segment, durable with its name before a batch goes into it. A file of its name holds
/// nothing that was acknowledged, and goes.
fn begin_segment(
    disk: &dyn Disk,
    options: LogOptions,
    first: u64,
) -> io::Result<(Segment, Arc<dyn DiskFile>)> {
    let name = segment_name(first);
    match disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&name)?;
    let header = SegmentHeader {
        version: segment::FORMAT_VERSION,
        identity: options.identity,
        first,
    };
    file.write_at(0, &header.encode())?;
    if options.syncs {
        file.sync_data()?;
        disk.sync_directory()?;
    }
    let segment = Segment {
        first,
        end: segment::HEADER_BYTES as u64,
    };
    Ok((segment, file))
}
