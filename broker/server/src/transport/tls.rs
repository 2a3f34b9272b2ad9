//! TLS after the handshake.
//!
//! tokio-rustls makes the handshake; from then on the TLS machine is driven here, because
//! a stream that reads for itself asks the kernel for four KiB at a time and brings a buffer per
//! connection. Here one large read lands in the shard's buffer and is decrypted from
//! there, and records leave with one `writev`.

use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use nexum_core::ConnectionLoss;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::server::TlsStream;

use super::{READ_BYTES, Received, Scratch, Stream};
use crate::socket::Socket;

/// Plaintext taken before the socket has to take records: more only waits in two places.
const UNSENT_BYTES: usize = 128 * 1024;

/// An encrypted stream.
pub(crate) struct Tls {
    socket: Socket,
    session: ServerConnection,
    /// Bytes may have come with the last message of the handshake: look before reading.
    fresh: bool,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<Socket>) -> Tls {
        let (socket, mut session) = stream.into_inner();
        session.set_buffer_limit(Some(UNSENT_BYTES));
        Tls {
            socket,
            session,
            fresh: true,
        }
    }

    /// Decrypts `wire[..bytes]` to the beginning of `plain`.
    fn decrypt(&mut self, scratch: &mut Scratch, bytes: usize) -> Received {
        let mut wire = &scratch.wire[..bytes];
        let mut received = Received {
            full: bytes == READ_BYTES,
            ..Received::default()
        };
        loop {
            received.end = self.take_plaintext(&mut scratch.plain, &mut received.bytes);
            if received.end.is_some() || wire.is_empty() {
                return received;
            }
            // Takes a part, at most a buffer of its own; after each the plaintext is taken, so
            // that there is room for the next.
            if let Err(error) = self.session.read_tls(&mut wire) {
                received.end = Some(ConnectionLoss::Error(error.to_string()));
                return received;
            }
            if let Err(error) = self.session.process_new_packets() {
                received.end = Some(ConnectionLoss::Error(format!("TLS: {error}")));
                return received;
            }
        }
    }

    /// Moves decrypted bytes to `plain` from `filled` on. Returns the end if it was announced.
    fn take_plaintext(&mut self, plain: &mut [u8], filled: &mut usize) -> Option<ConnectionLoss> {
        loop {
            match self.session.reader().read(&mut plain[*filled..]) {
                // close_notify, or no room: there is room for all that one read can bring.
                Ok(0) => return Some(ConnectionLoss::EndOfStream),
                Ok(bytes) => *filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(ConnectionLoss::Error(error.to_string())),
            }
        }
    }
}

impl Stream for Tls {
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Received> {
        if std::mem::take(&mut self.fresh) {
            let received = self.decrypt(scratch, 0);
            if received.bytes > 0 || received.end.is_some() {
                return Poll::Ready(received);
            }
        }
        let received = match ready!(self.socket.poll_receive(cx, &mut scratch.wire)) {
            // Without close_notify this may be a truncation. MQTT packets carry their lengths and
            // a connection that ends without DISCONNECT is lost either way.
            Ok(0) => Received::ended(ConnectionLoss::EndOfStream),
            Ok(bytes) => self.decrypt(scratch, bytes),
            Err(error) => Received::ended(ConnectionLoss::Error(error.to_string())),
        };
        if self.session.wants_write() {
            // An alert, a key update or a ticket. If it cannot go now it goes with the next
            // write; an error shows again at the next read.
            let _ = self.poll_flush(cx);
        }
        Poll::Ready(received)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.session.writer().write_vectored(slices)?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_flush(cx))?;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut writer = Writer {
                socket: &mut self.socket,
                cx,
            };
            match self.session.write_tls(&mut writer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Said once however often this is called.
        self.session.send_close_notify();
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.socket.shut_down_write())
    }

    fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

/// Lets the TLS machine write to a polled socket.
struct Writer<'a, 'b> {
    socket: &'a mut Socket,
    cx: &'a mut Context<'b>,
}

impl Writer<'_, '_> {
    fn write_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_send(self.cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Writer<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_slices(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_slices(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
