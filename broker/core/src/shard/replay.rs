//! Retained messages: keeping them, and sending them to new subscriptions (section 3.3.1.3).

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;

use nexum_codec::PublishDelivery;
use nexum_types::{Message, QoS, Time, TopicFilter, TopicName};

use super::Shard;
use super::promise::Then;
use super::publish::Publication;
use super::put_out::Form;
use crate::counters::DropReason;
use crate::key::{ConnectionKey, ShardId};
use crate::peer::{PeerMessage, Receipt};
use crate::record::{Key, SubscriptionIdentifierList, Value};
use crate::replay::{Replay, ReplayRequest, ReplayRequests, ReplaySource};
use crate::retained::{Progress, ReplayId};
use crate::session::{Delivery, DeliveryRecorded};

/// Topics looked at in one step of a replay, whether or not they have a message.
const STEPS_AT_ONCE: usize = 4096;
/// Replays that a session has open, in this shard and in others. Enough for those in others to be
/// on their way together, and few enough to look through.
const OPEN_AT_ONCE: usize = 64;
/// Messages in one batch for another shard.
const BATCH_MESSAGES: usize = 256;
/// …and their bytes, beyond which it ends early.
const BATCH_BYTES: usize = 256 * 1024;

/// A replay that this shard does for a session of another.
pub(super) struct RemoteReplay {
    id: ReplayId,
}

impl Shard {
    /// Keeps what was published with RETAIN, at the shard that the topic belongs to.
    pub(super) fn retain(&mut self, publication: &mut Publication<'_>) {
        let owner = self.home_of(publication.parts.topic.as_str());
        let receipt = publication.receipt;
        if owner != self.id {
            let message = publication.message();
            self.note_overtaken(&message);
            self.tell(owner, PeerMessage::Retain { message, receipt });
            publication.receipts += u16::from(receipt.is_some());
            return;
        }
        // Never aside: what is retained of a topic is stored in the order in which it came.
        let aside = self.journal.suspend();
        if publication.parts.payload.is_empty() {
            // [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11]
            self.clear_retained(publication.parts.topic);
        } else {
            let message = publication.message();
            self.keep_retained(&message);
        }
        if let Some(receipt) = receipt {
            self.journal.waiters().receipts.push(receipt);
            publication.receipts += 1;
        }
        self.journal.resume(aside);
    }

    /// At the owner of the topic.
    pub(super) fn keep_retained(&mut self, message: &Arc<Message>) {
        let parts = message.parts();
        if parts.payload.is_empty() {
            return self.clear_retained(parts.topic);
        }
        let shards = u64::from(self.shards);
        let replaced = self
            .retained
            .at(parts.topic)
            .map_or(0, |kept| kept.size_bytes() as u64);
        let bytes = self.retained.bytes() - replaced + message.size_bytes() as u64;
        let count = self.retained.len() as u64 + u64::from(replaced == 0);
        if count * shards > self.limits.maximum_retained_messages
            || bytes * shards > self.limits.maximum_retained_bytes
        {
            // [MQTT-3.3.1-5]: what is kept must not be older than what could not be.
            self.clear_retained(parts.topic);
            return self.counters.drop_message(DropReason::RetainedFull);
        }
        if outlives_broker(parts.topic) {
            let key = Key::Retained(Arc::from(parts.topic.as_str()));
            self.journal.put(key, Value::Retained(Arc::clone(message)));
        }
        self.retained.set(Arc::clone(message));
    }

    fn clear_retained(&mut self, topic: TopicName<'_>) {
        if let Some(cleared) = self.retained.clear(topic) {
            self.forget_retained(&cleared);
        }
    }

    /// What was retained is not any more.
    pub(super) fn forget_retained(&mut self, message: &Message) {
        let topic = message.parts().topic;
        if outlives_broker(topic) {
            self.journal
                .delete(Key::Retained(Arc::from(topic.as_str())));
        }
    }

