//! Judges one connection by its bytes in both directions and by nothing else.
//!
//! It is lenient where bytes alone cannot tell: what a client sends while the broker does not
//! read is handled later, so an acknowledgement may come before what it acknowledges.

use std::collections::{BTreeMap, BTreeSet};

use nexum_codec::{
    Acknowledgement, AcknowledgementKind, ConnAck, Connect, Packet, PacketType, Publish,
    PublishDelivery, Split, decode, split_frame,
};
use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode};

#[derive(Default)]
pub struct Witness {
    from_client: Vec<u8>,
    from_broker: Vec<u8>,
    stage: Stage,
    /// Deliveries the broker has in flight to one client, at most.
    maximum_inflight: usize,
    terms: Option<Terms>,
    session_present: bool,
    /// Nothing the client sends counts any more: it broke a rule, or said DISCONNECT.
    client_is_through: bool,
    /// Deliveries that the client has not completed, and what each waits for.
    deliveries: BTreeMap<PacketIdentifier, AcknowledgementKind>,
    /// Acknowledgements of deliveries that had not been sent.
    early: BTreeSet<PacketIdentifier>,
    /// What the broker has been asked and not answered: with the packet type of the answer.
    questions: Vec<(PacketType, u16)>,
    aliases: BTreeSet<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    BeforeConnAck,
    Connected,
    /// The broker has said its last word.
    Over,
}

/// What CONNECT said.
#[derive(Clone, Copy)]
struct Terms {
    version: ProtocolVersion,
    receive_maximum: usize,
    maximum_packet_size: usize,
    topic_alias_maximum: u16,
    has_method: bool,
}

impl Witness {
    pub fn new(maximum_inflight: usize) -> Witness {
        Witness {
            maximum_inflight,
            ..Witness::default()
        }
    }

    /// The broker is about to be given these bytes.
    pub fn client_sends(&mut self, bytes: &[u8]) {
        if self.client_is_through {
            return;
        }
        self.from_client.extend_from_slice(bytes);
        let sent = std::mem::take(&mut self.from_client);
        let mut rest = &sent[..];
        while !self.client_is_through {
            let frame = match split_frame(rest, u32::MAX) {
                Ok(Split::Frame(frame)) => frame,
                Ok(Split::Incomplete { .. }) => break,
                Err(_) => {
                    self.client_is_through = true;
                    break;
                }
            };
            rest = &rest[frame.size..];
            let version = self
                .terms
                .map_or(ProtocolVersion::V3_1_1, |terms| terms.version);
            match (decode(frame, version), self.terms) {
                (Ok(Packet::Connect(connect)), None) => self.terms = Some(Terms::of(&connect)),
                (Ok(packet), Some(_)) => self.client_sends_packet(&packet),
                (Ok(_), None) | (Err(_), _) => self.client_is_through = true,
            }
        }
        self.from_client = rest.to_vec();
    }

