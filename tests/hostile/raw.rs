//! A socket for those who do not keep to packets: floods, halves, and silence.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nexum_harness::{Broker, Connect, Packet, Version, decode};

use crate::scene::PROMPTLY;

/// If the broker takes nothing for so long, it has stopped reading.
const STALLED_AFTER: Duration = Duration::from_millis(700);

pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
}

/// How a flood ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FloodEnd {
    /// All of it was taken.
    Taken,
    /// The broker reads no more.
    Stalled,
    /// The connection is closed.
    Closed,
}

impl Raw {
    #[track_caller]
    pub(crate) fn dial(broker: &Broker) -> Raw {
        Raw::dial_at(broker.address("tcp"))
    }

    #[track_caller]
    pub(crate) fn dial_at(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect_timeout(&address, PROMPTLY)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(STALLED_AFTER)))
            .and_then(|()| stream.set_read_timeout(Some(PROMPTLY)))
            .expect("a fresh socket takes its options");
        Raw {
            stream: BufReader::with_capacity(64 * 1024, stream),
        }
    }

    /// With its CONNECT accepted.
    #[track_caller]
    pub(crate) fn log_in(broker: &Broker, connect: Connect) -> Raw {
        let mut raw = Raw::dial(broker);
        let version = connect.version;
        raw.send(&Packet::from(connect).bytes(version));
        match raw.next_packet(version) {
            Some(Packet::Connack(connack)) if connack.reason == 0 => raw,
            other => panic!("expected to be accepted, got {other:?}"),
        }
    }

    /// A clean session without anything.
    #[track_caller]
    pub(crate) fn client(broker: &Broker, version: Version, client_id: &str) -> Raw {
        Raw::log_in(broker, Connect::new(version, client_id))
    }

    /// Sends all of it, unless the broker has closed the connection.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        let deadline = Instant::now() + PROMPTLY;
        while sent < bytes.len() {
            match self.stream.get_mut().write(&bytes[sent..]) {
                Ok(written) => sent += written,
                Err(error) if is_timeout(&error) => {
                    assert!(Instant::now() < deadline, "the broker does not read");
                }
                Err(_) => return,
            }
        }
    }

    /// Sends `bytes` again and again, at most `most` times, and reads nothing. Returns how many
    /// bytes were taken; the last repetition may have been taken in part.
    pub(crate) fn flood(&mut self, bytes: &[u8], most: usize) -> (u64, FloodEnd) {
        let mut taken = 0;
        for _ in 0..most {
            let mut rest = bytes;
            while !rest.is_empty() {
                match self.stream.get_mut().write(rest) {
                    Ok(written) => {
                        taken += written as u64;
                        rest = &rest[written..];
                    }
                    Err(error) if is_timeout(&error) => return (taken, FloodEnd::Stalled),
                    Err(_) => return (taken, FloodEnd::Closed),
                }
            }
        }
        (taken, FloodEnd::Taken)
    }

    /// The next packet. `None`: the broker closed the connection.
    #[track_caller]
    pub(crate) fn next_packet(&mut self, version: Version) -> Option<Packet> {
        let bytes = self.next_frame()?;
        match decode(version, &bytes) {
            Ok(Some((packet, _))) => Some(packet),
            Ok(None) => panic!("half a packet: {bytes:02x?}"),
            Err(why) => panic!("the broker sent a malformed packet: {why}: {bytes:02x?}"),
        }
    }

    /// The bytes of the next packet, whatever it is.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![self.next_byte()?];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.next_byte()?;
            frame.push(byte);
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let header = frame.len();
        frame.resize(header + length, 0);
        match self.stream.read_exact(&mut frame[header..]) {
            Ok(()) => Some(frame),
            Err(error) if is_timeout(&error) => panic!("the rest of a packet does not come"),
            Err(_) => None,
        }
    }

    #[track_caller]
    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if is_timeout(&error) => panic!("expected a packet, but nothing came"),
            Err(_) => None,
        }
    }

    /// Reads until the broker has closed the connection, and returns what came.
    #[track_caller]
    pub(crate) fn read_until_closed(&mut self, patience: Duration) -> Vec<u8> {
        let deadline = Instant::now() + patience;
        let mut bytes = Vec::new();
        let mut chunk = [0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "still open after {patience:?} and {} bytes",
                bytes.len()
            );
            self.stream
                .get_ref()
                .set_read_timeout(Some(left))
                .expect("not zero");
            match self.stream.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return bytes,
            }
        }
    }

    /// Ends the sending direction.
    pub(crate) fn finish(&self) {
        // An error says that the broker was first.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whole packets in these bytes.
#[track_caller]
pub(crate) fn packets(version: Version, mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        match decode(version, bytes) {
            Ok(Some((packet, size))) => {
                packets.push(packet);
                bytes = &bytes[size..];
            }
            // The connection was reset under it.
            Ok(None) => break,
            Err(why) => panic!("the broker sent a malformed packet: {why}: {bytes:02x?}"),
        }
    }
    packets
}
