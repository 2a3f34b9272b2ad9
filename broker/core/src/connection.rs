//! A network connection as the core sees it: bytes in, packets out, and what CONNECT agreed.
//!
//! It is not the session: a session outlives it, and [`crate::session`] knows nothing of it but
//! its key.
//!
//! States:
//!
//! ```text
//! open ─► AwaitConnect ─CONNECT─► Authenticating ─accepted─► Connected(session) ─┐
//!              │                        │ refused                               ▼
//!              └────── bad packet, time limit ───────────────────────────► Closing ─closed─► gone
//! ```

use std::collections::VecDeque;
use std::num::NonZeroU16;

use nexum_codec::AcknowledgementKind;
use nexum_extension_api::Label;
use nexum_types::{PacketIdentifier, ProtocolVersion, ReasonCode, Time};

use crate::admission::Admission;
use crate::origin::ConnectionOrigin;
use crate::outbound_buffer::OutboundBuffer;
use crate::peer::NotKept;
use crate::shard::Exchange;
use crate::topic_alias::{InboundAliases, OutboundAliases};
use crate::unhandled::Unhandled;

pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) state: ConnectionState,
    /// What the client speaks; 3.1.1 until CONNECT tells.
    pub(crate) version: ProtocolVersion,
    pub(crate) request_problem_information: bool,
    /// Named by [`poll_transmit`](crate::Shard::poll_transmit) already or about to be.
    pub(crate) listed: bool,
    /// The outbound buffer has grown so far that it should be sent before more is routed.
    pub(crate) urgent: bool,
    pub(crate) holds: Holds,
    /// How many sessions hold it back by [`Holds::BACKPRESSURE`].
    pub(crate) held_by: u32,
    /// 0 is off.
    pub(crate) keep_alive_seconds: u16,
    /// The largest packet the client takes.
    pub(crate) maximum_packet_size_bytes: u32,
    /// When it gave its last sign of life.
    pub(crate) last_received: Time,
    /// A part of a packet, or all that came while held back.
    pub(crate) unhandled: Unhandled,
    pub(crate) outbound: OutboundBuffer,
    pub(crate) inbound_aliases: InboundAliases,
    /// Present if the client wants aliases.
    pub(crate) outbound_aliases: Option<Box<OutboundAliases>>,
    /// Acknowledgements owed in this order, the first of which waits for receipts.
    pub(crate) owed: VecDeque<OwedAcknowledgement>,
    /// How many were ever put into `owed`.
    pub(crate) owed_sequence: u32,
    /// How many of those in it are PUBACK.
    pub(crate) owed_pubacks: u32,
    /// For so many commits it is sent nothing: CONNACK, SUBACK or UNSUBACK waits for them.
    pub(crate) corks: u32,
    /// One of them is for CONNACK.
    pub(crate) connack: CorkedConnAck,
    /// Enhanced authentication, if CONNECT named a method.
    pub(crate) exchange: Option<Box<Exchange>>,
    pub(crate) origin: ConnectionOrigin,
}

pub(crate) enum ConnectionState {
    AwaitConnect,
    Authenticating(Box<Admission>),
    Connected { session: u32 },
    Closing,
}

/// Whether a CONNACK waits for the store, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorkedConnAck {
    None,
    /// A session begins, which is a promise.
    Begun,
    /// A session goes on, which the store has.
    Resumed,
}

/// Why no bytes are taken from a connection for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds(u8);

impl Holds {
    /// Its credentials are being checked.
    pub(crate) const AUTHENTICATION: Holds = Holds(1);
    /// It publishes to a session that is catching up.
    pub(crate) const BACKPRESSURE: Holds = Holds(2);
    /// It does not read what it is sent.
    pub(crate) const OUTBOUND_FULL: Holds = Holds(4);

