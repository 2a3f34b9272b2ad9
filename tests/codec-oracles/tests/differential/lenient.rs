//! What other codecs accept and we refuse: each finding with the sentence that demands it.

use nexum_codec_oracles::Oracle::{self, Mqtt5Protocol, MqttProtocolCore, Mqttbytes, RmqttCodec};
use nexum_types::ProtocolVersion::{self, V3_1_1, V5};

use crate::comparison::{Disagreement, compare, decode_ours};
use crate::notation::bytes;

struct Lenient {
    /// The name of our finding.
    finding: &'static str,
    /// The sentence of the specification.
    why: &'static str,
    /// Packets that break the rule, each with the oracles that let it pass. One that is not listed
    /// refuses it too, or does not speak the version.
    examples: &'static [(ProtocolVersion, &'static str, &'static [Oracle])],
}

pub(crate) fn is_explained(finding: &str, oracle: Oracle) -> bool {
    LENIENT.iter().any(|row| {
        row.finding == finding
            && row
                .examples
                .iter()
                .any(|(_, _, oracles)| oracles.contains(&oracle))
    })
}

#[test]
fn the_examples_still_show_it() {
    for row in LENIENT {
        assert!(!row.why.is_empty());
        for &(version, text, expected) in row.examples {
            let bytes = bytes(text);
            let found = decode_ours(&bytes, version).expect_err(text);
            assert!(
                format!("{found:?}").starts_with(row.finding),
                "{text}: {found:?}"
            );
            let lenient = Disagreement::Lenient(row.finding.to_owned());
            let accepting: Vec<Oracle> = Oracle::ALL
                .into_iter()
                .filter(|oracle| oracle.speaks(version))
                .filter(|&oracle| compare(&bytes, version, oracle) == Some(lenient.clone()))
                .collect();
            assert_eq!(accepting, expected, "{version:?} {text}");
        }
    }
}

