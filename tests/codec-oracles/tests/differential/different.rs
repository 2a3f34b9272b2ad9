//! What other codecs read as something else: each class with the sentence that settles it.

use nexum_codec_oracles::Oracle;
use nexum_types::ProtocolVersion::{self, V3_1_1, V5};

use crate::comparison::{Disagreement, compare};
use crate::notation::bytes;

struct Different {
    oracle: Oracle,
    /// The fields that it reads or writes in its own way, some or all of them at a time.
    parts: &'static [&'static str],
    /// The sentence of the specification.
    why: &'static str,
    /// A packet where all of them show.
    examples: &'static [(ProtocolVersion, &'static str)],
}

pub(crate) fn is_explained(parts: &[String], oracle: Oracle) -> bool {
    DIFFERENT.iter().any(|row| {
        row.oracle == oracle && parts.iter().all(|part| row.parts.contains(&part.as_str()))
    })
}

#[test]
fn the_examples_still_show_it() {
    for row in DIFFERENT {
        assert!(!row.why.is_empty());
        for &(version, text) in row.examples {
            let parts = row.parts.iter().map(ToString::to_string).collect();
            let expected = Some(Disagreement::Different(parts));
            assert_eq!(
                compare(&bytes(text), version, row.oracle),
                expected,
                "{version:?} {text}"
            );
        }
    }
}

const DIFFERENT: &[Different] = &[
    Different {
        oracle: Oracle::RmqttCodec,
        parts: &["Payload Format Indicator"],
        why: "Section 3.3.2.3.2: 0 is \"equivalent to not sending a Payload Format Indicator\", but \
              [MQTT-3.3.2-4]: \"MUST send the Payload Format Indicator unaltered\"",
        examples: &[(V5, "30 | s:a [ 01 00 ]")],
    },
    Different {
        oracle: Oracle::RmqttCodec,
        parts: &[
            "retain_available",
            "shared_subscription_available",
            "subscription_identifiers_available",
            "wildcard_subscription_available",
        ],
        why: "Sections 3.2.2.3.5 and 3.2.2.3.11 to 13: 1 says the same as the property's absence, \
              which is all that it keeps",
        examples: &[(V5, "20 | 00 00 [ 25 01 28 01 29 01 2A 01 ]")],
    },
    Different {
        oracle: Oracle::RmqttCodec,
        parts: &["what it writes: AuthenticationMethodMissing"],
        why: "Section 3.15.2.1: Reason Code and Property Length can be left out together, and \
              section 3.15.2.2.2: \"It is a Protocol Error to omit the Authentication Method\" if not",
        examples: &[(V5, "F0 |")],
    },
    Different {
        oracle: Oracle::Mqttbytes,
        parts: &["password", "secrets", "user_name"],
        why: "[MQTT3-3.1.2-19] [MQTT3-3.1.2-21]: a flag that is set means that the field is \
              present; it may be empty (section 3.1.3.5: \"0 to 65535 bytes\"), which is not the \
              same as none",
        examples: &[(V3_1_1, "10 | s:MQTT 04 C2 0000 s:c s: s:")],
    },
];
