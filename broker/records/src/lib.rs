//! Where what a shard wants kept becomes bytes of tables, and comes back after a restart.
//!
//! The core says what changes in words of MQTT ([`nexum_core::Change`]), the store keeps bytes
//! ([`nexum_storage::Changes`]); this crate alone knows how one becomes the other. An [`Encoder`]
//! writes, [`read_message`] brings a payload back when it is needed, [`recover`] everything else
//! after a restart, and [`describe`] tells what there is. `FORMAT.md` draws the bytes.
//!
//! It makes no decision about a session or a message, but one: what nobody will ask for is garbage.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nexum_core::{Change, Key, SessionId, SessionRecord, Value};
//! use nexum_records::{Encoder, Meta, recover};
//! use nexum_storage::{Changes, Options, SimulatedDisk, Store};
//!
//! let disk = SimulatedDisk::new(7);
//! let (mut store, _) = Store::open(disk.mount(), Options::default())?;
//! Meta::open(&mut store, 42)?;
//! let session = SessionRecord {
//!     client_id: Arc::from("thermometer"),
//!     expiry_interval_seconds: 3600,
//!     disconnected_at: None,
//! };
//! let mut changes = Changes::new();
//! Encoder::new().encode(
//!     &[Change::Put(Key::Session(SessionId(5)), Value::Session(session))],
//!     &mut changes,
//! );
//! store.submit(&changes)?;
//! store.commit()?;
//!
//! disk.crash();
//! let (mut store, _) = Store::open(disk.mount(), Options::default())?;
//! let meta = Meta::open(&mut store, 43)?;
//! assert_eq!(meta.seed, 42);
//! let mut restored = Vec::new();
//! let recovered = recover(
//!     &store.view(),
//!     meta.seed,
//!     4,
//!     &mut |shard, record| restored.push((shard, record)),
//!     &mut |_| {},
//! )?;
//! assert_eq!((recovered.sessions, recovered.next_session_id), (1, 6));
//! # assert_eq!(restored.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod describe;
mod encoder;
mod error;
mod fields;
mod key;
mod meta;
mod named;
mod read_message;
mod record;
mod recover;
pub mod tables;

pub use describe::{Contents, Kept, Queue, describe};
pub use encoder::Encoder;
pub use error::RecordsError;
pub use meta::Meta;
pub use named::Named;
pub use read_message::read_message;
pub use recover::{Progress, Recovered, recover};
