use std::num::NonZeroU16;

/// Names one exchange in flight on a session, in one direction; never zero
/// ([MQTT-2.2.1-3], [MQTT3-2.3.1-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentifier(NonZeroU16);

impl PacketIdentifier {
    /// The identifier a new session starts with.
    pub const FIRST: PacketIdentifier = PacketIdentifier(NonZeroU16::MIN);

    /// `None` for zero.
    #[must_use]
    pub const fn new(value: u16) -> Option<PacketIdentifier> {
        match NonZeroU16::new(value) {
            Some(value) => Some(PacketIdentifier(value)),
            None => None,
        }
    }

    /// The identifier as it stands in a packet.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 65,535 is followed by 1.
    #[must_use]
    pub const fn next(self) -> PacketIdentifier {
        match self.0.checked_add(1) {
            Some(next) => PacketIdentifier(next),
            None => PacketIdentifier::FIRST,
        }
    }

    /// How many steps of [`next`](Self::next) lead from `earlier` to this one: 0 to 65,534.
    #[must_use]
    pub const fn steps_since(self, earlier: PacketIdentifier) -> u16 {
        let (to, from) = (self.value(), earlier.value());
        if to >= from {
            to - from
        } else {
            u16::MAX - from + to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketIdentifier {
        PacketIdentifier::new(value).expect("the tests use no zero")
    }

    #[test]
    fn zero_is_no_identifier() {
        assert_eq!(PacketIdentifier::new(0), None);
    }

    #[test]
    fn next_skips_zero_and_steps_count_it() {
        assert_eq!(id(65_535).next(), id(1));
        assert_eq!(id(1).steps_since(id(65_535)), 1);
        assert_eq!(id(7).steps_since(id(7)), 0);
        assert_eq!(id(6).steps_since(id(7)), 65_534);
    }
}
