//! Records as changes, as bytes, and as they come back.

mod contents;
mod damage;
mod format;
mod meta;
mod model;
mod recovery;
mod sample;
mod world;
