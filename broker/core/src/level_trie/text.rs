//! A piece of a topic or filter, inside the structure that has it when it is short.

/// Up to `N` bytes in place, longer ones on the heap. With `N` = 22 it has 24 bytes, with 38 it
/// has 40.
pub(crate) enum Text<const N: usize> {
    Here { len: u8, bytes: [u8; N] },
    Elsewhere(Box<[u8]>),
}

impl<const N: usize> Text<N> {
    pub(crate) fn new(text: &[u8]) -> Text<N> {
        const { assert!(N <= u8::MAX as usize) };
        if text.len() <= N {
            let mut bytes = [0; N];
            bytes[..text.len()].copy_from_slice(text);
            Text::Here {
                len: text.len() as u8,
                bytes,
            }
        } else {
            Text::Elsewhere(Box::from(text))
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Here { len, bytes } => &bytes[..usize::from(*len)],
            Text::Elsewhere(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_what_it_was_given() {
        for len in 0..100 {
            let text = vec![b'x'; len];
            assert_eq!(Text::<22>::new(&text).as_bytes(), text);
        }
    }

    #[test]
    fn it_is_as_small_as_promised() {
        assert_eq!(size_of::<Text<22>>(), 24);
        assert_eq!(size_of::<Option<Text<22>>>(), 24);
        assert_eq!(size_of::<Text<38>>(), 40);
    }
}
