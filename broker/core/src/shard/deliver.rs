//! From a publication to one subscriber: sent, or waiting, and sent when there is room.

use nexum_codec::PublishDelivery;
use nexum_types::{Message, QoS, Time};

use super::Shard;
use super::publish::Publication;
use super::put_out::{Form, publish_delivery};
use crate::counters::DropReason;
use crate::key::ConnectionKey;
use crate::output::Event;
use crate::peer::Publisher;
use crate::record::SubscriptionIdentifierList;
use crate::session::{Awaiting, Delivery, Enqueued, Exchange};
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
            let bytes = (parts.topic.as_str().len() + parts.payload.len()) as u64;
            let delivery = if state.is_persistent() || terms.group.is_some() {
                if state.queue_bytes + bytes > self.limits.session_queue_bytes {
                    self.counters.drop_message(DropReason::QueueFull);
                    return self.report_overflow(session, DropReason::QueueFull);
                }
                let delivery = owned_delivery(terms, qos, retain, publication);
                state.queue_bytes += delivery.message.size_bytes() as u64;
                Some(delivery)
            } else {
                None
            };
            let id = state.inflight.begin(Exchange {
                awaiting: awaiting(qos),
                delivery,
            });
            state.quota_used += 1;
            let form = Form {
                delivery: publish_delivery(qos, id),
                dup: false,
                retain,
                identifiers: terms.identifiers,
            };
            self.put_out(key.index, &form, publication, now);
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
        let delivery = owned_delivery(terms, qos, retain, publication);
        self.enqueue(session, delivery, publication.source, now);
    }

    pub(super) fn enqueue(
        &mut self,
        session: u32,
        delivery: Delivery,
        source: Option<Publisher>,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        match state.enqueue(delivery, &self.limits) {
            Enqueued::Waiting => {}
            Enqueued::NearlyFull => self.hold_publisher(session, source, now),
            Enqueued::Full => {
                self.counters.drop_message(DropReason::QueueFull);
                self.report_overflow(session, DropReason::QueueFull);
            }
        }
    }

    fn report_overflow(&mut self, session: u32, reason: DropReason) {
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
        if state.quota_used < state.quota
            && let Some(delivery) = state.queue.pop_front()
        {
            self.send_from_queue(session, key, delivery, now);
            went_on = true;
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
        // [MQTT-3.3.2-5]
        let unfit = if delivery.message.is_expired(now) {
            Some(DropReason::Expired)
        } else {
            let identifiers = &delivery.subscription_identifiers;
            let fits = self.fits_client(
                key.index,
                &delivery.message.parts(),
                delivery.qos,
                identifiers,
                now,
            );
            (!fits).then_some(DropReason::TooLargeForClient)
        };
        if let Some(reason) = unfit {
            self.sessions[session as usize].release_bytes(&delivery);
            return self.counters.drop_message(reason);
        }
        self.send_delivery(session, key, delivery, now);
    }

    /// Sends a delivery whose bytes the session counts, under a new Packet Identifier.
    pub(super) fn send_delivery(
        &mut self,
        session: u32,
        key: ConnectionKey,
        delivery: Delivery,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        let message = std::sync::Arc::clone(&delivery.message);
        let mut publication = Publication::of_message(&message);
        let (qos, retain) = (delivery.qos, delivery.retain);
        let identifiers = delivery.subscription_identifiers.clone();
        let publish_delivery = if qos == QoS::AtMostOnce {
            state.release_bytes(&delivery);
            PublishDelivery::AtMostOnce
        } else {
            let kept = state.is_persistent() || delivery.group.is_some();
            if !kept {
                state.release_bytes(&delivery);
            }
            let exchange = Exchange {
                awaiting: awaiting(qos),
                delivery: kept.then_some(delivery),
            };
            state.quota_used += 1;
            publish_delivery(qos, state.inflight.begin(exchange))
        };
        let form = Form {
            delivery: publish_delivery,
            dup: false,
            retain,
            identifiers: &identifiers,
        };
        self.put_out(key.index, &form, &mut publication, now);
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
        let awaiting = exchange.awaiting;
        let delivery = exchange.delivery.clone();
        state.resend_from = Some(position + 1);
        state.quota_used += 1;
        match (awaiting, delivery) {
            (Awaiting::PubComp, _) => {
                let kind = nexum_codec::AcknowledgementKind::PubRel;
                self.send_acknowledgement(key.index, kind, id, nexum_types::ReasonCode::Success);
            }
            // It was begun when the session was not to outlive its connection.
            (Awaiting::PubAck | Awaiting::PubRec, None) => {
                self.sessions[session as usize].complete(id, awaiting);
            }
            (Awaiting::PubAck | Awaiting::PubRec, Some(delivery)) => {
                let parts = delivery.message.parts();
                let identifiers = &delivery.subscription_identifiers;
                if !self.fits_client(key.index, &parts, delivery.qos, identifiers, now) {
                    // [MQTT-3.1.2-25]: the client takes less than on its last connection; as if it
                    // had completed the exchange.
                    self.counters.drop_message(DropReason::TooLargeForClient);
                    let state = &mut self.sessions[session as usize];
                    state.complete(id, awaiting);
                    state.release_bytes(&delivery);
                    self.on_group_delivery_settled(session, &delivery, now);
                    return true;
                }
                let mut publication = Publication::of_message(&delivery.message);
                let form = Form {
                    delivery: publish_delivery(delivery.qos, id),
                    dup: true,
                    retain: delivery.retain,
                    identifiers,
                };
                self.put_out(key.index, &form, &mut publication, now);
            }
        }
        true
    }
}

fn owned_delivery(
    terms: Terms<'_>,
    qos: QoS,
    retain: bool,
    publication: &mut Publication<'_>,
) -> Delivery {
    Delivery {
        message: publication.message(),
        qos,
        retain,
        subscription_identifiers: SubscriptionIdentifierList::from_slice(terms.identifiers),
        group: terms.group,
    }
}

fn awaiting(qos: QoS) -> Awaiting {
    match qos {
        QoS::ExactlyOnce => Awaiting::PubRec,
        QoS::AtMostOnce | QoS::AtLeastOnce => Awaiting::PubAck,
    }
}
