use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nexum_types::{Message, MessageParts, QoS, Time, TopicFilter, TopicName};
use proptest::prelude::*;

use super::{Progress, ReplayId, RetainedStore};

fn message(topic: &str, payload: &str, expires_at: Option<Time>) -> Arc<Message> {
    Arc::new(Message::new(MessageParts {
        topic: TopicName::new(topic).expect("valid"),
        properties: &[],
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: true,
        published_at: Time::ZERO,
        expires_at,
    }))
}

fn store(topics: &[&str]) -> RetainedStore {
    let mut store = RetainedStore::new(7);
    for topic in topics {
        assert!(store.set(message(topic, "x", None)).is_none());
    }
    store
}

fn filter(filter: &str) -> TopicFilter<'_> {
    TopicFilter::new(filter).expect("valid")
}

/// What is left of a replay, in steps of `steps`.
fn rest(store: &mut RetainedStore, id: ReplayId, steps: usize) -> Vec<String> {
    let mut topics = Vec::new();
    while store.advance(id, Time::ZERO, steps, &mut |message| {
        topics.push(message.parts().topic.as_str().to_owned());
        ControlFlow::Continue(())
    }) == Progress::More
    {}
    topics
}

fn check(topics: &[&str], wanted: &str, expected: &[&str]) {
    let mut store = store(topics);
    let id = store.open_replay(filter(wanted));
    let mut found = rest(&mut store, id, 3);
    found.sort_unstable();
    assert_eq!(found, expected, "{wanted:?}");
    store.close_replay(id);
}

#[test]
fn filters_find_what_they_match() {
    let topics = [
        "a", "a/", "a/b", "a/b/c", "a/c", "/a", "b/b/c", "$SYS/a", "$SYS",
    ];
    check(&topics, "a", &["a"]);
    check(&topics, "a/#", &["a", "a/", "a/b", "a/b/c", "a/c"]);
    check(&topics, "a/+", &["a/", "a/b", "a/c"]);
    check(&topics, "+/b/c", &["a/b/c", "b/b/c"]);
    check(&topics, "+/b/#", &["a/b", "a/b/c", "b/b/c"]);
    check(&topics, "+", &["a"]);
    check(&topics, "+/+", &["/a", "a/", "a/b", "a/c"]);
    check(
        &topics,
        "#",
        &["/a", "a", "a/", "a/b", "a/b/c", "a/c", "b/b/c"],
    );
    check(&topics, "$SYS/#", &["$SYS", "$SYS/a"]);
    check(&topics, "$SYS/+", &["$SYS/a"]);
    check(&topics, "x/#", &[]);
    check(&[], "#", &[]);
}

#[test]
fn a_replay_goes_on_where_it_broke_off() {
    let mut store = store(&["a", "b", "c"]);
    let id = store.open_replay(filter("#"));
    let mut found = Vec::new();
    loop {
        let progress = store.advance(id, Time::ZERO, 100, &mut |message| {
            found.push(message.parts().topic.as_str().to_owned());
            ControlFlow::Break(())
        });
        if progress == Progress::Done {
            break;
        }
    }
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c"]);
}

#[test]
fn what_expired_is_neither_visited_nor_kept() {
    let mut store = store(&["a"]);
    let soon = Time::from_micros(10);
    store.set(message("a/b", "x", Some(soon)));
    for _ in 0..1000 {
        store.set(message("a/c", "x", Some(Time::from_micros(20))));
    }
    assert!(store.expiries.len() < 200, "stale entries are swept out");
    assert_eq!(store.next_expiry(), Some(soon));
    let id = store.open_replay(filter("#"));
    let mut found = 0;
    store.advance(id, soon, 100, &mut |_| {
        found += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(found, 2);
    assert_eq!(store.expire(soon, 100).len(), 1);
    assert_eq!(store.len(), 2);
    assert_eq!(store.expire(Time::from_micros(30), 100).len(), 1);
    assert_eq!(
        (store.len(), store.bytes(), store.next_expiry()),
        (1, 2, None)
    );
}

#[test]
fn sixty_five_thousand_levels_are_walked_without_recursion() {
    let deep = "/".repeat(65_535);
    let mut store = store(&[&deep, &deep[1..], "a"]);
    let id = store.open_replay(filter("#"));
    assert_eq!(rest(&mut store, id, 1).len(), 3);
    let plus = vec!["+"; 32_768].join("/");
    let id = store.open_replay(filter(&plus));
    assert_eq!(rest(&mut store, id, 1).len(), 0);
}

#[derive(Clone, Debug)]
enum Operation {
    Set(String),
    Clear(String),
    Open(String),
    Advance(usize, usize),
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["", "a", "b", "$x"]), 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("topics are not empty", |topic| !topic.is_empty())
}

fn any_filter() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop::sample::select(vec!["", "a", "b", "$x", "+"]), 0..5);
    (levels, any::<bool>())
        .prop_map(|(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("filters are not empty", |filter| !filter.is_empty())
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => topic().prop_map(Operation::Set),
        3 => topic().prop_map(Operation::Clear),
        1 => any_filter().prop_map(Operation::Open),
        4 => (0_usize..4, 1_usize..4).prop_map(|(replay, steps)| Operation::Advance(replay, steps)),
    ]
}

