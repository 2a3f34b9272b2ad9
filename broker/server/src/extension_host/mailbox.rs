//! How threads hand things to the thread of an extension.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nexum_core::ExtensionBatch;
use nexum_extension_api::Gauge;
use nexum_extension_host::LineId;
use nexum_storage::{Answer, Listener};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// Something for the thread of an extension.
#[derive(Debug)]
pub(crate) enum HostLetter {
    /// From a shard: what a turn had for it.
    Batch(ExtensionBatch),
    /// From the store: what became of submissions of a line.
    Written(LineId, Vec<Answer>),
    /// Somebody wants to know its numbers.
    Report(Sender<Vec<Gauge>>),
    /// Nobody wants anything any more.
    ShutDown,
}

/// A list under a lock that is held for a push or a swap.
#[derive(Debug, Default)]
pub(crate) struct HostMailbox {
    letters: Mutex<Vec<HostLetter>>,
    filled: Condvar,
}

impl HostMailbox {
    pub(crate) fn post(&self, letter: HostLetter) {
        let was_empty = {
            let mut letters = self.lock();
            letters.push(letter);
            letters.len() == 1
        };
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// The numbers of the extension; none if it does not answer for a while.
    pub(crate) fn ask_for_gauges(&self) -> Vec<Gauge> {
        let (sender, receiver) = mpsc::channel();
        self.post(HostLetter::Report(sender));
        receiver.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// Swaps everything into `letters`, which is empty; waits for it until `due`.
    pub(crate) fn wait(&self, due: Option<Instant>, letters: &mut Vec<HostLetter>) {
        let mut waiting = self.lock();
        while waiting.is_empty() {
            let Some(due) = due else {
                waiting = self
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let patience = due.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            (waiting, _) = self
                .filled
                .wait_timeout(waiting, patience)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut *waiting, letters);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<HostLetter>> {
        // Whole at every moment: nothing in here can panic between two changes.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes what the store says of a line on to the thread of the extension.
pub(super) struct LineListener {
    pub(super) line: LineId,
    pub(super) mailbox: Arc<HostMailbox>,
}

impl Listener for LineListener {
    fn answered(&self, answers: &[Answer]) {
        self.mailbox
            .post(HostLetter::Written(self.line, answers.to_vec()));
    }
}
