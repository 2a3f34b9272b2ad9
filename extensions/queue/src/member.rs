//! Consumers: sessions that are connected, and what they are of each queue.

use std::collections::VecDeque;

use nexum_extension_api::{ConsumerId, FeedId};
use nexum_types::Time;

use crate::filter::Form;
use crate::line::Standing;

/// Where a queue is among the queues.
pub(crate) type Slot = u32;

/// A session that is connected, or whose deliveries are still out.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    /// It is connected; otherwise only its deliveries are left.
    pub(crate) is_attached: bool,
    /// It can be told what stands beside a message.
    pub(crate) takes_properties: bool,
    /// Deliveries it may be sent.
    pub(crate) credit: u32,
    /// Leases that it acknowledged to the broker and has not settled: each takes credit, too.
    pub(crate) held_leases: u32,
    pub(crate) feeds: Vec<FeedId>,
    /// Deliveries of it that are not over, or not settled, and some that are; oldest first.
    pub(crate) flights: Vec<u64>,
    /// How many of them are not.
    pub(crate) open: usize,
    /// Queues that had something for it when it had no room, the longest ago first.
    pub(crate) asleep: VecDeque<Slot>,
}

impl Consumer {
    /// A delivery goes out to it.
    pub(crate) fn take_off(&mut self, delivery: u64) {
        self.credit = self.credit.saturating_sub(1);
        self.flights.push(delivery);
        self.open += 1;
    }

    /// One of its deliveries is over, and settled or never will be; `is_open` knows which are not.
    pub(crate) fn land(&mut self, is_open: impl Fn(u64) -> bool) {
        self.open = self.open.saturating_sub(1);
        if self.flights.len() > 2 * self.open + 32 {
            self.flights.retain(|delivery| is_open(*delivery));
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.credit > self.held_leases
    }
}

/// A subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) consumer: ConsumerId,
    pub(crate) slot: Slot,
}

/// What a consumer is of one queue.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Its feeds; whichever was served last is last.
    pub(crate) feeds: Vec<MemberFeed>,
    pub(crate) unsettled: u32,
    /// When it was served last: counted, not timed.
    pub(crate) turn: u64,
    /// Where it stands in the crew of each of its selectors.
    pub(crate) standing: Option<Standing>,
    /// The queue is in [`Consumer::asleep`].
    pub(crate) is_asleep: bool,
}

/// A feed of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberFeed {
    pub(crate) feed: FeedId,
    pub(crate) selector: u32,
    pub(crate) form: Form,
}

/// A delivery, until it is settled and what was delivered is somebody else's, or nobody's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
    pub(crate) consumer: ConsumerId,
    pub(crate) is_lease: bool,
    /// When somebody else gets what was delivered.
    pub(crate) lapses: Time,
    /// It has a timer of its own for that.
    pub(crate) has_timer: bool,
    /// What was delivered is not this consumer's any more.
    pub(crate) is_over: bool,
    /// The consumer has its credit back.
    pub(crate) is_settled: bool,
    /// The connection it went to is lost: it has no credit to give back.
    pub(crate) is_orphan: bool,
    /// It was still on its way then: it comes back, and was no attempt.
    pub(crate) is_returning: bool,
}
