//! Section 1.5.4: what a UTF-8 Encoded String may hold, wherever one stands.

use nexum_codec::{DecodeError, Field, PropertyIdentifier};
use nexum_types::ProtocolVersion;

use crate::notation::{V3_1_1, V5, bytes, decode_bytes};

/// Where a string stands: a packet with `$` for the string.
struct Place {
    field: Field,
    version: ProtocolVersion,
    packet: &'static str,
}

const fn place(field: Field, version: ProtocolVersion, packet: &'static str) -> Place {
    Place {
        field,
        version,
        packet,
    }
}

/// Names are compared, logged and shown.
const NAMES: [Place; 14] = [
    place(Field::ClientIdentifier, V3_1_1, "10 | s:MQTT 04 02 0000 $"),
    place(Field::ClientIdentifier, V5, "10 | s:MQTT 05 02 0000 [ ] $"),
    place(Field::WillTopic, V3_1_1, "10 | s:MQTT 04 06 0000 s:c $ s:"),
    place(
        Field::WillTopic,
        V5,
        "10 | s:MQTT 05 06 0000 [ ] s:c [ ] $ s:",
    ),
    place(Field::UserName, V3_1_1, "10 | s:MQTT 04 82 0000 s:c $"),
    place(Field::UserName, V5, "10 | s:MQTT 05 82 0000 [ ] s:c $"),
    place(Field::TopicName, V3_1_1, "30 | $"),
    place(Field::TopicName, V5, "30 | $ [ ]"),
    place(Field::TopicFilter, V3_1_1, "82 | 0001 $ 00"),
    place(Field::TopicFilter, V5, "82 | 0001 [ ] $ 00"),
    place(Field::TopicFilter, V3_1_1, "A2 | 0001 $"),
    place(Field::TopicFilter, V5, "A2 | 0001 [ ] $"),
    place(
        Field::Property(PropertyIdentifier::ResponseTopic),
        V5,
        "30 | s:a [ 08 $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::ResponseTopic),
        V5,
        "10 | s:MQTT 05 06 0000 [ ] s:c [ 08 $ ] s:t s:",
    ),
];

/// Texts are for people and applications.
const TEXTS: [Place; 11] = [
    place(
        Field::Property(PropertyIdentifier::ContentType),
        V5,
        "30 | s:a [ 03 $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::UserProperty),
        V5,
        "30 | s:a [ 26 $ s:v ]",
    ),
    place(
        Field::Property(PropertyIdentifier::UserProperty),
        V5,
        "30 | s:a [ 26 s:n $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::UserProperty),
        V5,
        "A2 | 0001 [ 26 s:n $ ] s:a",
    ),
    place(
        Field::Property(PropertyIdentifier::ReasonString),
        V5,
        "40 | 0001 80 [ 1F $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::ReasonString),
        V5,
        "90 | 0001 [ 1F $ ] 00",
    ),
    place(
        Field::Property(PropertyIdentifier::ReasonString),
        V5,
        "E0 | 00 [ 1F $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::ServerReference),
        V5,
        "20 | 00 9C [ 1C $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::ResponseInformation),
        V5,
        "20 | 00 00 [ 1A $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::AssignedClientIdentifier),
        V5,
        "20 | 0000 [ 12 $ ]",
    ),
    place(
        Field::Property(PropertyIdentifier::AuthenticationMethod),
        V5,
        "F0 | 18 [ 15 $ ]",
    ),
];

impl Place {
    /// Puts the string, given in hexadecimal, in its place.
    fn decode(&self, string: &str) -> Result<(), DecodeError> {
        let string = format!("{:04X} {string}", string.len() / 2);
        let packet = bytes(&self.packet.replace('$', &string));
        decode_bytes(&packet, self.version).map(|_| ())
    }
}

fn everywhere() -> impl Iterator<Item = &'static Place> {
    NAMES.iter().chain(&TEXTS)
}

#[test]
fn well_formed() {
    for place in everywhere() {
        // One to four bytes a character; U+FEFF is a character like others ([MQTT-1.5.4-3],
        // [MQTT3-1.5.3-3]); section 1.5.4's own example is U+2A6D4.
        for string in [
            "41",
            "C3A9",
            "E697A5",
            "F09F9A80",
            "EFBBBF41",
            "41F0AA9B94",
            "C2A0",
        ] {
            assert_eq!(place.decode(string), Ok(()), "{} {string}", place.packet);
        }
    }
}

