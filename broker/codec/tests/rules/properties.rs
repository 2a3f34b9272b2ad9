//! Table 2-4: which property in which packet, how often, with which values.

use nexum_codec::{DecodeError, Field, PropertyIdentifier};

use crate::notation::{V5, bytes, decode_bytes, refuse};

/// Packets by the property section they carry: `$` stands for it.
const PACKETS: [(&str, &str); 15] = [
    ("CONNECT", "10 | s:MQTT 05 02 0000 [ $ ] s:c"),
    ("Will", "10 | s:MQTT 05 06 0000 [ ] s:c [ $ ] s:t s:m"),
    ("CONNACK", "20 | 00 00 [ $ ]"),
    ("PUBLISH", "30 | s:a [ $ ] 'payload'"),
    ("PUBLISH", "32 | s:a 0001 [ $ ]"),
    ("PUBACK", "40 | 0001 00 [ $ ]"),
    ("PUBREC", "50 | 0001 00 [ $ ]"),
    ("PUBREL", "62 | 0001 00 [ $ ]"),
    ("PUBCOMP", "70 | 0001 00 [ $ ]"),
    ("SUBSCRIBE", "82 | 0001 [ $ ] s:a 00"),
    ("SUBACK", "90 | 0001 [ $ ] 00"),
    ("UNSUBSCRIBE", "A2 | 0001 [ $ ] s:a"),
    ("UNSUBACK", "B0 | 0001 [ $ ] 00"),
    ("DISCONNECT", "E0 | 00 [ $ ]"),
    ("AUTH", "F0 | 18 [ $ ]"),
];

/// Identifier, a value, and the packets that may carry it, as table 2-4 lists them.
const PROPERTIES: [(PropertyIdentifier, &str, &str); 27] = [
    (
        PropertyIdentifier::PayloadFormatIndicator,
        "01",
        "PUBLISH, Will",
    ),
    (
        PropertyIdentifier::MessageExpiryInterval,
        "00000000",
        "PUBLISH, Will",
    ),
    (PropertyIdentifier::ContentType, "s:text", "PUBLISH, Will"),
    (
        PropertyIdentifier::ResponseTopic,
        "s:answers",
        "PUBLISH, Will",
    ),
    (
        PropertyIdentifier::CorrelationData,
        "0003 00FF80",
        "PUBLISH, Will",
    ),
    (
        PropertyIdentifier::SubscriptionIdentifier,
        "FFFFFF7F",
        "PUBLISH, SUBSCRIBE",
    ),
    (
        PropertyIdentifier::SessionExpiryInterval,
        "FFFFFFFF",
        "CONNECT, CONNACK, DISCONNECT",
    ),
    (
        PropertyIdentifier::AssignedClientIdentifier,
        "s:c",
        "CONNACK",
    ),
    (PropertyIdentifier::ServerKeepAlive, "0000", "CONNACK"),
    (
        PropertyIdentifier::AuthenticationMethod,
        "s:m",
        "CONNECT, CONNACK, AUTH",
    ),
    (
        PropertyIdentifier::AuthenticationData,
        "0001 FF",
        "CONNECT, CONNACK, AUTH",
    ),
    (
        PropertyIdentifier::RequestProblemInformation,
        "00",
        "CONNECT",
    ),
    (PropertyIdentifier::WillDelayInterval, "00000000", "Will"),
    (
        PropertyIdentifier::RequestResponseInformation,
        "01",
        "CONNECT",
    ),
    (
        PropertyIdentifier::ResponseInformation,
        "s:answers/",
        "CONNACK",
    ),
    (
        PropertyIdentifier::ServerReference,
        "s:other",
        "CONNACK, DISCONNECT",
    ),
    (
        PropertyIdentifier::ReasonString,
        "s:why",
        "CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH",
    ),
    (
        PropertyIdentifier::ReceiveMaximum,
        "0001",
        "CONNECT, CONNACK",
    ),
    (
        PropertyIdentifier::TopicAliasMaximum,
        "0000",
        "CONNECT, CONNACK",
    ),
    (PropertyIdentifier::TopicAlias, "0001", "PUBLISH"),
    (PropertyIdentifier::MaximumQoS, "01", "CONNACK"),
    (PropertyIdentifier::RetainAvailable, "00", "CONNACK"),
    (
        PropertyIdentifier::UserProperty,
        "s:n s:v",
        "CONNECT, CONNACK, PUBLISH, Will, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, \
         UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH",
    ),
    (
        PropertyIdentifier::MaximumPacketSize,
        "00000001",
        "CONNECT, CONNACK",
    ),
    (
        PropertyIdentifier::WildcardSubscriptionAvailable,
        "00",
        "CONNACK",
    ),
    (
        PropertyIdentifier::SubscriptionIdentifierAvailable,
        "01",
        "CONNACK",
    ),
    (
        PropertyIdentifier::SharedSubscriptionAvailable,
        "01",
        "CONNACK",
    ),
];

