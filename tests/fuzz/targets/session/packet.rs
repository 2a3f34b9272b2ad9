//! Well-formed packets from clients, each value one of few, so that they meet.

use std::num::NonZeroU16;

use arbitrary::Arbitrary;
use nexum_codec::{
    Acknowledgement, Auth, ConnectProperties, Disconnect, Filters, ForwardedProperties, Packet,
    PublishDelivery, Subscribe, SubscriptionIdentifiers, SubscriptionRequest, SubscriptionRequests,
    Unsubscribe, UserProperties, Will, encode,
};
use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
    TopicName,
};

use crate::operation::Choice;

/// The last is longer than [`crate::world`] allows; an empty one asks for one to be assigned.
const CLIENT_IDS: [&str; 6] = ["a", "b", "c", "d", "", "a longer one"];
/// The last two are refused: reserved, and too deep.
const TOPICS: [&str; 8] = [
    "a",
    "a/b",
    "b/long/enough/for/an/alias",
    "b/b",
    "$x/y",
    "",
    "$SYS/x",
    "a/b/c/d/e/f/g/h",
];
const FILTERS: [&str; 16] = [
    "a",
    "a/b",
    "#",
    "a/#",
    "+",
    "+/b",
    "b/+/enough/#",
    "$x/#",
    "$SYS/#",
    "$share/g/a",
    "$share/g/#",
    "$share/h/+/b",
    "$share//a",
    "a/#/b",
    "a/b/c/d/e/f/g/h",
    "b/b",
];
/// Above 4 KiB, payloads are shared between the connections they go to.
const PAYLOADS: [usize; 6] = [0, 1, 30, 300, 1500, 5000];
/// Payload Format Indicator, Content Type, Response Topic, Correlation Data, User Property.
const PROPERTIES: [&[u8]; 6] = [
    b"",
    b"\x01\0",
    b"\x03\0\x04text",
    b"\x08\0\x01r\x09\0\x02cd",
    b"\x26\0\x03key\0\x01k",
    b"\x26\0\x01u\0\0\x26\0\x01u\0\0",
];
const SECONDS: [u32; 6] = [0, 1, 5, 30, 100, u32::MAX];
const METHODS: [Option<&str>; 4] = [None, None, Some("method"), Some("unknown")];
const REASONS: [ReasonCode; 4] = [
    ReasonCode::Success,
    ReasonCode::Success,
    ReasonCode::UnspecifiedError,
    ReasonCode::QuotaExceeded,
];

#[derive(Arbitrary, Debug)]
pub struct Connect {
    client_id: Choice,
    clean_start: bool,
    keep_alive: Choice,
    expiry: Choice,
    receive_maximum: Choice,
    maximum_packet_size: Choice,
    topic_alias_maximum: Choice,
    information: Choice,
    user_name: Choice,
    method: Choice,
    will: Option<ClientWill>,
}

#[derive(Arbitrary, Debug)]
pub struct ClientWill {
    message: Body,
    delay: Choice,
}

/// What a PUBLISH and a will have in common.
#[derive(Arbitrary, Debug)]
pub struct Body {
    topic: Choice,
    qos: Choice,
    retain: bool,
    expiry: Option<Choice>,
    properties: Choice,
    payload: Choice,
}

#[derive(Arbitrary, Debug)]
pub enum ClientPacket {
    Connect(Connect),
    Publish {
        message: Body,
        id: Choice,
        dup: bool,
        /// 0 is none.
        alias: Choice,
    },
    Subscribe {
        id: Choice,
        identifier: Choice,
        requests: [Option<Request>; 3],
    },
    Unsubscribe {
        id: Choice,
        filters: [Option<Choice>; 2],
    },
    PubAck(Answer),
    PubRec(Answer),
    PubRel(Answer),
    PubComp(Answer),
    PingReq,
    Disconnect {
        reason: Choice,
        expiry: Option<Choice>,
    },
    Auth {
        renews: bool,
        method: Choice,
    },
}

#[derive(Arbitrary, Debug)]
pub struct Request {
    filter: Choice,
    options: Choice,
}

#[derive(Arbitrary, Debug)]
pub struct Answer {
    id: Choice,
    reason: Choice,
}

