//! Numbers found by hash. It grows and shrinks a little at a time: no operation touches more than
//! a few thousand entries, however many there are, where an ordinary table stops for tens of
//! milliseconds to move a million.
//!
//! This is linear hashing (Litwin, 1980): a growing number of pages; page `n` is split off the
//! page whose number is `n` without its highest bit, one page after the other as entries come,
//! and merged back as they go. Within a page the entries stand sorted by hash, each at or shortly
//! after the place in proportion to its hash, so a search reads a cache line or two and ends at
//! the first greater hash. The page's number is in the low bits of the hash, the place comes from
//! the high bits.
//!
//! What a number stands for, and whether it is the one looked for, is the caller's knowledge.

use std::hint::black_box;

/// Entries a page on average at which the next page is split off.
const SPLIT_AT: usize = 1024;
/// Entries a page on average at which the last page is merged back.
const MERGE_AT: usize = 512;
/// Slots a search looks at together, without a branch the processor could guess wrong.
const WINDOW: usize = 4;

pub(crate) struct IdTable {
    pages: Vec<Page>,
    /// One less than the next power of two at or above the number of pages.
    mask: u32,
    len: usize,
}

/// Where the search for a hash begins, as long as the table does not change.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    page: u32,
    slot: u32,
}

/// Invariants: the entries ascend; between the place of an entry's hash and the entry there is no
/// free slot; the last [`WINDOW`] slots are free.
struct Page {
    slots: Box<[Entry]>,
    /// Hashes are spread over this many slots; the few after them are for what is pushed back.
    spread: u32,
    used: u32,
}

/// The hash above, the number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    /// Greater than every entry, so a search that runs to the end of a run stops by itself.
    const FREE: Entry = Entry(u64::MAX);

    fn new(hash: u32, id: u32) -> Entry {
        Entry(u64::from(hash) << 32 | u64::from(id))
    }

    fn hash(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn id(self) -> u32 {
        self.0 as u32
    }
}

impl IdTable {
    pub(crate) fn new() -> IdTable {
        IdTable {
            pages: vec![Page::empty()],
            mask: 0,
            len: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number with this hash that is `wanted`.
    #[inline]
    pub(crate) fn find(&self, hash: u32, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        self.at(self.spot(hash), hash).find(|id| wanted(*id))
    }

    /// Where the numbers with this hash are, without looking there.
    #[inline]
    pub(crate) fn spot(&self, hash: u32) -> Spot {
        let page = self.page_of(hash);
        let slot = place(hash, self.pages[page].spread);
        Spot {
            page: page as u32,
            slot: slot as u32,
        }
    }

    /// Asks the processor for what [`at`](Self::at) will read, without waiting for it.
    #[inline]
    pub(crate) fn warm(&self, spot: Spot) {
        black_box(self.pages[spot.page as usize].slots[spot.slot as usize]);
    }

    /// The numbers with this hash; `spot` is that of the hash.
    #[inline]
    pub(crate) fn at(&self, spot: Spot, hash: u32) -> impl Iterator<Item = u32> {
        let mut slots = &self.pages[spot.page as usize].slots[spot.slot as usize..];
        while let Some(window) = slots.first_chunk::<WINDOW>() {
            let smaller: usize = window
                .iter()
                .map(|entry| usize::from(entry.hash() < hash))
                .sum();
            slots = &slots[smaller..];
            if smaller < WINDOW {
                break;
            }
        }
        slots
            .iter()
            .take_while(move |entry| entry.hash() == hash && **entry != Entry::FREE)
            .map(|entry| entry.id())
    }

    /// Adds `id`, which is not in the table.
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        debug_assert!(id < u32::MAX, "the greatest number marks free slots");
        let page = self.page_of(hash);
        self.pages[page].insert(Entry::new(hash, id));
        self.len += 1;
        if self.len > self.pages.len() * SPLIT_AT {
            self.split();
        }
    }

    /// Removes `id`, which is in the table under `hash`.
    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let page = self.page_of(hash);
        self.pages[page].remove(Entry::new(hash, id));
        self.len -= 1;
        if self.pages.len() > 1 && self.len < self.pages.len() * MERGE_AT {
            self.merge();
        }
    }

