//! PUBACK, PUBREC, PUBREL and PUBCOMP from clients (sections 3.4 to 3.7 and 4.3).

use nexum_codec::{Acknowledgement, AcknowledgementKind};
use nexum_extension_api::Outcome;
use nexum_types::{PacketIdentifier, ReasonCode, Time};

use super::Shard;
use super::publish::Published;
use crate::key::ConnectionKey;
use crate::output::ProtocolError;
use crate::record::{ExchangeRecord, Key, Value};
use crate::session::{Acknowledged, Awaiting, Delivery, Exchange, FeedDelivery};

impl Shard {
    /// Ends a QoS 1 delivery, whatever its reason code ([MQTT-4.4.0-2]).
    pub(super) fn on_puback(
        &mut self,
        key: ConnectionKey,
        session: u32,
        ack: &Acknowledgement<'_>,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        match state.complete(ack.packet_identifier, Awaiting::PubAck) {
            Acknowledged::Completed(exchange) => {
                let outcome = outcome(ack.reason_code);
                self.on_completed(session, ack.packet_identifier, exchange, outcome, now);
            }
            Acknowledged::Mismatch => {
                self.on_protocol_error(key, ProtocolError::AcknowledgementMismatch, now);
            }
            // It may be of an exchange that an earlier connection completed, or that went to
            // another member of a shared subscription.
            Acknowledged::Unknown | Acknowledged::Received { .. } => {}
        }
    }

    pub(super) fn on_pubrec(
        &mut self,
        key: ConnectionKey,
        session: u32,
        ack: &Acknowledgement<'_>,
        now: Time,
    ) {
        let id = ack.packet_identifier;
        let state = &mut self.sessions[session as usize];
        let acknowledged = if ack.reason_code.is_error() {
            state.complete(id, Awaiting::PubRec)
        } else {
            state.inflight.receive(id)
        };
        match acknowledged {
            // [MQTT-4.9.0-2]: an error ends the exchange and gives the quota back.
            Acknowledged::Completed(exchange) => {
                let outcome = outcome(ack.reason_code);
                self.on_completed(session, ack.packet_identifier, exchange, outcome, now);
            }
            // [MQTT-4.3.3-4] [MQTT3-4.3.3-1]
            Acknowledged::Received { delivery } => {
                if let Some(delivery) = delivery {
                    let is_gated = self.on_released(session, id, &delivery);
                    self.on_group_delivery_settled(session, &delivery, now);
                    if is_gated {
                        return;
                    }
                } else if self.sessions[session as usize].is_gated(id) {
                    return;
                }
                let state = &mut self.sessions[session as usize];
                if !state.gates.is_empty() {
                    // [MQTT-4.6.0-4]: after those that wait for the store.
                    return state.gates.push_back(id);
                }
                let kind = AcknowledgementKind::PubRel;
                self.send_acknowledgement(key.index, kind, id, ReasonCode::Success);
            }
            // [MQTT-4.3.3-4]: PUBREL answers a PUBREC without an error.
            Acknowledged::Unknown if ack.reason_code.is_error() => {}
            Acknowledged::Unknown => {
                let kind = AcknowledgementKind::PubRel;
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.send_acknowledgement(key.index, kind, id, reason);
            }
            Acknowledged::Mismatch => {
                self.on_protocol_error(key, ProtocolError::AcknowledgementMismatch, now);
            }
        }
    }

    /// [MQTT-4.3.3-11] [MQTT3-4.3.3-2]
    pub(super) fn on_pubrel(
        &mut self,
        key: ConnectionKey,
        session: u32,
        ack: &Acknowledgement<'_>,
        now: Time,
    ) {
        let id = ack.packet_identifier;
        let was_there = self.sessions[session as usize]
            .received
            .get_mut(id)
            .is_some();
        let kind = AcknowledgementKind::PubComp;
        // It may be gone here, and in the store still.
        let is_forgotten = self.sessions[session as usize].id.is_none()
            || self.journal.unanswered() == 0 && !self.journal.is_refusing();
        if !was_there && is_forgotten {
            let reason = ReasonCode::PacketIdentifierNotFound;
            return self.send_acknowledgement(key.index, kind, id, reason);
        }
        // It asks for PUBREC no more.
        let asked = self.sessions[session as usize].received.asked_again(id);
        if let Some(receipt) = asked {
            self.settle(receipt, None, now);
        }
        // The client uses the identifier again after PUBCOMP; if the store had it still after a
        // crash, what comes under it would be taken for a repetition.
        let mut published = Published {
            matched: true,
            ..Published::default()
        };
        let receipt = self.next_receipt(key);
        if !was_there || self.forget_received(session, id) {
            published.receipts = 1;
            self.journal.waiters().receipts.push(receipt);
        }
        self.owe(key, kind, id, published, now);
    }

    pub(super) fn on_pubcomp(
        &mut self,
        key: ConnectionKey,
        session: u32,
        ack: &Acknowledgement<'_>,
        now: Time,
    ) {
        let state = &mut self.sessions[session as usize];
        match state.complete(ack.packet_identifier, Awaiting::PubComp) {
            Acknowledged::Completed(exchange) => {
                let outcome = outcome(ack.reason_code);
                self.on_completed(session, ack.packet_identifier, exchange, outcome, now);
            }
            Acknowledged::Mismatch => {
                self.on_protocol_error(key, ProtocolError::AcknowledgementMismatch, now);
            }
            Acknowledged::Unknown | Acknowledged::Received { .. } => {}
        }
    }

    /// The client has the message of a QoS 2 delivery. Returns whether the store has to know before
    /// PUBREL leaves: sent again after it, the message would come twice.
    fn on_released(&mut self, session: u32, id: PacketIdentifier, delivery: &Delivery) -> bool {
        let state = &mut self.sessions[session as usize];
        state.release_bytes(delivery);
        let Some(session_id) = state.id.filter(|_| delivery.is_recorded()) else {
            return false;
        };
        if let Some(exchange) = state.inflight.get_mut(id) {
            exchange.recorded = true;
            exchange.gated = true;
        }
        let record = ExchangeRecord {
            position: delivery.position,
            released: true,
        };
        self.forget_delivery(session, delivery);
        let replaced = Key::Delivery(session_id, delivery.position);
        self.journal.bind(replaced);
        let key = Key::Exchange(session_id, id);
        self.journal.put(key, Value::Exchange(record));
        self.gate(session, id);
        true
    }

    /// An exchange is over: its bytes are free, and the next may begin.
    fn on_completed(
        &mut self,
        session: u32,
        id: PacketIdentifier,
        exchange: Exchange,
        outcome: Outcome,
        now: Time,
    ) {
        self.forget_exchange(session, id, &exchange);
        if let Some(FeedDelivery {
            extension,
            delivery,
        }) = exchange.feed
        {
            let key = self.session_key(session);
            self.settle_delivery(key, extension, delivery, outcome);
        }
        if let Some(delivery) = exchange.delivery {
            self.sessions[session as usize].release_bytes(&delivery);
            self.on_group_delivery_settled(session, &delivery, now);
        }
        let state = &self.sessions[session as usize];
        if state.has_backlog()
            || !state.held_publishers.is_empty()
            // What waits in its groups may have waited for this.
            || !state.shared_subscriptions.is_empty()
        {
            self.pump(session, now);
        }
    }
}

/// What an extension is told of an acknowledgement.
fn outcome(reason_code: ReasonCode) -> Outcome {
    if reason_code.is_error() {
        Outcome::Refused(reason_code)
    } else {
        Outcome::Done
    }
}
