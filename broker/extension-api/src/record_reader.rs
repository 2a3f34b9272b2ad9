//! What extensions have stored, read back piece by piece.

use std::fmt;

use crate::extension::Unreadable;

/// What is left to read of a key or a value. Numbers are big-endian.
#[derive(Debug)]
pub struct RecordReader<'a>(&'a [u8]);

impl<'a> RecordReader<'a> {
    /// From its first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> RecordReader<'a> {
        RecordReader(bytes)
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// From behind the version, which has to be this one.
    ///
    /// # Errors
    /// It is another one, or there is none.
    pub fn versioned(value: &'a [u8], version: u8) -> Result<RecordReader<'a>, Unreadable> {
        let mut bytes = RecordReader(value);
        match bytes.u8()? {
            found if found == version => Ok(bytes),
            other => Err(unreadable(format_args!(
                "a record of version {other}; this broker reads version {version}"
            ))),
        }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let cut = unreadable(format_args!("a record that is cut short"));
        let (taken, rest) = self.0.split_at_checked(length).ok_or(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    /// So many bytes, known when this is compiled.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A byte.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    /// Text of so many bytes.
    ///
    /// # Errors
    /// There are fewer, or it is no UTF-8.
    pub fn text(&mut self, length: usize) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| unreadable(format_args!("a text that is no UTF-8")))
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), Unreadable> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(unreadable(format_args!("a record with more behind it")))
    }
}

fn unreadable(what: fmt::Arguments<'_>) -> Unreadable {
    Unreadable {
        what: what.to_string(),
    }
}