    /// Puts `new` in the place of `old`, which is in the table under `hash`.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, new: u32) {
        let page = self.page_of(hash);
        self.pages[page].remove(Entry::new(hash, old));
        self.pages[page].insert(Entry::new(hash, new));
    }

    #[inline]
    fn page_of(&self, hash: u32) -> usize {
        let page = hash & self.mask;
        // Not split off yet: still in the page it will be split off.
        let mask = if (page as usize) < self.pages.len() {
            self.mask
        } else {
            self.mask >> 1
        };
        (page & mask) as usize
    }

    fn split(&mut self) {
        let new = self.pages.len();
        let bit = 1 << new.ilog2();
        let old = new & !bit;
        let (stay, go): (Vec<Entry>, Vec<Entry>) = self.pages[old]
            .entries()
            .partition(|entry| entry.hash() as usize & bit == 0);
        self.pages[old] = Page::with(&stay);
        self.pages.push(Page::with(&go));
        self.mask = mask_for(self.pages.len());
    }

    fn merge(&mut self) {
        let last = self.pages.pop().expect("merged only while there are two");
        let old = self.pages.len() & !(1 << self.pages.len().ilog2());
        let mut entries: Vec<Entry> = self.pages[old].entries().chain(last.entries()).collect();
        // Two sorted runs: the sort recognises them.
        entries.sort();
        self.pages[old] = Page::with(&entries);
        self.mask = mask_for(self.pages.len());
        if self.pages.len() * 4 < self.pages.capacity() {
            self.pages.shrink_to(self.pages.len() * 2);
        }
    }
}

impl Page {
    fn empty() -> Page {
        Page {
            slots: Box::new([Entry::FREE; WINDOW]),
            spread: 0,
            used: 0,
        }
    }

    /// A page of `entries`, which ascend, a third of it free.
    fn with(entries: &[Entry]) -> Page {
        if entries.is_empty() {
            return Page::empty();
        }
        let spread = entries.len() as u32 + entries.len() as u32 / 2 + 4;
        let mut slots = Vec::with_capacity(spread as usize + 4 * WINDOW);
        for entry in entries {
            let place = place(entry.hash(), spread);
            if slots.len() < place {
                slots.resize(place, Entry::FREE);
            }
            slots.push(*entry);
        }
        let end = slots.len().max(spread as usize) + 2 * WINDOW;
        slots.resize(end, Entry::FREE);
        Page {
            slots: slots.into_boxed_slice(),
            spread,
            used: entries.len() as u32,
        }
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.slots
            .iter()
            .copied()
            .filter(|entry| *entry != Entry::FREE)
    }

    /// The slot of `entry`, or the one it belongs into: the first that is not smaller.
    fn slot_of(&self, entry: Entry) -> usize {
        let place = place(entry.hash(), self.spread);
        let smaller = self.slots[place..]
            .iter()
            .take_while(|other| **other < entry);
        place + smaller.count()
    }

    fn insert(&mut self, entry: Entry) {
        if self.used == 0 {
            *self = Page::with(&[entry]);
            return;
        }
        // Beyond five sixths, runs get long.
        if (self.used + 1) * 6 > self.spread * 5 {
            self.rebuild();
        }
        loop {
            let slot = self.slot_of(entry);
            let run = self.slots[slot..]
                .iter()
                .take_while(|other| **other != Entry::FREE)
                .count();
            if slot + run + 1 + WINDOW <= self.slots.len() {
                self.slots.copy_within(slot..slot + run, slot + 1);
                self.slots[slot] = entry;
                self.used += 1;
                return;
            }
            self.rebuild();
        }
    }

