//! From a publication to one subscriber: sent, or waiting, and sent when there is room.

use nexum_codec::{AcknowledgementKind, PublishDelivery};
use nexum_types::{Message, PacketIdentifier, QoS, ReasonCode, Time};

use super::Shard;
use super::publish::Publication;
use super::put_out::{Form, publish_delivery};
use crate::counters::DropReason;
use crate::key::ConnectionKey;
use crate::limits::QueueOverflow;
use crate::output::Event;
use crate::peer::NotKept;
use crate::record::{ExchangeRecord, Key, SubscriptionIdentifierList, Value};
use crate::session::{Acknowledged, Awaiting, Delivery, DeliveryRecorded, Exchange};
use crate::shared_subscription::GroupId;
use crate::subscription::{Subscriber, Subscription};

/// The pump stops when so many bytes wait for the socket…
const PUMP_UNTIL_BYTES: usize = 256 * 1024;
/// …and goes on when so few are left.
const PUMP_AGAIN_BYTES: usize = 64 * 1024;
/// What may wait for one socket while all together hold more than they may.
const CROWDED_BYTES: usize = 64 * 1024;

/// On what terms one subscriber gets a message: those of all its matching subscriptions together.
///
/// A message that matches several subscriptions of a client is delivered once, at the highest of
/// their QoS and with all their Subscription Identifiers ([MQTT-3.3.4-2], -3, -4, [MQTT3-3.3.5-1]).
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) maximum_qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) group: Option<GroupId>,
    pub(super) identifiers: &'a [u32],
}

impl<'a> Terms<'a> {
    /// The terms of one subscription.
    pub(super) fn of(subscription: &'a Subscription) -> Terms<'a> {
        Terms {
            maximum_qos: subscription.maximum_qos(),
            retain_as_published: subscription.retain_as_published(),
            group: None,
            identifiers: subscription.identifiers(),
        }
    }
}

/// The terms of several subscriptions of one session together.
pub(super) struct JointTerms {
    maximum_qos: QoS,
    retain_as_published: bool,
    identifiers: SubscriptionIdentifierList,
}

impl JointTerms {
    /// `None` if none of them is for this message: `own` says that the subscriber is the
    /// publisher, so No Local applies ([MQTT-3.8.3-3]).
    pub(super) fn of(matching: &[(Subscriber, Subscription)], own: bool) -> Option<JointTerms> {
        let mut subscriptions = matching
            .iter()
            .map(|(_, subscription)| subscription)
            .filter(|subscription| !(own && subscription.no_local()))
            .peekable();
        subscriptions.peek()?;
        let mut terms = JointTerms {
            maximum_qos: QoS::AtMostOnce,
            retain_as_published: false,
            identifiers: SubscriptionIdentifierList::new(),
        };
        for subscription in subscriptions {
            terms.maximum_qos = terms.maximum_qos.max(subscription.maximum_qos());
            terms.retain_as_published |= subscription.retain_as_published();
            terms
                .identifiers
                .extend_from_slice(subscription.identifiers());
        }
        // Any order is right; this one does not depend on where the filters happen to be kept.
        terms.identifiers.sort_unstable();
        Some(terms)
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            maximum_qos: self.maximum_qos,
            retain_as_published: self.retain_as_published,
            group: None,
            identifiers: &self.identifiers,
        }
    }
}

impl Shard {
    /// A message for one session.
    pub(super) fn deliver(
        &mut self,
        session: u32,
        terms: Terms<'_>,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let parts = publication.parts;
        let qos = parts.qos.min(terms.maximum_qos);
        // [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT3-3.3.1-9]
        let retain = parts.retain && terms.retain_as_published;
        let most = self.outbound_limit();
        let state = &mut self.sessions[session as usize];
        let Some(key) = state.connection else {
            if qos == QoS::AtMostOnce {
                return self.counters.drop_message(DropReason::Offline);
            }
            return self.wait_in_queue(session, terms, qos, retain, publication, now);
        };
        let pending = self.connections[key.index as usize].outbound.pending();
        if qos == QoS::AtMostOnce {
            if pending >= most {
                self.counters.drop_message(DropReason::SlowConsumer);
                return self.report_overflow(session, DropReason::SlowConsumer);
            }
            let form = Form {
                delivery: PublishDelivery::AtMostOnce,
                dup: false,
                retain,
                identifiers: terms.identifiers,
            };
            self.put_out(key.index, &form, publication, now);
        } else {
            if !state.may_send() || pending >= most {
                return self.wait_in_queue(session, terms, qos, retain, publication, now);
            }
            if !self.fits_client(key.index, &parts, qos, terms.identifiers, now) {
                return self.counters.drop_message(DropReason::TooLargeForClient);
            }
            let state = &mut self.sessions[session as usize];
            if state.is_persistent() || terms.group.is_some() {
                let bytes = (parts.topic.as_str().len() + parts.payload.len()) as u64;
                if state.queue_bytes + bytes > state.bounds(&self.limits).1 {
                    return self.on_session_full(session, publication);
                }
                if !self.may_keep(session, publication) {
                    return;
                }
                let delivery = self.owned_delivery(session, terms, qos, retain, publication);
                self.begin_delivery(session, key, delivery, publication, now);
            } else {
                let exchange = Exchange::volatile(awaiting(qos), None);
                let id = state.inflight.begin(exchange);
                state.quota_used += 1;
                let form = Form {
                    delivery: publish_delivery(qos, id),
                    dup: false,
                    retain,
                    identifiers: terms.identifiers,
                };
                self.put_out(key.index, &form, publication, now);
            }
        }
        if (pending + parts.payload.len()) * 2 > most {
            self.hold_publisher(session, publication.source, now);
        }
    }

