//! Changes since a checkpoint, in memory: what lies over the tables.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;

use crate::changes::{Change, TableId};
use crate::key::Key;
use crate::series::{Head, SeriesId, Tail};

/// What an entry costs beside its key and value: an estimate of the map's share.
const ENTRY_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    tables: BTreeMap<TableId, BTreeMap<Key, Entry>>,
    series: BTreeMap<SeriesId, Tail>,
    bytes: usize,
    /// Whether there is nothing below that a deletion would have to hide.
    is_ground: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A value; below there is none.
    Fresh(Box<[u8]>),
    /// A value; below there may be another.
    Value(Box<[u8]>),
    /// Deleted; below there may be a value.
    Gone,
}

impl Entry {
    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            Entry::Fresh(value) | Entry::Value(value) => Some(value),
            Entry::Gone => None,
        }
    }

    fn bytes(&self, key: &[u8]) -> usize {
        ENTRY_BYTES + key.len() + self.value().map_or(0, <[u8]>::len)
    }
}

impl Overlay {
    /// With nothing below it, ever.
    pub(crate) fn ground() -> Overlay {
        Overlay {
            is_ground: true,
            ..Overlay::default()
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// An estimate of the memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a change. `heads` are those of all series, here and below.
    pub(crate) fn apply(&mut self, change: Change<'_>, heads: &mut BTreeMap<SeriesId, Head>) {
        match change {
            Change::Put(table, key, value) => self.set(table, key, value, self.is_ground),
            Change::Insert(table, key, value) => self.set(table, key, value, true),
            Change::Delete(table, key) => self.delete(table, key),
            Change::Create(series) => {
                let head = *heads.entry(series).or_default();
                self.change_series(series, |tail| tail.head = head);
            }
            Change::Append(series, record) => {
                // Only damage leaves out the beginning of a series, or some of its offsets.
                let head = heads.entry(series).or_insert(Head {
                    first: record.offset,
                    next: record.offset,
                    ..Head::default()
                });
                if record.offset < head.next {
                    return;
                }
                head.next = record.offset;
                self.change_series(series, |tail| {
                    tail.append(series, head, record.stamp, record.bytes);
                    head.next += 1;
                    head.stamp = head.stamp.max(record.stamp);
                    head.written += record.bytes.len() as u64;
                    tail.head = *head;
                });
            }
            Change::Trim(series, before) => {
                let Some(head) = heads.get_mut(&series) else {
                    return;
                };
                head.first = before.clamp(head.first, head.next);
                self.change_series(series, |tail| {
                    tail.head = *head;
                    tail.trim(head.first);
                });
            }
            Change::Remove(series) => {
                heads.remove(&series);
                self.change_series(series, Tail::remove);
                let is_ground = self.is_ground;
                if is_ground && let Some(tail) = self.series.remove(&series) {
                    self.bytes -= tail.bytes();
                }
            }
        }
    }

    fn change_series(&mut self, series: SeriesId, change: impl FnOnce(&mut Tail)) {
        let tail = self.series.entry(series).or_insert_with(|| {
            let tail = Tail::default();
            self.bytes += tail.bytes();
            tail
        });
        self.bytes -= tail.bytes();
        change(tail);
        self.bytes += tail.bytes();
    }

    /// The series that have changed, in their order.
    pub(crate) fn series(&self) -> impl Iterator<Item = (SeriesId, &Tail)> {
        self.series.iter().map(|(series, tail)| (*series, tail))
    }

    /// What has changed in a series.
    pub(crate) fn tail(&self, series: SeriesId) -> Option<&Tail> {
        self.series.get(&series)
    }

    fn set(&mut self, table: TableId, key: &[u8], value: &[u8], fresh: bool) {
        let entries = self.tables.entry(table).or_default();
        let value = Box::from(value);
        match entries.entry(Key::from(key)) {
            btree_map::Entry::Occupied(mut occupied) => {
                let entry = occupied.get_mut();
                self.bytes -= entry.bytes(key);
                *entry = match entry {
                    Entry::Fresh(_) => Entry::Fresh(value),
                    Entry::Value(_) | Entry::Gone => Entry::Value(value),
                };
                self.bytes += entry.bytes(key);
            }
            btree_map::Entry::Vacant(vacant) => {
                let entry = if fresh {
                    Entry::Fresh(value)
                } else {
                    Entry::Value(value)
                };
                self.bytes += entry.bytes(key);
                vacant.insert(entry);
            }
        }
    }

    fn delete(&mut self, table: TableId, key: &[u8]) {
        let entries = self.tables.entry(table).or_default();
        match entries.entry(Key::from(key)) {
            btree_map::Entry::Occupied(mut occupied) => {
                self.bytes -= occupied.get().bytes(key);
                if matches!(occupied.get(), Entry::Fresh(_)) {
                    occupied.remove();
                } else {
                    occupied.insert(Entry::Gone);
                    self.bytes += Entry::Gone.bytes(key);
                }
            }
            btree_map::Entry::Vacant(_) if self.is_ground => {}
            btree_map::Entry::Vacant(vacant) => {
                self.bytes += Entry::Gone.bytes(key);
                vacant.insert(Entry::Gone);
            }
        }
    }

    /// Takes what came later.
    pub(crate) fn absorb(&mut self, later: &Overlay) {
        for (table, entries) in later.tables() {
            for (key, entry) in entries {
                match entry {
                    Entry::Fresh(value) => self.set(table, key, value, true),
                    Entry::Value(value) => self.set(table, key, value, false),
                    Entry::Gone => self.delete(table, key),
                }
            }
        }
        for (series, tail) in &later.series {
            self.change_series(*series, |earlier| earlier.absorb(tail));
        }
    }

    pub(crate) fn get(&self, table: TableId, key: &[u8]) -> Option<&Entry> {
        self.tables.get(&table)?.get(key)
    }

    /// The first entry within the bounds.
    pub(crate) fn first(
        &self,
        table: TableId,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Option<(&[u8], &Entry)> {
        let entries = self.tables.get(&table)?;
        entries
            .range::<[u8], _>(bounds)
            .next()
            .map(|(key, entry)| (&**key, entry))
    }

    /// All entries, by table and key.
    pub(crate) fn tables(
        &self,
    ) -> impl Iterator<Item = (TableId, impl Iterator<Item = (&[u8], &Entry)>)> {
        self.tables.iter().map(|(table, entries)| {
            let entries = entries.iter().map(|(key, entry)| (&**key, entry));
            (*table, entries)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId = TableId(3);

    fn overlay(changes: &[Change<'_>]) -> Overlay {
        let mut overlay = Overlay::default();
        for change in changes {
            overlay.apply(*change, &mut BTreeMap::new());
        }
        overlay
    }

    #[test]
    fn what_is_inserted_and_deleted_leaves_no_trace() {
        let overlay = overlay(&[
            Change::Insert(TABLE, b"k", b"1"),
            Change::Put(TABLE, b"k", b"2"),
            Change::Delete(TABLE, b"k"),
        ]);
        assert!(overlay.is_empty());
        assert_eq!(overlay.get(TABLE, b"k"), None);
    }

    #[test]
    fn what_may_lie_below_is_hidden_by_a_deletion() {
        let put = Change::Put(TABLE, b"k", b"1");
        let insert = Change::Insert(TABLE, b"k", b"2");
        let delete = Change::Delete(TABLE, b"k");
        for changes in [&[put, delete][..], &[delete], &[delete, insert, delete]] {
            assert_eq!(overlay(changes).get(TABLE, b"k"), Some(&Entry::Gone));
        }
    }

    #[test]
    fn what_came_later_counts() {
        let put = |key: &'static [u8]| Change::Put(TABLE, key, b"1");
        let insert = |key: &'static [u8]| Change::Insert(TABLE, key, b"1");
        let delete = |key: &'static [u8]| Change::Delete(TABLE, key);
        let earlier = [
            put(b"a"),
            put(b"b"),
            insert(b"c"),
            insert(b"d"),
            delete(b"e"),
        ];
        let later = [
            delete(b"a"),
            Change::Put(TABLE, b"b", b"2"),
            delete(b"c"),
            Change::Put(TABLE, b"d", b"2"),
            insert(b"e"),
            insert(b"f"),
        ];
        let mut merged = overlay(&earlier);
        merged.absorb(&overlay(&later));
        let at_once = overlay(&[&earlier[..], &later[..]].concat());
        assert_eq!(merged.bytes(), at_once.bytes());
        for key in [b"a", b"b", b"c", b"d", b"e", b"f"] {
            assert_eq!(merged.get(TABLE, key), at_once.get(TABLE, key), "{key:?}");
        }
    }

    #[test]
    fn where_nothing_is_below_nothing_is_hidden() {
        let mut overlay = Overlay::ground();
        let heads = &mut BTreeMap::new();
        overlay.apply(Change::Put(TABLE, b"k", b"1"), heads);
        overlay.apply(Change::Delete(TABLE, b"k"), heads);
        overlay.apply(Change::Delete(TABLE, b"other"), heads);
        assert!(overlay.is_empty());
    }
}