    /// Another shard has something to be retained here.
    pub(super) fn on_peer_retain(
        &mut self,
        from: ShardId,
        message: &Arc<Message>,
        receipt: Option<Receipt>,
        now: Time,
    ) {
        let changes = self.journal.changes();
        self.keep_retained(message);
        let Some(receipt) = receipt else {
            return;
        };
        let answer = self.promise(Then::Answer {
            to: from,
            receipt,
            revocable: true,
        });
        let waits = self.journal.changes() > changes;
        if waits {
            self.journal.waiters().receipts.push(answer);
        }
        self.await_promise(answer, u16::from(waits), None, now);
    }

    /// Opens the replays whose turn it is.
    fn open_replays(&mut self, session: u32) {
        loop {
            let state = &mut self.sessions[session as usize];
            if state.replays.len() >= OPEN_AT_ONCE {
                return;
            }
            let Some(requests) = &mut state.replay_requests else {
                return;
            };
            let request = requests.pop();
            if requests.is_empty() {
                state.replay_requests = None;
            }
            if let Some(request) = request {
                self.replay_requests -= 1;
                self.open_replay(session, &request);
            }
        }
    }

    /// [MQTT-3.10.4-2] [MQTT3-3.10.4-2]: nothing more that is retained under this filter goes to the
    /// session.
    pub(super) fn cancel_replays(&mut self, session: u32, filter: &str) {
        let state = &mut self.sessions[session as usize];
        if let Some(requests) = &mut state.replay_requests {
            self.replay_requests -= usize::from(requests.remove(filter));
        }
        let (cancelled, others) = std::mem::take(&mut state.replays)
            .into_iter()
            .partition::<VecDeque<_>, _>(|replay| *replay.filter == *filter);
        state.replays = others;
        for replay in cancelled {
            self.close_replay(replay);
        }
    }

    /// Begins to send what is retained under a filter to a session.
    fn open_replay(&mut self, session: u32, request: &ReplayRequest) {
        let Ok(filter) = TopicFilter::new(&request.filter) else {
            return;
        };
        let exact_owner = filter
            .as_topic_name()
            .map(|name| self.home_of(name.as_str()));
        let own = self.id;
        let owners: Vec<ShardId> = (0..self.shards)
            .map(ShardId)
            .filter(|shard| exact_owner.is_none_or(|owner| owner == *shard))
            .collect();
        for shard in owners {
            let source = if shard == own {
                ReplaySource::Local(self.retained.open_replay(filter))
            } else {
                self.replay_tokens = self.replay_tokens.wrapping_add(1);
                let token = self.replay_tokens;
                let filter = Box::from(&*request.filter);
                self.tell(shard, PeerMessage::ReplayOpen { token, filter });
                ReplaySource::Remote {
                    shard,
                    token,
                    batch: VecDeque::new(),
                    complete: false,
                    asked: true,
                    since: request.since,
                }
            };
            if let ReplaySource::Remote { token, .. } = &source {
                self.replaying.insert(*token, self.session_key(session));
            }
            self.sessions[session as usize].replays.push_back(Replay {
                filter: Arc::clone(&request.filter),
                source,
                maximum_qos: request.maximum_qos,
                subscription_identifier: request.subscription_identifier,
            });
        }
    }

    /// The session has no connection any more. What it has not been sent whole is asked for again
    /// when it comes back: its client may never subscribe again, and what was under way may be old
    /// by then. QoS 0 does not wait for anybody.
    pub(super) fn suspend_replays(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        let mut waiting = ReplayRequests::default();
        let mut wait = |request: ReplayRequest| {
            if request.maximum_qos != QoS::AtMostOnce {
                waiting.push(request);
            }
        };
        for replay in &state.replays {
            wait(ReplayRequest {
                filter: Arc::clone(&replay.filter),
                maximum_qos: replay.maximum_qos,
                subscription_identifier: replay.subscription_identifier,
                since: 0,
            });
        }
        if let Some(mut requests) = state.replay_requests.take() {
            self.replay_requests -= requests.len();
            while let Some(request) = requests.pop() {
                wait(request);
            }
        }
        if !waiting.is_empty() {
            state.replay_requests = Some(Box::new(waiting));
        }
        for replay in std::mem::take(&mut state.replays) {
            self.close_replay(replay);
        }
    }

