//! Properties that travel with a value, without what was said to the broker.
//!
//! On MQTT 5 options are User Properties, and so is what watchers are told beside a value. What a
//! client said of the one must not pass for the other.

use std::borrow::Cow;

use nexum_extension_api::Options;

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

/// What watchers are told, besides the options.
const TOLD: [&[u8]; 2] = [b"op", b"resync"];

/// Leaves out User Properties that are options, or that watchers are told. Properties are those of
/// PUBLISH that travel, as MQTT 5 encodes them.
pub(crate) fn of_value(properties: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let mut rest = properties;
    while !rest.is_empty() {
        // What cannot be read was checked by somebody who can.
        let Some((length, name)) = first(rest) else {
            return Cow::Borrowed(properties);
        };
        let (property, behind) = rest.split_at(length);
        if !name.is_some_and(is_said_to_the_broker) {
            kept.extend_from_slice(property);
        }
        rest = behind;
    }
    if kept.len() == properties.len() {
        return Cow::Borrowed(properties);
    }
    Cow::Owned(kept)
}

fn is_said_to_the_broker(name: &[u8]) -> bool {
    let is_option = std::str::from_utf8(name).is_ok_and(Options::is_key);
    is_option || TOLD.contains(&name)
}

/// How long the first property is, and its name if it is a User Property.
fn first(properties: &[u8]) -> Option<(usize, Option<&[u8]>)> {
    let (identifier, rest) = properties.split_first()?;
    match *identifier {
        PAYLOAD_FORMAT_INDICATOR => (!rest.is_empty()).then_some((2, None)),
        CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA => {
            let value = text(rest)?;
            Some((1 + 2 + value.len(), None))
        }
        USER_PROPERTY => {
            let name = text(rest)?;
            let value = text(&rest[2 + name.len()..])?;
            Some((1 + 2 + name.len() + 2 + value.len(), Some(name)))
        }
        _ => None,
    }
}

/// Bytes behind their length.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![USER_PROPERTY];
        for text in [name, value] {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn what_was_said_to_the_broker_does_not_travel() {
        let others = [
            &[PAYLOAD_FORMAT_INDICATOR, 1][..],
            &[CONTENT_TYPE, 0, 2, b'a', b'b'],
            &[CORRELATION_DATA, 0, 1, 0xff],
        ]
        .concat();
        let said = [
            user("rev", "1"),
            others.clone(),
            user("op", "del"),
            user("unit", "bar"),
            user("ttl", ""),
        ];
        let expected = [others, user("unit", "bar")].concat();
        assert_eq!(*of_value(&said.concat()), *expected);
        assert!(matches!(of_value(&expected), Cow::Borrowed(_)));
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let whole = [user("rev", "1"), user("a", "b")].concat();
        for length in 0..whole.len() {
            let cut = &whole[..length];
            let kept = of_value(cut);
            assert!(kept.len() <= cut.len());
        }
        let unknown = [user("rev", "1"), vec![0x7f]].concat();
        assert_eq!(*of_value(&unknown), *unknown);
    }
}
