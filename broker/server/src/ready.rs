//! Which sockets of a shard have something to do.
//!
//! The shard polls all its sockets itself. Each socket registers a waker of its own with the
//! runtime; waking it notes the socket's [`Token`] in the shard's [`ReadyList`] and rings the
//! shard's [`Doorbell`], once for any number of sockets. So a turn costs what its ready sockets
//! cost, and an idle connection costs nothing.
//!
//! It is not a queue of work: a token says "look", it may come without a reason, and it comes
//! once however often its socket was woken since the shard last looked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Wake, Waker};

/// Names a socket within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(u32);

/// What a [`Token`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An MQTT connection, by the index of its key.
    Link(u32),
    /// A socket that does not speak MQTT yet, or no more.
    Limbo(u32),
}

impl Token {
    const LIMBO: u32 = 1 << 31;

    pub(crate) const fn link(index: u32) -> Token {
        debug_assert!(index < Token::LIMBO);
        Token(index)
    }

    pub(crate) const fn limbo(index: u32) -> Token {
        debug_assert!(index < Token::LIMBO);
        Token(index | Token::LIMBO)
    }

    pub(crate) const fn place(self) -> Place {
        if self.0 & Token::LIMBO == 0 {
            Place::Link(self.0)
        } else {
            Place::Limbo(self.0 & !Token::LIMBO)
        }
    }
}

/// Wakes the task of a shard. Rung before the task runs for the first time it does nothing: the
/// task looks at everything when it starts.
#[derive(Debug, Default)]
pub(crate) struct Doorbell(OnceLock<Waker>);

impl Doorbell {
    /// Called once by the task, before it looks at anything.
    pub(crate) fn attach(&self, waker: &Waker) {
        self.0.get_or_init(|| waker.clone());
    }

    pub(crate) fn ring(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }
}

/// The sockets that were woken since the shard last looked.
#[derive(Debug)]
pub(crate) struct ReadyList {
    woken: Mutex<Vec<Arc<SocketWaker>>>,
    doorbell: Arc<Doorbell>,
}

impl ReadyList {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Arc<ReadyList> {
        Arc::new(ReadyList {
            woken: Mutex::default(),
            doorbell,
        })
    }

    /// Appends the tokens of the woken sockets to `tokens` and forgets them. From here on
    /// a wake-up lists a socket again, so that nothing is missed while the tokens are dealt with.
    pub(crate) fn take(&self, tokens: &mut impl Extend<Token>) {
        let unlisted = |socket: Arc<SocketWaker>| {
            socket.listed.store(false, Ordering::Release);
            socket.token
        };
        tokens.extend(self.lock().drain(..).map(unlisted));
    }

    fn push(&self, socket: Arc<SocketWaker>) {
        let first = {
            let mut woken = self.lock();
            woken.push(socket);
            woken.len() == 1
        };
        if first {
            self.doorbell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SocketWaker>>> {
        // A list is whole at every moment.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one socket.
#[derive(Debug)]
pub(crate) struct SocketWaker {
    list: Arc<ReadyList>,
    token: Token,
    listed: AtomicBool,
}

impl SocketWaker {
    pub(crate) fn waker(list: &Arc<ReadyList>, token: Token) -> Waker {
        let listed = AtomicBool::new(false);
        Waker::from(Arc::new(SocketWaker {
            list: Arc::clone(list),
            token,
            listed,
        }))
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            let list = Arc::clone(&self.list);
            list.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.list.push(Arc::clone(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn many_wake_ups_ring_once_and_list_each_socket_once() {
        let rings = Arc::new(Counting::default());
        let doorbell = Arc::new(Doorbell::default());
        doorbell.attach(&Waker::from(Arc::clone(&rings)));
        let list = ReadyList::new(doorbell);
        let sockets: Vec<_> = (0..3)
            .map(|index| SocketWaker::waker(&list, Token::link(index)))
            .collect();
        for _ in 0..2 {
            sockets.iter().for_each(Waker::wake_by_ref);
        }
        let mut taken = Vec::new();
        list.take(&mut taken);
        assert_eq!(taken, [Token::link(0), Token::link(1), Token::link(2)]);
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);

        let woken = sockets[1].clone();
        sockets[1].wake_by_ref();
        woken.wake();
        list.take(&mut taken);
        assert_eq!(taken[3..], [Token::link(1)]);
        assert_eq!(rings.0.load(Ordering::Relaxed), 2);
        list.take(&mut taken);
        assert_eq!(taken.len(), 4);
    }

    #[test]
    fn a_token_names_what_it_was_made_for() {
        assert_eq!(Token::link(7).place(), Place::Link(7));
        assert_eq!(Token::limbo(7).place(), Place::Limbo(7));
    }
}
