//! Watchers: sessions that come and go, what they are told, and what waits for them.

use std::sync::Arc;

use nexum_extension_api::{
    ConsumerId, Deliver, DeliveryId, ErrorCode, FeedId, Input, Output, Refusal, Subscribe,
};
use nexum_types::{QoS, Time};

use crate::buckets::{Buckets, Reading, Records, Span};
use crate::entry::Entry;
use crate::feed::{Consumer, Cursor, Feed, Progress, Update};
use crate::filter::Filter;
use crate::operation::Change;
use crate::record::Key;
use crate::rest::Work;

/// At least and at most so many records are read at once, by what the watcher takes.
const PAGE: (usize, usize) = (32, 256);

impl Buckets {
    pub(crate) fn attach(
        &mut self,
        consumer: ConsumerId,
        credit: u32,
        takes_properties: bool,
        now: Time,
    ) {
        let state = self.consumers.entry(consumer).or_default();
        state.credit = credit;
        state.takes_properties = takes_properties;
        self.serve(consumer, now);
    }

    pub(crate) fn subscribe(&mut self, subscribe: Subscribe, now: Time) {
        let feed = subscribe.feed;
        if let Err(refusal) = self.try_subscribe(subscribe, now) {
            self.put_out(Output::Refuse { feed, refusal });
        }
    }

    fn try_subscribe(&mut self, subscribe: Subscribe, now: Time) -> Result<(), Refusal> {
        let options = subscribe.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        if subscribe.share_name.is_some() {
            return Err(Refusal::new(
                ErrorCode::BadAddress,
                "each watcher of a bucket sees all changes: subscribe without $share",
            ));
        }
        let filter = Filter::parse(&subscribe.address)?;
        let name = subscribe.address.name();
        let Some(id) = self.names.get(name).copied() else {
            let name = Arc::from(name);
            return self.wait_for(&name, Input::Subscribe(subscribe));
        };
        let Subscribe {
            feed,
            consumer,
            maximum_qos,
            wants_present,
            ..
        } = subscribe;
        self.unsubscribe(feed);
        let Some(bucket) = self.buckets.get_mut(&id) else {
            return Ok(());
        };
        bucket.watch(&filter, feed);
        let mut state = Feed::new(consumer, id, filter);
        if wants_present {
            state.rewind();
        }
        self.feeds.insert(feed, state);
        let attached = self.consumers.entry(consumer).or_default();
        attached.feeds.insert(feed);
        self.put_out(Output::Grant {
            feed,
            maximum_qos: maximum_qos.min(QoS::AtLeastOnce),
        });
        self.make_ready(feed);
        self.serve(consumer, now);
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, feed: FeedId) {
        self.stop_waiting(
            |input| matches!(input, Input::Subscribe(subscribe) if subscribe.feed == feed),
        );
        self.end_feed(feed);
    }

    /// Nothing more comes on a feed.
    pub(crate) fn end_feed(&mut self, feed: FeedId) {
        let Some(state) = self.feeds.remove(&feed) else {
            return;
        };
        if let Some(bucket) = self.buckets.get_mut(&state.bucket) {
            bucket.unwatch(&state.filter, feed);
        }
        if let Some(consumer) = self.consumers.get_mut(&state.consumer) {
            consumer.feeds.remove(&feed);
            consumer.ready.retain(|it| *it != feed);
        }
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId) {
        self.stop_waiting(
            |input| matches!(input, Input::Subscribe(subscribe) if subscribe.consumer == consumer),
        );
        if let Some(Consumer { feeds, .. }) = self.consumers.remove(&consumer) {
            for feed in feeds {
                self.end_feed(feed);
            }
        }
    }

    pub(crate) fn settled(&mut self, consumer: ConsumerId, now: Time) {
        if let Some(state) = self.consumers.get_mut(&consumer) {
            state.credit = state.credit.saturating_add(1);
            self.serve(consumer, now);
        }
    }

    /// A key has changed.
    pub(crate) fn tell_watchers(&mut self, feeds: &[FeedId], update: &Arc<Update>, now: Time) {
        for feed in feeds {
            self.offer(*feed, update, now);
        }
    }

    fn offer(&mut self, feed: FeedId, update: &Arc<Update>, now: Time) {
        let (most, most_bytes) = (self.settings.backlog, self.settings.backlog_bytes);
        let Some(state) = self.feeds.get_mut(&feed) else {
            return;
        };
        if state.will_read(&update.key) {
            return;
        }
        let consumer = state.consumer;
        if !state.backlog.push(Arc::clone(update), most, most_bytes) {
            // It is so far behind that it is told what is there then.
            state.rewind();
            state.starts_anew = true;
        }
        self.make_ready(feed);
        self.serve(consumer, now);
    }

