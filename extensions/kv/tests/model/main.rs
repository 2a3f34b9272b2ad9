//! Whatever happens to buckets, against naive maps that are told what happened: see [`oracle`].

mod operation;
mod oracle;
mod watcher;
mod world;

use proptest::prelude::*;

use operation::Operation;
use world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn buckets_do_what_naive_maps_do(
        backlog in prop::sample::select(vec![2_usize, 4, 1000]),
        operations in prop::collection::vec(Operation::any(), 1..150),
    ) {
        let mut world = World::new(backlog);
        for operation in &operations {
            world.run(operation);
        }
        world.finish();
    }
}