    /// How many bytes may wait for one socket now.
    pub(super) fn outbound_limit(&self) -> usize {
        let most = self.limits.outbound_buffer_bytes as usize;
        let total = self.limits.total_outbound_bytes / u64::from(self.shards);
        if self.pool.lent() as u64 <= total {
            most
        } else {
            most.min(CROWDED_BYTES)
        }
    }

    /// Whether the time of a message ran out on its way through the broker ([MQTT-3.3.2-5]).
    pub(super) fn drop_if_expired(&mut self, message: &Message, now: Time) -> bool {
        let expired = message.is_expired(now);
        if expired {
            self.counters.drop_message(DropReason::Expired);
        }
        expired
    }

    fn wait_in_queue(
        &mut self,
        session: u32,
        terms: Terms<'_>,
        qos: QoS,
        retain: bool,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let bytes = publication.message().size_bytes() as u64;
        if !self.make_room(session, bytes) {
            return self.on_session_full(session, publication);
        }
        if !self.may_keep(session, publication) {
            return;
        }
        let mut delivery = self.owned_delivery(session, terms, qos, retain, publication);
        self.record_delivery(session, &mut delivery, publication, None);
        if self.sessions[session as usize].enqueue(delivery, &self.limits) {
            self.hold_publisher(session, publication.source, now);
        }
    }

    /// Whether a session may be given something now: what it would have to keep must not be what
    /// the store refuses. What nobody could be told of is kept all the same, and stored later.
    fn may_keep(&mut self, session: u32, publication: &mut Publication<'_>) -> bool {
        let refuses = self.journal.is_refusing()
            && publication.revocable
            && self.sessions[session as usize].keeps().is_some();
        if refuses {
            publication.refused = Some(NotKept::StoreRefuses);
            self.counters.drop_message(DropReason::StoreRefuses);
            self.report_overflow(session, DropReason::StoreRefuses);
        }
        !refuses
    }

    /// Whether a message of so many bytes may wait in a session; older ones may have to go for it.
    fn make_room(&mut self, session: u32, bytes: u64) -> bool {
        loop {
            let state = &mut self.sessions[session as usize];
            if state.has_room_for(bytes, &self.limits) {
                return true;
            }
            let drops_oldest = state.keeps().is_some()
                && self.limits.persistent_queue_overflow == QueueOverflow::DropOldest
                && bytes <= self.limits.persistent_queue_bytes
                // What is on its way into the store cannot be taken back in time.
                && state.queue.front().is_some_and(|oldest| oldest.stored);
            if !drops_oldest {
                return false;
            }
            if let Some(oldest) = state.queue.pop_front() {
                state.release_bytes(&oldest);
                self.forget_delivery(session, &oldest);
                self.counters.drop_message(DropReason::QueueFull);
                self.report_overflow(session, DropReason::QueueFull);
            }
        }
    }

    fn on_session_full(&mut self, session: u32, publication: &mut Publication<'_>) {
        // An extension would publish it again until there is room, and nobody else would have it.
        let is_of_extension = publication.revocable && publication.source.is_none();
        let refuses =
            self.limits.persistent_queue_overflow == QueueOverflow::Refuse && !is_of_extension;
        if refuses && self.sessions[session as usize].keeps().is_some() {
            publication.refused = Some(NotKept::SessionFull);
        }
        self.counters.drop_message(DropReason::QueueFull);
        self.report_overflow(session, DropReason::QueueFull);
    }