#[rustfmt::skip]
const LENIENT: &[Lenient] = &[
    Lenient {
        finding: "FixedHeaderFlags",
        why: "[MQTT-2.1.3-1] [MQTT3-2.2.2-2]: \"If invalid flags are received, the receiver MUST close the Network Connection\"",
        examples: &[
            (V3_1_1, "11 | s:MQTT 04 02 0000 s:c", &[MqttProtocolCore, Mqttbytes]),
            (V3_1_1, "60 | 0001", &[MqttProtocolCore, Mqttbytes]),
            (V3_1_1, "80 | 0001 s:a 00", &[MqttProtocolCore, Mqttbytes]),
            (V3_1_1, "C1 |", &[MqttProtocolCore, Mqttbytes]),
            (V5, "11 | s:MQTT 05 02 0000 [ ] s:c", &[MqttProtocolCore]),
            (V5, "60 | 0001", &[MqttProtocolCore]),
            (V5, "A0 | 0001 [ ] s:a", &[MqttProtocolCore]),
            (V5, "E1 |", &[MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "ReservedPacketType",
        why: "Table 2.1 of 3.1.1: 0 and 15 are \"Reserved\"; table 2-1 of MQTT 5: 0 is",
        examples: &[
            (V3_1_1, "F0 |", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "DupAtQoS0",
        why: "[MQTT-3.3.1-2] [MQTT3-3.3.1-2]: \"The DUP flag MUST be set to 0 for all QoS 0 messages\"",
        examples: &[
            (V3_1_1, "38 | s:a", &[RmqttCodec, MqttProtocolCore, Mqttbytes]),
            (V5, "38 | s:a [ ]", &[RmqttCodec, MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "VariableByteIntegerNotMinimal",
        why: "[MQTT-1.5.5-1]: \"The encoded value MUST use the minimum number of bytes\"",
        examples: &[
            (V5, "30 | s:a [ 0B 8100 ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "30 | s:a 8000", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "A2 | 0001 8000 s:a", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "Truncated",
        why: "A Control Packet \"which cannot be parsed according to this specification\" is malformed (section 1.2)",
        examples: &[
            (V5, "20 | 00 00", &[Mqtt5Protocol]),
            (V5, "30 | s:a", &[MqttProtocolCore]),
            (V5, "F0 | 18", &[RmqttCodec]),
        ],
    },
    Lenient {
        finding: "TrailingBytes",
        why: "Sections 3.1 to 3.15 say what the variable header and the payload hold; sections 3.12 and 3.13 that PINGREQ and PINGRESP have neither",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 02 0000 s:c 00", &[RmqttCodec, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "20 | 00 00 00", &[RmqttCodec, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "40 | 0001 00", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "C0 | 00", &[RmqttCodec, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "D0 | 00", &[RmqttCodec, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "E0 | 00", &[RmqttCodec, Mqtt5Protocol, Mqttbytes]),
            (V5, "10 | s:MQTT 05 02 0000 [ ] s:c 00", &[RmqttCodec, Mqtt5Protocol]),
            (V5, "20 | 00 00 [ ] 00", &[Mqtt5Protocol]),
            (V5, "40 | 0001 00 [ ] 00", &[Mqtt5Protocol]),
            (V5, "C0 | 00", &[RmqttCodec, Mqtt5Protocol]),
            (V5, "D0 | 00", &[RmqttCodec, Mqtt5Protocol]),
            (V5, "E0 | 00 [ ] 00", &[Mqtt5Protocol]),
            (V5, "F0 | 18 [ 15 s:m ] 00", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "NullCharacter",
        why: "[MQTT-1.5.4-2] [MQTT3-1.5.3-2]: \"MUST NOT include an encoding of the null character U+0000\"",
        examples: &[
            (V3_1_1, "30 | 0001 00", &[RmqttCodec, MqttProtocolCore, Mqttbytes]),
            (V3_1_1, "10 | s:MQTT 04 02 0000 0001 00", &[RmqttCodec, MqttProtocolCore, Mqttbytes]),
            (V3_1_1, "82 | 0001 0001 00 00", &[RmqttCodec, MqttProtocolCore, Mqttbytes]),
            (V5, "30 | 0001 00 [ ]", &[RmqttCodec, MqttProtocolCore]),
            (V5, "30 | s:a [ 26 s:n 0001 00 ]", &[RmqttCodec, MqttProtocolCore]),
            (V5, "B0 | 0001 [ 1F 0001 00 ] 00", &[RmqttCodec, MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "ControlCharacter",
        why: "Section 1.5.4: of U+0001 to U+001F and U+007F to U+009F \"it MAY treat the packet as a Malformed Packet\", and we do in names",
        examples: &[
            (V3_1_1, "30 | 0001 01", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "A2 | 0001 0001 7F", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "30 | 0001 01 [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 02 0000 [ ] 0002 C280", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "NonCharacter",
        why: "Section 1.5.4: of non-characters too \"it MAY treat the packet as a Malformed Packet\", and we do in names",
        examples: &[
            (V3_1_1, "30 | 0003 EFBFBF", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "30 | 0003 EFBFBF [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "UnsupportedProtocolVersion",
        why: "[MQTT-3.1.2-2] [MQTT3-3.1.2-2]: 4 and 5 are the versions of the two specifications",
        examples: &[
            (V3_1_1, "10 | s:MQTT 03 02 0000 s:c", &[RmqttCodec, Mqtt5Protocol]),
            (V3_1_1, "10 | s:MQIsdp 03 02 0000 s:c", &[RmqttCodec]),
            (V3_1_1, "10 | s:MQTT 06 02 0000 s:c", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 06 02 0000 [ ] s:c", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "ReservedConnectFlag",
        why: "[MQTT-3.1.2-3] [MQTT3-3.1.2-3]: \"The Server MUST validate that the reserved flag in the CONNECT packet is set to 0\"",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 03 0000 s:c", &[MqttProtocolCore, Mqttbytes]),
            (V5, "10 | s:MQTT 05 03 0000 [ ] s:c", &[MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "WillQoS3",
        why: "[MQTT-3.1.2-12] [MQTT3-3.1.2-14]: \"A value of 3 (0x03) is a Malformed Packet\"",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 1E 0000 s:c s:t s:m", &[MqttProtocolCore]),
            (V5, "10 | s:MQTT 05 1E 0000 [ ] s:c [ ] s:t s:m", &[MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "WillFlagsWithoutWill",
        why: "[MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT3-3.1.2-11]: \"If the Will Flag is set to 0, then the Will QoS MUST be set to 0\", and Will Retain",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 0A 0000 s:c", &[MqttProtocolCore]),
            (V3_1_1, "10 | s:MQTT 04 22 0000 s:c", &[MqttProtocolCore]),
            (V5, "10 | s:MQTT 05 0A 0000 [ ] s:c", &[RmqttCodec, MqttProtocolCore]),
            (V5, "10 | s:MQTT 05 22 0000 [ ] s:c", &[RmqttCodec, MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "PasswordWithoutUserName",
        why: "[MQTT3-3.1.2-22]: \"If the User Name Flag is set to 0, the Password Flag MUST be set to 0\"",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 42 0000 s:c s:p", &[RmqttCodec, Mqttbytes]),
        ],
    },
    Lenient {
        finding: "ConnectAcknowledgeFlags",
        why: "[MQTT-3.2.2-1]: \"Bits 7-1 are reserved and MUST be set to 0\"; section 3.2.2.1 of 3.1.1 says so too",
        examples: &[
            (V3_1_1, "20 | 02 00", &[MqttProtocolCore, Mqttbytes]),
            (V5, "20 | 02 00 [ ]", &[MqttProtocolCore]),
        ],
    },
    Lenient {
        finding: "SessionPresentOnRefusal",
        why: "[MQTT-3.2.2-6] [MQTT3-3.2.2-4]: with a non-zero code \"it MUST set Session Present to 0\"",
        examples: &[
            (V3_1_1, "20 | 01 05", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "20 | 01 87 [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "PacketIdentifierZero",
        why: "[MQTT-2.2.1-3] [MQTT3-2.3.1-1]: \"a non-zero Packet Identifier\"",
        examples: &[
            (V3_1_1, "32 | s:a 0000", &[MqttProtocolCore, Mqtt5Protocol]),
            (V3_1_1, "40 | 0000", &[Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "82 | 0000 s:a 00", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "90 | 0000 00", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "B0 | 0000", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "32 | s:a 0000 [ ]", &[MqttProtocolCore, Mqtt5Protocol]),
            (V5, "62 | 0000", &[Mqtt5Protocol]),
            (V5, "82 | 0000 [ ] s:a 00", &[MqttProtocolCore, Mqtt5Protocol]),
            (V5, "A2 | 0000 [ ] s:a", &[MqttProtocolCore, Mqtt5Protocol]),
            (V5, "B0 | 0000 [ ] 00", &[MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "WildcardInTopicName",
        why: "[MQTT-3.3.2-2] [MQTT-3.3.2-14] [MQTT3-3.3.2-2]: \"MUST NOT contain wildcard characters\"",
        examples: &[
            (V3_1_1, "30 | s:a/+", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "10 | s:MQTT 04 06 0000 s:c s:# s:m", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "30 | s:a/+ [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "30 | s:a [ 08 s:# ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 06 0000 [ ] s:c [ ] s:# s:m", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "TopicNameMissing",
        why: "[MQTT3-4.7.3-1]; section 3.3.2.1: \"It is a Protocol Error if the Topic Name is zero length and there is no Topic Alias\"",
        examples: &[
            (V3_1_1, "30 | s:", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "30 | s: [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "EmptyTopic",
        why: "[MQTT-4.7.3-1] [MQTT3-4.7.3-1]: \"All Topic Names and Topic Filters MUST be at least one character long\"",
        examples: &[
            (V3_1_1, "82 | 0001 s: 00", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "A2 | 0001 s:", &[MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V3_1_1, "10 | s:MQTT 04 06 0000 s:c s: s:m", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
            (V5, "82 | 0001 [ ] s: 00", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "A2 | 0001 [ ] s:", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "30 | s:a [ 08 s: ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 06 0000 [ ] s:c [ ] s: s:m", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "TopicAliasZero",
        why: "[MQTT-3.3.2-8]: \"MUST NOT send a PUBLISH packet containing a Topic Alias which has the value 0\"",
        examples: &[
            (V5, "30 | s:a [ 23 0000 ]", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "PropertyNotAllowed",
        why: "Section 2.2.2.2: \"A Control Packet which contains an Identifier which is not valid for its packet type … is a Malformed Packet\"",
        examples: &[
            (V5, "30 | s:a [ 11 00000001 ]", &[Mqtt5Protocol]),
            (V5, "40 | 0001 00 [ 03 s:t ]", &[Mqtt5Protocol]),
            (V5, "82 | 0001 [ 1F s:why ] s:a 00", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 02 0000 [ 23 0001 ] s:c", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 06 0000 [ ] s:c [ 0B 01 ] s:t s:m", &[Mqtt5Protocol]),
            (V5, "E0 | 00 [ 15 s:m ]", &[Mqtt5Protocol]),
            (V5, "F0 | 18 [ 15 s:m 11 00000001 ]", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "DuplicateProperty",
        why: "\"It is a Protocol Error to include the … more than once\", in the section of each property",
        examples: &[
            (V5, "82 | 0001 [ 0B 01 0B 02 ] s:a 00", &[MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "PropertyValue",
        why: "\"It is a Protocol Error to … have a value other than 0 or 1\", or \"if it has a value of 0\", in the section of each property",
        examples: &[
            (V5, "30 | s:a [ 01 02 ]", &[Mqtt5Protocol]),
            (V5, "30 | s:a [ 0B 00 ]", &[Mqtt5Protocol]),
            (V5, "82 | 0001 [ 0B 00 ] s:a 00", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 02 0000 [ 21 0000 ] s:c", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 02 0000 [ 27 00000000 ] s:c", &[Mqtt5Protocol]),
            (V5, "10 | s:MQTT 05 02 0000 [ 17 02 ] s:c", &[Mqtt5Protocol]),
            (V5, "20 | 00 00 [ 24 02 ]", &[RmqttCodec, Mqtt5Protocol]),
            (V5, "20 | 00 00 [ 25 02 ]", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "AuthenticationDataWithoutMethod",
        why: "Section 3.1.2.11.10: \"It is a Protocol Error to include Authentication Data if there is no Authentication Method\"",
        examples: &[
            (V5, "10 | s:MQTT 05 02 0000 [ 16 s:d ] s:c", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "AuthenticationMethodMissing",
        why: "Section 3.15.2.2.2: \"It is a Protocol Error to omit the Authentication Method\"",
        examples: &[
            (V5, "F0 | 18 [ ]", &[RmqttCodec]),
            (V5, "F0 | 00 [ ]", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "EmptyPayload",
        why: "[MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT3-3.8.3-3] [MQTT3-3.10.3-2]: \"MUST contain at least one Topic Filter\"; an answer has a code for each ([MQTT-3.8.4-6])",
        examples: &[
            (V3_1_1, "82 | 0001", &[Mqttbytes]),
            (V3_1_1, "A2 | 0001", &[Mqttbytes]),
            (V3_1_1, "90 | 0001", &[RmqttCodec]),
            (V5, "90 | 0001 [ ]", &[RmqttCodec]),
            (V5, "B0 | 0001 [ ]", &[RmqttCodec]),
        ],
    },
    Lenient {
        finding: "SubscriptionOptionsReserved",
        why: "[MQTT-3.8.3-5] [MQTT3-3.8.3-4]: \"MUST treat a SUBSCRIBE packet as malformed if any of Reserved bits in the Payload are non-zero\"",
        examples: &[
            (V3_1_1, "82 | 0001 s:a 04", &[RmqttCodec, MqttProtocolCore, Mqtt5Protocol, Mqttbytes]),
        ],
    },
    Lenient {
        finding: "SubscriptionQoS3",
        why: "[MQTT3-3.8.3-4]; section 3.8.3.1: \"It is a Protocol Error if the Maximum QoS field has the value 3\"",
        examples: &[
            (V3_1_1, "82 | 0001 s:a 03", &[Mqtt5Protocol]),
        ],
    },
    Lenient {
        finding: "ReasonCodeNotAllowed",
        why: "[MQTT-3.4.2-1] and its like: \"MUST use one of the … Reason Codes\"; tables 3.1 and 3.9.3 of 3.1.1 reserve the rest",
        examples: &[
            (V3_1_1, "20 | 00 06", &[RmqttCodec]),
            (V3_1_1, "90 | 0001 87", &[Mqtt5Protocol]),
            (V5, "F0 | 01 [ 15 s:m ]", &[Mqtt5Protocol]),
            (V5, "F0 | 88", &[Mqtt5Protocol]),
            (V5, "E0 | 8C", &[RmqttCodec]),
        ],
    },
];
