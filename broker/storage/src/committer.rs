//! A store for many threads: one thread gathers what they submit, commits it, and answers; a second
//! one makes checkpoints meanwhile.
//!
//! While a batch is written and synced the next one gathers: that is where batches come from. Each
//! listener is called once for a batch, with all of its answers, in the order of its submissions.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::changes::Changes;
use crate::error::{CommitError, Refusal};
use crate::statistics::{Statistics, Usage};
use crate::store::{CheckpointDone, CheckpointJob, Reader, Store, Ticket};

/// Gets answers, on the store's thread: it should only pass them on.
pub trait Listener: Send + Sync {
    /// What became of submissions, in their order.
    fn answered(&self, answers: &[Answer]);
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number it was given with.
    pub tag: u64,
    /// Whether it is promised.
    pub result: Result<(), Refusal>,
    /// The offsets of what it appended to series, in its order; none if it is not promised.
    pub offsets: Vec<u64>,
}

/// What an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// A write or a sync failed: nothing is promised until [`StoreEvent::Reopened`].
    Failed(String),
    /// The log was reopened and verified.
    Reopened,
    /// The log could not be reopened. It is tried again.
    ReopenFailed(String),
    /// There was no room for a batch, or at the start none for the reserve: only what deletes or
    /// settles is taken until there is some.
    Full,
    /// A checkpoint was not made. It is tried again.
    CheckpointFailed(String),
}

/// The bounds of a [`StoreThread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadOptions {
    /// Submissions that wait for the thread, at most…
    pub queue_submissions: usize,
    /// …and their bytes. One that is larger waits alone.
    pub queue_bytes: usize,
    /// How long to leave a failed log or checkpoint, or a reserve that has no room, alone before it
    /// is tried again.
    pub retry_after: Duration,
}

impl Default for ThreadOptions {
    fn default() -> ThreadOptions {
        ThreadOptions {
            queue_submissions: 64 * 1024,
            queue_bytes: 32 << 20,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// The threads of a store.
pub struct StoreThread {
    queue: Arc<Queue>,
    reader: Reader,
    thread: JoinHandle<Result<(), CommitError>>,
}

/// Reads the numbers of a [`StoreThread`].
#[derive(Clone)]
pub struct StoreWatcher {
    queue: Arc<Queue>,
}

impl fmt::Debug for StoreWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreWatcher").finish_non_exhaustive()
    }
}

/// Submits for one listener.
#[derive(Clone)]
pub struct Submitter {
    queue: Arc<Queue>,
    listener: Arc<dyn Listener>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something for the thread.
    filled: Condvar,
    /// There is room in the queue.
    emptied: Condvar,
    options: ThreadOptions,
}

#[derive(Default)]
struct Waiting {
    submissions: Vec<Submission>,
    bytes: usize,
    checkpoint: Option<CheckpointDone>,
    questions: Vec<Sender<(Statistics, Usage)>>,
    is_closed: bool,
    /// The thread is gone, and answers nothing any more.
    has_ended: bool,
}

struct Submission {
    listener: Arc<dyn Listener>,
    tag: u64,
    changes: Changes,
}

impl fmt::Debug for StoreThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreThread").finish_non_exhaustive()
    }
}

impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter").finish_non_exhaustive()
    }
}

