//! Feeds: what a watcher has been told, and what waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use nexum_extension_api::{ConsumerId, FeedId, RecordKey};
use nexum_types::Message;

use crate::filter::Filter;
use crate::operation::Change;
use crate::record::entries_from;

/// A session that is connected.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    /// Deliveries it may be sent.
    pub(crate) credit: u32,
    /// It can be told what stands beside a message.
    pub(crate) takes_properties: bool,
    pub(crate) feeds: BTreeSet<FeedId>,
    /// Feeds with something for it, each at most once, in turn.
    pub(crate) ready: VecDeque<FeedId>,
}

/// A granted subscription.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) consumer: ConsumerId,
    pub(crate) bucket: u64,
    pub(crate) filter: Filter,
    /// It is among those of its consumer that are ready.
    pub(crate) is_ready: bool,
    /// What was there, before what has changed since.
    pub(crate) page: VecDeque<Arc<Update>>,
    pub(crate) backlog: Backlog,
    pub(crate) cursor: Option<Cursor>,
    beginnings: u64,
    /// It lost changes, and what comes next says so.
    pub(crate) starts_anew: bool,
}

/// What of the present has not been read yet. What changes there will be read, and need not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) from: RecordKey,
    pub(crate) to: RecordKey,
    pub(crate) progress: Progress,
    /// It is another one whenever it begins anew: what was asked before that is not for it.
    pub(crate) beginning: u64,
}

/// Whether more of the present is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Idle,
    /// It goes on a little later.
    Rests,
    Asked,
}

/// What a key is or has become, for watchers.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) key: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) change: Change,
    pub(crate) message: Arc<Message>,
}

impl Feed {
    /// Nothing was told yet; the present is to be read if it is wanted.
    pub(crate) fn new(consumer: ConsumerId, bucket: u64, filter: Filter) -> Feed {
        Feed {
            consumer,
            bucket,
            filter,
            is_ready: false,
            page: VecDeque::new(),
            backlog: Backlog::default(),
            cursor: None,
            beginnings: 0,
            starts_anew: false,
        }
    }

    /// All of the present is to be read.
    pub(crate) fn rewind(&mut self) {
        let (from, to) = self.filter.bounds(self.bucket);
        self.page.clear();
        self.backlog = Backlog::default();
        self.beginnings += 1;
        self.cursor = Some(Cursor {
            from,
            to,
            progress: Progress::Idle,
            beginning: self.beginnings,
        });
    }

    /// Whether a key will be read yet.
    pub(crate) fn will_read(&self, key: &str) -> bool {
        let cursor = self.cursor.as_ref();
        cursor.is_some_and(|cursor| cursor.from <= entries_from(self.bucket, key))
    }

    /// Whether it has something, or may find something.
    pub(crate) fn has_more(&self) -> bool {
        let may_read = |cursor: &Cursor| cursor.progress == Progress::Idle;
        !self.page.is_empty()
            || !self.backlog.updates.is_empty()
            || self.cursor.as_ref().is_some_and(may_read)
    }
}

/// Changes that wait for a watcher.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) updates: VecDeque<Arc<Update>>,
    bytes: usize,
}

impl Backlog {
    /// Adds a change. If there are too many, the older ones of each key go; if that helps little,
    /// it returns false, and what is here is worth nothing.
    pub(crate) fn push(&mut self, update: Arc<Update>, most: usize, most_bytes: usize) -> bool {
        self.bytes += update.message.size_bytes();
        self.updates.push_back(update);
        if self.updates.len() <= most && self.bytes <= most_bytes {
            return true;
        }
        self.keep_newest();
        let is_short = self.updates.len() <= most - most / 4;
        // However large one is: who watches one key never loses a change of it.
        self.updates.len() == 1 || is_short && self.bytes <= most_bytes - most_bytes / 4
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Update>> {
        let update = self.updates.pop_front()?;
        self.bytes -= update.message.size_bytes();
        Some(update)
    }

    fn keep_newest(&mut self) {
        let mut seen = BTreeSet::new();
        let mut kept = VecDeque::new();
        let mut bytes = 0;
        while let Some(update) = self.updates.pop_back() {
            if seen.insert(Arc::clone(&update.key)) {
                bytes += update.message.size_bytes();
                kept.push_front(update);
            }
        }
        self.updates = kept;
        self.bytes = bytes;
    }
}
