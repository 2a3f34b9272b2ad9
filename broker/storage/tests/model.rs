//! A store is an ordered map that survives.

use std::collections::BTreeMap;
use std::ops::Bound;

use nexum_storage::{Changes, CheckpointJob, Options, SimulatedDisk, Store, TableId};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u16, u8, Vec<u8>),
    Delete(u16, u8),
    Commit,
    BeginCheckpoint,
    FinishCheckpoint,
    Reopen,
    Range(u16, Bound<u8>, Bound<u8>),
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0_u8..12).prop_map(Bound::Included),
        (0_u8..12).prop_map(Bound::Excluded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u16..2, 0_u8..12, vec(any::<u8>(), 0..40)).prop_map(|(t, k, v)| Step::Put(t, k, v)),
        3 => (0_u16..2, 0_u8..12).prop_map(|(t, k)| Step::Delete(t, k)),
        4 => Just(Step::Commit),
        1 => Just(Step::BeginCheckpoint),
        1 => Just(Step::FinishCheckpoint),
        1 => Just(Step::Reopen),
        3 => (0_u16..2, bound(), bound()).prop_map(|(t, a, b)| Step::Range(t, a, b)),
    ]
}

type Model = BTreeMap<(u16, u8), Vec<u8>>;

fn range(store: &Store, table: u16, from: Bound<u8>, to: Bound<u8>) -> Vec<(u8, Vec<u8>)> {
    let (from, to) = (from.map(|key| [key]), to.map(|key| [key]));
    let bounds = (
        from.as_ref().map(|key| key.as_slice()),
        to.as_ref().map(|key| key.as_slice()),
    );
    let view = store.view();
    let range = view.range(TableId(table), bounds).expect("it can be read");
    range
        .map(|entry| {
            let (key, value) = entry.expect("it can be read");
            (key[0], value.to_vec())
        })
        .collect()
}

fn is_within(key: u8, from: Bound<u8>, to: Bound<u8>) -> bool {
    let after = match from {
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
        Bound::Unbounded => true,
    };
    let before = match to {
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
        Bound::Unbounded => true,
    };
    after && before
}

fn follow(steps: Vec<Step>, insert: bool) {
    let options = Options {
        segment_bytes: 500,
        overlay_bytes: 700,
        reserve_bytes: 0,
        ..Options::default()
    };
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = Store::open(disk.mount(), options.clone()).expect("it is new");
    let mut job: Option<CheckpointJob> = None;
    let (mut committed, mut submitted) = (Model::new(), Model::new());
    for step in steps {
        let mut changes = Changes::new();
        match step {
            Step::Put(table, key, value) => {
                if insert && !submitted.contains_key(&(table, key)) {
                    changes.insert(TableId(table), &[key], &value);
                } else {
                    changes.put(TableId(table), &[key], &value);
                }
                submitted.insert((table, key), value);
            }
            Step::Delete(table, key) => {
                changes.delete(TableId(table), &[key]);
                submitted.remove(&(table, key));
            }
            Step::Commit => {
                store.commit().expect("it works");
                committed = submitted.clone();
            }
            Step::BeginCheckpoint => {
                if job.is_none() {
                    job = store.begin_checkpoint().expect("it works");
                }
            }
            Step::FinishCheckpoint => {
                if let Some(job) = job.take() {
                    store.finish_checkpoint(job.run()).expect("it works");
                }
            }
            Step::Reopen => {
                drop((store, job.take()));
                disk.crash();
                (store, _) = Store::open(disk.mount(), options.clone()).expect("it is whole");
                submitted = committed.clone();
            }
            Step::Range(table, from, to) => {
                let expected: Vec<_> = committed
                    .iter()
                    .filter(|((of, key), _)| *of == table && is_within(*key, from, to))
                    .map(|((_, key), value)| (*key, value.clone()))
                    .collect();
                assert_eq!(range(&store, table, from, to), expected);
                for key in 0..12 {
                    let view = store.view();
                    let found = view.get(TableId(table), &[key]).expect("it can be read");
                    let expected = committed.get(&(table, key)).map(Vec::as_slice);
                    assert_eq!(found.as_deref(), expected);
                }
            }
        }
        if !changes.is_empty() {
            store.submit(&changes).expect("it works");
        }
    }
}

proptest! {
    #[test]
    fn a_store_is_a_map(steps in vec(step(), 0..80), insert in any::<bool>()) {
        follow(steps, insert);
    }
}
