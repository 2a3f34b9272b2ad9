//! The properties of MQTT 5 (table 2-4), as bytes, and where each may stand.

use nexum_harness::Frame;

/// One property with a valid value.
pub(crate) struct Sample {
    pub(crate) identifier: u8,
    /// Identifier and value.
    pub(crate) bytes: Vec<u8>,
    /// First bytes of the packets it may stand in; [`WILL`] is the will's part of CONNECT.
    pub(crate) allowed: &'static [u8],
}

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const UNSUBSCRIBE: u8 = 0xA2;
pub(crate) const DISCONNECT: u8 = 0xE0;
pub(crate) const AUTH: u8 = 0xF0;
/// No packet has this first byte.
pub(crate) const WILL: u8 = 0x01;

pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;

/// Identifiers that no property has.
pub(crate) const UNKNOWN: [&[u8]; 6] = [
    &[0x00, 0],
    &[0x04, 0],
    &[0x0A, 0, 0],
    &[0x2B, 1],
    &[0x7F, 0],
    &[0x80, 0x01, 0],
];

/// All 27.
pub(crate) fn all() -> Vec<Sample> {
    let byte = |value: u8| vec![value];
    let two = |value: u16| value.to_be_bytes().to_vec();
    let four = |value: u32| value.to_be_bytes().to_vec();
    let text = |value: &str| {
        // A frame of nothing but a string, less its fixed header.
        Frame::new(0).string(value).bytes().split_off(2)
    };
    let pair = || [text("k"), text("v")].concat();
    const MESSAGE: &[u8] = &[PUBLISH, WILL];
    const EVERYWHERE: &[u8] = &[
        CONNECT,
        PUBLISH,
        WILL,
        PUBACK,
        PUBREC,
        PUBREL,
        PUBCOMP,
        SUBSCRIBE,
        UNSUBSCRIBE,
        DISCONNECT,
        AUTH,
    ];
    // What is allowed to nobody here is allowed to servers.
    let table: [(u8, Vec<u8>, &'static [u8]); 27] = [
        (0x01, byte(1), MESSAGE),
        (0x02, four(60), MESSAGE),
        (0x03, text("a"), MESSAGE),
        (0x08, text("a"), MESSAGE),
        (0x09, text("a"), MESSAGE),
        (SUBSCRIPTION_IDENTIFIER, byte(1), &[PUBLISH, SUBSCRIBE]),
        (0x11, four(0), &[CONNECT, DISCONNECT]),
        (0x12, text("a"), &[]),
        (0x13, two(60), &[]),
        (0x15, text("a"), &[CONNECT, AUTH]),
        (0x16, text("a"), &[CONNECT, AUTH]),
        (0x17, byte(1), &[CONNECT]),
        (0x18, four(1), &[WILL]),
        (0x19, byte(1), &[CONNECT]),
        (0x1A, text("a"), &[]),
        (0x1C, text("a"), &[DISCONNECT]),
        (
            0x1F,
            text("a"),
            &[PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH],
        ),
        (0x21, two(10), &[CONNECT]),
        (0x22, two(10), &[CONNECT]),
        (0x23, two(1), &[PUBLISH]),
        (0x24, byte(1), &[]),
        (0x25, byte(1), &[]),
        (USER_PROPERTY, pair(), EVERYWHERE),
        (0x27, four(1000), &[CONNECT]),
        (0x28, byte(1), &[]),
        (0x29, byte(1), &[]),
        (0x2A, byte(1), &[]),
    ];
    table
        .into_iter()
        .map(|(identifier, value, allowed)| Sample {
            identifier,
            bytes: [vec![identifier], value].concat(),
            allowed,
        })
        .collect()
}
