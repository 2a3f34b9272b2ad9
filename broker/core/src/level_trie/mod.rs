//! A tree of topic levels: values under topics or topic filters, in memory proportional to their
//! number and text, whatever their depth.
//!
//! It knows how texts fall apart into levels, and that `+` and `#` are levels that walks want to
//! find without searching; what matches what is its users' business, who walk it node by node.
//!
//! A node has a label of one or more levels: chains without a branch are one node. Children that
//! are literal are found by the hash of (parent, first level of the label) in one table for the
//! whole tree, so a step costs the same below a node with two children or a million. Siblings are
//! also linked, `#` first, `+` next, then the others, the newest first.
//!
//! Invariants: every node but the root has a value or at least two children, so there are at most
//! twice as many nodes as values and a tree depends only on what is in it now; no two siblings
//! begin with the same level; a node keeps its number as long as it has a value.
//!
//! Nothing here recurses, and an insertion or removal touches a handful of nodes. The cost that
//! grows with a text is copying it: a label is split and joined byte for byte, at most 65,535 of
//! them.

mod chunked_slab;
mod id_table;
mod text;
mod topic_hasher;

pub(crate) use chunked_slab::ChunkedSlab;
pub(crate) use id_table::{IdTable, Spot};
pub(crate) use text::Text;
pub(crate) use topic_hasher::{LevelHash, TopicHasher};

pub(crate) struct LevelTrie<T> {
    nodes: ChunkedSlab<Node<T>>,
    /// The literal children of all nodes.
    edges: IdTable,
    hasher: TopicHasher,
}

/// Names a node; that of a node with a value is good until the value is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    /// Above all first levels. It has no label and no value.
    pub(crate) const ROOT: NodeId = NodeId(0);
}

pub(crate) struct Node<T> {
    label: Text<22>,
    parent: NodeId,
    first_child: Link,
    next_sibling: Link,
    /// The root is nobody's sibling, and stands for none.
    previous_sibling: NodeId,
    value: Option<T>,
}

/// To a node, or to none; and what its label begins with, to be known before the node is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LevelKind {
    MultiLevelWildcard,
    SingleLevelWildcard,
    Literal,
}

/// An insertion put a new node without a value above an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The new one, in the place of the old one.
    pub(crate) upper: NodeId,
    /// The old one, which is the upper one's child now.
    pub(crate) lower: NodeId,
    /// How many levels went from the lower one to the upper one.
    pub(crate) levels: u32,
}

/// A removal left a node without value and with one child, which took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Is no more.
    pub(crate) upper: NodeId,
    /// Stands where the upper one stood.
    pub(crate) lower: NodeId,
    /// How many levels went from the upper one to the lower one.
    pub(crate) levels: u32,
}

impl<T> LevelTrie<T> {
    pub(crate) fn new(seed: u64) -> LevelTrie<T> {
        let mut nodes = ChunkedSlab::new();
        let root = nodes.insert(Node {
            label: Text::new(b""),
            parent: NodeId::ROOT,
            first_child: Link::NONE,
            next_sibling: Link::NONE,
            previous_sibling: NodeId::ROOT,
            value: None,
        });
        debug_assert!(NodeId(root) == NodeId::ROOT);
        LevelTrie {
            nodes,
            edges: IdTable::new(),
            hasher: TopicHasher::new(seed),
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// With the root.
    #[cfg(test)]
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn hasher(&self) -> &TopicHasher {
        &self.hasher
    }

    /// A node that was reached by walking.
    #[inline]
    pub(crate) fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id.0]
    }

    /// What is at a node that may have gone.
    pub(crate) fn value(&self, id: NodeId) -> Option<&T> {
        self.nodes.get(id.0)?.value.as_ref()
    }

    /// The place of the value at a node; who empties it, or leaves it empty after an insertion,
    /// calls [`take`](Self::take).
    pub(crate) fn value_mut(&mut self, id: NodeId) -> Option<&mut Option<T>> {
        Some(&mut self.nodes.get_mut(id.0)?.value)
    }