impl ClientPacket {
    /// Appends the packet as a client of this version sends it.
    pub fn write(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let write = |packet: Packet<'_>, out: &mut Vec<u8>| {
            encode(&packet, version, out).expect("it is small");
        };
        match self {
            ClientPacket::Connect(connect) => connect.write(version, out),
            ClientPacket::Publish {
                message,
                id,
                dup,
                alias,
            } => {
                let topic = message.topic();
                write(
                    Packet::Publish(nexum_codec::Publish {
                        dup: *dup && message.qos() != QoS::AtMostOnce,
                        retain: message.retain,
                        delivery: match message.qos() {
                            QoS::AtMostOnce => PublishDelivery::AtMostOnce,
                            QoS::AtLeastOnce => PublishDelivery::AtLeastOnce(identifier(*id)),
                            QoS::ExactlyOnce => PublishDelivery::ExactlyOnce(identifier(*id)),
                        },
                        // 3.1.1 has no aliases, so a topic name has to be there.
                        topic: match version {
                            ProtocolVersion::V3_1_1 => Some(topic.unwrap_or(first_topic())),
                            ProtocolVersion::V5 => topic,
                        },
                        topic_alias: NonZeroU16::new(alias.of(&[0, 0, 1, 2, 3])),
                        message_expiry_interval_seconds: message.expiry(),
                        properties: message.properties(),
                        subscription_identifiers: SubscriptionIdentifiers::EMPTY,
                        payload: message.payload(),
                    }),
                    out,
                );
            }
            ClientPacket::Subscribe {
                id,
                identifier: subscription,
                requests,
            } => {
                let mut requests: Vec<SubscriptionRequest<'_>> =
                    requests.iter().flatten().map(Request::asked).collect();
                if requests.is_empty() {
                    requests.push(SubscriptionRequest {
                        filter: "#",
                        options: SubscriptionOptions::default(),
                    });
                }
                write(
                    Packet::Subscribe(Subscribe {
                        packet_identifier: identifier(*id),
                        subscription_identifier: subscription.of(&[
                            None,
                            Some(1),
                            Some(268_435_455),
                        ]),
                        user_properties: UserProperties::EMPTY,
                        requests: SubscriptionRequests::from_slice(&requests),
                    }),
                    out,
                );
            }
            ClientPacket::Unsubscribe { id, filters } => {
                let mut filters: Vec<&str> = filters
                    .iter()
                    .flatten()
                    .map(|filter| filter.of(&FILTERS))
                    .collect();
                if filters.is_empty() {
                    filters.push("#");
                }
                write(
                    Packet::Unsubscribe(Unsubscribe {
                        packet_identifier: identifier(*id),
                        user_properties: UserProperties::EMPTY,
                        filters: Filters::from_slice(&filters),
                    }),
                    out,
                );
            }
            ClientPacket::PubAck(answer) => write(Packet::PubAck(answer.acknowledgement()), out),
            ClientPacket::PubRec(answer) => write(Packet::PubRec(answer.acknowledgement()), out),
            ClientPacket::PubRel(answer) => write(Packet::PubRel(answer.release()), out),
            ClientPacket::PubComp(answer) => write(Packet::PubComp(answer.release()), out),
            ClientPacket::PingReq => write(Packet::PingReq, out),
            ClientPacket::Disconnect { reason, expiry } => {
                write(Packet::Disconnect(disconnect(*reason, *expiry)), out);
            }
            ClientPacket::Auth { renews, method } => {
                write(Packet::Auth(auth(*renews, *method)), out)
            }
        }
    }
}

impl Connect {
    pub fn write(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let method = self.method.of(&METHODS);
        let user_name = self.user_name.of(&[None, Some("user")]);
        let packet = Packet::Connect(nexum_codec::Connect {
            version,
            clean_start: self.clean_start,
            keep_alive_seconds: self.keep_alive.of(&[0, 0, 1, 10]),
            client_id: self.client_id.of(&CLIENT_IDS),
            will: self.will.as_ref().map(|will| Will {
                topic: will.message.topic().unwrap_or(first_topic()),
                payload: will.message.payload(),
                qos: will.message.qos(),
                retain: will.message.retain,
                delay_interval_seconds: will.delay.of(&SECONDS),
                message_expiry_interval_seconds: will.message.expiry(),
                properties: will.message.properties(),
            }),
            user_name,
            password: user_name.map(|_| &b"password"[..]),
            properties: ConnectProperties {
                session_expiry_interval_seconds: Some(self.expiry.of(&SECONDS)),
                receive_maximum: NonZeroU16::new(self.receive_maximum.of(&[65_535, 1, 2, 4]))
                    .expect("none is zero"),
                maximum_packet_size: self.maximum_packet_size.of(&[
                    None,
                    Some(1),
                    Some(20),
                    Some(40),
                    Some(400),
                ]),
                topic_alias_maximum: self.topic_alias_maximum.of(&[0, 1, 2, 65_535]),
                request_response_information: self.information.of(&[false, true]),
                request_problem_information: self.information.of(&[true, true, false, false]),
                authentication_method: method,
                authentication_data: method.map(|_| &b"data"[..]),
                ..ConnectProperties::default()
            },
        });
        encode(&packet, version, out).expect("it is small");
    }
}

