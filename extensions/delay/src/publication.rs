//! What is due: read, published, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use nexum_extension_api::{
    Change, ErrorCode, Output, PublicationId, Publish, ReadId, Refusal, Severity,
};
use nexum_types::Time;

use crate::record::{Key, Record};
use crate::{Delay, Entry, Place};

/// How many publications have no answer at once, at most…
const UNDER_WAY: usize = 1_000;

/// …and how many bytes, but for one message that is larger.
const UNDER_WAY_BYTES: u64 = 16 * 1024 * 1024;

/// How long a target that takes nothing is left alone at first; twice as long each time…
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// …until it is so long.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// A publication without an answer.
#[derive(Debug)]
pub(crate) struct Publishing {
    number: u64,
    topic: Box<str>,
    entry: Entry,
}

impl Delay {
    /// When there will be something to read, if nothing but the time has to pass.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let (&(at, _), entry) = self.schedule.first_key_value()?;
        let can_be_read = self.reading.is_none()
            && self.publishing.len() < UNDER_WAY
            && self.has_room_for(self.publishing_bytes + u64::from(entry.bytes));
        can_be_read.then_some(at)
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        bytes <= UNDER_WAY_BYTES || self.publishing.is_empty()
    }

    /// Reads what is due and may be under way. One read at a time, so that nothing overtakes.
    pub(crate) fn publish_due(&mut self, now: Time) {
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        let places = UNDER_WAY - self.publishing.len();
        let due = self.schedule.range(..=(now, u64::MAX)).take(places);
        let mut bytes = self.publishing_bytes;
        let mut batch = Vec::new();
        for (place, entry) in due {
            bytes += u64::from(entry.bytes);
            if bytes > UNDER_WAY_BYTES && !batch.is_empty() {
                break;
            }
            batch.push(*place);
        }
        let keys = batch.iter().map(|(_, number)| Key::Message(*number));
        let keys = keys.map(Key::encode).collect();
        let read = ReadId(self.next_name());
        self.outputs.push_back(Output::Read { read, keys });
        self.reading = Some((read, batch));
    }

    pub(crate) fn on_read(&mut self, read: ReadId, values: &[Option<Box<[u8]>>], now: Time) {
        let Some((_, batch)) = self.reading.take_if(|(own, _)| *own == read) else {
            return;
        };
        for ((at, number), value) in batch.into_iter().zip(values) {
            // It may have been cancelled meanwhile.
            let Some(entry) = self.schedule.remove(&(at, number)) else {
                continue;
            };
            match value.as_deref().map(Record::decode) {
                Some(Ok(record)) => self.publish(number, entry, record, now),
                Some(Err(error)) => self.lose(number, entry, &error.to_string()),
                None => self.lose(number, entry, "it is not there"),
            }
        }
    }

    fn publish(&mut self, number: u64, entry: Entry, record: Record<'_>, now: Time) {
        let publication = PublicationId(self.next_name());
        let topic: Box<str> = Box::from(record.parts.topic.as_str());
        self.outputs.push_back(Output::Publish(Publish {
            publication,
            topic: topic.clone(),
            message: Arc::new(record.to_message(now)),
            changes: [Change::Delete(Key::Message(number).encode())].into(),
        }));
        if let Some(id) = &entry.id {
            self.ids.insert(Arc::clone(id), Place::Publishing);
        }
        self.publishing_bytes += u64::from(entry.bytes);
        let publishing = Publishing {
            number,
            topic,
            entry,
        };
        self.publishing.insert(publication, publishing);
    }

    /// A record that was there is damaged.
    fn lose(&mut self, number: u64, entry: Entry, why: &str) {
        let text = format!("a message that was to be published later is lost: {why}");
        self.outputs.push_back(Output::event(Severity::Warn, text));
        self.give_up(number, entry);
    }

    pub(crate) fn on_published(
        &mut self,
        publication: PublicationId,
        refused: Option<Refusal>,
        now: Time,
    ) {
        let Some(publishing) = self.publishing.remove(&publication) else {
            return;
        };
        self.publishing_bytes -= u64::from(publishing.entry.bytes);
        match refused {
            None => {
                let entry = publishing.entry;
                self.totals.remove(&entry);
                self.forget_id(entry.id, Place::Publishing);
            }
            Some(refusal) if may_pass(refusal.code) => self.try_later(publishing, &refusal, now),
            Some(refusal) => {
                let Publishing {
                    number,
                    topic,
                    entry,
                } = publishing;
                let text = format!("what was to be published to {topic:?} is dropped: {refusal}");
                self.outputs.push_back(Output::event(Severity::Warn, text));
                self.give_up(number, entry);
            }
        }
    }

    fn try_later(&mut self, publishing: Publishing, refusal: &Refusal, now: Time) {
        let Publishing {
            number,
            topic,
            mut entry,
        } = publishing;
        if entry.attempts == 0 {
            let text =
                format!("what is to be published to {topic:?} is tried again later: {refusal}");
            // A full disk refuses them all, and is told of once.
            let severity = match self.totals.retried {
                0 => Severity::Info,
                _ => Severity::Debug,
            };
            self.outputs.push_back(Output::event(severity, text));
            self.totals.retried += 1;
        }
        let at = now + backoff(entry.attempts);
        entry.attempts = entry.attempts.saturating_add(1);
        self.schedule(at, number, entry);
    }

    fn give_up(&mut self, number: u64, entry: Entry) {
        let id = entry.id.clone();
        let write = self.delete(number, entry, Vec::new());
        if let Some(id) = id {
            self.ids.insert(id, Place::Deleting(write));
        }
    }
}

/// Whether a refusal may be another one later.
fn may_pass(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Unavailable | ErrorCode::QuotaExceeded => true,
        ErrorCode::NotFound
        | ErrorCode::NotAuthorized
        | ErrorCode::BadAddress
        | ErrorCode::BadOption
        | ErrorCode::BadPayload
        | ErrorCode::Conflict
        | ErrorCode::WildcardInName => false,
    }
}

fn backoff(attempts: u8) -> Duration {
    // Ten doublings are more than the longest.
    let factor = 1 << attempts.min(10);
    (FIRST_BACKOFF * factor).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_left_alone_longer_and_longer() {
        let seconds = [0, 1, 2, 8, 9, 10, 255].map(|attempts| backoff(attempts).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300]);
    }
}
