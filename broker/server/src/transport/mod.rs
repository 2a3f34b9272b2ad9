//! What lies between a socket and MQTT: nothing, TLS, WebSocket, or both.
//!
//! A transport turns what the network sends into the bytes of MQTT packets, in the shard's own
//! [`Scratch`] buffers, and back. It keeps no buffer while nothing is under way: what a layer
//! must keep (half a TLS record, half a WebSocket frame header) is its state, and TCP keeps
//! nothing. It takes no decision about MQTT.
//!
//! Everything here is polled; a `Pending` means that the socket's waker is registered.

mod tls;
pub(crate) mod websocket;

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use nexum_core::ConnectionLoss;

pub(crate) use self::tls::Tls;
use self::websocket::WebSocket;
use crate::socket::Socket;

/// How much one read may bring. A busy publisher then costs a system call for thousands of small
/// messages, and of large ones few are cut in two: against 64 KiB, messages of 16 KiB cost a
/// tenth less. With 512 KiB they cost no less, and one publisher's burst delays the others'.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// What one TLS connection may have left over from earlier reads: a record and its header.
const TLS_REMAINDER_BYTES: usize = 18 * 1024;

/// The buffers that all connections of a shard read into, one after another.
pub(crate) struct Scratch {
    /// What a socket gave, where it still has to be decrypted.
    wire: Box<[u8]>,
    /// What the layer above gets. It begins at the first byte.
    plain: Box<[u8]>,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            wire: vec![0; READ_BYTES].into(),
            plain: vec![0; READ_BYTES + TLS_REMAINDER_BYTES].into(),
        }
    }

    /// The first bytes that the last read brought.
    pub(crate) fn received(&self, bytes: usize) -> &[u8] {
        &self.plain[..bytes]
    }
}

/// What one read brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// This many bytes are at the beginning of [`Scratch::plain`].
    pub(crate) bytes: usize,
    /// The read took as much as it could: there may be more.
    pub(crate) full: bool,
    /// After these bytes nothing more comes, and why.
    pub(crate) end: Option<ConnectionLoss>,
}

impl Received {
    fn ended(end: ConnectionLoss) -> Received {
        Received {
            end: Some(end),
            ..Received::default()
        }
    }
}

/// A stream of bytes over a socket: TCP or TLS.
pub(crate) trait Stream {
    /// Reads from the socket once.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Received>;

    /// Takes these bytes, or the first of them, to send. Never returns zero for a non-empty slice.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends what was taken and not yet sent.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether something was taken and not yet sent.
    fn has_unsent(&self) -> bool;

    /// Says that nothing more will be sent, after everything that was taken.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn socket(&mut self) -> &mut Socket;
}

impl Stream for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Received> {
        let buffer = &mut scratch.plain[..READ_BYTES];
        Poll::Ready(match ready!(self.poll_receive(cx, buffer)) {
            Ok(0) => Received::ended(ConnectionLoss::EndOfStream),
            Ok(bytes) => Received {
                bytes,
                full: bytes == READ_BYTES,
                end: None,
            },
            Err(error) => Received::ended(ConnectionLoss::Error(error.to_string())),
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, slices)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn poll_goodbye(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down_write())
    }

    fn socket(&mut self) -> &mut Socket {
        self
    }
}

/// What an MQTT connection runs over. Only TCP is kept in place: it is what there may be a
/// hundred thousand of.
pub(crate) enum Transport {
    Tcp(Socket),
    Tls(Box<Tls>),
    WebSocket(Box<WebSocket<Socket>>),
    SecureWebSocket(Box<WebSocket<Tls>>),
}

/// Calls the same method whatever the layers are.
macro_rules! each_layer {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($stream) => $call,
            Transport::Tls($stream) => $call,
            Transport::WebSocket($stream) => $call,
            Transport::SecureWebSocket($stream) => $call,
        }
    };
}

impl Transport {
    /// See [`Stream::poll_read`]. After bytes that did not fill the buffer, call
    /// [`poll_read_ready`](Self::poll_read_ready) to wait for more.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Received> {
        each_layer!(self, stream => stream.poll_read(cx, scratch))
    }

    /// Registers for more to read, without a system call.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_read_ready(cx)
    }

    /// See [`Stream::poll_write`].
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each_layer!(self, stream => stream.poll_write(cx, slices))
    }

    /// See [`Stream::poll_flush`].
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_layer!(self, stream => stream.poll_flush(cx))
    }

    /// See [`Stream::has_unsent`].
    pub(crate) fn has_unsent(&self) -> bool {
        each_layer!(self, stream => stream.has_unsent())
    }

    /// See [`Stream::poll_goodbye`].
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_layer!(self, stream => stream.poll_goodbye(cx))
    }

    /// Puts WebSocket frames on top, if they are not there yet; the first came already.
    pub(crate) fn with_frames(self, early: Vec<u8>) -> Transport {
        match self {
            Transport::Tcp(socket) => Transport::WebSocket(Box::new(WebSocket::new(socket, early))),
            Transport::Tls(tls) => {
                Transport::SecureWebSocket(Box::new(WebSocket::new(*tls, early)))
            }
            Transport::WebSocket(_) | Transport::SecureWebSocket(_) => self,
        }
    }

    /// Whether closing the socket is all there is to an end: no layer has a last word.
    pub(crate) fn ends_silently(&self) -> bool {
        match self {
            Transport::Tcp(_) => true,
            Transport::Tls(_) | Transport::WebSocket(_) | Transport::SecureWebSocket(_) => false,
        }
    }

    /// Reads and throws away what the peer still sends, once, below all layers. Ready with zero
    /// when nothing more comes.
    pub(crate) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<usize> {
        self.socket()
            .poll_receive(cx, &mut scratch.wire)
            .map(|read| read.unwrap_or(0))
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        each_layer!(self, stream => stream.socket())
    }
}
