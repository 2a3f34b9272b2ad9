//! An extension's way to the store.
//!
//! What a turn writes is gathered into few submissions, of two kinds, each with a line of its own at
//! the store. What has somebody to tell is told of a refusal, and all that was written behind it before
//! that was heard is refused, too, for it may build on it. If nobody knows whether it will be there
//! after a crash, what it inserted is deleted first, and then it is told of: who was told that something
//! is not kept must not find it. What has happened already is submitted until it is taken, in its order.

use std::borrow::Cow;
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
    /// What it takes back, and why that was refused.
    taken_back: Vec<(WriteId, Cow<'static, str>)>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, write: Write, companion: Option<CoreChange>) {
        self.companions.extend(companion);
        self.writes.push(write.write);
        for change in write.changes {
            self.bytes += change.key().len() + HEAD_BYTES;
            if let Change::Insert(_, value) | Change::Put(_, value) = &change {
                self.bytes += value.len();
            }
            self.changes.push(change);
        }
    }

    fn encode(&self, table: TableId, encoder: &mut Encoder) -> Changes {
        let mut changes = Changes::with_capacity(self.bytes);
        for change in &self.changes {
            match change {
                Change::Insert(key, value) => changes.insert(table, key, value),
                Change::Put(key, value) => changes.put(table, key, value),
                Change::Delete(key) => changes.delete(table, key),
            }
        }
        encoder.encode(&self.companions, &mut changes);
        changes
    }

    /// What became of it.
    fn tell(self, refused: Option<&Cow<'static, str>>, heard: &mut Vec<Input>) {
        let writes = self.writes.into_iter();
        heard.extend(writes.map(|write| written(write, refused.cloned())));
        let taken_back = self.taken_back.into_iter();
        heard.extend(taken_back.map(|(write, reason)| written(write, Some(reason))));
    }
}

fn written(write: WriteId, refused: Option<Cow<'static, str>>) -> Input {
    let refused = refused.map(|reason| WriteRefusal { reason });
    Input::Written { write, refused }
}

/// One line of submissions.
#[derive(Debug, Default)]
struct Line {
    /// Not taken yet.
    gathered: VecDeque<Gathered>,
    /// Taken, without an answer.
    submitted: VecDeque<Gathered>,
    /// Not taken, and not to be: it was written before a refusal was heard. Told of after what is
    /// submitted, or is being taken back.
    doomed: VecDeque<(Gathered, Cow<'static, str>)>,
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

    fn take(&mut self, id: LineId, table: TableId, encoder: &mut Encoder) -> Option<Submission> {
        if !self.doomed.is_empty() {
            return None;
        }
        let gathered = self.gathered.pop_front()?;
        let mut changes = gathered.encode(table, encoder);
        if !self.submitted.is_empty() {
            changes.keep_in_order();
        }
        if id == LineId::Lasting {
            // What it says has happened. Behind it are deletions, which may make room.
            changes.settle();
        }
        self.submitted.push_back(gathered);
        Some(Submission { line: id, changes })
    }

    /// What is not taken is refused with what was.
    fn doom(&mut self, reason: Cow<'static, str>) {
        let behind = self.gathered.drain(..);
        let doomed = behind.map(|gathered| (gathered, reason.clone()));
        self.doomed.extend(doomed);
    }

    fn is_idle(&self) -> bool {
        self.gathered.is_empty() && self.submitted.is_empty() && self.doomed.is_empty()
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
    /// How many writes are being taken back. The telling line waits for that.
    taken_back: usize,
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
            taken_back: 0,
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
        let (table, encoder) = (self.table, &mut self.encoder);
        if self.taken_back == 0
            && let Some(told) = self.telling.take(LineId::Telling, table, encoder)
        {
            return Some(told);
        }
        if !self.refused.is_empty() {
            return None;
        }
        self.lasting.take(LineId::Lasting, table, encoder)
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
            match (line, answer.result) {
                (_, Ok(())) => {
                    self.taken_back -= submitted.taken_back.len();
                    if let Some((_, reason)) = submitted.taken_back.last() {
                        self.telling.doom(reason.clone());
                    }
                    submitted.tell(None, &mut heard);
                }
                (LineId::Lasting, Err(_)) => {
                    self.refused.push_back(submitted);
                    self.retry_at.get_or_insert(now + RETRY);
                }
                (LineId::Telling, Err(refusal)) => {
                    let reason: Cow<'static, str> = refusal.to_string().into();
                    self.telling.doom(reason.clone());
                    let is_certain = !matches!(refusal, Refusal::Failed(_) | Refusal::Closed);
                    // What is told of is told of in its order.
                    if is_certain && self.taken_back == 0 {
                        submitted.tell(Some(&reason), &mut heard);
                    } else {
                        self.take_back(submitted, reason);
                    }
                }
            }
        }
        if self.telling.submitted.is_empty() && self.taken_back == 0 {
            for (gathered, reason) in self.telling.doomed.drain(..) {
                gathered.tell(Some(&reason), &mut heard);
            }
        }
        heard
    }

