//! Names for the things that shards own.

/// Which shard: 0 to one less than the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Names a network connection of one shard for as long as it is open. The index is dense and
/// reused, the generation never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// The place in the shard's table; the shell keeps its socket at the same place.
    pub index: u32,
    /// Tells this connection from earlier ones at the same place.
    pub generation: u32,
}

/// Names a session of one shard for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}
