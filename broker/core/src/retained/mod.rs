//! Retained messages by topic (section 3.3.1.3 of both versions).
//!
//! They are kept in a tree of levels, so that a filter visits what is below its literal levels and
//! nothing else. A replay, the walk of one filter, is a cursor that can rest between two steps
//! while the store changes: it names the node to look at next, and every change that touches that
//! node moves it on.
//!
//! Invariant: the node that a cursor names exists, and the depth it holds is that of the node's
//! parent.

mod cursor;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nexum_types::{Message, Time, TopicFilter, TopicName};
use slab::Slab;

use crate::level_trie::{LevelTrie, Merge, NodeId, Split};
use cursor::{Cursor, Pattern, Position};

pub(crate) struct RetainedStore {
    topics: LevelTrie<Arc<Message>>,
    count: usize,
    bytes: u64,
    replays: Slab<Replay>,
    /// When messages expire, for those that do; an entry may be of a message that was replaced.
    expiries: BinaryHeap<Reverse<(Time, NodeId)>>,
}

/// Names an open replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReplayId(u32);

struct Replay {
    pattern: Pattern,
    cursor: Cursor,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more.
    More,
    /// Everything was visited.
    Done,
}

impl RetainedStore {
    pub(crate) fn new(seed: u64) -> RetainedStore {
        RetainedStore {
            topics: LevelTrie::new(seed),
            count: 0,
            bytes: 0,
            replays: Slab::new(),
            expiries: BinaryHeap::new(),
        }
    }

    /// Keeps a message in place of the one of its topic, which is returned.
    pub(crate) fn set(&mut self, message: Arc<Message>) -> Option<Arc<Message>> {
        let (node, split) = self.topics.insert(message.parts().topic.as_str());
        if let Some(split) = split {
            self.on_split(split);
        }
        if let Some(at) = message.expires_at() {
            self.note_expiry(at, node);
        }
        self.bytes += message.size_bytes() as u64;
        let replaced = self.topics.value_mut(node)?.replace(message);
        match &replaced {
            Some(replaced) => self.bytes -= replaced.size_bytes() as u64,
            None => self.count += 1,
        }
        replaced
    }

    pub(crate) fn clear(&mut self, topic: TopicName<'_>) -> Option<Arc<Message>> {
        let node = self.topics.find(topic.as_str())?;
        self.take(node)
    }

    pub(crate) fn at(&self, topic: TopicName<'_>) -> Option<&Arc<Message>> {
        self.topics.value(self.topics.find(topic.as_str())?)
    }

    /// Begins a walk over what matches `filter`.
    pub(crate) fn open_replay(&mut self, filter: TopicFilter<'_>) -> ReplayId {
        let pattern = Pattern::new(filter);
        let cursor = Cursor::at_first(&self.topics, &pattern);
        ReplayId(self.replays.insert(Replay { pattern, cursor }) as u32)
    }

    /// Goes on with a walk: at most `steps` topics and branches are looked at, and `visit` gets
    /// what matches and has not expired. After a `Break` the walk rests behind that message.
    ///
    /// A message that is in the store from the first step to the last is visited once.
    pub(crate) fn advance(
        &mut self,
        id: ReplayId,
        now: Time,
        steps: usize,
        visit: &mut dyn FnMut(&Arc<Message>) -> ControlFlow<()>,
    ) -> Progress {
        let Some(Replay { pattern, cursor }) = self.replays.get_mut(id.0 as usize) else {
            return Progress::Done;
        };
        for _ in 0..steps {
            let Some(matched) = cursor.step(&self.topics, pattern) else {
                return Progress::Done;
            };
            if let Some(message) = matched.and_then(|node| self.topics.value(node))
                && !message.is_expired(now)
                && visit(message).is_break()
            {
                break;
            }
        }
        if cursor.is_at_end() {
            Progress::Done
        } else {
            Progress::More
        }
    }

    pub(crate) fn close_replay(&mut self, id: ReplayId) {
        self.replays.try_remove(id.0 as usize);
        if self.replays.is_empty() {
            self.replays = Slab::new();
        }
    }

    /// Takes at most `budget` messages out whose time has come.
    pub(crate) fn expire(&mut self, now: Time, budget: usize) -> Vec<Arc<Message>> {
        let mut expired = Vec::new();
        while expired.len() < budget
            && let Some(Reverse((at, node))) = self.expiries.peek().copied()
            && at <= now
        {
            self.expiries.pop();
            if self
                .topics
                .value(node)
                .is_some_and(|message| message.is_expired(now))
            {
                expired.extend(self.take(node));
            }
        }
        expired
    }

    /// When [`expire`](Self::expire) has something to look at.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiries.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Topics, properties and payloads.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn take(&mut self, node: NodeId) -> Option<Arc<Message>> {
        self.topics.value(node)?;
        if self.topics.node(node).first_child().is_none() {
            // It goes, and cursors go on to what would have come after it.
            for (_, Replay { pattern, cursor }) in &mut self.replays {
                cursor.leave(&self.topics, pattern, node);
            }
        }
        let (message, merge) = self.topics.take(node);
        if let Some(merge) = merge {
            self.on_merge(merge);
        }
        let message = message?;
        self.count -= 1;
        self.bytes -= message.size_bytes() as u64;
        Some(message)
    }

    fn on_split(
        &mut self,
        Split {
            upper,
            lower,
            levels: _,
        }: Split,
    ) {
        // The upper node begins where the lower one began.
        for (_, replay) in &mut self.replays {
            replay
                .cursor
                .rename(lower, |Position { depth, .. }| Position {
                    node: upper,
                    depth,
                });
        }
    }

    fn on_merge(
        &mut self,
        Merge {
            upper,
            lower,
            levels,
        }: Merge,
    ) {
        // The lower node begins where the upper one began.
        for (_, replay) in &mut self.replays {
            replay
                .cursor
                .rename(lower, |Position { depth, .. }| Position {
                    node: lower,
                    depth: depth - levels,
                });
            replay
                .cursor
                .rename(upper, |Position { depth, .. }| Position {
                    node: lower,
                    depth,
                });
        }
    }

    fn note_expiry(&mut self, at: Time, node: NodeId) {
        // A topic that is published to again and again leaves an entry each time; when most of
        // them are stale they are swept out.
        if self.expiries.len() > 2 * self.count + 64 {
            let mut entries = std::mem::take(&mut self.expiries).into_vec();
            entries.retain(|Reverse((at, node))| {
                self.topics
                    .value(*node)
                    .and_then(|message| message.expires_at())
                    == Some(*at)
            });
            entries.sort_unstable();
            entries.dedup();
            self.expiries = BinaryHeap::from(entries);
        }
        self.expiries.push(Reverse((at, node)));
    }
}
