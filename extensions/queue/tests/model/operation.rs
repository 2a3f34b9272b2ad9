//! What may happen.

use nexum_extension_api::driver::Store;
use proptest::prelude::*;

/// What a queue is.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) order: &'static str,
    pub(crate) dispatch: &'static str,
    pub(crate) max_attempts: u32,
    pub(crate) max_len: u32,
    /// Then the store is quick: what is dropped for what is stored late depends on what was
    /// delivered meanwhile.
    pub(crate) drops_oldest: bool,
    pub(crate) memory_bytes: usize,
}

/// How a delivery is settled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Done,
    Failed,
    Busy,
    Rejected,
    TooLarge,
}

/// What is done with a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Ack,
    Nack,
    NackFor(u32),
    Reject,
    Extend(u32),
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Push {
        queue: &'static str,
        levels: Option<&'static str>,
        key: Option<&'static str>,
        priority: u8,
        delay: u32,
        time_to_live: u32,
        id: Option<u8>,
    },
    Join {
        filter: &'static str,
        credit: u32,
    },
    Subscribe {
        consumer: usize,
        filter: &'static str,
    },
    Unsubscribe {
        feed: usize,
    },
    Settle {
        delivery: usize,
        answer: Answer,
    },
    Lease {
        lease: usize,
        verb: Verb,
    },
    Detach {
        consumer: usize,
        has_ended: bool,
        /// What was delivered to it had left, or else comes back.
        has_left: bool,
    },
    ComeBack {
        consumer: usize,
        filter: &'static str,
        credit: u32,
    },
    Wait(u32),
    Pause(bool),
    Alter {
        prefetch: Option<u32>,
        max_attempts: u32,
        visibility: u32,
    },
    Redrive,
    Purge,
    Cancel(u8),
    Restart,
    Store(Store),
    Commit,
}

/// The queues there are.
pub(crate) const QUEUES: [&str; 2] = ["jobs", "more"];

const FILTERS: [&str; 10] = [
    "$queue/jobs",
    "$queue/jobs/#",
    "$queue/jobs/a/+",
    "$queue/jobs/a/#",
    "$queue/jobs/$lease/#",
    "$queue/jobs/$lease/+/+/a/#",
    "$queue/jobs/$dlq",
    "$queue/more",
    "$queue/more/a/#",
    "$queue/more/$lease/#",
];

impl Setup {
    pub(crate) fn any() -> impl Strategy<Value = Setup> {
        (
            prop::sample::select(vec!["fifo", "key", "prio"]),
            prop::sample::select(vec!["least_loaded", "round_robin"]),
            1..5_u32,
            prop::sample::select(vec![(1000, false), (8, false), (5, true)]),
            prop::sample::select(vec![0, 600, 1 << 20]),
        )
            .prop_map(
                |(order, dispatch, max_attempts, (max_len, drops_oldest), memory_bytes)| Setup {
                    order,
                    dispatch,
                    max_attempts,
                    max_len,
                    drops_oldest,
                    memory_bytes,
                },
            )
    }
}

impl Operation {
    pub(crate) fn any() -> impl Strategy<Value = Operation> {
        let filter = || prop::sample::select(FILTERS.to_vec());
        let answer = prop_oneof![
            4 => Just(Answer::Done),
            3 => Just(Answer::Failed),
            1 => Just(Answer::Busy),
            1 => Just(Answer::Rejected),
            1 => Just(Answer::TooLarge),
        ];
        let verb = prop_oneof![
            3 => Just(Verb::Ack),
            2 => Just(Verb::Nack),
            1 => (0..4_u32).prop_map(Verb::NackFor),
            1 => Just(Verb::Reject),
            1 => (1..9_u32).prop_map(Verb::Extend),
        ];
        let store =
            prop::sample::select(vec![Store::Quick, Store::Quick, Store::Slow, Store::Full]);
        let push = (
            prop::sample::select(vec![QUEUES[0], QUEUES[0], QUEUES[1]]),
            prop::sample::select(vec![None, Some("a"), Some("a/b"), Some("c")]),
            prop::sample::select(vec![None, Some("k"), Some("a/k")]),
            0..3_u8,
            prop::sample::select(vec![0, 0, 0, 3]),
            prop::sample::select(vec![0, 0, 0, 7]),
            prop::option::weighted(0.2, 0..3_u8),
        )
            .prop_map(|(queue, levels, key, priority, delay, time_to_live, id)| {
                Operation::Push {
                    queue,
                    levels,
                    key,
                    priority,
                    delay,
                    time_to_live,
                    id,
                }
            });
        prop_oneof![
            12 => push,
            3 => (filter(), 0..4_u32).prop_map(|(filter, credit)| Operation::Join { filter, credit }),
            1 => (any::<prop::sample::Index>(), filter()).prop_map(|(at, filter)| {
                Operation::Subscribe { consumer: at.index(1 << 16), filter }
            }),
            1 => any::<prop::sample::Index>().prop_map(|at| Operation::Unsubscribe {
                feed: at.index(1 << 16),
            }),
            12 => (any::<prop::sample::Index>(), answer).prop_map(|(at, answer)| {
                Operation::Settle { delivery: at.index(1 << 16), answer }
            }),
            5 => (any::<prop::sample::Index>(), verb).prop_map(|(at, verb)| Operation::Lease {
                lease: at.index(1 << 16),
                verb,
            }),
            2 => (any::<prop::sample::Index>(), any::<bool>(), any::<bool>()).prop_map(
                |(at, has_ended, has_left)| Operation::Detach {
                    consumer: at.index(1 << 16),
                    has_ended,
                    has_left,
                },
            ),
            2 => (any::<prop::sample::Index>(), filter(), 1..4_u32).prop_map(
                |(at, filter, credit)| Operation::ComeBack {
                    consumer: at.index(1 << 16),
                    filter,
                    credit,
                },
            ),
            6 => prop::sample::select(vec![1, 500, 1000, 2000, 5000, 9000]).prop_map(Operation::Wait),
            1 => any::<bool>().prop_map(Operation::Pause),
            1 => (prop::option::of(1..4_u32), 0..5_u32, 3..7_u32).prop_map(
                |(prefetch, max_attempts, visibility)| Operation::Alter {
                    prefetch,
                    max_attempts,
                    visibility,
                },
            ),
            1 => Just(Operation::Redrive),
            1 => prop::sample::select(vec![false, false, true]).prop_map(|purge| {
                if purge { Operation::Purge } else { Operation::Redrive }
            }),
            1 => (0..3_u8).prop_map(Operation::Cancel),
            1 => Just(Operation::Restart),
            2 => store.prop_map(Operation::Store),
            2 => Just(Operation::Commit),
        ]
    }
}
