use nexum_storage::{Changes, TableId};

/// Of one submission.
const DELETIONS: usize = 1 << 16;
/// Keys may have 64 KiB, and a submission must fit into a batch.
const BYTES: usize = 4 << 20;

/// Deletions, in submissions of bounded size.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    full: Vec<Changes>,
    last: Changes,
    deletions: usize,
}

impl Garbage {
    pub(super) fn delete(&mut self, table: TableId, key: &[u8]) {
        self.last.delete(table, key);
        self.deletions += 1;
        if self.deletions == DELETIONS || self.last.encoded_bytes() >= BYTES {
            self.full.push(std::mem::take(&mut self.last));
            self.deletions = 0;
        }
    }

    pub(super) fn finish(mut self) -> Vec<Changes> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}
