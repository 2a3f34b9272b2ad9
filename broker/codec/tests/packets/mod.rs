//! Packets for tests by property: any valid one, and ways to spoil its bytes. Also part of the
//! differential tests in `tests/codec-oracles`.

mod mutation;
mod strategies;
mod values;

pub(crate) use mutation::{Mutation, mutations};
pub(crate) use strategies::{packets, publishes};
