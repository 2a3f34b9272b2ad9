//! Connections of those who come back as often as it takes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexum_harness::{Connect, Packet, Peer, Received, Version, reason};

use super::ledger::Ledger;

/// How long the broker may take for an answer, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(30);

/// With nothing to do for that long, somebody looks around.
pub(super) const LULL: Duration = Duration::from_millis(5);

/// Where everybody plays.
pub(super) struct Stage<'a> {
    pub(super) address: SocketAddr,
    pub(super) ledger: &'a Ledger,
    /// Nobody is killed, and everything is finished.
    pub(super) is_last: bool,
    pub(super) is_over: AtomicBool,
}

impl Stage<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// `None`: the broker is no longer there.
    pub(super) fn connect(&self, version: Version, name: &str, stays: bool) -> Option<Peer> {
        let mut connect = Connect::new(version, name);
        if stays {
            connect = connect.persistent().resume();
        }
        let peer = Peer::try_connect(self.address, version);
        let mut peer = peer.ok()?.survive_crash();
        peer.send(connect);
        match peer.recv_within(PATIENCE) {
            Received::Packet(Packet::Connack(connack)) if connack.reason == reason::SUCCESS => {
                Some(peer)
            }
            Received::Closed if self.is_over() => None,
            other => {
                self.ledger
                    .breach(format!("{name} is answered by {other:?}"));
                None
            }
        }
    }

    /// The broker closed a connection.
    pub(super) fn closed(&self, name: &str) {
        if !self.is_over() {
            self.ledger
                .breach(format!("the connection of {name} was closed"));
        }
    }
}
