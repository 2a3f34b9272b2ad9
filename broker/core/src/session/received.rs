//! QoS 2 Packet Identifiers that a client has used and not released (section 4.3.3).

use hashbrown::HashSet;
use nexum_types::PacketIdentifier;

/// Between PUBLISH and PUBREL an identifier is here, and a PUBLISH that repeats it is not routed
/// again.
#[derive(Default)]
pub(crate) struct ReceivedIdentifiers {
    /// At most the broker's Receive Maximum on MQTT 5, at most 65,535 on 3.1.1. The keys are a
    /// client's own and two bytes long: it can slow itself down and nobody else, so the hasher
    /// needs no seed.
    identifiers: HashSet<PacketIdentifier, foldhash::fast::FixedState>,
}

impl ReceivedIdentifiers {
    pub(crate) fn len(&self) -> usize {
        self.identifiers.len()
    }

    /// False if it was there already: the message is a repetition.
    pub(crate) fn insert(&mut self, id: PacketIdentifier) -> bool {
        self.identifiers.insert(id)
    }

    pub(crate) fn contains(&self, id: PacketIdentifier) -> bool {
        self.identifiers.contains(&id)
    }

    /// False if it was not there.
    pub(crate) fn remove(&mut self, id: PacketIdentifier) -> bool {
        let removed = self.identifiers.remove(&id);
        if removed && self.identifiers.is_empty() && self.identifiers.capacity() > 256 {
            self.identifiers = HashSet::default();
        }
        removed
    }
}
