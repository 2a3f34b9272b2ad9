//! The client's side of a WebSocket (RFC 6455), frame by frame, as far as chapter 6 of both
//! specifications needs it.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::peer::Transport;

const PATIENCE: Duration = Duration::from_secs(10);

/// The example of RFC 6455 section 1.3: a key, and the only right answer to it. With it the
/// harness needs no SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any mask but zeros, which would hide a server that forgets to unmask.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// An open WebSocket. As a [`Transport`] it writes one binary frame for each write and reads the
/// payload of binary frames.
#[derive(Debug)]
pub struct WebSocket {
    stream: TcpStream,
    /// Bytes of frames that are not complete yet.
    unread: Vec<u8>,
    /// Payload of binary frames that [`Read::read`] has not handed out yet.
    payload: Vec<u8>,
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketFrame {
    /// FIN.
    pub last: bool,
    /// 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl WebSocketFrame {
    /// Opcode of a continuation.
    pub const CONTINUATION: u8 = 0;
    /// Opcode of text.
    pub const TEXT: u8 = 1;
    /// Opcode of binary data.
    pub const BINARY: u8 = 2;
    /// Opcode of the closing handshake.
    pub const CLOSE: u8 = 8;
    /// Opcode of a ping.
    pub const PING: u8 = 9;
    /// Opcode of a pong.
    pub const PONG: u8 = 10;
}

impl WebSocket {
    /// Connects and asks for an upgrade, offering these sub-protocols. On success returns the
    /// socket and the sub-protocol the server chose; otherwise the server's status line, which is
    /// empty if it just closed the connection.
    ///
    /// # Errors
    /// The status line of a server that refuses.
    ///
    /// # Panics
    /// If nobody listens, or the answer breaks RFC 6455.
    #[track_caller]
    pub fn open(
        address: SocketAddr,
        path: &str,
        protocols: &[&str],
    ) -> Result<(WebSocket, Option<String>), String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| TcpStream::set_read_timeout(&stream, Some(PATIENCE)))
            .expect("a fresh socket takes its options");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        );
        if !protocols.is_empty() {
            write!(
                request,
                "Sec-WebSocket-Protocol: {}\r\n",
                protocols.join(", ")
            )
            .expect("writing to a String does not fail");
        }
        request.push_str("\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("a fresh connection takes the request");
        let (head, rest) = read_head(&mut stream);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().to_owned();
        if !status.starts_with("HTTP/1.1 101") {
            return Err(status);
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let header = |name: &str| {
            let mut values = headers.iter().filter(|(header, _)| header == name);
            let value = values.next().map(|(_, value)| value.clone());
            assert!(values.next().is_none(), "{name} twice: {head}");
            value
        };
        assert_eq!(
            header("sec-websocket-accept").as_deref(),
            Some(ACCEPT),
            "{head}"
        );
        assert!(
            header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")),
            "{head}"
        );
        assert!(
            header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")),
            "{head}"
        );
        assert_eq!(
            header("sec-websocket-extensions"),
            None,
            "none was offered: {head}"
        );
        let chosen = header("sec-websocket-protocol");
        let socket = WebSocket {
            stream,
            unread: rest,
            payload: Vec::new(),
        };
        Ok((socket, chosen))
    }

    /// Sends one frame, masked.
    ///
    /// # Panics
    /// If the broker does not read for a long time.
    #[track_caller]
    pub fn send_frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        self.write_frame(last, opcode, payload)
            .unwrap_or_else(|error| panic!("cannot send a frame: {error}"));
    }

    /// Sends bytes of the TCP connection as they are.
    ///
    /// # Panics
    /// If the broker does not read for a long time.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Waits for the next frame. `None`: the TCP connection was closed.
    ///
    /// # Panics
    /// If nothing comes, or a frame breaks RFC 6455.
    #[track_caller]
    pub fn recv_frame(&mut self) -> Option<WebSocketFrame> {
        TcpStream::set_read_timeout(&self.stream, Some(PATIENCE)).expect("not zero");
        self.read_frame()
            .unwrap_or_else(|error| panic!("expected a frame: {error}"))
    }

    fn write_frame(&mut self, last: bool, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![(u8::from(last) << 7) | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("at most 125")),
            length @ 126..=65_535 => {
                frame.push(0x80 | 126);
                let length = u16::try_from(length).expect("at most 65,535");
                frame.extend_from_slice(&length.to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.write_all(&frame)
    }

    fn read_frame(&mut self) -> io::Result<Option<WebSocketFrame>> {
        loop {
            if let Some((frame, taken)) = parse(&self.unread)? {
                self.unread.drain(..taken);
                return Ok(Some(frame));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => self.unread.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for WebSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            match self.read_frame()? {
                None => return Ok(0),
                Some(frame) => match frame.opcode {
                    WebSocketFrame::CLOSE => return Ok(0),
                    WebSocketFrame::BINARY | WebSocketFrame::CONTINUATION => {
                        self.payload = frame.payload;
                    }
                    _ => return Err(io::Error::other(format!("unexpected {frame:?}"))),
                },
            }
        }
        let length = into.len().min(self.payload.len());
        into[..length].copy_from_slice(&self.payload[..length]);
        self.payload.drain(..length);
        Ok(length)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_frame(true, WebSocketFrame::BINARY, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Transport for WebSocket {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        TcpStream::set_read_timeout(&self.stream, Some(timeout))
    }

    fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// The head of the HTTP answer, and what came after it.
fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8_lossy(&bytes).into_owned(), rest);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return (String::from_utf8_lossy(&bytes).into_owned(), Vec::new()),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return (String::new(), Vec::new());
            }
            Err(error) => panic!("no answer to the upgrade: {error}"),
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<(WebSocketFrame, usize)>> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(io::Error::other(
            "reserved bits are set, or a server masks its frame",
        ));
    }
    let (length, header) = match second {
        126 => match bytes.get(2..4) {
            Some(&[high, low]) => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
            Some(length) => (
                usize::try_from(u64::from_be_bytes(length)).map_err(io::Error::other)?,
                10,
            ),
            None => return Ok(None),
        },
        length => (usize::from(length), 2),
    };
    let Some(payload) = bytes.get(header..header + length) else {
        return Ok(None);
    };
    let frame = WebSocketFrame {
        last: first & 0x80 != 0,
        opcode: first & 0x0F,
        payload: payload.to_vec(),
    };
    Ok(Some((frame, header + length)))
}
