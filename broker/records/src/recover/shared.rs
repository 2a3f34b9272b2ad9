use nexum_core::MessageId;

/// The size of no message: it is that of one that cannot be read.
const UNREADABLE: u32 = u32::MAX;

/// The shared messages there are, in the order of their names, as the table has them.
#[derive(Debug, Default)]
pub(super) struct SharedMessages {
    list: Vec<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: MessageId,
    size_bytes: u32,
    references: u32,
}

/// What a name leads to.
pub(super) enum Lookup {
    Found { size_bytes: u32 },
    Unreadable,
    Missing,
}

impl SharedMessages {
    pub(super) fn add(&mut self, id: MessageId, size_bytes: u32) {
        debug_assert!(self.list.last().is_none_or(|last| last.id < id));
        self.list.push(Shared {
            id,
            size_bytes,
            references: 0,
        });
    }

    pub(super) fn add_unreadable(&mut self, id: MessageId) {
        self.add(id, UNREADABLE);
    }

    /// Looks for a message, and counts one more that names it.
    pub(super) fn refer_to(&mut self, id: MessageId) -> Lookup {
        match self.list.binary_search_by_key(&id, |shared| shared.id) {
            Ok(index) if self.list[index].size_bytes == UNREADABLE => Lookup::Unreadable,
            Ok(index) => {
                let shared = &mut self.list[index];
                shared.references = shared.references.saturating_add(1);
                Lookup::Found {
                    size_bytes: shared.size_bytes,
                }
            }
            Err(_) => Lookup::Missing,
        }
    }

    /// Those that can be read, each with how many name it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, u32)> {
        self.list
            .iter()
            .filter(|shared| shared.size_bytes != UNREADABLE)
            .map(|shared| (shared.id, shared.references))
    }
}
