//! One end of a connection to the broker, told packet by packet what to send and what to expect.

mod expect;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::decode::decode;
use crate::frame::Frame;
use crate::packet::{Connack, Packet, Publish, Version};
use crate::watch::Watch;

/// How long a peer waits for what it expects, unless the test says otherwise. Only a test that
/// fails waits that long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What carries the bytes: TCP, or a WebSocket over it.
pub trait Transport: Read + Write + Send {
    /// How long [`Read::read`] may block before it fails with `WouldBlock` or `TimedOut`.
    ///
    /// # Errors
    /// Those of the socket.
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Ends the sending direction.
    ///
    /// # Errors
    /// Those of the socket.
    fn finish(&self) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        TcpStream::set_read_timeout(self, Some(timeout))
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What came, if anything did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A packet.
    Packet(Packet),
    /// The broker closed the connection.
    Closed,
    /// Nothing in the time allowed.
    Nothing,
}

/// A client of the broker that does only what it is told.
///
/// Every `expect_…` panics, naming what came instead, unless the next thing to come is the one
/// expected. Acknowledgements are the exception: while it waits for one, a peer lays PUBLISH
/// packets aside for [`Peer::expect_publish`], for the two directions have no common order.
pub struct Peer {
    transport: Box<dyn Transport>,
    version: Version,
    unread: Vec<u8>,
    laid_aside: VecDeque<Publish>,
    watch: Watch,
    last_identifier: u16,
    survives_crash: bool,
}

impl Peer {
    /// Opens a TCP connection and sends nothing.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn connect(address: SocketAddr, version: Version) -> Peer {
        Peer::try_connect(address, version)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Opens a TCP connection, if anybody is still there to take it, and sends nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn try_connect(address: SocketAddr, version: Version) -> io::Result<Peer> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Peer::over(Box::new(stream), version))
    }

    /// Speaks over a transport that is already open.
    pub fn over(transport: Box<dyn Transport>, version: Version) -> Peer {
        Peer {
            transport,
            version,
            unread: Vec::new(),
            laid_aside: VecDeque::new(),
            watch: Watch::default(),
            last_identifier: 0,
            survives_crash: false,
        }
    }

    /// Allows the broker to die at any moment: half a packet before the end of the connection is
    /// then no mistake of the broker's.
    pub fn survive_crash(mut self) -> Peer {
        self.survives_crash = true;
        self
    }

    /// The version this peer reads and writes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The CONNACK that came.
    ///
    /// # Panics
    /// If none did.
    #[track_caller]
    pub fn connack(&self) -> &Connack {
        self.watch.connack().expect("CONNACK has come")
    }

    /// A Packet Identifier this peer has not yet used by this way.
    pub fn next_identifier(&mut self) -> u16 {
        self.last_identifier = self.last_identifier.wrapping_add(1).max(1);
        self.last_identifier
    }

    // ---- sending -------------------------------------------------------------------------------

    /// Sends a packet.
    pub fn send(&mut self, packet: impl Into<Packet>) {
        let packet = packet.into();
        self.watch.sent(&packet);
        self.send_bytes(&packet.bytes(self.version));
    }

    /// Sends a packet written field by field.
    pub fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes());
    }

    /// Sends bytes in one write. That the broker has closed the connection meanwhile is no error
    /// here: it shows when the peer next expects something.
    ///
    /// # Panics
    /// If the broker does not read for a long time.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = self
            .transport
            .write_all(bytes)
            .and_then(|()| self.transport.flush());
        match sent {
            Ok(()) => {}
            Err(error) if is_closed(&error) => {}
            Err(error) => panic!("cannot send {} bytes: {error}", bytes.len()),
        }
    }

    /// Sends bytes in writes of `size` each, so that the broker is likely to read them apart.
    pub fn send_in_fragments(&mut self, bytes: &[u8], size: usize) {
        for fragment in bytes.chunks(size) {
            self.send_bytes(fragment);
        }
    }

    // ---- receiving -----------------------------------------------------------------------------

    /// Waits for whatever comes next.
    ///
    /// # Panics
    /// If a packet breaks a rule of form or a limit this peer announced.
    #[track_caller]
    pub fn recv_within(&mut self, patience: Duration) -> Received {
        if let Some(publish) = self.laid_aside.pop_front() {
            return Received::Packet(Packet::Publish(publish));
        }
        self.recv_from_wire(patience)
    }

    #[track_caller]
    fn recv_from_wire(&mut self, patience: Duration) -> Received {
        let deadline = Instant::now() + patience;
        loop {
            match decode(self.version, &self.unread) {
                Ok(Some((mut packet, size))) => {
                    if let Err(why) = self.watch.received(self.version, &mut packet, size) {
                        panic!("the broker broke a rule: {why}: {packet:?}");
                    }
                    self.unread.drain(..size);
                    return Received::Packet(packet);
                }
                Ok(None) => {}
                Err(why) => panic!(
                    "the broker sent a malformed packet: {why}: {:02x?}",
                    self.unread
                ),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            self.transport
                .set_read_timeout(left)
                .expect("the time left is not zero");
            let mut chunk = [0; 16 * 1024];
            match self.transport.read(&mut chunk) {
                Ok(0) => return self.closed(),
                Ok(length) => self.unread.extend_from_slice(&chunk[..length]),
                Err(error) if is_timeout(&error) => return Received::Nothing,
                Err(error) if is_closed(&error) => return self.closed(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot receive: {error}"),
            }
        }
    }

    #[track_caller]
    fn closed(&self) -> Received {
        assert!(
            self.unread.is_empty() || self.survives_crash,
            "the broker closed in the middle of a packet: {:02x?}",
            self.unread
        );
        Received::Closed
    }

    /// Waits for a packet.
    ///
    /// # Panics
    /// If the connection is closed, or nothing comes.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        match self.recv_within(PATIENCE) {
            Received::Packet(packet) => packet,
            Received::Closed => panic!("expected a packet, but the broker closed the connection"),
            Received::Nothing => panic!("expected a packet, but nothing came"),
        }
    }

    /// The next packet that is no PUBLISH.
    #[track_caller]
    fn recv_answer(&mut self, expected: &str) -> Packet {
        loop {
            match self.recv_from_wire(PATIENCE) {
                Received::Packet(Packet::Publish(publish)) => self.laid_aside.push_back(publish),
                Received::Packet(packet) => return packet,
                Received::Closed => panic!("expected {expected}, but the broker closed"),
                Received::Nothing => panic!("expected {expected}, but nothing came"),
            }
        }
    }

    /// Collects the bytes until the end of the connection, for answers whose version is open.
    ///
    /// # Panics
    /// If the end does not come.
    #[track_caller]
    pub fn recv_bytes_until_closed(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        self.transport
            .set_read_timeout(PATIENCE)
            .expect("it is not zero");
        let mut chunk = [0; 4096];
        loop {
            match self.transport.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) if is_closed(&error) => return bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the connection stays open after {bytes:02x?}: {error}"),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}