    fn owned_delivery(
        &mut self,
        session: u32,
        terms: Terms<'_>,
        qos: QoS,
        retain: bool,
        publication: &mut Publication<'_>,
    ) -> Delivery {
        let message = publication.message();
        Delivery {
            size_bytes: message.size_bytes() as u32,
            message: Some(message),
            qos,
            retain,
            subscription_identifiers: SubscriptionIdentifierList::from_slice(terms.identifiers),
            group: terms.group,
            position: self.sessions[session as usize].take_position(),
            record: DeliveryRecorded::Nothing,
            stored: false,
        }
    }

    /// Gives a new delivery a Packet Identifier and sends it, at once or as soon as it is stored: a
    /// client remembers the identifier of a QoS 2 delivery, so the broker must not forget it.
    pub(super) fn begin_delivery(
        &mut self,
        session: u32,
        key: ConnectionKey,
        mut delivery: Delivery,
        publication: &mut Publication<'_>,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        state.quota_used += 1;
        let (qos, retain, position) = (delivery.qos, delivery.retain, delivery.position);
        let identifiers = delivery.subscription_identifiers.clone();
        let id = state.inflight.begin(Exchange {
            position,
            ..Exchange::volatile(awaiting(qos), None)
        });
        self.record_delivery(session, &mut delivery, publication, Some(id));
        let state = &mut self.sessions[session as usize];
        // Nobody asks again for what ends with the connection.
        let is_kept = state.is_persistent() || delivery.group.is_some();
        if is_kept {
            state.queue_bytes += u64::from(delivery.size_bytes);
        }
        let is_gated =
            delivery.is_recorded() && (qos == QoS::ExactlyOnce || !state.gates.is_empty());
        if let Some(exchange) = state.inflight.get_mut(id) {
            exchange.gated = is_gated;
            exchange.sent = !is_gated;
            exchange.delivery = is_kept.then_some(delivery);
        }
        if is_gated {
            return self.gate(session, id);
        }
        let form = Form {
            delivery: publish_delivery(qos, id),
            dup: false,
            retain,
            identifiers: &identifiers,
        };
        self.put_out(key.index, &form, publication, now);
    }

    pub(super) fn report_overflow(&mut self, session: u32, reason: DropReason) {
        let state = &mut self.sessions[session as usize];
        if !std::mem::replace(&mut state.overflowing, true) {
            let client_id = state.client_id.shared();
            self.event(Event::QueueOverflow { client_id, reason });
        }
    }

    /// The socket took bytes; `pending` are left.
    pub(super) fn on_drained(&mut self, session: u32, pending: usize, now: Time) {
        if pending < PUMP_AGAIN_BYTES {
            self.pump(session, now);
        }
    }

    /// Sends what waits in a session, as far as quota and socket allow: what was in flight when
    /// the connection was lost, then the queue, and retained messages for new subscriptions.
    pub(super) fn pump(&mut self, session: u32, now: Time) {
        self.send_opened(session, now);
        self.send_arrivals(session, now);
        let state = &self.sessions[session as usize];
        if state.has_backlog() {
            let most = PUMP_UNTIL_BYTES.min(self.outbound_limit());
            while self.has_room_for_pump(session, most) && self.pump_one(session, most, now) {}
        }
        self.drain_groups_of(session, now);
        let most = self.outbound_limit();
        let state = &mut self.sessions[session as usize];
        if (state.overflowing || !state.held_publishers.is_empty())
            && state.has_caught_up(&self.limits)
            && state.connection.is_some_and(|key| {
                let pending = self.connections[key.index as usize].outbound.pending();
                pending * 4 <= most
            })
        {
            state.overflowing = false;
            self.release_publishers(session);
        }
    }

    fn has_room_for_pump(&self, session: u32, most: usize) -> bool {
        self.sessions[session as usize]
            .connection
            .is_some_and(|key| self.connections[key.index as usize].outbound.pending() < most)
    }

    /// One step: what was in flight, or else one from the queue and one that is retained, so that
    /// neither waits for all of the other. False if there is none.
    fn pump_one(&mut self, session: u32, most: usize, now: Time) -> bool {
        let state = &mut self.sessions[session as usize];
        let Some(key) = state.connection else {
            return false;
        };
        if let Some(from) = state.resend_from {
            return self.resend_one(session, key, from, now);
        }
        let mut went_on = false;
        // What is on its way into the store is sent when it is there.
        if state.quota_used < state.quota
            && let Some(next) = state.queue.front()
            && (next.stored || !next.is_recorded())
        {
            if next.message.is_none() {
                self.load_for_session(session);
            } else if let Some(delivery) = state.queue.pop_front() {
                self.load_ahead(session);
                self.send_from_queue(session, key, delivery, now);
                went_on = true;
            }
        }
        // A walk that let others go first goes on at the next timeout, whatever else happens to
        // its session meanwhile: a client must not be able to hasten it.
        if self.sessions[session as usize].wants_replay()
            && !self.unfinished.contains(&self.session_key(session))
            && self.has_room_for_pump(session, most)
        {
            went_on |= self.replay_one(session, key, now);
        }
        went_on
    }

