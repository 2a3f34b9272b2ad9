//! Keys in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// The longest key that takes no allocation, in bytes.
const SHORT: usize = 30;

/// A key of a table. Most are short and lie in place, and most comparisons need no more than their
/// first bytes as a number.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// With zeros behind it.
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Key {
    /// The first bytes, as one number. Where two of them differ, it is in their order: a key that
    /// ends before the other is first, as its zeros are.
    fn head(&self) -> u128 {
        let bytes = match self {
            Key::Short(_, bytes) => &bytes[..],
            Key::Long(bytes) => bytes,
        };
        bytes
            .first_chunk()
            .map_or(0, |first| u128::from_be_bytes(*first))
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Key {
        let mut bytes = [0; SHORT];
        let Some(place) = bytes.get_mut(..key.len()) else {
            return Key::Long(Box::from(key));
        };
        place.copy_from_slice(key);
        Key::Short(key.len() as u8, bytes)
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Key::Short(len, bytes) => &bytes[..usize::from(*len)],
            Key::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        let by_head = self.head().cmp(&other.head());
        by_head.then_with(|| (**self).cmp(&**other))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_bytes() {
        let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
        for length in [1, 2, 15, 16, 17, 29, 30, 31, 60] {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut key = vec![byte; length];
                keys.push(key.clone());
                for last in [0, 0xff] {
                    key[length - 1] = last;
                    keys.push(key.clone());
                }
            }
        }
        for one in &keys {
            for other in &keys {
                let order = Key::from(&one[..]).cmp(&Key::from(&other[..]));
                assert_eq!(order, one.cmp(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_key_is_what_was_given() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(*Key::from(&bytes[..]), bytes[..]);
        }
    }

    #[test]
    fn a_key_takes_no_more_than_half_a_cache_line() {
        assert_eq!(size_of::<Key>(), 32);
    }
}
