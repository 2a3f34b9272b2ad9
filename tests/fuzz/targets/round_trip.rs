//! What decodes encodes to something that decodes to the same, in the shortest form from then on;
//! and a PUBLISH written the quick way, for either version, is the message that was read.
//!
//! The first byte of the input chooses the version: 4 or 5, by its lowest bit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexum_codec::{
    Outbound, Packet, Publish, Split, decode, decode_publish, encode, encode_publish_header,
    publish_size, split_frame,
};
use nexum_types::ProtocolVersion;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let version =
        if choice & 1 == 0 { ProtocolVersion::V3_1_1 } else { ProtocolVersion::V5 };
    let Ok(Split::Frame(frame)) = split_frame(bytes, u32::MAX) else { return };
    let Ok(packet) = decode(frame, version) else { return };
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };

    let written = write(&packet, version);
    assert!(written.len() <= frame.size + 1, "the shortest form is not longer");
    let again = read(&written, version);
    assert_eq!(again, packet);
    assert_eq!(write(&again, version), written);

    if let Packet::Publish(publish) = packet {
        forward(&publish, version);
        if publish.topic.is_some() {
            forward(&publish, ProtocolVersion::V3_1_1);
        }
        forward(&publish, ProtocolVersion::V5);
    }
});

fn write(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    encode(packet, version, &mut out).expect("what was decoded fits");
    out
}

fn read(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    let Ok(Split::Frame(frame)) = split_frame(bytes, u32::MAX) else { panic!("a whole packet") };
    assert_eq!(frame.size, bytes.len());
    decode(frame, version).expect("what was encoded decodes")
}

/// As the broker sends it on.
fn forward(publish: &Publish<'_>, version: ProtocolVersion) {
    let mut properties = Vec::new();
    publish.properties.write_to(&mut properties);
    assert_eq!(properties.len(), publish.properties.encoded_bytes());
    let identifiers: Vec<u32> = publish.subscription_identifiers.iter().collect();
    let outbound = Outbound {
        dup: publish.dup,
        retain: publish.retain,
        delivery: publish.delivery,
        topic: publish.topic.map_or("", |topic| topic.as_str()),
        topic_alias: publish.topic_alias.map(|alias| alias.get()),
        message_expiry_interval_seconds: publish.message_expiry_interval_seconds,
        subscription_identifiers: &identifiers,
        properties: &properties,
        payload_bytes: publish.payload.len(),
    };
    let mut out = Vec::new();
    encode_publish_header(&outbound, version, &mut out);
    out.extend_from_slice(publish.payload);
    assert_eq!(publish_size(&outbound, version), out.len());
    let Ok(Split::Frame(frame)) = split_frame(&out, u32::MAX) else { panic!("a whole packet") };
    let forwarded = decode_publish(frame, version).expect("what was encoded decodes");
    match version {
        ProtocolVersion::V5 => assert_eq!(forwarded, *publish),
        ProtocolVersion::V3_1_1 => {
            assert_eq!((forwarded.topic, forwarded.payload), (publish.topic, publish.payload));
        }
    }
}
