//! QoS 1 and 2 deliveries to one client that are not completed.
//!
//! Packet identifiers are handed out in sequence, so the exchanges of a client that acknowledges
//! in order are a window over that sequence: finding one is a subtraction, and the identifiers
//! come back at its front. What a client leaves unacknowledged while it acknowledges later ones
//! is moved out of the window into a small map, so no client can stretch the window.
//!
//! States of one exchange (section 4.3; Q1, Q2 are the QoS):
//!
//! ```text
//! send Q1 ─► AwaitPubAck ──PUBACK──► done
//! send Q2 ─► AwaitPubRec ──PUBREC──► AwaitPubComp ──PUBCOMP──► done
//!                 └──────PUBREC ≥ 0x80 ──► done
//! ```

use std::collections::{BTreeMap, VecDeque};

use nexum_extension_api::DeliveryId;
use nexum_types::PacketIdentifier;

use super::Delivery;
use crate::address::ExtensionId;

/// The window may be this many times longer than what is unacknowledged in it before its front is
/// moved out…
const SPARSE: usize = 4;
/// …and never so long that an identifier could stand in it twice.
const WINDOW_MAXIMUM: usize = 60_000;

/// Exchanges open at once, at most: half of the identifiers, so that a free one is never far.
pub(crate) const MOST_OPEN: u16 = 32_767;

/// What an exchange waits for.
#[expect(clippy::enum_variant_names, reason = "they are named for the packets")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaiting {
    PubAck,
    PubRec,
    PubComp,
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) awaiting: Awaiting,
    /// What to send again after a reconnection, or to another member of a shared subscription.
    /// `None` if nobody could ever ask for it: the session ends with its connection, or the client
    /// has it.
    pub(crate) delivery: Option<Delivery>,
    /// The position of the delivery.
    pub(crate) position: u64,
    /// The store has a record of it beside that of the delivery.
    pub(crate) recorded: bool,
    /// PUBLISH or PUBREL waits for the store.
    pub(crate) gated: bool,
    /// PUBLISH was sent once.
    pub(crate) sent: bool,
    /// It came from an extension, which is told how it ends.
    pub(crate) feed: Option<FeedDelivery>,
}

/// What an extension calls a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedDelivery {
    pub(crate) extension: ExtensionId,
    pub(crate) delivery: DeliveryId,
}

impl Exchange {
    /// One that nothing is kept of, and whose PUBLISH is being sent.
    pub(crate) fn volatile(awaiting: Awaiting, delivery: Option<Delivery>) -> Exchange {
        Exchange {
            awaiting,
            delivery,
            position: 0,
            recorded: false,
            gated: false,
            sent: true,
            feed: None,
        }
    }
}

/// What became of an acknowledgement.
#[derive(Debug)]
pub(crate) enum Acknowledged {
    /// The exchange is over.
    Completed(Exchange),
    /// PUBREC was taken: PUBREL is due, unless it waits for the store.
    Received {
        /// The first time.
        delivery: Option<Delivery>,
    },
    /// No exchange has this identifier.
    Unknown,
    /// The exchange waits for another kind of acknowledgement.
    Mismatch,
}

#[derive(Debug)]
pub(crate) struct Inflight {
    /// Consecutive identifiers from `front`; `None` is completed.
    window: VecDeque<Option<Exchange>>,
    front: PacketIdentifier,
    /// Exchanges older than the window, by the order in which they were begun.
    stragglers: BTreeMap<u64, (PacketIdentifier, Exchange)>,
    straggler_positions: BTreeMap<PacketIdentifier, u64>,
    /// How many exchanges left the front of the window: with an index into it, an order.
    passed: u64,
    open: usize,
}

impl Inflight {
    pub(crate) fn new() -> Inflight {
        Inflight {
            window: VecDeque::new(),
            front: PacketIdentifier::FIRST,
            stragglers: BTreeMap::new(),
            straggler_positions: BTreeMap::new(),
            passed: 0,
            open: 0,
        }
    }

