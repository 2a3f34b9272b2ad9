//! Retained messages on their way to a new subscription.
//!
//! They are pulled as the session has room for them, one cursor a subscription, so a subscription
//! to a million retained messages costs a cursor and not a million queue entries.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;
use nexum_types::{Message, QoS};

use crate::key::ShardId;
use crate::retained::ReplayId;

/// How many topics published meanwhile are remembered for a replay from another shard.
const OVERTAKEN_MAXIMUM: usize = 65_536;

/// What is left to send for one subscription.
pub(crate) struct Replay {
    pub(crate) source: ReplaySource,
    pub(crate) maximum_qos: QoS,
    pub(crate) subscription_identifier: Option<u32>,
}

pub(crate) enum ReplaySource {
    /// From this shard's store.
    Local(ReplayId),
    /// From another shard's, in batches.
    Remote {
        shard: ShardId,
        /// What this shard calls it.
        token: u32,
        batch: VecDeque<Arc<Message>>,
        /// No further batch will come.
        complete: bool,
        /// A batch is under way.
        asked: bool,
        overtaken: Overtaken,
    },
}

/// Topics of which a newer message went to the session while older retained ones are still under
/// way from another shard; those must not come after it.
#[derive(Default)]
pub(crate) struct Overtaken {
    topics: HashSet<u64, foldhash::fast::FixedState>,
}

impl Overtaken {
    pub(crate) fn note(&mut self, topic_hash: u64) {
        if self.topics.len() < OVERTAKEN_MAXIMUM {
            self.topics.insert(topic_hash);
        }
    }

    pub(crate) fn contains(&self, topic_hash: u64) -> bool {
        self.topics.contains(&topic_hash)
    }
}
