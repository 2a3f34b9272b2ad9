//! How threads hand things to a shard.
//!
//! A mailbox is a list under a lock that is held for a push or a swap. Posting rings the shard's
//! doorbell only when the mailbox was empty: one wake-up for whatever gathers until the shard
//! looks. Order is kept for each sender.
//!
//! It is bounded by the senders: what they post has a weight, and a shard that finds a mailbox
//! over [`BOUND_BYTES`] stops reading from its sockets until it was emptied. It goes on
//! emptying its own mailbox meanwhile, so two shards that are over each other's bound cannot wait
//! for each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nexum_core::ShardId;

use crate::ready::Doorbell;

/// What may wait in one mailbox before senders hold their publishers back: a few turns' worth.
pub(crate) const BOUND_BYTES: usize = 8 * 1024 * 1024;

/// The mailbox of one shard.
#[derive(Debug)]
pub(crate) struct Mailbox<Letter> {
    contents: Mutex<Contents<Letter>>,
    /// A copy of what is in `contents`, readable without the lock.
    weight_bytes: AtomicUsize,
    doorbell: Arc<Doorbell>,
}

#[derive(Debug)]
struct Contents<Letter> {
    letters: Vec<Letter>,
    weight_bytes: usize,
    /// Shards that hold their publishers back until this mailbox is emptied.
    waiting: Vec<ShardId>,
}

impl<Letter> Mailbox<Letter> {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Mailbox<Letter> {
        Mailbox {
            contents: Mutex::new(Contents {
                letters: Vec::new(),
                weight_bytes: 0,
                waiting: Vec::new(),
            }),
            weight_bytes: AtomicUsize::new(0),
            doorbell,
        }
    }

    /// Posts something that weighs next to nothing and is bounded by other means.
    pub(crate) fn post(&self, letter: Letter) {
        let was_empty = {
            let mut contents = self.lock();
            contents.letters.push(letter);
            contents.letters.len() == 1
        };
        if was_empty {
            self.doorbell.ring();
        }
    }

    /// Posts something that weighs. Returns whether the mailbox is over its bound now; if so,
    /// `from` is noted as waiting, and [`take`](Self::take) will name it.
    pub(crate) fn post_weighing(&self, letter: Letter, weight_bytes: usize, from: ShardId) -> bool {
        let (was_empty, over) = {
            let mut contents = self.lock();
            contents.letters.push(letter);
            contents.weight_bytes += weight_bytes;
            self.weight_bytes
                .store(contents.weight_bytes, Ordering::Relaxed);
            let over = contents.weight_bytes > BOUND_BYTES;
            if over && !contents.waiting.contains(&from) {
                contents.waiting.push(from);
            }
            (contents.letters.len() == 1, over)
        };
        if was_empty {
            self.doorbell.ring();
        }
        over
    }

    /// Swaps everything into `letters`, which is empty, and returns the shards that waited for
    /// this: their doorbells are to be rung.
    pub(crate) fn take(&self, letters: &mut Vec<Letter>) -> Vec<ShardId> {
        debug_assert!(
            letters.is_empty(),
            "letters of the last turn were forgotten"
        );
        let mut contents = self.lock();
        std::mem::swap(&mut contents.letters, letters);
        contents.weight_bytes = 0;
        self.weight_bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut contents.waiting)
    }

    /// Whether more waits in it than half its bound. If so, `from` is noted as waiting, as by
    /// [`post_weighing`](Self::post_weighing).
    pub(crate) fn is_still_behind(&self, from: ShardId) -> bool {
        let mut contents = self.lock();
        let behind = contents.weight_bytes > BOUND_BYTES / 2;
        if behind && !contents.waiting.contains(&from) {
            contents.waiting.push(from);
        }
        behind
    }

    /// What waits in it.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight_bytes.load(Ordering::Relaxed)
    }

    /// Makes the shard look around although there is no letter.
    pub(crate) fn ring(&self) {
        self.doorbell.ring();
    }

    fn lock(&self) -> MutexGuard<'_, Contents<Letter>> {
        // Whole at every moment: nothing in here can panic between two changes.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mailbox() -> (Mailbox<u32>, Arc<Rings>) {
        let rings = Arc::new(Rings::default());
        let doorbell = Arc::new(Doorbell::default());
        doorbell.attach(&Waker::from(Arc::clone(&rings)));
        (Mailbox::new(doorbell), rings)
    }

    #[test]
    fn one_wake_up_for_whatever_gathers() {
        let (mailbox, rings) = mailbox();
        let mut letters = Vec::new();
        for round in 1..=3 {
            for letter in 0..10 {
                mailbox.post(letter);
            }
            assert_eq!(rings.0.load(Ordering::Relaxed), round);
            assert!(mailbox.take(&mut letters).is_empty());
            assert_eq!(std::mem::take(&mut letters), (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn senders_wait_from_the_bound_until_it_is_emptied() {
        let (mailbox, _) = mailbox();
        let (first, second) = (ShardId(1), ShardId(2));
        assert!(!mailbox.post_weighing(0, BOUND_BYTES / 2, first));
        assert!(!mailbox.post_weighing(1, BOUND_BYTES / 2, first));
        assert!(mailbox.post_weighing(2, 1, second));
        assert!(mailbox.post_weighing(3, 1, second));
        assert!(mailbox.post_weighing(4, 1, first));
        assert_eq!(mailbox.weight_bytes(), BOUND_BYTES + 3);

        let mut letters = Vec::new();
        assert_eq!(mailbox.take(&mut letters), [second, first]);
        assert_eq!(letters, [0, 1, 2, 3, 4]);
        assert_eq!(mailbox.weight_bytes(), 0);
        letters.clear();
        assert!(!mailbox.post_weighing(5, BOUND_BYTES, second));
        // The second filled it again before the first looked: the first waits once more.
        assert!(mailbox.is_still_behind(first));
        assert_eq!(mailbox.take(&mut letters), [first]);
        assert!(!mailbox.is_still_behind(first));
        letters.clear();
        assert!(mailbox.take(&mut letters).is_empty());
    }
}