/// A replay beside what is known of it.
struct Watched {
    id: ReplayId,
    filter: String,
    /// What matched when it began and has been there ever since: to be visited once.
    due: BTreeMap<String, usize>,
    /// How often each topic was visited since it was last set anew.
    seen: BTreeMap<String, usize>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn replays_visit_what_stays_exactly_once_whatever_else_changes(operations in prop::collection::vec(operation(), 1..120)) {
        let mut store = RetainedStore::new(3);
        let mut model: BTreeMap<String, usize> = BTreeMap::new();
        let mut replays: Vec<Watched> = Vec::new();
        for (serial, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Set(topic) => {
                    let replaced = store.set(message(&topic, &serial.to_string(), None));
                    prop_assert_eq!(replaced.is_some(), model.insert(topic, serial).is_some());
                }
                Operation::Clear(topic) => {
                    let cleared = store.clear(TopicName::new(&topic).expect("valid"));
                    prop_assert_eq!(cleared.is_some(), model.remove(&topic).is_some());
                    for watched in &mut replays {
                        watched.due.remove(&topic);
                        watched.seen.remove(&topic);
                    }
                }
                Operation::Open(text) => {
                    let id = store.open_replay(filter(&text));
                    let due = model
                        .keys()
                        .filter(|topic| filter(&text).matches(TopicName::new(topic).expect("valid")))
                        .map(|topic| (topic.clone(), 0))
                        .collect();
                    replays.push(Watched { id, filter: text, due, seen: BTreeMap::new() });
                }
                Operation::Advance(replay, steps) => {
                    if let Some(watched) = replays.get_mut(replay) {
                        advance(&mut store, watched, steps, &model)?;
                    }
                }
            }
            prop_assert_eq!(store.len(), model.len());
        }
        for mut watched in replays {
            while advance(&mut store, &mut watched, 2, &model)? == Progress::More {}
            for (topic, visits) in &watched.due {
                prop_assert_eq!(*visits, 1, "{:?} of {:?}", topic, watched.filter);
            }
            store.close_replay(watched.id);
        }
        for topic in model.keys() {
            prop_assert!(store.at(TopicName::new(topic).expect("valid")).is_some());
            prop_assert!(store.clear(TopicName::new(topic).expect("valid")).is_some());
        }
        prop_assert_eq!((store.len(), store.bytes()), (0, 0));
        prop_assert!(store.topics.is_empty());
    }
}

fn advance(
    store: &mut RetainedStore,
    watched: &mut Watched,
    steps: usize,
    model: &BTreeMap<String, usize>,
) -> Result<Progress, TestCaseError> {
    let mut visited = Vec::new();
    let progress = store.advance(watched.id, Time::ZERO, steps, &mut |message| {
        let parts = message.parts();
        let payload = String::from_utf8_lossy(parts.payload).into_owned();
        visited.push((parts.topic.as_str().to_owned(), payload));
        ControlFlow::Continue(())
    });
    for (topic, payload) in visited {
        let name = TopicName::new(&topic).expect("valid");
        prop_assert!(
            filter(&watched.filter).matches(name),
            "{} on {}",
            watched.filter,
            topic
        );
        prop_assert_eq!(model.get(&topic).map(ToString::to_string), Some(payload));
        if let Some(visits) = watched.due.get_mut(&topic) {
            *visits += 1;
        }
        let seen = watched.seen.entry(topic).or_default();
        *seen += 1;
        prop_assert_eq!(*seen, 1, "twice");
    }
    Ok(progress)
}
