//! Section 3.1: CONNECT.

use std::num::NonZeroU16;

use nexum_codec::{
    Connect, ConnectProperties, DecodeError, Field, ForwardedProperties, Packet, Property,
    PropertyIdentifier, Split, UserProperties, Will, refusal_version, split_frame,
};
use nexum_types::{ProtocolVersion, QoS, TopicName};

use crate::notation::{V3_1_1, V5, accept, bytes, canonical, decode_bytes, refuse};

fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive_seconds: 60,
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn will(topic: &str) -> Will<'_> {
    Will {
        topic: TopicName::new(topic).expect("a topic name"),
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval_seconds: 0,
        message_expiry_interval_seconds: None,
        properties: ForwardedProperties::default(),
    }
}

#[test]
fn smallest() {
    canonical(
        V3_1_1,
        "10 | s:MQTT 04 02 003C s:c",
        Packet::Connect(connect(V3_1_1)),
    );
    canonical(
        V5,
        "10 | s:MQTT 05 02 003C [ ] s:c",
        Packet::Connect(connect(V5)),
    );
    // The packet says its own version.
    accept(
        V5,
        "10 | s:MQTT 04 02 003C s:c",
        Packet::Connect(connect(V3_1_1)),
    );
    accept(
        V3_1_1,
        "10 | s:MQTT 05 02 003C [ ] s:c",
        Packet::Connect(connect(V5)),
    );
}

#[test]
fn clean_start_keep_alive_and_an_empty_client_identifier() {
    let expected = Connect {
        clean_start: false,
        keep_alive_seconds: 65_535,
        client_id: "",
        ..connect(V5)
    };
    canonical(
        V5,
        "10 | s:MQTT 05 00 FFFF [ ] s:",
        Packet::Connect(expected),
    );
    // On 3.1.1 the connection answers it with return code 2 ([MQTT3-3.1.3-8]).
    let expected = Connect {
        version: V3_1_1,
        ..expected
    };
    canonical(
        V3_1_1,
        "10 | s:MQTT 04 00 FFFF s:",
        Packet::Connect(expected),
    );
}

/// [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT3-3.1.2-1] [MQTT3-3.1.2-2]
#[test]
fn protocol_name_and_version() {
    for name in ["MQT", "MQTTT", "mqtt", "MQTU", "", "HTTP", "MQIsd"] {
        let text = format!("10 | s:{name} 04 02 003C s:c");
        refuse(V3_1_1, &text, DecodeError::ProtocolName);
    }
    for version in (0..=u8::MAX).filter(|version| !matches!(version, 4 | 5)) {
        let text = format!("10 | s:MQTT {version:02X} 02 003C s:c");
        refuse(
            V5,
            &text,
            DecodeError::UnsupportedProtocolVersion { version },
        );
        // However the rest of that version looks.
        let text = format!("10 | s:MQTT {version:02X}");
        refuse(
            V5,
            &text,
            DecodeError::UnsupportedProtocolVersion { version },
        );
    }
    // MQTT 3.1.
    refuse(
        V5,
        "10 | s:MQIsdp 03 02 003C s:c",
        DecodeError::UnsupportedProtocolVersion { version: 3 },
    );
}

#[test]
fn a_refusal_has_the_form_that_the_client_reads() {
    let check = |text: &str, expected: Option<ProtocolVersion>| {
        let bytes = bytes(text);
        let Ok(Split::Frame(frame)) = split_frame(&bytes, u32::MAX) else {
            panic!("{text} is whole")
        };
        assert_eq!(refusal_version(frame), expected, "{text}");
    };
    check("10 | s:MQTT 04", Some(V3_1_1));
    check("10 | s:MQTT 05 FF", Some(V5));
    check("10 | s:MQTT 03", Some(V3_1_1));
    check("10 | s:MQIsdp 03", Some(V3_1_1));
    check("10 | s:MQTT 06", Some(V5));
    check("10 | s:MQTT 63", Some(V5));
    check("10 | s:MQTT", None);
    check("10 | s:HTTP 05", None);
    check("10 |", None);
    check("C0 |", None);
}

/// [MQTT-3.1.2-3] [MQTT3-3.1.2-3]
#[test]
fn reserved_flag() {
    refuse(
        V3_1_1,
        "10 | s:MQTT 04 03 003C s:c",
        DecodeError::ReservedConnectFlag,
    );
    refuse(
        V5,
        "10 | s:MQTT 05 01 003C [ ] s:c",
        DecodeError::ReservedConnectFlag,
    );
}

