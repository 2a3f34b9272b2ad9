//! What a peer expects to come next, and small scenes made of sending and expecting.

use std::io::ErrorKind;
use std::time::Duration;

use super::{PATIENCE, Peer, Received, is_closed};
use crate::packet::{
    Ack, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe, Unsuback, Version,
    puback, pubcomp, pubrec, pubrel,
};
use crate::reason;

impl Peer {
    /// Waits for CONNACK, of whatever outcome.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_connack(&mut self) -> Connack {
        match self.recv() {
            Packet::Connack(connack) => connack,
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// Waits for a CONNACK that accepts the connection.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_accepted(&mut self) -> Connack {
        let connack = self.expect_connack();
        assert_eq!(connack.reason, reason::SUCCESS, "refused: {connack:?}");
        connack
    }

    /// Waits for a CONNACK with one of `reasons`, and for the end of the connection.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_refused(&mut self, reasons: &[u8]) -> Connack {
        let connack = self.expect_connack();
        assert!(
            reasons.contains(&connack.reason),
            "refused for another reason than {reasons:02x?}: {connack:?}"
        );
        self.expect_closed();
        connack
    }

    /// Waits for the end of a connection whose CONNECT was malformed. In 3.1.1 no CONNACK may
    /// precede it; in 5 one may, with one of `reasons`.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_malformed_connect_refused(&mut self, reasons: &[u8]) {
        match self.recv_within(PATIENCE) {
            Received::Closed => {}
            Received::Packet(Packet::Connack(connack))
                if self.version == Version::V5 && reasons.contains(&connack.reason) =>
            {
                self.expect_closed();
            }
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }

    /// Waits for PUBLISH and leaves it unacknowledged.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_publish(&mut self) -> Publish {
        match self.recv() {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// Waits for PUBLISH and plays the receiver's part of its QoS to the end.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_message(&mut self) -> Publish {
        let publish = self.expect_publish();
        let identifier = publish.packet_identifier;
        match publish.qos {
            0 => {}
            1 => self.send(puback(identifier)),
            _ => {
                self.send(pubrec(identifier));
                self.expect_pubrel(identifier);
                self.send(pubcomp(identifier));
            }
        }
        publish
    }

    /// Waits for PUBACK of this identifier.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_puback(&mut self, identifier: u16) -> Ack {
        match self.recv_answer("PUBACK") {
            Packet::Puback(ack) if ack.packet_identifier == identifier => ack,
            other => panic!("expected PUBACK {identifier}, got {other:?}"),
        }
    }

    /// Waits for PUBREC of this identifier.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_pubrec(&mut self, identifier: u16) -> Ack {
        match self.recv_answer("PUBREC") {
            Packet::Pubrec(ack) if ack.packet_identifier == identifier => ack,
            other => panic!("expected PUBREC {identifier}, got {other:?}"),
        }
    }

    /// Waits for PUBREL of this identifier.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_pubrel(&mut self, identifier: u16) -> Ack {
        match self.recv_answer("PUBREL") {
            Packet::Pubrel(ack) if ack.packet_identifier == identifier => ack,
            other => panic!("expected PUBREL {identifier}, got {other:?}"),
        }
    }

    /// Waits for PUBCOMP of this identifier.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_pubcomp(&mut self, identifier: u16) -> Ack {
        match self.recv_answer("PUBCOMP") {
            Packet::Pubcomp(ack) if ack.packet_identifier == identifier => ack,
            other => panic!("expected PUBCOMP {identifier}, got {other:?}"),
        }
    }

    /// Waits for SUBACK of this identifier with these Reason Codes.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_suback(&mut self, identifier: u16, reasons: &[u8]) -> Suback {
        match self.recv_answer("SUBACK") {
            Packet::Suback(suback)
                if suback.packet_identifier == identifier && suback.reasons == reasons =>
            {
                suback
            }
            other => panic!("expected SUBACK {identifier} {reasons:02x?}, got {other:?}"),
        }
    }

    /// Waits for UNSUBACK of this identifier; in MQTT 5 with these Reason Codes.
    ///
    /// # Panics
    /// If another answer comes.
    #[track_caller]
    pub fn expect_unsuback(&mut self, identifier: u16, reasons: &[u8]) -> Unsuback {
        match self.recv_answer("UNSUBACK") {
            Packet::Unsuback(unsuback)
                if unsuback.packet_identifier == identifier
                    && (self.version == Version::V311 || unsuback.reasons == reasons) =>
            {
                unsuback
            }
            other => panic!("expected UNSUBACK {identifier} {reasons:02x?}, got {other:?}"),
        }
    }

    /// Waits for the end of the connection, with nothing before it.
    ///
    /// # Panics
    /// If a packet comes, or nothing.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.recv_within(PATIENCE) {
            Received::Closed => {}
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }

    /// Waits for the broker to end the connection because of something the peer did: in MQTT 5 by
    /// a DISCONNECT with one of `reasons`, in 3.1.1 without a word.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_disconnected(&mut self, reasons: &[u8]) {
        if self.version == Version::V5 {
            match self.recv_within(PATIENCE) {
                Received::Packet(Packet::Disconnect(disconnect))
                    if reasons.contains(&disconnect.reason) => {}
                other => panic!("expected DISCONNECT {reasons:02x?}, got {other:?}"),
            }
        }
        self.expect_closed();
    }

    /// Collects everything until the end of the connection.
    ///
    /// # Panics
    /// If the end does not come.
    #[track_caller]
    pub fn recv_until_closed(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.recv_within(PATIENCE) {
                Received::Packet(packet) => packets.push(packet),
                Received::Closed => return packets,
                Received::Nothing => panic!("the connection stays open after {packets:?}"),
            }
        }
    }

    /// Shows that nothing comes for this long. Where an event can be awaited instead, a test
    /// should: [`Peer::expect_ping`], or a message that must come next.
    ///
    /// # Panics
    /// If something comes.
    #[track_caller]
    pub fn expect_nothing_within(&mut self, time: Duration) {
        match self.recv_within(time) {
            Received::Nothing => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }

    /// Shows that the connection works and nothing is under way on it: PINGREQ is answered, and
    /// by nothing else first.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn expect_ping(&mut self) {
        self.send(Packet::Pingreq);
        match self.recv() {
            Packet::Pingresp => {}
            other => panic!("expected PINGRESP, got {other:?}"),
        }
    }

    /// Connects, is accepted.
    ///
    /// # Panics
    /// If the broker refuses.
    #[track_caller]
    pub fn log_in(&mut self, connect: Connect) -> Connack {
        self.send(connect);
        self.expect_accepted()
    }

    /// Subscribes to one filter and is granted what it asked for.
    ///
    /// # Panics
    /// If the broker grants something else.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let identifier = self.next_identifier();
        self.send(Subscribe::new(identifier).filter(filter, options));
        self.expect_suback(identifier, &[options & 0x03]);
    }

    /// Publishes and plays the sender's part of the QoS to the end. Returns the Reason Code.
    ///
    /// # Panics
    /// If the broker refuses the message or answers with something else.
    #[track_caller]
    pub fn publish(&mut self, publish: Publish) -> u8 {
        let (qos, identifier) = (publish.qos, publish.packet_identifier);
        self.send(publish);
        let reason = match qos {
            0 => 0,
            1 => self.expect_puback(identifier).reason,
            _ => {
                let pubrec = self.expect_pubrec(identifier);
                self.send(pubrel(identifier));
                let pubcomp = self.expect_pubcomp(identifier);
                assert_eq!(pubcomp.reason, reason::SUCCESS, "{pubcomp:?}");
                pubrec.reason
            }
        };
        assert!(reason < 0x80, "the message was refused: {reason:#04x}");
        reason
    }

    /// Disconnects in good order and waits until the broker has closed the connection.
    ///
    /// # Panics
    /// If it does not, or says something first.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(Disconnect::normal());
        self.expect_closed();
    }

    /// Ends the connection without DISCONNECT, as a lost network does, and waits until the broker
    /// has noticed. What it still had to say is lost.
    ///
    /// # Panics
    /// If the broker does not notice.
    #[track_caller]
    pub fn cut(mut self) {
        match self.transport.finish() {
            Ok(()) => {}
            Err(error) if is_closed(&error) || error.kind() == ErrorKind::NotConnected => {}
            Err(error) => panic!("cannot end the connection: {error}"),
        }
        loop {
            match self.recv_within(PATIENCE) {
                Received::Packet(_) => {}
                Received::Closed => return,
                Received::Nothing => panic!("the broker does not close its side"),
            }
        }
    }
}