fn may_carry(packets: &str, name: &str) -> bool {
    packets.split(", ").any(|packet| packet == name)
}

/// What a packet needs beside the property, if it is not the property itself.
fn companion(packet: &str, property: PropertyIdentifier) -> &'static str {
    let needs_method = packet == "AUTH"
        || (packet == "CONNECT" && property == PropertyIdentifier::AuthenticationData);
    if needs_method && property != PropertyIdentifier::AuthenticationMethod {
        "15 s:m"
    } else {
        ""
    }
}

fn decode_with(packet: &str, section: &str) -> Result<(), DecodeError> {
    decode_bytes(&bytes(&packet.replace('$', section)), V5).map(|_| ())
}

#[test]
fn the_table_is_whole() {
    let listed: Vec<_> = PROPERTIES
        .iter()
        .map(|(property, _, _)| *property)
        .collect();
    assert_eq!(listed, PropertyIdentifier::ALL);
    for value in 0..=u32::from(u8::MAX) {
        let known = PropertyIdentifier::from_value(value);
        assert_eq!(known.map(|p| u32::from(p.value())), known.map(|_| value));
        assert_eq!(
            known.is_some(),
            listed.iter().any(|p| u32::from(p.value()) == value)
        );
    }
}

/// "A Control Packet which contains an Identifier which is not valid for its packet type … is a
/// Malformed Packet" (section 2.2.2.2); "It is a Protocol Error to include … more than once".
#[test]
fn which_packet_carries_which_property_and_how_often() {
    for (name, packet) in PACKETS {
        for (property, value, packets) in PROPERTIES {
            let once = format!("{:02X} {value}", property.value());
            let companion = companion(name, property);
            let allowed = may_carry(packets, name);
            let expected = if allowed {
                Ok(())
            } else {
                Err(DecodeError::PropertyNotAllowed(property))
            };
            let section = format!("{once} {companion}");
            assert_eq!(
                decode_with(packet, &section),
                expected,
                "{property} in {packet}"
            );
            if !allowed {
                continue;
            }
            let several = property == PropertyIdentifier::UserProperty
                || (property == PropertyIdentifier::SubscriptionIdentifier && name == "PUBLISH");
            let expected = if several {
                Ok(())
            } else {
                Err(DecodeError::DuplicateProperty(property))
            };
            let section = format!("{once} {companion} 26 s:n s:v {once}");
            assert_eq!(
                decode_with(packet, &section),
                expected,
                "two {property} in {packet}"
            );
        }
    }
}

/// A section that ends within a property, or a value that does.
#[test]
fn cut_anywhere() {
    for (name, packet) in PACKETS {
        for (property, value, packets) in PROPERTIES {
            if !may_carry(packets, name) {
                continue;
            }
            let whole = bytes(&format!("{:02X} {value}", property.value()));
            let expected = Err(DecodeError::Truncated {
                field: Field::Property(property),
            });
            for length in 1..whole.len() {
                let cut: String = whole[..length].iter().map(|b| format!("{b:02X}")).collect();
                assert_eq!(
                    decode_with(packet, &cut),
                    expected,
                    "{property} cut to {length}"
                );
            }
        }
    }
}

