//! How a turn ends.

use std::task::Context;
use std::thread;
use std::time::Duration;

use nexum_types::Time;

use super::ShardLoop;

/// What comes meanwhile is one turn: a turn for each packet would have this thread take the
/// processor from those that work on what it handed over.
const PAUSE: Duration = Duration::from_micros(50);

impl ShardLoop {
    /// Makes sure that the next turn begins when there is something to do; after a pause, if what
    /// this one handed over was `pipelined`.
    pub(super) fn sleep(&mut self, now: Time, pipelined: bool, cx: &mut Context<'_>) {
        self.core_due = self.shard.poll_timeout();
        // What is held back is looked at when the other shard has emptied its mailbox: it rings.
        let has_sockets = !self.pending.is_empty() || !self.heavy.is_empty();
        if !self.letters.is_empty() || has_sockets && self.congested.is_empty() {
            // The runtime asks the kernel for events before it runs this task again.
            cx.waker().wake_by_ref();
            return;
        }
        if pipelined {
            thread::sleep(PAUSE);
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
