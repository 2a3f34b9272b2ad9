//! Valid packets of either version.

use std::num::NonZeroU16;

use super::values::{
    binaries, filters, leak, leaked, names, packet_identifiers, qos, reason_codes, texts,
    topic_names, user_properties, variable_byte_integers,
};
use nexum_codec::{
    Acknowledgement, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect,
    Filters, ForwardedProperties, Packet, PacketType, PropertyIdentifier, Publish, PublishDelivery,
    ReasonCodes, SubAck, Subscribe, SubscriptionIdentifiers, SubscriptionRequest,
    SubscriptionRequests, UnsubAck, Unsubscribe, UserProperties, Will,
};
use nexum_types::{
    PacketIdentifier, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any packet that the version has.
pub(crate) fn packets(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let both = prop_oneof![
        3 => connects(version),
        2 => conn_acks(version),
        4 => publishes(version),
        3 => acknowledgements(version),
        3 => subscribes(version),
        2 => sub_acks(version),
        2 => unsubscribes(version),
        2 => unsub_acks(version),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        2 => disconnects(version),
    ];
    match version {
        ProtocolVersion::V3_1_1 => both.boxed(),
        ProtocolVersion::V5 => prop_oneof![12 => both, 1 => auths()].boxed(),
    }
}

/// A property section as a PUBLISH or a Will holds it, written here and not by the codec.
fn forwarded_properties() -> BoxedStrategy<ForwardedProperties<'static>> {
    let string = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let id = |identifier: PropertyIdentifier| vec![identifier.value()];
    let content_type = texts().prop_map(string);
    let response_topic = topic_names().prop_map(move |topic| string(topic.as_str()));
    let correlation =
        binaries().prop_map(|bytes| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat());
    let format = any::<bool>().prop_map(|is_utf8| vec![u8::from(is_utf8)]);
    let user = (texts(), texts()).prop_map(move |(n, v)| {
        [id(PropertyIdentifier::UserProperty), string(n), string(v)].concat()
    });
    let once = |identifier, value: BoxedStrategy<Vec<u8>>| {
        option::of(value.prop_map(move |value| [id(identifier), value].concat()))
    };
    let unique = (
        once(PropertyIdentifier::ContentType, content_type.boxed()),
        once(PropertyIdentifier::ResponseTopic, response_topic.boxed()),
        once(PropertyIdentifier::CorrelationData, correlation.boxed()),
        once(PropertyIdentifier::PayloadFormatIndicator, format.boxed()),
        // Not forwarded: a section may hold it all the same.
        once(
            PropertyIdentifier::MessageExpiryInterval,
            Just(vec![0, 0, 0, 1]).boxed(),
        ),
    );
    (unique, vec(user, 0..3))
        .prop_map(|((a, b, c, d, e), users)| {
            let mut all: Vec<Vec<u8>> = [a, b, c, d, e].into_iter().flatten().collect();
            all.extend(users);
            all
        })
        .prop_shuffle()
        .prop_map(|properties| {
            let section = leak(properties.concat().into_boxed_slice());
            ForwardedProperties::from_encoded(section).expect("a valid section")
        })
        .boxed()
}

fn connects(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let properties = match version {
        ProtocolVersion::V3_1_1 => Just(ConnectProperties::default()).boxed(),
        ProtocolVersion::V5 => connect_properties(),
    };
    (
        (any::<bool>(), any::<u16>(), names()),
        option::of(wills(version)),
        option::of(names()),
        option::of(binaries()),
        properties,
    )
        .prop_map(
            move |(
                (clean_start, keep_alive_seconds, client_id),
                will,
                user_name,
                password,
                properties,
            )| {
                // [MQTT3-3.1.2-22]
                let password =
                    password.filter(|_| version == ProtocolVersion::V5 || user_name.is_some());
                Packet::Connect(Connect {
                    version,
                    clean_start,
                    keep_alive_seconds,
                    client_id,
                    will,
                    user_name,
                    password,
                    properties,
                })
            },
        )
        .boxed()
}

fn connect_properties() -> BoxedStrategy<ConnectProperties<'static>> {
    (
        (
            option::of(any::<u32>()),
            any::<NonZeroU16>(),
            option::of(1..=u32::MAX),
            any::<u16>(),
        ),
        (any::<bool>(), any::<bool>()),
        option::of((texts(), option::of(binaries()))),
        user_properties(),
    )
        .prop_map(
            |(numbers, requests, authentication, user_properties)| ConnectProperties {
                session_expiry_interval_seconds: numbers.0,
                receive_maximum: numbers.1,
                maximum_packet_size: numbers.2,
                topic_alias_maximum: numbers.3,
                request_response_information: requests.0,
                request_problem_information: requests.1,
                authentication_method: authentication.map(|(method, _)| method),
                authentication_data: authentication.and_then(|(_, data)| data),
                user_properties,
            },
        )
        .boxed()
}

