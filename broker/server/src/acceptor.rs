//! The task that accepts.
//!
//! It runs beside the first shard, on the same thread, and hands sockets to the shards in turn; what
//! is spoken on them it does not know. A thread of its own would cost each connection two changes of
//! threads, a good part of what all the rest of connecting costs. While the shard is busy a
//! connection waits for the end of its turn, which is bounded, and a flood of connections gets a
//! bounded part of the thread.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nexum_core::ShardId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::admission::Admission;
use crate::guard::guarded;
use crate::handle::Shared;
use crate::listener::Listener;
use crate::post::{Accepted, Letter};
use crate::socket::Socket;

/// How long to wait when the system has no file descriptor or memory for another socket. They
/// come back when connections end; asking again at once would only burn the processor.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often the same trouble is logged, at most.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The shard whose runtime polls the acceptor, and with it the sockets it accepts.
const HOME: ShardId = ShardId(0);

/// Sockets accepted before the shard gets its turn.
const AT_ONCE: usize = 64;

/// Listening sockets, each with what it is for.
pub(crate) type BoundSockets = Vec<(std::net::TcpListener, Arc<Listener>)>;

/// Ends the acceptor from any thread.
#[derive(Debug)]
pub(crate) struct StopAccepting(Mutex<Option<oneshot::Sender<()>>>);

impl StopAccepting {
    /// The other end is for the acceptor.
    pub(crate) fn new() -> (StopAccepting, oneshot::Receiver<()>) {
        let (stop, stopped) = oneshot::channel();
        (StopAccepting(Mutex::new(Some(stop))), stopped)
    }

    pub(crate) fn stop(&self) {
        // Dropping one end wakes whoever waits at the other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The task; see the [module](self). It ends when it is stopped, and closes the listening sockets.
pub(crate) struct Acceptor {
    sockets: Vec<(TcpListener, Arc<Listener>)>,
    stopped: oneshot::Receiver<()>,
    reception: Reception,
    /// The listener that is asked first, so that none keeps the others waiting.
    first: usize,
    /// There until accepting is tried again.
    back_off: Option<Pin<Box<Sleep>>>,
    trouble: Complaint,
}

impl Acceptor {
    /// To be polled by the present runtime.
    ///
    /// # Errors
    /// If it cannot watch a listening socket.
    pub(crate) fn new(
        sockets: BoundSockets,
        stopped: oneshot::Receiver<()>,
        shared: Arc<Shared>,
    ) -> io::Result<Acceptor> {
        let sockets: io::Result<Vec<_>> = sockets
            .into_iter()
            .map(|(socket, listener)| Ok((TcpListener::from_std(socket)?, listener)))
            .collect();
        Ok(Acceptor {
            sockets: sockets?,
            stopped,
            reception: Reception {
                admission: Admission::new(shared.limits.maximum_connections),
                shared,
                next_shard: 0,
                full: Complaint::default(),
            },
            first: 0,
            back_off: None,
            trouble: Complaint::default(),
        })
    }

    /// Accepts what waits at the listeners, up to [`AT_ONCE`]; whether there may be more.
    fn accept_some(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut left = AT_ONCE;
        for step in 0..self.sockets.len() {
            let place = (self.first + step) % self.sockets.len();
            let (socket, listener) = &self.sockets[place];
            while let Poll::Ready(accepted) = socket.poll_accept(cx) {
                match accepted {
                    Ok((stream, address)) => {
                        let received = guarded(|| {
                            self.reception.receive(stream, address, listener);
                        });
                        if let Err(panic) = received {
                            tracing::error!("a connection is dropped by a panic: {panic}");
                        }
                    }
                    Err(error) if concerns_one_socket(&error) => {
                        tracing::debug!("a connection was lost before it was accepted: {error}");
                    }
                    Err(error) => return Err(error),
                }
                left -= 1;
                if left == 0 {
                    self.first = place + 1;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Future for Acceptor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.stopped).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            if let Some(back_off) = &mut self.back_off {
                if back_off.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.back_off = None;
            }
            // An error is one of this machine, not of a connection.
            match self.accept_some(cx) {
                Ok(there_may_be_more) => {
                    if there_may_be_more {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
                Err(error) => {
                    let failed = &self.reception.shared.accept.failed;
                    failed.fetch_add(1, Ordering::Relaxed);
                    if self.trouble.is_due() {
                        tracing::error!("cannot accept connections, trying again: {error}");
                    }
                    self.back_off = Some(Box::pin(sleep(BACK_OFF)));
                }
            }
        }
    }
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
        let mut socket = Socket::Attached(stream);
        if shard != HOME
            && let Err(error) = socket.detach()
        {
            return tracing::warn!("a connection from {address} cannot leave its runtime: {error}");
        }
        let accepted = Accepted {
            socket,
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
