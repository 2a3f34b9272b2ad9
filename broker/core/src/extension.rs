//! What a shard has for an extension.

use nexum_extension_api::Input;

/// What has gathered for one extension since the last time.
#[derive(Debug)]
pub struct ExtensionBatch {
    /// In this order.
    pub inputs: Vec<Input>,
}
