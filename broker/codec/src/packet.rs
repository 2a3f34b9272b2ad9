//! One packet model for MQTT 3.1.1 and 5.
//!
//! A decoded packet borrows the bytes it was read from and allocates nothing: strings and binary
//! data are slices, lists and user properties are iterators over bytes that were checked when the
//! packet was decoded. What 3.1.1 lacks is absent (`None`, empty), so nothing above the codec
//! asks for the version.

#![allow(
    missing_docs,
    reason = "fields and variants are named as sections 2 and 3 name them"
)]

use std::fmt;
use std::num::NonZeroU16;

use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, SubscriptionOptions, TopicName,
};

use crate::property::{ForwardedProperties, SubscriptionIdentifiers, UserProperties};
use crate::reason_codes::ReasonCodes;
use crate::subscribe::SubscriptionRequests;
use crate::unsubscribe::Filters;

/// Any control packet (section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Acknowledgement<'a>),
    PubRec(Acknowledgement<'a>),
    PubRel(Acknowledgement<'a>),
    PubComp(Acknowledgement<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// CONNECT (section 3.1). `Debug` does not show the password.
#[derive(Clone, Copy, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    /// 3.1.1 calls it Clean Session.
    pub clean_start: bool,
    /// 0 turns the mechanism off.
    pub keep_alive_seconds: u16,
    /// Empty when the client asks the server to assign one.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT (MQTT 5 section 3.1.2.11), with their defaults where absent. `Debug`
/// does not show the authentication data.
#[derive(Clone, Copy, PartialEq)]
pub struct ConnectProperties<'a> {
    /// `None` if absent (which means 0 on MQTT 5); 3.1.1 carries none: there Clean Session 0
    /// means that the session does not expire by the protocol's own clock.
    pub session_expiry_interval_seconds: Option<u32>,
    /// 65,535 if absent.
    pub receive_maximum: NonZeroU16,
    /// No limit if absent.
    pub maximum_packet_size: Option<u32>,
    /// 0 if absent: the server must send no alias.
    pub topic_alias_maximum: u16,
    /// False if absent.
    pub request_response_information: bool,
    /// True if absent.
    pub request_problem_information: bool,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The Will of a CONNECT (sections 3.1.2.5 and 3.1.3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Will<'a> {
    pub topic: TopicName<'a>,
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    /// 0 if absent.
    pub delay_interval_seconds: u32,
    pub message_expiry_interval_seconds: Option<u32>,
    /// The properties that go into the published Will Message, still encoded and in order: all
    /// but Will Delay Interval and Message Expiry Interval. (See [`Publish::properties`].)
    pub properties: ForwardedProperties<'a>,
}

/// CONNACK (section 3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    /// Encoded as a return code on 3.1.1: see [`crate::return_code`].
    pub reason_code: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// The properties of CONNACK (MQTT 5 section 3.2.2.3); `None` is absent and stands for the
/// default of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval_seconds: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive_seconds: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// PUBLISH (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub retain: bool,
    /// The QoS with the Packet Identifier it needs.
    pub delivery: PublishDelivery,
    /// `None` when a Topic Alias stands for it (a zero-length topic name).
    pub topic: Option<TopicName<'a>>,
    pub topic_alias: Option<NonZeroU16>,
    pub message_expiry_interval_seconds: Option<u32>,
    /// What a server passes on unaltered and in order: all properties but Topic Alias, Message
    /// Expiry Interval and Subscription Identifier ([MQTT-3.3.2-4], -15, -16, -17, -18, -20).
    pub properties: ForwardedProperties<'a>,
    /// Only from a server; a client that sends one is refused by the connection
    /// ([MQTT-3.3.4-6]), not by the codec.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    pub payload: &'a [u8],
}

/// A QoS level and what it needs: a Packet Identifier exactly when the QoS is above 0
/// ([MQTT-2.2.1-2], [MQTT3-2.3.1-5]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishDelivery {
    AtMostOnce,
    AtLeastOnce(PacketIdentifier),
    ExactlyOnce(PacketIdentifier),
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Acknowledgement<'a> {
    pub packet_identifier: PacketIdentifier,
    /// Success on 3.1.1 and in the two- and three-byte forms of MQTT 5.
    pub reason_code: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub packet_identifier: PacketIdentifier,
    /// 1 to 268,435,455.
    pub subscription_identifier: Option<u32>,
    pub user_properties: UserProperties<'a>,
    pub requests: SubscriptionRequests<'a>,
}

/// One filter of a SUBSCRIBE with its options. The filter is UTF-8, not empty and without null
/// character; whether it is a valid topic filter the connection decides, since each filter has an
/// answer of its own in SUBACK.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubscriptionRequest<'a> {
    pub filter: &'a str,
    pub options: SubscriptionOptions,
}

/// SUBACK (section 3.9). 3.1.1 knows 0, 1, 2 and 0x80 only: an error becomes 0x80 on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub packet_identifier: PacketIdentifier,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub reason_codes: ReasonCodes<'a>,
}

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub packet_identifier: PacketIdentifier,
    pub user_properties: UserProperties<'a>,
    pub filters: Filters<'a>,
}

/// UNSUBACK (section 3.11). On 3.1.1 the reason codes are empty when decoded and left out when
/// encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    pub packet_identifier: PacketIdentifier,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub reason_codes: ReasonCodes<'a>,
}

/// DISCONNECT (section 3.14).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disconnect<'a> {
    pub reason_code: ReasonCode,
    pub session_expiry_interval_seconds: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// AUTH (MQTT 5 section 3.15). `Debug` does not show the authentication data.
#[derive(Clone, Copy, PartialEq)]
pub struct Auth<'a> {
    pub reason_code: ReasonCode,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// Bytes that no log may show.
struct Secret<'a>(&'a [u8]);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_seconds", &self.keep_alive_seconds)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(Secret))
            .field("properties", &self.properties)
            .finish()
    }
}

impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field(
                "session_expiry_interval_seconds",
                &self.session_expiry_interval_seconds,
            )
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field(
                "request_response_information",
                &self.request_response_information,
            )
            .field(
                "request_problem_information",
                &self.request_problem_information,
            )
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &self.authentication_data.map(Secret))
            .field("user_properties", &self.user_properties)
            .finish()
    }
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason_code", &self.reason_code)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &self.authentication_data.map(Secret))
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}
