//! What is stored, as FORMAT.md draws it: the one place that knows bytes.

use std::sync::Arc;

use nexum_extension_api::{RecordKey, RecordReader, Unreadable};
use nexum_types::{Message, MessageParts, QoS, Time, TopicName};

use crate::entry::Entry;

/// The first byte of every value.
const VERSION: u8 = 1;

const MARK: u8 = 0;
const BUCKET: u8 = 1;
const ENTRY: u8 = 2;
const DUE: u8 = 3;
const FORMER: u8 = 4;

const HAS_EXPIRY: u8 = 1;

/// A key of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// Below it, any number may have been used.
    Mark,
    /// A bucket.
    Bucket(u64),
    /// What a key of a bucket is now.
    Entry(u64, &'a str),
    /// When it runs out.
    Due(Time, u64, &'a str),
    /// What it was at a revision.
    Former(u64, &'a str, u64),
}

impl<'a> Key<'a> {
    pub(crate) fn encode(self) -> RecordKey {
        let mut bytes = Vec::new();
        match self {
            Key::Mark => bytes.push(MARK),
            Key::Bucket(bucket) => {
                bytes.push(BUCKET);
                bytes.extend_from_slice(&bucket.to_be_bytes());
            }
            Key::Entry(bucket, key) => {
                bytes.push(ENTRY);
                bytes.extend_from_slice(&bucket.to_be_bytes());
                bytes.extend_from_slice(key.as_bytes());
            }
            Key::Due(at, bucket, key) => {
                bytes.push(DUE);
                bytes.extend_from_slice(&at.as_micros().to_be_bytes());
                bytes.extend_from_slice(&bucket.to_be_bytes());
                bytes.extend_from_slice(key.as_bytes());
            }
            Key::Former(bucket, key, revision) => {
                bytes.push(FORMER);
                bytes.extend_from_slice(&bucket.to_be_bytes());
                bytes.extend_from_slice(key.as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&revision.to_be_bytes());
            }
        }
        RecordKey::from(&*bytes)
    }

    pub(crate) fn decode(key: &'a [u8]) -> Result<Key<'a>, Unreadable> {
        let mut bytes = RecordReader::new(key);
        let key = match bytes.u8()? {
            MARK => Key::Mark,
            BUCKET => Key::Bucket(bytes.u64()?),
            ENTRY => Key::Entry(bytes.u64()?, rest(&mut bytes, 0)?),
            DUE => {
                let at = Time::from_micros(bytes.u64()?);
                Key::Due(at, bytes.u64()?, rest(&mut bytes, 0)?)
            }
            FORMER => {
                let bucket = bytes.u64()?;
                let key = rest(&mut bytes, 9)?;
                if bytes.u8()? != 0 {
                    return Err(unreadable("a former value without its revision"));
                }
                Key::Former(bucket, key, bytes.u64()?)
            }
            _ => return Err(unreadable("a record of no known kind")),
        };
        bytes.end()?;
        Ok(key)
    }
}

/// Where entries of a bucket are, from a key on.
pub(crate) fn entries_from(bucket: u64, key: &str) -> RecordKey {
    Key::Entry(bucket, key).encode()
}

/// The first record behind those that begin with these bytes.
pub(crate) fn behind(prefix: &[u8]) -> RecordKey {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    RecordKey::from(&*bytes)
}

/// All rows of what runs out.
pub(crate) fn all_due() -> (RecordKey, RecordKey) {
    (RecordKey::from([DUE]), RecordKey::from([DUE + 1]))
}

pub(crate) fn encode_mark(mark: u64) -> Box<[u8]> {
    let mut value = [VERSION; 9];
    value[1..].copy_from_slice(&mark.to_be_bytes());
    Box::from(value)
}

pub(crate) fn decode_mark(value: &[u8]) -> Result<u64, Unreadable> {
    let mut bytes = RecordReader::versioned(value, VERSION)?;
    let mark = bytes.u64()?;
    bytes.end()?;
    Ok(mark)
}

pub(crate) fn encode_due() -> Box<[u8]> {
    Box::from([VERSION])
}

pub(crate) fn check_due(value: &[u8]) -> Result<(), Unreadable> {
    RecordReader::versioned(value, VERSION)?.end()
}

/// A bucket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketRecord {
    pub(crate) name: Box<str>,
    /// JSON, as `$ctl/create` takes it.
    pub(crate) options: Vec<u8>,
}

impl BucketRecord {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        // A name has at most 64 bytes.
        let mut value = vec![VERSION, self.name.len() as u8];
        value.extend_from_slice(self.name.as_bytes());
        value.extend_from_slice(&self.options);
        value.into()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<BucketRecord, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let length = bytes.u8()?;
        let name = bytes.text(usize::from(length))?;
        Ok(BucketRecord {
            name: Box::from(name),
            options: bytes.rest().to_vec(),
        })
    }
}

impl Entry {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        self.encode_with(&self.former)
    }

    /// As what a key was before.
    pub(crate) fn encode_former(&self) -> Box<[u8]> {
        self.encode_with(&[])
    }

    fn encode_with(&self, former: &[u64]) -> Box<[u8]> {
        let parts = self.message.parts();
        let expiry_bytes = 8 * usize::from(parts.expires_at.is_some());
        let head_bytes = 26 + expiry_bytes + 1 + 8 * former.len() + 4;
        let mut value =
            Vec::with_capacity(head_bytes + parts.properties.len() + parts.payload.len());
        value.push(VERSION);
        value.push(if parts.expires_at.is_some() {
            HAS_EXPIRY
        } else {
            0
        });
        value.extend_from_slice(&self.revision.to_be_bytes());
        value.extend_from_slice(&self.created.to_be_bytes());
        value.extend_from_slice(&parts.published_at.as_micros().to_be_bytes());
        if let Some(at) = parts.expires_at {
            value.extend_from_slice(&at.as_micros().to_be_bytes());
        }
        // A bucket remembers at most 64.
        value.push(former.len() as u8);
        for revision in former {
            value.extend_from_slice(&revision.to_be_bytes());
        }
        // A packet has at most 268,435,455 bytes.
        value.extend_from_slice(&(parts.properties.len() as u32).to_be_bytes());
        value.extend_from_slice(parts.properties);
        value.extend_from_slice(parts.payload);
        value.into()
    }

    /// The topic is that of the key: it is not stored.
    pub(crate) fn decode(value: &[u8], topic: &str) -> Result<Entry, Unreadable> {
        let mut bytes = RecordReader::versioned(value, VERSION)?;
        let flags = bytes.u8()?;
        if flags & !HAS_EXPIRY != 0 {
            return Err(unreadable("a flag without a meaning is set"));
        }
        let revision = bytes.u64()?;
        let created = bytes.u64()?;
        let published_at = Time::from_micros(bytes.u64()?);
        let expires_at = match flags & HAS_EXPIRY {
            0 => None,
            _ => Some(Time::from_micros(bytes.u64()?)),
        };
        let count = bytes.u8()?;
        let former = (0..count).map(|_| bytes.u64()).collect::<Result<_, _>>()?;
        let length = bytes.u32()?;
        let properties = bytes.take(length as usize)?;
        let parts = MessageParts {
            topic: TopicName::new(topic).map_err(|_| unreadable("a key that is in no topic"))?,
            properties,
            payload: bytes.rest(),
            qos: QoS::AtLeastOnce,
            retain: false,
            published_at,
            expires_at,
        };
        Ok(Entry {
            revision,
            created,
            former,
            message: Arc::new(Message::new(parts)),
        })
    }
}

