//! What happens to links: bytes arrive, connections are lost, and each end learns of it.

use std::sync::Arc;

use nexum_core::{ConnectionLoss, ConnectionOrigin, ShardId};

use super::{Happening, World};
use crate::link::{BrokerEnd, Link, LinkId, Pipe};
use crate::random::Span;
use crate::scenario::Reading;

/// What the broker's socket takes from the network before it is read.
const UP_WINDOW_BYTES: usize = 1 << 20;

impl World {
    /// A new connection, on its way to some shard.
    pub(super) fn connect(&mut self, client: Option<usize>) -> LinkId {
        let id = LinkId(self.links.len());
        let (latency, fragment, window) = match client {
            Some(client) => {
                let traits = &self.clients[client].traits;
                (traits.latency, traits.fragment_bytes, traits.window_bytes)
            }
            None => (Span::micros(10, 1_000), 100, 1_000),
        };
        let up = Pipe::new(latency, fragment, UP_WINDOW_BYTES);
        let down = Pipe::new(latency, fragment, window);
        self.links.push(Link::new(client, up, down));
        self.judge.linked(id, client);
        let origin = ConnectionOrigin {
            address: None,
            listener: Arc::from("simulated"),
            anonymous: true,
            verify_credentials: self.scenario.verifies_credentials,
            certificate: None,
        };
        let to = ShardId(self.random.below(self.shells.len()) as u16);
        let at = self.now + self.random.within(latency);
        let received = Vec::new();
        self.agenda.enter(
            at,
            Happening::Handed {
                link: id,
                to,
                origin,
                received,
            },
        );
        id
    }

    /// The client writes.
    pub(super) fn up(&mut self, link: LinkId, bytes: &[u8]) {
        let record = &mut self.links[link.0];
        if record.severed || bytes.is_empty() {
            return;
        }
        for at in record.up.write(bytes, self.now, &mut self.random) {
            self.agenda.enter(at, Happening::ArriveUp { link });
        }
    }

    /// The broker writes.
    pub(super) fn down(&mut self, link: LinkId, bytes: &[u8]) {
        let record = &mut self.links[link.0];
        if bytes.is_empty() {
            return;
        }
        if record.severed {
            // It is kept to be sent again, until the socket gives up.
            return record.down.write_in_vain(bytes.len());
        }
        if !record.client_open {
            // Nobody is there to read, and the system says so sooner or later.
            return;
        }
        for at in record.down.write(bytes, self.now, &mut self.random) {
            self.agenda.enter(at, Happening::ArriveDown { link });
        }
    }

    /// The broker closes.
    pub(super) fn end_down(&mut self, link: LinkId) {
        let record = &mut self.links[link.0];
        if !record.severed && record.client_open {
            let at = record.down.close(self.now, &mut self.random);
            self.agenda.enter(at, Happening::ArriveDown { link });
        }
    }

    pub(super) fn arrive_up(&mut self, link: LinkId) {
        self.links[link.0].up.arrive(self.now);
        self.readable(link);
    }

    pub(super) fn arrive_down(&mut self, link: LinkId) {
        let record = &mut self.links[link.0];
        record.down.arrive(self.now);
        let Some(client) = record.client else { return };
        match self.clients[client].reading() {
            Reading::Promptly => self.client_reads(link),
            Reading::Slowly { every, .. } => {
                self.agenda
                    .enter(self.now + every, Happening::Read { link });
            }
            Reading::Never => {}
        }
    }

    pub(super) fn client_reads(&mut self, link: LinkId) {
        let record = &mut self.links[link.0];
        let Some(client) = record.client else { return };
        if !record.client_open {
            record.down.arrived.clear();
            return self.writable(link);
        }
        let bytes = match self.clients[client].reading() {
            Reading::Promptly => record.down.read(usize::MAX),
            Reading::Slowly { bytes, every } => {
                let taken = record.down.read(bytes);
                if !record.down.arrived.is_empty() {
                    self.agenda
                        .enter(self.now + every, Happening::Read { link });
                }
                taken
            }
            Reading::Never => return,
        };
        let ended = record.down.ended && record.down.arrived.is_empty();
        if !bytes.is_empty() {
            self.writable(link);
            self.client_takes(client, link, &bytes);
        }
        if ended {
            self.client_learns(link);
        }
    }

    /// The client closes behind what it has written.
    pub(super) fn close_up(&mut self, link: LinkId) {
        let record = &mut self.links[link.0];
        record.client_open = false;
        record.down.arrived.clear();
        if !record.severed {
            let at = record.up.close(self.now, &mut self.random);
            self.agenda.enter(at, Happening::ArriveUp { link });
        }
        self.writable(link);
    }

    /// The connection is cut: from now on nothing gets through, and each end learns of it when it
    /// does.
    pub(super) fn cut(&mut self, link: LinkId, broker_learns: Span, client_learns: Span) {
        let loss = ConnectionLoss::Error("cut".to_owned());
        self.judge
            .history
            .note(self.now, || format!("{link:?} is cut"));
        let record = &mut self.links[link.0];
        if record.severed {
            return;
        }
        record.sever(&mut self.random);
        self.readable(link);
        let at = self.now + self.random.within(broker_learns);
        self.agenda
            .enter(at, Happening::BrokerLearns { link, loss });
        let at = self.now + self.random.within(client_learns);
        self.agenda.enter(at, Happening::ClientLearns { link });
    }

    /// The client gives up a connection that has not answered its CONNECT. The broker must not
    /// find that CONNECT later, when the client has sent another.
    pub(super) fn abandon(&mut self, link: LinkId) {
        self.judge
            .history
            .note(self.now, || format!("{link:?} is given up"));
        let record = &mut self.links[link.0];
        record.sever(&mut self.random);
        record.up.arrived.clear();
        record.client_open = false;
        let loss = ConnectionLoss::Error("reset".to_owned());
        self.broker_learns(link, loss);
    }

    /// Whether nothing but keep alives is under way between client and broker.
    pub(super) fn is_quiet(&self, link: LinkId) -> bool {
        const PING_BYTES: usize = 4;
        let record = &self.links[link.0];
        record.broker == BrokerEnd::Gone
            || (record.up.unread() <= PING_BYTES && record.down.unread() <= PING_BYTES)
    }
}