    /// The child of `parent` whose label begins with this literal level.
    #[inline]
    pub(crate) fn literal_child(
        &self,
        parent: NodeId,
        level: &[u8],
        hash: LevelHash,
    ) -> Option<NodeId> {
        self.edges
            .find(hash.below(parent), |child| {
                let child = &self.nodes[child];
                child.parent == parent && begins_with_level(child.label.as_bytes(), level)
            })
            .map(NodeId)
    }

    /// Where a literal child whose level and parent have this hash is to be found.
    #[inline]
    pub(crate) fn edge(&self, hash: u32) -> Spot {
        self.edges.spot(hash)
    }

    /// Asks the processor for an edge.
    #[inline]
    pub(crate) fn warm_edge(&self, edge: Spot) {
        self.edges.warm(edge);
    }

    /// What [`literal_child`](Self::literal_child) looks through: usually the one node with this
    /// hash or none, but the caller checks parent and label.
    #[inline]
    pub(crate) fn literal_children(&self, edge: Spot, hash: u32) -> impl Iterator<Item = NodeId> {
        self.edges.at(edge, hash).map(NodeId)
    }

    /// Asks the processor for a node.
    #[inline]
    pub(crate) fn warm_node(&self, id: NodeId) {
        std::hint::black_box(self.nodes[id.0].parent);
    }

    /// The node of exactly this topic or filter.
    pub(crate) fn find(&self, text: &str) -> Option<NodeId> {
        let mut node = NodeId::ROOT;
        let mut rest = text.as_bytes();
        loop {
            node = self.child(node, first_level(rest))?;
            let label = self.nodes[node.0].label.as_bytes();
            match rest.strip_prefix(label)? {
                [] => return Some(node),
                [b'/', below @ ..] => rest = below,
                _ => return None,
            }
        }
    }

    /// Finds or makes the node of this topic or filter. A new one has no value, and the caller
    /// gives it one.
    pub(crate) fn insert(&mut self, text: &str) -> (NodeId, Option<Split>) {
        let mut node = NodeId::ROOT;
        let mut rest = text.as_bytes();
        loop {
            let Some(child) = self.child(node, first_level(rest)) else {
                return (self.attach(node, rest), None);
            };
            let label = self.nodes[child.0].label.as_bytes();
            let shared = shared_levels(label, rest);
            let split = (shared < label.len()).then(|| self.split(child, shared));
            let reached = split.map_or(child, |split| split.upper);
            if shared == rest.len() {
                return (reached, split);
            }
            rest = &rest[shared + 1..];
            if split.is_some() {
                return (self.attach(reached, rest), split);
            }
            node = reached;
        }
    }

    /// Takes the value out, if the node exists and has one, and the node too unless it is where
    /// others branch off.
    pub(crate) fn take(&mut self, id: NodeId) -> (Option<T>, Option<Merge>) {
        let Some(node) = self.nodes.get_mut(id.0) else {
            return (None, None);
        };
        let value = node.value.take();
        let parent = node.parent;
        if !node.first_child.is_none() || id == NodeId::ROOT {
            return (value, self.merge_if_needless(id));
        }
        self.detach(id);
        (value, self.merge_if_needless(parent))
    }

