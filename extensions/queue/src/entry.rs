//! A message of a queue: what is in memory of it.

use std::sync::Arc;

use nexum_types::{Message, Time};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Whoever comes gets it.
    Ready { since: Time },
    /// It was pushed with a delay.
    Delayed { until: Time },
    /// It was refused, and rests.
    Resting { until: Time },
    /// A consumer has it.
    Leased { delivery: u64 },
    /// It is a dead letter.
    Dead { since: Time },
    /// A consumer of dead letters has it.
    DeadLeased { delivery: u64 },
    /// A consumer of dead letters gave it back.
    DeadResting { until: Time },
}

impl State {
    pub(crate) fn is_dead(self) -> bool {
        matches!(
            self,
            State::Dead { .. } | State::DeadLeased { .. } | State::DeadResting { .. }
        )
    }

    pub(crate) fn delivery(self) -> Option<u64> {
        match self {
            State::Leased { delivery } | State::DeadLeased { delivery } => Some(delivery),
            State::Ready { .. }
            | State::Delayed { .. }
            | State::Resting { .. }
            | State::Dead { .. }
            | State::DeadResting { .. } => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Ready { .. } => "ready",
            State::Delayed { .. } | State::Resting { .. } => "delayed",
            State::Leased { .. } => "leased",
            State::Dead { .. } | State::DeadLeased { .. } | State::DeadResting { .. } => "dead",
        }
    }
}

/// Why a message is dead. The codes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    MaxAttempts = 1,
    Rejected = 2,
    Expired = 3,
    Overflow = 4,
}

impl Reason {
    pub(crate) fn from_code(code: u8) -> Option<Reason> {
        match code {
            1 => Some(Reason::MaxAttempts),
            2 => Some(Reason::Rejected),
            3 => Some(Reason::Expired),
            4 => Some(Reason::Overflow),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::MaxAttempts => "max_attempts",
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::Overflow => "overflow",
        }
    }
}

/// What a message is selected, ordered and recognised by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// The levels behind the name of the queue, or the topic it was captured from.
    pub(crate) levels: Option<Arc<str>>,
    /// The option `key`.
    pub(crate) key: Option<Arc<str>>,
    /// The option `id`.
    pub(crate) id: Option<Arc<str>>,
}

/// The longest key that a topic of the lease mode has room for.
const LONGEST_LEASE_KEY: usize = 65_000;

impl Route {
    /// Nothing, if there is nothing in it.
    pub(crate) fn into_shared(self) -> Option<Arc<Route>> {
        (self != Route::default()).then(|| Arc::new(self))
    }

    /// What `q-key` says and what keeps its order: the option, else the levels.
    pub(crate) fn key(&self) -> Option<&Arc<str>> {
        self.key.as_ref().or(self.levels.as_ref())
    }

    /// The key where it fits into a topic: an option may hold what a topic may not.
    pub(crate) fn lease_key(&self) -> Option<&Arc<str>> {
        self.key()
            .filter(|key| key.len() <= LONGEST_LEASE_KEY && !key.contains(['+', '#', '\0']))
    }
}

/// A message of a queue.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Absent while it is only in the store.
    pub(crate) message: Option<Arc<Message>>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) state: State,
    pub(crate) size: u32,
    /// Deliveries that ended without success.
    pub(crate) attempts: u16,
    pub(crate) priority: u8,
    pub(crate) marks: Marks,
}

/// A million of them have to fit.
const _: () = assert!(size_of::<Entry>() <= 40);

/// What else is known of a message, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// There is a record of its progress.
    pub(crate) const PROGRESS: Marks = Marks(1);
    /// It was delivered since the start.
    pub(crate) const GIVEN: Marks = Marks(2);

    pub(crate) fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    pub(crate) fn set(&mut self, mark: Marks, is_set: bool) {
        if is_set {
            self.0 |= mark.0;
        } else {
            self.0 &= !mark.0;
        }
    }
}

impl Entry {
    pub(crate) fn levels(&self) -> Option<&str> {
        self.route.as_ref()?.levels.as_deref()
    }

    pub(crate) fn key(&self) -> Option<&Arc<str>> {
        self.route.as_ref()?.key()
    }

    pub(crate) fn lease_key(&self) -> Option<&Arc<str>> {
        self.route.as_ref()?.lease_key()
    }
}
