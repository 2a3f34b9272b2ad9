//! The walk of a topic down the trie of filters.
//!
//! Most of its time would go to waiting for memory, one node after the other. So it goes on with
//! all nodes reached at once, asks for everything a step needs before it looks at any of it, and
//! the processor fetches them side by side.

use nexum_types::TopicName;
use smallvec::SmallVec;

use crate::level_trie::{
    LevelHash, LevelKind, LevelTrie, Link, Node, NodeId, TopicHasher, first_level,
};

/// A walk for one topic. Each [`step`](Self::step) is one node further on every way it goes.
pub(super) struct Walk<'a, T> {
    trie: &'a LevelTrie<T>,
    levels: Levels<'a>,
    /// Where to go on by a literal level.
    probes: SmallVec<[Probe; 16]>,
    /// Where to go on, as far as is known before the node is looked at.
    arrivals: SmallVec<[Arrival; 16]>,
}

#[derive(Clone, Copy)]
struct Probe {
    hash: u32,
    from: NodeId,
    /// How many levels of the topic match the path of `from`.
    depth: u32,
}

#[derive(Clone, Copy)]
struct Arrival {
    at: NodeId,
    from: NodeId,
    depth: u32,
}

impl<'a, T> Walk<'a, T> {
    pub(super) fn new(trie: &'a LevelTrie<T>, topic: TopicName<'a>) -> Walk<'a, T> {
        let mut walk = Walk {
            trie,
            levels: Levels::new(topic, trie.hasher()),
            probes: SmallVec::new(),
            arrivals: SmallVec::new(),
        };
        let children = trie.node(NodeId::ROOT).first_child();
        // [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
        if !topic.starts_with_dollar() {
            walk.take_wildcards(NodeId::ROOT, children, 0);
        }
        walk.take_literal(NodeId::ROOT, children, 0);
        walk
    }

    /// Visits the values of the filters found to match; whether there is more to walk.
    pub(super) fn step(&mut self, mut visit: impl FnMut(&'a T)) -> bool {
        for probe in &self.probes {
            self.trie.warm_edge(probe.hash);
        }
        for Probe { hash, from, depth } in &self.probes {
            for at in self.trie.literal_children(*hash) {
                let (from, depth) = (*from, *depth);
                self.arrivals.push(Arrival { at, from, depth });
            }
        }
        self.probes.clear();
        for arrival in &self.arrivals {
            self.trie.warm_node(arrival.at);
        }
        let due = self.arrivals.len();
        for index in 0..due {
            let Arrival { at, from, depth } = self.arrivals[index];
            let node = self.trie.node(at);
            // Another edge may have the same hash.
            if node.parent() == from
                && let Some(value) = self.arrive(at, node, depth)
            {
                visit(value);
            }
        }
        self.arrivals.drain(..due);
        !(self.probes.is_empty() && self.arrivals.is_empty())
    }

    /// The value of the node, if it stands for a filter that matches. It has at most one way to
    /// match: by its own path.
    #[inline]
    fn arrive(&mut self, at: NodeId, node: &'a Node<T>, depth: u32) -> Option<&'a T> {
        // Only "#" has such a sibling, and is the only way to it.
        if node.next_sibling().kind() == LevelKind::SingleLevelWildcard {
            self.push(node.next_sibling(), node.parent(), depth);
        }
        match self.levels.follow(node.label(), depth) {
            Followed::To(depth) => {
                let children = node.first_child();
                self.take_wildcards(at, children, depth);
                self.take_literal(at, children, depth);
                node.value().filter(|_| self.levels.get(depth).is_none())
            }
            Followed::ToEverything => node.value(),
            Followed::Nowhere => None,
        }
    }

    /// To `#`, which matches whether there is another level or not (section 4.7.1.2), or to `+`.
    #[inline]
    fn take_wildcards(&mut self, from: NodeId, children: Link, depth: u32) {
        if children.kind() != LevelKind::Literal {
            self.push(children, from, depth);
        }
    }

    #[inline]
    fn take_literal(&mut self, from: NodeId, children: Link, depth: u32) {
        if !children.is_none()
            && let Some(level) = self.levels.get(depth)
        {
            let hash = level.hash.below(from);
            self.probes.push(Probe { hash, from, depth });
        }
    }

    #[inline]
    fn push(&mut self, link: Link, from: NodeId, depth: u32) {
        if let Some(at) = link.node() {
            self.arrivals.push(Arrival { at, from, depth });
        }
    }
}

/// The levels of a topic, each cut out and hashed once, when it is first asked for.
struct Levels<'a> {
    hasher: &'a TopicHasher,
    known: SmallVec<[Level<'a>; 12]>,
    /// What follows the known levels; `None` after the last.
    rest: Option<&'a [u8]>,
}

#[derive(Clone, Copy)]
struct Level<'a> {
    text: &'a [u8],
    hash: LevelHash,
}

enum Followed {
    /// The label matches the levels up to this one.
    To(u32),
    /// It ends with `#` and matches all that is left.
    ToEverything,
    Nowhere,
}

impl<'a> Levels<'a> {
    fn new(topic: TopicName<'a>, hasher: &'a TopicHasher) -> Levels<'a> {
        Levels {
            hasher,
            known: SmallVec::new(),
            rest: Some(topic.as_str().as_bytes()),
        }
    }

    /// The level at this depth; `None` behind the last. Walks ask for at most one more than they
    /// have had.
    #[inline]
    fn get(&mut self, depth: u32) -> Option<Level<'a>> {
        if let Some(level) = self.known.get(depth as usize) {
            return Some(*level);
        }
        let rest = self.rest?;
        let text = first_level(rest);
        self.rest = (text.len() < rest.len()).then(|| &rest[text.len() + 1..]);
        let hash = self.hasher.level(text);
        let level = Level { text, hash };
        self.known.push(level);
        Some(level)
    }

    /// Matches the levels of a label with those of the topic from `depth` on.
    #[inline]
    fn follow(&mut self, label: &[u8], mut depth: u32) -> Followed {
        let mut rest = label;
        loop {
            let level = self.get(depth);
            // Most labels are one level: no need to look for a slash.
            match level {
                Some(level) if rest == b"+" || rest == level.text => {
                    return Followed::To(depth + 1);
                }
                Some(_) | None if rest == b"#" => return Followed::ToEverything,
                Some(_) | None => {}
            }
            let wanted = first_level(rest);
            match level {
                Some(level) if wanted == b"+" || wanted == level.text => depth += 1,
                Some(_) | None => return Followed::Nowhere,
            }
            let Some(below) = rest.get(wanted.len() + 1..) else {
                return Followed::Nowhere;
            };
            rest = below;
        }
    }
}
