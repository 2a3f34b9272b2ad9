//! An extension at work, but for its thread.
//!
//! A [`Host`] takes what shards and the store say, feeds it to the extension, and has for each shard
//! what the extension wants of it, and for the store what is to be kept, on two lines. It never waits
//! and knows no clock: whoever drives it is a thread of the server, or a simulation with a seed.
//!
//! ```text
//! restore(store)                                          once
//! start(now)                                              once; shards hear first what it captures
//! batch(…) | answers(…) | handle_timeout(now)  ─► take_submission(now) until None
//!                                              ─► take_outputs(shard) of each shard
//!                                              ─► poll_event() until None ─► poll_timeout()
//! ```
//!
//! What must stay true: what is written by one line is answered in its order, so no answer has to be
//! looked up; and a submission is taken before the outputs of the same turn are handed over.

#![forbid(unsafe_code)]

mod composed;
mod event;
mod host;
mod reading;
mod writes;

pub use composed::{Composed, RestoreError};
pub use event::HostEvent;
pub use host::{Host, HostParts};
pub use writes::{LineId, Submission};
