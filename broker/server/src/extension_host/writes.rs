//! An extension's way to the store.
//!
//! What a turn writes is gathered into few submissions, of two kinds, each with a line of its own at
//! the store. What only adds and has somebody to tell is told of a refusal at once; whether it is
//! there after a crash is then not known, so it is deleted behind it. What has happened already is
//! submitted until it is taken, in its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nexum_core::Change as CoreChange;
use nexum_extension_api::{Change, Input, WhenRefused, Write, WriteId, WriteRefusal};
use nexum_records::Encoder;
use nexum_storage::{Answer, Changes, Listener, Refusal, Submitter, TableId};

use super::mailbox::{HostLetter, HostMailbox};

/// A submission is not made larger by one more write.
const ENOUGH_BYTES: usize = 256 * 1024;

/// What stands before a key and its value in a submission.
const HEAD_BYTES: usize = 11;

/// How long a store that refuses is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// [`WhenRefused::Tell`].
    Telling,
    /// [`WhenRefused::Retry`].
    Lasting,
}

/// Passes answers on to the thread of the extension.
pub(super) struct WriteAnswers {
    kind: Kind,
    mailbox: Arc<HostMailbox>,
}

impl WriteAnswers {
    pub(super) fn new(kind: Kind, mailbox: Arc<HostMailbox>) -> WriteAnswers {
        WriteAnswers { kind, mailbox }
    }
}

impl Listener for WriteAnswers {
    fn answered(&self, answers: &[Answer]) {
        let answers = answers.iter().map(|answer| (self.kind, answer.clone()));
        self.mailbox.post(HostLetter::Written(answers.collect()));
    }
}

/// Writes that are submitted together.
#[derive(Debug, Default)]
struct Submission {
    writes: Vec<WriteId>,
    changes: Vec<Change>,
    /// What the broker keeps of the commands that they fulfil.
    companions: Vec<CoreChange>,
    bytes: usize,
}

impl Submission {
    fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        self.companions.extend(companion);
        self.writes.push(write.write);
        for change in write.changes {
            self.bytes += change.key().len() + HEAD_BYTES;
            if let Change::Put(_, value) = &change {
                self.bytes += value.len();
            }
            self.changes.push(change);
        }
    }

    fn encode(&self, table: TableId, kind: Kind) -> Changes {
        let mut changes = Changes::with_capacity(self.bytes);
        for change in &self.changes {
            match (change, kind) {
                // What was never there leaves no trace when it is deleted soon.
                (Change::Put(key, value), Kind::Telling) => changes.insert(table, key, value),
                (Change::Put(key, value), Kind::Lasting) => changes.put(table, key, value),
                (Change::Delete(key), _) => changes.delete(table, key),
            }
        }
        Encoder::new().encode(&self.companions, &mut changes);
        changes
    }
}

/// One line of submissions.
struct Line {
    submitter: Submitter,
    /// Not handed over yet.
    gathered: VecDeque<Submission>,
    /// Handed over, without an answer.
    submitted: VecDeque<Submission>,
}

impl Line {
    fn new(submitter: Submitter) -> Line {
        Line {
            submitter,
            gathered: VecDeque::new(),
            submitted: VecDeque::new(),
        }
    }

    fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        if let Some(last) = self.gathered.back_mut()
            && last.bytes < ENOUGH_BYTES
        {
            return last.add(write, companion);
        }
        let mut submission = Submission::default();
        submission.add(write, companion);
        self.gathered.push_back(submission);
    }

    /// Waits while the store's queue is full: an extension that writes more than the disk takes has
    /// to, and nobody else waits for it.
    fn submit(&mut self, table: TableId, kind: Kind) {
        while let Some(submission) = self.gathered.pop_front() {
            let mut changes = submission.encode(table, kind);
            if kind == Kind::Lasting && !self.submitted.is_empty() {
                changes.keep_in_order();
            }
            // The answers come in order, so that nothing has to be looked up by a tag.
            if self.submitter.submit(0, changes).is_err() {
                // The store is closed, and nobody is told anything any more.
                return;
            }
            self.submitted.push_back(submission);
        }
    }

    fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.submitted.is_empty()
    }
}

/// See the [module](self).
pub(super) struct Writes {
    table: TableId,
    telling: Line,
    lasting: Line,
    /// What was refused, in its order.
    refused: VecDeque<Submission>,
    retry_at: Option<Instant>,
}

impl Writes {
    pub(super) fn new(table: TableId, submitter: impl Fn(Kind) -> Submitter) -> Writes {
        Writes {
            table,
            telling: Line::new(submitter(Kind::Telling)),
            lasting: Line::new(submitter(Kind::Lasting)),
            refused: VecDeque::new(),
            retry_at: None,
        }
    }

    pub(super) fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        match write.when_refused {
            WhenRefused::Tell => self.telling.add(write, companion),
            WhenRefused::Retry => self.lasting.add(write, companion),
        }
    }

    /// Hands over what has gathered.
    pub(super) fn submit(&mut self) {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
        }
        if self.retry_at.is_none() && self.lasting.submitted.is_empty() {
            // In the order in which it was refused, before what came after it.
            while let Some(refused) = self.refused.pop_back() {
                self.lasting.gathered.push_front(refused);
            }
        }
        self.telling.submit(self.table, Kind::Telling);
        if self.refused.is_empty() {
            self.lasting.submit(self.table, Kind::Lasting);
        }
    }

    /// What became of submissions: what the extension is to hear of it.
    pub(super) fn answered(&mut self, answers: Vec<(Kind, Answer)>) -> Vec<Input> {
        let mut heard = Vec::new();
        for (kind, answer) in answers {
            let line = match kind {
                Kind::Telling => &mut self.telling,
                Kind::Lasting => &mut self.lasting,
            };
            let Some(submission) = line.submitted.pop_front() else {
                debug_assert!(false, "answers come in the order of submissions");
                continue;
            };
            let told = match (kind, answer.result) {
                (_, Ok(())) => None,
                (Kind::Lasting, Err(_)) => {
                    self.refused.push_back(submission);
                    self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
                    continue;
                }
                (Kind::Telling, Err(refusal)) => {
                    if matches!(refusal, Refusal::Failed(_) | Refusal::Closed) {
                        self.take_back(&submission);
                    }
                    Some(refusal.to_string())
                }
            };
            heard.extend(submission.writes.into_iter().map(|write| Input::Written {
                write,
                refused: told.clone().map(|reason| WriteRefusal {
                    reason: reason.into(),
                }),
            }));
        }
        heard
    }

    /// Nobody knows whether it is there: it must not be after a crash.
    fn take_back(&mut self, submission: &Submission) {
        let mut taken_back = Submission::default();
        for change in &submission.changes {
            if let Change::Put(key, _) = change {
                taken_back.bytes += key.len() + HEAD_BYTES;
                taken_back.changes.push(Change::Delete(key.clone()));
            }
        }
        let companions = submission.companions.iter();
        let companions = companions.map(|companion| CoreChange::Delete(companion.key().clone()));
        taken_back.companions.extend(companions);
        if !taken_back.changes.is_empty() {
            self.lasting.gathered.push_back(taken_back);
        }
    }

    /// When what was refused is submitted again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether all is stored, or refused for good.
    pub(super) fn is_idle(&self) -> bool {
        self.telling.is_idle() && self.lasting.is_idle() && self.refused.is_empty()
    }
}
