//! What an extension reads of the store.

use std::io;
use std::ops::Bound;

use nexum_extension_api::{Input, ReadId, RecordKey, Scan};
use nexum_storage::{ReadError, TableId, View};

/// What was read.
pub(crate) struct Found {
    pub(crate) answer: Input,
    /// What was damaged.
    pub(crate) lost: Option<ReadError>,
}

/// A record that is damaged is as one that is not there.
pub(crate) fn values(
    view: &View<'_>,
    table: TableId,
    read: ReadId,
    keys: &[RecordKey],
) -> io::Result<Found> {
    let mut lost = None;
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(match view.get(table, key) {
            Ok(value) => value.map(|value| Box::from(&*value)),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => {
                lost = Some(error);
                None
            }
        });
    }
    let answer = Input::Read { read, values };
    Ok(Found { answer, lost })
}

/// A record that is damaged ends it.
pub(crate) fn scan(view: &View<'_>, table: TableId, scan: &Scan) -> io::Result<Found> {
    let (mut records, mut next, mut lost) = (Vec::new(), None, None);
    let mut bytes = 0;
    let bounds = (Bound::Included(&*scan.from), Bound::Excluded(&*scan.to));
    let range = match view.range(table, bounds) {
        Ok(range) => Some(range),
        Err(ReadError::Io(error)) => return Err(error),
        Err(error) => {
            lost = Some(error);
            None
        }
    };
    for entry in range.into_iter().flatten() {
        let (key, value) = match entry {
            Ok(entry) => entry,
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => {
                lost = Some(error);
                break;
            }
        };
        bytes += key.len() + value.len();
        if records.len() == scan.records || bytes > scan.bytes && !records.is_empty() {
            next = Some(RecordKey::from(&*key));
            break;
        }
        records.push((RecordKey::from(&*key), Box::from(&*value)));
    }
    let answer = Input::Scanned {
        read: scan.read,
        records,
        next,
    };
    Ok(Found { answer, lost })
}

#[cfg(test)]
mod tests {
    use nexum_storage::{Changes, Options, Store};

    use super::*;

    const TABLE: TableId = TableId(20);

    fn keys(store: &Store, from: &[u8], records: usize, bytes: usize) -> (Vec<u8>, Option<u8>) {
        let wish = Scan {
            read: ReadId(1),
            from: RecordKey::from(from),
            to: RecordKey::from(&b"e"[..]),
            records,
            bytes,
        };
        let found = scan(&store.view(), TABLE, &wish).expect("it can be read");
        let Input::Scanned { records, next, .. } = found.answer else {
            panic!("it is the answer to a scan");
        };
        let keys = records.iter().map(|(key, _)| key[0]).collect();
        (keys, next.map(|key| key[0]))
    }

    #[test]
    fn a_scan_ends_at_its_bounds_and_says_where_to_go_on() {
        let mut store = Store::in_memory(Options::default());
        let mut changes = Changes::new();
        for key in [b"a", b"b", b"c", b"d", b"e"] {
            changes.put(TABLE, key, b"four");
        }
        changes.put(TableId(21), b"b", b"another's");
        store.submit(&changes).expect("room");
        store.commit().expect("it works");
        assert_eq!(keys(&store, b"", 10, 1000), (b"abcd".to_vec(), None));
        assert_eq!(keys(&store, b"b", 2, 1000), (b"bc".to_vec(), Some(b'd')));
        assert_eq!(keys(&store, b"c", 2, 1000), (b"cd".to_vec(), None));
        assert_eq!(keys(&store, b"a", 10, 10), (b"ab".to_vec(), Some(b'c')));
        assert_eq!(keys(&store, b"a", 10, 1), (b"a".to_vec(), Some(b'b')));
        assert_eq!(keys(&store, b"e", 10, 1000), (Vec::new(), None));
    }
}
