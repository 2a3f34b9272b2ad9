//! What is stored: `FORMAT.md`, in code.

use nexum_extension_api::{RecordKey, Unreadable};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

/// The only version there is.
const VERSION: u8 = 1;

/// What the key of a mark begins with. A message's key is shorter.
const MARK: &[u8; 4] = b"mark";

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
const HAS_EXPIRY: u8 = 0b0000_1000;
const HAS_ID: u8 = 0b0001_0000;
const MEANINGLESS: u8 = 0b1110_0000;

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A message, by its number.
    Message(u64),
    /// Numbers below this one may have been given.
    Mark(u64),
}

impl Key {
    pub(crate) fn encode(self) -> RecordKey {
        match self {
            Key::Message(number) => RecordKey::from(number.to_be_bytes()),
            Key::Mark(end) => RecordKey::from(&*[&MARK[..], &end.to_be_bytes()].concat()),
        }
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Key, Unreadable> {
        if let Ok(number) = key.try_into() {
            return Ok(Key::Message(u64::from_be_bytes(number)));
        }
        let end = key.strip_prefix(MARK).and_then(|end| end.try_into().ok());
        end.map(|end| Key::Mark(u64::from_be_bytes(end)))
            .ok_or_else(|| unreadable("the key is neither a message's nor a mark's"))
    }
}

/// The value of a mark: its key says it all.
pub(crate) fn encode_mark() -> Box<[u8]> {
    Box::from([VERSION])
}

pub(crate) fn check_mark(value: &[u8]) -> Result<(), Unreadable> {
    match value {
        [VERSION] => Ok(()),
        _ => Err(unreadable("a mark of another version")),
    }
}

/// A message that waits, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) due: Time,
    pub(crate) id: Option<&'a str>,
    /// Where it goes, and what else there is of it.
    pub(crate) parts: MessageParts<'a>,
}

impl<'a> Record<'a> {
    /// The topic and a properties' length fit their fields: a topic has at most 65,535 bytes, a
    /// packet at most 268,435,455, and an `id` was checked.
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let parts = &self.parts;
        let topic = parts.topic.as_str().as_bytes();
        let id = self.id.unwrap_or_default().as_bytes();
        let mut flags = parts.qos.bits();
        let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
        set(RETAIN, parts.retain);
        set(HAS_EXPIRY, parts.expires_at.is_some());
        set(HAS_ID, self.id.is_some());
        let length = 34 + id.len() + topic.len() + parts.properties.len() + parts.payload.len();
        let mut value = Vec::with_capacity(length);
        value.extend([VERSION, flags]);
        value.extend(self.due.as_micros().to_le_bytes());
        value.extend(parts.published_at.as_micros().to_le_bytes());
        if let Some(expires_at) = parts.expires_at {
            value.extend(expires_at.as_micros().to_le_bytes());
        }
        if self.id.is_some() {
            value.extend((id.len() as u16).to_le_bytes());
        }
        value.extend((topic.len() as u16).to_le_bytes());
        value.extend((parts.properties.len() as u32).to_le_bytes());
        for bytes in [id, topic, parts.properties, parts.payload] {
            value.extend_from_slice(bytes);
        }
        value.into_boxed_slice()
    }

    pub(crate) fn decode(value: &'a [u8]) -> Result<Record<'a>, Unreadable> {
        let mut fields = Fields(value);
        let [version, flags] = fields.take()?;
        if version != VERSION {
            return Err(unreadable("a message of another version"));
        }
        if flags & MEANINGLESS != 0 {
            return Err(unreadable("a flag without a meaning is set"));
        }
        let qos = QoS::from_bits(flags & QOS).ok_or_else(|| unreadable("there is no QoS 3"))?;
        let due = fields.time()?;
        let published_at = fields.time()?;
        let expires_at = match flags & HAS_EXPIRY {
            0 => None,
            _ => Some(fields.time()?),
        };
        let id_bytes = match flags & HAS_ID {
            0 => None,
            _ => Some(usize::from(u16::from_le_bytes(fields.take()?))),
        };
        let topic_bytes = usize::from(u16::from_le_bytes(fields.take()?));
        let properties_bytes = u32::from_le_bytes(fields.take()?) as usize;
        let id = id_bytes.map(|length| fields.text(length)).transpose()?;
        let topic = TopicName::new(fields.text(topic_bytes)?)
            .map_err(|error| unreadable(error.to_string()))?;
        let properties = fields.bytes(properties_bytes)?;
        Ok(Record {
            due,
            id,
            parts: MessageParts {
                topic,
                properties,
                payload: fields.0,
                qos,
                retain: flags & RETAIN != 0,
                published_at,
                expires_at,
            },
        })
    }

    /// The message as it is published at `now`: of two that are retained, the later publication is
    /// the newer one, whenever it was asked for.
    pub(crate) fn to_message(self, now: Time) -> Message {
        Message::new(MessageParts {
            published_at: now,
            ..self.parts
        })
    }
}

