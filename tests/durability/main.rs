//! What the broker keeps, story by story: bounds, a full disk, the start on whatever is found,
//! every level of durability, and each part of a session through the death of the broker.
//!
//! Each test starts the real broker and speaks MQTT to it; where it touches the data directory it
//! does what a crash, a worn disk or an operator would do. `tests/crash` shows that nothing
//! acknowledged is lost when the broker is killed at any moment; here it is killed at known
//! moments, and what comes after is compared packet by packet.

mod bounds;
mod check_data;
mod disk_full;
mod exchanges;
mod honest;
mod levels;
#[path = "../hostile/metrics.rs"]
mod metrics;
mod properties;
mod scene;
mod sessions;
mod start_up;
mod subscriptions;