impl Body {
    /// `None` where an alias is to stand for it.
    fn topic(&self) -> Option<TopicName<'static>> {
        topic(self.topic)
    }

    fn qos(&self) -> QoS {
        self.qos.of(&QoS::ALL)
    }

    fn expiry(&self) -> Option<u32> {
        self.expiry.map(|expiry| expiry.of(&SECONDS))
    }

    fn properties(&self) -> ForwardedProperties<'static> {
        let section = self.properties.of(&PROPERTIES);
        ForwardedProperties::from_encoded(section).expect("each is allowed in PUBLISH")
    }

    fn payload(&self) -> &'static [u8] {
        payload(self.payload)
    }
}

impl Request {
    fn asked(&self) -> SubscriptionRequest<'static> {
        let filter = self.filter.of(&FILTERS);
        SubscriptionRequest {
            filter,
            options: SubscriptionOptions {
                maximum_qos: self.options.of(&QoS::ALL),
                // Forbidden there, and worth a try now and then all the same.
                no_local: self.options.below(7) == 0
                    && (!filter.starts_with("$share") || self.options.below(5) == 0),
                retain_as_published: self.options.of(&[false, true]),
                retain_handling: self.options.of(&[
                    RetainHandling::SendAtSubscribe,
                    RetainHandling::SendAtSubscribe,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ]),
            },
        }
    }
}

impl Answer {
    fn acknowledgement(&self) -> Acknowledgement<'static> {
        acknowledgement(identifier(self.id), self.reason.of(&REASONS))
    }

    /// PUBREL and PUBCOMP have other reason codes.
    fn release(&self) -> Acknowledgement<'static> {
        let reasons = [ReasonCode::Success, ReasonCode::PacketIdentifierNotFound];
        acknowledgement(identifier(self.id), self.reason.of(&reasons))
    }
}

pub fn acknowledgement(
    packet_identifier: PacketIdentifier,
    reason_code: ReasonCode,
) -> Acknowledgement<'static> {
    Acknowledgement {
        packet_identifier,
        reason_code,
        reason_string: None,
        user_properties: UserProperties::EMPTY,
    }
}

fn disconnect(reason: Choice, expiry: Option<Choice>) -> Disconnect<'static> {
    Disconnect {
        reason_code: reason.of(&[ReasonCode::Success, ReasonCode::DisconnectWithWill]),
        session_expiry_interval_seconds: expiry.map(|expiry| expiry.of(&SECONDS)),
        reason_string: None,
        server_reference: None,
        user_properties: UserProperties::EMPTY,
    }
}

fn auth(renews: bool, method: Choice) -> Auth<'static> {
    Auth {
        reason_code: if renews {
            ReasonCode::ReAuthenticate
        } else {
            ReasonCode::ContinueAuthentication
        },
        authentication_method: Some(method.of(&["method", "method", "another"])),
        authentication_data: None,
        reason_string: None,
        user_properties: UserProperties::EMPTY,
    }
}

/// `None` where the alphabet has the empty one.
pub fn topic(choice: Choice) -> Option<TopicName<'static>> {
    TopicName::new(choice.of(&TOPICS)).ok()
}

/// Every topic that is published to on purpose.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.into_iter().filter(|topic| !topic.is_empty())
}

pub fn payload(choice: Choice) -> &'static [u8] {
    const LONGEST: [u8; 5000] = [b'p'; 5000];
    &LONGEST[..choice.of(&PAYLOADS)]
}

fn identifier(choice: Choice) -> PacketIdentifier {
    PacketIdentifier::new(choice.of(&[1, 2, 3, 4, 5, 6, 65_535])).expect("none is zero")
}

fn first_topic() -> TopicName<'static> {
    TopicName::new(TOPICS[0]).expect("a topic name")
}
