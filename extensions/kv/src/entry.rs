//! What a key is.

use std::sync::Arc;

use nexum_types::{Message, Time};

/// A key that is there.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    /// The revision at which it came to be.
    pub(crate) created: u64,
    /// Revisions of the values before this one that can be seen, the oldest first.
    pub(crate) former: Vec<u64>,
    /// Under the topic `$kv/<bucket>/<key>`.
    pub(crate) message: Arc<Message>,
}

impl Entry {
    pub(crate) fn expires_at(&self) -> Option<Time> {
        self.message.expires_at()
    }

    /// Its time ran out: it is as if it were not there.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.message.is_expired(now)
    }

    /// What limits count: the key, the properties and the payload.
    pub(crate) fn size_bytes(&self, key: &str) -> u64 {
        (self.message.size_bytes() - self.message.topic_bytes() + key.len()) as u64
    }
}
