//! What a client remembers of its last conversations, for whoever has to find out what went wrong.

use std::collections::VecDeque;

use crate::catalogue::Message;
use crate::clock::Tick;

/// More than a client says and hears between two verdicts.
const REMEMBERED: usize = 1 << 15;

/// Something a client did or saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) tick: Tick,
    pub(crate) round: usize,
    pub(crate) what: &'static str,
    /// What it was about. `None`: the whole connection.
    pub(crate) about: Option<(Message, u16)>,
}

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Events(VecDeque<Event>);

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(crate) fn extend(&mut self, others: Events) {
        for event in others.0 {
            self.push(event);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }
}
