//! Valid packets of every form, cut, lengthened and written again.

use nexum_codec::{DecodeError, Packet, encode};
use nexum_types::ProtocolVersion;

use crate::notation::{V3_1_1, V5, bytes, decode_bytes, variable_byte_integer};

/// Each in the form that encoding gives it.
pub(crate) const SAMPLES: [(ProtocolVersion, &str); 44] = [
    (V3_1_1, "10 | s:MQTT 04 02 003C s:client"),
    (
        V3_1_1,
        "10 | s:MQTT 04 EE 0000 s:client s:will/topic s:gone s:user s:secret",
    ),
    (V3_1_1, "20 | 01 00"),
    (V3_1_1, "20 | 00 05"),
    (V3_1_1, "30 | s:a/b 'payload'"),
    (V3_1_1, "3B | s:a/b 1234 'payload'"),
    (V3_1_1, "34 | s:a/b 1234"),
    (V3_1_1, "40 | 0001"),
    (V3_1_1, "50 | 0001"),
    (V3_1_1, "62 | 0001"),
    (V3_1_1, "70 | 0001"),
    (V3_1_1, "82 | 0001 s:a/+ 00 s:# 01 s:b 02"),
    (V3_1_1, "90 | 0001 00 01 02 80"),
    (V3_1_1, "A2 | 0001 s:a s:b/#"),
    (V3_1_1, "B0 | 0001"),
    (V3_1_1, "C0 |"),
    (V3_1_1, "D0 |"),
    (V3_1_1, "E0 |"),
    (V5, "10 | s:MQTT 05 02 003C [ ] s:client"),
    (
        V5,
        "10 | s:MQTT 05 F6 0000 [ 11 0000000A 21 0005 27 00010000 22 000A 19 01 17 00 26 s:n s:v \
         15 s:method 16 s:data ] s:client [ 18 00000005 02 00000006 01 01 03 s:text 08 s:answers \
         09 s:correlation 26 s:n s:v ] s:will/topic s:gone s:user s:secret",
    ),
    (V5, "20 | 01 00 [ ]"),
    (
        V5,
        "20 | 00 00 [ 11 0000000A 21 0005 24 01 25 00 27 00010000 12 s:assigned 22 000A 1F s:why \
         26 s:n s:v 26 s:n s:w 28 01 29 01 2A 01 13 003C 1A s:answers/ 1C s:other 15 s:method \
         16 s:data ]",
    ),
    (V5, "30 | s:a/b [ ] 'payload'"),
    (
        V5,
        "3D | s:a/b 1234 [ 23 0001 02 00000006 0B 01 0B 8002 01 01 03 s:text 08 s:answers \
         09 s:correlation 26 s:n s:v 26 s:m s:w ] 'payload'",
    ),
    (V5, "32 | s: 1234 [ 23 0001 ]"),
    (V5, "40 | 0001"),
    (V5, "40 | 0001 10"),
    (V5, "40 | 0001 80 [ 1F s:why 26 s:n s:v ]"),
    (V5, "50 | 0001"),
    (V5, "50 | 0001 00 [ 26 s:n s:v ]"),
    (V5, "62 | 0001 92"),
    (V5, "70 | 0001 92 [ 1F s:why ]"),
    (V5, "82 | 0001 [ ] s:a/+ 00"),
    (
        V5,
        "82 | 0001 [ 0B FFFFFF7F 26 s:n s:v ] s:a/+ 00 s:# 1D s:b 2E",
    ),
    (V5, "90 | 0001 [ 1F s:why 26 s:n s:v ] 00 01 02 80 A2"),
    (V5, "A2 | 0001 [ 26 s:n s:v ] s:a s:b/#"),
    (V5, "B0 | 0001 [ 1F s:why 26 s:n s:v ] 00 11 80"),
    (V5, "C0 |"),
    (V5, "D0 |"),
    (V5, "E0 |"),
    (V5, "E0 | 04"),
    (V5, "E0 | 9C [ 11 0000000A 1F s:why 26 s:n s:v 1C s:other ]"),
    (V5, "F0 |"),
    (V5, "F0 | 18 [ 15 s:method 16 s:data 1F s:why 26 s:n s:v ]"),
];