fn wills(version: ProtocolVersion) -> BoxedStrategy<Will<'static>> {
    let properties = match version {
        ProtocolVersion::V3_1_1 => Just((0, None, ForwardedProperties::default())).boxed(),
        ProtocolVersion::V5 => (
            any::<u32>(),
            option::of(any::<u32>()),
            forwarded_properties(),
        )
            .boxed(),
    };
    (topic_names(), binaries(), qos(), any::<bool>(), properties)
        .prop_map(
            |(topic, payload, qos, retain, (delay, expiry, properties))| Will {
                topic,
                payload,
                qos,
                retain,
                delay_interval_seconds: delay,
                message_expiry_interval_seconds: expiry,
                properties,
            },
        )
        .boxed()
}

fn conn_acks(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let (reason_code, properties) = match version {
        ProtocolVersion::V3_1_1 => (
            select(vec![
                ReasonCode::Success,
                ReasonCode::UnsupportedProtocolVersion,
                ReasonCode::ClientIdentifierNotValid,
                ReasonCode::ServerUnavailable,
                ReasonCode::BadUserNameOrPassword,
                ReasonCode::NotAuthorized,
            ])
            .boxed(),
            Just(ConnAckProperties::default()).boxed(),
        ),
        ProtocolVersion::V5 => (reason_codes(PacketType::ConnAck), conn_ack_properties()),
    };
    (any::<bool>(), reason_code, properties)
        .prop_map(|(session_present, reason_code, properties)| {
            // [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
            let session_present = session_present && reason_code == ReasonCode::Success;
            Packet::ConnAck(ConnAck {
                session_present,
                reason_code,
                properties,
            })
        })
        .boxed()
}

fn conn_ack_properties() -> BoxedStrategy<ConnAckProperties<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(select(vec![QoS::AtMostOnce, QoS::AtLeastOnce])),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let flags = prop::array::uniform4(option::of(any::<bool>()));
    let strings = prop::array::uniform5(option::of(texts()));
    (
        numbers,
        flags,
        strings,
        option::of(binaries()),
        user_properties(),
    )
        .prop_map(
            |(numbers, flags, strings, data, user_properties)| ConnAckProperties {
                session_expiry_interval_seconds: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos: numbers.2,
                retain_available: flags[0],
                maximum_packet_size: numbers.3,
                assigned_client_identifier: strings[0],
                topic_alias_maximum: numbers.4,
                reason_string: strings[1],
                wildcard_subscription_available: flags[1],
                subscription_identifiers_available: flags[2],
                shared_subscription_available: flags[3],
                server_keep_alive_seconds: numbers.5,
                response_information: strings[2],
                server_reference: strings[3],
                authentication_method: strings[4],
                authentication_data: data,
                user_properties,
            },
        )
        .boxed()
}

pub(crate) fn publishes(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let delivery = (qos(), packet_identifiers()).prop_map(|(qos, id)| match qos {
        QoS::AtMostOnce => PublishDelivery::AtMostOnce,
        QoS::AtLeastOnce => PublishDelivery::AtLeastOnce(id),
        QoS::ExactlyOnce => PublishDelivery::ExactlyOnce(id),
    });
    let payload = prop_oneof![4 => binaries(), 1 => leaked(vec(any::<u8>(), 100..20_000))];
    let common = (
        any::<bool>(),
        any::<bool>(),
        delivery,
        topic_names(),
        payload,
    );
    let plain = common.prop_map(|(dup, retain, delivery, topic, payload)| Publish {
        // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
        dup: dup && delivery != PublishDelivery::AtMostOnce,
        retain,
        delivery,
        topic: Some(topic),
        topic_alias: None,
        message_expiry_interval_seconds: None,
        properties: ForwardedProperties::default(),
        subscription_identifiers: SubscriptionIdentifiers::EMPTY,
        payload,
    });
    if version == ProtocolVersion::V3_1_1 {
        return plain.prop_map(Packet::Publish).boxed();
    }
    let properties = (
        option::of(any::<NonZeroU16>()),
        option::of(any::<u32>()),
        forwarded_properties(),
        leaked(vec(variable_byte_integers(), 0..4)),
        any::<bool>(),
    );
    (plain, properties)
        .prop_map(
            |(plain, (alias, expiry, properties, identifiers, alias_alone))| {
                Packet::Publish(Publish {
                    topic: plain.topic.filter(|_| alias.is_none() || !alias_alone),
                    topic_alias: alias,
                    message_expiry_interval_seconds: expiry,
                    properties,
                    subscription_identifiers: SubscriptionIdentifiers::from_slice(identifiers),
                    ..plain
                })
            },
        )
        .boxed()
}

