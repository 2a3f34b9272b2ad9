//! How sockets become connections: handshakes, each under one deadline that begins when the
//! socket was accepted and covers CONNECT as well.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use nexum_core::ConnectionOrigin;
use nexum_types::Time;

use super::ShardLoop;
use super::limbo::{Arrival, Limbo, Stage, Step, Upgrading};
use crate::admission::Permit;
use crate::post::{Accepted, Rehomed};
use crate::ready::Token;
use crate::transport::Transport;

impl ShardLoop {
    /// The acceptor has a new socket.
    pub(super) fn receive_socket(&mut self, accepted: Accepted, now: Time) {
        if self.draining.is_some() {
            return;
        }
        let Accepted {
            mut socket,
            address,
            listener,
            permit,
            at,
        } = accepted;
        if let Err(error) = socket.attach() {
            tracing::warn!("a connection from {address} cannot be polled: {error}");
            return;
        }
        let arrival = Arrival {
            address,
            listener: Arc::clone(&listener),
            accepted_at: at,
            certificate: None,
        };
        let stage = match (&listener.tls, &listener.websocket) {
            (None, None) => {
                self.open(Transport::Tcp(socket), arrival, permit, now);
                return;
            }
            (None, Some(policy)) => {
                let upgrading = Upgrading::new(Transport::Tcp(socket), Arc::clone(policy));
                Stage::Upgrade {
                    upgrading: Box::new(upgrading),
                    arrival,
                }
            }
            (Some(tls), _) => {
                let handshake = Box::new(tls.acceptor().accept(socket));
                Stage::TlsHandshake { handshake, arrival }
            }
        };
        let allowed = u64::from(self.shared.limits.authentication_timeout_seconds);
        let deadline = at + Duration::from_secs(allowed);
        self.enter_limbo(
            Limbo {
                stage,
                permit,
                deadline,
            },
            now,
        );
    }

    /// Another shard has a connection whose session lives here.
    pub(super) fn receive_connection(&mut self, rehomed: Rehomed, now: Time) {
        let Rehomed {
            mut transport,
            origin,
            received,
            permit,
            accepted_at,
        } = rehomed;
        if self.draining.is_some() {
            return;
        }
        if let Err(error) = transport.socket().attach() {
            tracing::warn!(
                "a connection was lost on its way to shard {}: {error}",
                self.id.0
            );
            return;
        }
        self.carry_out(now);
        let key = self.shard.open(origin, accepted_at);
        self.links.insert(key, transport, permit, accepted_at);
        self.pending.push_back(Token::link(key.index));
        self.shard.receive(key, &received, now);
        self.carry_out(now);
    }

    /// A socket speaks MQTT from here on.
    fn open(&mut self, transport: Transport, arrival: Arrival, permit: Permit, now: Time) {
        let Arrival {
            address,
            listener,
            accepted_at,
            certificate,
        } = arrival;
        let origin = ConnectionOrigin {
            address: Some(address),
            listener: Arc::clone(&listener.name),
            anonymous: listener.anonymous,
            verify_credentials: self.shared.authenticator.is_some(),
            certificate,
        };
        self.carry_out(now);
        let key = self.shard.open(origin, accepted_at);
        self.links.insert(key, transport, permit, accepted_at);
        // Registers its waker, and finds what came with the last bytes of a handshake.
        self.pending.push_back(Token::link(key.index));
    }

    /// Has a socket looked at for the first time, and then whenever it wakes.
    pub(super) fn enter_limbo(&mut self, limbo: Limbo, now: Time) {
        let deadline = limbo.deadline;
        let index = self.limbo.insert(limbo);
        self.deadlines.insert((deadline, Token::limbo(index)));
        self.look_at_limbo(index, now);
    }

    pub(super) fn look_at_limbo(&mut self, index: u32, now: Time) {
        let Some(slot) = self.limbo.by_index(index) else {
            return;
        };
        let Some(Limbo {
            stage,
            permit,
            deadline,
        }) = slot.limbo.take()
        else {
            return;
        };
        let mut cx = Context::from_waker(&slot.waker);
        match stage.step(&mut cx, &mut self.scratch) {
            Step::Wait(stage) => {
                slot.limbo = Some(Limbo {
                    stage,
                    permit,
                    deadline,
                });
                return;
            }
            Step::Again(stage) => {
                slot.limbo = Some(Limbo {
                    stage,
                    permit,
                    deadline,
                });
                self.pending.push_back(Token::limbo(index));
                return;
            }
            Step::Fail {
                why,
                arrival,
                parting,
            } => {
                self.report.load.failed_handshakes += 1;
                tracing::debug!("the handshake of {} failed: {why}", arrival.address);
                if let Some(transport) = parting {
                    let stage = Stage::Parting {
                        transport,
                        goodbye_said: false,
                    };
                    slot.limbo = Some(Limbo {
                        stage,
                        permit,
                        deadline,
                    });
                    self.pending.push_back(Token::limbo(index));
                    return;
                }
            }
            Step::Speak(transport, arrival) => self.open(transport, arrival, permit, now),
            Step::Gone => {}
        }
        self.limbo.remove(index);
        self.deadlines.remove(&(deadline, Token::limbo(index)));
    }

    /// Its deadline has passed.
    pub(super) fn abandon_limbo(&mut self, index: u32) {
        let Some(limbo) = self.limbo.remove(index) else {
            return;
        };
        match limbo.stage {
            Stage::TlsHandshake { arrival, .. } | Stage::Upgrade { arrival, .. } => {
                self.report.load.failed_handshakes += 1;
                tracing::debug!("the handshake of {} took too long", arrival.address);
            }
            Stage::Parting { .. } => {}
        }
    }

    /// The broker goes down: whoever is not in does not get in.
    pub(super) fn drop_handshakes(&mut self) {
        for index in self.limbo.arriving() {
            if let Some(limbo) = self.limbo.remove(index) {
                self.deadlines
                    .remove(&(limbo.deadline, Token::limbo(index)));
            }
        }
    }
}
