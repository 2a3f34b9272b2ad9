//! The walk of a topic down the trie of filters.
//!
//! Most of its time would go to waiting for memory, one node after the other. So it goes on with
//! all nodes reached at once, asks for everything a step needs before it looks at any of it, and
//! the processor fetches them side by side.

use nexum_types::TopicName;

use crate::level_trie::{LevelHash, LevelKind, LevelTrie, Link, Node, NodeId, Spot, first_level};

/// A walk for one topic. Each [`step`](Self::step) is one node further on every way it goes.
pub(super) struct Walk<'a, T> {
    trie: &'a LevelTrie<T>,
    topic: &'a [u8],
    tracks: &'a mut Tracks,
}

/// Where walks are, in memory that they hand on.
#[derive(Default)]
pub(super) struct Tracks {
    /// Those of the topic that were asked for so far.
    levels: Vec<Level>,
    /// Where to go on by a literal level.
    probes: Vec<Probe>,
    /// Where to go on, as far as is known before the node is looked at.
    arrivals: Vec<Arrival>,
    /// How many of the arrivals are behind the walk.
    arrived: usize,
}

struct Probe {
    edge: Spot,
    hash: u32,
    from: NodeId,
    /// How many levels of the topic match the path of `from`.
    depth: u32,
}

/// A level of the topic, cut out and hashed once however many nodes are asked for it.
#[derive(Clone, Copy)]
struct Level {
    start: u32,
    end: u32,
    hash: LevelHash,
}

#[derive(Clone, Copy)]
struct Arrival {
    at: NodeId,
    from: NodeId,
    depth: u32,
}

/// More than a walk needs that is not made to be long.
const KEPT_CAPACITY: usize = 1024;

impl<'a, T> Walk<'a, T> {
    pub(super) fn new(
        trie: &'a LevelTrie<T>,
        topic: TopicName<'a>,
        tracks: &'a mut Tracks,
    ) -> Walk<'a, T> {
        tracks.clear();
        let mut walk = Walk {
            trie,
            topic: topic.as_str().as_bytes(),
            tracks,
        };
        let children = trie.node(NodeId::ROOT).first_child();
        // [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
        if !topic.starts_with_dollar() {
            walk.take_wildcard(NodeId::ROOT, children, 0);
        }
        walk.take_literal(NodeId::ROOT, children, 0);
        walk
    }

    /// Visits the values of the filters found to match; whether there is more to walk.
    pub(super) fn step(&mut self, mut visit: impl FnMut(&'a T)) -> bool {
        let Tracks {
            probes,
            arrivals,
            arrived,
            ..
        } = &mut *self.tracks;
        for probe in probes.iter() {
            self.trie.warm_edge(probe.edge);
        }
        for probe in probes.drain(..) {
            let Probe { from, depth, .. } = probe;
            for at in self.trie.literal_children(probe.edge, probe.hash) {
                arrivals.push(Arrival { at, from, depth });
            }
        }
        for arrival in &arrivals[*arrived..] {
            self.trie.warm_node(arrival.at);
        }
        let due = *arrived..arrivals.len();
        *arrived = due.end;
        for index in due {
            let Arrival { at, from, depth } = self.tracks.arrivals[index];
            let node = self.trie.node(at);
            // Another edge may have the same hash.
            if node.parent() == from
                && let Some(value) = self.arrive(at, node, depth)
            {
                visit(value);
            }
        }
        self.tracks.arrived < self.tracks.arrivals.len() || !self.tracks.probes.is_empty()
    }

    /// The value of the node, if it stands for a filter that matches.
    #[inline]
    fn arrive(&mut self, at: NodeId, node: &'a Node<T>, depth: u32) -> Option<&'a T> {
        // Only "#" has such a sibling, and is the only way to it.
        if node.next_sibling().kind() == LevelKind::SingleLevelWildcard {
            self.take_wildcard(node.parent(), node.next_sibling(), depth);
        }
        match self.follow(node.label(), depth) {
            Followed::To(depth) => {
                let children = node.first_child();
                self.take_wildcard(at, children, depth);
                self.take_literal(at, children, depth);
                node.value().filter(|_| self.level(depth).is_none())
            }
            Followed::ToEverything => node.value(),
            Followed::Nowhere => None,
        }
    }

    /// To `#`, which matches whether there is another level or not (section 4.7.1.2), or to `+`.
    #[inline]
    fn take_wildcard(&mut self, from: NodeId, link: Link, depth: u32) {
        if link.kind() != LevelKind::Literal
            && let Some(at) = link.node()
        {
            self.tracks.arrivals.push(Arrival { at, from, depth });
        }
    }

    #[inline]
    fn take_literal(&mut self, from: NodeId, children: Link, depth: u32) {
        if !children.is_none()
            && let Some(level) = self.level(depth)
        {
            let hash = level.hash.below(from);
            let edge = self.trie.edge(hash);
            self.tracks.probes.push(Probe {
                edge,
                hash,
                from,
                depth,
            });
        }
    }

    /// Matches the levels of a label with those of the topic from `depth` on.
    #[inline]
    fn follow(&mut self, label: &[u8], mut depth: u32) -> Followed {
        let mut rest = label;
        loop {
            let level = self.level(depth).map(|level| self.text(level));
            // Most labels are one level: no need to look for a slash.
            match level {
                Some(level) if rest == b"+" || rest == level => return Followed::To(depth + 1),
                Some(_) | None if rest == b"#" => return Followed::ToEverything,
                Some(_) | None => {}
            }
            let wanted = first_level(rest);
            match level {
                Some(level) if wanted == b"+" || wanted == level => depth += 1,
                Some(_) | None => return Followed::Nowhere,
            }
            let Some(below) = rest.get(wanted.len() + 1..) else {
                return Followed::To(depth);
            };
            rest = below;
        }
    }

    /// The level at this depth; `None` behind the last. A walk asks for one more than it had, at
    /// most.
    #[inline]
    fn level(&mut self, depth: u32) -> Option<Level> {
        match self.tracks.levels.get(depth as usize) {
            Some(level) => Some(*level),
            None => self.next_level(),
        }
    }

    fn next_level(&mut self) -> Option<Level> {
        let start = self.tracks.levels.last().map_or(0, |last| last.end + 1);
        let text = first_level(self.topic.get(start as usize..)?);
        let level = Level {
            start,
            end: start + text.len() as u32,
            hash: self.trie.hasher().level(text),
        };
        self.tracks.levels.push(level);
        Some(level)
    }

    #[inline]
    fn text(&self, level: Level) -> &'a [u8] {
        &self.topic[level.start as usize..level.end as usize]
    }
}

enum Followed {
    /// The label matches the levels up to this one.
    To(u32),
    /// It ends with `#` and matches all that is left.
    ToEverything,
    Nowhere,
}

impl Tracks {
    fn clear(&mut self) {
        let Tracks {
            levels,
            probes,
            arrivals,
            arrived,
        } = self;
        levels.clear();
        levels.shrink_to(KEPT_CAPACITY);
        probes.clear();
        probes.shrink_to(KEPT_CAPACITY);
        arrivals.clear();
        arrivals.shrink_to(KEPT_CAPACITY);
        *arrived = 0;
    }
}