/// All that is left but for so many bytes.
fn rest<'a>(bytes: &mut RecordReader<'a>, but: usize) -> Result<&'a str, Unreadable> {
    let length = bytes.rest().len().saturating_sub(but);
    if length == 0 {
        return Err(unreadable("a record of a key that is empty"));
    }
    bytes.text(length)
}

fn unreadable(what: &str) -> Unreadable {
    Unreadable {
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let at = Time::from_micros(7);
        for key in [
            Key::Mark,
            Key::Bucket(3),
            Key::Entry(3, "a/b"),
            Key::Due(at, 3, "a/b"),
            Key::Former(3, "a/b", 9),
        ] {
            assert_eq!(Key::decode(&key.encode()), Ok(key));
        }
        for wrong in [
            &b""[..],
            &[9],
            &[0, 0],
            &[1, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0, 1],
            &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0xff],
            &[4, 0, 0, 0, 0, 0, 0, 0, 1, b'a', 1, 0, 0, 0, 0, 0, 0, 0, 2],
        ] {
            assert!(Key::decode(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rows_of_a_key_do_not_mix_with_those_below_it() {
        let below = Key::Former(1, "a/b", 0).encode();
        let first = Key::Former(1, "a", 0).encode();
        let last = Key::Former(1, "a", u64::MAX).encode();
        assert!(below > last && last > first);
        assert_eq!(*behind(b"a\xff"), *b"b");
        assert!(entries_from(1, "zz") < behind(&Key::Entry(1, "").encode()));
    }
}
