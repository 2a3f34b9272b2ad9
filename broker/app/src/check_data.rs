//! Looking at a data directory that no broker uses.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use nexum_records::describe;
use nexum_storage::{Disk, RealDisk, Store, check};

/// What was found, and whether it is whole.
pub(crate) struct Findings {
    pub(crate) text: String,
    pub(crate) is_whole: bool,
}

/// Reads and verifies every file.
///
/// # Errors
/// Why that is not possible, for the user.
pub(crate) fn check_data(directory: &Path) -> Result<Findings, String> {
    if !directory.is_dir() {
        return Err(format!(
            "{}: there is no such directory",
            directory.display()
        ));
    }
    let disk = RealDisk::open(directory).map_err(|error| error.to_string())?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", directory.display());
    let report = check(&disk).map_err(|error| named(&error))?;
    let store = Store::inspect(&disk).map_err(|error| named(&error))?;
    let contents = describe(&store.view()).map_err(|error| named(&error))?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{contents}\n{report}\n");
    Ok(Findings {
        text,
        is_whole: report.is_whole() && contents.unreadable.count == 0,
    })
}
