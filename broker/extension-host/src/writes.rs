//! An extension's way to the store.
//!
//! What a turn writes is gathered into few submissions, of two kinds, each with a line of its own at
//! the store. What only adds and has somebody to tell is told of a refusal at once; whether it is
//! there after a crash is then not known, so it is deleted behind it. What has happened already is
//! submitted until it is taken, in its order.

use std::collections::VecDeque;
use std::time::Duration;

use nexum_core::Change as CoreChange;
use nexum_extension_api::{Change, Input, WhenRefused, Write, WriteId, WriteRefusal};
use nexum_records::Encoder;
use nexum_storage::{Answer, Changes, Refusal, TableId};
use nexum_types::Time;

/// A submission is not made larger by one more write.
const ENOUGH_BYTES: usize = 256 * 1024;

/// What stands before a key and its value in a submission.
const HEAD_BYTES: usize = 11;

/// How long a store that refuses is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// One of the two lines to the store: what is taken from one has a listener of its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineId {
    /// [`WhenRefused::Tell`].
    Telling,
    /// [`WhenRefused::Retry`].
    Lasting,
}

/// Something for the store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Which line it is of.
    pub line: LineId,
    /// What is to be stored together.
    pub changes: Changes,
}

/// Writes that are submitted together.
#[derive(Debug, Default)]
struct Gathered {
    writes: Vec<WriteId>,
    changes: Vec<Change>,
    /// What the broker keeps of the commands that they fulfil.
    companions: Vec<CoreChange>,
    bytes: usize,
}

impl Gathered {
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

    fn encode(&self, table: TableId, line: LineId, encoder: &mut Encoder) -> Changes {
        let mut changes = Changes::with_capacity(self.bytes);
        for change in &self.changes {
            match (change, line) {
                // What was never there leaves no trace when it is deleted soon.
                (Change::Put(key, value), LineId::Telling) => changes.insert(table, key, value),
                (Change::Put(key, value), LineId::Lasting) => changes.put(table, key, value),
                (Change::Delete(key), _) => changes.delete(table, key),
            }
        }
        encoder.encode(&self.companions, &mut changes);
        changes
    }
}

/// One line of submissions.
#[derive(Debug, Default)]
struct Line {
    /// Not taken yet.
    gathered: VecDeque<Gathered>,
    /// Taken, without an answer.
    submitted: VecDeque<Gathered>,
}

impl Line {
    fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        if let Some(last) = self.gathered.back_mut()
            && last.bytes < ENOUGH_BYTES
        {
            return last.add(write, companion);
        }
        let mut gathered = Gathered::default();
        gathered.add(write, companion);
        self.gathered.push_back(gathered);
    }

    fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.submitted.is_empty()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Writes {
    table: TableId,
    encoder: Encoder,
    telling: Line,
    lasting: Line,
    /// What was refused, in its order.
    refused: VecDeque<Gathered>,
    retry_at: Option<Time>,
}

impl Writes {
    pub(crate) fn new(table: TableId) -> Writes {
        Writes {
            table,
            encoder: Encoder::new(),
            telling: Line::default(),
            lasting: Line::default(),
            refused: VecDeque::new(),
            retry_at: None,
        }
    }

    pub(crate) fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        match write.when_refused {
            WhenRefused::Tell => self.telling.add(write, companion),
            WhenRefused::Retry => self.lasting.add(write, companion),
        }
    }

    /// The next of what has gathered.
    pub(crate) fn take_submission(&mut self, now: Time) -> Option<Submission> {
        self.take_up_refused(now);
        if let Some(submission) = self.take_from(LineId::Telling) {
            return Some(submission);
        }
        if !self.refused.is_empty() {
            return None;
        }
        let follows = !self.lasting.submitted.is_empty();
        let mut submission = self.take_from(LineId::Lasting)?;
        if follows {
            submission.changes.keep_in_order();
        }
        Some(submission)
    }

    /// When its time has come, what was refused is first again, in its order.
    fn take_up_refused(&mut self, now: Time) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        if self.retry_at.is_none() && self.lasting.submitted.is_empty() {
            while let Some(refused) = self.refused.pop_back() {
                self.lasting.gathered.push_front(refused);
            }
        }
    }

    fn take_from(&mut self, line: LineId) -> Option<Submission> {
        let lane = match line {
            LineId::Telling => &mut self.telling,
            LineId::Lasting => &mut self.lasting,
        };
        let gathered = lane.gathered.pop_front()?;
        let changes = gathered.encode(self.table, line, &mut self.encoder);
        lane.submitted.push_back(gathered);
        Some(Submission { line, changes })
    }

    /// What became of submissions of a line: what the extension is to hear of it.
    pub(crate) fn answered(&mut self, line: LineId, answers: Vec<Answer>, now: Time) -> Vec<Input> {
        let mut heard = Vec::new();
        for answer in answers {
            let submitted = match line {
                LineId::Telling => self.telling.submitted.pop_front(),
                LineId::Lasting => self.lasting.submitted.pop_front(),
            };
            let Some(submitted) = submitted else {
                debug_assert!(false, "answers come in the order of submissions");
                continue;
            };
            let told = match (line, answer.result) {
                (_, Ok(())) => None,
                (LineId::Lasting, Err(_)) => {
                    self.refused.push_back(submitted);
                    self.retry_at.get_or_insert(now + RETRY);
                    continue;
                }
                (LineId::Telling, Err(refusal)) => {
                    if matches!(refusal, Refusal::Failed(_) | Refusal::Closed) {
                        self.take_back(&submitted);
                    }
                    Some(refusal.to_string())
                }
            };
            heard.extend(submitted.writes.into_iter().map(|write| Input::Written {
                write,
                refused: told.clone().map(|reason| WriteRefusal {
                    reason: reason.into(),
                }),
            }));
        }
        heard
    }

    /// Nobody knows whether it is there: it must not be after a crash.
    fn take_back(&mut self, submitted: &Gathered) {
        let mut taken_back = Gathered::default();
        for change in &submitted.changes {
            if let Change::Put(key, _) = change {
                taken_back.bytes += key.len() + HEAD_BYTES;
                taken_back.changes.push(Change::Delete(key.clone()));
            }
        }
        let companions = submitted.companions.iter();
        let companions = companions.map(|companion| CoreChange::Delete(companion.key().clone()));
        taken_back.companions.extend(companions);
        if !taken_back.changes.is_empty() {
            self.lasting.gathered.push_back(taken_back);
        }
    }

    /// When what was refused is submitted again.
    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// Whether all is stored, or refused for good.
    pub(crate) fn is_idle(&self) -> bool {
        self.telling.is_idle() && self.lasting.is_idle() && self.refused.is_empty()
    }
}
