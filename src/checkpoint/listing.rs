//! What a file holds, without an optimizer to load it into.

use crate::checkpoint::header::{Bounds, Header, Tensor};
#[cfg(not(target_arch = "wasm32"))]
use crate::checkpoint::input::open;
use crate::checkpoint::input::{Input, ReadSeek};
use crate::checkpoint::keys;
use crate::checkpoint::snapshot::Snapshot;
use crate::checkpoint::told::Told;
use crate::error::Error;
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek};

/// What a file holds: its arrays by key, and what it says beside them. Its numbers are not read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Listing {
    /// Every array, in the file's order.
    pub tensors: Vec<Tensor>,
    /// Settings and counts, if this crate wrote the file. Step counts and scalars are arrays, and
    /// not filled in.
    pub snapshot: Option<Snapshot>,
    /// All entries of the metadata but the snapshot.
    pub metadata: BTreeMap<String, String>,
    /// Where the arrays' bytes start in the file.
    pub start: u64,
}

/// What is taken of a header that nobody expects: as much as safetensors' own reader takes.
const BOUNDS: Bounds = Bounds { tensors: 1 << 20, bytes: 100_000_000 };

impl Listing {
    /// What a file holds.
    ///
    /// # Errors
    /// It is not there, is no safetensors file, or was written by a later version.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn file(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let (mut file, name) = open(path.as_ref())?;
        Self::from(&mut file, name)
    }

    /// What a file's bytes hold.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from(&mut Cursor::new(bytes), "bytes".into())
    }

    /// What something that can be read at any place holds.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn reader(mut reader: impl Read + Seek) -> Result<Self, Error> {
        Self::from(&mut reader, "reader".into())
    }

    fn from(reader: &mut dyn ReadSeek, name: String) -> Result<Self, Error> {
        let mut input = Input::new(reader, name)?;
        let Header { tensors, mut metadata, start } = Header::read(&mut input, BOUNDS)?;
        let Told { snapshot, .. } = Told::read(&metadata, &input, &str::to_owned)?;
        metadata.remove(keys::SNAPSHOT);
        Ok(Self { tensors, snapshot, metadata, start })
    }
}
