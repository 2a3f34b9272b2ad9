//! What an extension is.

use std::fmt;

use nexum_types::Time;

use crate::input::Input;
use crate::output::Output;

/// A word of the `$` grammar that an extension serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first level, for example `$queue`.
    pub word: &'static str,
    /// Other spellings of it. The extension never sees them: what a client subscribed under one of
    /// them it is delivered under the same.
    pub aliases: &'static [&'static str],
    /// It keeps what has the option `delay` itself. Otherwise whoever serves `$delayed` does, and
    /// publishes it when it is due.
    pub delays: bool,
}

/// A record that the extension did not write, or that a later version wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What it is.
    pub what: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Unreadable {}

/// Something that serves words of the `$` grammar.
///
/// After it was fed, drain [`poll_output`](Extension::poll_output). What it does is a function of
/// what it was fed.
pub trait Extension: Send {
    /// What logs and metrics call it.
    fn name(&self) -> &'static str;

    /// What it serves.
    fn claims(&self) -> &'static [Claim];

    /// One of its records, in the order of their keys; before anything else.
    ///
    /// # Errors
    /// It cannot be read. The broker does not start.
    fn restore(&mut self, key: &[u8], value: &[u8], now: Time) -> Result<(), Unreadable>;

    /// Something happened.
    fn handle(&mut self, input: Input, now: Time);

    /// The next thing the host has to do, if any.
    fn poll_output(&mut self) -> Option<Output>;

    /// When [`handle_timeout`](Extension::handle_timeout) wants to be called next.
    fn poll_timeout(&self) -> Option<Time>;

    /// The time has come to be `now`.
    fn handle_timeout(&mut self, now: Time);

    /// Numbers for the metrics.
    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }
}

/// A number for the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// As Prometheus is to see it: `nexum_queue_messages`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// What it is now.
    pub value: f64,
}
