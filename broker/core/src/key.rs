//! Names for the things that shards own.

use std::hash::BuildHasher;

/// Which shard: 0 to one less than the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// The shard, of so many, that something belongs to by its name: a session by its Client Identifier,
/// a retained message by its topic, a shared subscription by `<ShareName>/<filter>`. The seed is
/// that of [`ShardConfig`](crate::ShardConfig).
#[must_use]
pub fn home_of(seed: u64, shards: u16, name: &str) -> ShardId {
    let homes = foldhash::quality::FixedState::with_seed(seed);
    ShardId((homes.hash_one(name) % u64::from(shards.max(1))) as u16)
}

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
