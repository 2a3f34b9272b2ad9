//! How connections end.

use std::time::Duration;

use nexum_core::{ConnectionKey, ConnectionLoss};
use nexum_types::Time;

use super::ShardLoop;
use super::limbo::{Limbo, Stage};
use super::links::{Link, Phase};
use crate::ready::{Place, Token};

/// How long a connection that is to be closed has to take what waits for it, and then to close
/// its side.
const LINGER: Duration = Duration::from_secs(3);

impl ShardLoop {
    /// The core wants this connection closed once it has what waits for it.
    pub(super) fn close(&mut self, key: ConnectionKey, now: Time) {
        let Some(link) = self.links.by_key(key) else {
            return;
        };
        if let Phase::Closing { .. } = link.phase {
            return;
        }
        let deadline = now + LINGER;
        link.phase = Phase::Closing { deadline };
        link.has_last_word = self.shard.pending_transmit(key) > 0;
        self.deadlines.insert((deadline, Token::link(key.index)));
        // Ends it at once if nothing is in the way.
        self.flush(key, now);
    }

    /// Everything was sent, or the time for it is up.
    pub(super) fn finish_closing(&mut self, key: ConnectionKey, now: Time) {
        let Some(link) = self.remove_link(key) else {
            return;
        };
        self.shard.closed(key);
        let nothing_unread = link.drained && !link.has_last_word;
        if link.transport.ends_silently() && nothing_unread {
            return;
        }
        self.part(link, now);
    }

    /// The network connection ended, or is not to be used any more. What the core makes of it is
    /// left for the caller to carry out: carrying out may end here, for many connections at once.
    pub(super) fn lose(&mut self, key: ConnectionKey, loss: ConnectionLoss, now: Time) {
        let Some(link) = self.remove_link(key) else {
            return;
        };
        self.shard.lost(key, loss, now);
        if !link.transport.ends_silently() {
            self.part(link, now);
        }
    }

    /// Gives up on sockets that took too long to open or to close.
    pub(super) fn give_up_overdue(&mut self, now: Time) {
        while let Some(&(deadline, token)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            match token.place() {
                Place::Link(index) => {
                    if let Some(link) = self.links.by_index(index) {
                        let key = link.key;
                        self.links.remove(key);
                        self.shard.closed(key);
                    }
                }
                Place::Limbo(index) => self.abandon_limbo(index),
            }
        }
    }

    fn remove_link(&mut self, key: ConnectionKey) -> Option<Link> {
        let link = self.links.remove(key)?;
        if let Phase::Closing { deadline } = link.phase {
            self.deadlines.remove(&(deadline, Token::link(key.index)));
        }
        Some(link)
    }

    /// Lets a transport that the core has no business with any more say goodbye.
    fn part(&mut self, link: Link, now: Time) {
        let Link {
            transport, permit, ..
        } = link;
        let stage = Stage::Parting {
            transport,
            goodbye_said: false,
        };
        let limbo = Limbo {
            stage,
            permit,
            deadline: now + LINGER,
        };
        self.enter_limbo(limbo, now);
    }
}
