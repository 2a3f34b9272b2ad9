//! A promise that was broken, and what the clients concerned remember of it.

use std::fmt;

use crate::catalogue::{Catalogue, Message};
use crate::events::Event;
use crate::session::Session;

/// So many of the last events are shown for a breach.
const SHOWN_EVENTS: usize = 40;

/// Of a message, so many of its stream before and after it are shown with it.
const NEIGHBOURS: usize = 1;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Who suffered it.
    pub(crate) client: String,
    pub(crate) what: String,
    /// The message it is about, if it is about one.
    pub(crate) message: Option<Message>,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.client, self.what)
    }
}

impl Breach {
    /// The last events of the client and, if a message is concerned, of its publisher: what was
    /// about that message and its neighbours, and the beginnings and ends of connections.
    pub(crate) fn story(&self, catalogue: &Catalogue, sessions: &[&Session]) -> String {
        let publisher = self
            .message
            .map(|message| catalogue.stream(message.stream).publisher.as_str());
        let mut events: Vec<(&str, &Event)> = sessions
            .iter()
            .filter(|session| session.name == self.client || Some(&*session.name) == publisher)
            .flat_map(|session| {
                let name = session.name.as_str();
                session.events.iter().map(move |event| (name, event))
            })
            .filter(|(_, event)| self.concerns(event))
            .collect();
        events.sort_by_key(|(_, event)| event.tick);
        let skipped = events.len().saturating_sub(SHOWN_EVENTS);
        let mut story = String::new();
        for (name, event) in &events[skipped..] {
            story += &format!(
                "    {:>8}  round {:<4} {name:<14} {}",
                event.tick.0, event.round, event.what
            );
            if let Some((message, packet_identifier)) = event.about {
                let payload = catalogue.payload(message);
                story += &format!(": {payload}, Packet Identifier {packet_identifier}");
            }
            story.push('\n');
        }
        story
    }

    fn concerns(&self, event: &Event) -> bool {
        match (self.message, event.about) {
            (Some(mine), Some((other, _))) => {
                mine.stream == other.stream && mine.number.abs_diff(other.number) <= NEIGHBOURS
            }
            (_, None) | (None, Some(_)) => true,
        }
    }
}
