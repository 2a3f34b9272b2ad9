//! Whatever happens to a queue, against a naive one that is told what happened and says what may
//! not have: see [`oracle`].

mod action;
mod operation;
mod oracle;
mod world;

use proptest::prelude::*;

use operation::{Operation, Setup};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_queue_does_what_a_naive_one_allows(
        setup in Setup::any(),
        operations in prop::collection::vec(Operation::any(), 1..120),
    ) {
        let mut world = World::new(&setup);
        for operation in &operations {
            world.run(operation);
        }
        world.finish();
    }
}
