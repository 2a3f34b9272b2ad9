//! Sockets that do not speak MQTT yet, or no more.
//!
//! They have a waker and a deadline, and the core knows nothing of them.

use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use nexum_types::Time;
use slab::Slab;
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use crate::admission::Permit;
use crate::certificate::common_name;
use crate::listener::Listener;
use crate::ready::{ReadyList, SocketWaker, Token};
use crate::socket::Socket;
use crate::transport::websocket::upgrade::{Upgrade, UpgradePolicy, upgrade};
use crate::transport::{Scratch, Tls, Transport};

/// A socket between TCP and MQTT.
pub(super) struct Limbo {
    pub(super) stage: Stage,
    pub(super) permit: Permit,
    /// When it is given up.
    pub(super) deadline: Time,
}

/// What a socket waits for.
pub(super) enum Stage {
    /// The end of the TLS handshake.
    TlsHandshake {
        handshake: Box<Accept<Socket>>,
        arrival: Arrival,
    },
    /// The end of the WebSocket handshake.
    Upgrade {
        upgrading: Box<Upgrading>,
        arrival: Arrival,
    },
    /// The peer's closing its side, once ours has been.
    Parting {
        transport: Transport,
        goodbye_said: bool,
    },
}

/// Where a socket came from.
pub(super) struct Arrival {
    pub(super) address: SocketAddr,
    pub(super) listener: Arc<Listener>,
    pub(super) accepted_at: Time,
    /// The subject common name of the client's certificate.
    pub(super) certificate: Option<Arc<str>>,
}

/// How far a socket got.
pub(super) enum Step {
    /// It waits for its peer; its waker is registered.
    Wait(Stage),
    /// It may go on at once, but others come first.
    Again(Stage),
    /// It speaks MQTT from here on.
    Speak(Transport, Arrival),
    /// The handshake failed; if there is something to say, the transport has not closed yet.
    Fail {
        why: String,
        arrival: Arrival,
        parting: Option<Transport>,
    },
    /// It has ended.
    Gone,
}

/// Reads of what a client still sends, made before others get their turn.
const DISCARDED_READS: usize = 4;

impl Stage {
    /// Goes on as far as the socket lets it.
    pub(super) fn step(self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Step {
        match self {
            Stage::TlsHandshake {
                mut handshake,
                arrival,
            } => match Pin::new(&mut *handshake).poll(cx) {
                Poll::Pending => Step::Wait(Stage::TlsHandshake { handshake, arrival }),
                Poll::Ready(Ok(stream)) => secured(stream, arrival, cx, scratch),
                Poll::Ready(Err(error)) => Step::Fail {
                    why: format!("TLS: {error}"),
                    arrival,
                    parting: None,
                },
            },
            Stage::Upgrade {
                mut upgrading,
                arrival,
            } => match upgrading.poll(cx, scratch) {
                Poll::Pending => Step::Wait(Stage::Upgrade { upgrading, arrival }),
                Poll::Ready(outcome) => {
                    let transport = upgrading.into_transport();
                    match outcome {
                        Ok(()) => Step::Speak(transport, arrival),
                        Err(why) => Step::Fail {
                            why,
                            arrival,
                            parting: Some(transport),
                        },
                    }
                }
            },
            Stage::Parting {
                transport,
                goodbye_said,
            } => part(transport, goodbye_said, cx, scratch),
        }
    }
}

/// The TLS handshake is complete.
fn secured(
    stream: TlsStream<Socket>,
    mut arrival: Arrival,
    cx: &mut Context<'_>,
    scratch: &mut Scratch,
) -> Step {
    let (_, session) = stream.get_ref();
    arrival.certificate = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(common_name);
    let transport = Transport::Tls(Box::new(Tls::new(stream)));
    match arrival.listener.websocket.clone() {
        None => Step::Speak(transport, arrival),
        Some(policy) => {
            let upgrading = Box::new(Upgrading::new(transport, policy));
            Stage::Upgrade { upgrading, arrival }.step(cx, scratch)
        }
    }
}

/// Says goodbye and reads until the peer has, too. Closing a socket with bytes unread resets the
/// connection, and a reset can take our last words from a client that has not read them.
fn part(
    mut transport: Transport,
    goodbye_said: bool,
    cx: &mut Context<'_>,
    scratch: &mut Scratch,
) -> Step {
    if !goodbye_said {
        match transport.poll_goodbye(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Step::Gone,
            Poll::Pending => {
                return Step::Wait(Stage::Parting {
                    transport,
                    goodbye_said,
                });
            }
        }
    }
    for _ in 0..DISCARDED_READS {
        match transport.poll_discard(cx, scratch) {
            Poll::Ready(0) => return Step::Gone,
            Poll::Ready(_) => {}
            Poll::Pending => {
                return Step::Wait(Stage::Parting {
                    transport,
                    goodbye_said: true,
                });
            }
        }
    }
    Step::Again(Stage::Parting {
        transport,
        goodbye_said: true,
    })
}

/// A WebSocket handshake under way.
pub(super) struct Upgrading {
    /// TCP or TLS.
    transport: Transport,
    policy: Arc<UpgradePolicy>,
    /// What has come of the request, and then of the frames after it.
    received: Vec<u8>,
    /// What is to be answered, once it is known.
    response: Vec<u8>,
    sent: usize,
    /// Why the answer refuses, if it does.
    refused: Option<&'static str>,
}

impl Upgrading {
    pub(super) fn new(transport: Transport, policy: Arc<UpgradePolicy>) -> Upgrading {
        Upgrading {
            transport,
            policy,
            received: Vec::new(),
            response: Vec::new(),
            sent: 0,
            refused: None,
        }
    }

