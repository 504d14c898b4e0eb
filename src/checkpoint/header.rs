//! The header of a safetensors file: which arrays it holds, and where. It is written and read here
//! and not by the crate of that name, which takes the last of two equal keys, sets no bound to what
//! a header may take, and wants whole arrays in memory.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::input::Input;
use crate::error::Error;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::ops::Range;

/// An array of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Its key.
    pub key: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its sizes, outermost first.
    pub shape: Vec<u64>,
    /// Its bytes, counted from the end of the header.
    pub bytes: Range<u64>,
}

/// What a header says.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// In the order of their bytes, which follow one another without gaps.
    pub tensors: Vec<Tensor>,
    pub metadata: BTreeMap<String, String>,
    /// Where the arrays' bytes start in the file.
    pub start: u64,
}

/// The key of the metadata.
const METADATA: &str = "__metadata__";

/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// What a header's length is a multiple of.
const ALIGNMENT: usize = 8;

impl Header {
    /// The bytes of an array in the file.
    pub fn range(&self, tensor: &Tensor) -> Range<u64> {
        self.start + tensor.bytes.start..self.start + tensor.bytes.end
    }
}

/// How much a reader takes of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub tensors: usize,
    pub bytes: u64,
}

impl Header {
    /// The bytes of a file's start.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut json = String::from("{");
        if !self.metadata.is_empty() {
            let metadata = serde_json::json!(self.metadata);
            // Writing to a string does not fail.
            let _ = write!(json, "\"{METADATA}\":{metadata},");
        }
        for Tensor { key, dtype, shape, bytes } in &self.tensors {
            let (key, dtype) = (serde_json::json!(key), dtype.name());
            let Range { start, end } = bytes;
            let shape = serde_json::json!(shape);
            let entry = format!(
                "{key}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}},"
            );
            json.push_str(&entry);
        }
        if json.ends_with(',') {
            json.pop();
        }
        json.push('}');
        while !json.len().is_multiple_of(ALIGNMENT) {
            json.push(' ');
        }
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.into_bytes());
        bytes
    }

    /// Reads and checks a file's header.
    pub fn read(input: &mut Input<'_>, bounds: Bounds) -> Result<Self, Error> {
        let len = input.len;
        if len < LENGTH_BYTES {
            return Err(input.refused("a safetensors file", format!("{len} bytes: truncated")));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        input.read_at(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        let most = bounds.bytes.min(len - LENGTH_BYTES);
        if length > most {
            let expected = format!("a header length of at most {most} bytes");
            return Err(input.refused(expected, format!("{length}: truncated, or not such a file")));
        }
        let mut json = vec![0; length as usize];
        input.read_at(LENGTH_BYTES, &mut json)?;
        let header = parse(&json, bounds.tensors)
            .map_err(|found| input.refused("a safetensors header", found))?;
        let start = LENGTH_BYTES + length;
        let header = Self { start, ..header };
        header.check(len - start).map_err(|found| {
            input.refused("arrays that follow one another to the file's end", found)
        })?;
        Ok(header)
    }

    /// Refuses arrays that do not fill the file's data exactly; says what is found.
    fn check(&self, len: u64) -> Result<(), String> {
        let mut at = 0;
        for Tensor { key, dtype, shape, bytes } in &self.tensors {
            let elements = shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size));
            let size = elements.and_then(|elements| elements.checked_mul(dtype.size()));
            if bytes.start != at || bytes.end < bytes.start {
                return Err(format!("offsets {bytes:?} of `{key}` after {at} bytes"));
            }
            if size != Some(bytes.end - bytes.start) {
                let dtype = dtype.name();
                return Err(format!("shape {shape:?} of {dtype} at offsets {bytes:?} of `{key}`"));
            }
            at = bytes.end;
        }
        match len.cmp(&at) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(format!("{len} bytes of {at}: truncated")),
            std::cmp::Ordering::Greater => {
                Err(format!("{len} bytes of data, longer than the {at} that the header says"))
            }
        }
    }
}

/// Parses a header; its arrays in the order of their bytes.
fn parse(json: &[u8], most: usize) -> Result<Header, String> {
    let text = std::str::from_utf8(json).map_err(|error| format!("no UTF-8: {error}"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Entries { most }.deserialize(&mut deserializer);
    let mut header = parsed
        .and_then(|header| deserializer.end().map(|()| header))
        .map_err(|error| format!("JSON that is not one: {error}"))?;
    header.tensors.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
    Ok(header)
}

/// An array's entry as it is written.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Reads the entries one by one, at most so many.
struct Entries {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Header;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Header, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of arrays")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
        let (mut header, mut keys) = (Header::default(), BTreeSet::new());
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(M::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            if keys.len() > self.most {
                let most = self.most;
                return Err(M::Error::custom(format_args!("more than {most} arrays")));
            }
            if key == METADATA {
                header.metadata = map.next_value()?;
                continue;
            }
            let Entry { dtype, shape, data_offsets: [start, end] } = map.next_value()?;
            let unknown = || M::Error::custom(format_args!("the dtype {dtype} of `{key}`"));
            let dtype = Dtype::of_name(&dtype).ok_or_else(unknown)?;
            header.tensors.push(Tensor { key, dtype, shape, bytes: start..end });
        }
        Ok(header)
    }
}
