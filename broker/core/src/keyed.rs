//! A table whose keys are never given twice.

use slab::Slab;

/// A slab with a generation in each key.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    slots: Slab<(u32, T)>,
    generations: u32,
}

impl<T> Default for Keyed<T> {
    fn default() -> Keyed<T> {
        Keyed {
            slots: Slab::new(),
            generations: 0,
        }
    }
}

impl<T> Keyed<T> {
    /// Puts something in, under the key that is returned.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        self.generations = self.generations.wrapping_add(1);
        let index = self.slots.insert((self.generations, value));
        u64::from(self.generations) << 32 | index as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let (generation, value) = self.slots.get(key as u32 as usize)?;
        (*generation == (key >> 32) as u32).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(key as u32 as usize)?;
        (*generation == (key >> 32) as u32).then_some(value)
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        self.slots
            .try_remove(key as u32 as usize)
            .map(|(_, value)| value)
    }
}
