//! What is ready, in the order in which it is handed out, by who may have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nexum_extension_api::ConsumerId;

use crate::entry::{Entry, Route, State};
use crate::filter::Filter;
use crate::queue_options::Order;

/// A consumer that has room, by who is next: unsettled deliveries, then whose turn is longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    pub(crate) load: u32,
    pub(crate) turn: u64,
    pub(crate) consumer: ConsumerId,
}

/// One of the filters in use, what is ready for it, and who waits for that.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) id: u32,
    pub(crate) filter: Filter,
    /// Ranks, the next one first.
    pub(crate) ready: BTreeSet<Rank>,
    /// Who has room, the next one first.
    pub(crate) crew: BTreeSet<Standing>,
    /// The next one is being read.
    pub(crate) is_reading: bool,
    feeds: u32,
}

/// Where a message stands in the order: 255 less its priority, then its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64);

/// Numbers have so many bits: at a million messages a second, two thousand years.
const NUMBER_BITS: u32 = 56;

impl Rank {
    fn new(order: Order, priority: u8, sequence: u64) -> Rank {
        let urgency = match order {
            Order::Priority => u8::MAX - priority,
            Order::Fifo | Order::Key => 0,
        };
        Rank(u64::from(urgency) << NUMBER_BITS | sequence)
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

/// Messages of one key: at most one of them is out or rests, and the others wait for it.
#[derive(Debug, Default)]
struct Lane {
    /// With what finds out whose they are: messages of one key may have different levels.
    waiting: BTreeMap<u64, Option<Arc<Route>>>,
    /// One, or more where somebody comes with a receipt of before the start.
    busy: BTreeSet<u64>,
    /// Which one is handed out next.
    shown: Option<u64>,
}

/// The order of a queue.
///
/// A message that is ready is in the set of each selector whose filter it matches, unless another
/// one of its key goes first; a dead letter that nobody has is in the set of [`Filter::Dead`].
#[derive(Debug)]
pub(crate) struct Line {
    order: Order,
    /// The first is [`Filter::All`], and is always there.
    pub(crate) selectors: Vec<Selector>,
    lanes: BTreeMap<Arc<str>, Lane>,
    next_id: u32,
}

/// The messages of a queue are not in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotByNumber;

impl Line {
    pub(crate) fn new(order: Order) -> Line {
        Line {
            order,
            selectors: vec![Selector::new(0, Filter::All)],
            lanes: BTreeMap::new(),
            next_id: 1,
        }
    }

    /// Only while there are no messages.
    pub(crate) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// The first of the messages that are ready by number, but for one, in the order of numbers; in
    /// another order it has to be looked for.
    pub(crate) fn oldest(&self, except: u64) -> Result<Option<u64>, NotByNumber> {
        match self.order {
            Order::Fifo => {
                let mut numbers = self.selectors[0].ready.iter().map(|rank| rank.sequence());
                Ok(numbers.find(|number| *number != except))
            }
            Order::Key | Order::Priority => Err(NotByNumber),
        }
    }

    /// A message comes into a state from another, or from nowhere.
    pub(crate) fn enter(&mut self, sequence: u64, entry: &Entry) {
        match entry.state {
            State::Ready { .. } => match self.key_of(entry) {
                Some(key) => {
                    let lane = self.lanes.entry(Arc::clone(&key)).or_default();
                    lane.waiting.insert(sequence, entry.route.clone());
                    self.show_next(&key);
                }
                None => {
                    let rank = Rank::new(self.order, entry.priority, sequence);
                    self.show(rank, entry.route.as_deref());
                }
            },
            State::Leased { .. } | State::Resting { .. } => {
                if let Some(key) = self.key_of(entry) {
                    self.lanes
                        .entry(Arc::clone(&key))
                        .or_default()
                        .busy
                        .insert(sequence);
                    self.show_next(&key);
                }
            }
            State::Dead { .. } => {
                let rank = Rank::new(Order::Fifo, 0, sequence);
                for selector in &mut self.selectors {
                    if selector.filter == Filter::Dead {
                        selector.ready.insert(rank);
                    }
                }
            }
            State::Delayed { .. } | State::DeadLeased { .. } | State::DeadResting { .. } => {}
        }
    }

    /// A message leaves the state it is in. Of one that goes from a consumer to its rest, or the
    /// other way, [`enter`](Line::enter) is to follow.
    pub(crate) fn leave(&mut self, sequence: u64, entry: &Entry) {
        match entry.state {
            State::Ready { .. } => {
                let rank = Rank::new(self.order, entry.priority, sequence);
                let key = self.key_of(entry);
                let Some(key) = key else {
                    return self.hide(rank);
                };
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.waiting.remove(&sequence);
                }
                self.show_next(&key);
            }
            State::Leased { .. } | State::Resting { .. } => {
                if let Some(key) = self.key_of(entry) {
                    if let Some(lane) = self.lanes.get_mut(&key) {
                        lane.busy.remove(&sequence);
                    }
                    self.show_next(&key);
                }
            }
            State::Dead { .. } => {
                let rank = Rank::new(Order::Fifo, 0, sequence);
                for selector in &mut self.selectors {
                    if selector.filter == Filter::Dead {
                        selector.ready.remove(&rank);
                    }
                }
            }
            State::Delayed { .. } | State::DeadLeased { .. } | State::DeadResting { .. } => {}
        }
    }

    /// The selector of a filter for one more feed; `entries` are looked through for a new one.
    pub(crate) fn join(&mut self, filter: Filter, entries: &BTreeMap<u64, Entry>) -> u32 {
        let known = self.selectors.iter_mut().find(|it| it.filter == filter);
        if let Some(selector) = known {
            selector.feeds += 1;
            return selector.id;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let mut selector = Selector::new(id, filter);
        selector.feeds = 1;
        if selector.filter == Filter::Dead {
            let is_dead = |entry: &Entry| matches!(entry.state, State::Dead { .. });
            let dead = entries.iter().filter(|(_, entry)| is_dead(entry));
            selector.ready = dead
                .map(|(sequence, _)| Rank::new(Order::Fifo, 0, *sequence))
                .collect();
        } else {
            let shown = self.selectors[0].ready.iter().copied();
            selector.ready = shown
                .filter(|rank| {
                    let entry = entries.get(&rank.sequence());
                    entry.is_some_and(|entry| selector.filter.matches(entry.route.as_deref()))
                })
                .collect();
        }
        self.selectors.push(selector);
        id
    }

    /// A feed is over.
    pub(crate) fn part(&mut self, id: u32) {
        let Some(at) = self.selectors.iter().position(|it| it.id == id) else {
            return;
        };
        let selector = &mut self.selectors[at];
        selector.feeds = selector.feeds.saturating_sub(1);
        if selector.feeds == 0 && at > 0 {
            self.selectors.remove(at);
        }
    }

    pub(crate) fn selector_mut(&mut self, id: u32) -> Option<&mut Selector> {
        self.selectors.iter_mut().find(|it| it.id == id)
    }

    /// A consumer is not to be found where it stands.
    pub(crate) fn take_from_crews(&mut self, standing: Standing) {
        for selector in &mut self.selectors {
            selector.crew.remove(&standing);
        }
    }

    fn key_of(&self, entry: &Entry) -> Option<Arc<str>> {
        match self.order {
            Order::Key => entry.key().cloned(),
            Order::Fifo | Order::Priority => None,
        }
    }

    /// Sees to it that what is handed out of a lane is the first of it, or nothing while one of it
    /// is busy.
    fn show_next(&mut self, key: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let first = lane.waiting.first_key_value();
        let next = first.filter(|_| lane.busy.is_empty());
        let (next, route) = match next {
            Some((sequence, route)) => (Some(*sequence), route.clone()),
            None => (None, None),
        };
        let shown = std::mem::replace(&mut lane.shown, next);
        if lane.busy.is_empty() && lane.waiting.is_empty() {
            self.lanes.remove(key);
        }
        if shown == next {
            return;
        }
        if let Some(shown) = shown {
            self.hide(Rank::new(self.order, 0, shown));
        }
        if let Some(next) = next {
            self.show(Rank::new(self.order, 0, next), route.as_deref());
        }
    }

    fn show(&mut self, rank: Rank, route: Option<&Route>) {
        for selector in &mut self.selectors {
            if selector.filter.matches(route) {
                selector.ready.insert(rank);
            }
        }
    }

    fn hide(&mut self, rank: Rank) {
        for selector in &mut self.selectors {
            if selector.filter != Filter::Dead {
                selector.ready.remove(&rank);
            }
        }
    }
}

impl Selector {
    fn new(id: u32, filter: Filter) -> Selector {
        Selector {
            id,
            filter,
            ready: BTreeSet::new(),
            crew: BTreeSet::new(),
            is_reading: false,
            feeds: 0,
        }
    }
}
