//! What may happen.

use nexum_extension_api::driver::Store;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One that is stored, and one in memory.
pub(crate) const BUCKETS: [&str; 2] = ["disk", "memory"];

pub(crate) const KEYS: [&str; 6] = ["a", "a/b", "a/c", "a!", "b", "b/b"];

const FILTERS: [&str; 6] = ["#", "+", "a", "a/#", "+/b", "a/+"];

/// Keys there may be.
pub(crate) const MOST_KEYS: usize = 4;

/// Values of a key that can be seen.
pub(crate) const HISTORY: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition {
    None,
    /// The newest revision that is known of the key.
    Known,
    Absent,
    CreateOnly,
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Set {
        value: &'static str,
        seconds: Option<u8>,
    },
    Delete,
    Count(i8),
    Touch(u8),
    Get,
    History,
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Key {
        bucket: usize,
        key: &'static str,
        action: Action,
        condition: Condition,
    },
    Keys(usize),
    Purge(usize),
    Drop(usize),
    Watch {
        bucket: usize,
        filter: &'static str,
        credit: u32,
        wants_present: bool,
    },
    Settle(Index, usize),
    Leave(Index),
    Wait(u16),
    Store(Store),
    Commit,
    Restart,
}

impl Operation {
    pub(crate) fn any() -> impl Strategy<Value = Operation> {
        let bucket = || select(vec![0, 0, 1]);
        let set = (
            select(vec!["1", "7", "x", "9223372036854775807"]),
            prop_oneof![3 => Just(None), 2 => (1..6_u8).prop_map(Some)],
        );
        let action = prop_oneof![
            6 => set.prop_map(|(value, seconds)| Action::Set { value, seconds }),
            3 => Just(Action::Delete),
            3 => any::<i8>().prop_map(Action::Count),
            2 => (0..6_u8).prop_map(Action::Touch),
            2 => Just(Action::Get),
            1 => Just(Action::History),
        ];
        let condition = prop_oneof![
            6 => Just(Condition::None),
            3 => Just(Condition::Known),
            1 => Just(Condition::Absent),
            1 => Just(Condition::CreateOnly),
        ];
        let key = (bucket(), select(KEYS.to_vec()), action, condition);
        let watch = (
            bucket(),
            select(FILTERS.to_vec()),
            0..4_u32,
            prop::bool::weighted(0.8),
        );
        prop_oneof![
            40 => key.prop_map(|(bucket, key, action, condition)| Operation::Key {
                bucket,
                key,
                action,
                condition,
            }),
            1 => bucket().prop_map(Operation::Keys),
            1 => bucket().prop_map(Operation::Purge),
            1 => bucket().prop_map(Operation::Drop),
            4 => watch.prop_map(|(bucket, filter, credit, wants_present)| Operation::Watch {
                bucket,
                filter,
                credit,
                wants_present,
            }),
            6 => (any::<Index>(), 1..8_usize).prop_map(|(at, count)| Operation::Settle(at, count)),
            1 => any::<Index>().prop_map(Operation::Leave),
            6 => (0..3000_u16).prop_map(Operation::Wait),
            4 => select(vec![Store::Quick, Store::Slow, Store::Slow, Store::Full])
                .prop_map(Operation::Store),
            3 => Just(Operation::Commit),
            1 => Just(Operation::Restart),
        ]
    }
}
