//! What keeps what shards want kept: a table in memory that takes its time, and answers each shard
//! in the order of its submissions.

use nexum_core::{Change, Input, Key, LoadId, ShardId, Stored, Submission};

use super::{Happening, World};

impl World {
    /// The end of a turn, before anything leaves for other shards.
    pub(super) fn submit(&mut self, shard: ShardId) {
        while let Some(submission) = self.shell(shard).shard.take_submission() {
            self.judge.history.note(self.now, || {
                let changes: Vec<String> = submission.changes.iter().map(brief).collect();
                let sequence = submission.sequence;
                format!(
                    "shard {}: to keep #{sequence}: {}",
                    shard.0,
                    changes.join(", ")
                )
            });
            let by = self.now + self.store_random.within(self.scenario.store_delay);
            // One store for all shards: what was submitted first is kept first.
            self.stored_by = self.stored_by.max(by);
            let at = self.stored_by;
            self.agenda
                .enter(at, Happening::Stored { shard, submission });
        }
    }

    pub(super) fn stored(&mut self, shard: ShardId, submission: &Submission) {
        self.judge.history.note(self.now, || {
            format!("shard {}: kept #{}", shard.0, submission.sequence)
        });
        self.records.apply(&submission.changes);
        let stored = Stored {
            sequence: submission.sequence,
            refused: None,
        };
        self.input(shard, Input::Stored(stored));
    }

    pub(super) fn load(&mut self, shard: ShardId, load: LoadId, keys: Vec<Key>) {
        let at = self.now + self.store_random.within(self.scenario.store_delay);
        let happening = Happening::Loaded { shard, load, keys };
        self.agenda.enter(at, happening);
    }

    pub(super) fn loaded(&mut self, shard: ShardId, load: LoadId, keys: &[Key]) {
        let messages = keys.iter().map(|key| self.records.message(key)).collect();
        self.input(shard, Input::Loaded { load, messages });
    }
}

/// A change in a line of the history.
fn brief(change: &Change) -> String {
    match change {
        Change::Put(key, _) => format!("+{key:?}"),
        Change::Delete(key) => format!("-{key:?}"),
    }
}
