//! What an operator should know.

use nexum_extension_api::Severity;

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The extension says so.
    Said {
        /// How serious it is.
        severity: Severity,
        /// A line.
        text: String,
    },
    /// The store cannot be read; it is tried again.
    CannotRead(String),
    /// A record is damaged, and as good as one that is not there.
    RecordLost(String),
}
