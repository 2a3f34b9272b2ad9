//! The subscribers of a filter: one in place, several in a list sorted by key.

use std::collections::BTreeMap;

use crate::level_trie::ChunkedSlab;

/// At least one; `None` in an `Option` of it is none. Meaningless without its [`Lists`].
pub(super) enum Subscribers<K, V> {
    One(K, V),
    Several(ListId),
}

pub(super) struct ListId(u32);

/// The lists of all filters of an index.
pub(super) struct Lists<K, V> {
    lists: ChunkedSlab<List<K, V>>,
}

/// Two at least.
enum List<K, V> {
    /// A few kilobytes at most, which move at every change and are copied at once when they match.
    Short(Vec<(K, V)>),
    /// A tree, whose changes cost the logarithm.
    Long(BTreeMap<K, V>),
}

/// A list of more becomes long, one of half as many short again.
const SHORT: usize = 256;

impl<K: Copy + Ord, V: Copy> Lists<K, V> {
    pub(super) fn new() -> Lists<K, V> {
        Lists {
            lists: ChunkedSlab::new(),
        }
    }

    /// Adds a subscriber, or replaces its value and returns the former one.
    pub(super) fn insert(
        &mut self,
        subscribers: &mut Option<Subscribers<K, V>>,
        key: K,
        value: V,
    ) -> Option<V> {
        match subscribers {
            None => {
                *subscribers = Some(Subscribers::One(key, value));
                None
            }
            Some(Subscribers::One(only, former)) if *only == key => {
                Some(std::mem::replace(former, value))
            }
            Some(Subscribers::One(other, other_value)) => {
                let mut list = vec![(*other, *other_value), (key, value)];
                list.sort_unstable_by_key(|(key, _)| *key);
                let id = ListId(self.lists.insert(List::Short(list)));
                *subscribers = Some(Subscribers::Several(id));
                None
            }
            Some(Subscribers::Several(id)) => self.lists[id.0].insert(key, value),
        }
    }

    /// Removes a subscriber; `subscribers` is `None` after the last one.
    pub(super) fn remove(
        &mut self,
        subscribers: &mut Option<Subscribers<K, V>>,
        key: K,
    ) -> Option<V> {
        match subscribers.as_ref()? {
            Subscribers::One(only, value) => {
                let value = (*only == key).then_some(*value)?;
                *subscribers = None;
                Some(value)
            }
            Subscribers::Several(id) => {
                let list = &mut self.lists[id.0];
                let value = list.remove(key)?;
                if let Some((last, last_value)) = list.only_one() {
                    self.lists.remove(id.0);
                    *subscribers = Some(Subscribers::One(last, last_value));
                }
                Some(value)
            }
        }
    }

    pub(super) fn find(&self, subscribers: &Subscribers<K, V>, key: K) -> Option<V> {
        match subscribers {
            Subscribers::One(only, value) => (*only == key).then_some(*value),
            Subscribers::Several(id) => match &self.lists[id.0] {
                List::Short(list) => {
                    let place = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                    Some(list[place].1)
                }
                List::Long(map) => map.get(&key).copied(),
            },
        }
    }

    pub(super) fn append_to(&self, subscribers: &Subscribers<K, V>, found: &mut Vec<(K, V)>) {
        match subscribers {
            Subscribers::One(key, value) => found.push((*key, *value)),
            Subscribers::Several(id) => match &self.lists[id.0] {
                List::Short(list) => found.extend_from_slice(list),
                List::Long(map) => found.extend(map.iter().map(|(key, value)| (*key, *value))),
            },
        }
    }
}

impl<K: Copy + Ord, V: Copy> List<K, V> {
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            List::Short(list) => match list.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(place) => Some(std::mem::replace(&mut list[place].1, value)),
                Err(place) if list.len() < SHORT => {
                    list.insert(place, (key, value));
                    None
                }
                Err(_) => {
                    let mut map: BTreeMap<K, V> = list.drain(..).collect();
                    map.insert(key, value);
                    *self = List::Long(map);
                    None
                }
            },
            List::Long(map) => map.insert(key, value),
        }
    }

    fn remove(&mut self, key: K) -> Option<V> {
        match self {
            List::Short(list) => {
                let place = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                let (_, value) = list.remove(place);
                if list.len() * 4 < list.capacity() {
                    list.shrink_to(list.len() * 2);
                }
                Some(value)
            }
            List::Long(map) => {
                let value = map.remove(&key)?;
                if map.len() <= SHORT / 2 {
                    *self = List::Short(map.iter().map(|(key, value)| (*key, *value)).collect());
                }
                Some(value)
            }
        }
    }

    fn only_one(&self) -> Option<(K, V)> {
        match self {
            List::Short(list) => match list.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            List::Long(_) => None,
        }
    }
}