#[test]
fn decode_and_encode_to_themselves() {
    for (version, text) in SAMPLES {
        let bytes = bytes(text);
        let packet =
            decode_bytes(&bytes, version).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut encoded = vec![0xAA];
        encode(&packet, version, &mut encoded).expect("what was decoded fits");
        assert_eq!(encoded[0], 0xAA, "{text}: appended to what is there");
        assert_eq!(encoded[1..], bytes, "{text}");
    }
}

/// The packet with another body of the given length.
fn with_body(packet: &[u8], body: &[u8]) -> Vec<u8> {
    [
        vec![packet[0]],
        variable_byte_integer(body.len()),
        body.to_vec(),
    ]
    .concat()
}

fn body(packet: &[u8]) -> &[u8] {
    let length_bytes = packet[1..]
        .iter()
        .position(|&byte| byte < 0x80)
        .expect("a length")
        + 1;
    &packet[1 + length_bytes..]
}

/// A packet cut anywhere is malformed, unless the cut leaves one of the forms that the
/// specification names.
#[test]
fn cut_anywhere() {
    for (version, text) in SAMPLES {
        let packet = bytes(text);
        let body = body(&packet);
        for length in 0..body.len() {
            let cut = with_body(&packet, &body[..length]);
            let result = decode_bytes(&cut, version);
            if is_a_form_of_its_own(&cut, version) {
                assert!(result.is_ok(), "{text} cut to {length}: {result:?}");
            } else {
                assert!(result.is_err(), "{text} cut to {length}: {result:?}");
            }
        }
    }
}

fn is_a_form_of_its_own(cut: &[u8], version: ProtocolVersion) -> bool {
    let length = body(cut).len();
    match cut[0] >> 4 {
        // A payload of any length, none included: the header of every sample ends before
        // 'payload', and only a cut header is malformed.
        3 => cut.windows(2).any(|w| w == b"/b") && header_is_whole(cut, version),
        // Packet Identifier alone; with a reason code.
        4..=7 => length == 2 || (version == V5 && length == 3),
        // After a whole request, filter or reason code.
        8 | 10 => list_is_whole(cut, version),
        9 | 11 => list_is_whole(cut, version),
        14 => length == 0 || (version == V5 && length == 1),
        15 => length == 0,
        _ => false,
    }
}

/// Whether a PUBLISH is cut in its payload.
fn header_is_whole(cut: &[u8], version: ProtocolVersion) -> bool {
    let body = body(cut);
    let mut header = 5 + if cut[0] & 0b0110 == 0 { 0 } else { 2 };
    if version == V5 {
        let Some(&properties) = body.get(header) else {
            return false;
        };
        header += 1 + usize::from(properties);
    }
    body.len() >= header
}

/// Whether a list ends with a whole element, and has one.
fn list_is_whole(cut: &[u8], version: ProtocolVersion) -> bool {
    let body = body(cut);
    let mut at = 2;
    if version == V5 {
        let Some(&properties) = body.get(at) else {
            return false;
        };
        at += 1 + usize::from(properties);
    }
    match cut[0] >> 4 {
        9 => return body.len() > at,
        11 if version == V5 => return body.len() > at,
        11 => return body.len() == at,
        _ => {}
    }
    let options = if cut[0] >> 4 == 8 { 1 } else { 0 };
    let mut elements = 0;
    while at < body.len() {
        let Some(length) = body.get(at..at + 2) else {
            return false;
        };
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])) + options;
        elements += 1;
    }
    at == body.len() && elements > 0
}

/// The Remaining Length counts nothing that section 3 does not describe.
#[test]
fn lengthened() {
    for (version, text) in SAMPLES {
        let packet = bytes(text);
        let longer = with_body(&packet, &[body(&packet), &[0xFF]].concat());
        let result = decode_bytes(&longer, version);
        match result {
            Ok(Packet::Publish(publish)) => assert_eq!(publish.payload.last(), Some(&0xFF)),
            Err(DecodeError::TrailingBytes { bytes: 1 }) => {}
            // What follows is read as the next element of a list, or as the part that the short
            // form left out.
            Err(DecodeError::Truncated { .. } | DecodeError::ReasonCodeNotAllowed { .. }) => {
                assert!(
                    matches!(packet[0] >> 4, 4..=11 | 14 | 15),
                    "{text}: {result:?}"
                );
            }
            Ok(_) | Err(_) => panic!("{text}: {result:?}"),
        }
    }
}
