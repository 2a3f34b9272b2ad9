//! Values as bytes, one module for each kind: `write` and its inverse, `read`.
//!
//! A value begins with its version. Fixed fields follow, little-endian, then those of variable
//! length; what would need a length only because something follows it comes last. FORMAT.md draws
//! them all.

pub(crate) mod delivery;
pub(crate) mod exchange;
pub(crate) mod message;
pub(crate) mod received;
pub(crate) mod session;
pub(crate) mod subscription;
pub(crate) mod waiting;
pub(crate) mod will;
