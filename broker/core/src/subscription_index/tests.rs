use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What an index is, by definition.
#[derive(Default)]
struct Model {
    subscriptions: BTreeMap<(String, u32), u64>,
}

impl Model {
    fn matches(&self, topic: TopicName<'_>) -> Vec<(String, u32, u64)> {
        self.subscriptions
            .iter()
            .filter(|((filter, _), _)| a_filter(filter).matches(topic))
            .map(|((filter, key), value)| (filter.clone(), *key, *value))
            .collect()
    }
}

fn a_filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).expect("a valid filter")
}

fn a_topic(text: &str) -> TopicName<'_> {
    TopicName::new(text).expect("a valid topic")
}

fn found<K: Copy + Ord, V: Copy + Ord>(
    index: &mut SubscriptionIndex<K, V>,
    topic: &str,
) -> Vec<(K, V)> {
    let mut found = Vec::new();
    index.matches(a_topic(topic), &mut found);
    found.sort();
    found
}

fn a_level() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ab]{0,1}",
        1 => Just("$s".to_owned()),
        1 => Just("a level that is longer than what fits into a node".to_owned()),
    ]
}

prop_compose! {
    fn topic_text()(levels in prop::collection::vec(a_level(), 1..6)) -> String {
        match levels.join("/") {
            empty if empty.is_empty() => "a".to_owned(),
            text => text,
        }
    }
}

prop_compose! {
    fn filter_text()(
        levels in prop::collection::vec(
            prop_oneof![2 => a_level(), 1 => Just("+".to_owned())], 0..6,
        ),
        all in any::<bool>(),
    ) -> String {
        let mut levels = levels;
        if all {
            levels.push("#".to_owned());
        }
        match levels.join("/") {
            empty if empty.is_empty() => "a".to_owned(),
            text => text,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(String, u32),
    Remove(String, u32),
    RemoveId(usize),
    Match(String),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (filter_text(), 0..4_u32).prop_map(|(filter, key)| Step::Insert(filter, key)),
        1 => (filter_text(), 0..4_u32).prop_map(|(filter, key)| Step::Remove(filter, key)),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::RemoveId(index.index(1000))),
        3 => topic_text().prop_map(Step::Match),
    ]
}