    /// Ready when the answer was sent, with why it refuses if it does.
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), String>> {
        while self.response.is_empty() {
            let received = ready!(self.transport.poll_read(cx, scratch));
            self.received
                .extend_from_slice(scratch.received(received.bytes));
            match upgrade(&self.received, &self.policy) {
                Upgrade::Incomplete => match received.end {
                    None => {}
                    Some(_) => return Poll::Ready(Err("it ended early".to_owned())),
                },
                Upgrade::Accept {
                    response,
                    request_bytes,
                } => {
                    self.received.drain(..request_bytes);
                    self.response = response;
                }
                Upgrade::Refuse { response, why } => {
                    self.response = response;
                    self.refused = Some(why);
                }
            }
        }
        while self.sent < self.response.len() {
            let rest = IoSlice::new(&self.response[self.sent..]);
            match ready!(self.transport.poll_write(cx, &[rest])) {
                Ok(bytes) => self.sent += bytes,
                Err(error) => return Poll::Ready(Err(error.to_string())),
            }
        }
        let flushed = ready!(self.transport.poll_flush(cx)).map_err(|error| error.to_string());
        Poll::Ready(match self.refused {
            None => flushed,
            Some(why) => Err(why.to_owned()),
        })
    }

    /// With frames on top if the answer accepted.
    fn into_transport(self) -> Transport {
        match self.refused {
            None => self.transport.with_frames(self.received),
            Some(_) => self.transport,
        }
    }
}

/// The sockets in limbo and their wakers.
pub(super) struct LimboTable {
    slots: Slab<Slot>,
    ready: Arc<ReadyList>,
}

/// A place in the table.
pub(super) struct Slot {
    /// Taken out while it is looked at.
    pub(super) limbo: Option<Limbo>,
    pub(super) waker: Waker,
}

impl LimboTable {
    pub(super) fn new(ready: Arc<ReadyList>) -> LimboTable {
        LimboTable {
            slots: Slab::new(),
            ready,
        }
    }

    /// Returns the index.
    pub(super) fn insert(&mut self, limbo: Limbo) -> u32 {
        let entry = self.slots.vacant_entry();
        let index = u32::try_from(entry.key()).expect("fewer sockets than 2^32");
        let waker = SocketWaker::waker(&self.ready, Token::limbo(index));
        entry.insert(Slot {
            limbo: Some(limbo),
            waker,
        });
        index
    }

    pub(super) fn by_index(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Limbo> {
        self.slots.try_remove(index as usize)?.limbo
    }

    /// The indices of sockets on their way in.
    pub(super) fn arriving(&self) -> Vec<u32> {
        let arriving = |slot: &Slot| match slot.limbo.as_ref()?.stage {
            Stage::TlsHandshake { .. } | Stage::Upgrade { .. } => Some(()),
            Stage::Parting { .. } => None,
        };
        self.slots
            .iter()
            .filter_map(|(index, slot)| arriving(slot).map(|()| index as u32))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