    /// The topic or filter of a node.
    ///
    /// # Panics
    /// If the node has gone.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut labels = Vec::new();
        let mut node = id;
        while node != NodeId::ROOT {
            let Node { label, parent, .. } = &self.nodes[node.0];
            labels.push(label.as_bytes());
            node = *parent;
        }
        labels.reverse();
        String::from_utf8(labels.join(&b'/')).expect("labels are cut at slashes, out of strings")
    }

    fn child(&self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        let kind = LevelKind::of(level);
        match kind {
            LevelKind::Literal => self.literal_child(parent, level, self.hasher.level(level)),
            LevelKind::SingleLevelWildcard | LevelKind::MultiLevelWildcard => {
                let mut link = self.nodes[parent.0].first_child;
                while link.kind() < kind {
                    link = self.nodes[link.node()?.0].next_sibling;
                }
                link.node().filter(|_| link.kind() == kind)
            }
        }
    }

    /// Makes a node for `label` below `parent`, which has no child of its first level.
    fn attach(&mut self, parent: NodeId, label: &[u8]) -> NodeId {
        let level = first_level(label);
        let kind = LevelKind::of(level);
        let edge = (kind == LevelKind::Literal).then(|| self.hasher.level(level).below(parent));
        let mut previous_sibling = NodeId::ROOT;
        let mut next_sibling = self.nodes[parent.0].first_child;
        while next_sibling.kind() < kind
            && let Some(next) = next_sibling.node()
        {
            previous_sibling = next;
            next_sibling = self.nodes[next.0].next_sibling;
        }
        let id = NodeId(self.nodes.insert(Node {
            label: Text::new(label),
            parent,
            first_child: Link::NONE,
            next_sibling,
            previous_sibling,
            value: None,
        }));
        self.point_siblings(parent, previous_sibling, Link::to(kind, id), next_sibling);
        if let Some(edge) = edge {
            self.edges.insert(edge, id.0);
        }
        id
    }

    /// Removes a node without children.
    fn detach(&mut self, id: NodeId) {
        if let Some(edge) = self.edge_to(id) {
            self.edges.remove(edge, id.0);
        }
        let node = self.nodes.remove(id.0).expect("the caller looked at it");
        let (previous, next) = (node.previous_sibling, node.next_sibling);
        match previous {
            NodeId::ROOT => self.nodes[node.parent.0].first_child = next,
            previous => self.nodes[previous.0].next_sibling = next,
        }
        if let Some(next) = next.node() {
            self.nodes[next.0].previous_sibling = previous;
        }
    }

    /// Cuts the label of `lower` after `shared` bytes: a new node takes these and its place.
    fn split(&mut self, lower: NodeId, shared: usize) -> Split {
        let edge = self.edge_to(lower);
        let node = &mut self.nodes[lower.0];
        let (upper_label, lower_label) = node.label.as_bytes().split_at(shared);
        let kind = LevelKind::of(first_level(upper_label));
        let upper_label = Text::new(upper_label);
        // The slash between them.
        let lower_label = &lower_label[1..];
        let lower_link = Link::to(LevelKind::of(first_level(lower_label)), lower);
        node.label = Text::new(lower_label);
        let new = Node {
            label: upper_label,
            parent: node.parent,
            first_child: lower_link,
            next_sibling: std::mem::replace(&mut node.next_sibling, Link::NONE),
            previous_sibling: std::mem::replace(&mut node.previous_sibling, NodeId::ROOT),
            value: None,
        };
        let (parent, previous, next) = (new.parent, new.previous_sibling, new.next_sibling);
        let levels = count_levels(new.label.as_bytes());
        let upper = NodeId(self.nodes.insert(new));
        self.nodes[lower.0].parent = upper;
        self.point_siblings(parent, previous, Link::to(kind, upper), next);
        if let Some(edge) = edge {
            self.edges.replace(edge, lower.0, upper.0);
        }
        if let Some(edge) = self.edge_to(lower) {
            self.edges.insert(edge, lower.0);
        }
        Split {
            upper,
            lower,
            levels,
        }
    }

    /// Joins `upper` with its child if it has no value and only one.
    fn merge_if_needless(&mut self, upper: NodeId) -> Option<Merge> {
        let node = &self.nodes[upper.0];
        let lower = node.first_child.node()?;
        let only_child = self.nodes[lower.0].next_sibling.is_none();
        if node.value.is_some() || !only_child || upper == NodeId::ROOT {
            return None;
        }
        let edge = self.edge_to(upper);
        if let Some(edge) = self.edge_to(lower) {
            self.edges.remove(edge, lower.0);
        }
        let gone = self.nodes.remove(upper.0).expect("it was just looked at");
        let node = &mut self.nodes[lower.0];
        let label = [gone.label.as_bytes(), node.label.as_bytes()].join(&b'/');
        node.label = Text::new(&label);
        node.parent = gone.parent;
        node.next_sibling = gone.next_sibling;
        node.previous_sibling = gone.previous_sibling;
        let link = Link::to(LevelKind::of(first_level(&label)), lower);
        self.point_siblings(gone.parent, gone.previous_sibling, link, gone.next_sibling);
        if let Some(edge) = edge {
            self.edges.replace(edge, upper.0, lower.0);
        }
        Some(Merge {
            upper,
            lower,
            levels: count_levels(gone.label.as_bytes()),
        })
    }

    /// Makes those beside `link`, or their parent, point to it.
    fn point_siblings(&mut self, parent: NodeId, previous: NodeId, link: Link, next: Link) {
        match previous {
            NodeId::ROOT => self.nodes[parent.0].first_child = link,
            previous => self.nodes[previous.0].next_sibling = link,
        }
        if let (Some(next), Some(node)) = (next.node(), link.node()) {
            self.nodes[next.0].previous_sibling = node;
        }
    }

    /// The hash under which a literal child stands in the table.
    fn edge_to(&self, child: NodeId) -> Option<u32> {
        let node = &self.nodes[child.0];
        let level = first_level(node.label.as_bytes());
        match LevelKind::of(level) {
            LevelKind::Literal => Some(self.hasher.level(level).below(node.parent)),
            LevelKind::SingleLevelWildcard | LevelKind::MultiLevelWildcard => None,
        }
    }
}