    /// Nobody knows whether it is there: it must not be after a crash, and then it is told of.
    fn take_back(&mut self, submitted: Gathered, reason: Cow<'static, str>) {
        let mut taken_back = Gathered::default();
        for change in &submitted.changes {
            if let Change::Insert(key, _) = change {
                taken_back.bytes += key.len() + HEAD_BYTES;
                taken_back.changes.push(Change::Delete(key.clone()));
            }
        }
        let companions = submitted.companions.iter();
        let companions = companions.map(|companion| CoreChange::Delete(companion.key().clone()));
        taken_back.companions.extend(companions);
        let writes = submitted.writes.into_iter();
        taken_back.taken_back = writes.map(|write| (write, reason.clone())).collect();
        self.taken_back += taken_back.taken_back.len();
        self.lasting.gathered.push_back(taken_back);
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

#[cfg(test)]
mod tests {
    use nexum_extension_api::RecordKey;

    use super::*;

    const NOW: Time = Time::from_micros(5_000_000);

    fn write(number: u8) -> Write {
        let key = RecordKey::from([number]);
        Write {
            write: WriteId(u64::from(number)),
            changes: [Change::Put(key, Box::from([number]))].into(),
            when_refused: WhenRefused::Tell,
            fulfils: None,
        }
    }

    fn answer(result: Result<(), Refusal>) -> Vec<Answer> {
        let offsets = Vec::new();
        vec![Answer {
            tag: 0,
            result,
            offsets,
        }]
    }

    /// Names, and whether they were refused.
    fn told(heard: Vec<Input>) -> Vec<(u64, bool)> {
        let told = heard.into_iter().map(|input| match input {
            Input::Written { write, refused } => (write.0, refused.is_some()),
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn what_was_written_before_a_refusal_was_heard_is_refused_behind_it() {
        let mut writes = Writes::new(TableId(20));
        let line = LineId::Telling;
        writes.add(write(1), None);
        let first = writes.take_submission(NOW).expect("the first");
        assert!(!first.changes.follows());
        writes.add(write(2), None);
        let second = writes.take_submission(NOW).expect("the second");
        assert!(second.changes.follows(), "the first has no answer");
        writes.add(write(3), None);

        let heard = writes.answered(line, answer(Err(Refusal::Full)), NOW);
        assert_eq!(told(heard), [(1, true)]);
        writes.add(write(4), None);
        assert!(
            writes.take_submission(NOW).is_none(),
            "it would pass the second"
        );
        let heard = writes.answered(line, answer(Err(Refusal::Full)), NOW);
        assert_eq!(told(heard), [(2, true), (3, true), (4, true)]);
        assert!(writes.is_idle());

        writes.add(write(5), None);
        let fifth = writes.take_submission(NOW).expect("the fifth");
        assert!(!fifth.changes.follows());
        let heard = writes.answered(line, answer(Ok(())), NOW);
        assert_eq!(told(heard), [(5, false)]);
    }

    #[test]
    fn only_what_was_inserted_is_taken_back() {
        let mut writes = Writes::new(TableId(20));
        let mut insert = write(1);
        let key = RecordKey::from([9]);
        insert.changes.push(Change::Insert(key, Box::from([9])));
        writes.add(insert, None);
        writes.take_submission(NOW).expect("a submission");
        let failed = Err(Refusal::Failed("the disk".into()));
        writes.answered(LineId::Telling, answer(failed), NOW);
        let taken_back = writes.take_submission(NOW).expect("a deletion");
        assert_eq!(taken_back.line, LineId::Lasting);
        let mut expected = Changes::new();
        expected.delete(TableId(20), &[9]);
        expected.settle();
        assert_eq!(taken_back.changes, expected);
    }

    #[test]
    fn what_may_be_stored_is_told_of_when_it_is_deleted() {
        let mut writes = Writes::new(TableId(20));
        let failed = || answer(Err(Refusal::Failed("the disk".into())));
        writes.add(write(1), None);
        writes.take_submission(NOW).expect("the first");
        let heard = writes.answered(LineId::Telling, failed(), NOW);
        assert_eq!(told(heard), []);
        // Written before that was heard.
        writes.add(write(2), None);
        let deletion = writes.take_submission(NOW).expect("the deletion");
        assert_eq!(deletion.line, LineId::Lasting);
        assert!(writes.take_submission(NOW).is_none());
        let heard = writes.answered(LineId::Lasting, failed(), NOW);
        assert_eq!(told(heard), []);
        let later = NOW + RETRY;
        assert_eq!(writes.retry_at(), Some(later));
        writes.take_submission(later).expect("the deletion again");
        let heard = writes.answered(LineId::Lasting, answer(Ok(())), later);
        assert_eq!(told(heard), [(1, true), (2, true)]);
        assert!(writes.is_idle());
        writes.add(write(3), None);
        let third = writes.take_submission(later).expect("the third");
        assert_eq!(third.line, LineId::Telling);
    }
}
