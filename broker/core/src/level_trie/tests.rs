use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Everything the module promises about the shape of a tree, and the texts with a value in it.
fn check<T: Copy>(trie: &LevelTrie<T>) -> BTreeMap<String, T> {
    let mut values = BTreeMap::new();
    let mut unseen = vec![NodeId::ROOT];
    let mut nodes = 0;
    let mut literals = 0;
    while let Some(id) = unseen.pop() {
        nodes += 1;
        let node = trie.node(id);
        let mut firsts = BTreeSet::new();
        let mut previous = NodeId::ROOT;
        let mut kind = LevelKind::MultiLevelWildcard;
        let mut link = node.first_child;
        while let Some(child_id) = link.node() {
            let child = trie.node(child_id);
            let level = first_level(child.label());
            assert_eq!(child.parent, id);
            assert_eq!(child.previous_sibling, previous);
            assert_eq!(link.kind(), LevelKind::of(level));
            assert!(link.kind() >= kind, "wildcards stand before the others");
            assert!(firsts.insert(level), "siblings begin differently");
            if link.kind() == LevelKind::Literal {
                literals += 1;
                let hash = trie.hasher.level(level);
                assert_eq!(trie.literal_child(id, level, hash), Some(child_id));
            }
            (kind, previous) = (link.kind(), child_id);
            unseen.push(child_id);
            link = child.next_sibling;
        }
        if id != NodeId::ROOT {
            assert!(node.value.is_some() || firsts.len() > 1, "a needless node");
        }
        if let Some(value) = node.value() {
            let path = trie.path(id);
            assert_eq!(trie.find(&path), Some(id));
            values.insert(path, *value);
        }
    }
    assert_eq!(nodes, trie.nodes.len());
    assert_eq!(trie.edges.len(), literals);
    values
}

fn a_text() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        8 => "[ab]{0,2}",
        2 => Just("+".to_owned()),
        1 => Just("a level longer than what fits into a node".to_owned()),
    ];
    (
        prop::collection::vec(level, 1..6),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(mut levels, all)| {
            if all {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_is_a_map_from_texts(
        steps in prop::collection::vec((a_text(), prop::bool::weighted(0.6)), 1..150),
    ) {
        let mut trie = LevelTrie::new(1);
        let mut model = BTreeMap::new();
        for (n, (text, insert)) in steps.into_iter().enumerate() {
            if insert {
                let known = trie.find(&text);
                let (id, split) = trie.insert(&text);
                if known.is_some() {
                    prop_assert_eq!((known, None), (Some(id), split));
                }
                if let Some(split) = split {
                    prop_assert_eq!(trie.node(split.lower).parent(), split.upper);
                    let label = trie.node(split.upper).label();
                    prop_assert_eq!(count_levels(label), split.levels);
                }
                *trie.value_mut(id).expect("it was just inserted") = Some(n);
                model.insert(text, n);
            } else if let Some(id) = trie.find(&text) {
                let (value, merge) = trie.take(id);
                prop_assert_eq!(value, model.remove(&text));
                if let Some(merge) = merge {
                    prop_assert!(trie.nodes.get(merge.upper.0).is_none());
                    prop_assert!(trie.nodes.get(merge.lower.0).is_some());
                }
            } else {
                prop_assert!(!model.contains_key(&text));
            }
            prop_assert_eq!(&check(&trie), &model);
        }
    }

    #[test]
    fn a_node_with_a_value_keeps_its_number(texts in prop::collection::vec(a_text(), 1..100)) {
        let mut trie = LevelTrie::new(2);
        let mut ids = BTreeMap::new();
        for text in &texts {
            let (id, _) = trie.insert(text);
            *trie.value_mut(id).expect("it was just inserted") = Some(());
            ids.insert(text, id);
        }
        for text in &texts {
            for (text, id) in &ids {
                prop_assert_eq!(trie.find(text), Some(*id));
            }
            if let Some(id) = ids.remove(text) {
                trie.take(id);
            }
        }
        prop_assert!(trie.is_empty());
    }
}

#[test]
fn levels_may_be_empty() {
    let mut trie = LevelTrie::new(3);
    let texts = ["/", "//", "a", "a/", "a//", "/a", "//a", "a//b", "a/b"];
    for (n, text) in texts.iter().enumerate() {
        let (id, _) = trie.insert(text);
        *trie.value_mut(id).expect("it was just inserted") = Some(n);
    }
    let expected = texts
        .iter()
        .map(|text| (*text).to_owned())
        .zip(0..)
        .collect();
    assert_eq!(check(&trie), expected);
}

proptest! {
    #[test]
    fn the_first_level_ends_at_the_first_slash(text in "[./0é]{0,30}") {
        let expected = text.split('/').next().expect("there is one at least");
        prop_assert_eq!(first_level(text.as_bytes()), expected.as_bytes());
    }
}

#[test]
fn shared_levels_end_at_a_slash_in_both() {
    let check = |one: &str, other: &str, shared: &str| {
        assert!(one.starts_with(shared) && other.starts_with(shared));
        assert_eq!(
            shared_levels(one.as_bytes(), other.as_bytes()),
            shared.len()
        );
        assert_eq!(
            shared_levels(other.as_bytes(), one.as_bytes()),
            shared.len()
        );
    };
    check("a/b/c", "a/b/c", "a/b/c");
    check("a/b", "a/b/c", "a/b");
    check("a/b", "a/bc", "a");
    check("a/b/c", "a/b/d", "a/b");
    check("", "", "");
    check("", "/b", "");
    check("/b", "/c", "");
    check("//b", "//c", "/");
}

#[test]
fn the_deepest_topic_there_can_be_is_one_node() {
    let deepest = "/".repeat(65_535);
    let mut trie = LevelTrie::new(4);
    let (id, _) = trie.insert(&deepest);
    *trie.value_mut(id).expect("it was just inserted") = Some(());
    assert_eq!(trie.nodes.len(), 2);
    // Each prefix splits off its part; in the end everything is one node again.
    let ids: Vec<NodeId> = (1..200)
        .map(|length| {
            let (id, _) = trie.insert(&deepest[..length]);
            *trie.value_mut(id).expect("it was just inserted") = Some(());
            id
        })
        .collect();
    assert_eq!(trie.path(id), deepest);
    assert_eq!(trie.nodes.len(), 201);
    for id in ids {
        trie.take(id);
    }
    assert_eq!(trie.find(&deepest), Some(id));
    assert_eq!(trie.nodes.len(), 2);
}

#[test]
fn a_node_with_a_small_value_is_48_bytes_and_one_with_24_bytes_a_cache_line() {
    assert_eq!(size_of::<Node<std::sync::Arc<()>>>(), 48);
    assert_eq!(size_of::<Node<(std::sync::Arc<()>, u64, u64)>>(), 64);
}
