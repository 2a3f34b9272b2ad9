//! Rubbish in every form: what clients do that mean ill, or that never worked.
//!
//! Each test starts the real broker, lets two healthy pairs of clients exchange messages all the
//! while ([`healthy`]), attacks, and shows that
//!
//! - each connection ends, or is answered, as MQTT 3.1.1 and 5 say;
//! - the broker's resident memory never exceeds what its limits allow; each test derives its bound;
//! - the healthy pairs lose nothing and never wait longer than [`healthy::LONGEST_PAUSE`];
//! - at the end the broker serves a newcomer, counts no connection and no panic, and ends with
//!   exit code 0 when it is told to.
//!
//! It is no load test: sizes are chosen so that what a limit fails to bound shows in the memory,
//! and what takes quadratic time shows as a pause.

#![expect(
    clippy::print_stdout,
    reason = "what was measured is shown beside what failed"
)]

mod admin_http;
mod connections;
mod floods;
mod healthy;
mod malformed;
mod malformed_connect;
mod memory;
mod metrics;
mod mutations;
mod properties;
mod queues;
mod raw;
mod scene;
mod slow_senders;
mod slow_subscribers;
mod subscriptions;
mod tls;
mod topics;
mod websocket;
