use nexum_storage::{Changes, Store};

use crate::error::RecordsError;
use crate::fields::{Fields, Unreadable};
use crate::tables::META;

/// The version of all records together: which tables there are, and what they mean to each other.
const FORMAT_VERSION: u32 = 1;
const KEY: &[u8] = b"records";

/// What is said once about all records of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Names the homes of sessions, topics and shared subscriptions: see
    /// [`home_of`](nexum_core::home_of).
    pub seed: u64,
    /// Whether it was not there and has been written now.
    pub is_new: bool,
}

impl Meta {
    /// Reads it. Where there is none it is made with the seed given, and committed together with
    /// whatever else was submitted.
    ///
    /// Records without it are of a store that has lost it. They come back all the same: each says
    /// its own version, and none depends on the seed.
    ///
    /// # Errors
    /// The store cannot be read or written, a later version of the program wrote its records, or
    /// it is damaged.
    pub fn open(store: &mut Store, fresh_seed: u64) -> Result<Meta, RecordsError> {
        if let Some(value) = store.view().get(META, KEY)? {
            return Meta::read(&value);
        }
        let meta = Meta {
            seed: fresh_seed,
            is_new: true,
        };
        let mut changes = Changes::new();
        changes.put(META, KEY, &meta.write());
        store.submit(&changes).map_err(RecordsError::Refused)?;
        store.commit().map_err(RecordsError::NotCommitted)?;
        Ok(meta)
    }

    fn write(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[4..].copy_from_slice(&self.seed.to_le_bytes());
        bytes
    }

    fn read(value: &[u8]) -> Result<Meta, RecordsError> {
        let mut fields = Fields::of_key(value);
        let unreadable =
            |why: Unreadable| RecordsError::unreadable("the format of the records".to_owned(), why);
        // Later versions keep these four bytes, so that this one can tell that they are later.
        match fields.u32().map_err(unreadable)? {
            0 => return Err(unreadable(Unreadable::Damaged("no version is 0"))),
            FORMAT_VERSION => {}
            version => {
                return Err(RecordsError::Newer {
                    what: "the format of the records".to_owned(),
                    version,
                    known: FORMAT_VERSION,
                });
            }
        }
        let seed = fields.u64().map_err(unreadable)?;
        fields.end().map_err(unreadable)?;
        Ok(Meta {
            seed,
            is_new: false,
        })
    }
}