    fn send_from_queue(&mut self, session: u32, key: ConnectionKey, delivery: Delivery, now: Time) {
        let Some(message) = &delivery.message else {
            return;
        };
        // [MQTT-3.3.2-5]
        let unfit = if message.is_expired(now) {
            Some(DropReason::Expired)
        } else {
            let identifiers = &delivery.subscription_identifiers;
            let fits =
                self.fits_client(key.index, &message.parts(), delivery.qos, identifiers, now);
            (!fits).then_some(DropReason::TooLargeForClient)
        };
        if let Some(reason) = unfit {
            self.sessions[session as usize].release_bytes(&delivery);
            self.forget_delivery(session, &delivery);
            self.on_group_delivery_settled(session, &delivery, now);
            return self.counters.drop_message(reason);
        }
        self.send_waiting(session, key, delivery, now);
    }

    /// Loads the next batch while the present one is being sent.
    fn load_ahead(&mut self, session: u32) {
        const AHEAD: usize = 256;
        let state = &self.sessions[session as usize];
        if state.load.is_none()
            && state
                .queue
                .get(AHEAD)
                .is_some_and(|delivery| delivery.message.is_none())
        {
            self.load_for_session(session);
        }
    }

    /// Sends a delivery that has waited, under a new Packet Identifier.
    fn send_waiting(&mut self, session: u32, key: ConnectionKey, delivery: Delivery, now: Time) {
        let Some(message) = delivery.message.clone() else {
            return;
        };
        let state = &mut self.sessions[session as usize];
        let (qos, retain, position) = (delivery.qos, delivery.retain, delivery.position);
        let identifiers = delivery.subscription_identifiers.clone();
        let is_kept = state.is_persistent() || delivery.is_recorded() || delivery.group.is_some();
        let recorded = state.id.filter(|_| delivery.is_recorded());
        if !is_kept {
            state.release_bytes(&delivery);
        }
        state.quota_used += 1;
        let gated = recorded.is_some() && (qos == QoS::ExactlyOnce || !state.gates.is_empty());
        let id = state.inflight.begin(Exchange {
            awaiting: awaiting(qos),
            delivery: is_kept.then_some(delivery),
            position,
            recorded: recorded.is_some(),
            gated,
            sent: !gated,
            feed: None,
        });
        if let Some(session_id) = recorded {
            let record = ExchangeRecord {
                position,
                released: false,
            };
            let key = Key::Exchange(session_id, id);
            self.journal.put(key, Value::Exchange(record));
        }
        if gated {
            return self.gate(session, id);
        }
        if let Some(exchange) = self.sessions[session as usize].inflight.get_mut(id)
            && let Some(delivery) = &mut exchange.delivery
        {
            delivery.unload();
        }
        let form = Form {
            delivery: publish_delivery(qos, id),
            dup: false,
            retain,
            identifiers: &identifiers,
        };
        let mut publication = Publication::of_message(&message);
        self.put_out(key.index, &form, &mut publication, now);
    }

    /// The store has what the next packet of an exchange waited for.
    pub(super) fn send_ungated(&mut self, session: u32, id: PacketIdentifier, now: Time) {
        let state = &mut self.sessions[session as usize];
        let Some(key) = state.connection else {
            return;
        };
        let position = state.inflight.position(id);
        if let (Some(from), Some(position)) = (state.resend_from, position)
            && position >= from
        {
            // The walk comes to it.
            return;
        }
        let Some(exchange) = state.inflight.get_mut(id) else {
            return;
        };
        if exchange.awaiting == Awaiting::PubComp {
            let kind = AcknowledgementKind::PubRel;
            return self.send_acknowledgement(key.index, kind, id, ReasonCode::Success);
        }
        if exchange.sent {
            return;
        }
        if exchange.feed.is_some() {
            return self.send_gated_arrival(session, key, id, now);
        }
        let Some(delivery) = &mut exchange.delivery else {
            return;
        };
        let Some(message) = delivery.message.clone() else {
            // Its client left and came back meanwhile: it is loaded and sent as what is sent again.
            state.resend_from = position;
            return self.pump(session, now);
        };
        if message.is_expired(now) {
            // [MQTT-3.3.2-5]
            let awaiting = exchange.awaiting;
            let expired = self.abandon_exchange(session, id, awaiting);
            if let Some(delivery) = expired {
                self.on_group_delivery_settled(session, &delivery, now);
            }
            return self.counters.drop_message(DropReason::Expired);
        }
        exchange.sent = true;
        delivery.unload();
        let form = Form {
            delivery: publish_delivery(delivery.qos, id),
            dup: false,
            retain: delivery.retain,
            identifiers: &delivery.subscription_identifiers.clone(),
        };
        self.put_out(
            key.index,
            &form,
            &mut Publication::of_message(&message),
            now,
        );
    }

