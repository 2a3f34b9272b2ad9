//! Hashes of topics and levels that a client cannot foresee.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::NodeId;

/// Everything of it depends on the seed: with foldhash's own constants a client could write long
/// texts that collide whatever the seed is.
pub(crate) struct TopicHasher {
    seed: u64,
    shared: SharedSeed,
}

/// The hash of one level, wherever it stands.
#[derive(Clone, Copy)]
pub(crate) struct LevelHash(u64);

impl TopicHasher {
    pub(crate) fn new(seed: u64) -> TopicHasher {
        TopicHasher {
            seed,
            shared: SharedSeed::from_u64(seed),
        }
    }

    /// Of a whole topic.
    #[inline]
    pub(crate) fn topic(&self, topic: &[u8]) -> u32 {
        self.hash(topic) as u32
    }

    /// Of one level. A level is hashed once however many nodes are asked for it: it may have
    /// 65,535 bytes.
    #[inline]
    pub(crate) fn level(&self, level: &[u8]) -> LevelHash {
        LevelHash(self.hash(level))
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl LevelHash {
    /// Of the edge below the node `parent` that this level labels.
    #[inline]
    pub(crate) fn below(self, parent: NodeId) -> u32 {
        // Two odd numbers without a pattern (digits of pi); the halves of the product are folded
        // so that every bit of the result depends on every bit of both.
        let mixed = self.0 ^ u64::from(parent.0).wrapping_mul(0x243f_6a88_85a3_08d3);
        let product = u128::from(mixed) * 0xa409_3822_299f_31d1;
        ((product >> 64) as u64 ^ product as u64) as u32
    }
}