impl StoreThread {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(
        store: Store,
        options: ThreadOptions,
        events: Box<dyn FnMut(StoreEvent) + Send>,
    ) -> io::Result<StoreThread> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            options,
        });
        let reader = store.reader();
        let (jobs, jobs_to_run) = mpsc::channel();
        let finished = Arc::clone(&queue);
        thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || run_checkpoints(&jobs_to_run, &finished))?;
        let committer = Committer {
            store,
            queue: Arc::clone(&queue),
            jobs,
            events,
            job_is_out: false,
            retry_at: None,
            reserve_at: None,
            refused: Vec::new(),
            round: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("storage".into())
            .spawn(move || committer.run())?;
        Ok(StoreThread {
            queue,
            reader,
            thread,
        })
    }

    /// For a thread that submits, with what gets its answers.
    pub fn submitter(&self, listener: Arc<dyn Listener>) -> Submitter {
        Submitter {
            queue: Arc::clone(&self.queue),
            listener,
        }
    }

    /// Reads what is committed.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// For whoever reads the numbers of the store.
    pub fn watcher(&self) -> StoreWatcher {
        StoreWatcher {
            queue: Arc::clone(&self.queue),
        }
    }

    /// In numbers: see [`StoreWatcher::statistics`].
    pub fn statistics(&self) -> Option<(Statistics, Usage)> {
        self.watcher().statistics()
    }

    /// Commits and answers what waits, makes a checkpoint, and ends the threads.
    ///
    /// # Errors
    /// What waited could not be committed; it was answered so.
    ///
    /// # Panics
    /// If the thread did.
    pub fn close(self) -> Result<(), CommitError> {
        self.queue.lock().is_closed = true;
        self.queue.filled.notify_one();
        self.queue.emptied.notify_all();
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl StoreWatcher {
    /// The store in numbers. Waits for a commit that is under way; `None` if the thread has ended.
    pub fn statistics(&self) -> Option<(Statistics, Usage)> {
        let (sender, receiver) = mpsc::channel();
        let mut waiting = self.queue.lock();
        if waiting.has_ended {
            return None;
        }
        waiting.questions.push(sender);
        drop(waiting);
        self.queue.filled.notify_one();
        receiver.recv().ok()
    }
}

impl Submitter {
    /// Submits changes; their answer has the tag. Waits while the queue is full.
    ///
    /// # Errors
    /// The store is being closed. There will be no answer.
    pub fn submit(&self, tag: u64, changes: Changes) -> Result<(), Refusal> {
        let bytes = changes.encoded_bytes();
        let mut waiting = self.queue.lock();
        while !waiting.is_closed && !self.queue.has_room(&waiting, bytes) {
            waiting = self
                .queue
                .emptied
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.is_closed {
            return Err(Refusal::Closed);
        }
        self.put(waiting, tag, changes);
        Ok(())
    }

    /// Submits changes if the queue has room for them, or gives them back.
    ///
    /// # Errors
    /// There is no room now, or the store is being closed.
    pub fn try_submit(&self, tag: u64, changes: Changes) -> Result<(), Changes> {
        let waiting = self.queue.lock();
        if waiting.is_closed || !self.queue.has_room(&waiting, changes.encoded_bytes()) {
            return Err(changes);
        }
        self.put(waiting, tag, changes);
        Ok(())
    }

    fn put(&self, mut waiting: MutexGuard<'_, Waiting>, tag: u64, changes: Changes) {
        // Where something waits already, the thread has been woken.
        let wakes = waiting.submissions.is_empty();
        waiting.bytes += changes.encoded_bytes();
        waiting.submissions.push(Submission {
            listener: Arc::clone(&self.listener),
            tag,
            changes,
        });
        drop(waiting);
        if wakes {
            self.queue.filled.notify_one();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, waiting: &Waiting, bytes: usize) -> bool {
        waiting.submissions.is_empty()
            || waiting.submissions.len() < self.options.queue_submissions
                && waiting.bytes + bytes <= self.options.queue_bytes
    }
}

/// Lets nobody wait for a thread that is gone, even if it panicked.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        waiting.has_ended = true;
        waiting.questions.clear();
        waiting.submissions.clear();
        drop(waiting);
        self.0.emptied.notify_all();
    }
}

/// Ends when the committer does.
fn run_checkpoints(jobs: &Receiver<CheckpointJob>, queue: &Queue) {
    while let Ok(job) = jobs.recv() {
        let done = job.run();
        queue.lock().checkpoint = Some(done);
        queue.filled.notify_one();
    }
}

struct Committer {
    store: Store,
    queue: Arc<Queue>,
    jobs: Sender<CheckpointJob>,
    events: Box<dyn FnMut(StoreEvent) + Send>,
    job_is_out: bool,
    /// When what has failed is tried again.
    retry_at: Option<Instant>,
    /// When a missing reserve is tried again.
    reserve_at: Option<Instant>,
    /// Whose last submission was refused, and why: what follows it without having seen the answer is
    /// refused, too.
    refused: Vec<(Arc<dyn Listener>, Refusal)>,
    /// The answers of the present batch.
    round: Vec<(Arc<dyn Listener>, u64, Outcome)>,
}

enum Outcome {
    InBatch(Ticket, Vec<u64>),
    Refused(Refusal),
}

impl Committer {
    fn run(mut self) -> Result<(), CommitError> {
        let _end = End(Arc::clone(&self.queue));
        if self.store.lacks_reserve() {
            (self.events)(StoreEvent::Full);
        }
        loop {
            self.keep_reserve();
            let waiting = self.wait();
            if let Some(done) = waiting.checkpoint {
                self.job_is_out = false;
                if let Err(error) = self.store.finish_checkpoint(done) {
                    self.retry_later();
                    (self.events)(StoreEvent::CheckpointFailed(error.to_string()));
                }
            }
            self.retry();
            // Before the next batch: where the tables are behind, this is what lets it in.
            self.begin_checkpoint_if_due();
            self.commit_all(waiting.submissions);
            for question in waiting.questions {
                // Who does not wait any more has no use for it.
                let _gone = question.send((self.store.statistics().clone(), self.store.usage()));
            }
            self.begin_checkpoint_if_due();
            if waiting.is_closed && !self.job_is_out {
                return self.store.close();
            }
        }
    }

    /// Waits for something to do, and takes it. Where the tables are far behind, submissions wait
    /// for the checkpoint, and submitters with them.
    fn wait(&self) -> Waiting {
        let is_behind = self.job_is_out && self.store.is_behind();
        let mut waiting = self.queue.lock();
        loop {
            let has_work = !waiting.submissions.is_empty() && !is_behind;
            let is_ending = waiting.is_closed && !self.job_is_out;
            if has_work
                || is_ending
                || waiting.checkpoint.is_some()
                || !waiting.questions.is_empty()
            {
                break;
            }
            let Some(retry_at) = self.retry_at.into_iter().chain(self.reserve_at).min() else {
                waiting = self
                    .queue
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let patience = retry_at.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            (waiting, _) = self
                .queue
                .filled
                .wait_timeout(waiting, patience)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Waiting {
            checkpoint: waiting.checkpoint.take(),
            questions: std::mem::take(&mut waiting.questions),
            is_closed: waiting.is_closed,
            ..Waiting::default()
        };
        if !is_behind || taken.checkpoint.is_some() {
            taken.submissions = std::mem::take(&mut waiting.submissions);
            waiting.bytes = 0;
            drop(waiting);
            self.queue.emptied.notify_all();
        }
        taken
    }

    fn commit_all(&mut self, submissions: Vec<Submission>) {
        for Submission {
            listener,
            tag,
            changes,
        } in submissions
        {
            if !self.store.has_room_for(changes.encoded_bytes()) {
                self.commit();
            }
            let before = self
                .refused
                .iter()
                .position(|(other, _)| Arc::ptr_eq(other, &listener));
            let outcome = match before {
                Some(before) if changes.follows() => {
                    Outcome::Refused(self.refused[before].1.clone())
                }
                before => {
                    if let Some(before) = before {
                        self.refused.swap_remove(before);
                    }
                    match self.store.submit(&changes) {
                        Ok(ticket) => Outcome::InBatch(ticket, self.store.take_offsets()),
                        Err(refusal) => {
                            self.refused.push((Arc::clone(&listener), refusal.clone()));
                            Outcome::Refused(refusal)
                        }
                    }
                }
            };
            self.round.push((listener, tag, outcome));
        }
        if !self.round.is_empty() {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let was_failed = self.store.failure().is_some();
        let result = self.store.commit();
        match &result {
            Ok(_) => {}
            Err(CommitError::Full { .. }) => (self.events)(StoreEvent::Full),
            Err(CommitError::Failed { why, .. }) => {
                if !was_failed {
                    self.retry_later();
                    (self.events)(StoreEvent::Failed(why.to_string()));
                }
            }
        }
        let mut listeners: Vec<(Arc<dyn Listener>, Vec<Answer>)> = Vec::new();
        for (listener, tag, outcome) in self.round.drain(..) {
            let (result, offsets) = match (outcome, &result) {
                (Outcome::Refused(refusal), _) => (Err(refusal), Vec::new()),
                (Outcome::InBatch(_, offsets), Ok(_)) => (Ok(()), offsets),
                (Outcome::InBatch(ticket, _), Err(CommitError::Full { kept, .. })) => {
                    // What is kept appends nothing.
                    match kept.binary_search(&ticket) {
                        Ok(_) => (Ok(()), Vec::new()),
                        Err(_) => (Err(Refusal::Full), Vec::new()),
                    }
                }
                (Outcome::InBatch(..), Err(CommitError::Failed { why, .. })) => {
                    (Err(Refusal::Failed(Arc::clone(why))), Vec::new())
                }
            };
            if let Err(refusal) = &result
                && !self
                    .refused
                    .iter()
                    .any(|(other, _)| Arc::ptr_eq(other, &listener))
            {
                self.refused.push((Arc::clone(&listener), refusal.clone()));
            }
            let answer = Answer {
                tag,
                result,
                offsets,
            };
            let known = listeners
                .iter_mut()
                .rev()
                .find(|(other, _)| Arc::ptr_eq(other, &listener));
            match known {
                Some((_, answers)) => answers.push(answer),
                None => listeners.push((listener, vec![answer])),
            }
        }
        for (listener, answers) in listeners {
            listener.answered(&answers);
        }
    }

    fn begin_checkpoint_if_due(&mut self) {
        if self.retry_at.is_some() || !self.store.checkpoint_is_due() {
            return;
        }
        match self.store.begin_checkpoint() {
            Ok(Some(job)) => self.job_is_out = self.jobs.send(job).is_ok(),
            Ok(None) => {}
            Err(error) => {
                self.retry_later();
                (self.events)(StoreEvent::CheckpointFailed(error.to_string()));
            }
        }
    }

    /// Tries from time to time, where the reserve is missing, whether others have made room.
    fn keep_reserve(&mut self) {
        if self.reserve_at.is_some_and(|at| at <= Instant::now()) {
            self.store.keep_reserve();
            self.reserve_at = None;
        }
        if !self.store.lacks_reserve() {
            self.reserve_at = None;
        } else if self.reserve_at.is_none() {
            self.reserve_at = Some(Instant::now() + self.queue.options.retry_after);
        }
    }

    fn retry_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.queue.options.retry_after);
    }

    fn retry(&mut self) {
        if self.retry_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.retry_at = None;
        if self.store.failure().is_some() {
            match self.store.reopen() {
                Ok(()) => (self.events)(StoreEvent::Reopened),
                Err(error) => {
                    self.retry_later();
                    (self.events)(StoreEvent::ReopenFailed(error.to_string()));
                }
            }
        }
    }
}