/// Sections 3.1.2.11, 3.2.2.3, 3.3.2.3 and 3.8.2.1: each value that its section excludes.
#[test]
fn values() {
    let check = |packet: &str, property: PropertyIdentifier, allowed: &[u8]| {
        for value in 0..=u8::MAX {
            let section = format!("{:02X} {value:02X}", property.value());
            let expected = if allowed.contains(&value) {
                Ok(())
            } else {
                Err(DecodeError::PropertyValue {
                    property,
                    value: u32::from(value),
                })
            };
            assert_eq!(
                decode_with(packet, &section),
                expected,
                "{property} {value}"
            );
        }
    };
    let (connect, will, conn_ack, publish) =
        (PACKETS[0].1, PACKETS[1].1, PACKETS[2].1, PACKETS[3].1);
    check(
        connect,
        PropertyIdentifier::RequestProblemInformation,
        &[0, 1],
    );
    check(
        connect,
        PropertyIdentifier::RequestResponseInformation,
        &[0, 1],
    );
    check(will, PropertyIdentifier::PayloadFormatIndicator, &[0, 1]);
    check(publish, PropertyIdentifier::PayloadFormatIndicator, &[0, 1]);
    check(conn_ack, PropertyIdentifier::MaximumQoS, &[0, 1]);
    check(conn_ack, PropertyIdentifier::RetainAvailable, &[0, 1]);
    check(
        conn_ack,
        PropertyIdentifier::WildcardSubscriptionAvailable,
        &[0, 1],
    );
    check(
        conn_ack,
        PropertyIdentifier::SubscriptionIdentifierAvailable,
        &[0, 1],
    );
    check(
        conn_ack,
        PropertyIdentifier::SharedSubscriptionAvailable,
        &[0, 1],
    );
    for packet in [connect, conn_ack] {
        let zero = |property| Err(DecodeError::PropertyValue { property, value: 0 });
        let expected = zero(PropertyIdentifier::ReceiveMaximum);
        assert_eq!(decode_with(packet, "21 0000"), expected, "{packet}");
        let expected = zero(PropertyIdentifier::MaximumPacketSize);
        assert_eq!(decode_with(packet, "27 00000000"), expected, "{packet}");
    }
}

#[test]
fn identifiers_that_are_none() {
    for (_, packet) in PACKETS {
        for value in (0..0x80).filter(|&value| PropertyIdentifier::from_value(value).is_none()) {
            let expected = Err(DecodeError::UnknownProperty(value));
            assert_eq!(
                decode_with(packet, &format!("{value:02X} 00")),
                expected,
                "{packet}"
            );
        }
        // The identifier is a Variable Byte Integer (section 2.2.2.2).
        let field = Field::PropertyIdentifier;
        let check = |section, error| assert_eq!(decode_with(packet, section), Err(error));
        check("8001 00", DecodeError::UnknownProperty(128));
        check("FFFFFF7F 00", DecodeError::UnknownProperty(268_435_455));
        check(
            "A600 s:n s:v",
            DecodeError::VariableByteIntegerNotMinimal { field },
        );
        check(
            "FFFFFFFF7F 00",
            DecodeError::VariableByteIntegerTooLong { field },
        );
        check("80", DecodeError::Truncated { field });
    }
}

/// Section 2.2.2.1, [MQTT-2.2.2-1].
#[test]
fn property_length() {
    let field = Field::PropertyLength;
    for (_, packet) in PACKETS {
        // The AUTH in the table needs a method.
        let (head, tail) = packet.split_once("[ $ ]").expect("a section");
        let not_minimal = DecodeError::VariableByteIntegerNotMinimal { field };
        refuse(V5, &format!("{head} 8000 {tail}"), not_minimal);
        let too_long = DecodeError::VariableByteIntegerTooLong { field };
        refuse(V5, &format!("{head} FFFFFFFF7F {tail}"), too_long);
        let beyond = DecodeError::Truncated {
            field: Field::Properties,
        };
        refuse(V5, &format!("{head} FFFFFF7F {tail}"), beyond);
    }
}

/// A long section: its length takes two and three bytes.
#[test]
fn many_user_properties() {
    for count in [20, 3000] {
        let section = "26 s:name s:value ".repeat(count);
        for (name, packet) in PACKETS {
            let companion = companion(name, PropertyIdentifier::UserProperty);
            assert_eq!(
                decode_with(packet, &format!("{section} {companion}")),
                Ok(()),
                "{packet}"
            );
        }
    }
}
