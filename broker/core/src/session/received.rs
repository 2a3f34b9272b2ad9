//! QoS 2 Packet Identifiers that a client has used and not released (section 4.3.3).

use hashbrown::HashMap;
use nexum_types::PacketIdentifier;

use crate::peer::Receipt;

/// What is known of a publication that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Its identifier is here and nowhere else.
    Here,
    /// The record of its identifier, with the message, is on its way into the store.
    Waiting,
    /// As before, and its client has sent it again on a later connection, which is owed this.
    AskedAgain(Receipt),
    /// The store has the record.
    Stored,
}

/// Between PUBLISH and PUBREL an identifier is here, and a PUBLISH that repeats it is not routed
/// again.
#[derive(Default)]
pub(crate) struct ReceivedIdentifiers {
    /// At most the broker's Receive Maximum on MQTT 5, at most 65,535 on 3.1.1. The keys are a
    /// client's own and two bytes long: it can slow itself down and nobody else, so the hasher
    /// needs no seed.
    identifiers: HashMap<PacketIdentifier, Received, foldhash::fast::FixedState>,
}

impl ReceivedIdentifiers {
    pub(crate) fn len(&self) -> usize {
        self.identifiers.len()
    }

    pub(crate) fn insert(&mut self, id: PacketIdentifier, received: Received) {
        self.identifiers.insert(id, received);
    }

    pub(crate) fn get_mut(&mut self, id: PacketIdentifier) -> Option<&mut Received> {
        self.identifiers.get_mut(&id)
    }

    /// Which acknowledgement waits for it beside the first.
    pub(crate) fn asked_again(&self, id: PacketIdentifier) -> Option<Receipt> {
        match self.identifiers.get(&id)? {
            Received::AskedAgain(receipt) => Some(*receipt),
            Received::Here | Received::Waiting | Received::Stored => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketIdentifier, Received)> {
        self.identifiers
            .iter()
            .map(|(id, received)| (*id, *received))
    }

    /// `None` if it was not there.
    pub(crate) fn remove(&mut self, id: PacketIdentifier) -> Option<Received> {
        let removed = self.identifiers.remove(&id);
        if removed.is_some() && self.identifiers.is_empty() && self.identifiers.capacity() > 256 {
            self.identifiers = HashMap::default();
        }
        removed
    }
}
