//! What other codecs refuse and we accept: each class with the sentence that allows it.

use nexum_codec::Packet;
use nexum_codec_oracles::Oracle;
use nexum_types::ProtocolVersion::{self, V3_1_1, V5};

use crate::comparison::{Disagreement, compare, decode_ours};
use crate::notation::bytes;

struct Strict {
    oracle: Oracle,
    /// How it refuses.
    words: &'static str,
    /// What the packets have in common.
    holds: fn(&Packet<'_>) -> bool,
    /// The sentence of the specification.
    why: &'static str,
    /// Packets of the class.
    examples: &'static [(ProtocolVersion, &'static str)],
}

pub(crate) fn is_explained(words: &str, oracle: Oracle, packet: &Packet<'_>) -> bool {
    STRICT
        .iter()
        .any(|row| row.oracle == oracle && row.words == words && (row.holds)(packet))
}

#[test]
fn the_examples_still_show_it() {
    for row in STRICT {
        assert!(!row.why.is_empty());
        for &(version, text) in row.examples {
            let bytes = bytes(text);
            let packet = decode_ours(&bytes, version).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!((row.holds)(&packet), "{text}");
            let expected = Some(Disagreement::Strict(row.words.to_owned()));
            assert_eq!(
                compare(&bytes, version, row.oracle),
                expected,
                "{version:?} {text}"
            );
        }
    }
}

const STRICT: &[Strict] = &[
    Strict {
        oracle: Oracle::Mqtt5Protocol,
        words: "MalformedPacket(\"Password without username is not allowed\")",
        holds: password_without_user_name,
        why: PASSWORD_WITHOUT_USER_NAME,
        examples: &[(V5, "10 | s:MQTT 05 42 0000 [ ] s:c s:p")],
    },
    Strict {
        oracle: Oracle::MqttProtocolCore,
        words: "ProtocolError",
        holds: password_without_user_name,
        why: PASSWORD_WITHOUT_USER_NAME,
        examples: &[(V5, "10 | s:MQTT 05 42 0000 [ ] s:c s:p")],
    },
    Strict {
        oracle: Oracle::MqttProtocolCore,
        words: "MalformedPacket",
        holds: shared_subscription,
        why: "[MQTT-4.8.2-1] [MQTT-4.8.2-2] bind the ShareName, section 3.9.3 answers each filter \
              with a Reason Code of its own: the connection's affair",
        examples: &[
            (V5, "82 | 0001 [ ] s:$share/a+/b 00"),
            (V5, "A2 | 0001 [ ] s:$share/a+/b"),
        ],
    },
    Strict {
        oracle: Oracle::RmqttCodec,
        words: "\"InvalidClientId\"",
        holds: empty_client_id_without_clean_start,
        why: "[MQTT3-3.1.3-8]: \"the Server MUST respond to the CONNECT Packet with a CONNACK \
              return code 0x02\", so the packet is read; [MQTT-3.1.3-6] of MQTT 5 lets the server \
              assign an identifier whatever Clean Start says",
        examples: &[
            (V3_1_1, "10 | s:MQTT 04 00 0000 s:"),
            (V5, "10 | s:MQTT 05 00 0000 [ ] s:"),
        ],
    },
    Strict {
        oracle: Oracle::Mqttbytes,
        words: "TopicNotUtf8",
        holds: password_not_utf8,
        why: "Section 3.1.3.5 of 3.1.1: the Password is \"0 to 65535 bytes of binary data\", not a \
              string",
        examples: &[(V3_1_1, "10 | s:MQTT 04 C2 0000 s:c s:u 0001 FF")],
    },
];

const PASSWORD_WITHOUT_USER_NAME: &str = "Section 3.1.2.9: \"This version of the protocol allows \
    the sending of a Password with no User Name, where MQTT v3.1.1 did not\"";

fn password_without_user_name(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(connect)
        if connect.password.is_some() && connect.user_name.is_none())
}

fn shared_subscription(packet: &Packet<'_>) -> bool {
    if let Packet::Subscribe(subscribe) = packet {
        subscribe
            .requests
            .iter()
            .any(|request| request.filter.starts_with("$share"))
    } else if let Packet::Unsubscribe(unsubscribe) = packet {
        unsubscribe
            .filters
            .iter()
            .any(|filter| filter.starts_with("$share"))
    } else {
        false
    }
}

fn empty_client_id_without_clean_start(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(connect)
        if connect.client_id.is_empty() && !connect.clean_start)
}

fn password_not_utf8(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(connect)
        if connect.password.is_some_and(|password| std::str::from_utf8(password).is_err()))
}
