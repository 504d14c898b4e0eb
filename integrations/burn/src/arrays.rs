//! States as a file of the core's format, for the core to check and to load; and what must be known
//! of such a file to build an optimizer for it.

use crate::state::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use wgpu_optim::checkpoint::Snapshot;

/// The key of the metadata in a header, and of the core's settings in the metadata.
const METADATA: &str = "__metadata__";
pub(crate) const SETTINGS: &str = "wgpu_optim";

/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;

/// A file of these states by name, with the core's settings if they are given.
pub(crate) fn to_bytes<'a>(
    states: impl IntoIterator<Item = (&'a str, &'a State)>,
    settings: Option<&str>,
) -> Vec<u8> {
    let mut file = File::default();
    if let Some(settings) = settings {
        file.header.insert(METADATA.into(), json!({ SETTINGS: settings }));
    }
    for (name, state) in states {
        file.push(key(name, "step"), "I64", &[], &state.steps.to_le_bytes());
        for (scalar, value) in &state.scalars {
            file.push(key(name, scalar), "F64", &[], &value.to_le_bytes());
        }
        for (array, values) in &state.arrays {
            let bytes: Vec<_> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            file.push(key(name, array), "F32", &state.shape, &bytes);
        }
    }
    let header = Value::Object(file.header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &file.data].concat()
}

/// A file in the making.
#[derive(Default)]
struct File {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl File {
    fn push(&mut self, key: String, dtype: &str, shape: &[usize], bytes: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        let offsets = [start, self.data.len()];
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        self.header.insert(key, entry);
    }
}

/// A state's key.
fn key(name: &str, state: &str) -> String {
    format!("state.{name}.{state}")
}

/// What a file says before the core has checked it.
pub(crate) struct Header {
    pub settings: Snapshot,
    shapes: BTreeMap<String, Vec<usize>>,
    /// The file's length, which bounds that of its arrays.
    len: usize,
}

impl Header {
    /// `None` if the file has no settings of the core's.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let length = u64::from_le_bytes(bytes.get(..LENGTH_BYTES)?.try_into().ok()?);
        let end = LENGTH_BYTES.checked_add(usize::try_from(length).ok()?)?;
        let header: Map<String, Value> =
            serde_json::from_slice(bytes.get(LENGTH_BYTES..end)?).ok()?;
        let settings = header.get(METADATA)?.get(SETTINGS)?.as_str()?;
        let settings = serde_json::from_str(settings).ok()?;
        let shape = |entry: &Value| serde_json::from_value(entry.get("shape")?.clone()).ok();
        let shapes = header.iter().filter_map(|(key, entry)| Some((key.clone(), shape(entry)?)));
        Some(Self { settings, shapes: shapes.collect(), len: bytes.len() })
    }

    /// The shape of a parameter's state; `None` if the file cannot hold such an array.
    pub fn shape(&self, name: &str, state: &str) -> Option<&[usize]> {
        let shape = self.shapes.get(&key(name, state))?;
        let len = shape.iter().try_fold(1, |len: usize, &size| len.checked_mul(size))?;
        // An element takes a byte or more.
        (len <= self.len).then_some(shape)
    }
}
