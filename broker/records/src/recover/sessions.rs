use nexum_core::{SessionId, ShardId};

/// To whom something belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// To a session of this shard.
    Shard(ShardId),
    /// To a session that is there but cannot be read.
    Unreadable,
    /// To no session that is there.
    Nobody,
}

/// The sessions there are, in the order of their names, as the table has them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    list: Vec<(SessionId, Owner)>,
    /// Where the last one was that was asked for: mostly the next is the same.
    last: usize,
}

impl Sessions {
    pub(super) fn add(&mut self, id: SessionId, owner: Owner) {
        debug_assert!(self.list.last().is_none_or(|(last, _)| *last < id));
        self.list.push((id, owner));
    }

    pub(super) fn owner(&mut self, id: SessionId) -> Owner {
        if let Some((last, owner)) = self.list.get(self.last)
            && *last == id
        {
            return *owner;
        }
        match self.list.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(index) => {
                self.last = index;
                self.list[index].1
            }
            Err(_) => Owner::Nobody,
        }
    }
}