    /// As if the client had completed the exchange.
    pub(super) fn abandon_exchange(
        &mut self,
        session: u32,
        id: PacketIdentifier,
        awaiting: Awaiting,
    ) -> Option<Delivery> {
        let state = &mut self.sessions[session as usize];
        let Acknowledged::Completed(exchange) = state.complete(id, awaiting) else {
            return None;
        };
        if let Some(delivery) = &exchange.delivery {
            state.release_bytes(delivery);
        }
        self.forget_exchange(session, id, &exchange);
        exchange.delivery
    }

    /// [MQTT-4.4.0-1] [MQTT3-4.4.0-1]: with the original Packet Identifiers and DUP, in the order
    /// in which they were sent first ([MQTT-4.6.0-1]).
    fn resend_one(&mut self, session: u32, key: ConnectionKey, from: u64, now: Time) -> bool {
        let state = &mut self.sessions[session as usize];
        let Some((position, id, exchange)) = state.inflight.first_from(from) else {
            state.resend_from = None;
            return true;
        };
        if state.quota_used >= state.quota {
            return false;
        }
        if exchange.gated {
            // It goes on when the store has what this waits for.
            return false;
        }
        let awaiting = exchange.awaiting;
        let delivery = exchange.delivery.clone();
        if delivery.as_ref().is_some_and(|it| it.message.is_none()) {
            self.load_for_session(session);
            return false;
        }
        let dup = exchange.sent;
        state.resend_from = Some(position + 1);
        // Its gate is open, but waits for its turn behind others: what it held back leaves now.
        state.gates.retain(|gate| *gate != id);
        state.quota_used += 1;
        match (awaiting, delivery) {
            (Awaiting::PubComp, _) => {
                let kind = AcknowledgementKind::PubRel;
                self.send_acknowledgement(key.index, kind, id, ReasonCode::Success);
            }
            // It was begun when the session was not to outlive its connection.
            (Awaiting::PubAck | Awaiting::PubRec, None) => {
                self.abandon_exchange(session, id, awaiting);
            }
            (Awaiting::PubAck | Awaiting::PubRec, Some(delivery)) => {
                let Some(message) = &delivery.message else {
                    return false;
                };
                let parts = message.parts();
                let identifiers = &delivery.subscription_identifiers;
                let unfit = if !dup && message.is_expired(now) {
                    // [MQTT-3.3.2-5]: it waited for the store when the connection was lost.
                    Some(DropReason::Expired)
                } else {
                    // [MQTT-3.1.2-25]: the client may take less than on its last connection.
                    let fits = self.fits_client(key.index, &parts, delivery.qos, identifiers, now);
                    (!fits).then_some(DropReason::TooLargeForClient)
                };
                if let Some(reason) = unfit {
                    // As if it had completed the exchange.
                    self.counters.drop_message(reason);
                    self.abandon_exchange(session, id, awaiting);
                    self.on_group_delivery_settled(session, &delivery, now);
                    return true;
                }
                let form = Form {
                    delivery: publish_delivery(delivery.qos, id),
                    dup,
                    retain: delivery.retain,
                    identifiers,
                };
                self.put_out(key.index, &form, &mut Publication::of_message(message), now);
                if let Some(exchange) = self.sessions[session as usize].inflight.get_mut(id) {
                    exchange.sent = true;
                    if let Some(delivery) = &mut exchange.delivery {
                        delivery.unload();
                    }
                }
            }
        }
        true
    }
}

pub(super) fn awaiting(qos: QoS) -> Awaiting {
    match qos {
        QoS::ExactlyOnce => Awaiting::PubRec,
        QoS::AtMostOnce | QoS::AtLeastOnce => Awaiting::PubAck,
    }
}
