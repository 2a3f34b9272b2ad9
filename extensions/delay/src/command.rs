//! What is asked for: to publish something later, and not to.

use std::sync::Arc;
use std::time::Duration;

use nexum_extension_api::{
    Change, Command, CommandId, ErrorCode, Options, Output, Refusal, Reply, WhenRefused, Write,
    WriteId, WriteRefusal,
};
use nexum_types::{MessageParts, Time, TopicName};

use crate::record::{Key, Record, encode_mark};
use crate::target::with_options;
use crate::{Delay, Deleting, Entry, Place, Storing};

/// What the address of a message begins with; its target follows.
const AT: &str = "$delayed/at/";

/// What there is.
const VERBS: &str = "$delayed/<when>/<topic> publishes later, $delayed/$cancel/<id> cancels that";

/// The longest `id`, in bytes.
const LONGEST_ID: usize = 1024;

/// When to try again what the store refused.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// When to try again what there was no room for: when there will be, within these bounds.
const FULL_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Delay {
    pub(crate) fn on_command(&mut self, command: Command, now: Time) {
        // What waits for a number may be what this one is a duplicate or the cancellation of.
        if !self.unnumbered.is_empty() {
            return self.unnumbered.push_back((command, now));
        }
        if command.address.as_str().starts_with(AT) {
            return self.on_message(command, now);
        }
        let address = &command.address;
        match (address.name(), address.verb(), address.arguments()) {
            ("_", Some("$cancel"), id) if !address.has_levels() && !id.is_empty() => {
                self.cancel(id, command.id);
            }
            _ => self.refuse(command.id, Refusal::new(ErrorCode::BadAddress, VERBS)),
        }
    }

    fn on_message(&mut self, command: Command, now: Time) {
        let options = command.options.as_deref();
        let wish = match options.map_or_else(|| Err(no_delay()), |it| Wish::new(&command, it)) {
            Ok(wish) => wish,
            Err(refusal) => return self.refuse(command.id, refusal),
        };
        if let Some(id) = wish.id
            && self.joins(id, command.id)
        {
            return;
        }
        let due = now + wish.delay;
        let value = wish.record(due, &command).encode();
        let entry = Entry::new(wish.id.map(Arc::from), &value);
        if let Some(refusal) = self.refusal_if_full(&entry, now) {
            return self.refuse(command.id, refusal);
        }
        if self.numbers.are_low() {
            self.reserve_numbers();
        }
        let Some(number) = self.numbers.next() else {
            return self.unnumbered.push_back((command, now));
        };
        self.store(command.id, number, due, entry, value);
    }

    /// Whether a message is the duplicate of another with its `id`.
    fn joins(&mut self, id: &str, command: CommandId) -> bool {
        match self.ids.get(id) {
            Some(Place::Storing(write)) => {
                let first = self.storing.get_mut(write);
                // One that is cancelled is no longer pending.
                let Some(first) = first.filter(|first| first.cancels.is_empty()) else {
                    return false;
                };
                first.duplicates.push(command);
                true
            }
            Some(Place::Scheduled(..) | Place::Publishing) => {
                self.reply(command, Ok(duplicate()));
                true
            }
            Some(Place::Deleting(_)) | None => false,
        }
    }

    fn store(
        &mut self,
        command: CommandId,
        number: u64,
        due: Time,
        entry: Entry,
        value: Box<[u8]>,
    ) {
        let write = WriteId(self.next_name());
        self.outputs.push_back(Output::Write(Write {
            write,
            changes: [Change::Insert(Key::Message(number).encode(), value)].into(),
            when_refused: WhenRefused::Tell,
            fulfils: Some(command),
        }));
        self.totals.add(&entry);
        if let Some(id) = &entry.id {
            self.ids.insert(Arc::clone(id), Place::Storing(write));
        }
        let storing = Storing {
            command,
            number,
            due,
            entry,
            duplicates: Vec::new(),
            cancels: Vec::new(),
        };
        self.storing.insert(write, storing);
    }

    fn refusal_if_full(&self, entry: &Entry, now: Time) -> Option<Refusal> {
        let is_full = self.totals.messages >= self.settings.maximum_messages
            || self.totals.bytes + u64::from(entry.bytes) > self.settings.maximum_bytes;
        is_full.then(|| {
            let reason = "too much waits to be published later";
            let (soonest, latest) = FULL_AGAIN;
            let first = self.schedule.keys().next();
            let room_in = first.map_or(soonest, |(due, _)| due.since(now));
            Refusal::new(ErrorCode::QuotaExceeded, reason)
                .retry_after(room_in.clamp(soonest, latest))
        })
    }

    fn cancel(&mut self, id: &str, command: CommandId) {
        match self.ids.get(id).copied() {
            // Its deletion could overtake it.
            Some(Place::Storing(write)) if let Some(storing) = self.storing.get_mut(&write) => {
                storing.cancels.push(command);
            }
            Some(Place::Scheduled(at, number))
                if let Some(entry) = self.schedule.remove(&(at, number)) =>
            {
                let write = self.delete(number, entry, vec![command]);
                self.ids.insert(Arc::from(id), Place::Deleting(write));
            }
            Some(Place::Deleting(write)) if let Some(deleting) = self.deleting.get_mut(&write) => {
                deleting.cancels.push(command);
            }
            Some(Place::Publishing) => {
                self.refuse(command, not_found("it is being published"));
            }
            Some(Place::Storing(_) | Place::Scheduled(..) | Place::Deleting(_)) | None => {
                let reason = "nothing that is to be published later has this id";
                self.refuse(command, not_found(reason));
            }
        }
    }

    pub(crate) fn on_written(&mut self, write: WriteId, refused: Option<WriteRefusal>) {
        if let Some(stale) = self.numbers.on_written(write, refused.is_none()) {
            self.write_lasting(stale.into_iter().map(Key::Mark));
            self.go_on_with_unnumbered(refused.as_ref());
        } else if let Some(storing) = self.storing.remove(&write) {
            match refused {
                None => self.on_stored(write, storing),
                Some(refused) => self.on_not_stored(write, storing, &refused),
            }
        } else if let Some(Deleting { id, cancels }) = self.deleting.remove(&write) {
            self.forget_id(id, Place::Deleting(write));
            for cancel in cancels {
                self.reply(cancel, Ok(Reply::default()));
            }
        }
    }

    fn on_stored(&mut self, write: WriteId, storing: Storing) {
        let Storing {
            command,
            number,
            due,
            entry,
            duplicates,
            cancels,
        } = storing;
        self.reply(command, Ok(Reply::default()));
        for it in duplicates {
            self.reply(it, Ok(duplicate()));
        }
        if cancels.is_empty() {
            return self.schedule(due, number, entry);
        }
        let id = entry.id.clone();
        let deletion = self.delete(number, entry, cancels);
        // Another one may have the id by now.
        if let Some(place) = id.and_then(|id| self.ids.get_mut(&id))
            && *place == Place::Storing(write)
        {
            *place = Place::Deleting(deletion);
        }
    }

    fn on_not_stored(&mut self, write: WriteId, storing: Storing, refused: &WriteRefusal) {
        let Storing {
            command,
            entry,
            duplicates,
            cancels,
            ..
        } = storing;
        self.totals.remove(&entry);
        self.forget_id(entry.id, Place::Storing(write));
        self.refuse(command, not_stored(refused));
        for duplicate in duplicates {
            self.refuse(duplicate, not_stored(refused));
        }
        for cancel in cancels {
            self.refuse(cancel, not_found("it could not be stored"));
        }
    }

    /// Forgets an `id` that is still that of what was in this place.
    pub(crate) fn forget_id(&mut self, id: Option<Arc<str>>, place: Place) {
        if let Some(id) = id
            && self.ids.get(&id) == Some(&place)
        {
            self.ids.remove(&id);
        }
    }

    pub(crate) fn reserve_numbers(&mut self) {
        let write = WriteId(self.next_name());
        let end = self.numbers.reserve(write);
        self.outputs.push_back(Output::Write(Write {
            write,
            changes: [Change::Insert(Key::Mark(end).encode(), encode_mark())].into(),
            when_refused: WhenRefused::Tell,
            fulfils: None,
        }));
    }

    /// A mark is stored, or refused like any message would be.
    fn go_on_with_unnumbered(&mut self, refused: Option<&WriteRefusal>) {
        for (command, arrived) in std::mem::take(&mut self.unnumbered) {
            match refused {
                Some(refused) if command.address.as_str().starts_with(AT) => {
                    self.refuse(command.id, not_stored(refused));
                }
                _ => self.on_command(command, arrived),
            }
        }
    }

    fn reply(&mut self, command: CommandId, result: Result<Reply, Refusal>) {
        self.outputs.push_back(Output::Reply { command, result });
    }

    fn refuse(&mut self, command: CommandId, refusal: Refusal) {
        self.reply(command, Err(refusal));
    }
}