    /// Exchanges not completed.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Begins an exchange under the next free identifier.
    ///
    /// # Panics
    /// If [`MOST_OPEN`] are open already; the send quota is not larger.
    pub(crate) fn begin(&mut self, exchange: Exchange) -> PacketIdentifier {
        assert!(
            self.open < usize::from(MOST_OPEN),
            "the send quota bounds the exchanges"
        );
        let id = loop {
            let in_window = self.open - self.stragglers.len();
            if self.window.len() > (SPARSE * in_window + 64).min(WINDOW_MAXIMUM) {
                self.move_front_out();
            }
            let id = self.next_identifier();
            if !self.straggler_positions.contains_key(&id) {
                break id;
            }
            self.window.push_back(None);
            self.trim();
        };
        self.window.push_back(Some(exchange));
        self.open += 1;
        id
    }

    /// PUBACK (QoS 1) or PUBCOMP (QoS 2).
    pub(crate) fn complete(&mut self, id: PacketIdentifier, expected: Awaiting) -> Acknowledged {
        match self.find(id).map(|exchange| exchange.awaiting) {
            None => Acknowledged::Unknown,
            Some(awaiting) if awaiting != expected => Acknowledged::Mismatch,
            Some(_) => match self.remove(id) {
                Some(exchange) => Acknowledged::Completed(exchange),
                None => Acknowledged::Unknown,
            },
        }
    }

    /// PUBREC with a reason code below 0x80.
    pub(crate) fn receive(&mut self, id: PacketIdentifier) -> Acknowledged {
        match self.find(id) {
            None => Acknowledged::Unknown,
            Some(exchange) => match exchange.awaiting {
                Awaiting::PubAck => Acknowledged::Mismatch,
                // A PUBREC that is repeated is answered by PUBREL again.
                Awaiting::PubRec | Awaiting::PubComp => {
                    exchange.awaiting = Awaiting::PubComp;
                    Acknowledged::Received {
                        delivery: exchange.delivery.take(),
                    }
                }
            },
        }
    }

    /// The exchange under an identifier.
    pub(crate) fn get_mut(&mut self, id: PacketIdentifier) -> Option<&mut Exchange> {
        self.find(id)
    }

    /// Takes an exchange out, whatever it waits for.
    pub(crate) fn take(&mut self, id: PacketIdentifier) -> Option<Exchange> {
        self.remove(id)
    }

    /// Puts an exchange back under the identifier it had before a restart: in the order of sending,
    /// before [`begin`](Self::begin) is called.
    pub(crate) fn restore(&mut self, id: PacketIdentifier, exchange: Exchange) {
        if self.straggler_positions.contains_key(&id) {
            return;
        }
        self.stragglers.insert(self.passed, (id, exchange));
        self.straggler_positions.insert(id, self.passed);
        self.passed += 1;
        self.open += 1;
    }

    /// New identifiers begin behind this one.
    pub(crate) fn begin_after(&mut self, id: PacketIdentifier) {
        self.front = id.next();
    }

    /// The exchanges in the order in which they were begun, from position `from` on; positions
    /// stay what they are while exchanges complete.
    pub(crate) fn first_from(&self, from: u64) -> Option<(u64, PacketIdentifier, &Exchange)> {
        if let Some((position, (id, exchange))) = self.stragglers.range(from..).next() {
            return Some((*position, *id, exchange));
        }
        let skip = (from.saturating_sub(self.passed) as usize).min(self.window.len());
        let index = skip + self.window.range(skip..).position(Option::is_some)?;
        let exchange = self.window[index].as_ref()?;
        Some((
            self.passed + index as u64,
            self.identifier_at(index),
            exchange,
        ))
    }

    /// Where an exchange stands in the order of [`first_from`](Self::first_from).
    pub(crate) fn position(&self, id: PacketIdentifier) -> Option<u64> {
        let index = usize::from(id.steps_since(self.front));
        if self.window.get(index).is_some_and(Option::is_some) {
            return Some(self.passed + index as u64);
        }
        self.straggler_positions.get(&id).copied()
    }

