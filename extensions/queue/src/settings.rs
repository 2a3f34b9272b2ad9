//! What the configuration says about all queues.

use crate::queue_options::QueueOptions;

/// The settings of all queues together.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether a queue is created by a push or a subscription that names it.
    pub auto_create: bool,
    /// What a queue is that says nothing about itself.
    pub defaults: QueueOptions,
    /// Queues that are there from the start. One that is stored already gets these options, but
    /// keeps its order while it has messages.
    pub declared: Vec<(String, QueueOptions)>,
    /// Messages held in memory over all queues, in bytes; what is beyond is read back when it is
    /// its turn. What is with a consumer is held in any case, and so are up to 64 KiB of what each
    /// queue that is being worked off hands out next.
    pub memory_bytes: usize,
    /// The most queues there may be.
    pub maximum_queues: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auto_create: false,
            defaults: QueueOptions::default(),
            declared: Vec::new(),
            memory_bytes: 64 << 20,
            maximum_queues: 100_000,
        }
    }
}
