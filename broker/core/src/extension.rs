//! What a shard has for an extension.

use nexum_extension_api::{CommandId, Input};

use crate::record::Change;

/// What has gathered for one extension since the last time.
#[derive(Debug)]
pub struct ExtensionBatch {
    /// In this order.
    pub inputs: Vec<Input>,
    /// What is to be stored together with the write that fulfils a command.
    pub companions: Vec<(CommandId, Change)>,
}
