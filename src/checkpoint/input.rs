//! A checkpoint that is read: a file, or bytes.

use crate::error::Error;
use std::fmt::Display;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// What is read, with a name for messages.
pub(super) struct Input<'a> {
    reader: &'a mut dyn ReadSeek,
    name: String,
    pub len: u64,
}

/// A file, or bytes with a place in them.
pub(super) trait ReadSeek: Read + Seek {}

impl<R: Read + Seek> ReadSeek for R {}

/// Bytes that are read at once: few enough to stay in a core's cache while they are compared and
/// handed on.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

impl<'a> Input<'a> {
    pub fn new(reader: &'a mut dyn ReadSeek, name: String) -> Result<Self, Error> {
        let len = reader.seek(SeekFrom::End(0)).map_err(|error| unreadable(&name, error))?;
        Ok(Self { reader, name, len })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fills `into` with what starts at this offset.
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let read = self.reader.seek(SeekFrom::Start(offset));
        let read = read.and_then(|_| self.reader.read_exact(into));
        read.map_err(|error| unreadable(&self.name, error))
    }

    /// An error about what is in it.
    pub fn refused(&self, expected: impl Display, found: impl Display) -> Error {
        let remedy = "Take another copy, or an earlier checkpoint";
        Error::file(&self.name, expected, found, remedy)
    }

    /// Reads a range that was checked to be small.
    pub fn whole(&mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }
}

/// Opens a file, with its path for messages.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn open(path: &std::path::Path) -> Result<(std::fs::File, String), Error> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| unreadable(&name, error))?;
    Ok((file, name))
}

/// An error of the file system.
fn unreadable(name: &str, error: impl Display) -> Error {
    Error::file(name, "a file that can be read", error, "Check its path, and that you may read it")
}
