//! Remembers who gets what is published to a topic.
//!
//! Publishers repeat their topics, and subscriptions change rarely beside messages: looking a
//! topic up in the index each time would be most of the cost of a small message. A table of fixed
//! size, one entry a place, the newest wins; an entry is good as long as the index has not changed.
//! A topic gets an entry when it is seen the second time in a row at its place, so a million
//! topics published once each do not allocate a million entries.

use std::hash::BuildHasher;

use crate::subscription::{Subscriber, Subscription};

const PLACES: usize = 4096;
/// All entries together have at most so many bytes; then they begin anew.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The generation of an entry whose route is taken out.
const TAKEN: u64 = u64::MAX;

/// Who gets it, sorted by subscriber, so that a session with several matching subscriptions
/// stands in one run.
pub(crate) type Route = Vec<(Subscriber, Subscription)>;

pub(crate) struct RouteCache {
    hasher: foldhash::fast::FixedState,
    places: Box<[Place]>,
    bytes: usize,
}

#[derive(Default)]
struct Place {
    hash: u64,
    generation: u64,
    entry: Option<Entry>,
}

struct Entry {
    topic: Box<str>,
    route: Route,
    bytes: usize,
}

/// Where a topic would be.
#[derive(Clone, Copy)]
pub(crate) struct PlaceOf {
    place: usize,
    hash: u64,
}

impl RouteCache {
    pub(crate) fn new(seed: u64) -> RouteCache {
        RouteCache {
            hasher: foldhash::fast::FixedState::with_seed(seed),
            places: (0..PLACES).map(|_| Place::default()).collect(),
            bytes: 0,
        }
    }

    pub(crate) fn place_of(&self, topic: &str) -> PlaceOf {
        let hash = self.hasher.hash_one(topic);
        PlaceOf {
            place: (hash >> 32) as usize % PLACES,
            hash,
        }
    }

    /// Takes the route of `topic` out; [`put_back`](Self::put_back) returns it. Until then, and if
    /// that should never come, the topic has none.
    pub(crate) fn take(&mut self, at: PlaceOf, topic: &str, generation: u64) -> Option<Route> {
        let place = &mut self.places[at.place];
        if place.hash != at.hash || place.generation != generation {
            return None;
        }
        let entry = place
            .entry
            .as_mut()
            .filter(|entry| *entry.topic == *topic)?;
        place.generation = TAKEN;
        Some(std::mem::take(&mut entry.route))
    }

    /// `generation` is what it was taken at.
    pub(crate) fn put_back(&mut self, at: PlaceOf, route: Route, generation: u64) {
        let place = &mut self.places[at.place];
        if place.generation == TAKEN
            && let Some(entry) = &mut place.entry
        {
            entry.route = route;
            place.generation = generation;
        }
    }

    /// A route was looked up in the index: remembers it if the topic was the last one seen here.
    pub(crate) fn learn(
        &mut self,
        at: PlaceOf,
        topic: &str,
        generation: u64,
        route: &[(Subscriber, Subscription)],
    ) {
        let bytes = size_of_val(route) + topic.len();
        if self.bytes + bytes > MOST_BYTES {
            for place in &mut self.places {
                *place = Place::default();
            }
            self.bytes = 0;
        }
        let place = &mut self.places[at.place];
        if let Some(entry) = place.entry.take() {
            self.bytes -= entry.bytes;
        }
        if place.hash == at.hash && bytes <= MOST_BYTES / 4 {
            let (topic, route) = (Box::from(topic), route.to_vec());
            place.entry = Some(Entry {
                topic,
                route,
                bytes,
            });
            self.bytes += bytes;
        }
        place.hash = at.hash;
        place.generation = generation;
    }
}
