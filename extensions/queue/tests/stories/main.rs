//! One story for each thing that a queue does.

mod capture;
mod common;
mod control;
mod dead_letters;
mod format;
mod hostile;
mod late_read;
mod lease;
mod limits;
mod memory;
mod order;
mod push;
mod settle;
