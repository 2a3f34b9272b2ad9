//! How many connections there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts connections from the accepted socket to the closed one, handshakes included.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    open: Arc<AtomicU32>,
    maximum: u32,
}

impl Admission {
    pub(crate) fn new(maximum: u32) -> Admission {
        Admission {
            open: Arc::default(),
            maximum,
        }
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let take = |open: u32| (open < self.maximum).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()
            .map(|_| Permit(Arc::clone(&self.open)))
    }
}

/// The place of a connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let admission = Admission::new(2);
        let first = admission.admit().expect("two places");
        let _second = admission.admit().expect("one place");
        assert!(admission.admit().is_none());
        drop(first);
        let _third = admission.admit().expect("the first one's place");
        assert!(admission.admit().is_none());
    }
}