    fn make_ready(&mut self, feed: FeedId) {
        let Some(state) = self.feeds.get_mut(&feed) else {
            return;
        };
        if state.is_ready || !state.has_more() {
            return;
        }
        state.is_ready = true;
        if let Some(consumer) = self.consumers.get_mut(&state.consumer) {
            consumer.ready.push_back(feed);
        }
    }

    /// Delivers as far as there is credit, one of each feed in turn.
    fn serve(&mut self, consumer: ConsumerId, now: Time) {
        while let Some(state) = self.consumers.get_mut(&consumer)
            && state.credit > 0
            && let Some(feed) = state.ready.pop_front()
        {
            self.serve_one(feed, now);
            self.make_ready(feed);
        }
    }

    fn serve_one(&mut self, id: FeedId, now: Time) {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        feed.is_ready = false;
        let (update, retain) = match feed.page.pop_front() {
            Some(update) => (Some(update), true),
            None => (feed.backlog.pop(), false),
        };
        if let Some(update) = update {
            return self.deliver(id, &update, retain);
        }
        let is_idle = |cursor: &&mut Cursor| cursor.progress == Progress::Idle;
        let Some(cursor) = feed.cursor.as_mut().filter(is_idle) else {
            return;
        };
        cursor.progress = Progress::Rests;
        if self.resting.note_read(0) {
            return self.resting.add(Work::Page(id), now);
        }
        self.read_page(id);
    }

    /// Reads more of what there is, after a rest or without.
    pub(crate) fn read_page(&mut self, id: FeedId) {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        let (Some(cursor), Some(bucket)) = (&mut feed.cursor, self.buckets.get(&feed.bucket))
        else {
            return;
        };
        if cursor.progress != Progress::Rests {
            return;
        }
        cursor.progress = Progress::Asked;
        let beginning = cursor.beginning;
        let credit = self.consumers.get(&feed.consumer).map_or(0, |it| it.credit);
        let span = Span {
            from: cursor.from.clone(),
            to: cursor.to.clone(),
            records: (credit as usize).clamp(PAGE.0, PAGE.1),
        };
        self.scan(bucket.shelf(), span, Reading::Page(id, beginning));
    }

    /// More of what there is was read.
    pub(crate) fn page_read(&mut self, id: FeedId, beginning: u64, found: Records, now: Time) {
        self.resting.note_read(found.records.len());
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        let Some(bucket) = self.buckets.get(&feed.bucket) else {
            return;
        };
        let is_that = |cursor: &&mut Cursor| cursor.beginning == beginning;
        let Some(cursor) = feed.cursor.as_mut().filter(is_that) else {
            return;
        };
        cursor.progress = Progress::Idle;
        match found.next {
            Some(next) => cursor.from = next,
            None => feed.cursor = None,
        }
        for (record, value) in &found.records {
            let Ok(Key::Entry(_, key)) = Key::decode(record) else {
                continue;
            };
            if !feed.filter.matches(key) {
                continue;
            }
            let topic = bucket.topic(key);
            let Ok(entry) = Entry::decode(value, &topic) else {
                continue;
            };
            let key: Arc<str> = Arc::from(key);
            let line = (bucket.id, Arc::clone(&key));
            // What is not promised yet comes when it is.
            if entry.is_due(now) || self.lines.is_unheard(&line, entry.revision) {
                continue;
            }
            feed.page.push_back(Arc::new(Update {
                key,
                topic: Arc::from(topic),
                revision: entry.revision,
                change: Change::Set,
                message: entry.message,
            }));
        }
        let consumer = feed.consumer;
        self.make_ready(id);
        self.serve(consumer, now);
    }

    fn deliver(&mut self, id: FeedId, update: &Update, retain: bool) {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        let consumer = feed.consumer;
        let Some(state) = self.consumers.get_mut(&consumer) else {
            return;
        };
        state.credit -= 1;
        let mut properties = Vec::new();
        let starts_anew = std::mem::take(&mut feed.starts_anew);
        if state.takes_properties {
            properties.push(("rev", update.revision.into()));
            properties.push(("op", update.change.as_str().into()));
            if starts_anew {
                properties.push(("resync", 1.into()));
            }
        }
        self.next_delivery += 1;
        self.put_out(Output::Deliver(Deliver {
            feed: id,
            consumer,
            delivery: DeliveryId(self.next_delivery),
            topic: Arc::clone(&update.topic),
            message: Arc::clone(&update.message),
            properties,
            retain,
        }));
    }
}
