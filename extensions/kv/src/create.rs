//! Buckets that come and go.

use std::sync::Arc;

use nexum_extension_api::{
    Change, Changes, CommandId, Extension, Input, Output, Refusal, Reply, Severity, check_name,
};
use nexum_types::Time;

use crate::bucket::Bucket;
use crate::bucket_options::BucketOptions;
use crate::buckets::{Buckets, Pending};
use crate::record::{BucketRecord, Key, encode_mark};
use crate::refusals;

/// A bucket that is not stored yet.
#[derive(Debug)]
pub(crate) struct Forming {
    id: u64,
    mark: Option<u64>,
    options: BucketOptions,
    /// Who wants it.
    command: Option<CommandId>,
    /// What is for it comes to it when it is there.
    waiting: Vec<Input>,
}

impl Buckets {
    /// Has a bucket stored, and answers the command then.
    pub(crate) fn create(
        &mut self,
        name: &Arc<str>,
        options: BucketOptions,
        command: CommandId,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.form(name, options, Some(command), false);
        Ok(())
    }

    /// What is for a bucket that is not there waits for it if it is about to be, and brings it about
    /// if that is how it is set.
    pub(crate) fn wait_for(&mut self, name: &Arc<str>, input: Input) -> Result<(), Refusal> {
        if self.forming.contains_key(name) || !self.settings.auto_create {
            return self.wait_if_forming(name, input);
        }
        self.check_room()?;
        self.form(name, self.settings.defaults.clone(), None, false);
        if let Some(forming) = self.forming.get_mut(name) {
            forming.waiting.push(input);
        }
        Ok(())
    }

    /// What is for a bucket that is not there waits for it if it is about to be.
    pub(crate) fn wait_if_forming(&mut self, name: &str, input: Input) -> Result<(), Refusal> {
        let forming = self.forming.get_mut(name);
        let forming = forming.ok_or_else(|| refusals::no_bucket(name))?;
        forming.waiting.push(input);
        Ok(())
    }

    /// Who waited for a bucket does not any more.
    pub(crate) fn stop_waiting(&mut self, is_it: impl Fn(&Input) -> bool) {
        for forming in self.forming.values_mut() {
            forming.waiting.retain(|input| !is_it(input));
        }
    }

    fn check_room(&self) -> Result<(), Refusal> {
        let most = self.settings.maximum_buckets;
        if self.names.len() + self.forming.len() >= most {
            return Err(refusals::too_many_buckets(most));
        }
        Ok(())
    }

    fn form(
        &mut self,
        name: &Arc<str>,
        options: BucketOptions,
        command: Option<CommandId>,
        is_declared: bool,
    ) {
        let taken = self.sequence.take();
        let key = Key::Bucket(taken.number).encode();
        let mut changes = Changes::from([Change::Insert(key, record_of(name, &options))]);
        // A mark is written in one order alone, so that it never falls. A bucket that is declared
        // does without: whatever is written to it has a higher number, and a mark.
        let mark = taken.mark.filter(|_| !is_declared);
        changes.extend(mark.map(|mark| Change::Put(Key::Mark.encode(), encode_mark(mark))));
        let forming = Forming {
            id: taken.number,
            mark,
            options,
            command,
            waiting: Vec::new(),
        };
        self.forming.insert(Arc::clone(name), forming);
        // Nobody can be told that a bucket of the configuration is not there.
        if is_declared {
            self.note(changes, Some(Pending::Create(Arc::clone(name))));
        } else {
            self.ask_for_bucket(changes, Arc::clone(name), command);
        }
    }

