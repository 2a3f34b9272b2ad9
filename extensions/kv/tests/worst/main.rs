//! A host that does its worst: it reads late and in any order, has stored what it has not told of,
//! refuses whenever it may, and dies with some of what it was given stored.

mod host;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use host::Host;

/// Counters, which are counted, and values that come and go.
const KEYS: [&str; 4] = ["n/1", "n/2", "v", "v/1"];

#[derive(Clone, Debug)]
enum Step {
    /// A step of a counter, or a value.
    Change(&'static str, Option<u8>),
    Delete(Index),
    Look(&'static str),
    Read(Index),
    Apply,
    Hear(bool),
    Refuse,
    Wait(u16),
    Watch(&'static str, u32),
    Settle(Index),
    Detach(Index),
    Crash(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![2 => Just(None), 1 => (1..3_u8).prop_map(Some)];
    prop_oneof![
        10 => (select(KEYS.to_vec()), seconds).prop_map(|(key, seconds)| Step::Change(key, seconds)),
        3 => any::<Index>().prop_map(Step::Delete),
        2 => select(KEYS.to_vec()).prop_map(Step::Look),
        14 => any::<Index>().prop_map(Step::Read),
        5 => Just(Step::Apply),
        14 => any::<bool>().prop_map(Step::Hear),
        2 => Just(Step::Refuse),
        3 => (0..2000_u16).prop_map(Step::Wait),
        3 => (select(vec!["#", "+/1", "v/#", "n/1"]), 0..4_u32)
            .prop_map(|(filter, credit)| Step::Watch(filter, credit)),
        6 => any::<Index>().prop_map(Step::Settle),
        1 => any::<Index>().prop_map(Step::Detach),
        1 => (0..10_usize).prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_acknowledged_is_lost_and_watchers_know_what_there_is(
        backlog in select(vec![2_usize, 1000]),
        steps in prop::collection::vec(any_step(), 1..150),
    ) {
        let mut host = Host::new(backlog);
        for step in &steps {
            run(&mut host, step);
        }
        host.finish(&KEYS);
    }
}

fn run(host: &mut Host, step: &Step) {
    match step {
        Step::Change(key, seconds) => host.change(key, *seconds),
        Step::Delete(at) => host.delete(["v", "v/1"][at.index(2)]),
        Step::Look(key) => host.look(key),
        Step::Read(at) => host.read(*at),
        Step::Apply => host.apply(),
        Step::Hear(is_lasting) => host.hear(*is_lasting),
        Step::Refuse => host.refuse(),
        Step::Wait(milliseconds) => host.wait(u64::from(*milliseconds)),
        Step::Watch(filter, credit) => host.watch(filter, *credit),
        Step::Settle(at) => host.settle(*at),
        Step::Detach(at) => host.detach(*at),
        Step::Crash(more) => host.crash(*more),
    }
}
