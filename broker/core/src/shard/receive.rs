//! Bytes to packets, and packets to their transitions.

use nexum_codec::{
    AcknowledgementKind, DecodeError, Frame, Packet, Split, decode, decode_publish, split_frame,
};
use nexum_types::{ProtocolVersion, Time};

use super::Shard;
use crate::connection::{ConnectionState, Holds};
use crate::key::ConnectionKey;
use crate::output::{DisconnectCause, ProtocolError};
use crate::unhandled::Unhandled;

/// PUBLISH in the upper half of the first byte (section 2.1.2).
const PUBLISH: u8 = 3;
/// CONNECT there.
const CONNECT: u8 = 1;

impl Shard {
    /// Handles `bytes` after what was kept of earlier ones, as far as the connection may go on.
    ///
    /// A whole packet is a sign of life ([MQTT-3.1.2-22], [MQTT3-3.1.2-24]), and so is progress
    /// with a long one, which leaves its client no other way to give one; a byte now and then is
    /// not.
    pub(super) fn take_bytes(&mut self, key: ConnectionKey, mut bytes: &[u8], now: Time) {
        let Some(connection) = self.connection_mut(key) else {
            return;
        };
        if connection.is_closing() {
            return;
        }
        if connection.holds.any() {
            // Nobody looks at them yet: they are taken for packets.
            connection.last_received = now;
            connection.unhandled.extend(bytes);
            return;
        }
        let mut handled_any = false;
        let progress = connection.unhandled.progress();
        if !connection.unhandled.is_empty() {
            let connected = connection.session().is_some();
            let mut kept = std::mem::take(&mut connection.unhandled);
            if connected {
                bytes = self.complete_first_packet(key, &mut kept, bytes);
            } else {
                // CONNECT may move the connection to another shard, with all that came after it.
                kept.extend(bytes);
                bytes = &[];
            }
            let handled = self.handle_packets(key, kept.as_slice(), now);
            kept.advance(handled);
            handled_any = handled > 0;
            if !kept.is_empty() {
                kept.extend(bytes);
                bytes = &[];
                self.keep(key, kept);
            }
        }
        let handled = self.handle_packets(key, bytes, now);
        if handled < bytes.len() {
            let mut kept = Unhandled::default();
            kept.extend(&bytes[handled..]);
            self.keep(key, kept);
        }
        if let Some(connection) = self.connection_mut(key)
            && (handled_any
                || handled > 0
                || connection.holds.any()
                || connection.unhandled.progress() > progress)
        {
            connection.last_received = now;
        }
    }

