//! What a store may use, and what it promises.

/// What is true of changes when their commit has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// They are on the disk: they survive the loss of power.
    #[default]
    Fsync,
    /// The operating system has them: they survive the death of the process, not the loss of power.
    Os,
    /// They are in memory, and end with the process. No file is touched.
    Memory,
}

/// The bounds of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a commit promises.
    pub durability: Durability,
    /// A segment of the log ends before it is larger, unless one batch is.
    pub segment_bytes: u64,
    /// Memory for changes that are not in the tables; beyond it a checkpoint is due. While one is
    /// under way so much may gather again.
    pub overlay_bytes: usize,
    /// A checkpoint is due, too, when the log has grown so much since the last, or a quarter of
    /// `disk_budget_bytes`.
    pub checkpoint_log_bytes: u64,
    /// Largest batch, and so the largest submission.
    pub maximum_batch_bytes: usize,
    /// A volume, which holds records of series, ends behind so many bytes. A series of which a
    /// checkpoint has a 64th of that gets volumes of its own.
    pub volume_bytes: u64,
    /// Memory for pages of the tables.
    pub table_cache_bytes: usize,
    /// A file that is there to be removed when the disk is full, so that deletions can be logged
    /// and a checkpoint made. While it is missing, because it was removed or there is not twice
    /// its room, only what deletes or settles is taken. 0 is none, and nothing is refused for it.
    pub reserve_bytes: u64,
    /// What the log, all keys and values in the tables and all volumes may have together; beyond it
    /// only what deletes or settles is taken. The file of the tables is larger than what is in it, after a fast fill
    /// three to four times: a transaction writes pages anew, and those it replaces are free only
    /// after the next.
    pub disk_budget_bytes: Option<u64>,
    /// Opens what is otherwise refused because something was lost: segments that are missing are
    /// passed over, and tables that are missing or damaged are built anew from what the log has.
    pub salvage: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Fsync,
            segment_bytes: 64 << 20,
            overlay_bytes: 64 << 20,
            checkpoint_log_bytes: 256 << 20,
            maximum_batch_bytes: 64 << 20,
            volume_bytes: 64 << 20,
            table_cache_bytes: 64 << 20,
            reserve_bytes: 16 << 20,
            disk_budget_bytes: None,
            salvage: false,
        }
    }
}
