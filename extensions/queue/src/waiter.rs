//! Who waits until something is stored.

use nexum_extension_api::{CommandId, Output, ReceiptId, Refusal, Reply};

/// Who waits for what becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A producer.
    Command(CommandId),
    /// The publisher of what was captured.
    Receipt(ReceiptId),
    /// Nobody: what was captured had QoS 0.
    Nobody,
}

impl Waiter {
    pub(crate) fn answer(self, result: Result<Reply, Refusal>) -> Option<Output> {
        match self {
            Waiter::Command(command) => Some(Output::Reply { command, result }),
            Waiter::Receipt(receipt) => Some(Output::Commit {
                receipt,
                result: result.map(|_| ()),
            }),
            Waiter::Nobody => None,
        }
    }
}
