//! How a turn ends.

use std::task::Context;

use nexum_types::Time;

use super::ShardLoop;

impl ShardLoop {
    /// Makes sure that the next turn begins when there is something to do.
    pub(super) fn sleep(&mut self, now: Time, cx: &mut Context<'_>) {
        self.core_due = self.shard.poll_timeout();
        // What is held back is looked at when the other shard has emptied its mailbox: it rings.
        let has_sockets = !self.pending.is_empty() || !self.heavy.is_empty();
        if !self.letters.is_empty() || has_sockets && self.congested.is_empty() {
            // The runtime asks the kernel for events before it runs this task again.
            cx.waker().wake_by_ref();
            return;
        }
        let due = [
            self.core_due,
            self.deadlines.first().map(|(deadline, _)| *deadline),
            self.draining,
            self.report.due(),
        ];
        if let Some(due) = due.into_iter().flatten().min() {
            self.alarm.set(due, now, cx);
        }
    }
}