    /// What would be sent again, in no order.
    pub(crate) fn deliveries_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.exchanges_mut()
            .filter_map(|exchange| exchange.delivery.as_mut())
    }

    /// All of them, in no order.
    pub(crate) fn exchanges_mut(&mut self) -> impl Iterator<Item = &mut Exchange> {
        let stragglers = self.stragglers.values_mut().map(|(_, exchange)| exchange);
        stragglers.chain(self.window.iter_mut().flatten())
    }

    /// Takes out every exchange that `wanted` chooses, oldest first.
    pub(crate) fn extract(
        &mut self,
        mut wanted: impl FnMut(&Exchange) -> bool,
    ) -> Vec<(PacketIdentifier, Exchange)> {
        let mut extracted = Vec::new();
        let positions: Vec<u64> = self
            .stragglers
            .iter()
            .filter(|(_, (_, exchange))| wanted(exchange))
            .map(|(position, _)| *position)
            .collect();
        for position in positions {
            if let Some((id, exchange)) = self.stragglers.remove(&position) {
                self.straggler_positions.remove(&id);
                extracted.push((id, exchange));
            }
        }
        for index in 0..self.window.len() {
            let id = self.identifier_at(index);
            let slot = &mut self.window[index];
            if slot.as_ref().is_some_and(&mut wanted)
                && let Some(exchange) = slot.take()
            {
                extracted.push((id, exchange));
            }
        }
        self.open -= extracted.len();
        self.trim();
        extracted
    }

    fn next_identifier(&self) -> PacketIdentifier {
        self.identifier_at(self.window.len())
    }

    fn identifier_at(&self, index: usize) -> PacketIdentifier {
        // The sequence has 65,535 members: 1 to 65,535.
        let value = (u32::from(self.front.value()) - 1 + index as u32) % u32::from(u16::MAX) + 1;
        PacketIdentifier::new(value as u16).expect("between 1 and 65,535")
    }

    fn find(&mut self, id: PacketIdentifier) -> Option<&mut Exchange> {
        let index = usize::from(id.steps_since(self.front));
        if self.window.get(index).is_some_and(Option::is_some) {
            return self.window[index].as_mut();
        }
        let position = self.straggler_positions.get(&id)?;
        self.stragglers
            .get_mut(position)
            .map(|(_, exchange)| exchange)
    }

    fn remove(&mut self, id: PacketIdentifier) -> Option<Exchange> {
        let index = usize::from(id.steps_since(self.front));
        let removed = match self.window.get_mut(index).and_then(Option::take) {
            Some(exchange) => {
                if index == 0 {
                    self.trim();
                }
                Some(exchange)
            }
            None => {
                let position = self.straggler_positions.remove(&id)?;
                self.stragglers
                    .remove(&position)
                    .map(|(_, exchange)| exchange)
            }
        };
        if removed.is_some() {
            self.open -= 1;
        }
        removed
    }

    /// Drops completed exchanges from the front.
    fn trim(&mut self) {
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.front = self.front.next();
            self.passed += 1;
        }
        if self.window.is_empty() && self.window.capacity() > 64 {
            self.window = VecDeque::new();
        }
    }

    fn move_front_out(&mut self) {
        let id = self.front;
        if let Some(Some(exchange)) = self.window.pop_front() {
            self.stragglers.insert(self.passed, (id, exchange));
            self.straggler_positions.insert(id, self.passed);
        }
        self.front = self.front.next();
        self.passed += 1;
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn qos1() -> Exchange {
        Exchange::volatile(Awaiting::PubAck, None)
    }

    #[test]
    fn identifiers_follow_each_other_and_wrap_past_zero() {
        let mut inflight = Inflight::new();
        let mut last = 0_u16;
        for _ in 0..200_000 {
            let id = inflight.begin(qos1());
            assert_eq!(id.value(), if last == u16::MAX { 1 } else { last + 1 });
            last = id.value();
            assert!(matches!(
                inflight.complete(id, Awaiting::PubAck),
                Acknowledged::Completed(_)
            ));
        }
        assert!(inflight.is_empty());
    }

    #[test]
    fn one_that_is_never_acknowledged_does_not_stop_the_others() {
        let mut inflight = Inflight::new();
        let stuck = inflight.begin(qos1());
        for _ in 0..200_000 {
            let id = inflight.begin(qos1());
            assert_ne!(id, stuck, "still taken");
            assert!(matches!(
                inflight.complete(id, Awaiting::PubAck),
                Acknowledged::Completed(_)
            ));
            assert!(inflight.window.len() < 1000);
        }
        assert_eq!(inflight.len(), 1);
        assert_eq!(inflight.first_from(0).map(|(_, id, _)| id), Some(stuck));
    }

    #[test]
    fn the_wrong_acknowledgement_changes_nothing() {
        let mut inflight = Inflight::new();
        let one = inflight.begin(qos1());
        let two = inflight.begin(Exchange::volatile(Awaiting::PubRec, None));
        assert!(matches!(inflight.receive(one), Acknowledged::Mismatch));
        assert!(matches!(
            inflight.complete(one, Awaiting::PubComp),
            Acknowledged::Mismatch
        ));
        assert!(matches!(
            inflight.complete(two, Awaiting::PubAck),
            Acknowledged::Mismatch
        ));
        assert!(matches!(
            inflight.complete(two, Awaiting::PubComp),
            Acknowledged::Mismatch
        ));
        assert!(matches!(
            inflight.receive(two),
            Acknowledged::Received { delivery: None }
        ));
        assert!(matches!(
            inflight.receive(two),
            Acknowledged::Received { delivery: None }
        ));
        assert!(matches!(
            inflight.complete(two, Awaiting::PubComp),
            Acknowledged::Completed(_)
        ));
        assert!(matches!(
            inflight.complete(two, Awaiting::PubComp),
            Acknowledged::Unknown
        ));
        assert_eq!(inflight.len(), 1);
    }

    #[test]
    fn as_many_as_may_be_open_have_identifiers_of_their_own() {
        let mut inflight = Inflight::new();
        let mut open: VecDeque<PacketIdentifier> = VecDeque::new();
        for n in 0..400_000_usize {
            if open.len() == usize::from(MOST_OPEN) {
                // One in a while from near the front, most from the back.
                let at = if n % 100 == 0 { 10 } else { open.len() - 2 };
                let id = open.remove(at).expect("it is long");
                assert!(matches!(
                    inflight.complete(id, Awaiting::PubAck),
                    Acknowledged::Completed(_)
                ));
            }
            open.push_back(inflight.begin(qos1()));
        }
        let distinct: BTreeSet<_> = open.iter().collect();
        assert_eq!(distinct.len(), open.len());
        assert_eq!(inflight.len(), open.len());
    }

    proptest! {
        #[test]
        fn identifiers_in_use_are_distinct_and_kept_in_order(acks in prop::collection::vec((0_usize..40, 1_usize..5), 1..400)) {
            let mut inflight = Inflight::new();
            let mut model: Vec<PacketIdentifier> = Vec::new();
            for (ack, begins) in acks {
                for _ in 0..begins {
                    if model.len() < 50 {
                        model.push(inflight.begin(qos1()));
                    }
                }
                if ack < model.len() {
                    let id = model.remove(ack);
                    prop_assert!(matches!(inflight.complete(id, Awaiting::PubAck), Acknowledged::Completed(_)));
                }
                prop_assert_eq!(model.iter().collect::<BTreeSet<_>>().len(), model.len());
                let mut order = Vec::new();
                let mut from = 0;
                while let Some((position, id, _)) = inflight.first_from(from) {
                    order.push(id);
                    from = position + 1;
                }
                prop_assert_eq!(&order, &model);
                prop_assert_eq!(inflight.len(), model.len());
            }
        }
    }
}