/// [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13]
/// [MQTT3-3.1.2-14] [MQTT3-3.1.2-15]
#[test]
fn will_flags() {
    for flags in ["0A", "12", "22", "2A"] {
        let error = DecodeError::WillFlagsWithoutWill;
        refuse(V3_1_1, &format!("10 | s:MQTT 04 {flags} 003C s:c"), error);
        refuse(V5, &format!("10 | s:MQTT 05 {flags} 003C [ ] s:c"), error);
    }
    for flags in ["1E", "3E", "1A"] {
        let error = DecodeError::WillQoS3;
        refuse(
            V3_1_1,
            &format!("10 | s:MQTT 04 {flags} 003C s:c s:t s:m"),
            error,
        );
        refuse(
            V5,
            &format!("10 | s:MQTT 05 {flags} 003C [ ] s:c [ ] s:t s:m"),
            error,
        );
    }
    for (flags, qos, retain) in [
        ("06", QoS::AtMostOnce, false),
        ("0E", QoS::AtLeastOnce, false),
        ("16", QoS::ExactlyOnce, false),
        ("36", QoS::ExactlyOnce, true),
    ] {
        let will = Will {
            qos,
            retain,
            payload: b"m",
            ..will("t")
        };
        let expected = Connect {
            will: Some(will),
            ..connect(V3_1_1)
        };
        let text = format!("10 | s:MQTT 04 {flags} 003C s:c s:t s:m");
        canonical(V3_1_1, &text, Packet::Connect(expected));
        let text = format!("10 | s:MQTT 05 {flags} 003C [ ] s:c [ ] s:t s:m");
        canonical(
            V5,
            &text,
            Packet::Connect(Connect {
                version: V5,
                ..expected
            }),
        );
    }
}

/// [MQTT-3.1.2-9] [MQTT3-3.1.2-9]
#[test]
fn will_fields_must_be_there() {
    let error = |field| DecodeError::Truncated { field };
    refuse(
        V3_1_1,
        "10 | s:MQTT 04 06 003C s:c",
        error(Field::WillTopic),
    );
    refuse(
        V3_1_1,
        "10 | s:MQTT 04 06 003C s:c s:t",
        error(Field::WillPayload),
    );
    refuse(
        V5,
        "10 | s:MQTT 05 06 003C [ ] s:c",
        error(Field::PropertyLength),
    );
    refuse(
        V5,
        "10 | s:MQTT 05 06 003C [ ] s:c [ ]",
        error(Field::WillTopic),
    );
    refuse(
        V5,
        "10 | s:MQTT 05 06 003C [ ] s:c [ ] s:t",
        error(Field::WillPayload),
    );
    // Without the flag they must not be there.
    let trailing = DecodeError::TrailingBytes { bytes: 6 };
    refuse(V3_1_1, "10 | s:MQTT 04 02 003C s:c s:t s:m", trailing);
}

/// [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.3-1] [MQTT3-3.1.2-18]
/// [MQTT3-3.1.2-19] [MQTT3-3.1.2-20] [MQTT3-3.1.2-21] [MQTT3-3.1.2-22] [MQTT3-3.1.3-1]
#[test]
fn user_name_and_password() {
    let user = Connect {
        user_name: Some("u"),
        ..connect(V3_1_1)
    };
    let both = Connect {
        password: Some(b"\xFF\x00"),
        ..user
    };
    canonical(
        V3_1_1,
        "10 | s:MQTT 04 82 003C s:c s:u",
        Packet::Connect(user),
    );
    canonical(
        V3_1_1,
        "10 | s:MQTT 04 C2 003C s:c s:u 0002FF00",
        Packet::Connect(both),
    );
    refuse(
        V3_1_1,
        "10 | s:MQTT 04 42 003C s:c s:p",
        DecodeError::PasswordWithoutUserName,
    );
    let password = Connect {
        password: Some(b"p"),
        ..connect(V5)
    };
    canonical(
        V5,
        "10 | s:MQTT 05 42 003C [ ] s:c s:p",
        Packet::Connect(password),
    );
    for (flags, field) in [("82", Field::UserName), ("42", Field::Password)] {
        let text = format!("10 | s:MQTT 05 {flags} 003C [ ] s:c");
        refuse(V5, &text, DecodeError::Truncated { field });
    }
    let error = DecodeError::Truncated {
        field: Field::Password,
    };
    refuse(V5, "10 | s:MQTT 05 C2 003C [ ] s:c s:u", error);
    let trailing = DecodeError::TrailingBytes { bytes: 3 };
    refuse(V5, "10 | s:MQTT 05 82 003C [ ] s:c s:u s:p", trailing);
}

