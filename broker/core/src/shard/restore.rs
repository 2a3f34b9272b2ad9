//! A shard as it was before a restart, from what the store has kept.

use std::sync::Arc;

use nexum_types::{ClientId, SharedSubscription, Time, TopicFilter};

use super::Shard;
use super::exclusive::exclusive;
use super::timers::Timer;
use crate::address::{Root, SubscribeAddress};
use crate::peer::{MemberKey, MemberTerms, PeerMessage};
use crate::record::{
    ExchangeRecord, Key, MessageId, Restored, SessionId, SessionRecord, SubscriptionRecord,
};
use crate::session::{
    Awaiting, Delivery, DeliveryRecorded, Exchange, FeedTerms, Received, Session,
};
use crate::shared_subscription::WaitingMessage;
use crate::subscription::{Subscriber, Subscription};

impl Shard {
    /// Takes one record back, before there is any connection. In the order of [`Restored`]; when all
    /// shards have all of theirs, [`finish_restoring`](Self::finish_restoring).
    pub fn restore(&mut self, restored: Restored, now: Time) {
        match restored {
            Restored::Session(id, record) => self.restore_session(id, &record, now),
            Restored::Subscription(id, filter, record) => {
                self.restore_subscription(id, &filter, record);
            }
            Restored::Will(id, will) => {
                if let Some(session) = self.session_of(id) {
                    self.sessions[session as usize].will = Some(Arc::new(will));
                }
            }
            Restored::Delivery { .. } => self.restore_delivery(restored),
            Restored::Exchange(id, packet, record) => self.restore_exchange(id, packet, record),
            Restored::Received(id, packet) => {
                if let Some(session) = self.session_of(id) {
                    let received = &mut self.sessions[session as usize].received;
                    received.insert(packet, Received::Stored);
                }
            }
            Restored::Message(id, references) => {
                self.references.insert(id, references);
            }
            Restored::Waiting {
                group,
                position,
                message,
                size_bytes,
            } => {
                let id = self.groups.find_or_create(&group);
                let waiting = WaitingMessage {
                    position,
                    message: None,
                    size_bytes,
                    record: Some(message),
                    stored: true,
                };
                self.groups.restore_waiting(id, waiting);
            }
            Restored::Retained(message) => {
                self.retained.set(message);
            }
        }
    }

    /// Nothing more comes back. New names begin with these, which are above all that ever were.
    ///
    /// The shell then lets the shards exchange their batches until there are none, and clients in
    /// after that: a message published before would miss subscriptions of other shards.
    pub fn finish_restoring(&mut self, session: SessionId, message: MessageId, now: Time) {
        let shards = u64::from(self.shards);
        let own = |first: u64| {
            let first = first.next_multiple_of(shards);
            first + u64::from(self.id.0)
        };
        self.next_session_id = SessionId(own(session.0));
        self.next_message_id = MessageId(own(message.0));
        self.wheel.arm(now, Timer::Memberless);
        let sessions: Vec<u32> = self
            .sessions
            .iter()
            .map(|(index, _)| index as u32)
            .collect();
        for session in sessions {
            self.order_exchanges(session);
            self.watch_absence(self.session_key(session), now);
        }
    }

    fn session_of(&self, id: SessionId) -> Option<u32> {
        self.session_ids.get(&id).copied()
    }

    fn restore_session(&mut self, id: SessionId, record: &SessionRecord, now: Time) {
        let Some(client_id) = ClientId::new(&record.client_id) else {
            return;
        };
        let generation = self.next_generation();
        let mut session = Session::new(client_id.clone(), generation);
        session.id = Some(id);
        session.stored = true;
        session.expiry_interval_seconds = record.expiry_interval_seconds;
        // The end of the broker ended its connection, if it had one.
        session.disconnected_at = record.disconnected_at.unwrap_or(now);
        let index = self.sessions.insert(session) as u32;
        self.clients.insert(client_id, index);
        self.session_ids.insert(id, index);
        if record.disconnected_at.is_none() {
            self.record_session(index);
        }
    }

    fn restore_subscription(&mut self, id: SessionId, filter: &str, record: SubscriptionRecord) {
        let Some(session) = self.session_of(id) else {
            return;
        };
        if exclusive(filter).is_some() {
            self.restore_exclusive(session, filter);
        }
        if let Ok(Some(_)) = self.feed_wish(filter) {
            let terms = FeedTerms {
                key: None,
                maximum_qos: record.maximum_qos,
                identifier: record.identifier,
                confirmed: true,
            };
            let state = &mut self.sessions[session as usize];
            state.feeds.insert(Arc::from(filter), terms);
            state.subscription_bytes += filter.len() as u64;
            return;
        }
        let target = SubscribeAddress::parse(filter).map_or(filter, |address| address.target);
        if let Root::Served { .. } | Root::Reserved(_) = self.words.root(target) {
            // Nobody serves it any more.
            return;
        }
        if self.words.root(filter) == Root::Reply {
            self.hear_replies(session, filter, Subscription::of_record(record));
            return;
        }
        let filter = exclusive(filter).unwrap_or(filter);
        match SharedSubscription::parse(filter) {
            Some(Ok(shared)) => {
                let name = format!("{}/{}", shared.share_name(), shared.filter().as_str());
                self.restore_member(session, &Arc::from(name), record);
            }
            Some(Err(_)) => {}
            None => {
                let Ok(filter) = TopicFilter::new(filter) else {
                    return;
                };
                let subscriber = Subscriber::Session(session);
                let subscription = Subscription::of_record(record);
                let (filter_id, previous) = self.index.insert(filter, subscriber, subscription);
                if previous.is_none() {
                    let state = &mut self.sessions[session as usize];
                    state.subscriptions.insert(filter_id);
                    state.subscription_bytes += filter.as_str().len() as u64;
                    self.count_subscriber(filter_id, true);
                    // Nobody waits for the answers.
                    self.announce(filter.as_str(), u32::MAX, true);
                }
            }
        }
    }

