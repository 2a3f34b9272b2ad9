//! The parts of a key or value, taken off its front.

use std::fmt;

use nexum_types::QoS;

/// The version of every kind of record; there has been one.
pub(crate) const VERSION: u8 = 1;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A later version of the program wrote it.
    Newer(u8),
    /// No version of the program did.
    Damaged(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Newer(version) => {
                write!(f, "version {version}, of which this program does not know")
            }
            Unreadable::Damaged(why) => f.write_str(why),
        }
    }
}

/// Bytes that have not been read yet.
pub(crate) struct Fields<'a>(&'a [u8]);

const CUT: Unreadable = Unreadable::Damaged("it is cut");

impl<'a> Fields<'a> {
    pub(crate) fn of_key(key: &'a [u8]) -> Fields<'a> {
        Fields(key)
    }

    /// What follows the version.
    pub(crate) fn of_value(value: &'a [u8]) -> Result<Fields<'a>, Unreadable> {
        match value.split_first() {
            None => Err(CUT),
            Some((&VERSION, rest)) => Ok(Fields(rest)),
            Some((0, _)) => Err(Unreadable::Damaged("no version is 0")),
            Some((&version, _)) => Err(Unreadable::Newer(version)),
        }
    }

    /// Flags, of which only those in the mask mean something.
    pub(crate) fn flags(&mut self, mask: u8) -> Result<u8, Unreadable> {
        match self.array::<1>()? {
            [flags] if flags & !mask == 0 => Ok(flags),
            _ => Err(Unreadable::Damaged("it has flags that mean nothing")),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }

    /// Of a key: there, the order of the bytes is that of the numbers.
    pub(crate) fn big_u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }

    /// Of a key.
    pub(crate) fn big_u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Unreadable::Damaged("something follows its end"))
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::Damaged("its text is not UTF-8"))
}

/// The two lowest bits of flags.
pub(crate) const QOS: u8 = 0b11;

pub(crate) fn qos(flags: u8) -> Result<QoS, Unreadable> {
    QoS::from_bits(flags & QOS).ok_or(Unreadable::Damaged("there is no QoS 3"))
}

/// A flag, if it is to be set.
pub(crate) fn flag(flag: u8, set: bool) -> u8 {
    if set { flag } else { 0 }
}

/// The length of something that came in one packet, which has less than 2^28 bytes.
pub(crate) fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len())
        .expect("what comes in a packet is below 4 GiB")
        .to_le_bytes()
}
