//! The Variable Byte Integer (MQTT 5 section 1.5.5; MQTT 3.1.1 section 2.2.3 for the Remaining
//! Length): seven bits a byte, the least significant first, at most four bytes.

/// The largest value four bytes hold: 268,435,455.
pub const MAXIMUM: u32 = 0x0FFF_FFFF;

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// The value and the number of bytes it took.
    Value { value: u32, bytes: usize },
    /// The bytes end before the last one of the integer.
    Incomplete,
    /// A fourth byte announces a fifth.
    TooLong,
    /// Fewer bytes would have held the value.
    NotMinimal,
}

/// Reads the integer at the beginning of `bytes`.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    // Nearly every packet and every property section is shorter than 16,384 bytes.
    match *bytes {
        [first, ..] if first < 0x80 => Decoded::Value {
            value: u32::from(first),
            bytes: 1,
        },
        [first, second, ..] if second < 0x80 && second != 0 => Decoded::Value {
            value: u32::from(first & 0x7F) | u32::from(second) << 7,
            bytes: 2,
        },
        _ => decode_longer(bytes),
    }
}

#[cold]
fn decode_longer(bytes: &[u8]) -> Decoded {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            // [MQTT-1.5.5-1]; MQTT 3.1.1 table 2.4 gives each size the values the smaller ones
            // cannot hold.
            return if byte == 0 && index > 0 {
                Decoded::NotMinimal
            } else {
                Decoded::Value {
                    value,
                    bytes: index + 1,
                }
            };
        }
    }
    if bytes.len() < 4 {
        Decoded::Incomplete
    } else {
        Decoded::TooLong
    }
}

/// How many bytes `value` takes.
#[inline]
#[must_use]
pub(crate) const fn size(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// `value` as bytes: the first [`size`] of the array, the rest is zero.
#[inline]
#[must_use]
pub(crate) const fn encode(value: u32) -> [u8; 4] {
    debug_assert!(value <= MAXIMUM, "four bytes hold no more");
    let mut bytes = [
        value as u8 & 0x7F,
        (value >> 7) as u8 & 0x7F,
        (value >> 14) as u8 & 0x7F,
        (value >> 21) as u8 & 0x7F,
    ];
    let last = size(value) - 1;
    let mut index = 0;
    while index < last {
        bytes[index] |= 0x80;
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        let check =
            |bytes: &[u8], expected: Decoded| assert_eq!(decode(bytes), expected, "{bytes:02X?}");
        let value = |value, bytes| Decoded::Value { value, bytes };
        check(&[], Decoded::Incomplete);
        check(&[0x00], value(0, 1));
        check(&[0x7F, 0xFF], value(127, 1));
        check(&[0x80], Decoded::Incomplete);
        check(&[0x80, 0x01], value(128, 2));
        check(&[0xFF, 0x7F], value(16_383, 2));
        check(&[0x80, 0x80], Decoded::Incomplete);
        check(&[0x80, 0x80, 0x01], value(16_384, 3));
        check(&[0xFF, 0xFF, 0x7F], value(2_097_151, 3));
        check(&[0x80, 0x80, 0x80], Decoded::Incomplete);
        check(&[0x80, 0x80, 0x80, 0x01], value(2_097_152, 4));
        check(&[0xFF, 0xFF, 0xFF, 0x7F], value(MAXIMUM, 4));
        check(&[0xFF, 0xFF, 0xFF, 0x80], Decoded::TooLong);
        check(&[0x80, 0x80, 0x80, 0x80, 0x01], Decoded::TooLong);
        check(&[0x80, 0x00], Decoded::NotMinimal);
        check(&[0xFF, 0x00], Decoded::NotMinimal);
        check(&[0x81, 0x80, 0x00], Decoded::NotMinimal);
        check(&[0x81, 0x80, 0x80, 0x00], Decoded::NotMinimal);
    }

    #[test]
    fn encodes_what_decodes() {
        for value in [
            0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, MAXIMUM,
        ] {
            let bytes = encode(value);
            let bytes = &bytes[..size(value)];
            assert_eq!(
                decode(bytes),
                Decoded::Value {
                    value,
                    bytes: bytes.len()
                },
                "{value}"
            );
        }
    }
}
