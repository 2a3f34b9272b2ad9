//! What every client with a persistent session does, whatever it is there for: it comes back, and
//! holds the broker to Session Present.

use std::net::SocketAddr;
use std::time::Duration;

use nexum_harness::{Connect, Packet, Peer, Received, Version, reason};

use crate::breach::Breach;
use crate::catalogue::{Catalogue, Message};
use crate::clock::{Clock, Tick};
use crate::events::{Event, Events};

/// How long the broker may take for an answer, on a machine that is busy with something else. Only
/// a run that fails waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where and when the clients play.
pub(crate) struct Stage<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) round: usize,
    pub(crate) clock: &'a Clock,
    pub(crate) catalogue: &'a Catalogue,
}

/// A client's side of its session, without the messages.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) events: Events,
    pub(crate) breaches: Vec<Breach>,
    /// A CONNACK came, so from now on there must be a session.
    promised: bool,
    /// The connection ended and it was not this client's doing. If the broker takes the next one,
    /// it was not its death either.
    cut_off: bool,
}

impl Session {
    pub(crate) fn new(name: &str, version: Version) -> Session {
        Session {
            name: name.to_owned(),
            version,
            events: Events::default(),
            breaches: Vec::new(),
            promised: false,
            cut_off: false,
        }
    }

    /// A CONNECT that asks for the session of before, and for one that outlives its connection.
    pub(crate) fn connect_packet(&self) -> Connect {
        Connect::new(self.version, &self.name).persistent().resume()
    }

    /// From here on it has to do with another process, which has not cut anybody off.
    pub(crate) fn arrive(&mut self) {
        self.cut_off = false;
    }

    /// `None`: the broker is no longer there.
    pub(crate) fn connect(&mut self, stage: &Stage<'_>, connect: Connect) -> Option<Peer> {
        let mut peer = Peer::try_connect(stage.address, self.version)
            .ok()?
            .survive_crash();
        peer.send(connect);
        let connack = match peer.recv_within(PATIENCE) {
            Received::Packet(Packet::Connack(connack)) => connack,
            Received::Closed => return None,
            other => {
                self.breach(format!("CONNECT is answered by {other:?}"), None);
                return None;
            }
        };
        self.note(stage, "CONNACK came", None);
        if connack.reason != reason::SUCCESS {
            self.breach(format!("it may not connect: {connack:?}"), None);
            return None;
        }
        if std::mem::take(&mut self.cut_off) {
            self.breach(
                "the broker closed its connection and lives".to_owned(),
                None,
            );
        }
        let promised = std::mem::replace(&mut self.promised, true);
        if promised && !connack.session_present {
            self.breach(
                "Session Present is 0, but an earlier CONNECT was accepted".to_owned(),
                None,
            );
            return None;
        }
        Some(peer)
    }

    /// The broker closed the connection; perhaps because it died.
    pub(crate) fn closed(&mut self, stage: &Stage<'_>) {
        self.note(stage, "the connection ended", None);
        self.cut_off = true;
    }

    pub(crate) fn note(
        &mut self,
        stage: &Stage<'_>,
        what: &'static str,
        about: Option<(Message, u16)>,
    ) -> Tick {
        let tick = stage.clock.tick();
        self.events.push(Event {
            tick,
            round: stage.round,
            what,
            about,
        });
        tick
    }

    /// Takes over what a session under another name has seen.
    pub(crate) fn inherit(&mut self, other: Session) {
        self.events.extend(other.events);
        self.breaches.extend(other.breaches);
    }

    pub(crate) fn breach(&mut self, what: String, message: Option<Message>) {
        self.breaches.push(Breach {
            client: self.name.clone(),
            what,
            message,
        });
    }
}
