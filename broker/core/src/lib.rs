//! The broker as a state machine.
//!
//! A [`Shard`] holds sessions, subscriptions, retained messages and the connections that belong
//! to them. It is fed bytes, inputs and the time, and gives out bytes, outputs and batches for
//! other shards. There is no I/O here, no clock, no lock, no thread and no randomness: a seed and
//! a script replay anything that ever happens in it.
//!
//! The rule of use: after anything was fed, drain [`Shard::poll_output`],
//! [`Shard::poll_transmit`] and [`Shard::take_peer_batch`].
//!
//! ```
//! use std::io::IoSlice;
//! use std::sync::Arc;
//!
//! use nexum_core::{ConnectionOrigin, Limits, Shard, ShardConfig, ShardId};
//! use nexum_types::Time;
//!
//! let mut shard = Shard::new(ShardConfig {
//!     id: ShardId(0),
//!     shards: 1,
//!     limits: Arc::new(Limits::default()),
//!     seed: 7,
//!     authentication_methods: Arc::from([]),
//!     extensions: Arc::from([]),
//! });
//! let origin = ConnectionOrigin {
//!     address: None,
//!     listener: Arc::from("example"),
//!     anonymous: true,
//!     verify_credentials: false,
//!     certificate: None,
//! };
//! let client = shard.open(origin, Time::ZERO);
//! // CONNECT of MQTT 3.1.1, Clean Session, Client Identifier "c".
//! shard.receive(client, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c", Time::ZERO);
//! assert_eq!(shard.poll_transmit(), Some(client));
//! let mut slices = [IoSlice::new(&[]); 4];
//! assert_eq!(shard.transmit(client, &mut slices), 1);
//! assert_eq!(&*slices[0], b"\x20\x02\0\0", "CONNACK: accepted");
//! ```

#![forbid(unsafe_code)]

mod address;
mod admission;
mod connection;
mod counters;
mod extension;
mod journal;
mod key;
mod keyed;
mod level_trie;
mod limits;
mod origin;
mod outbound_buffer;
mod output;
mod peer;
mod recent_ids;
mod record;
mod record_table;
mod replay;
mod retained;
mod route_cache;
mod session;
mod shard;
mod shared_subscription;
mod subscription;
mod subscription_index;
mod timer_wheel;
mod topic_alias;
mod unhandled;

pub use address::{ExtensionId, Served};
pub use counters::{Counters, DropReason, Gauges};
pub use extension::ExtensionBatch;
pub use key::{ConnectionKey, ShardId, home_of};
pub use limits::{Limits, OverlappingSubscriptions, QueueOverflow, SharedSubscriptionStrategy};
pub use origin::{
    AuthenticationOutcome, ConnectionOrigin, Credentials, ExchangeOutcome, ExchangeStep,
};
pub use output::{ConnectionLoss, DisconnectCause, Event, Input, Level, Output, ProtocolError};
pub use peer::PeerBatch;
pub use record::{
    Change, Content, DeliveryRecord, ExchangeRecord, Key, LoadId, MessageId, Restored, SessionId,
    SessionRecord, StoreRefusal, Stored, Submission, SubscriptionIdentifierList,
    SubscriptionRecord, Value, Will,
};
pub use record_table::RecordTable;
pub use shard::{ExtensionConfig, Shard, ShardConfig};
