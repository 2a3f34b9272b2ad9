//! One story for each thing that a bucket does.

mod common;
mod control;
mod counters;
mod expiry;
mod format;
mod hostile;
mod late;
mod list;
mod memory;
mod set;
mod store;
mod watch;