    /// A bucket is stored, or refused.
    pub(crate) fn created(&mut self, name: &Arc<str>, refused: Option<String>, now: Time) {
        let Some(forming) = self.forming.remove(name) else {
            return;
        };
        let Forming {
            id,
            mark,
            options,
            command,
            waiting,
        } = forming;
        if let Some(reason) = refused {
            self.forget_decided();
            let refusal = Refusal::not_stored(&reason);
            if let Some(command) = command {
                self.refuse(command, refusal.clone());
            }
            for input in waiting {
                self.refuse_waiting(input, refusal.clone());
            }
            return;
        }
        if let Some(mark) = mark {
            self.sequence.note_stored(mark);
        }
        self.place(Bucket::new(id, Arc::clone(name), options));
        if let Some(command) = command {
            self.reply(command, Reply::default());
        }
        for input in waiting {
            self.handle(input, now);
        }
    }

    fn refuse_waiting(&mut self, input: Input, refusal: Refusal) {
        match input {
            Input::Command(command) => self.refuse(command.id, refusal),
            Input::Subscribe(subscribe) => {
                let feed = subscribe.feed;
                self.put_out(Output::Refuse { feed, refusal });
            }
            // Nothing else waits for a bucket.
            Input::Start { .. }
            | Input::Captured(_)
            | Input::Attach { .. }
            | Input::Unsubscribe(_)
            | Input::Detach { .. }
            | Input::Settled { .. }
            | Input::Written { .. }
            | Input::Read { .. }
            | Input::Scanned { .. }
            | Input::Published { .. } => {}
        }
    }

    /// A bucket is there.
    pub(crate) fn place(&mut self, bucket: Bucket) {
        self.names.insert(Arc::clone(&bucket.name), bucket.id);
        self.buckets.insert(bucket.id, bucket);
    }

    /// What a bucket is now, to be stored.
    pub(crate) fn record_bucket(&self, id: u64) -> Changes {
        let bucket = self.buckets.get(&id);
        let record = bucket.map(|bucket| record_of(&bucket.name, &bucket.options));
        let change = record.map(|record| Change::Put(Key::Bucket(id).encode(), record));
        change.into_iter().collect()
    }

    /// A bucket and all that is in it is gone; its watchers get nothing more.
    pub(crate) fn delete(&mut self, id: u64, command: CommandId, now: Time) {
        let Some(bucket) = self.buckets.get(&id) else {
            return;
        };
        for feed in bucket.feeds() {
            self.end_feed(feed);
        }
        let Some(bucket) = self.buckets.remove(&id) else {
            return;
        };
        self.names.remove(&bucket.name);
        // First of all the bucket itself: what a crash leaves of it belongs to nothing.
        let changes = Changes::from([Change::Delete(Key::Bucket(id).encode())]);
        self.note(changes, Some(Pending::Reply(command, Reply::default())));
        let shelf = bucket.shelf();
        if bucket.writing == 0 {
            self.wiped(id, shelf, now);
        } else {
            self.leaving.insert(id, (bucket.writing, shelf));
        }
    }

    /// The buckets of the settings, at the start.
    pub(crate) fn declare(&mut self) {
        for (name, options) in self.settings.declared.clone() {
            if let Err(error) = check_name(&name) {
                let text = format!("the bucket '{name}' is not declared: {error}");
                self.event(Severity::Warn, text);
                continue;
            }
            let name: Arc<str> = Arc::from(name);
            let Some(id) = self.names.get(&name).copied() else {
                if !self.forming.contains_key(&name) {
                    self.form(&name, options, None, true);
                }
                continue;
            };
            let Some(bucket) = self.buckets.get_mut(&id) else {
                continue;
            };
            let persist = bucket.options.persist;
            if options.persist != persist {
                let text = format!("the bucket '{name}' keeps 'persist': delete it to change that");
                self.event(Severity::Warn, text);
            }
            let options = BucketOptions { persist, ..options };
            if let Some(bucket) = self.buckets.get_mut(&id)
                && bucket.options != options
            {
                bucket.options = options;
                let changes = self.record_bucket(id);
                self.note(changes, None);
            }
        }
    }
}

fn record_of(name: &str, options: &BucketOptions) -> Box<[u8]> {
    let record = BucketRecord {
        name: Box::from(name),
        options: options.to_json().to_string().into_bytes(),
    };
    record.encode()
}
