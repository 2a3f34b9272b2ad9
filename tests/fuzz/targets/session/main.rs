//! Shards, their clients and their shell, driven by a list of operations: whatever clients do and
//! the network does to them, the broker keeps to the protocol, stays within its bounds and
//! forgets everything in the end.
//!
//! `operation` is what the input says, `packet` what clients send, `world` the shell without
//! sockets, `witness` what may be expected of the bytes of one connection.

#![no_main]

mod operation;
mod packet;
mod witness;
mod world;

use libfuzzer_sys::fuzz_target;

use operation::Scenario;

/// More than this finds nothing that so many would not.
const MOST_OPERATIONS: usize = 300;

fuzz_target!(|scenario: Scenario| {
    let mut world = world::World::new(&scenario.setup);
    for operation in scenario.operations.iter().take(MOST_OPERATIONS) {
        world.obey(operation);
    }
    world.check_progress();
    world.end();
});
