//! The walk of a topic down the trie of filters.
//!
//! Most of its time would go to waiting for memory, one node after the other. So it goes level by
//! level with all nodes reached at once, asks for everything a step needs before it looks at any
//! of it, and the processor fetches them side by side.

use nexum_types::TopicName;
use smallvec::SmallVec;

use crate::level_trie::{LevelHash, LevelKind, LevelTrie, Link, NodeId, TopicHasher, first_level};

/// Visits the value of every filter in `trie` that matches `topic`.
pub(super) fn walk<T>(trie: &LevelTrie<T>, topic: TopicName<'_>, visit: impl FnMut(&T)) {
    let mut walk = Walk {
        trie,
        levels: Levels::new(topic, trie.hasher()),
        probes: SmallVec::new(),
        arrivals: SmallVec::new(),
        visit,
    };
    let children = trie.node(NodeId::ROOT).first_child();
    if topic.starts_with_dollar() {
        // [MQTT-4.7.2-1] [MQTT3-4.7.2-1]
        walk.probe(NodeId::ROOT, 0);
    } else {
        walk.leave(NodeId::ROOT, children, 0);
    }
    let mut arrivals = SmallVec::new();
    loop {
        for probe in &walk.probes {
            trie.warm_edge(probe.hash);
        }
        for probe in walk.probes.drain(..) {
            for child in trie.literal_children(probe.hash) {
                walk.arrivals.push(Arrival {
                    at: child,
                    from: probe.from,
                    depth: probe.depth,
                });
            }
        }
        std::mem::swap(&mut arrivals, &mut walk.arrivals);
        if arrivals.is_empty() {
            return;
        }
        for arrival in &arrivals {
            trie.warm_node(arrival.at);
        }
        for arrival in arrivals.drain(..) {
            walk.arrive(arrival);
        }
    }
}

struct Walk<'a, T, F> {
    trie: &'a LevelTrie<T>,
    levels: Levels<'a>,
    /// Where to go on by a literal level.
    probes: SmallVec<[Probe; 16]>,
    /// Where to go on, as far as is known before the node is looked at.
    arrivals: SmallVec<[Arrival; 16]>,
    visit: F,
}

struct Probe {
    hash: u32,
    from: NodeId,
    depth: u32,
}

struct Arrival {
    at: NodeId,
    from: NodeId,
    /// How many levels of the topic match the path of `from`.
    depth: u32,
}

impl<T, F: FnMut(&T)> Walk<'_, T, F> {
    fn arrive(&mut self, Arrival { at, from, depth }: Arrival) {
        let node = self.trie.node(at);
        if node.parent() != from {
            // Another edge with the same hash.
            return;
        }
        // Only "#" has such a sibling, and is the only way to it.
        if node.next_sibling().kind() == LevelKind::SingleLevelWildcard {
            self.follow_link(node.next_sibling(), from, depth);
        }
        match follow(node.label(), &mut self.levels, depth) {
            Followed::To(depth) => {
                if self.levels.get(depth).is_none()
                    && let Some(value) = node.value()
                {
                    (self.visit)(value);
                }
                self.leave(at, node.first_child(), depth);
            }
            Followed::ToEverything => node.value().into_iter().for_each(&mut self.visit),
            Followed::Nowhere => {}
        }
    }

    fn leave(&mut self, node: NodeId, children: Link, depth: u32) {
        // "#" matches whether there is another level or not (section 4.7.1.2).
        if children.kind() != LevelKind::Literal {
            self.follow_link(children, node, depth);
        }
        if !children.is_none() {
            self.probe(node, depth);
        }
    }

    fn follow_link(&mut self, link: Link, from: NodeId, depth: u32) {
        if let Some(at) = link.node() {
            self.arrivals.push(Arrival { at, from, depth });
        }
    }

    fn probe(&mut self, from: NodeId, depth: u32) {
        if let Some(level) = self.levels.get(depth) {
            let hash = level.hash.below(from);
            self.probes.push(Probe { hash, from, depth });
        }
    }
}

enum Followed {
    /// The label matches the levels up to this one.
    To(u32),
    /// It ends with `#` and matches all that is left.
    ToEverything,
    Nowhere,
}

/// Matches the levels of a label with those of the topic from `depth` on.
#[inline]
fn follow(label: &[u8], levels: &mut Levels<'_>, depth: u32) -> Followed {
    let mut depth = depth;
    let mut rest = label;
    loop {
        let wanted = first_level(rest);
        if wanted == b"#" {
            return Followed::ToEverything;
        }
        match levels.get(depth) {
            Some(level) if wanted == b"+" || wanted == level.text => depth += 1,
            _ => return Followed::Nowhere,
        }
        if wanted.len() == rest.len() {
            return Followed::To(depth);
        }
        rest = &rest[wanted.len() + 1..];
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
}
