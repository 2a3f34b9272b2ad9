//! Values under small numbers, in chunks: it grows without moving what it holds, and gives a
//! chunk back as soon as nothing is in it.
//!
//! A free slot of the lowest chunk is filled first, so numbers stay dense and the high chunks
//! empty themselves. No operation touches more than one chunk.

use std::array;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;

pub(crate) struct ChunkedSlab<T> {
    /// The chunk is `None` while nothing is in it.
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// The chunks that have a free slot, or are `None`.
    with_room: BTreeSet<u32>,
    len: usize,
}

/// Starts at a cache line, so a value of 64 bytes has a line of its own.
#[repr(align(64))]
struct Chunk<T> {
    slots: [Slot<T>; SLOTS],
    /// `SLOTS` when there is none.
    first_free: u16,
    used: u16,
}

enum Slot<T> {
    Used(T),
    Free { next: u16 },
}

impl<T> ChunkedSlab<T> {
    pub(crate) fn new() -> ChunkedSlab<T> {
        ChunkedSlab {
            chunks: Vec::new(),
            with_room: BTreeSet::new(),
            len: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Stores `value` and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let chunk_index = self.with_room.first().copied().unwrap_or_else(|| {
            let next = u32::try_from(self.chunks.len()).expect("fewer chunks than numbers");
            assert!(next < 1 << (u32::BITS - SLOT_BITS), "numbers have 32 bits");
            self.chunks.push(None);
            self.with_room.insert(next);
            next
        });
        let chunk = self.chunks[chunk_index as usize].get_or_insert_with(Chunk::new);
        let slot = chunk.first_free;
        match &chunk.slots[usize::from(slot)] {
            Slot::Free { next } => chunk.first_free = *next,
            Slot::Used(_) => unreachable!("the free list holds free slots"),
        }
        chunk.slots[usize::from(slot)] = Slot::Used(value);
        chunk.used += 1;
        if usize::from(chunk.used) == SLOTS {
            self.with_room.remove(&chunk_index);
        }
        self.len += 1;
        chunk_index << SLOT_BITS | u32::from(slot)
    }

    /// Takes out what has this number, if anything has.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (chunk_index, slot_index) = place(number);
        let place = self.chunks.get_mut(chunk_index)?;
        let chunk = place.as_mut()?;
        let slot = &mut chunk.slots[slot_index];
        if let Slot::Free { .. } = slot {
            return None;
        }
        let free = Slot::Free {
            next: chunk.first_free,
        };
        let Slot::Used(value) = std::mem::replace(slot, free) else {
            unreachable!("it was just seen to be used")
        };
        chunk.first_free = slot_index as u16;
        if usize::from(chunk.used) == SLOTS {
            self.with_room.insert(chunk_index as u32);
        }
        chunk.used -= 1;
        if chunk.used == 0 {
            *place = None;
            self.give_back_last_chunks();
        }
        self.len -= 1;
        Some(value)
    }

    fn give_back_last_chunks(&mut self) {
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
            self.with_room.remove(&(self.chunks.len() as u32));
        }
        if self.chunks.len() * 4 < self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, slot) = place(number);
        match &self.chunks.get(chunk)?.as_ref()?.slots[slot] {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (chunk, slot) = place(number);
        match &mut self.chunks.get_mut(chunk)?.as_mut()?.slots[slot] {
            Slot::Used(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }
}

/// For numbers that are known to be in use.
impl<T> Index<u32> for ChunkedSlab<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        self.get(number)
            .expect("a number is kept only as long as its value is stored")
    }
}

impl<T> IndexMut<u32> for ChunkedSlab<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.get_mut(number)
            .expect("a number is kept only as long as its value is stored")
    }
}

impl<T> Chunk<T> {
    fn new() -> Box<Chunk<T>> {
        Box::new(Chunk {
            slots: array::from_fn(|slot| Slot::Free {
                next: slot as u16 + 1,
            }),
            first_free: 0,
            used: 0,
        })
    }
}

#[inline]
fn place(number: u32) -> (usize, usize) {
    ((number >> SLOT_BITS) as usize, number as usize % SLOTS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_from_small_numbers(
            // Mostly growing first, mostly shrinking later, over several chunks.
            steps in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4000),
        ) {
            let mut slab = ChunkedSlab::new();
            let mut model = BTreeMap::new();
            let count = steps.len();
            for (n, (pick, chance)) in steps.into_iter().enumerate() {
                let grow = if n < count / 2 { 200 } else { 40 };
                if chance < grow {
                    let number = slab.insert(n);
                    prop_assert_eq!(model.insert(number, n), None);
                } else {
                    let number = u32::from(pick) % (model.len() as u32 + 2);
                    prop_assert_eq!(slab.remove(number), model.remove(&number));
                    prop_assert_eq!(slab.get(number), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            for (number, value) in &model {
                prop_assert_eq!(slab.get(*number), Some(value));
            }
        }
    }

    #[test]
    fn numbers_are_dense_and_chunks_are_given_back() {
        let mut slab = ChunkedSlab::new();
        let numbers: Vec<u32> = (0..10 * SLOTS).map(|n| slab.insert(n)).collect();
        assert!(numbers.iter().copied().eq(0..10 * SLOTS as u32));
        // One is left in each chunk: nothing can be given back, everything can be filled.
        for number in &numbers {
            if *number as usize % SLOTS != 7 {
                slab.remove(*number);
            }
        }
        assert!(slab.chunks.iter().all(Option::is_some));
        let again = slab.insert(0);
        assert!((again as usize) < SLOTS, "the lowest chunk is filled first");
        for number in 0..10 * SLOTS as u32 {
            slab.remove(number);
        }
        assert_eq!(slab.len(), 0);
        assert!(slab.chunks.is_empty() && slab.with_room.is_empty());
    }
}
