//! What was appended to a series since a checkpoint, in memory.

use std::sync::Arc;

use super::{Head, Page, SeriesId};

/// What a tail costs beside its pages: an estimate.
const TAIL_BYTES: usize = 160;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// The series has ended here, and there is nothing of it any more.
    pub(crate) is_removed: bool,
    /// What there is of the series, with what is below.
    pub(crate) head: Head,
    /// Full pages, in their order…
    full: Vec<Arc<Page>>,
    /// …and the last.
    open: Option<Page>,
    bytes: usize,
}

impl Tail {
    /// An estimate of the memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        TAIL_BYTES + self.bytes
    }

    /// The record is the next behind `head`, which was it before.
    pub(crate) fn append(&mut self, series: SeriesId, head: &Head, stamp: u64, record: &[u8]) {
        // Only damage leaves out offsets.
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.is_full() || open.next() != head.next)
        {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Page::behind(series, head));
        let before = open.memory();
        if open.records_bytes() == 0 {
            self.bytes += before;
        }
        open.push(stamp, record);
        self.bytes += open.memory() - before;
    }

    fn close(&mut self) {
        if let Some(mut page) = self.open.take() {
            self.bytes -= page.memory();
            page.shrink();
            self.bytes += page.memory();
            self.full.push(Arc::new(page));
        }
    }

    pub(crate) fn trim(&mut self, before: u64) {
        let gone = self.full.partition_point(|page| page.next() <= before);
        let mut freed: usize = self.full.drain(..gone).map(|page| page.memory()).sum();
        if let Some(open) = self.open.take_if(|open| open.next() <= before) {
            freed += open.memory();
        }
        self.bytes -= freed;
    }

    pub(crate) fn remove(&mut self) {
        *self = Tail {
            is_removed: true,
            ..Tail::default()
        };
    }

    /// Takes what came later.
    pub(crate) fn absorb(&mut self, later: &Tail) {
        if later.is_removed {
            return self.remove();
        }
        self.close();
        self.full.extend(later.full.iter().cloned());
        self.bytes += later.bytes;
        self.open.clone_from(&later.open);
        self.head = later.head;
        self.trim(later.head.first);
    }

    /// All pages, in order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &Page> {
        self.full.iter().map(|page| &**page).chain(&self.open)
    }

    /// The page that has a record, or the first behind it.
    pub(crate) fn page_from(&self, offset: u64) -> Option<TailPage<'_>> {
        let place = self.full.partition_point(|page| page.next() <= offset);
        match self.full.get(place) {
            Some(page) => Some(TailPage::Full(page)),
            None => {
                let open = self.open.as_ref().filter(|open| open.next() > offset);
                open.map(TailPage::Open)
            }
        }
    }
}

/// A page in memory: the last one still grows.
pub(crate) enum TailPage<'a> {
    Full(&'a Arc<Page>),
    Open(&'a Page),
}

impl TailPage<'_> {
    pub(crate) fn page(&self) -> &Page {
        match self {
            TailPage::Full(page) => page,
            TailPage::Open(page) => page,
        }
    }

    /// To be read without the store.
    pub(crate) fn share(&self) -> Arc<Page> {
        match self {
            TailPage::Full(page) => Arc::clone(page),
            TailPage::Open(page) => Arc::new((*page).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::TableId;

    const SERIES: SeriesId = SeriesId {
        table: TableId(1),
        number: 1,
    };

    /// So many records of 1,000 bytes behind `first`.
    fn tail(first: u64, count: u64) -> Tail {
        let mut tail = Tail::default();
        for next in first..first + count {
            let head = Head {
                first: 0,
                next,
                stamp: next,
                written: next * 1000,
            };
            tail.append(SERIES, &head, next, &[7; 1000]);
        }
        tail
    }

    fn offsets(tail: &Tail) -> Vec<u64> {
        let pages = tail.pages();
        pages
            .flat_map(|page| page.records().map(|it| it.offset).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn records_are_in_order_and_found() {
        let tail = tail(5, 100);
        assert!(offsets(&tail).into_iter().eq(5..105));
        assert!(tail.pages().count() > 2);
        for offset in 5..105 {
            let found = tail.page_from(offset).expect("it is there").share();
            assert!(found.records().any(|it| it.offset == offset));
        }
        assert!(tail.page_from(105).is_none());
        assert_eq!(tail.page_from(0).map(|it| it.page().header.first), Some(5));
    }

    #[test]
    fn whole_pages_go_when_it_is_trimmed() {
        let mut tail = tail(0, 100);
        let before = tail.bytes();
        tail.trim(60);
        assert!(tail.bytes() < before);
        let kept = offsets(&tail);
        assert!(kept[0] > 25 && kept[0] <= 60);
        tail.trim(100);
        assert!(offsets(&tail).is_empty());
        assert_eq!(tail.bytes(), Tail::default().bytes());
    }

    #[test]
    fn what_came_later_is_behind() {
        let mut earlier = tail(0, 50);
        let mut later = tail(50, 50);
        later.head.first = 70;
        let all = earlier.bytes() + later.bytes();
        earlier.absorb(&later);
        assert!(earlier.bytes() < all);
        let kept = offsets(&earlier);
        assert!(kept[0] <= 70 && kept.last() == Some(&99));
        let mut ended = Tail::default();
        ended.remove();
        earlier.absorb(&ended);
        assert!(earlier.is_removed && offsets(&earlier).is_empty());
    }
}