impl<T> Node<T> {
    /// One or more levels; the root's is not used.
    #[inline]
    pub(crate) fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    pub(crate) fn parent(&self) -> NodeId {
        self.parent
    }

    #[inline]
    pub(crate) fn first_child(&self) -> Link {
        self.first_child
    }

    #[inline]
    pub(crate) fn next_sibling(&self) -> Link {
        self.next_sibling
    }

    #[inline]
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

impl Link {
    /// The root is nobody's child.
    const NONE: Link = Link((LevelKind::Literal as u32) << Link::KIND_SHIFT);
    const KIND_SHIFT: u32 = 30;

    fn to(kind: LevelKind, node: NodeId) -> Link {
        assert!(
            node.0 < 1 << Link::KIND_SHIFT,
            "a billion nodes do not fit into memory"
        );
        Link((kind as u32) << Link::KIND_SHIFT | node.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self == Link::NONE
    }

    #[inline]
    pub(crate) fn node(self) -> Option<NodeId> {
        (self != Link::NONE).then_some(NodeId(self.0 & ((1 << Link::KIND_SHIFT) - 1)))
    }

    /// What the label of the node begins with. No node counts as literal: that kind is last among
    /// siblings.
    #[inline]
    pub(crate) fn kind(self) -> LevelKind {
        match self.0 >> Link::KIND_SHIFT {
            0 => LevelKind::MultiLevelWildcard,
            1 => LevelKind::SingleLevelWildcard,
            _ => LevelKind::Literal,
        }
    }
}

impl LevelKind {
    pub(crate) fn of(level: &[u8]) -> LevelKind {
        match level {
            b"#" => LevelKind::MultiLevelWildcard,
            b"+" => LevelKind::SingleLevelWildcard,
            _ => LevelKind::Literal,
        }
    }
}

/// What is before the first slash.
#[inline]
pub(crate) fn first_level(text: &[u8]) -> &[u8] {
    &text[..first_slash(text).unwrap_or(text.len())]
}

/// Eight bytes at once: topics are cut at every step.
#[inline]
fn first_slash(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const SLASHES: u64 = ONES * b'/' as u64;
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Zero where the slashes are; subtracting one borrows there first of all.
        let word = u64::from_le_bytes(*word) ^ SLASHES;
        let found = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'/')?;
    Some(words.len() * 8 + at)
}

pub(crate) fn count_levels(text: &[u8]) -> u32 {
    1 + text.iter().filter(|byte| **byte == b'/').count() as u32
}

fn begins_with_level(text: &[u8], level: &[u8]) -> bool {
    text.strip_prefix(level)
        .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// How many bytes the levels take that both begin with. They have the first one in common.
fn shared_levels(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let ends_level = |text: &[u8]| text.get(same).is_none_or(|byte| *byte == b'/');
    if ends_level(one) && ends_level(other) {
        return same;
    }
    let last_slash = one[..same].iter().rposition(|byte| *byte == b'/');
    last_slash.expect("the first level is in common, and they differ in a later one")
}

#[cfg(test)]
mod tests;
