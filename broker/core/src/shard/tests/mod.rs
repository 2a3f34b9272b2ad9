//! The core as its clients see it: packets in, packets out, the time told.
//!
//! A [`Broker`] is all shards of one with the connections between them; it does what the shell
//! does, without sockets. One behaviour a test, named for the rule.

mod acknowledgements;
mod authenticate;
mod backpressure;
mod bounds;
mod broker;
mod durable;
mod extensions;
mod extensions_kept;
mod keep_alive;
mod kept;
mod packet_size;
mod retained;
mod shared;
mod timers;
mod wills;

use std::num::NonZeroU16;

use nexum_codec::{
    Connect, ConnectProperties, ForwardedProperties, Packet, Publish, PublishDelivery, Subscribe,
    SubscriptionIdentifiers, SubscriptionRequest, SubscriptionRequests, UserProperties, Will,
};
use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, SubscriptionOptions, TopicName,
};

use broker::{Broker, Received};

/// CONNECT of MQTT 5 with Clean Start.
fn connect(client_id: &str) -> Connect<'_> {
    Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// The same for a session that outlives its connection.
fn connect_to_stay(client_id: &str) -> Connect<'_> {
    let mut connect = connect(client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_interval_seconds = Some(u32::MAX);
    connect
}

fn topic(name: &str) -> TopicName<'_> {
    TopicName::new(name).expect("a topic name")
}

fn id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("not zero")
}

fn receive_maximum(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not zero")
}

fn will<'a>(topic_name: &'a str, payload: &'a [u8]) -> Will<'a> {
    Will {
        topic: topic(topic_name),
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval_seconds: 0,
        message_expiry_interval_seconds: None,
        properties: no_properties(),
    }
}

/// PUBLISH; QoS 0 where there is no Packet Identifier, else QoS 1.
fn publish<'a>(
    topic_name: &'a str,
    payload: &'a [u8],
    id: Option<PacketIdentifier>,
) -> Publish<'a> {
    Publish {
        dup: false,
        retain: false,
        delivery: id.map_or(PublishDelivery::AtMostOnce, PublishDelivery::AtLeastOnce),
        topic: Some(topic(topic_name)),
        topic_alias: None,
        message_expiry_interval_seconds: None,
        properties: no_properties(),
        subscription_identifiers: SubscriptionIdentifiers::EMPTY,
        payload,
    }
}

fn request(filter: &str, maximum_qos: QoS) -> SubscriptionRequest<'_> {
    SubscriptionRequest {
        filter,
        options: SubscriptionOptions {
            maximum_qos,
            ..SubscriptionOptions::default()
        },
    }
}

fn subscribe<'a>(requests: &'a [SubscriptionRequest<'a>]) -> Packet<'a> {
    Packet::Subscribe(Subscribe {
        packet_identifier: id(1),
        subscription_identifier: None,
        user_properties: UserProperties::EMPTY,
        requests: SubscriptionRequests::from_slice(requests),
    })
}

fn connack(reason_code: ReasonCode) -> Received {
    Received::ConnAck {
        session_present: false,
        reason_code,
        authentication_data: None,
    }
}

fn no_properties() -> ForwardedProperties<'static> {
    ForwardedProperties::from_encoded(&[]).expect("none breaks no rule")
}
