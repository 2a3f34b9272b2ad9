//! The walk of a filter over a tree of topics, one node a step.
//!
//! The walk needs no stack: what is above a node is found through its parents, and which of its
//! siblings are due follows from the filter's level at their depth. That is why a cursor is one
//! position, and easily kept right when the tree changes.

use nexum_types::TopicFilter;

use crate::level_trie::{LevelTrie, NodeId, count_levels};

/// A filter, cut into levels.
pub(super) struct Pattern {
    levels: Box<[Box<str>]>,
    /// The level of `#`.
    multi_level: Option<usize>,
}

/// What a filter wants of the nodes that begin at some level.
enum Wanted<'a> {
    /// All of them.
    Any,
    /// The one that begins with this level.
    Literal(&'a str),
    /// None: the filter is at its end.
    Nothing,
}

/// A node, and how many levels are above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) node: NodeId,
    pub(super) depth: u32,
}

pub(super) struct Cursor {
    /// What is looked at next.
    next: Option<Position>,
}

impl Pattern {
    pub(super) fn new(filter: TopicFilter<'_>) -> Pattern {
        let levels: Box<[Box<str>]> = filter.levels().map(Box::from).collect();
        let multi_level =
            (levels.last().is_some_and(|last| &**last == "#")).then(|| levels.len() - 1);
        Pattern {
            levels,
            multi_level,
        }
    }

    fn wanted_at(&self, depth: u32) -> Wanted<'_> {
        let depth = depth as usize;
        if self.multi_level.is_some_and(|level| depth >= level) {
            return Wanted::Any;
        }
        match self.levels.get(depth).map(|level| &**level) {
            None => Wanted::Nothing,
            Some("+") => Wanted::Any,
            Some(level) => Wanted::Literal(level),
        }
    }

    /// Whether a topic that ends at this depth matches, given that its levels do. `#` matches the
    /// level above it too (section 4.7.1.2).
    fn ends_at(&self, depth: u32) -> bool {
        let depth = depth as usize;
        depth == self.levels.len() || self.multi_level.is_some_and(|level| depth >= level)
    }

    /// The depth below a label that begins at `depth`, if its levels match.
    fn follow(&self, label: &[u8], depth: u32) -> Option<u32> {
        let mut depth = depth;
        for level in label.split(|byte| *byte == b'/') {
            match self.wanted_at(depth) {
                Wanted::Any => {}
                Wanted::Literal(wanted) if wanted.as_bytes() == level => {}
                Wanted::Literal(_) | Wanted::Nothing => return None,
            }
            depth += 1;
        }
        Some(depth)
    }
}

impl Cursor {
    pub(super) fn at_first<T>(topics: &LevelTrie<T>, pattern: &Pattern) -> Cursor {
        Cursor {
            next: first_below(topics, pattern, NodeId::ROOT, 0),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next.is_none()
    }

    /// Looks at one node and goes on to the next. `None` at the end, else the node if it matches.
    pub(super) fn step<T>(
        &mut self,
        topics: &LevelTrie<T>,
        pattern: &Pattern,
    ) -> Option<Option<NodeId>> {
        let position = self.next?;
        let Position { node, depth } = position;
        let below = pattern.follow(topics.node(node).label(), depth);
        self.next = below
            .and_then(|below| first_below(topics, pattern, node, below))
            .or_else(|| after(topics, pattern, position));
        Some(below.filter(|below| pattern.ends_at(*below)).map(|_| node))
    }

    /// `node`, which has nothing below it, is about to go.
    pub(super) fn leave<T>(&mut self, topics: &LevelTrie<T>, pattern: &Pattern, node: NodeId) {
        if let Some(position) = self.next
            && position.node == node
        {
            self.next = after(topics, pattern, position);
        }
    }

    /// The node's place is another one's now.
    pub(super) fn rename(&mut self, node: NodeId, to: impl FnOnce(Position) -> Position) {
        if let Some(position) = self.next
            && position.node == node
        {
            self.next = Some(to(position));
        }
    }
}

/// The first child of `node` that the filter wants; `depth` is the children's.
fn first_below<T>(
    topics: &LevelTrie<T>,
    pattern: &Pattern,
    node: NodeId,
    depth: u32,
) -> Option<Position> {
    match pattern.wanted_at(depth) {
        Wanted::Nothing => None,
        Wanted::Literal(level) => {
            let level = level.as_bytes();
            let hash = topics.hasher().level(level);
            topics
                .literal_child(node, level, hash)
                .map(|node| Position { node, depth })
        }
        Wanted::Any => {
            let first = topics.node(node).first_child().node()?;
            admitted(topics, Position { node: first, depth })
        }
    }
}

/// What comes after a node and everything below it.
fn after<T>(topics: &LevelTrie<T>, pattern: &Pattern, from: Position) -> Option<Position> {
    let Position {
        mut node,
        mut depth,
    } = from;
    loop {
        if let Wanted::Any = pattern.wanted_at(depth)
            && let Some(sibling) = topics.node(node).next_sibling().node()
            && let Some(position) = admitted(
                topics,
                Position {
                    node: sibling,
                    depth,
                },
            )
        {
            return Some(position);
        }
        node = topics.node(node).parent();
        if node == NodeId::ROOT {
            return None;
        }
        depth -= count_levels(topics.node(node).label());
    }
}

/// The node or its first sibling that a wildcard admits: none on the first level does where the
/// topic begins with `$` ([MQTT-4.7.2-1], [MQTT3-4.7.2-1]).
fn admitted<T>(topics: &LevelTrie<T>, at: Position) -> Option<Position> {
    let Position { mut node, depth } = at;
    while depth == 0 && topics.node(node).label().starts_with(b"$") {
        node = topics.node(node).next_sibling().node()?;
    }
    Some(Position { node, depth })
}
