//! What is going to happen, in order of time; what is due at the same time happens in the order
//! in which it was entered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nexum_types::Time;

pub(crate) struct Agenda<T> {
    entries: BinaryHeap<Reverse<(Time, u64, Entry<T>)>>,
    entered: u64,
}

/// Takes no part in the order.
struct Entry<T>(T);

impl<T> PartialEq for Entry<T> {
    fn eq(&self, _: &Entry<T>) -> bool {
        true
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, _: &Entry<T>) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Agenda<T> {
        Agenda {
            entries: BinaryHeap::new(),
            entered: 0,
        }
    }

    pub(crate) fn enter(&mut self, at: Time, what: T) {
        self.entered += 1;
        self.entries.push(Reverse((at, self.entered, Entry(what))));
    }

    /// The next entry, if it is due by `until`.
    pub(crate) fn next(&mut self, until: Time) -> Option<(Time, T)> {
        if self
            .entries
            .peek()
            .is_none_or(|Reverse((at, _, _))| *at > until)
        {
            return None;
        }
        self.entries
            .pop()
            .map(|Reverse((at, _, Entry(what)))| (at, what))
    }
}