    fn restore_member(&mut self, session: u32, name: &Arc<str>, record: SubscriptionRecord) {
        let terms = MemberTerms::of_record(record);
        let (id, member) = self.note_membership(session, name, terms);
        if self.home_of(name) == self.id {
            let key = MemberKey {
                shard: self.id,
                session: member,
            };
            self.add_member(id, key, Some(u32::MAX), true);
        } else {
            let group = Arc::clone(name);
            let join = PeerMessage::Join {
                group,
                member,
                // Nobody waits for the answers.
                token: u32::MAX,
                durable: true,
            };
            let home = self.home_of(name);
            self.tell(home, join);
            let absent = PeerMessage::MemberOnline {
                group: Arc::clone(name),
                member,
                online: false,
            };
            self.tell(home, absent);
        }
    }

    fn restore_delivery(&mut self, restored: Restored) {
        let Restored::Delivery {
            session,
            position,
            shared,
            size_bytes,
            qos,
            retain,
            subscription_identifiers,
            group,
            packet_identifier,
        } = restored
        else {
            return;
        };
        let Some(session) = self.session_of(session) else {
            return;
        };
        let delivery = Delivery {
            message: None,
            size_bytes,
            qos,
            retain,
            subscription_identifiers,
            group: group.and_then(|name| self.groups.find(&name)),
            position,
            record: shared.map_or(DeliveryRecorded::Inline, DeliveryRecorded::Shared),
            stored: true,
        };
        let state = &mut self.sessions[session as usize];
        state.next_position = state.next_position.max(position);
        state.queue_bytes += u64::from(size_bytes);
        match packet_identifier {
            None => state.queue.push_back(delivery),
            Some(packet) => {
                let exchange = Exchange {
                    position,
                    ..Exchange::volatile(super::deliver::awaiting(qos), Some(delivery))
                };
                state.inflight.restore(packet, exchange);
            }
        }
    }

    fn restore_exchange(
        &mut self,
        id: SessionId,
        packet: nexum_types::PacketIdentifier,
        record: ExchangeRecord,
    ) {
        let Some(session) = self.session_of(id) else {
            return;
        };
        let state = &mut self.sessions[session as usize];
        state.next_position = state.next_position.max(record.position);
        let delivery = if record.released {
            None
        } else {
            // It waited; or it has an identifier of an earlier time, when it was never sent.
            let place = state.place_in_queue(record.position);
            place
                .and_then(|place| state.queue.remove(place))
                .or_else(|| state.take_from_flight(record.position))
        };
        let exchange = match delivery {
            Some(delivery) => {
                Exchange::volatile(super::deliver::awaiting(delivery.qos), Some(delivery))
            }
            // If the delivery is gone its client has the message, and a store that was full took
            // the deletion alone. Whoever remembers the identifier is told to forget it.
            None => Exchange::volatile(Awaiting::PubComp, None),
        };
        let exchange = Exchange {
            position: record.position,
            recorded: true,
            ..exchange
        };
        state.inflight.restore(packet, exchange);
    }

    /// What was in flight is sent again in the order in which it was sent first.
    fn order_exchanges(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        let mut exchanges = state.inflight.extract(|_| true);
        if exchanges.is_empty() {
            return;
        }
        exchanges.sort_by_key(|(_, exchange)| exchange.position);
        let last = exchanges.last().map(|(packet, _)| *packet);
        // Those of groups may have been in flight: their exchange ends when their member leaves.
        let mut plain = state.queue.iter().filter(|it| it.group.is_none());
        let first_waiting = plain.next().map(|delivery| delivery.position);
        for (packet, mut exchange) in exchanges {
            // Behind what waits nothing was sent: the store got its identifier, and not those of the
            // ones before it. Only a retained message for a new subscription does not wait its turn,
            // and its client may know the identifier.
            let is_behind = first_waiting.is_some_and(|first| exchange.position > first)
                && exchange.delivery.as_ref().is_some_and(|it| !it.retain);
            if is_behind && let Some(delivery) = exchange.delivery.take() {
                let place = state
                    .queue
                    .partition_point(|it| it.position < delivery.position);
                state.queue.insert(place, delivery);
                if exchange.recorded
                    && let Some(id) = state.id
                {
                    self.journal.delete(Key::Exchange(id, packet));
                }
            } else {
                state.inflight.restore(packet, exchange);
            }
        }
        if let Some(last) = last {
            state.inflight.begin_after(last);
        }
    }
}
