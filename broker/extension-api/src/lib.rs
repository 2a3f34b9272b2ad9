//! The one boundary between the broker and what extends it.
//!
//! An [`Extension`] is a state machine of the same shape as the rest of the broker: it is fed
//! [`Input`]s and the time, and gives out [`Output`]s. There is no I/O in it, no clock, no thread
//! and no randomness; the host gives it a thread of its own, a part of the store, and a bounded
//! share of the traffic. The core knows no extension by name, and an extension knows neither
//! packets nor connections: it claims words of the `$` grammar ([`Claim`]) and is handed what is
//! published and subscribed under them.
//!
//! - What is published to a claimed word is a [`Command`], and has exactly one answer
//!   ([`Output::Reply`]): the publisher is acknowledged when it comes, so an extension answers when
//!   what it promises is stored.
//! - What is subscribed under a claimed word is a feed: a consumer pulls by credit, so what it has
//!   not taken stays in the extension and never waits in the broker's memory.
//! - What an extension captures by a topic filter it is handed with a receipt, which it commits in
//!   the same way ([`Output::Commit`]).
//!
//! [`driver::Driver`] runs an extension alone, with a store that may be slow, full or lost.

#![forbid(unsafe_code)]

mod address;
mod change;
pub mod driver;
mod extension;
mod id;
mod input;
pub mod json;
mod options;
mod output;
mod record_reader;
mod refusal;
mod span;

pub use address::{Address, AddressError, NameError, RESERVED_WORDS, check_name};
pub use change::{Change, Changes, RecordKey};
pub use extension::{Claim, Extension, Gauge, Unreadable};
pub use id::{
    CaptureId, CommandId, ConsumerId, DeliveryId, FeedId, PublicationId, ReadId, ReceiptId, WriteId,
};
pub use input::{Captured, Command, Input, Outcome, Subscribe, Unsubscribe, WriteRefusal};
pub use options::{OptionError, Options};
pub use output::{Deliver, Label, Output, Publish, Reply, Scan, Severity, WhenRefused, Write};
pub use record_reader::RecordReader;
pub use refusal::{ErrorCode, Refusal};
pub use span::{SpanError, parse_duration, parse_when};
