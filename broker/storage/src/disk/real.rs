//! A directory of the machine.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::statvfs;
#[cfg(target_os = "linux")]
use rustix::fs::{Advice, fadvise};

use super::{Disk, DiskFile};

const LOCK: &str = "lock";

/// What stat counts blocks in.
const BLOCK_BYTES: u64 = 512;

/// A directory that this process alone uses.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    /// Locked as long as it is open.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DirectoryError {
    /// Another process uses it.
    Locked(PathBuf),
    /// The system refused something.
    Io {
        /// What it was about.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Locked(path) => write!(
                f,
                "{}: another process uses this data directory; stop it, or give this one a \
                 directory of its own",
                path.display()
            ),
            DirectoryError::Io { path, error } => {
                write!(f, "{}: cannot be used: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

impl RealDisk {
    /// Makes the directory if it is not there, and locks it until this is dropped.
    ///
    /// # Errors
    /// Another process has it, or the system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<RealDisk, DirectoryError> {
        let path = path.as_ref();
        let named = |path: &Path, error| DirectoryError::Io {
            path: path.to_owned(),
            error,
        };
        if !path.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| named(path, error))?;
        }
        let lock_path = path.join(LOCK);
        let lock = owners_own()
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| named(&lock_path, error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DirectoryError::Locked(path.to_owned()),
            TryLockError::Error(error) => named(&lock_path, error),
        })?;
        Ok(RealDisk {
            path: path.to_owned(),
            directory: File::open(path).map_err(|error| named(path, error))?,
            _lock: lock,
        })
    }
}

fn owners_own() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = owners_own().open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = owners_own().create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let numbers = statvfs(&self.path)?;
        Ok(numbers.f_bavail.saturating_mul(numbers.f_frsize))
    }

    fn unique(&self) -> u128 {
        let half = || u128::from(RandomState::new().hash_one(std::time::SystemTime::now()));
        half() << 64 | half()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks().saturating_mul(BLOCK_BYTES))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn forget_cached(&self) {
        #[cfg(target_os = "linux")]
        let _only_advice = fadvise(&self.0, 0, None, Advice::DontNeed);
    }
}