/// What a command wants, looked at.
struct Wish<'a> {
    delay: Duration,
    id: Option<&'a str>,
    /// Where to publish.
    topic: Box<str>,
}

impl<'a> Wish<'a> {
    fn new(command: &Command, options: &'a Options) -> Result<Wish<'a>, Refusal> {
        let delay = options.delay.ok_or_else(no_delay)?;
        let id = options.id.as_deref();
        if id.is_some_and(|id| id.is_empty() || id.len() > LONGEST_ID) {
            let reason = "the option 'id' takes 1 to 1024 bytes";
            return Err(Refusal::new(ErrorCode::BadOption, reason));
        }
        let target = command.address.as_str().strip_prefix(AT);
        let topic = with_options(target.unwrap_or_default(), options)?;
        Ok(Wish { delay, id, topic })
    }

    fn record(&'a self, due: Time, command: &'a Command) -> Record<'a> {
        let topic = TopicName::new(&self.topic).expect("with_options gives topic names");
        Record {
            due,
            id: self.id,
            parts: MessageParts {
                topic,
                ..command.message.parts()
            },
        }
    }
}

fn duplicate() -> Reply {
    Reply {
        properties: vec![("duplicate", 1.into())],
        ..Reply::default()
    }
}

fn no_delay() -> Refusal {
    Refusal::new(ErrorCode::BadOption, "$delayed needs to be told when")
}

fn not_stored(refused: &WriteRefusal) -> Refusal {
    let reason = format!("it cannot be stored now: {}", refused.reason);
    Refusal::new(ErrorCode::Unavailable, reason).retry_after(STORE_AGAIN)
}

fn not_found(reason: &'static str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, reason)
}
