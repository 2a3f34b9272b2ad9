//! PUBACK, PUBREC, PUBREL and PUBCOMP from clients (sections 3.4 to 3.7 and 4.3).

use nexum_codec::{Acknowledgement, AcknowledgementKind};
use nexum_types::{ReasonCode, Time};

use super::Shard;
use crate::key::ConnectionKey;
use crate::output::ProtocolError;
use crate::session::{Acknowledged, Awaiting, Delivery};

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
            Acknowledged::Completed(delivery) => self.on_completed(session, delivery, now),
            Acknowledged::Mismatch => {
                self.on_protocol_error(key, ProtocolError::AcknowledgementMismatch, now);
            }
            // It may be of an exchange that an earlier connection completed, or that went to
            // another member of a shared subscription.
            Acknowledged::Unknown | Acknowledged::Received(_) => {}
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
            Acknowledged::Completed(delivery) => self.on_completed(session, delivery, now),
            // [MQTT-4.3.3-4] [MQTT3-4.3.3-1]
            Acknowledged::Received(delivery) => {
                if let Some(delivery) = delivery {
                    self.sessions[session as usize].release_bytes(&delivery);
                    self.on_group_delivery_settled(session, &delivery, now);
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
    ) {
        let id = ack.packet_identifier;
        let reason = if self.sessions[session as usize].received.remove(id) {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.send_acknowledgement(key.index, AcknowledgementKind::PubComp, id, reason);
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
            Acknowledged::Completed(delivery) => self.on_completed(session, delivery, now),
            Acknowledged::Mismatch => {
                self.on_protocol_error(key, ProtocolError::AcknowledgementMismatch, now);
            }
            Acknowledged::Unknown | Acknowledged::Received(_) => {}
        }
    }

    /// An exchange is over: its bytes are free, and the next may begin.
    fn on_completed(&mut self, session: u32, delivery: Option<Delivery>, now: Time) {
        if let Some(delivery) = delivery {
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
