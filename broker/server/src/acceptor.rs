//! The thread that accepts.
//!
//! It has nothing else to do, so that a busy shard does not keep connections waiting and a flood
//! of connections does not keep a shard from its messages. It hands sockets to the shards in
//! turn; what is spoken on them it does not know.
//!
//! It waits in poll(2) for a handful of listening sockets. A runtime would register each accepted
//! socket as well, only for it to leave for its shard.

use std::io::{self, PipeReader, PipeWriter};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nexum_core::ShardId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::admission::Admission;
use crate::handle::Shared;
use crate::listener::Listener;
use crate::post::{Accepted, Letter};
use crate::socket::Socket;

/// How long to wait when the system has no file descriptor or memory for another socket. They
/// come back when connections end; asking again at once would only burn the processor.
const BACK_OFF: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How often the same trouble is logged, at most.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Sockets accepted from one listener before the others get their turn.
const AT_ONCE: usize = 256;

/// Ends the acceptor from any thread.
#[derive(Debug)]
pub(crate) struct StopAccepting(Mutex<Option<PipeWriter>>);

impl StopAccepting {
    /// The other end is for the acceptor.
    pub(crate) fn new() -> io::Result<(StopAccepting, PipeReader)> {
        let (stopped, stop) = io::pipe()?;
        Ok((StopAccepting(Mutex::new(Some(stop))), stopped))
    }

    pub(crate) fn stop(&self) {
        // Closing one end wakes whoever polls the other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The thread; see the [module](self).
pub(crate) struct Acceptor {
    pub(crate) sockets: Vec<(TcpListener, Arc<Listener>)>,
    pub(crate) stopped: PipeReader,
    pub(crate) admission: Admission,
    pub(crate) shared: Arc<Shared>,
}

impl Acceptor {
    /// Accepts until it is stopped. Then the listening sockets are closed.
    pub(crate) fn run(self) -> io::Result<()> {
        let Acceptor {
            sockets,
            stopped,
            admission,
            shared,
        } = self;
        let mut reception = Reception {
            admission,
            shared,
            next_shard: 0,
            full: Complaint::default(),
        };
        let mut trouble = Complaint::default();
        let mut in_trouble = false;
        loop {
            // Stopping comes first; in trouble it is all that is waited for.
            let mut watched = vec![PollFd::new(&stopped, PollFlags::IN)];
            if !in_trouble {
                watched.extend(
                    sockets
                        .iter()
                        .map(|(socket, _)| PollFd::new(socket, PollFlags::IN)),
                );
            }
            match poll(&mut watched, in_trouble.then_some(&BACK_OFF)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !watched[0].revents().is_empty() {
                return Ok(());
            }
            in_trouble = false;
            let ready: Vec<_> = watched[1..]
                .iter()
                .map(|watched| !watched.revents().is_empty())
                .collect();
            for ((socket, listener), _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
                if let Err(error) = accept_waiting(socket, listener, &mut reception) {
                    reception
                        .shared
                        .accept
                        .failed
                        .fetch_add(1, Ordering::Relaxed);
                    if trouble.is_due() {
                        tracing::error!("cannot accept connections, trying again: {error}");
                    }
                    in_trouble = true;
                }
            }
        }
    }
}

/// Accepts what waits at a listener. An error is one of this machine, not of a connection.
fn accept_waiting(
    socket: &TcpListener,
    listener: &Arc<Listener>,
    reception: &mut Reception,
) -> io::Result<()> {
    for _ in 0..AT_ONCE {
        match socket.accept() {
            Ok((stream, address)) => {
                stream.set_nonblocking(true)?;
                reception.receive(stream, address, listener);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if concerns_one_socket(&error) => {
                tracing::debug!("a connection was lost before it was accepted: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether accepting failed for this socket alone. accept(2) passes network errors of a
/// connection on; another may be accepted at once.
fn concerns_one_socket(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut
    )
}

/// What happens to accepted sockets.
struct Reception {
    admission: Admission,
    shared: Arc<Shared>,
    next_shard: u16,
    full: Complaint,
}

impl Reception {
    fn receive(&mut self, stream: TcpStream, address: SocketAddr, listener: &Arc<Listener>) {
        let Reception {
            admission,
            shared,
            next_shard,
            full,
        } = self;
        // Before any handshake: who does not get in should cost nothing.
        let Some(permit) = admission.admit() else {
            shared.accept.refused_full.fetch_add(1, Ordering::Relaxed);
            if full.is_due() {
                tracing::warn!("as many connections as allowed; {address} and others are refused");
            }
            return;
        };
        shared.accept.accepted.fetch_add(1, Ordering::Relaxed);
        let shard = ShardId(*next_shard);
        *next_shard = (*next_shard + 1) % shared.post_office.shard_count();
        let accepted = Accepted {
            socket: Socket::Detached(stream),
            // An IPv4 client of an IPv6 socket is an IPv4 client.
            address: SocketAddr::new(address.ip().to_canonical(), address.port()),
            listener: Arc::clone(listener),
            permit,
            at: shared.clock.now(),
        };
        shared
            .post_office
            .mailbox(shard)
            .post(Letter::Accepted(Box::new(accepted)));
    }
}

/// Something that is worth a line in the log now and then.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
}

impl Complaint {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            self.last = Some(now);
        }
        due
    }
}
