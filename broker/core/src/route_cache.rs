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
/// Longer lists are worth the look-up in the index and not the memory.
const LONGEST_ROUTE: usize = 16_384;

/// Who gets it, sorted by subscriber, so that a session with several matching subscriptions
/// stands in one run.
pub(crate) type Route = Vec<(Subscriber, Subscription)>;

pub(crate) struct RouteCache {
    hasher: foldhash::fast::FixedState,
    places: Box<[Place]>,
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
        }
    }

    pub(crate) fn place_of(&self, topic: &str) -> PlaceOf {
        let hash = self.hasher.hash_one(topic);
        PlaceOf {
            place: (hash >> 32) as usize % PLACES,
            hash,
        }
    }

    /// Takes the route of `topic` out; [`put_back`](Self::put_back) returns it.
    pub(crate) fn take(&mut self, at: PlaceOf, topic: &str, generation: u64) -> Option<Route> {
        let place = &mut self.places[at.place];
        if place.hash != at.hash || place.generation != generation {
            return None;
        }
        let entry = place
            .entry
            .as_mut()
            .filter(|entry| *entry.topic == *topic)?;
        Some(std::mem::take(&mut entry.route))
    }

    pub(crate) fn put_back(&mut self, at: PlaceOf, route: Route) {
        let place = &mut self.places[at.place];
        if place.hash == at.hash
            && let Some(entry) = &mut place.entry
        {
            entry.route = route;
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
        let place = &mut self.places[at.place];
        let seen_before = place.hash == at.hash;
        if seen_before && route.len() <= LONGEST_ROUTE {
            place.entry = Some(Entry {
                topic: Box::from(topic),
                route: route.to_vec(),
            });
        } else {
            place.entry = None;
        }
        place.hash = at.hash;
        place.generation = generation;
    }
}