    /// Its SUBSCRIBE waits for other shards.
    pub(crate) const SUBSCRIBE: Holds = Holds(8);
    /// Its CONNECT, SUBSCRIBE or UNSUBSCRIBE waits for the store.
    pub(crate) const CORKED: Holds = Holds(16);
    /// So much of what it published waits for the store that it has to wait, too.
    pub(crate) const OWED: Holds = Holds(32);
    /// It publishes to an extension that is behind.
    pub(crate) const EXTENSION: Holds = Holds(64);

    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether it is not its own doing.
    pub(crate) fn for_others(self) -> bool {
        self.0 & !Holds::OUTBOUND_FULL.0 != 0
    }

    pub(crate) fn has(self, hold: Holds) -> bool {
        self.0 & hold.0 != 0
    }

    pub(crate) fn add(&mut self, hold: Holds) {
        self.0 |= hold.0;
    }

    pub(crate) fn remove(&mut self, hold: Holds) {
        self.0 &= !hold.0;
    }
}

/// A PUBACK, PUBREC or PUBCOMP that leaves when everybody who promised to keep the message has it, and not
/// before the ones in front of it ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
#[derive(Debug)]
pub(crate) struct OwedAcknowledgement {
    pub(crate) kind: AcknowledgementKind,
    pub(crate) packet_identifier: PacketIdentifier,
    pub(crate) reason_code: ReasonCode,
    pub(crate) receipts: u16,
    /// Somebody who should keep the message does not.
    pub(crate) refused: Option<NotKept>,
    /// What an extension says beside it.
    pub(crate) properties: Vec<(&'static str, Label)>,
}

impl Connection {
    pub(crate) fn new(origin: ConnectionOrigin, generation: u32, now: Time) -> Connection {
        Connection {
            generation,
            state: ConnectionState::AwaitConnect,
            version: ProtocolVersion::V3_1_1,
            request_problem_information: true,
            listed: false,
            urgent: false,
            holds: Holds::default(),
            held_by: 0,
            keep_alive_seconds: 0,
            maximum_packet_size_bytes: u32::MAX,
            last_received: now,
            unhandled: Unhandled::default(),
            outbound: OutboundBuffer::default(),
            inbound_aliases: InboundAliases::default(),
            outbound_aliases: None,
            owed: VecDeque::new(),
            owed_sequence: 0,
            owed_pubacks: 0,
            corks: 0,
            connack: CorkedConnAck::None,
            exchange: None,
            origin,
        }
    }

    pub(crate) fn session(&self) -> Option<u32> {
        match self.state {
            ConnectionState::Connected { session } => Some(session),
            ConnectionState::AwaitConnect
            | ConnectionState::Authenticating(_)
            | ConnectionState::Closing => None,
        }
    }

    /// The acknowledgement with this number, while it is owed.
    pub(crate) fn owed_at(&self, sequence: u32) -> Option<&OwedAcknowledgement> {
        self.owed.get(self.owed_place(sequence)?)
    }

    /// The place in the line of the acknowledgement with this number, while it is owed.
    pub(crate) fn owed_place(&self, sequence: u32) -> Option<usize> {
        // The last one owed has the number before the next one's.
        let behind = self.owed_sequence.wrapping_sub(sequence) as usize;
        self.owed.len().checked_sub(behind).filter(|_| behind > 0)
    }

    /// Whether PUBREC for this identifier waits for receipts.
    pub(crate) fn owes(&self, id: PacketIdentifier) -> bool {
        self.owed
            .iter()
            .any(|owed| owed.kind == AcknowledgementKind::PubRec && owed.packet_identifier == id)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, ConnectionState::Closing)
    }

    /// When the connection is dead unless something is received before (MQTT 5 section 3.1.2.10).
    pub(crate) fn keep_alive_deadline(&self) -> Option<Time> {
        let seconds = NonZeroU16::new(self.keep_alive_seconds)?;
        // [MQTT-3.1.2-22] [MQTT3-3.1.2-24]: one and a half times the Keep Alive.
        Some(self.last_received + std::time::Duration::from_millis(u64::from(seconds.get()) * 1500))
    }
}