/// What is left of a value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn time(&mut self) -> Result<Time, Unreadable> {
        self.take().map(u64::from_le_bytes).map(Time::from_micros)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes(length)?).map_err(|_| unreadable("text is not UTF-8"))
    }
}

fn cut() -> Unreadable {
    unreadable("a message that is cut")
}

pub(crate) fn unreadable(what: impl Into<String>) -> Unreadable {
    Unreadable { what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record<'static> {
        Record {
            due: Time::from_micros(0x0102_0304_0506_0708),
            id: Some("id"),
            parts: MessageParts {
                topic: TopicName::new("t/x").expect("a topic"),
                properties: &[0x01, 0x01],
                payload: b"later",
                qos: QoS::ExactlyOnce,
                retain: true,
                published_at: Time::from_micros(0x11),
                expires_at: Some(Time::from_micros(0x22)),
            },
        }
    }

    /// The bytes of FORMAT.md, by hand.
    #[test]
    fn the_format_is_what_is_written_down() {
        let mut golden = vec![1, 0b0001_1110];
        golden.extend([0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01]);
        golden.extend([0x11, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0x22, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([2, 0, 3, 0, 2, 0, 0, 0]);
        golden.extend(b"idt/x\x01\x01later");
        assert_eq!(*record().encode(), golden);
        assert_eq!(Record::decode(&golden), Ok(record()));

        let least = Record {
            due: Time::from_micros(1),
            id: None,
            parts: MessageParts {
                topic: TopicName::new("t").expect("a topic"),
                properties: &[],
                payload: &[],
                qos: QoS::AtMostOnce,
                retain: false,
                published_at: Time::ZERO,
                expires_at: None,
            },
        };
        let mut golden = vec![1, 0];
        golden.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([1, 0, 0, 0, 0, 0]);
        golden.extend(b"t");
        assert_eq!(*least.encode(), golden);
        assert_eq!(Record::decode(&golden), Ok(least));

        assert_eq!(*Key::Message(0x0102).encode(), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(*Key::Mark(0x0102).encode(), *b"mark\0\0\0\0\0\0\x01\x02");
        assert_eq!(*encode_mark(), [1]);
    }

    #[test]
    fn keys_are_read_back() {
        for key in [Key::Message(7), Key::Mark(7)] {
            assert_eq!(Key::decode(&key.encode()), Ok(key));
        }
        for wrong in [
            &b""[..],
            b"1234567",
            b"123456789",
            b"mark1234567",
            b"mork12345678",
        ] {
            assert!(Key::decode(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn what_is_damaged_is_told() {
        let value = record().encode();
        let payload_bytes = record().parts.payload.len();
        for length in 0..value.len() - payload_bytes {
            assert!(Record::decode(&value[..length]).is_err(), "{length} bytes");
        }
        for (place, byte) in [(0, 2), (1, 0b0001_1111), (1, 0b0011_1110), (36, 0xFF)] {
            let mut damaged = value.clone();
            damaged[place] = byte;
            assert!(Record::decode(&damaged).is_err(), "byte {place}");
        }
        assert!(check_mark(&[]).is_err() && check_mark(&[2]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut value = value;
            if let Some(version) = value.first_mut() {
                *version = VERSION;
            }
            if let Ok(record) = Record::decode(&value) {
                prop_assert_eq!(&*record.encode(), &*value);
            }
        }
    }
}