    fn remove(&mut self, entry: Entry) {
        let slot = self.slot_of(entry);
        assert!(self.slots[slot] == entry, "what is removed is in the table");
        // What was pushed back moves up, up to the first entry that is at its place.
        let pushed_back = self.slots[slot + 1..]
            .iter()
            .zip(slot + 1..)
            .take_while(|(other, at)| {
                **other != Entry::FREE && place(other.hash(), self.spread) < *at
            })
            .count();
        self.slots.copy_within(slot + 1..=slot + pushed_back, slot);
        self.slots[slot + pushed_back] = Entry::FREE;
        self.used -= 1;
        if self.used * 2 < self.spread {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let entries: Vec<Entry> = self.entries().collect();
        *self = Page::with(&entries);
    }
}

/// In proportion to the hash.
#[inline]
fn place(hash: u32, spread: u32) -> usize {
    ((u64::from(hash) * u64::from(spread)) >> 32) as usize
}

fn mask_for(pages: usize) -> u32 {
    pages.next_power_of_two() as u32 - 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(table: &IdTable, model: &BTreeSet<(u32, u32)>) {
        assert_eq!(table.len, model.len());
        let mut count = 0;
        for (number, page) in table.pages.iter().enumerate() {
            let entries: Vec<Entry> = page.entries().collect();
            assert!(entries.is_sorted());
            assert_eq!(entries.len(), page.used as usize);
            assert!(page.slots.ends_with(&[Entry::FREE; WINDOW]));
            assert!(
                entries
                    .iter()
                    .all(|entry| table.page_of(entry.hash()) == number)
            );
            for (slot, entry) in page.slots.iter().enumerate() {
                if *entry != Entry::FREE {
                    let place = place(entry.hash(), page.spread);
                    assert!(place <= slot && !page.slots[place..slot].contains(&Entry::FREE));
                }
            }
            count += entries.len();
        }
        assert_eq!(count, model.len());
        for (hash, id) in model {
            assert_eq!(table.find(*hash, |other| other == *id), Some(*id));
        }
    }

    fn a_hash() -> impl Strategy<Value = u32> {
        // Few and extreme hashes collide and fill the last slots of a page.
        prop_oneof![any::<u32>(), 0..3_u32, (u32::MAX - 2)..=u32::MAX]
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_and_not_removed(
            steps in prop::collection::vec((a_hash(), 0..50_u32, any::<bool>()), 1..600),
        ) {
            let mut table = IdTable::new();
            let mut model = BTreeSet::new();
            for (hash, id, insert) in steps {
                let known = model.contains(&(hash, id));
                prop_assert_eq!(table.find(hash, |other| other == id).is_some(), known);
                if insert && !known {
                    table.insert(hash, id);
                    model.insert((hash, id));
                } else if known && !model.contains(&(hash, id + 1)) && id % 3 == 0 {
                    table.replace(hash, id, id + 1);
                    model.remove(&(hash, id));
                    model.insert((hash, id + 1));
                } else if known {
                    table.remove(hash, id);
                    model.remove(&(hash, id));
                }
            }
            check(&table, &model);
        }
    }

    #[test]
    fn it_grows_and_shrinks_page_by_page() {
        let hash = |id: u32| id.wrapping_mul(0x9e37_79b9) ^ id.wrapping_mul(0x85eb_ca6b) >> 7;
        let mut table = IdTable::new();
        let mut model = BTreeSet::new();
        for id in 0..20_000 {
            let pages = table.pages.len();
            table.insert(hash(id), id);
            model.insert((hash(id), id));
            assert!(table.pages.len() <= pages + 1);
        }
        check(&table, &model);
        assert_eq!(table.pages.len(), 20_000_usize.div_ceil(SPLIT_AT));
        let slots: usize = table.pages.iter().map(|page| page.slots.len()).sum();
        assert!(
            slots * 2 < 20_000 * 3,
            "two thirds of the slots are used: {slots}"
        );
        for id in 0..20_000 {
            table.remove(hash(id), id);
            model.remove(&(hash(id), id));
            if id % 1000 == 0 {
                check(&table, &model);
            }
        }
        assert_eq!(table.pages.len(), 1);
        assert_eq!(table.pages[0].slots.len(), WINDOW);
    }

    #[test]
    fn equal_hashes_cost_time_and_nothing_else() {
        let mut table = IdTable::new();
        for id in 0..5000 {
            table.insert(7, id);
        }
        for id in 0..5000 {
            assert_eq!(table.find(7, |other| other == id), Some(id));
            table.remove(7, id);
            assert_eq!(table.find(7, |other| other == id), None);
        }
    }
}