/// [MQTT-1.5.4-1] [MQTT3-1.5.3-1], and with them [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]
/// [MQTT-3.3.2-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-1.5.7-1]
/// [MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11] [MQTT3-3.3.2-1] [MQTT3-3.8.3-1]
/// [MQTT3-3.10.3-1]
#[test]
fn ill_formed() {
    let strings = [
        ("80", "a continuation byte alone"),
        ("C3", "the end of the string within a character"),
        ("C328", "a lead byte without continuation"),
        ("C080", "an overlong null"),
        ("E08080", "an overlong form of three bytes"),
        ("EDA080", "the surrogate U+D800"),
        ("EDBFBF", "the surrogate U+DFFF"),
        ("EDA081EDB080", "a pair of surrogates"),
        ("F4908080", "beyond U+10FFFF"),
        ("FF", "no byte of UTF-8"),
    ];
    for place in everywhere() {
        let expected = Err(DecodeError::NotUtf8 { field: place.field });
        for (string, what) in strings {
            assert_eq!(place.decode(string), expected, "{} {what}", place.packet);
        }
    }
}

/// [MQTT-1.5.4-2] [MQTT3-1.5.3-2] [MQTT-4.7.3-2] [MQTT3-4.7.3-2]
#[test]
fn null_character() {
    for place in everywhere() {
        let expected = Err(DecodeError::NullCharacter { field: place.field });
        for string in ["00", "6100", "0061", "616161616161616100", "C3A900"] {
            assert_eq!(place.decode(string), expected, "{} {string}", place.packet);
        }
    }
}

/// "The data SHOULD NOT include encodings of the Unicode code points listed below … it MAY treat
/// the packet as a Malformed Packet" (section 1.5.4): names do, texts do not.
#[test]
fn control_and_non_characters() {
    let controls = [
        "01",
        "0A",
        "1F",
        "7F",
        "C280",
        "C29F",
        "6161616161616161611F",
        "C3A907",
    ];
    let non_characters = [
        "EFBFBE", "EFBFBF", "EFB790", "EFB7AF", "F09FBFBE", "F48FBFBF",
    ];
    for place in &NAMES {
        let expected = Err(DecodeError::ControlCharacter { field: place.field });
        for string in controls {
            assert_eq!(place.decode(string), expected, "{} {string}", place.packet);
        }
        let expected = Err(DecodeError::NonCharacter { field: place.field });
        for string in non_characters {
            assert_eq!(place.decode(string), expected, "{} {string}", place.packet);
        }
        // Their neighbours.
        for string in ["20", "7E", "C2A0", "EFBFBD", "EFB78F", "EFB7B0", "F09FBFBD"] {
            assert_eq!(place.decode(string), Ok(()), "{} {string}", place.packet);
        }
    }
    for place in &TEXTS {
        for string in controls.into_iter().chain(non_characters) {
            assert_eq!(place.decode(string), Ok(()), "{} {string}", place.packet);
        }
    }
}

/// [MQTT-3.3.2-2] [MQTT-3.3.2-14] [MQTT-4.7.0-1] [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]: not in a name to
/// publish to; whether a filter uses them well each filter's own answer says.
#[test]
fn wildcards() {
    for place in &NAMES {
        let is_topic_name = matches!(
            place.field,
            Field::TopicName
                | Field::WillTopic
                | Field::Property(PropertyIdentifier::ResponseTopic)
        );
        let expected = if is_topic_name {
            Err(DecodeError::WildcardInTopicName { field: place.field })
        } else {
            Ok(())
        };
        // `+`, `#`, `a/+`, `a/#`, `aaaaaaaa+`, `é+`
        for string in [
            "2B",
            "23",
            "612F2B",
            "612F23",
            "61616161616161612B",
            "C3A92B",
        ] {
            assert_eq!(place.decode(string), expected, "{} {string}", place.packet);
        }
    }
}

/// [MQTT-4.7.3-1] [MQTT3-4.7.3-1]
#[test]
fn empty() {
    for place in everywhere() {
        let field = place.field;
        let expected = match field {
            Field::TopicName => Err(DecodeError::TopicNameMissing),
            Field::TopicFilter
            | Field::WillTopic
            | Field::Property(PropertyIdentifier::ResponseTopic) => {
                Err(DecodeError::EmptyTopic { field })
            }
            _ => Ok(()),
        };
        assert_eq!(place.decode(""), expected, "{}", place.packet);
    }
}

/// [MQTT-4.7.3-3] [MQTT3-4.7.3-3]: two bytes of length announce no more.
#[test]
fn longest() {
    let longest = "61".repeat(65_535);
    for place in everywhere() {
        assert_eq!(place.decode(&longest), Ok(()), "{}", place.packet);
    }
}
