//! Durable work queues: producers push, competing consumers pull by credit, and what is not done
//! comes again until it is done or dead.
//!
//! ```
//! use nexum_extension_api::driver::Driver;
//! use nexum_queue::{Queues, Settings};
//!
//! let mut broker = Driver::new(|| Queues::new(Settings::default()));
//! broker.publish("$queue/jobs/$ctl/create", br#"{"max_attempts": 3}"#)?;
//! broker.publish("$queue/jobs/eu/new", b"a job")?;
//!
//! let worker = broker.attach(10);
//! broker.subscribe(worker, "$queue/jobs/eu/+")?;
//! let done = broker.work_off(worker);
//! assert_eq!(done.len(), 1);
//! assert_eq!(&*done[0].topic, "$queue/jobs/eu/new");
//! assert_eq!(done[0].message.payload(), b"a job");
//! # Ok::<(), nexum_extension_api::Refusal>(())
//! ```
//!
//! # What is promised
//! - A push is acknowledged when it is stored, and delivered only then. Until it is settled as done,
//!   dead, expired, dropped for `overflow` or purged, it is delivered again and again.
//! - Within its `visibility` a delivery is one consumer's alone. When that lapses the message is
//!   ready again, for another consumer if there is one; the credit stays taken until the late
//!   settlement, which is then ignored.
//! - An attempt is a delivery that ended without success: refused, lapsed, or lost with its session.
//!   A consumer that is busy (0x97) is no attempt, one whose connection was lost before the delivery
//!   left is none, and neither is a delivery in flight when the broker dies: who reads `q-attempt`
//!   may see the same number twice.
//! - What has happened is written in its order and tried until it is stored. A settlement that was
//!   not stored when the broker died is forgotten: the message comes again.
//!
//! # What to know
//! - `prio` is remembered on a queue of any order, and has an effect on one of order `prio`.
//! - Order `key`: a message with a key (the option, else the levels) waits until those of its key
//!   before it are done or dead. One that is pushed with a delay joins them when it is due.
//! - `delete` drops everything; consumers are not told, they get nothing more. `purge` leaves what a
//!   consumer has, and the dead letters.
//! - Dead letters are ordered by the number of the message, whenever it died. Redriving one whose
//!   time ran out lets it expire again.
//! - A lease that PUBACK acknowledged takes credit until it is settled. A lease that is refused by
//!   PUBACK is given back like any delivery. After a restart a receipt is good until the message is
//!   given to somebody else; `$extend` is not stored, and keeps others away in memory alone.
//! - What a delivery is labelled with (`q-id`, `q-attempt`, `q-ts`, `q-key`, `dlq-reason`,
//!   `dlq-attempts`) stands before the User Properties of the message: the first of a name counts.
//! - `$queue/_/$cancel/<id>` cancels what was pushed with a delay and that id, in any queue; a push
//!   that is not acknowledged yet is not found.
//! - `pause` holds dead letters back, too.
//! - Payloads beyond [`Settings::memory_bytes`] are only in the store, and read back in batches
//!   before it is their turn.

#![forbid(unsafe_code)]

mod consume;
mod control;
mod create;
mod dispatch;
mod entry;
mod filter;
mod inspect;
mod lapses;
mod lease;
mod line;
mod member;
mod push;
mod queue;
mod queue_options;
mod queues;
mod read;
mod record;
mod refusals;
mod restore;
mod settings;
mod settle;
mod shift;
mod waiter;

pub use queue_options::{Backoff, Dispatch, Expired, Order, Overflow, QueueOptions};
pub use queues::Queues;
pub use settings::Settings;