    /// The session has a connection again.
    pub(super) fn resume_replays(&mut self, session: u32) {
        let now = self.overtaken.now();
        if let Some(requests) = &mut self.sessions[session as usize].replay_requests {
            requests.begin_at(now);
            self.replay_requests += requests.len();
        }
    }

    fn close_replay(&mut self, replay: Replay) {
        match replay.source {
            ReplaySource::Local(id) => self.retained.close_replay(id),
            ReplaySource::Remote {
                shard,
                token,
                complete,
                ..
            } => {
                self.replaying.remove(&token);
                if !complete {
                    self.tell(shard, PeerMessage::ReplayClose { token });
                }
            }
        }
    }

    /// One step of the first replay of a session; false if it cannot go on now.
    pub(super) fn replay_one(&mut self, session: u32, key: ConnectionKey, now: Time) -> bool {
        self.open_replays(session);
        let state = &mut self.sessions[session as usize];
        let has_quota = state.quota_used < state.quota;
        let Some(mut replay) = state.replays.pop_front() else {
            return false;
        };
        if !has_quota && replay.maximum_qos != QoS::AtMostOnce {
            state.replays.push_front(replay);
            return false;
        }
        let mut next = None;
        let (finished, blocked) = match &mut replay.source {
            ReplaySource::Local(id) => {
                let progress = self
                    .retained
                    .advance(*id, now, STEPS_AT_ONCE, &mut |message| {
                        next = Some(Arc::clone(message));
                        ControlFlow::Break(())
                    });
                match progress {
                    Progress::Done => (true, false),
                    Progress::More => (false, next.is_none()),
                }
            }
            ReplaySource::Remote {
                shard,
                token,
                batch,
                complete,
                asked,
                since,
            } => {
                let hashes = &self.homes;
                while let Some(message) = batch.pop_front() {
                    let topic = hashes.hash_one(message.parts().topic.as_str());
                    let newest = self.overtaken.newest(*since, topic, message);
                    // An empty one clears the topic.
                    if !newest.parts().payload.is_empty() && !newest.is_expired(now) {
                        next = Some(newest);
                        break;
                    }
                }
                if batch.len() * 2 < BATCH_MESSAGES && !*complete && !*asked {
                    *asked = true;
                    let next = PeerMessage::ReplayNext { token: *token };
                    self.outboxes[usize::from(shard.0)].push(next);
                }
                (batch.is_empty() && *complete, next.is_none())
            }
        };
        let terms = (replay.maximum_qos, replay.subscription_identifier);
        if finished {
            self.close_replay(replay);
        } else if blocked {
            // A long walk without a message, or a batch under way: others first.
            let local = matches!(replay.source, ReplaySource::Local(_));
            let key = self.session_key(session);
            self.sessions[session as usize].replays.push_back(replay);
            if local {
                self.unfinished.insert(key);
            }
        } else {
            self.sessions[session as usize].replays.push_front(replay);
        }
        if let Some(message) = next {
            self.send_retained(session, key, message, terms, now);
            return true;
        }
        finished
    }

