//! What shards are sent, and where.

use std::sync::Arc;

use nexum_core::{
    AuthenticationOutcome, ConnectionKey, ConnectionOrigin, Input, PeerBatch, ShardId, Stored,
};
use nexum_types::Time;

use crate::admission::Permit;
use crate::listener::Listener;
use crate::mailbox::Mailbox;
use crate::ready::Doorbell;
use crate::socket::Socket;
use crate::transport::Transport;

/// Something for a shard.
pub(crate) enum Letter {
    /// From the acceptor: a new socket.
    Accepted(Box<Accepted>),
    /// From another shard: a connection whose session lives here.
    Rehomed(Box<Rehomed>),
    /// From another shard: what its turn had for this one.
    Peer {
        from: ShardId,
        batch: PeerBatch,
        /// When the turn began that made it.
        since: Time,
    },
    /// From a thread that verified credentials.
    Authenticated {
        connection: ConnectionKey,
        outcome: AuthenticationOutcome,
    },
    /// From the store: what became of submissions, in their order.
    Stored(Vec<Stored>),
    /// From a [`Handle`](crate::Handle), or messages read back from the store.
    Input(Input),
    /// The broker goes down: say so to everybody and end.
    ShutDown,
}

/// A socket that was accepted.
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) listener: Arc<Listener>,
    pub(crate) permit: Permit,
    pub(crate) at: Time,
}

/// A connection on its way from one shard to another, its socket detached.
pub(crate) struct Rehomed {
    pub(crate) transport: Transport,
    pub(crate) origin: ConnectionOrigin,
    /// What the other shard received on it, to be received again.
    pub(crate) received: Vec<u8>,
    pub(crate) permit: Permit,
    pub(crate) accepted_at: Time,
}

/// The mailboxes of all shards.
pub(crate) struct PostOffice {
    mailboxes: Box<[Mailbox<Letter>]>,
}

impl PostOffice {
    /// A mailbox for each of these doorbells.
    pub(crate) fn new<'a>(doorbells: impl Iterator<Item = &'a Arc<Doorbell>>) -> Arc<PostOffice> {
        let mailboxes = doorbells
            .map(|doorbell| Mailbox::new(Arc::clone(doorbell)))
            .collect();
        Arc::new(PostOffice { mailboxes })
    }

    /// The mailbox of a shard.
    ///
    /// # Panics
    /// If there is no such shard.
    pub(crate) fn mailbox(&self, shard: ShardId) -> &Mailbox<Letter> {
        &self.mailboxes[usize::from(shard.0)]
    }

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("shards are numbered by u16")
    }

    /// Every shard.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count()).map(ShardId)
    }
}
