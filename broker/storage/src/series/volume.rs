//! Volumes: files of pages, written once by a checkpoint. FORMAT.md draws them.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Page, SeriesId, page};
use crate::batch::Seal;
use crate::changes::take_array;
use crate::disk::{Disk, DiskFile, read_exact};
use crate::error::ReadError;

pub(crate) const HEADER_BYTES: usize = 44;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"NEXUMVOL";
const EXTENSION: &str = ".vol";
/// So many stay open.
const OPEN: usize = 64;
/// So much is written at once.
const PIECE: usize = 1 << 20;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) volume: u64,
    pub(crate) position: u64,
    pub(crate) length: u32,
}

/// All volumes of a store.
pub(crate) struct Volumes {
    disk: Arc<dyn Disk>,
    identity: u128,
    /// Behind so many bytes a volume ends.
    full: u64,
    /// No volume had this number or a larger one.
    next: AtomicU64,
    /// The last used ones, the latest at the end.
    open: Mutex<Vec<(u64, Arc<dyn DiskFile>)>>,
    /// Begun by a checkpoint of which it is not known whether it was made.
    limbo: Mutex<Vec<u64>>,
}

impl fmt::Debug for Volumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volumes")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Volumes {
    /// `full` is how large a volume should become.
    pub(crate) fn new(disk: Arc<dyn Disk>, identity: u128, next: u64, full: u64) -> Volumes {
        Volumes {
            disk,
            identity,
            full,
            next: AtomicU64::new(next),
            open: Mutex::default(),
            limbo: Mutex::default(),
        }
    }

    /// What is worth a volume of its own.
    pub(crate) fn worth_a_volume(&self) -> u64 {
        self.full / 64
    }

    /// What is written at most to make few volumes of many.
    pub(crate) fn worth_moving(&self) -> u64 {
        self.full / 2
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Begins a volume. Its number is used up even if nothing comes of it.
    pub(crate) fn begin(&self) -> Result<VolumeWriter<'_>, ReadError> {
        let (number, file) = loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            match self.disk.create(&volume_name(number)) {
                Ok(file) => break (number, file),
                // A crash has left it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.limbo().push(number);
        Ok(VolumeWriter {
            volumes: self,
            number,
            file,
            gathered: header(self.identity, number).to_vec(),
            written: 0,
        })
    }

    pub(crate) fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    /// The checkpoint for which volumes were begun was made, or it was not.
    pub(crate) fn settle(&self, made: bool) {
        for number in std::mem::take(&mut *self.limbo()) {
            if !made {
                self.remove(number);
            }
        }
    }

    fn limbo(&self) -> MutexGuard<'_, Vec<u64>> {
        self.limbo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a volume that nothing names. One that stays is removed at the next start.
    pub(crate) fn remove(&self, number: u64) {
        self.lock().retain(|(other, _)| *other != number);
        let _stays = self.disk.remove(&volume_name(number));
    }

    /// Gives a volume a name under which nobody looks for it.
    pub(crate) fn set_aside(&self, number: u64) -> io::Result<()> {
        let name = volume_name(number);
        self.disk.rename(&name, &format!("{name}.lost"))
    }

    /// The page of a series at a place.
    pub(crate) fn read(&self, place: Place, series: SeriesId) -> Result<Page, ReadError> {
        let file = self.file(place.volume)?;
        let mut bytes = vec![0; place.length as usize];
        read_exact(&*file, place.position, &mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ReadError::Damaged(format!("{} is cut", volume_name(place.volume)))
            }
            _ => error.into(),
        })?;
        let page = Page::decode(bytes, Seal::new(self.identity))?;
        if page.header.series != series {
            let name = volume_name(place.volume);
            return Err(ReadError::Damaged(format!("{name} has another page")));
        }
        Ok(page)
    }

    /// Where the pages of a volume are, with whose they are and their first offsets, as far as it can
    /// be read. Nothing of it is verified.
    pub(crate) fn pages(&self, volume: u64) -> Result<Vec<(Place, SeriesId, u64)>, ReadError> {
        let file = self.file(volume)?;
        let end = file.len()?;
        let mut pages = Vec::new();
        let mut position = HEADER_BYTES as u64;
        while position < end {
            let mut start = [0; page::HEADER_BYTES];
            file.read_at(position, &mut start)?;
            let Ok((series, first, length)) = page::peek(&start) else {
                break;
            };
            let place = Place {
                volume,
                position,
                length,
            };
            pages.push((place, series, first));
            position += u64::from(length);
        }
        Ok(pages)
    }

    /// The numbers of all there are, whether or not they are named by anything.
    pub(crate) fn list(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list()?;
        Ok(names
            .iter()
            .filter_map(|name| parse_volume_name(name))
            .collect())
    }

    fn file(&self, number: u64) -> Result<Arc<dyn DiskFile>, ReadError> {
        let mut open = self.lock();
        if let Some(place) = open.iter().position(|(other, _)| *other == number) {
            let found = open.remove(place);
            let file = Arc::clone(&found.1);
            open.push(found);
            return Ok(file);
        }
        drop(open);
        let file = self.disk.open(&volume_name(number))?;
        let mut found = [0; HEADER_BYTES];
        read_exact(&*file, 0, &mut found)?;
        check_header(&found, self.identity, number)?;
        let mut open = self.lock();
        if open.len() >= OPEN {
            open.remove(0);
        }
        open.push((number, Arc::clone(&file)));
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Arc<dyn DiskFile>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A volume while it is written.
pub(crate) struct VolumeWriter<'a> {
    volumes: &'a Volumes,
    number: u64,
    file: Arc<dyn DiskFile>,
    gathered: Vec<u8>,
    written: u64,
}

impl VolumeWriter<'_> {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it should take no more.
    pub(crate) fn is_full(&self) -> bool {
        self.length() >= self.volumes.full
    }

    fn length(&self) -> u64 {
        self.written + self.gathered.len() as u64
    }

    pub(crate) fn push(&mut self, page: &Page) -> Result<Place, ReadError> {
        let position = self.length();
        page.encode(Seal::new(self.volumes.identity), &mut self.gathered);
        let length = self.length() - position;
        if self.gathered.len() >= PIECE {
            self.write()?;
        }
        Ok(Place {
            volume: self.number,
            position,
            length: length as u32,
        })
    }

    /// Makes it durable, but for its name. Returns its length.
    pub(crate) fn finish(mut self) -> Result<u64, ReadError> {
        self.write()?;
        self.file.sync_data()?;
        Ok(self.written)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.gathered)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

fn header(identity: u128, number: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..28].copy_from_slice(&identity.to_le_bytes());
    bytes[28..36].copy_from_slice(&number.to_le_bytes());
    // 36..40 are zero.
    let checksum = crc32fast::hash(&bytes[..40]);
    bytes[40..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn check_header(found: &[u8; HEADER_BYTES], identity: u128, number: u64) -> Result<(), ReadError> {
    if *found == header(identity, number) {
        return Ok(());
    }
    let mut rest = &found[8..];
    let version = take_array(&mut rest).map_or(0, u32::from_le_bytes);
    let name = volume_name(number);
    Err(ReadError::Damaged(match version > VERSION {
        true => format!("{name} is of format {version}, which a newer version writes"),
        false => format!("{name} does not begin with its header"),
    }))
}

/// The name of the volume with this number.
pub(crate) fn volume_name(number: u64) -> String {
    format!("{number:020}{EXTENSION}")
}

fn parse_volume_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}
