//! An extension as the binary has it, before it is at work.

use std::fmt;

use nexum_core::ExtensionConfig;
use nexum_extension_api::Extension;
use nexum_storage::{Store, TableId};
use nexum_types::Time;

/// An extension, and where its records are.
pub struct Composed {
    /// The table that has its records; the same for ever, and no other's. The first that is free is
    /// 16.
    pub table: u16,
    /// The extension, with nothing restored.
    pub extension: Box<dyn Extension>,
}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composed")
            .field("name", &self.extension.name())
            .field("table", &self.table)
            .finish()
    }
}

impl Composed {
    /// What the shards know of it.
    #[must_use]
    pub fn config(&self) -> ExtensionConfig {
        ExtensionConfig {
            table: self.table,
            claims: self.extension.claims(),
        }
    }

    /// Gives it back what it had written; returns how many records that was.
    ///
    /// # Errors
    /// A record cannot be read, by the store or by the extension.
    pub fn restore(&mut self, store: &Store, now: Time) -> Result<usize, RestoreError> {
        use std::ops::Bound::Unbounded;
        let name = self.extension.name();
        let error = |what: String| RestoreError { name, what };
        let view = store.view();
        let records = view
            .range(TableId(self.table), (Unbounded, Unbounded))
            .map_err(|it| error(it.to_string()))?;
        let mut count = 0;
        for record in records {
            let (key, value) = record.map_err(|it| error(it.to_string()))?;
            self.extension
                .restore(&key, &value, now)
                .map_err(|it| error(it.to_string()))?;
            count += 1;
        }
        Ok(count)
    }
}

/// An extension could not be given back what it had written.
#[derive(Debug)]
pub struct RestoreError {
    name: &'static str,
    what: String,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the records of '{}' cannot be read: {}",
            self.name, self.what
        )
    }
}

impl std::error::Error for RestoreError {}