    fn send_retained(
        &mut self,
        session: u32,
        key: ConnectionKey,
        message: Arc<Message>,
        (maximum_qos, identifier): (QoS, Option<u32>),
        now: Time,
    ) {
        let subscription_identifiers: SubscriptionIdentifierList = identifier.into_iter().collect();
        let parts = message.parts();
        let qos = parts.qos.min(maximum_qos);
        if !self.fits_client(key.index, &parts, qos, &subscription_identifiers, now) {
            return self.counters.drop_message(DropReason::TooLargeForClient);
        }
        let mut publication = Publication::of_message(&message);
        // [MQTT-3.3.1-8] [MQTT3-3.3.1-8]: RETAIN is 1 because of a new subscription.
        let retain = true;
        if qos == QoS::AtMostOnce {
            let form = Form {
                delivery: PublishDelivery::AtMostOnce,
                dup: false,
                retain,
                identifiers: &subscription_identifiers,
            };
            return self.put_out(key.index, &form, &mut publication, now);
        }
        let delivery = Delivery {
            size_bytes: message.size_bytes() as u32,
            message: Some(Arc::clone(&message)),
            qos,
            retain,
            subscription_identifiers,
            group: None,
            position: self.sessions[session as usize].take_position(),
            record: DeliveryRecorded::Nothing,
            stored: false,
        };
        self.begin_delivery(session, key, delivery, &mut publication, now);
    }

    /// A retained topic was published to while sessions here may wait for older retained messages
    /// from its owner.
    pub(super) fn note_overtaken(&mut self, message: &Arc<Message>) {
        if self.replaying.is_empty()
            && self.replay_requests == 0
            && self.pending_subscribes.is_empty()
        {
            self.overtaken.clear();
        } else {
            let topic = self.homes.hash_one(message.parts().topic.as_str());
            self.overtaken.note(topic, Arc::clone(message));
        }
    }

    pub(super) fn open_remote_replay(
        &mut self,
        from: ShardId,
        token: u32,
        filter: &str,
        now: Time,
    ) {
        let Ok(filter) = TopicFilter::new(filter) else {
            return;
        };
        let id = self.retained.open_replay(filter);
        self.remote_replays
            .insert((from, token), RemoteReplay { id });
        self.advance_remote_replay(from, token, now);
    }

    pub(super) fn advance_remote_replay(&mut self, from: ShardId, token: u32, now: Time) {
        let Some(replay) = self.remote_replays.get(&(from, token)) else {
            return;
        };
        let id = replay.id;
        let mut messages: Vec<Arc<Message>> = Vec::new();
        let mut bytes = 0;
        let mut steps = 0;
        let complete = loop {
            let progress = self
                .retained
                .advance(id, now, STEPS_AT_ONCE, &mut |message| {
                    bytes += message.size_bytes();
                    messages.push(Arc::clone(message));
                    if messages.len() >= BATCH_MESSAGES || bytes >= BATCH_BYTES {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
            steps += 1;
            match progress {
                Progress::Done => break true,
                // A bounded piece of work; an empty batch just asks for the next.
                Progress::More if !messages.is_empty() || steps == 4 => break false,
                Progress::More => {}
            }
        };
        if complete {
            self.close_remote_replay(from, token);
        }
        self.tell(
            from,
            PeerMessage::ReplayBatch {
                token,
                messages,
                complete,
            },
        );
    }

    pub(super) fn close_remote_replay(&mut self, from: ShardId, token: u32) {
        if let Some(replay) = self.remote_replays.remove(&(from, token)) {
            self.retained.close_replay(replay.id);
        }
    }

    pub(super) fn on_replay_batch(
        &mut self,
        from: ShardId,
        token: u32,
        messages: Vec<Arc<Message>>,
        is_complete: bool,
        now: Time,
    ) {
        let Some(key) = self.replaying.get(&token).copied() else {
            return;
        };
        let Some(session) = self.session_by_key(key) else {
            return;
        };
        for replay in &mut session.replays {
            if let ReplaySource::Remote {
                shard,
                token: own,
                batch,
                complete,
                asked,
                ..
            } = &mut replay.source
                && *shard == from
                && *own == token
            {
                batch.extend(messages);
                *complete = is_complete;
                *asked = false;
                break;
            }
        }
        self.pump(key.index, now);
    }
}

/// What the broker says of itself it says anew after a restart.
fn outlives_broker(topic: TopicName<'_>) -> bool {
    topic.as_str() != "$SYS" && !topic.as_str().starts_with("$SYS/")
}
