//! A line in which nobody can stand in front of everybody.
//!
//! Who waits is served by address in turn, and when the line is full, whoever has most in it gives
//! way. So a flood from one address, or from one network of IPv6, makes those of other addresses
//! wait for one of its own at most, and fills the line for nobody but itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 address that belong to the network; the rest its host chooses freely.
const IPV6_NETWORK: u32 = 64;

/// What waits, by where it came from. `None` is what has no address.
pub(crate) struct FairLine<T> {
    most: usize,
    waiting: BTreeMap<Option<IpAddr>, VecDeque<T>>,
    /// Those with something waiting, the next first.
    turns: VecDeque<Option<IpAddr>>,
    len: usize,
}

impl<T> FairLine<T> {
    /// An empty line for `most` at once, at least one.
    pub(crate) fn new(most: usize) -> FairLine<T> {
        FairLine {
            most,
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }

    /// Puts one behind the others of its address. If that is one too many, returns the last of the
    /// address that has most, which is this one if no other has more.
    pub(crate) fn push(&mut self, address: Option<IpAddr>, one: T) -> Option<T> {
        let from = address.map(network);
        let own = self.waiting.entry(from).or_default();
        if own.is_empty() {
            self.turns.push_back(from);
        }
        own.push_back(one);
        self.len += 1;
        if self.len <= self.most {
            return None;
        }
        let lines = self.waiting.iter();
        let (most, _) = lines.max_by_key(|(address, line)| (line.len(), **address == from))?;
        self.take(*most, VecDeque::pop_back)
    }

    /// The first of the address whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let next = *self.turns.front()?;
        let one = self.take(next, VecDeque::pop_front);
        if self.waiting.contains_key(&next) {
            self.turns.rotate_left(1);
        }
        one
    }

    fn take(
        &mut self,
        from: Option<IpAddr>,
        end: impl FnOnce(&mut VecDeque<T>) -> Option<T>,
    ) -> Option<T> {
        let line = self.waiting.get_mut(&from)?;
        let one = end(line)?;
        self.len -= 1;
        if line.is_empty() {
            self.waiting.remove(&from);
            self.turns.retain(|other| *other != from);
        }
        Some(one)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let host = 128 - IPV6_NETWORK;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> host << host))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn rest(line: &mut FairLine<u32>) -> Vec<u32> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[test]
    fn addresses_take_turns() {
        let mut line = FairLine::new(100);
        for (from, one) in [
            ("10.0.0.1", 1),
            ("10.0.0.1", 2),
            ("10.0.0.1", 3),
            ("10.0.0.2", 4),
        ] {
            assert_eq!(line.push(address(from), one), None);
        }
        assert_eq!(line.push(None, 5), None);
        assert_eq!(rest(&mut line), [1, 4, 5, 2, 3]);
        assert_eq!(line.len, 0);
        assert!(line.waiting.is_empty() && line.turns.is_empty());
    }

    #[test]
    fn a_full_line_has_room_for_all_but_who_filled_it() {
        let mut line = FairLine::new(4);
        for one in 1..=4 {
            assert_eq!(line.push(address("10.0.0.1"), one), None);
        }
        assert_eq!(line.push(address("10.0.0.1"), 5), Some(5), "its own last");
        assert_eq!(line.push(address("10.0.0.2"), 6), Some(4));
        assert_eq!(line.push(address("10.0.0.3"), 7), Some(3));
        assert_eq!(rest(&mut line), [1, 6, 7, 2]);
    }

    #[test]
    fn whoever_comes_to_a_full_line_of_equals_is_the_one_too_many() {
        let mut line = FairLine::new(2);
        line.push(address("10.0.0.2"), 1);
        line.push(address("10.0.0.3"), 2);
        assert_eq!(line.push(address("10.0.0.1"), 3), Some(3));
        assert_eq!(rest(&mut line), [1, 2]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut line = FairLine::new(2);
        line.push(address("2001:db8::1"), 1);
        line.push(address("2001:db8::2"), 2);
        assert_eq!(line.push(address("2001:db8:0:0:ffff::3"), 3), Some(3));
        assert_eq!(line.push(address("2001:db8:0:1::1"), 4), Some(2));
        let canonical = |text: &str| address(text).map(network);
        assert_eq!(canonical("::ffff:10.0.0.1"), canonical("10.0.0.1"));
    }
}