fn acknowledgements(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let of = move |packet_type, packet: fn(Acknowledgement<'static>) -> Packet<'static>| {
        let rest = match version {
            ProtocolVersion::V3_1_1 => {
                Just((ReasonCode::Success, None, UserProperties::EMPTY)).boxed()
            }
            ProtocolVersion::V5 => (
                reason_codes(packet_type),
                option::of(texts()),
                user_properties(),
            )
                .boxed(),
        };
        (packet_identifiers(), rest).prop_map(
            move |(packet_identifier, (reason_code, reason_string, user_properties))| {
                packet(Acknowledgement {
                    packet_identifier,
                    reason_code,
                    reason_string,
                    user_properties,
                })
            },
        )
    };
    prop_oneof![
        of(PacketType::PubAck, Packet::PubAck),
        of(PacketType::PubRec, Packet::PubRec),
        of(PacketType::PubRel, Packet::PubRel),
        of(PacketType::PubComp, Packet::PubComp),
    ]
    .boxed()
}

fn subscribes(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let v5 = version == ProtocolVersion::V5;
    let handling = select(vec![
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(maximum_qos, no_local, retain_as_published, retain_handling)| {
            let plain = SubscriptionOptions {
                maximum_qos,
                ..SubscriptionOptions::default()
            };
            if v5 {
                SubscriptionOptions {
                    no_local,
                    retain_as_published,
                    retain_handling,
                    ..plain
                }
            } else {
                plain
            }
        },
    );
    let request =
        (filters(), options).prop_map(|(filter, options)| SubscriptionRequest { filter, options });
    let properties = if v5 {
        (option::of(variable_byte_integers()), user_properties()).boxed()
    } else {
        Just((None, UserProperties::EMPTY)).boxed()
    };
    (packet_identifiers(), properties, leaked(vec(request, 1..5)))
        .prop_map(
            |(packet_identifier, (subscription_identifier, user_properties), requests)| {
                Packet::Subscribe(Subscribe {
                    packet_identifier,
                    subscription_identifier,
                    user_properties,
                    requests: SubscriptionRequests::from_slice(requests),
                })
            },
        )
        .boxed()
}

/// Packet Identifier, Reason String and User Properties.
type AnswerParts = (
    PacketIdentifier,
    Option<&'static str>,
    UserProperties<'static>,
);

fn answers(version: ProtocolVersion) -> BoxedStrategy<AnswerParts> {
    match version {
        ProtocolVersion::V3_1_1 => packet_identifiers()
            .prop_map(|id| (id, None, UserProperties::EMPTY))
            .boxed(),
        ProtocolVersion::V5 => {
            (packet_identifiers(), option::of(texts()), user_properties()).boxed()
        }
    }
}

fn sub_acks(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let code = match version {
        // [MQTT3-3.9.3-2]
        ProtocolVersion::V3_1_1 => select(vec![
            ReasonCode::Success,
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS2,
            ReasonCode::UnspecifiedError,
        ])
        .boxed(),
        ProtocolVersion::V5 => reason_codes(PacketType::SubAck),
    };
    (answers(version), leaked(vec(code, 1..6)))
        .prop_map(
            |((packet_identifier, reason_string, user_properties), codes)| {
                Packet::SubAck(SubAck {
                    packet_identifier,
                    reason_string,
                    user_properties,
                    reason_codes: ReasonCodes::from_slice(codes),
                })
            },
        )
        .boxed()
}

fn unsubscribes(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    (answers(version), leaked(vec(filters(), 1..5)))
        .prop_map(|((packet_identifier, _, user_properties), filters)| {
            Packet::Unsubscribe(Unsubscribe {
                packet_identifier,
                user_properties,
                filters: Filters::from_slice(filters),
            })
        })
        .boxed()
}

fn unsub_acks(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let codes = match version {
        ProtocolVersion::V3_1_1 => Just(&[][..]).boxed(),
        ProtocolVersion::V5 => leaked(vec(reason_codes(PacketType::UnsubAck), 1..6)).boxed(),
    };
    (answers(version), codes)
        .prop_map(
            |((packet_identifier, reason_string, user_properties), codes)| {
                Packet::UnsubAck(UnsubAck {
                    packet_identifier,
                    reason_string,
                    user_properties,
                    reason_codes: ReasonCodes::from_slice(codes),
                })
            },
        )
        .boxed()
}

fn disconnects(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    if version == ProtocolVersion::V3_1_1 {
        return Just(Packet::Disconnect(Disconnect::new(ReasonCode::Success))).boxed();
    }
    (
        reason_codes(PacketType::Disconnect),
        option::of(any::<u32>()),
        option::of(texts()),
        option::of(texts()),
        user_properties(),
    )
        .prop_map(
            |(reason_code, expiry, reason_string, server_reference, user_properties)| {
                Packet::Disconnect(Disconnect {
                    reason_code,
                    session_expiry_interval_seconds: expiry,
                    reason_string,
                    server_reference,
                    user_properties,
                })
            },
        )
        .boxed()
}

fn auths() -> BoxedStrategy<Packet<'static>> {
    (
        reason_codes(PacketType::Auth),
        texts(),
        option::of(binaries()),
        option::of(texts()),
        user_properties(),
    )
        .prop_map(
            |(reason_code, method, data, reason_string, user_properties)| {
                Packet::Auth(Auth {
                    reason_code,
                    authentication_method: Some(method),
                    authentication_data: data,
                    reason_string,
                    user_properties,
                })
            },
        )
        .boxed()
}
