//! Ways to spoil the bytes of a packet.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One way to spoil the bytes of a packet.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Another byte somewhere.
    Replace(Index, u8),
    /// One bit somewhere.
    Flip(Index, u8),
    /// A byte too many somewhere; the Remaining Length counts it.
    Insert(Index, u8),
    /// A byte too few somewhere; the Remaining Length knows.
    Remove(Index),
    /// Some bytes twice; the Remaining Length counts them.
    Repeat(Index, Index),
}

pub(crate) fn mutations() -> BoxedStrategy<Vec<Mutation>> {
    let mutation = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ];
    vec(mutation, 1..3).boxed()
}

impl Mutation {
    pub(crate) fn apply(self, packet: &mut Vec<u8>) {
        let length_bytes = packet[1..]
            .iter()
            .take(4)
            .position(|&byte| byte < 0x80)
            .map_or(1, |at| at + 1);
        let mut body = packet.split_off((1 + length_bytes).min(packet.len()));
        match self {
            Mutation::Replace(at, byte) if !body.is_empty() => {
                let at = at.index(body.len());
                body[at] = byte;
            }
            // The first byte is spoiled when nothing else is there.
            Mutation::Replace(_, byte) => packet[0] = byte,
            Mutation::Flip(at, bit) => {
                let at = at.index(1 + body.len());
                *if at == 0 {
                    &mut packet[0]
                } else {
                    &mut body[at - 1]
                } ^= 1 << bit;
            }
            Mutation::Insert(at, byte) => body.insert(at.index(body.len() + 1), byte),
            Mutation::Remove(at) => {
                if !body.is_empty() {
                    body.remove(at.index(body.len()));
                }
            }
            Mutation::Repeat(from, to) => {
                let (from, to) = (from.index(body.len() + 1), to.index(body.len() + 1));
                let some = body[from.min(to)..from.max(to)].to_vec();
                body.splice(from.min(to)..from.min(to), some);
            }
        }
        packet.truncate(1);
        let mut length = body.len();
        while length >= 0x80 {
            packet.push(length as u8 | 0x80);
            length >>= 7;
        }
        packet.push(length as u8);
        packet.extend(body);
    }
}
