//! To be written.

mod limits;

pub use limits::{Limits, SharedSubscriptionStrategy};
