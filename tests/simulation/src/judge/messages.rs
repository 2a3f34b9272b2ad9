//! Every application message of the run, and what its payload says about it.

use nexum_types::{QoS, Time};

use crate::link::LinkId;

/// Names a message of the run; it stands in the payload. In the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageId(pub(crate) u32);

/// Who published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    Client(usize),
    /// The client's will.
    Will(usize),
    Broker,
}

/// What was published.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) origin: Origin,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_seconds: Option<u32>,
    /// Encoded, as a subscriber has to find them.
    pub(crate) properties: Vec<u8>,
    pub(crate) payload_bytes: usize,
}

pub(crate) struct MessageRecord {
    pub(crate) content: Content,
    /// Each time the broker got it and had to route it: a QoS 1 PUBLISH that a client sends again
    /// is a second publication ([MQTT-4.3.2-5]), one of QoS 2 is not.
    pub(crate) publications: Vec<Publication>,
    /// When its publisher was told that it is taken.
    pub(crate) acknowledged_at: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    /// The broker cannot have handled it before…
    pub(crate) from: Time,
    /// …nor after, if this is known.
    pub(crate) by: Option<Time>,
    pub(crate) link: Option<LinkId>,
    /// Its publisher was told that somebody who should keep it does not; others may have it.
    pub(crate) refused: bool,
}

impl MessageRecord {
    pub(crate) fn new(content: Content) -> MessageRecord {
        MessageRecord {
            content,
            publications: Vec::new(),
            acknowledged_at: None,
        }
    }

    pub(crate) fn first_published(&self) -> Option<Time> {
        self.publications
            .first()
            .map(|publication| publication.from)
    }

    /// The earliest and the latest time at which it may expire.
    pub(crate) fn expiry(&self, now: Time) -> Option<(Time, Time)> {
        let interval = std::time::Duration::from_secs(u64::from(self.content.expiry_seconds?));
        let first = self.publications.first()?;
        let last = self.publications.last()?;
        Some((first.from + interval, last.by.unwrap_or(now) + interval))
    }

    /// About the size of a PUBLISH with it, and never less.
    pub(crate) fn packet_bytes(&self) -> usize {
        let Content {
            topic,
            properties,
            payload_bytes,
            ..
        } = &self.content;
        // Fixed header 5, lengths 2 + 4, identifier 2, alias 3, expiry 5, identifiers 5 each.
        topic.len() + properties.len() + payload_bytes + 21 + 5 * 8
    }
}

/// Bytes a payload has at least.
pub(crate) const PAYLOAD_LEAST_BYTES: usize = 4;

/// The payload of a message: its number, then bytes that follow from it.
pub(crate) fn payload_of(id: MessageId, bytes: usize) -> Vec<u8> {
    let mut payload = id.0.to_be_bytes().to_vec();
    payload.extend((0..bytes.saturating_sub(PAYLOAD_LEAST_BYTES)).map(|at| filler(id, at)));
    payload
}

/// Whose payload it is, if it is whole.
pub(crate) fn read_payload(payload: &[u8]) -> Option<MessageId> {
    let (number, rest) = payload.split_first_chunk::<PAYLOAD_LEAST_BYTES>()?;
    let id = MessageId(u32::from_be_bytes(*number));
    rest.iter()
        .enumerate()
        .all(|(at, byte)| *byte == filler(id, at))
        .then_some(id)
}

fn filler(id: MessageId, at: usize) -> u8 {
    (id.0 as usize)
        .wrapping_mul(31)
        .wrapping_add(at.wrapping_mul(7)) as u8
}
