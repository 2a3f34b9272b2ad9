//! A TCP socket that can move from one shard's runtime to another's.
//!
//! It reads and writes by readiness: no call is made that would only return "would block", apart
//! from the one that finds out that the kernel's buffer is full.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A non-blocking TCP socket, registered with a runtime or between two of them.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Polled by the runtime of the thread that attached it.
    Attached(TcpStream),
    /// On its way to another thread.
    Detached(std::net::TcpStream),
    /// Closed because moving it failed.
    Closed,
}

impl Socket {
    /// Registers a non-blocking socket with the current runtime.
    pub(crate) fn attached(stream: std::net::TcpStream) -> io::Result<Socket> {
        TcpStream::from_std(stream).map(Socket::Attached)
    }

    /// Registers this socket with the current runtime. After an error it is closed.
    pub(crate) fn attach(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Socket::Closed) {
            Socket::Attached(stream) => Socket::Attached(stream),
            Socket::Detached(stream) => Socket::attached(stream)?,
            Socket::Closed => return Err(closed()),
        };
        Ok(())
    }

    /// Takes this socket out of its runtime, so that another thread may attach it. After an error
    /// it is closed.
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Socket::Closed) {
            Socket::Attached(stream) => Socket::Detached(stream.into_std()?),
            Socket::Detached(stream) => Socket::Detached(stream),
            Socket::Closed => return Err(closed()),
        };
        Ok(())
    }

    /// Reads once. A read that does not fill `bytes` has emptied the kernel's buffer; the runtime
    /// knows, and the next call waits instead of asking the kernel.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.stream()?;
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Registers for the next time there is something to read. An error counts as something.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stream() {
            Ok(stream) => stream.poll_read_ready(cx).map(drop),
            Err(_) => Poll::Ready(()),
        }
    }

    /// Writes once, as much as the kernel takes.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(self.stream()?);
        match slices {
            // Cheaper in the kernel than a vector of one.
            [slice] => stream.poll_write(cx, slice),
            slices => stream.poll_write_vectored(cx, slices),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn shut_down_write(&mut self) -> io::Result<()> {
        let stream = self.stream()?;
        // The only way to the system call that does not take the stream apart.
        socket2::SockRef::from(&*stream).shutdown(Shutdown::Write)
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        match self {
            Socket::Attached(stream) => Ok(stream),
            Socket::Detached(_) | Socket::Closed => Err(closed()),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the socket belongs to no runtime",
    )
}

/// For the TLS handshake, which tokio-rustls drives.
impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.stream()?).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream()?).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down_write())
    }
}
