//! MQTT over WebSocket (MQTT 5 section 6, RFC 6455).
//!
//! A layer between a byte stream and MQTT: frames are taken apart in the shard's buffer, and what
//! a turn has to send leaves as one binary frame. It knows nothing of MQTT but that text frames
//! are no part of it. The handshake is in [`upgrade`]; extensions, compression among them, are
//! never agreed.

mod frame;
mod outgoing;
pub(crate) mod upgrade;

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use nexum_core::ConnectionLoss;

use self::frame::{CloseCode, Deframer, FrameEnd};
use self::outgoing::{BinaryHead, ControlFrame};
use super::{Received, Scratch, Stream};
use crate::socket::Socket;

/// Longest binary frame sent: many clients gather a frame before they look at it.
const MAXIMUM_FRAME_BYTES: usize = 64 * 1024;

/// Pieces written at once, the frame's header among them.
const SLICES: usize = 65;

/// A stream of WebSocket frames over TCP or TLS.
pub(crate) struct WebSocket<S> {
    stream: S,
    deframer: Deframer,
    /// The header of the frame that is being sent…
    head: BinaryHead,
    /// …and how much of its payload is still to be sent.
    frame_left: usize,
    /// The control frame that is being sent, or is to be sent between two frames.
    control: Option<ControlFrame>,
    /// What the Close frame will say, or that it was said.
    close: Close,
    /// Frames that came with the last bytes of the handshake.
    early: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Nobody speaks of it.
    Open(CloseCode),
    /// Our Close frame is on its way: nothing more is sent.
    Said,
}

impl<S: Stream> WebSocket<S> {
    /// `early` are bytes that were received after the handshake.
    pub(crate) fn new(stream: S, early: Vec<u8>) -> WebSocket<S> {
        WebSocket {
            stream,
            deframer: Deframer::new(),
            head: BinaryHead::default(),
            frame_left: 0,
            control: None,
            close: Close::Open(CloseCode::NORMAL),
            early,
        }
    }

    /// Takes the frames apart that `received` brought.
    fn deframe(&mut self, mut received: Received, scratch: &mut Scratch) -> Received {
        let (bytes, end) = self.deframer.deframe(&mut scratch.plain[..received.bytes]);
        received.bytes = bytes;
        match end {
            Some(FrameEnd::Close(code)) => {
                self.answer_close(code.unwrap_or(CloseCode::NORMAL));
                received.end = Some(ConnectionLoss::EndOfStream);
            }
            Some(FrameEnd::Breach(breach)) => {
                self.answer_close(breach.code);
                received.end = Some(ConnectionLoss::NotMqtt(breach.what.to_owned()));
            }
            None => {}
        }
        received
    }

    fn answer_close(&mut self, code: CloseCode) {
        match self.close {
            Close::Open(_) => self.close = Close::Open(code),
            Close::Said => {}
        }
    }

    /// Sends the control frame that waits, if a frame of data is not under way.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        debug_assert!(self.frame_left == 0, "a control frame inside a data frame");
        loop {
            if self.control.is_none() && self.close != Close::Said {
                self.control = self.deframer.take_pong();
            }
            let Some(control) = &mut self.control else {
                return Poll::Ready(Ok(()));
            };
            let slices = [IoSlice::new(control.unsent())];
            let sent = ready!(self.stream.poll_write(cx, &slices))?;
            control.advance(sent);
            if control.unsent().is_empty() {
                self.control = None;
            }
        }
    }
}

impl<S: Stream> Stream for WebSocket<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Received> {
        let received = if self.early.is_empty() {
            ready!(self.stream.poll_read(cx, scratch))
        } else {
            let early = std::mem::take(&mut self.early);
            scratch.plain[..early.len()].copy_from_slice(&early);
            // More may be waiting in the socket.
            Received {
                bytes: early.len(),
                full: true,
                end: None,
            }
        };
        let received = self.deframe(received, scratch);
        if self.frame_left == 0 {
            // A pong that cannot go now goes before the next frame; an error shows again.
            let _ = self.poll_control(cx);
        }
        Poll::Ready(received)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.frame_left == 0 {
                if self.close == Close::Said {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                ready!(self.poll_control(cx))?;
                let payload: usize = slices.iter().map(|slice| slice.len()).sum();
                self.frame_left = payload.min(MAXIMUM_FRAME_BYTES);
                self.head = BinaryHead::new(self.frame_left);
            }
            let mut pieces = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let head_bytes = self.head.unsent().len();
            if head_bytes > 0 {
                pieces[0] = IoSlice::new(self.head.unsent());
                count = 1;
            }
            let mut room = self.frame_left;
            for slice in slices {
                if room == 0 || count == SLICES {
                    break;
                }
                let taken = slice.len().min(room);
                pieces[count] = IoSlice::new(&slice[..taken]);
                count += 1;
                room -= taken;
            }
            let sent = ready!(self.stream.poll_write(cx, &pieces[..count]))?;
            let of_head = sent.min(head_bytes);
            self.head.advance(of_head);
            self.frame_left -= sent - of_head;
            if sent > of_head {
                return Poll::Ready(Ok(sent - of_head));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frame_left == 0 {
            ready!(self.poll_control(cx))?;
        }
        self.stream.poll_flush(cx)
    }

    fn has_unsent(&self) -> bool {
        self.control.is_some() || self.stream.has_unsent()
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Inside a frame no other can be sent: the peer sees a truncated one and an end.
        if self.frame_left == 0 {
            if let Close::Open(code) = self.close {
                ready!(self.poll_control(cx))?;
                self.control = Some(ControlFrame::close(code));
                self.close = Close::Said;
            }
            ready!(self.poll_control(cx))?;
        }
        self.stream.poll_goodbye(cx)
    }

    fn socket(&mut self) -> &mut Socket {
        self.stream.socket()
    }
}
