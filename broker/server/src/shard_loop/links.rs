//! The sockets of the connections that the core knows.

use std::sync::Arc;
use std::task::Waker;

use nexum_core::ConnectionKey;
use nexum_types::Time;

use crate::admission::Permit;
use crate::ready::{ReadyList, SocketWaker, Token};
use crate::transport::Transport;

/// The network side of a connection.
pub(super) struct Link {
    pub(super) key: ConnectionKey,
    pub(super) transport: Transport,
    pub(super) permit: Permit,
    pub(super) phase: Phase,
    /// The last write found no room; the waker is registered.
    pub(super) write_blocked: bool,
    /// The last read took everything there was.
    pub(super) drained: bool,
    /// The last read brought so much that others go before it.
    pub(super) is_heavy: bool,
    /// Something was to be sent when it was told to close.
    pub(super) has_last_word: bool,
    pub(super) waker: Waker,
}

/// Whether a link is to be closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Open {
        accepted_at: Time,
    },
    /// Once everything is sent, and at the latest then.
    Closing {
        deadline: Time,
    },
}

// An idle connection is this, the 40 bytes of its waker, the runtime's 256 bytes for its socket
// and what the core keeps of it.
const _: () = assert!(size_of::<Option<Link>>() <= 96);

/// Links by the index of their keys.
pub(super) struct LinkTable {
    links: Vec<Option<Link>>,
    count: usize,
    ready: Arc<ReadyList>,
}

impl LinkTable {
    pub(super) fn new(ready: Arc<ReadyList>) -> LinkTable {
        LinkTable {
            links: Vec::new(),
            count: 0,
            ready,
        }
    }

    /// The key is new: the core has just given it out.
    pub(super) fn insert(
        &mut self,
        key: ConnectionKey,
        transport: Transport,
        permit: Permit,
        accepted_at: Time,
    ) {
        let link = Link {
            key,
            transport,
            permit,
            phase: Phase::Open { accepted_at },
            write_blocked: false,
            drained: true,
            is_heavy: false,
            has_last_word: false,
            waker: SocketWaker::waker(&self.ready, Token::link(key.index)),
        };
        let index = key.index as usize;
        if index >= self.links.len() {
            self.links.resize_with(index + 1, || None);
        }
        let before = self.links[index].replace(link);
        debug_assert!(before.is_none(), "the core gave a key out twice");
        self.count += 1;
    }

    pub(super) fn by_index(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn by_key(&mut self, key: ConnectionKey) -> Option<&mut Link> {
        self.by_index(key.index).filter(|link| link.key == key)
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<Link> {
        let slot = self.links.get_mut(key.index as usize)?;
        let link = slot.take_if(|link| link.key == key)?;
        self.count -= 1;
        Some(link)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}
