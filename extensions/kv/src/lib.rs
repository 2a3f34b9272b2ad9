//! Keys and values with revisions: what a retained message is, made transactional.
//!
//! ```
//! use nexum_extension_api::driver::Driver;
//! use nexum_kv::{Buckets, Settings};
//!
//! let mut broker = Driver::new(|| Buckets::new(Settings::default()));
//! broker.publish("$kv/cfg/$ctl/create", br#"{"history": 5}"#)?;
//! broker.publish("$kv/cfg/line1/rate", b"10")?;
//!
//! let watcher = broker.attach(10);
//! broker.subscribe(watcher, "$kv/cfg/#")?;
//! let present = broker.work_off(watcher);
//! assert_eq!(&*present[0].topic, "$kv/cfg/line1/rate");
//! assert!(present[0].retain);
//!
//! let sum = broker.publish("$kv/cfg/line1/rate/$incr", b"5")?;
//! assert_eq!(sum.payload, b"15");
//! assert_eq!(broker.work_off(watcher)[0].message.payload(), b"15");
//! # Ok::<(), nexum_extension_api::Refusal>(())
//! ```
//!
//! # What is promised
//! - What changes a key is acknowledged when it is stored, with the revision it has; revisions of a
//!   bucket rise and are never used twice, over restarts. They have gaps: all buckets count together.
//! - Operations on a key happen one after another, each judged by what the one before it led to:
//!   of two that ask for the same `rev` one is refused, and no step of a counter is lost.
//! - A watcher is told of a change when it is stored. What it is told of a key never goes back, and
//!   the last it is told is what the key is, as long as its session is connected; a session that
//!   comes back is told what there is then.
//! - An entry runs out once. From its time on it is as if it were not there; watchers are told when
//!   it is removed from the store.
//!
//! # What to know
//! - An empty payload deletes. A key that is not there is deleted without a revision: the reply has
//!   `rev` 0. `rev=0` asks for a key that is not there, as `nx` does. A refusal for a conflict has
//!   the present revision, as `rev` beside its code; it may be one that is not stored yet.
//! - `ttl=0` is never, whatever the bucket says. `$expire` with nothing, or 0, is never, too. A touch
//!   has a revision of its own, and the value stays: `$history` does not list it. A counter keeps its
//!   time; `ttl` counts when a counter begins.
//! - The option `id` is not taken: a set that is repeated sets the same, and `rev` protects a counter.
//! - `$history` of a key that is being written shows the value that it waited for, and of those
//!   before it what is kept by then.
//! - A former value is kept until `history` is reached, or the key is deleted or runs out.
//! - Properties of a value travel with it, but for User Properties that are options or `op` or
//!   `resync`; a counter begins with none.
//! - What is told has the properties `rev` and `op`: `set`, `incr` (also of `$decr`), `touch`, `del`
//!   and `expire`, the last two with an empty payload. What there was has RETAIN and `op` `set`.
//! - A set of a key whose time ran out, and that is not removed yet, takes its place: no `expire`.
//! - A watcher that takes nothing has [`Settings::backlog`] changes waiting, in their order; beyond,
//!   the newest of each key; if that is too much, too, it is told what there is when it takes more, the
//!   first of that with the property `resync`: what it knew besides may be gone. If there is nothing
//!   then, whatever is told next has it.
//! - A change is matched with each distinct filter of its bucket that has a wildcard; who watches a
//!   key costs nothing for others.
//! - `$share` is refused, for each watcher sees everything. QoS 2 is granted as 1: what comes twice
//!   has the same `rev`.
//! - `delete` drops a bucket; watchers are not told, they get nothing more. `purge` deletes each key,
//!   and watchers are told; what is set meanwhile may stay.
//! - Without `persist` entries are in memory, and gone after a restart; revisions go on.
//! - Memory holds what is being stored, what waits for watchers, and of a bucket its counters alone:
//!   a key is read when it is asked for.

#![forbid(unsafe_code)]

mod bucket;
mod bucket_options;
mod buckets;
mod control;
mod create;
mod entry;
mod expiry;
mod feed;
mod filter;
mod history;
mod inspect;
mod line;
mod list;
mod operation;
mod properties;
mod purge;
mod record;
mod refusals;
mod rest;
mod restore;
mod sequence;
mod settings;
mod watch;
mod wipe;
mod write;

pub use bucket_options::BucketOptions;
pub use buckets::Buckets;
pub use settings::Settings;