    fn client_sends_packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => match publish.delivery {
                PublishDelivery::AtMostOnce => {}
                PublishDelivery::AtLeastOnce(id) => self.ask(PacketType::PubAck, id.value()),
                PublishDelivery::ExactlyOnce(id) => self.ask(PacketType::PubRec, id.value()),
            },
            Packet::Subscribe(subscribe) => {
                self.ask(PacketType::SubAck, subscribe.packet_identifier.value());
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.ask(PacketType::UnsubAck, unsubscribe.packet_identifier.value());
            }
            Packet::PubRel(ack) => self.ask(PacketType::PubComp, ack.packet_identifier.value()),
            Packet::PingReq => self.ask(PacketType::PingResp, 0),
            Packet::PubAck(ack) => self.acknowledge(AcknowledgementKind::PubAck, ack),
            Packet::PubRec(ack) => {
                if !ack.reason_code.is_error() {
                    self.ask(PacketType::PubRel, ack.packet_identifier.value());
                }
                self.acknowledge(AcknowledgementKind::PubRec, ack);
            }
            Packet::PubComp(ack) => self.acknowledge(AcknowledgementKind::PubComp, ack),
            Packet::Auth(_) => {}
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Disconnect(_) => self.client_is_through = true,
        }
    }

    fn acknowledge(&mut self, kind: AcknowledgementKind, ack: &Acknowledgement<'_>) {
        let id = ack.packet_identifier;
        match self.deliveries.get_mut(&id) {
            None => {
                self.early.insert(id);
            }
            Some(awaited) if *awaited != kind => {}
            Some(awaited) => {
                if kind == AcknowledgementKind::PubRec && !ack.reason_code.is_error() {
                    *awaited = AcknowledgementKind::PubComp;
                } else {
                    self.deliveries.remove(&id);
                }
            }
        }
    }

    fn ask(&mut self, answer: PacketType, id: u16) {
        self.questions.push((answer, id));
    }

    /// The broker has handled everything that the client sent, and this witness has seen
    /// everything that came of it.
    pub fn is_up_to_date(&mut self) {
        self.early.clear();
    }

    /// The broker has put these bytes out.
    pub fn broker_sends(&mut self, bytes: &[u8]) {
        self.from_broker.extend_from_slice(bytes);
        let sent = std::mem::take(&mut self.from_broker);
        let mut rest = &sent[..];
        while let Split::Frame(frame) =
            split_frame(rest, u32::MAX).expect("the broker sends packets")
        {
            let packet = decode(frame, self.version_of_broker(rest))
                .unwrap_or_else(|error| panic!("{error}: {}", rest.escape_ascii()));
            rest = &rest[frame.size..];
            self.broker_sends_packet(&packet, frame.size);
        }
        assert!(rest.is_empty(), "the broker puts out whole packets");
    }

    /// A CONNECT that does not decode is refused in the version nearest to it.
    fn version_of_broker(&self, bytes: &[u8]) -> ProtocolVersion {
        match self.terms {
            Some(terms) => terms.version,
            None if bytes.get(1) == Some(&2) => ProtocolVersion::V3_1_1,
            None => ProtocolVersion::V5,
        }
    }

    fn broker_sends_packet(&mut self, packet: &Packet<'_>, size: usize) {
        assert_ne!(self.stage, Stage::Over, "after the end: {packet:?}");
        if let Some(terms) = self.terms {
            // [MQTT-3.1.2-24]
            assert!(
                size <= terms.maximum_packet_size,
                "{size} bytes: {packet:?}"
            );
        }
        match (packet, self.stage) {
            (Packet::ConnAck(ack), Stage::BeforeConnAck) => self.on_conn_ack(ack),
            (Packet::Auth(_), Stage::BeforeConnAck | Stage::Connected) => {
                let has_method = self.terms.is_some_and(|terms| terms.has_method);
                assert!(has_method, "AUTH for a client that named no method");
            }
            (packet, Stage::Connected) => self.on_packet(packet),
            (packet, stage) => panic!("{stage:?}: {packet:?}"),
        }
    }

    fn on_conn_ack(&mut self, ack: &ConnAck<'_>) {
        self.session_present = ack.session_present;
        if ack.reason_code == ReasonCode::Success {
            assert!(self.terms.is_some(), "CONNACK before CONNECT");
            self.stage = Stage::Connected;
        } else {
            assert!(!ack.session_present, "[MQTT-3.2.2-6]");
            self.stage = Stage::Over;
        }
    }

    fn on_packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => self.on_answer(PacketType::PubAck, ack.packet_identifier),
            Packet::PubRec(ack) => self.on_answer(PacketType::PubRec, ack.packet_identifier),
            Packet::PubComp(ack) => self.on_answer(PacketType::PubComp, ack.packet_identifier),
            Packet::PubRel(ack) => {
                let id = ack.packet_identifier;
                let is_asked = self.questions.contains(&(PacketType::PubRel, id.value()));
                // [MQTT-4.4.0-1]: a session's exchanges go on where they were.
                if is_asked || !self.session_present {
                    self.on_answer(PacketType::PubRel, id);
                }
            }
            Packet::SubAck(ack) => self.on_answer(PacketType::SubAck, ack.packet_identifier),
            Packet::UnsubAck(ack) => self.on_answer(PacketType::UnsubAck, ack.packet_identifier),
            Packet::PingResp => self.answer(PacketType::PingResp, 0),
            Packet::Disconnect(_) => {
                let version = self.terms.map(|terms| terms.version);
                assert_eq!(
                    version,
                    Some(ProtocolVersion::V5),
                    "3.1.1 has no DISCONNECT from a server"
                );
                self.stage = Stage::Over;
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Auth(_) => panic!("not from a server, or not now: {packet:?}"),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let terms = self.terms.expect("it is connected");
        match (publish.topic, publish.topic_alias) {
            (Some(_), None) => {}
            (Some(_), Some(alias)) => {
                // [MQTT-3.1.2-26]
                assert!(alias.get() <= terms.topic_alias_maximum, "{publish:?}");
                self.aliases.insert(alias.get());
            }
            (None, Some(alias)) => assert!(self.aliases.contains(&alias.get()), "{publish:?}"),
            (None, None) => panic!("no topic: {publish:?}"),
        }
        // [MQTT-3.3.1-1]: only what an earlier connection may have had.
        assert!(!publish.dup || self.session_present, "{publish:?}");
        let (id, awaited) = match publish.delivery {
            PublishDelivery::AtMostOnce => return,
            PublishDelivery::AtLeastOnce(id) => (id, AcknowledgementKind::PubAck),
            PublishDelivery::ExactlyOnce(id) => (id, AcknowledgementKind::PubRec),
        };
        if self.early.contains(&id) {
            return;
        }
        // [MQTT-2.2.1-3] [MQTT-4.4.0-1]
        let before = self.deliveries.insert(id, awaited);
        assert_eq!(before, None, "the identifier is in use: {publish:?}");
        // [MQTT-3.3.4-9]
        let most = terms.receive_maximum.min(self.maximum_inflight);
        let count = self.deliveries.len();
        assert!(
            count <= most,
            "{count} unacknowledged, {most} allowed: {publish:?}"
        );
    }

    fn on_answer(&mut self, answer: PacketType, id: PacketIdentifier) {
        self.answer(answer, id.value());
    }

    fn answer(&mut self, answer: PacketType, id: u16) {
        let asked = self
            .questions
            .iter()
            .position(|question| *question == (answer, id));
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {answer:?} {id}"));
        self.questions.swap_remove(asked);
    }

    /// The `which`th acknowledgement that a delivery waits for.
    pub fn awaited(
        &self,
        which: impl FnOnce(usize) -> usize,
    ) -> Option<(PacketIdentifier, AcknowledgementKind)> {
        let count = self.deliveries.len();
        let which = (count > 0).then(|| which(count))?;
        self.deliveries
            .iter()
            .nth(which)
            .map(|(id, kind)| (*id, *kind))
    }

    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected && !self.client_is_through
    }

    /// How many packets the broker owes the client.
    pub fn owed(&self) -> usize {
        self.questions.len()
    }

    /// Nothing is left that could still be answered.
    pub fn check_answered(&self) {
        let small = self
            .terms
            .is_some_and(|terms| terms.maximum_packet_size < 100);
        for (answer, id) in &self.questions {
            match answer {
                // One is enough for a QoS 2 PUBLISH that came again while it was owed.
                PacketType::PubRec => {}
                // It may not have fitted.
                PacketType::SubAck | PacketType::UnsubAck if small => {}
                answer => panic!("{answer:?} {id} never came"),
            }
        }
    }
}

impl Terms {
    fn of(connect: &Connect<'_>) -> Terms {
        let properties = &connect.properties;
        Terms {
            version: connect.version,
            receive_maximum: usize::from(properties.receive_maximum.get()),
            maximum_packet_size: properties
                .maximum_packet_size
                .map_or(usize::MAX, |bytes| bytes as usize),
            topic_alias_maximum: properties.topic_alias_maximum,
            has_method: properties.authentication_method.is_some(),
        }
    }
}