    /// Moves from `bytes` to `kept` what the first packet in `kept` lacks, so that only that
    /// packet is copied; returns what is left of `bytes`.
    fn complete_first_packet<'a>(
        &mut self,
        key: ConnectionKey,
        kept: &mut Unhandled,
        mut bytes: &'a [u8],
    ) -> &'a [u8] {
        let maximum = self.maximum_packet_size(key);
        while !bytes.is_empty() {
            let lacking = match split_frame(kept.as_slice(), maximum) {
                Ok(Split::Incomplete {
                    needed: Some(needed),
                }) => needed - kept.as_slice().len(),
                // The length itself is incomplete: byte by byte, at most four times.
                Ok(Split::Incomplete { needed: None }) => 1,
                Ok(Split::Frame(_)) | Err(_) => break,
            };
            let (taken, rest) = bytes.split_at(lacking.min(bytes.len()));
            kept.extend(taken);
            bytes = rest;
        }
        bytes
    }

    fn keep(&mut self, key: ConnectionKey, bytes: Unhandled) {
        if let Some(connection) = self.connection_mut(key)
            && !connection.is_closing()
        {
            connection.unhandled = bytes;
        }
    }

    /// Before authentication a client may send so much and no more.
    fn maximum_packet_size(&self, key: ConnectionKey) -> u32 {
        match self.connection(key).map(|connection| &connection.state) {
            Some(ConnectionState::Connected { .. }) => self.limits.maximum_packet_size_bytes,
            Some(
                ConnectionState::AwaitConnect
                | ConnectionState::Authenticating(_)
                | ConnectionState::Closing,
            )
            | None => self
                .limits
                .maximum_packet_size_bytes
                .min(self.limits.authentication_bytes),
        }
    }

    /// Handles the whole packets at the beginning of `bytes`; returns how many bytes they had.
    /// Bytes after the end of the connection count as handled.
    fn handle_packets(&mut self, key: ConnectionKey, bytes: &[u8], now: Time) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let Some(connection) = self.connections.get(key.index as usize) else {
                return bytes.len();
            };
            if connection.generation != key.generation || connection.is_closing() {
                return bytes.len();
            }
            if connection.holds.any() {
                break;
            }
            if connection.outbound.pending() > self.outbound_limit() {
                // It sends and does not read what it is sent: it has to wait for itself.
                self.connections[key.index as usize]
                    .holds
                    .add(Holds::OUTBOUND_FULL);
                break;
            }
            self.journal.divide();
            let connection = &self.connections[key.index as usize];
            let (session, version) = (connection.session(), connection.version);
            let maximum = match session {
                Some(_) => self.limits.maximum_packet_size_bytes,
                None => self.maximum_packet_size(key),
            };
            match split_frame(&bytes[at..], maximum) {
                Ok(Split::Frame(frame)) => {
                    self.counters.packets_received += 1;
                    match session {
                        Some(session) => {
                            let packet = &bytes[at..at + frame.size];
                            self.handle_frame(key, session, version, frame, packet, now);
                        }
                        None => self.handle_first_frame(key, frame, &bytes[at..], now),
                    }
                    at += frame.size;
                }
                Ok(Split::Incomplete { needed: _ }) => break,
                Err(error) => {
                    self.on_malformed(key, error, now);
                    return bytes.len();
                }
            }
        }
        at
    }

    fn on_malformed(&mut self, key: ConnectionKey, error: DecodeError, now: Time) {
        self.counters.protocol_errors += 1;
        self.end_connection(key, DisconnectCause::Malformed(error), now);
    }

    pub(super) fn on_protocol_error(
        &mut self,
        key: ConnectionKey,
        error: ProtocolError,
        now: Time,
    ) {
        self.counters.protocol_errors += 1;
        self.end_connection(key, DisconnectCause::Protocol(error), now);
    }

    /// The packet before a session: CONNECT, or an end ([MQTT-3.1.0-1], [MQTT3-3.1.0-1]).
    fn handle_first_frame(
        &mut self,
        key: ConnectionKey,
        frame: Frame<'_>,
        bytes_from_here: &[u8],
        now: Time,
    ) {
        if let ConnectionState::Authenticating(_) = self.connections[key.index as usize].state {
            return self.handle_frame_of_exchange(key, frame, now);
        }
        if frame.first_byte >> 4 != CONNECT {
            return self.on_protocol_error(key, ProtocolError::FirstPacketNotConnect, now);
        }
        match decode(frame, ProtocolVersion::V3_1_1) {
            Ok(Packet::Connect(connect)) => {
                self.on_connect(key, &connect, bytes_from_here, now);
            }
            Ok(_) => self.on_protocol_error(key, ProtocolError::FirstPacketNotConnect, now),
            Err(error) => self.on_malformed_connect(key, frame.body, error, now),
        }
    }

    /// [MQTT-3.1.2-30]: between CONNECT and CONNACK only AUTH and DISCONNECT.
    fn handle_frame_of_exchange(&mut self, key: ConnectionKey, frame: Frame<'_>, now: Time) {
        match decode(frame, self.connections[key.index as usize].version) {
            Ok(Packet::Auth(auth)) => self.on_auth(key, &auth, now),
            Ok(Packet::Disconnect(disconnect)) => {
                let cause = DisconnectCause::ByClient(disconnect.reason_code);
                self.end_connection(key, cause, now);
            }
            Ok(_) => self.on_protocol_error(key, ProtocolError::AuthNotExpected, now),
            Err(error) => self.on_malformed(key, error, now),
        }
    }

    #[inline]
    fn handle_frame(
        &mut self,
        key: ConnectionKey,
        session: u32,
        version: ProtocolVersion,
        frame: Frame<'_>,
        packet: &[u8],
        now: Time,
    ) {
        if frame.first_byte >> 4 == PUBLISH {
            match decode_publish(frame, version) {
                Ok(publish) => self.on_publish(key, session, &publish, now),
                Err(error) => self.on_malformed(key, error, now),
            }
        } else {
            self.handle_other_frame(key, session, version, frame, packet, now);
        }
    }

    fn handle_other_frame(
        &mut self,
        key: ConnectionKey,
        session: u32,
        version: ProtocolVersion,
        frame: Frame<'_>,
        packet: &[u8],
        now: Time,
    ) {
        let decoded = match decode(frame, version) {
            Ok(decoded) => decoded,
            Err(error) => return self.on_malformed(key, error, now),
        };
        match decoded {
            Packet::PubAck(ack) => self.on_puback(key, session, &ack, now),
            Packet::PubRec(ack) => self.on_pubrec(key, session, &ack, now),
            Packet::PubRel(ack) => self.on_pubrel(key, session, &ack, now),
            Packet::PubComp(ack) => self.on_pubcomp(key, session, &ack, now),
            Packet::Subscribe(subscribe) => {
                self.on_subscribe(key, session, &subscribe, packet, now);
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(key, session, &unsubscribe, now)
            }
            Packet::PingReq => self.on_pingreq(key),
            Packet::Disconnect(disconnect) => self.on_disconnect(key, session, &disconnect, now),
            Packet::Publish(publish) => self.on_publish(key, session, &publish, now),
            // [MQTT-3.1.0-2] [MQTT3-3.1.0-2]
            Packet::Connect(_) => self.on_protocol_error(key, ProtocolError::SecondConnect, now),
            Packet::Auth(auth) => self.on_auth(key, &auth, now),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.on_protocol_error(key, ProtocolError::PacketFromServer, now);
            }
        }
    }

    /// [MQTT-3.12.4-1] [MQTT3-3.12.4-1]
    fn on_pingreq(&mut self, key: ConnectionKey) {
        const PINGRESP: [u8; 2] = [0xD0, 0];
        let connection = &mut self.connections[key.index as usize];
        connection.outbound.append_bytes(&mut self.pool, &PINGRESP);
        self.list_for_transmit(key.index);
    }

    /// Puts PUBACK, PUBREC, PUBREL or PUBCOMP out.
    pub(super) fn send_acknowledgement(
        &mut self,
        index: u32,
        kind: AcknowledgementKind,
        id: nexum_types::PacketIdentifier,
        reason: nexum_types::ReasonCode,
    ) {
        let connection = &mut self.connections[index as usize];
        let version = connection.version;
        connection.outbound.append(&mut self.pool, |out| {
            nexum_codec::encode_acknowledgement(kind, id, reason, version, out);
        });
        self.list_for_transmit(index);
    }

    /// Puts a packet out, without its Reason String if it is too large for the client with it
    /// ([MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1]).
    pub(super) fn send_explained<'a>(
        &mut self,
        index: u32,
        reason_string: Option<&'a str>,
        packet: impl Fn(Option<&'a str>) -> Packet<'a>,
    ) {
        let sent = reason_string.is_some() && self.send_packet(index, &packet(reason_string));
        if !sent {
            self.send_packet(index, &packet(None));
        }
    }

    /// Puts any packet but PUBLISH and the acknowledgements out, unless it is larger than the
    /// client's Maximum Packet Size ([MQTT-3.1.2-24]); returns whether it was sent.
    pub(super) fn send_packet(&mut self, index: u32, packet: &Packet<'_>) -> bool {
        let connection = &mut self.connections[index as usize];
        self.encoded.clear();
        let fits = nexum_codec::encode(packet, connection.version, &mut self.encoded).is_ok()
            && self.encoded.len() <= connection.maximum_packet_size_bytes as usize;
        if fits {
            connection
                .outbound
                .append_bytes(&mut self.pool, &self.encoded);
            self.list_for_transmit(index);
        }
        fits
    }
}