proptest! {
    #[test]
    fn it_answers_as_the_definition_does(steps in prop::collection::vec(a_step(), 1..200)) {
        let mut index = SubscriptionIndex::new(1);
        let mut model = Model::default();
        for (n, step) in steps.into_iter().enumerate() {
            let generation = index.generation();
            let value = n as u64;
            match step {
                Step::Insert(text, key) => {
                    let filter = a_filter(&text);
                    let known = index.find(filter);
                    let (id, former) = index.insert(filter, key, value);
                    prop_assert!(known.is_none_or(|known| known == id));
                    prop_assert_eq!(index.filter_text(id), text.clone());
                    prop_assert_eq!(index.value(id, key), Some(value));
                    prop_assert_eq!(former, model.subscriptions.insert((text, key), value));
                    prop_assert!(index.generation() != generation);
                }
                Step::Remove(text, key) => {
                    let removed = index.remove(a_filter(&text), key);
                    let expected = model.subscriptions.remove(&(text, key));
                    prop_assert_eq!(removed.map(|(_, value)| value), expected);
                    prop_assert_eq!(index.generation() != generation, expected.is_some());
                }
                Step::RemoveId(place) => {
                    let place = place % (model.subscriptions.len() + 1);
                    let Some(((text, key), _)) = model.subscriptions.iter().nth(place) else {
                        continue;
                    };
                    let (text, key) = (text.clone(), *key);
                    let id = index.find(a_filter(&text)).expect("it has subscribers");
                    let removed = index.remove_id(id, key);
                    prop_assert_eq!(removed, model.subscriptions.remove(&(text.clone(), key)));
                    prop_assert_eq!(index.remove_id(id, key), None);
                    let others = model.subscriptions.keys().any(|(other, _)| *other == text);
                    prop_assert_eq!(index.has_subscribers(id), others);
                    prop_assert_eq!(index.find(a_filter(&text)), others.then_some(id));
                }
                Step::Match(topic) => {
                    let mut expected: Vec<_> = model
                        .matches(a_topic(&topic))
                        .into_iter()
                        .map(|(_, key, value)| (key, value))
                        .collect();
                    expected.sort();
                    prop_assert_eq!(found(&mut index, &topic), expected, "{}", topic);
                }
            }
            prop_assert_eq!(index.len(), model.subscriptions.len());
        }
        // Nothing is left when all have gone.
        for (text, key) in model.subscriptions.into_keys() {
            prop_assert!(index.remove(a_filter(&text), key).is_some());
        }
        prop_assert!(index.wildcard.is_empty() && index.exact.is_empty() && index.len() == 0);
    }

    #[test]
    fn a_filter_has_any_number_of_subscribers(
        changes in prop::collection::vec((0..600_u32, prop::bool::weighted(0.7)), 1..3000),
    ) {
        let mut index = SubscriptionIndex::new(2);
        let mut model = BTreeMap::new();
        let filter = a_filter("a/+");
        let count = changes.len();
        for (n, (key, grow)) in changes.into_iter().enumerate() {
            // The second half mostly removes.
            if grow == (n < count / 2) {
                prop_assert_eq!(index.insert(filter, key, n).1, model.insert(key, n));
            } else {
                let removed = index.remove(filter, key).map(|(_, value)| value);
                prop_assert_eq!(removed, model.remove(&key));
            }
            if n % 50 == 0 {
                let mut found = Vec::new();
                index.matches(a_topic("a/b"), &mut found);
                prop_assert!(found.is_sorted(), "by key");
                prop_assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_same_history_gives_the_same_order(
        filters in prop::collection::vec(filter_text(), 1..60),
        topic in topic_text(),
    ) {
        let [one, other] = [(); 2].map(|()| {
            let mut index = SubscriptionIndex::new(3);
            for (n, filter) in filters.iter().enumerate() {
                index.insert(a_filter(filter), n, ());
            }
            let mut found = Vec::new();
            index.matches(a_topic(&topic), &mut found);
            found
        });
        prop_assert_eq!(one, other);
    }
}

#[test]
fn the_examples_of_section_4_7() {
    let filters = [
        "sport/tennis/player1/#",
        "sport/#",
        "sport/tennis/+",
        "sport/+",
        "+/+",
        "/+",
        "+",
        "#",
        "+/monitor",
        "$SYS/#",
        "$SYS/monitor/+",
    ];
    let mut index = SubscriptionIndex::new(4);
    for filter in filters {
        index.insert(a_filter(filter), filter, ());
    }
    let mut check = |topic: &str, expected: &[&str]| {
        let mut expected: Vec<_> = expected.iter().map(|filter| (*filter, ())).collect();
        expected.sort_unstable();
        assert_eq!(found(&mut index, topic), expected, "{topic}");
    };
    check("sport", &["sport/#", "+", "#"]);
    check("sport/", &["sport/#", "sport/+", "+/+", "#"]);
    check(
        "sport/tennis/player1",
        &["sport/tennis/player1/#", "sport/#", "sport/tennis/+", "#"],
    );
    check(
        "sport/tennis/player1/ranking",
        &["sport/tennis/player1/#", "sport/#", "#"],
    );
    check("/finance", &["+/+", "/+", "#"]);
    check("$SYS/monitor", &["$SYS/#"]);
    check("$SYS/monitor/Clients", &["$SYS/#", "$SYS/monitor/+"]);
}

#[test]
fn the_deepest_filters_there_can_be_match_without_harm() {
    let mut index = SubscriptionIndex::new(5);
    let pluses = vec!["+"; 32_768].join("/");
    let slashes = "/".repeat(65_535);
    let short = &slashes[..32_767];
    for filter in [&pluses, &slashes, short, "#", "+/#"] {
        index.insert(a_filter(filter), filter.len(), ());
    }
    assert_eq!(
        found(&mut index, &slashes),
        [(1, ()), (3, ()), (65_535, ())]
    );
    let expected = [(1, ()), (3, ()), (32_767, ()), (65_535, ())];
    assert_eq!(pluses.len(), 65_535);
    assert_eq!(found(&mut index, short), expected);
    for filter in [&pluses, &slashes, short, "#", "+/#"] {
        assert!(index.remove(a_filter(filter), filter.len()).is_some());
    }
    assert_eq!(index.len(), 0);
}

/// All combinations of `a` and `+` in eleven levels, and a twelfth that does not match.
#[test]
fn a_look_up_visits_two_nodes_a_wildcard_filter_at_most() {
    let mut index = SubscriptionIndex::new(6);
    for bits in 1..2048_u32 {
        let levels = (0..11).map(|n| if bits >> n & 1 == 1 { "+" } else { "a" });
        let filter = levels.chain(["x"]).collect::<Vec<_>>().join("/");
        index.insert(a_filter(&filter), bits, ());
    }
    let mut visited = 0;
    let topic = ["a"; 11].join("/") + "/x";
    let mut tracks = Tracks::default();
    let mut walk = Walk::new(&index.wildcard, a_topic(&topic), &mut tracks);
    while walk.step(|_| visited += 1) {}
    assert_eq!(visited, 2047);
    assert!(index.wildcard.node_count() <= 2 * 2047);
    let topic = ["a"; 11].join("/") + "/y";
    assert_eq!(found(&mut index, &topic), []);
}

#[test]
fn with_keys_and_values_of_eight_bytes_a_filter_is_a_cache_line() {
    assert_eq!(size_of::<Option<Subscribers<[u32; 2], [u32; 2]>>>(), 20);
    assert_eq!(exact::FILTER_BYTES, 64);
}