#[test]
fn every_field_can_be_the_one_that_is_missing() {
    let error = |field| DecodeError::Truncated { field };
    refuse(V5, "10 |", error(Field::ProtocolName));
    refuse(V5, "10 | 0004 'MQT'", error(Field::ProtocolName));
    refuse(V5, "10 | s:MQTT", error(Field::ProtocolVersion));
    refuse(V5, "10 | s:MQTT 05", error(Field::ConnectFlags));
    refuse(V5, "10 | s:MQTT 05 02 00", error(Field::KeepAlive));
    refuse(V5, "10 | s:MQTT 05 02 003C", error(Field::PropertyLength));
    refuse(V5, "10 | s:MQTT 05 02 003C 01", error(Field::Properties));
    // [MQTT-3.1.3-3] [MQTT3-3.1.3-3]
    refuse(
        V5,
        "10 | s:MQTT 05 02 003C [ ]",
        error(Field::ClientIdentifier),
    );
    refuse(
        V3_1_1,
        "10 | s:MQTT 04 02 003C",
        error(Field::ClientIdentifier),
    );
}

#[test]
fn properties() {
    let properties = ConnectProperties {
        session_expiry_interval_seconds: Some(u32::MAX),
        receive_maximum: NonZeroU16::MIN,
        maximum_packet_size: Some(1),
        topic_alias_maximum: 10,
        request_response_information: true,
        request_problem_information: false,
        authentication_method: Some("m"),
        authentication_data: Some(b"d"),
        user_properties: UserProperties::from_pairs(&[("n", "v"), ("n", "w")]),
    };
    canonical(
        V5,
        "10 | s:MQTT 05 02 003C [ 11 FFFFFFFF 21 0001 27 00000001 22 000A 19 01 17 00 26 s:n s:v \
         26 s:n s:w 15 s:m 16 s:d ] s:c",
        Packet::Connect(Connect {
            properties,
            ..connect(V5)
        }),
    );
    // In any order; what says the same as its absence is not written again.
    accept(
        V5,
        "10 | s:MQTT 05 02 003C [ 17 01 22 0000 19 00 21 FFFF ] s:c",
        Packet::Connect(connect(V5)),
    );
}

/// "It is a Protocol Error to include Authentication Data if there is no Authentication Method"
/// (section 3.1.2.11.10).
#[test]
fn authentication_data_needs_a_method() {
    let error = DecodeError::AuthenticationDataWithoutMethod;
    refuse(V5, "10 | s:MQTT 05 02 003C [ 16 s:d ] s:c", error);
}

#[test]
fn will_properties() {
    let text = "10 | s:MQTT 05 06 003C [ ] s:c [ 26 s:n s:v 18 00000005 08 s:r 02 00000006 26 s:m \
                s:w ] s:t s:m";
    let packet = bytes(text);
    let Ok(Packet::Connect(Connect {
        will: Some(will), ..
    })) = decode_bytes(&packet, V5)
    else {
        panic!("{text} is valid")
    };
    assert_eq!(will.delay_interval_seconds, 5);
    assert_eq!(will.message_expiry_interval_seconds, Some(6));
    // [MQTT-3.1.3-10]
    let expected = [
        Property::UserProperty("n", "v"),
        Property::ResponseTopic(TopicName::new("r").expect("a topic name")),
        Property::UserProperty("m", "w"),
    ];
    assert_eq!(will.properties.iter().collect::<Vec<_>>(), expected);
    assert_eq!(will.properties.as_encoded(), None);
    let mut forwarded = Vec::new();
    will.properties.write_to(&mut forwarded);
    assert_eq!(forwarded, bytes("26 s:n s:v 08 s:r 26 s:m s:w"));
    let duplicate = DecodeError::DuplicateProperty(PropertyIdentifier::WillDelayInterval);
    refuse(
        V5,
        "10 | s:MQTT 05 06 003C [ ] s:c [ 18 00000005 18 00000005 ] s:t s:m",
        duplicate,
    );
}

#[test]
fn secrets_are_not_shown() {
    let properties = ConnectProperties {
        authentication_method: Some("m"),
        authentication_data: Some(b"secret"),
        ..ConnectProperties::default()
    };
    let connect = Connect {
        user_name: Some("u"),
        password: Some(b"secret"),
        properties,
        ..connect(V5)
    };
    let shown = format!("{connect:?}");
    assert!(shown.contains("password: Some((6 bytes))"), "{shown}");
    assert!(
        shown.contains("authentication_data: Some((6 bytes))"),
        "{shown}"
    );
    assert!(
        !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}
