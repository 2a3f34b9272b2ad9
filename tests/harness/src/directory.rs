//! A directory that is gone when its owner is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh, empty directory, removed with everything in it on drop.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
}

impl TemporaryDirectory {
    /// Makes one below the system's directory for temporary files.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn new() -> TemporaryDirectory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nexum-test-{}-{number}", process::id()));
        // A directory of that name is the remains of a killed test run with the same process id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        TemporaryDirectory { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is, as evidence of a test that failed.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Default for TemporaryDirectory {
    fn default() -> TemporaryDirectory {
        TemporaryDirectory::new()
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // Left-overs in the system's directory for temporary files fail no test.
        let _ = fs::remove_dir_all(&self.path);
    }
}
